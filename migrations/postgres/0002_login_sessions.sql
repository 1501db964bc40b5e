-- A login at the identity provider, shared by the grants and browsers that came of it (IDP-12).

CREATE TABLE login_sessions (
    id                TEXT    NOT NULL PRIMARY KEY,
    -- SHA-256 over the person and the provider's session id: one record per login session of the provider.
    session_hash      BYTEA    NOT NULL UNIQUE,
    subject_id        TEXT    NOT NULL,
    provider_session  TEXT,
    sealed_token      BYTEA,
    version           BIGINT NOT NULL,
    signed_in_at      BIGINT NOT NULL,
    synced_at         BIGINT NOT NULL,
    claimed_at        BIGINT,
    in_doubt          BIGINT NOT NULL DEFAULT 0,
    failing_since     BIGINT,
    retry_at          BIGINT NOT NULL DEFAULT 0,
    ended_at          BIGINT
);
CREATE INDEX login_sessions_by_age ON login_sessions (signed_in_at);

ALTER TABLE grants ADD COLUMN login_session TEXT;
CREATE INDEX grants_by_login_session ON grants (login_session);
ALTER TABLE browsers ADD COLUMN login_session TEXT;
CREATE INDEX browsers_by_login_session ON browsers (login_session);
