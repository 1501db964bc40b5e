-- Key states, a verifiable audit trail, and when a grant's tokens were last used.

-- When a key begins to sign or derive; NULL while it is the next one, published but not used.
ALTER TABLE keys ADD COLUMN in_force_at BIGINT;
UPDATE keys SET in_force_at = created_at;

ALTER TABLE audit ADD COLUMN chain      TEXT;
ALTER TABLE audit ADD COLUMN seq        BIGINT;
ALTER TABLE audit ADD COLUMN request_id TEXT;
ALTER TABLE audit ADD COLUMN outcome    TEXT;
ALTER TABLE audit ADD COLUMN operator   TEXT;
ALTER TABLE audit ADD COLUMN hash       BYTEA;
CREATE UNIQUE INDEX audit_by_chain ON audit (chain, seq);

CREATE TABLE audit_chains (
    chain       TEXT    NOT NULL PRIMARY KEY,
    anchor_seq  BIGINT NOT NULL,
    anchor      BYTEA    NOT NULL,
    last_seq    BIGINT NOT NULL,
    head        BYTEA    NOT NULL
);

ALTER TABLE grants ADD COLUMN used_at BIGINT;
CREATE INDEX grants_by_creation ON grants (created_at);
