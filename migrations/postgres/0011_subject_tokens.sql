-- What the identity provider vouches for a person with to others: the ID token of their last sign-in.

CREATE TABLE subject_tokens (
    -- The person.
    id                TEXT    NOT NULL PRIMARY KEY,
    sealed            BYTEA   NOT NULL,
    expires_at        BIGINT  NOT NULL,
    obtained_at       BIGINT  NOT NULL,
    renewable         BIGINT  NOT NULL,
    version           BIGINT  NOT NULL,
    generation        BIGINT  NOT NULL,
    claimed_at        BIGINT,
    retry_at          BIGINT  NOT NULL DEFAULT 0
);
CREATE INDEX subject_tokens_by_age ON subject_tokens (obtained_at);
