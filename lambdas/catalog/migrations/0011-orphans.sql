-- depends: 0010-scopes

-- What the sweep found astray (lambdas.logic.sweeping), one row for each kind and association. settled_at is when a sweep
-- did not find it any more, or had put it right; until then an operator may have to look.
CREATE TABLE IF NOT EXISTS orphan (
    kind                VARCHAR(32)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    association         VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    edge                VARCHAR(32)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    detail              VARCHAR(256)  COLLATE utf8mb4_bin NOT NULL,
    since               DATETIME(3)   NOT NULL,
    first_seen_at       DATETIME(3)   NOT NULL,
    last_seen_at        DATETIME(3)   NOT NULL,
    settled_at          DATETIME(3)   NULL,
    PRIMARY KEY (kind, association),
    KEY orphan_by_settled (settled_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
