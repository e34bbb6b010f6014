-- depends: 0001-tables

-- One line per study. The status is the worst of the associations that its current objects came with; ENDED_EARLY says that
-- all that arrived is imported, and that a sender was cut off or gave up: more of the study may exist.
CREATE OR REPLACE VIEW study_list AS
SELECT
    patient.patient_id,
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
    (SELECT GROUP_CONCAT(image_set.image_set_id ORDER BY image_set.image_set_id SEPARATOR ',')
        FROM image_set WHERE image_set.study_instance_uid = study.study_instance_uid) AS image_set_ids,
    (SELECT COUNT(*)
        FROM image_set WHERE image_set.study_instance_uid = study.study_instance_uid) AS image_set_count,
    (SELECT ELT(
            MAX(CASE
                WHEN association.status = 'COMPLETE' AND association.ending = 'released' THEN 1
                WHEN association.status = 'COMPLETE' THEN 2
                ELSE FIELD(association.status, '', '', 'RUNNING', 'INCOMPLETE', 'ABORTED', 'TIMED_OUT', 'FAILED', 'LEDGER_MISMATCH')
            END),
            'COMPLETE', 'ENDED_EARLY', 'RUNNING', 'INCOMPLETE', 'ABORTED', 'TIMED_OUT', 'FAILED', 'LEDGER_MISMATCH')
        FROM instance
        JOIN stored_object ON stored_object.object_hash = instance.object_hash
        JOIN association ON association.association = stored_object.association
        WHERE instance.study_instance_uid = study.study_instance_uid) AS status
FROM study
JOIN patient ON patient.patient_key = study.patient_key;
