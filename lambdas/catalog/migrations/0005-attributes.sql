-- depends: 0004-change-log

-- More attributes (lambdas.catalog.attributes). effective_issuer is the issuer that a patient's id counts within: the object's
-- own, else the default of its edge or AE title. value_notes says, as JSON by keyword, why a value is not as its object has it.

ALTER TABLE patient
    ADD COLUMN effective_issuer                   MEDIUMTEXT COLLATE utf8mb4_bin NULL,
    ADD COLUMN patient_birth_time                 MEDIUMTEXT NULL,
    ADD COLUMN ethnic_group                       MEDIUMTEXT NULL,
    ADD COLUMN patient_comments                   MEDIUMTEXT NULL,
    ADD COLUMN value_notes                        MEDIUMTEXT COLLATE utf8mb4_bin NULL;

ALTER TABLE study
    ADD COLUMN patient_size                       DOUBLE NULL,
    ADD COLUMN patient_weight                     DOUBLE NULL,
    ADD COLUMN consulting_physician_name          MEDIUMTEXT NULL,
    ADD COLUMN name_of_physicians_reading_study   MEDIUMTEXT NULL,
    ADD COLUMN procedure_code_sequence            MEDIUMTEXT NULL,
    ADD COLUMN value_notes                        MEDIUMTEXT COLLATE utf8mb4_bin NULL;

ALTER TABLE series
    ADD COLUMN series_description_code_sequence   MEDIUMTEXT NULL,
    ADD COLUMN patient_position                   MEDIUMTEXT NULL,
    ADD COLUMN anatomical_orientation_type        MEDIUMTEXT NULL,
    ADD COLUMN frame_of_reference_uid             MEDIUMTEXT COLLATE utf8mb4_bin NULL,
    ADD COLUMN institutional_department_name      MEDIUMTEXT NULL,
    ADD COLUMN performing_physician_name          MEDIUMTEXT NULL,
    ADD COLUMN operators_name                     MEDIUMTEXT NULL,
    ADD COLUMN value_notes                        MEDIUMTEXT COLLATE utf8mb4_bin NULL;

ALTER TABLE instance
    ADD COLUMN specific_character_set             MEDIUMTEXT NULL,
    ADD COLUMN instance_creation_date             DATE NULL,
    ADD COLUMN instance_creation_time             MEDIUMTEXT NULL,
    ADD COLUMN acquisition_number                 INT NULL,
    ADD COLUMN image_position_patient             MEDIUMTEXT NULL,
    ADD COLUMN image_orientation_patient          MEDIUMTEXT NULL,
    ADD COLUMN patient_orientation                MEDIUMTEXT NULL,
    ADD COLUMN anatomic_region_sequence           MEDIUMTEXT NULL,
    ADD COLUMN image_comments                     MEDIUMTEXT NULL,
    ADD COLUMN burned_in_annotation               MEDIUMTEXT NULL,
    ADD COLUMN slice_thickness                    DOUBLE NULL,
    ADD COLUMN pixel_spacing                      MEDIUMTEXT NULL,
    ADD COLUMN samples_per_pixel                  INT NULL,
    ADD COLUMN bits_stored                        INT NULL,
    ADD COLUMN high_bit                           INT NULL,
    ADD COLUMN pixel_representation               INT NULL,
    ADD COLUMN rescale_intercept                  DOUBLE NULL,
    ADD COLUMN rescale_slope                      DOUBLE NULL,
    ADD COLUMN value_notes                        MEDIUMTEXT COLLATE utf8mb4_bin NULL;
