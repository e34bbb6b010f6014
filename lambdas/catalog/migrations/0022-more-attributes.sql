-- depends: 0005-attributes

-- More attributes (lambdas.catalog.attributes).

ALTER TABLE instance
    ADD COLUMN instance_coercion_date_time        MEDIUMTEXT NULL,
    ADD COLUMN recognizable_visual_features       MEDIUMTEXT NULL;
