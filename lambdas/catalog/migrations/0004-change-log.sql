-- depends: 0003-views

-- What associations corrected: see lambdas.catalog.changes. uid is a UID, or a patient_key.
CREATE TABLE IF NOT EXISTS change_log (
    level           VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    uid             VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    column_name     VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    association     VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    old_value       MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    new_value       MEDIUMTEXT   COLLATE utf8mb4_bin NULL,
    changed_at      DATETIME(3)  NOT NULL,
    PRIMARY KEY (level, uid, column_name, association),
    KEY change_log_by_association (association),
    KEY change_log_by_time (changed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- described_by is the association that the attributes were taken from; replaced_values, as JSON by column, what the row
-- showed before that association described it.
ALTER TABLE patient
    ADD COLUMN described_by VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN replaced_values LONGTEXT COLLATE utf8mb4_bin NULL;
ALTER TABLE study
    ADD COLUMN described_by VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN replaced_values LONGTEXT COLLATE utf8mb4_bin NULL;
ALTER TABLE series
    ADD COLUMN described_by VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN replaced_values LONGTEXT COLLATE utf8mb4_bin NULL;
ALTER TABLE instance
    ADD COLUMN described_by VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN replaced_values LONGTEXT COLLATE utf8mb4_bin NULL;

-- Rows that are older than these columns: an order has the association between numbers of fixed width.
UPDATE patient SET described_by = SUBSTRING(described_order, 30, CHAR_LENGTH(described_order) - 47) WHERE described_by IS NULL;
UPDATE study SET described_by = SUBSTRING(described_order, 30, CHAR_LENGTH(described_order) - 47) WHERE described_by IS NULL;
UPDATE series SET described_by = SUBSTRING(described_order, 30, CHAR_LENGTH(described_order) - 47) WHERE described_by IS NULL;
UPDATE instance SET described_by = SUBSTRING(described_order, 30, CHAR_LENGTH(described_order) - 43) WHERE described_by IS NULL;
