-- depends: 0006-external-objects

-- Every removal that S3 told of below `external/`, so that one whose event came before that of what it removed is known then.
-- removed_hash is the object_hash of the version that was deleted, or key_hash where all before it are gone: by a delete
-- marker, or in a bucket without versions.
CREATE TABLE IF NOT EXISTS external_removal (
    removed_hash        CHAR(64)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sequencer           VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    removed_at          DATETIME(3)   NOT NULL,
    PRIMARY KEY (removed_hash, sequencer)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
