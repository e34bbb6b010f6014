-- depends: 0003-views

-- A part may have another attempt after one that is COMPLETED: for the objects that this one failed to import. So the
-- attempts of which there is at most one are those that have not ended.
ALTER TABLE import_job
    MODIFY COLUMN open_attempt TINYINT AS (IF(status IN ('FAILED', 'COMPLETED'), NULL, 1)) STORED;

-- Which objects of its part an attempt imports, and why those. left_out counts the objects that a later association has sent
-- again with other content; of reason FORCED, those that it imports although this is so.
CREATE TABLE IF NOT EXISTS import_scope (
    association         VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part                INT           NOT NULL,
    attempt             INT           NOT NULL,
    reason              VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    objects             INT           NOT NULL,
    left_out            INT           NOT NULL,
    PRIMARY KEY (association, part, attempt)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- An attempt that imports some objects of its part imports copies of them, since HealthImaging imports whole prefixes.
-- copy_key is below the attempt's own prefix; position is the object's in the part's manifest, s3_key its own.
CREATE TABLE IF NOT EXISTS staged_copy (
    association         VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    part                INT           NOT NULL,
    attempt             INT           NOT NULL,
    position            INT           NOT NULL,
    s3_key              VARCHAR(1024) COLLATE utf8mb4_bin NOT NULL,
    copy_key            VARCHAR(1024) COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (association, part, attempt, position)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
