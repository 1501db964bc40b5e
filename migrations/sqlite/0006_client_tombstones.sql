-- Registered ids that must not be revived from what they say of themselves (DCR-10): deliberately deleted, or
-- changed since, so that they say what no longer holds.

CREATE TABLE client_tombstones (
    id_hash  BLOB    NOT NULL PRIMARY KEY,
    deleted  INTEGER NOT NULL,
    used     INTEGER NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX client_tombstones_by_use ON client_tombstones (used, at);
