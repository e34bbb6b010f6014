-- depends: 0006-external-objects

-- As before, and: an association that is registered or being rebuilt has no end yet, and a study of it is RUNNING; a study whose
-- objects all stand under another one by now (conflict) is NO_OBJECTS, where status was NULL.
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
    COALESCE((SELECT ELT(
            MAX(CASE
                WHEN association.association IS NULL THEN IF(stored_object.import_status = 'IMPORTED', 1, 4)
                WHEN association.status = 'COMPLETE' AND association.ending = 'released' THEN 1
                WHEN association.status = 'COMPLETE' THEN 2
                WHEN association.status IN ('REGISTERED', 'REBUILDING') THEN 3
                ELSE FIELD(association.status, '', '', 'RUNNING', '', 'INCOMPLETE', 'ABORTED', 'TIMED_OUT', 'FAILED',
                           'LEDGER_MISMATCH')
            END),
            'COMPLETE', 'ENDED_EARLY', 'RUNNING', 'NOT_IMPORTED', 'INCOMPLETE', 'ABORTED', 'TIMED_OUT', 'FAILED',
            'LEDGER_MISMATCH')
        FROM instance
        JOIN stored_object ON stored_object.object_hash = instance.object_hash
        LEFT JOIN association ON association.association = stored_object.association
        WHERE instance.study_instance_uid = study.study_instance_uid), 'NO_OBJECTS') AS status
FROM study
JOIN patient ON patient.patient_key = study.patient_key;
