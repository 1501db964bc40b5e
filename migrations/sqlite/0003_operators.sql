-- Key states, a verifiable audit trail, and when a grant's tokens were last used.

-- When a key begins to sign or derive; NULL while it is the next one, published but not used.
ALTER TABLE keys ADD COLUMN in_force_at INTEGER;
UPDATE keys SET in_force_at = created_at;

ALTER TABLE audit ADD COLUMN chain      TEXT;
ALTER TABLE audit ADD COLUMN seq        INTEGER;
ALTER TABLE audit ADD COLUMN request_id TEXT;
ALTER TABLE audit ADD COLUMN outcome    TEXT;
ALTER TABLE audit ADD COLUMN operator   TEXT;
ALTER TABLE audit ADD COLUMN hash       BLOB;
CREATE UNIQUE INDEX audit_by_chain ON audit (chain, seq);

CREATE TABLE audit_chains (
    chain       TEXT    NOT NULL PRIMARY KEY,
    anchor_seq  INTEGER NOT NULL,
    anchor      BLOB    NOT NULL,
    last_seq    INTEGER NOT NULL,
    head        BLOB    NOT NULL
) STRICT;

ALTER TABLE grants ADD COLUMN used_at INTEGER;
CREATE INDEX grants_by_creation ON grants (created_at);
