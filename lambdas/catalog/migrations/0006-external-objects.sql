-- depends: 0005-attributes

-- Objects that came without the receiver stand in the ledger under the association `external`: a row a version, which nothing
-- overwrites. key_hash is the SHA-256 of s3://bucket/key, so that the versions of one key are found; sequencer is S3's, which
-- orders them; removed_at is when the version was deleted, or hidden by a delete marker.
ALTER TABLE stored_object
    ADD COLUMN version_id   VARCHAR(1024) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN sequencer    VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN key_hash     CHAR(64)      CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN removed_at   DATETIME(3)   NULL,
    ADD KEY stored_object_by_key (key_hash);

-- As before, and: what is external and was not imported is NOT_IMPORTED. image_set_ids is a JSON list, since GROUP_CONCAT
-- cuts a longer one at 1,024 bytes in MySQL, without an error, unless the session says otherwise.
CREATE OR REPLACE VIEW study_list AS
SELECT
    patient.patient_id,
    patient.effective_issuer,
    patient.patient_name,
    study.study_instance_uid,
    study.study_date,
    study.study_description,
    study.accession_number,
    (SELECT GROUP_CONCAT(DISTINCT series.modality ORDER BY series.modality SEPARATOR ',')
        FROM series WHERE series.study_instance_uid = study.study_instance_uid) AS modalities,
    (SELECT COUNT(*) FROM series WHERE series.study_instance_uid = study.study_instance_uid) AS series_count,
    (SELECT COUNT(*) FROM instance WHERE instance.study_instance_uid = study.study_instance_uid) AS instance_count,
    (SELECT COUNT(*)
        FROM instance
        JOIN stored_object ON stored_object.object_hash = instance.object_hash
        WHERE instance.study_instance_uid = study.study_instance_uid
          AND stored_object.import_status = 'IMPORTED') AS imported_count,
    (SELECT JSON_ARRAYAGG(image_set.image_set_id)
        FROM image_set WHERE image_set.study_instance_uid = study.study_instance_uid) AS image_set_ids,
    (SELECT COUNT(*)
        FROM image_set WHERE image_set.study_instance_uid = study.study_instance_uid) AS image_set_count,
    (SELECT ELT(
            MAX(CASE
                WHEN association.association IS NULL THEN IF(stored_object.import_status = 'IMPORTED', 1, 4)
                WHEN association.status = 'COMPLETE' AND association.ending = 'released' THEN 1
                WHEN association.status = 'COMPLETE' THEN 2
                ELSE FIELD(association.status, '', '', 'RUNNING', '', 'INCOMPLETE', 'ABORTED', 'TIMED_OUT', 'FAILED',
                           'LEDGER_MISMATCH')
            END),
            'COMPLETE', 'ENDED_EARLY', 'RUNNING', 'NOT_IMPORTED', 'INCOMPLETE', 'ABORTED', 'TIMED_OUT', 'FAILED',
            'LEDGER_MISMATCH')
        FROM instance
        JOIN stored_object ON stored_object.object_hash = instance.object_hash
        LEFT JOIN association ON association.association = stored_object.association
        WHERE instance.study_instance_uid = study.study_instance_uid) AS status
FROM study
JOIN patient ON patient.patient_key = study.patient_key;

-- A conflict's parents, one a line, with the one that stands: of a study its patient, of a series its study, of an instance
-- its study and series.
CREATE OR REPLACE VIEW conflict_list AS
SELECT
    conflict.level,
    conflict.uid,
    conflict.parent,
    patient.patient_id,
    patient.effective_issuer,
    COALESCE(study.patient_key = conflict.parent,
             COALESCE(series.study_instance_uid, IF(series.series_instance_uid IS NULL, NULL, '_')) = conflict.parent,
             CONCAT(COALESCE(instance.study_instance_uid, '_'), '/', COALESCE(instance.series_instance_uid, '_'))
                 = conflict.parent,
             0) AS stands,
    conflict.noticed_at
FROM conflict
LEFT JOIN study ON conflict.level = 'study' AND study.study_instance_uid = conflict.uid
LEFT JOIN patient ON conflict.level = 'study' AND patient.patient_key = conflict.parent
LEFT JOIN series ON conflict.level = 'series' AND series.series_instance_uid = conflict.uid
LEFT JOIN instance ON conflict.level = 'instance' AND instance.sop_instance_uid = conflict.uid;
