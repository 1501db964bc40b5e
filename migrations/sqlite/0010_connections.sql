-- Credentials for the servers behind: one connection for each upstream and person, or for all.

CREATE TABLE upstream_connections (
    id                TEXT    NOT NULL PRIMARY KEY,
    upstream_id       TEXT    NOT NULL,
    -- NULL for one that everyone shares.
    subject_id        TEXT,
    server            TEXT    NOT NULL,
    sealed            BLOB    NOT NULL,
    scope             TEXT    NOT NULL,
    missing_scope     TEXT    NOT NULL DEFAULT '',
    expires_at        INTEGER,
    renew_at          INTEGER,
    has_refresh_token INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    generation        INTEGER NOT NULL,
    connected_at      INTEGER NOT NULL,
    used_at           INTEGER NOT NULL,
    claimed_at        INTEGER,
    retry_at          INTEGER NOT NULL DEFAULT 0,
    needs_consent     TEXT
) STRICT;
CREATE INDEX upstream_connections_by_subject ON upstream_connections (subject_id);
CREATE INDEX upstream_connections_by_use ON upstream_connections (used_at);

-- What the gateway registered itself as, at the authorization servers of upstreams.
CREATE TABLE upstream_registrations (
    id                TEXT    NOT NULL PRIMARY KEY,
    upstream_id       TEXT    NOT NULL,
    sealed            BLOB    NOT NULL,
    used_at           INTEGER NOT NULL
) STRICT;
CREATE INDEX upstream_registrations_by_use ON upstream_registrations (used_at);

-- Browsers on their way to an upstream's authorization server and back.
CREATE TABLE upstream_attempts (
    id                TEXT    NOT NULL PRIMARY KEY,
    state_hash        BLOB    NOT NULL UNIQUE,
    browser_id        TEXT    NOT NULL,
    sealed            BLOB    NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX upstream_attempts_by_browser ON upstream_attempts (browser_id);
CREATE INDEX upstream_attempts_by_age ON upstream_attempts (expires_at);
