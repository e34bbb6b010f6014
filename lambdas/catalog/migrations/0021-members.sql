-- depends: 0001-tables

-- The associations that share a manifest: of each, the one that the manifest, the objects and the execution are named after,
-- which is the first of them by position. An association with a manifest of its own has no row. objects counts what it brought, repeats
-- and quarantined ones too.
CREATE TABLE IF NOT EXISTS association_member (
    member              VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    association         VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    position            INT           NOT NULL,
    started_at          DATETIME(3)   NOT NULL,
    ended_at            DATETIME(3)   NOT NULL,
    ending              VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    objects             INT           NOT NULL,
    PRIMARY KEY (member),
    KEY association_member_by_association (association)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
