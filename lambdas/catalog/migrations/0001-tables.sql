-- The catalog's tables. A migration is never edited once it has run somewhere, and never destroys: the next one is another
-- file. Each statement may be repeated, since MySQL commits every DDL statement by itself, and a run may break off between.
--
-- UIDs are kept as safe names (contract.uids): a UID is its own, any other value from the wire gets one that is unique.
-- Columns named by DICOM keywords hold decoded text (MEDIUMTEXT: longer than any value that the reader takes, so nothing is
-- cut). raw_values has, by keyword, the text of each date and number that is not written as DICOM writes it today.
-- No percent signs in these files: the driver takes them for placeholders.

CREATE TABLE IF NOT EXISTS association (
    association         VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    edge                VARCHAR(32)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `sequence`          BIGINT       NOT NULL,
    sent_at_ms          BIGINT       NOT NULL,
    bucket              VARCHAR(63)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    calling_ae          MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    called_ae           MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    peer                MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    started_at          DATETIME(3)  NULL,
    ended_at            DATETIME(3)  NULL,
    ending              VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    objects             INT          NOT NULL,
    quarantined         INT          NOT NULL,
    parts               INT          NULL,
    identical_repeats   INT          NULL,
    size_bytes          BIGINT       NOT NULL,
    status              VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    error               VARCHAR(256) COLLATE utf8mb4_bin NULL,
    execution_arn       VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NULL,
    redrive_count       INT          NOT NULL DEFAULT 0,
    registered_at       DATETIME(3)  NOT NULL,
    status_changed_at   DATETIME(3)  NOT NULL,
    PRIMARY KEY (association),
    KEY association_by_time (sent_at_ms),
    KEY association_by_status (status, sent_at_ms)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The ledger. object_hash is the SHA-256 of s3://bucket/key; object_order sorts by the order rule (lambdas.logic.order).
-- Columns up to is_foreign come from the manifests; indexing writes those up to header_bytes; importing the rest.
CREATE TABLE IF NOT EXISTS stored_object (
    object_hash             CHAR(64)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    association             VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part                    INT           NULL,
    position                INT           NULL,
    bucket                  VARCHAR(63)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    s3_key                  VARCHAR(1024) COLLATE utf8mb4_bin NOT NULL,
    size_bytes              BIGINT        NULL,
    digest                  CHAR(64)      CHARACTER SET ascii COLLATE ascii_bin NULL,
    sop_class_uid           VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    sop_instance_uid        VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    study_instance_uid      VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    series_instance_uid     VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    transfer_syntax_uid     VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    uids_as_received        MEDIUMTEXT    COLLATE utf8mb4_bin NULL,
    received_at             DATETIME(3)   NULL,
    quarantine_reason       MEDIUMTEXT    COLLATE utf8mb4_bin NULL,
    is_foreign              TINYINT       NOT NULL DEFAULT 0,
    object_order            VARCHAR(128)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    indexed_at              DATETIME(3)   NULL,
    not_indexed_reason      MEDIUMTEXT    COLLATE utf8mb4_bin NULL,
    header_bytes            BIGINT        NULL,
    import_attempt          INT           NULL,
    import_job_id           VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    import_status           VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    image_set_id            VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    image_set_version       INT           NULL,
    image_set_is_primary    TINYINT       NULL,
    import_warnings         MEDIUMTEXT    COLLATE utf8mb4_bin NULL,
    import_fault            VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    import_error            VARCHAR(256)  COLLATE utf8mb4_bin NULL,
    import_error_message    MEDIUMTEXT    COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (object_hash),
    KEY stored_object_by_association (association, part, position),
    KEY stored_object_by_instance (sop_instance_uid),
    KEY stored_object_by_image_set (image_set_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- open_attempt lets an association's part have one attempt that has not FAILED, whoever claims it.
CREATE TABLE IF NOT EXISTS import_job (
    association         VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part                INT           NOT NULL,
    attempt             INT           NOT NULL,
    client_token        CHAR(64)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    job_id              VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    status              VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    open_attempt        TINYINT       AS (IF(status = 'FAILED', NULL, 1)) STORED,
    execution_arn       VARCHAR(512)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    input_s3_uri        VARCHAR(1024) COLLATE utf8mb4_bin NOT NULL,
    output_s3_uri       VARCHAR(1024) COLLATE utf8mb4_bin NOT NULL,
    claimed_at          DATETIME(3)   NOT NULL,
    submitted_at        DATETIME(3)   NULL,
    ended_at            DATETIME(3)   NULL,
    scanned             INT           NULL,
    imported            INT           NULL,
    failed              INT           NULL,
    warned              INT           NULL,
    foreign_objects     INT           NULL,
    image_sets          INT           NULL,
    error               VARCHAR(256)  COLLATE utf8mb4_bin NULL,
    cause               MEDIUMTEXT    COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (association, part, attempt),
    UNIQUE KEY import_job_open (association, part, open_attempt),
    KEY import_job_by_job (job_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS image_set (
    image_set_id            VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    datastore_id            VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    study_instance_uid      VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    series_instance_uid     VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    image_set_version       INT          NULL,
    is_primary              TINYINT      NULL,
    association             VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    import_job_id           VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    recorded_at             DATETIME(3)  NOT NULL,
    PRIMARY KEY (image_set_id),
    KEY image_set_by_study (study_instance_uid),
    KEY image_set_by_series (series_instance_uid),
    KEY image_set_by_association (association)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- In the four tables below, described_order is the order of the object that the attributes were taken from, parent_order
-- that of the first object that named the parent.
CREATE TABLE IF NOT EXISTS patient (
    patient_key             CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    described_order         VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    patient_id              MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    issuer_of_patient_id    MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    patient_name            MEDIUMTEXT   NULL,
    patient_birth_date      DATE         NULL,
    patient_sex             MEDIUMTEXT   NULL,
    raw_values              MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (patient_key),
    KEY patient_by_id (patient_id(64)),
    KEY patient_by_name (patient_name(64)),
    KEY patient_by_birth_date (patient_birth_date)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;

CREATE TABLE IF NOT EXISTS study (
    study_instance_uid          VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    patient_key                 CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    parent_order                VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    described_order             VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    study_date                  DATE         NULL,
    study_time                  MEDIUMTEXT   NULL,
    accession_number            MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    study_id                    MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    study_description           MEDIUMTEXT   NULL,
    referring_physician_name    MEDIUMTEXT   NULL,
    patient_age                 MEDIUMTEXT   NULL,
    raw_values                  MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (study_instance_uid),
    KEY study_by_patient (patient_key),
    KEY study_by_date (study_date),
    KEY study_by_accession_number (accession_number(64))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;

CREATE TABLE IF NOT EXISTS series (
    series_instance_uid         VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    study_instance_uid          VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    parent_order                VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    described_order             VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    modality                    MEDIUMTEXT   NULL,
    series_number               INT          NULL,
    series_date                 DATE         NULL,
    series_time                 MEDIUMTEXT   NULL,
    series_description          MEDIUMTEXT   NULL,
    protocol_name               MEDIUMTEXT   NULL,
    body_part_examined          MEDIUMTEXT   NULL,
    laterality                  MEDIUMTEXT   NULL,
    manufacturer                MEDIUMTEXT   NULL,
    manufacturer_model_name     MEDIUMTEXT   NULL,
    station_name                MEDIUMTEXT   NULL,
    institution_name            MEDIUMTEXT   NULL,
    raw_values                  MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (series_instance_uid),
    KEY series_by_study (study_instance_uid),
    KEY series_by_modality (modality(16))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;

CREATE TABLE IF NOT EXISTS instance (
    sop_instance_uid            VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    study_instance_uid          VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    series_instance_uid         VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    parent_order                VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    described_order             VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    object_hash                 CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sop_class_uid               VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    instance_number             INT          NULL,
    acquisition_date            DATE         NULL,
    acquisition_time            MEDIUMTEXT   NULL,
    content_date                DATE         NULL,
    content_time                MEDIUMTEXT   NULL,
    image_type                  MEDIUMTEXT   NULL,
    `rows`                      INT          NULL,
    `columns`                   INT          NULL,
    number_of_frames            INT          NULL,
    bits_allocated              INT          NULL,
    photometric_interpretation  MEDIUMTEXT   NULL,
    raw_values                  MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    PRIMARY KEY (sop_instance_uid),
    KEY instance_by_study (study_instance_uid),
    KEY instance_by_series (series_instance_uid),
    KEY instance_by_object (object_hash)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;

-- Each parent that some object named for a UID, of those UIDs for which more than one was named.
CREATE TABLE IF NOT EXISTS conflict (
    level           VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    uid             VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    parent          VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    noticed_at      DATETIME(3)  NOT NULL,
    PRIMARY KEY (level, uid, parent)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
