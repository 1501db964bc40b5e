//! Taking out what has expired, in bounded batches (STORE-9, DCR-9).

use std::time::Duration;

use super::{ANONYMOUS, CALLS, IDENTIFIED, Store, StoreError, write};
use crate::domain::UnixTime;

/// Expired grants, codes and refresh tokens stay for a day, so that a replay is still told from a stranger.
const AFTERLIFE: Duration = Duration::from_secs(24 * 3600);
/// Metadata documents nobody asked for.
const DOCUMENT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Credentials for servers behind that nobody used.
const CONNECTION_AGE: Duration = Duration::from_secs(400 * 24 * 3600);
/// Audit records.
const AUDIT_AGE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Audit records about nobody: anyone can cause them by registering clients, so they must not pile up (DCR-11).
const ANONYMOUS_AUDIT_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Audit records about calls: there are as many as there are calls.
const CALL_AUDIT_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// How many rows one batch took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    pub rows: u64,
    /// Whether some table filled its batch, so that another is due at once.
    pub more: bool,
}

/// Table, its statement with `$1` the cutoff and `$2` the batch size.
const STATEMENTS: &[(&str, &str)] = &[
    ("now", "DELETE FROM transactions WHERE id IN (SELECT id FROM transactions WHERE expires_at < $1 LIMIT $2)"),
    ("now", "DELETE FROM browsers WHERE id IN (SELECT id FROM browsers WHERE expires_at < $1 LIMIT $2)"),
    (
        "now",
        "DELETE FROM consents WHERE client_hash IN (SELECT client_hash FROM consents WHERE expires_at < $1 LIMIT $2) AND expires_at < $1",
    ),
    (
        "now",
        "DELETE FROM assertion_ids WHERE id_hash IN (SELECT id_hash FROM assertion_ids WHERE expires_at < $1 LIMIT $2)",
    ),
    ("afterlife", "DELETE FROM codes WHERE code_hash IN (SELECT code_hash FROM codes WHERE expires_at < $1 LIMIT $2)"),
    (
        "afterlife",
        "DELETE FROM refresh_tokens WHERE token_hash IN (SELECT token_hash FROM refresh_tokens WHERE expires_at < $1 LIMIT $2)",
    ),
    (
        "afterlife",
        "DELETE FROM refresh_tokens WHERE token_hash IN (SELECT t.token_hash FROM refresh_tokens t JOIN grants g ON g.id = t.grant_id WHERE g.revoked_at < $1 OR g.expires_at < $1 LIMIT $2)",
    ),
    (
        "afterlife",
        "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at < $1 OR revoked_at < $1 LIMIT $2)",
    ),
    (
        "idle",
        "DELETE FROM clients WHERE id IN (SELECT id FROM clients WHERE last_used_at < $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_hash = clients.id_hash AND grants.revoked_at IS NULL) AND NOT EXISTS (SELECT 1 FROM transactions WHERE transactions.client_hash = clients.id_hash) LIMIT $2)",
    ),
    (
        "document",
        "DELETE FROM client_documents WHERE url_hash IN (SELECT url_hash FROM client_documents WHERE fetched_at < $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_hash = client_documents.url_hash) LIMIT $2)",
    ),
    // Anyone can make us fetch documents under any number of names: of those that no grant hangs on, the newest stay.
    (
        "now",
        "DELETE FROM client_documents WHERE url_hash IN (SELECT url_hash FROM client_documents WHERE fetched_at <= $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_hash = client_documents.url_hash) ORDER BY fetched_at DESC LIMIT $2 OFFSET 10000)",
    ),
    // Anyone can register and delete: of clients that nobody ever let in, the newest tombstones stay (DCR-11).
    (
        "now",
        "DELETE FROM client_tombstones WHERE id_hash IN (SELECT id_hash FROM client_tombstones WHERE used = 0 AND at <= $1 ORDER BY at DESC LIMIT $2 OFFSET 100000)",
    ),
    (
        "afterlife",
        "DELETE FROM login_sessions WHERE id IN (SELECT id FROM login_sessions WHERE signed_in_at < $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.login_session = login_sessions.id) AND NOT EXISTS (SELECT 1 FROM browsers WHERE browsers.login_session = login_sessions.id) LIMIT $2)",
    ),
    // Of people whom no client may act for, and those that nothing makes good again.
    (
        "afterlife",
        "DELETE FROM subject_tokens WHERE id IN (SELECT id FROM subject_tokens WHERE obtained_at < $1 AND ((renewable = 0 AND expires_at < $1) OR (NOT EXISTS (SELECT 1 FROM grants WHERE grants.subject_id = subject_tokens.id AND grants.revoked_at IS NULL) AND NOT EXISTS (SELECT 1 FROM browsers WHERE browsers.subject_id = subject_tokens.id))) LIMIT $2)",
    ),
    (
        "now",
        "DELETE FROM upstream_attempts WHERE id IN (SELECT id FROM upstream_attempts WHERE expires_at < $1 LIMIT $2)",
    ),
    (
        "connection",
        "DELETE FROM upstream_connections WHERE id IN (SELECT id FROM upstream_connections WHERE used_at < $1 LIMIT $2)",
    ),
    (
        "connection",
        "DELETE FROM upstream_registrations WHERE id IN (SELECT id FROM upstream_registrations WHERE used_at < $1 LIMIT $2)",
    ),
    (
        "anonymous audit",
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE chain IS NULL AND at < $1 AND subject_id IS NULL ORDER BY at LIMIT $2)",
    ),
    ("audit", "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE chain IS NULL AND at < $1 LIMIT $2)"),
    (
        "afterlife",
        "DELETE FROM people WHERE id IN (SELECT id FROM people WHERE updated_at < $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.subject_id = people.id) AND NOT EXISTS (SELECT 1 FROM browsers WHERE browsers.subject_id = people.id) LIMIT $2)",
    ),
];

impl Store {
    /// Takes out at most `batch` expired rows of each table. `client_idle` is the age at which a registration
    /// without a grant goes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, now: UnixTime, client_idle: Duration, batch: u32) -> Result<Purged, StoreError> {
        let mut purged = Purged { rows: 0, more: false };
        for (age, sql) in STATEMENTS {
            let cutoff = match *age {
                "afterlife" => now.minus(AFTERLIFE),
                "idle" => now.minus(client_idle),
                "document" => now.minus(DOCUMENT_AGE),
                "connection" => now.minus(CONNECTION_AGE),
                "audit" => now.minus(AUDIT_AGE),
                "anonymous audit" => now.minus(ANONYMOUS_AUDIT_AGE),
                _ => now,
            };
            let rows = write!(self, |pool| sqlx::query(*sql)
                .bind(cutoff.0)
                .bind(i64::from(batch))
                .execute(pool)
                .await
                .map(|done| done.rows_affected()))?;
            purged.rows += rows;
            purged.more |= rows >= u64::from(batch);
        }
        for (chain, age) in [(IDENTIFIED, AUDIT_AGE), (ANONYMOUS, ANONYMOUS_AUDIT_AGE), (CALLS, CALL_AUDIT_AGE)] {
            let rows = self.purge_audit(chain, now.minus(age), batch).await?;
            purged.rows += rows;
            purged.more |= rows >= u64::from(batch);
        }
        Ok(purged)
    }
}
