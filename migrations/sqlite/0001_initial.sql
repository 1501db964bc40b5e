-- The records of the authorization server. docs/storage.md says what each is and how long it lives.
-- Times are seconds since 1970. Opaque values are SHA-256 hashes of 32 bytes; no unbounded text is indexed.

CREATE TABLE keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    kind        TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    sealed      BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    retired_at  INTEGER,
    UNIQUE (kind, algorithm, generation)
) STRICT;

CREATE TABLE clients (
    id                 TEXT    NOT NULL PRIMARY KEY,
    id_hash            BLOB    NOT NULL UNIQUE,
    document           TEXT    NOT NULL,
    management_hash    BLOB,
    created_at         INTEGER NOT NULL,
    last_used_at       INTEGER NOT NULL,
    used               INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX clients_by_use ON clients (used, last_used_at);

CREATE TABLE people (
    id          TEXT    NOT NULL PRIMARY KEY,
    document    TEXT    NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE browsers (
    id                TEXT    NOT NULL PRIMARY KEY,
    token_hash        BLOB    NOT NULL UNIQUE,
    prior_token_hash  BLOB,
    subject_id        TEXT,
    authenticated_at  INTEGER,
    provider_session  TEXT,
    expires_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX browsers_by_prior ON browsers (prior_token_hash);
CREATE INDEX browsers_by_end ON browsers (expires_at);

CREATE TABLE transactions (
    id          TEXT    NOT NULL PRIMARY KEY,
    request     TEXT    NOT NULL,
    browser_id  TEXT,
    stage       TEXT    NOT NULL,
    subject_id  TEXT,
    grant_id    TEXT,
    state_hash  BLOB UNIQUE,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX transactions_by_browser ON transactions (browser_id);
CREATE INDEX transactions_by_end ON transactions (expires_at);

CREATE TABLE grants (
    id                TEXT    NOT NULL PRIMARY KEY,
    subject_id        TEXT    NOT NULL,
    client_id         TEXT    NOT NULL,
    client_hash       BLOB    NOT NULL,
    resource          TEXT    NOT NULL,
    route             TEXT    NOT NULL,
    scope             TEXT    NOT NULL,
    origin            TEXT    NOT NULL,
    issuer            TEXT    NOT NULL,
    redirect_host     TEXT    NOT NULL,
    authenticated_at  INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    revoked_at        INTEGER,
    revoked_because   TEXT
) STRICT;
CREATE INDEX grants_by_subject ON grants (subject_id);
CREATE INDEX grants_by_client ON grants (client_hash);
CREATE INDEX grants_by_revocation ON grants (revoked_at);
CREATE INDEX grants_by_end ON grants (expires_at);

CREATE TABLE codes (
    code_hash       BLOB    NOT NULL PRIMARY KEY,
    grant_id        TEXT    NOT NULL,
    client_id       TEXT    NOT NULL,
    redirect_uri    TEXT    NOT NULL,
    code_challenge  TEXT    NOT NULL,
    expires_at      INTEGER NOT NULL,
    consumed_at     INTEGER
) STRICT;
CREATE INDEX codes_by_end ON codes (expires_at);

CREATE TABLE refresh_tokens (
    token_hash      BLOB    NOT NULL PRIMARY KEY,
    grant_id        TEXT    NOT NULL,
    generation      INTEGER NOT NULL,
    derivation_key  TEXT    NOT NULL,
    issued_at       INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    superseded_at   INTEGER,
    UNIQUE (grant_id, generation)
) STRICT;
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

CREATE TABLE consents (
    subject_id     TEXT    NOT NULL,
    client_hash    BLOB    NOT NULL,
    redirect_hash  BLOB    NOT NULL,
    resource_hash  BLOB    NOT NULL,
    client_digest  BLOB    NOT NULL,
    scope          TEXT    NOT NULL,
    expires_at     INTEGER NOT NULL,
    PRIMARY KEY (subject_id, client_hash, redirect_hash, resource_hash)
) STRICT;
CREATE INDEX consents_by_end ON consents (expires_at);

CREATE TABLE assertion_ids (
    id_hash     BLOB    NOT NULL PRIMARY KEY,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX assertion_ids_by_end ON assertion_ids (expires_at);

CREATE TABLE client_documents (
    url_hash     BLOB    NOT NULL PRIMARY KEY,
    url          TEXT    NOT NULL,
    body         TEXT    NOT NULL,
    etag         TEXT,
    fetched_at   INTEGER NOT NULL,
    fresh_until  INTEGER NOT NULL
) STRICT;
CREATE INDEX client_documents_by_age ON client_documents (fetched_at);

CREATE TABLE audit (
    id          TEXT    NOT NULL PRIMARY KEY,
    at          INTEGER NOT NULL,
    event       TEXT    NOT NULL,
    subject_id  TEXT,
    client_id   TEXT,
    grant_id    TEXT,
    route       TEXT,
    reason      TEXT,
    peer        TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
