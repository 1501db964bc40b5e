-- Registered ids that must not be revived from what they say of themselves (DCR-10): deliberately deleted, or
-- changed since, so that they say what no longer holds.

CREATE TABLE client_tombstones (
    id_hash  BYTEA   NOT NULL PRIMARY KEY,
    deleted  BIGINT  NOT NULL,
    used     BIGINT  NOT NULL,
    at       BIGINT  NOT NULL
);
CREATE INDEX client_tombstones_by_use ON client_tombstones (used, at);
