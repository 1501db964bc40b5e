-- The records of the authorization server. docs/storage.md says what each is and how long it lives.
-- Times are seconds since 1970. Opaque values are SHA-256 hashes of 32 bytes; no unbounded text is indexed.

CREATE TABLE keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    kind        TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    generation  BIGINT NOT NULL,
    sealed      BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    retired_at  BIGINT,
    UNIQUE (kind, algorithm, generation)
);

CREATE TABLE clients (
    id                 TEXT    NOT NULL PRIMARY KEY,
    id_hash            BYTEA  NOT NULL UNIQUE,
    document           TEXT    NOT NULL,
    management_hash    BYTEA,
    created_at         BIGINT NOT NULL,
    last_used_at       BIGINT NOT NULL,
    used               BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX clients_by_use ON clients (used, last_used_at);

CREATE TABLE people (
    id          TEXT    NOT NULL PRIMARY KEY,
    document    TEXT    NOT NULL,
    updated_at  BIGINT NOT NULL
);

CREATE TABLE browsers (
    id                TEXT    NOT NULL PRIMARY KEY,
    token_hash        BYTEA  NOT NULL UNIQUE,
    prior_token_hash  BYTEA,
    subject_id        TEXT,
    authenticated_at  BIGINT,
    provider_session  TEXT,
    expires_at        BIGINT NOT NULL
);
CREATE INDEX browsers_by_prior ON browsers (prior_token_hash);
CREATE INDEX browsers_by_end ON browsers (expires_at);

CREATE TABLE transactions (
    id          TEXT    NOT NULL PRIMARY KEY,
    request     TEXT    NOT NULL,
    browser_id  TEXT,
    stage       TEXT    NOT NULL,
    subject_id  TEXT,
    grant_id    TEXT,
    state_hash  BYTEA UNIQUE,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX transactions_by_browser ON transactions (browser_id);
CREATE INDEX transactions_by_end ON transactions (expires_at);

CREATE TABLE grants (
    id                TEXT    NOT NULL PRIMARY KEY,
    subject_id        TEXT    NOT NULL,
    client_id         TEXT    NOT NULL,
    client_hash       BYTEA  NOT NULL,
    resource          TEXT    NOT NULL,
    route             TEXT    NOT NULL,
    scope             TEXT    NOT NULL,
    origin            TEXT    NOT NULL,
    issuer            TEXT    NOT NULL,
    redirect_host     TEXT    NOT NULL,
    authenticated_at  BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    revoked_at        BIGINT,
    revoked_because   TEXT
);
CREATE INDEX grants_by_subject ON grants (subject_id);
CREATE INDEX grants_by_client ON grants (client_hash);
CREATE INDEX grants_by_revocation ON grants (revoked_at);
CREATE INDEX grants_by_end ON grants (expires_at);

CREATE TABLE codes (
    code_hash       BYTEA  NOT NULL PRIMARY KEY,
    grant_id        TEXT    NOT NULL,
    client_id       TEXT    NOT NULL,
    redirect_uri    TEXT    NOT NULL,
    code_challenge  TEXT    NOT NULL,
    expires_at      BIGINT NOT NULL,
    consumed_at     BIGINT
);
CREATE INDEX codes_by_end ON codes (expires_at);

CREATE TABLE refresh_tokens (
    token_hash      BYTEA  NOT NULL PRIMARY KEY,
    grant_id        TEXT    NOT NULL,
    generation      BIGINT NOT NULL,
    derivation_key  TEXT    NOT NULL,
    issued_at       BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    superseded_at   BIGINT,
    UNIQUE (grant_id, generation)
);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

CREATE TABLE consents (
    subject_id     TEXT    NOT NULL,
    client_hash    BYTEA  NOT NULL,
    redirect_hash  BYTEA  NOT NULL,
    resource_hash  BYTEA  NOT NULL,
    client_digest  BYTEA  NOT NULL,
    scope          TEXT    NOT NULL,
    expires_at     BIGINT NOT NULL,
    PRIMARY KEY (subject_id, client_hash, redirect_hash, resource_hash)
);
CREATE INDEX consents_by_end ON consents (expires_at);

CREATE TABLE assertion_ids (
    id_hash     BYTEA  NOT NULL PRIMARY KEY,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX assertion_ids_by_end ON assertion_ids (expires_at);

CREATE TABLE client_documents (
    url_hash     BYTEA  NOT NULL PRIMARY KEY,
    url          TEXT    NOT NULL,
    body         TEXT    NOT NULL,
    etag         TEXT,
    fetched_at   BIGINT NOT NULL,
    fresh_until  BIGINT NOT NULL
);
CREATE INDEX client_documents_by_age ON client_documents (fetched_at);

CREATE TABLE audit (
    id          TEXT    NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    event       TEXT    NOT NULL,
    subject_id  TEXT,
    client_id   TEXT,
    grant_id    TEXT,
    route       TEXT,
    reason      TEXT,
    peer        TEXT
);
CREATE INDEX audit_by_time ON audit (at);
