-- depends: 0002-study-list

-- The lines of study_list that someone may have to look at: not all is imported, or more of the study may exist.
CREATE OR REPLACE VIEW incomplete_studies AS
SELECT
    study_list.patient_id,
    study_list.patient_name,
    study_list.study_instance_uid,
    study_list.study_date,
    study_list.study_description,
    study_list.accession_number,
    study_list.status,
    study_list.instance_count,
    study_list.instance_count - study_list.imported_count AS not_imported_count
FROM study_list
WHERE NOT (study_list.status <=> 'COMPLETE')
   OR study_list.imported_count < study_list.instance_count;

-- One line per image set, by the series that HealthImaging named for it: a series that did not fit into one image set has
-- several lines. instance_count is of the instances whose current object is in the image set.
CREATE OR REPLACE VIEW image_sets_by_series AS
SELECT
    image_set.study_instance_uid,
    image_set.series_instance_uid,
    series.modality,
    series.series_number,
    series.series_description,
    image_set.datastore_id,
    image_set.image_set_id,
    image_set.image_set_version,
    image_set.is_primary,
    (SELECT COUNT(*)
        FROM stored_object
        JOIN instance ON instance.object_hash = stored_object.object_hash
        WHERE stored_object.image_set_id = image_set.image_set_id) AS instance_count,
    (SELECT COUNT(*)
        FROM image_set AS sibling
        WHERE sibling.series_instance_uid = image_set.series_instance_uid) AS image_sets_of_series
FROM image_set
LEFT JOIN series ON series.series_instance_uid = image_set.series_instance_uid;
