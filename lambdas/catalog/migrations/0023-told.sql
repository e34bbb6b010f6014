-- depends: 0001-tables

-- told_at is when people were told of the end that status says (lambdas.logic.following); NULL while there is none, or nobody
-- was told. Ends that are older than the column were told of, as well as it was known then.
ALTER TABLE association
    ADD COLUMN told_at DATETIME(3) NULL,
    ADD KEY association_by_told (told_at, status);

UPDATE association SET told_at = status_changed_at WHERE told_at IS NULL AND status NOT IN ('REGISTERED', 'RUNNING');
