-- What the identity provider vouches for a person with to others: the ID token of their last sign-in.

CREATE TABLE subject_tokens (
    -- The person.
    id                TEXT    NOT NULL PRIMARY KEY,
    sealed            BLOB    NOT NULL,
    expires_at        INTEGER NOT NULL,
    obtained_at       INTEGER NOT NULL,
    renewable         INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    generation        INTEGER NOT NULL,
    claimed_at        INTEGER,
    retry_at          INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX subject_tokens_by_age ON subject_tokens (obtained_at);
