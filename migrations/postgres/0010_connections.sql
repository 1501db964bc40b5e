-- Credentials for the servers behind: one connection for each upstream and person, or for all.

CREATE TABLE upstream_connections (
    id                TEXT    NOT NULL PRIMARY KEY,
    upstream_id       TEXT    NOT NULL,
    -- NULL for one that everyone shares.
    subject_id        TEXT,
    server            TEXT    NOT NULL,
    sealed            BYTEA   NOT NULL,
    scope             TEXT    NOT NULL,
    missing_scope     TEXT    NOT NULL DEFAULT '',
    expires_at        BIGINT,
    renew_at          BIGINT,
    has_refresh_token BIGINT  NOT NULL,
    version           BIGINT  NOT NULL,
    generation        BIGINT  NOT NULL,
    connected_at      BIGINT  NOT NULL,
    used_at           BIGINT  NOT NULL,
    claimed_at        BIGINT,
    retry_at          BIGINT  NOT NULL DEFAULT 0,
    needs_consent     TEXT
);
CREATE INDEX upstream_connections_by_subject ON upstream_connections (subject_id);
CREATE INDEX upstream_connections_by_use ON upstream_connections (used_at);

-- What the gateway registered itself as, at the authorization servers of upstreams.
CREATE TABLE upstream_registrations (
    id                TEXT    NOT NULL PRIMARY KEY,
    upstream_id       TEXT    NOT NULL,
    sealed            BYTEA   NOT NULL,
    used_at           BIGINT NOT NULL
);
CREATE INDEX upstream_registrations_by_use ON upstream_registrations (used_at);

-- Browsers on their way to an upstream's authorization server and back.
CREATE TABLE upstream_attempts (
    id                TEXT    NOT NULL PRIMARY KEY,
    state_hash        BYTEA   NOT NULL UNIQUE,
    browser_id        TEXT    NOT NULL,
    sealed            BYTEA   NOT NULL,
    created_at        BIGINT  NOT NULL,
    expires_at        BIGINT  NOT NULL
);
CREATE INDEX upstream_attempts_by_browser ON upstream_attempts (browser_id);
CREATE INDEX upstream_attempts_by_age ON upstream_attempts (expires_at);
