-- A login at the identity provider, shared by the grants and browsers that came of it (IDP-12).

CREATE TABLE login_sessions (
    id                TEXT    NOT NULL PRIMARY KEY,
    -- SHA-256 over the person and the provider's session id: one record per login session of the provider.
    session_hash      BLOB    NOT NULL UNIQUE,
    subject_id        TEXT    NOT NULL,
    provider_session  TEXT,
    sealed_token      BLOB,
    version           INTEGER NOT NULL,
    signed_in_at      INTEGER NOT NULL,
    synced_at         INTEGER NOT NULL,
    claimed_at        INTEGER,
    in_doubt          INTEGER NOT NULL DEFAULT 0,
    failing_since     INTEGER,
    retry_at          INTEGER NOT NULL DEFAULT 0,
    ended_at          INTEGER
) STRICT;
CREATE INDEX login_sessions_by_age ON login_sessions (signed_in_at);

ALTER TABLE grants ADD COLUMN login_session TEXT;
CREATE INDEX grants_by_login_session ON grants (login_session);
ALTER TABLE browsers ADD COLUMN login_session TEXT;
CREATE INDEX browsers_by_login_session ON browsers (login_session);
