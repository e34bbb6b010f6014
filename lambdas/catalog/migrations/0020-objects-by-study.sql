-- depends: 0004-change-log

-- Operators replay and verify a study by its UID. MySQL has no CREATE INDEX IF NOT EXISTS, and a migration may be run again.
SET @create_index = IF(
    (SELECT COUNT(*) FROM information_schema.statistics
        WHERE table_schema = DATABASE() AND table_name = 'stored_object' AND index_name = 'stored_object_by_study') = 0,
    'CREATE INDEX stored_object_by_study ON stored_object (study_instance_uid)',
    'DO 0');
PREPARE create_index FROM @create_index;
EXECUTE create_index;
DEALLOCATE PREPARE create_index;
