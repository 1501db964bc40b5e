//! Connections to the servers behind, the ways there that are under way, and what the gateway registered itself as.
//! Every change of a connection is made against the version that was read.

use std::collections::HashMap;

use super::{Store, StoreError, in_transaction, read, write};
use crate::crypto::SecretHash;
use crate::domain::connection::{Connection, ConnectionId, ConsentNeeded, Owner};
use crate::domain::{BrowserId, SubjectId, UnixTime};

/// Attempts of one browser that may be under way at once; the oldest give way.
const ATTEMPTS_PER_BROWSER: i64 = 20;
/// Rows on a page of a list.
const PAGE: i64 = 500;
/// Ids in one question.
const ASKED_AT_ONCE: usize = 500;

#[derive(sqlx::FromRow)]
struct ConnectionRow {
    id: String,
    upstream_id: String,
    subject_id: Option<String>,
    server: String,
    sealed: Vec<u8>,
    scope: String,
    missing_scope: String,
    expires_at: Option<i64>,
    renew_at: Option<i64>,
    has_refresh_token: i64,
    version: i64,
    generation: i64,
    connected_at: i64,
    used_at: i64,
    claimed_at: Option<i64>,
    retry_at: i64,
    needs_consent: Option<String>,
}

impl ConnectionRow {
    fn into_connection(self) -> Result<Connection, StoreError> {
        let needs_consent = match self.needs_consent.as_deref() {
            None => None,
            Some(reason) => Some(ConsentNeeded::parse(reason).ok_or(StoreError::Unreadable("connection"))?),
        };
        Ok(Connection {
            id: ConnectionId::new(self.id),
            upstream: self.upstream_id,
            owner: self.subject_id.map_or(Owner::Everyone, |subject| Owner::Person(SubjectId::new(subject))),
            server: self.server,
            sealed: self.sealed,
            scope: self.scope,
            missing_scope: self.missing_scope,
            expires_at: self.expires_at.map(UnixTime),
            renew_at: self.renew_at.map(UnixTime),
            has_refresh_token: self.has_refresh_token != 0,
            version: self.version,
            generation: self.generation,
            connected_at: UnixTime(self.connected_at),
            used_at: UnixTime(self.used_at),
            claimed_at: self.claimed_at.map(UnixTime),
            retry_at: UnixTime(self.retry_at),
            needs_consent,
        })
    }
}

const COLUMNS: &str = "id, upstream_id, subject_id, server, sealed, scope, missing_scope, expires_at, renew_at, \
     has_refresh_token, version, generation, connected_at, used_at, claimed_at, retry_at, needs_consent";

/// A browser on its way to an upstream's authorization server. What `sealed` holds opens at the place that `id` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectAttempt {
    pub id: String,
    pub browser: BrowserId,
    pub sealed: Vec<u8>,
    pub created_at: UnixTime,
    pub expires_at: UnixTime,
}

/// What the gateway registered itself as. `sealed` opens at the place that `id` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRegistration {
    pub id: String,
    /// The upstream's id.
    pub upstream: String,
    pub sealed: Vec<u8>,
    pub used_at: UnixTime,
}

impl Store {
    /// # Errors
    /// [`StoreError`].
    pub async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM upstream_connections WHERE id = $1"));
        let row: Option<ConnectionRow> =
            read!(self, |pool| sqlx::query_as(sql).bind(id.as_str()).fetch_optional(pool).await)?;
        row.map(ConnectionRow::into_connection).transpose()
    }

    /// Those of `ids` that nobody has to connect anew, each with when it was connected.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing_connections(
        &self,
        ids: &[ConnectionId],
    ) -> Result<HashMap<ConnectionId, UnixTime>, StoreError> {
        let mut standing = HashMap::new();
        for ids in ids.chunks(ASKED_AT_ONCE) {
            let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
            let sql = sqlx::AssertSqlSafe(format!(
                "SELECT id, connected_at FROM upstream_connections WHERE needs_consent IS NULL AND id IN ({})",
                places.join(", ")
            ));
            let rows: Vec<(String, i64)> = read!(self, |pool| {
                // Each number of ids is another statement.
                let query = sqlx::query_as(sql).persistent(false);
                ids.iter().fold(query, |query, id| query.bind(id.as_str())).fetch_all(pool).await
            })?;
            standing.extend(rows.into_iter().map(|(id, since)| (ConnectionId::new(id), UnixTime(since))));
        }
        Ok(standing)
    }

    /// Puts a fresh credential in the place of whatever there was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn connect(&self, new: &Connection) -> Result<(), StoreError> {
        // A fresh row counts on from the time, so that no number of an earlier one comes again.
        const SQL: &str = "INSERT INTO upstream_connections (id, upstream_id, subject_id, server, sealed, scope, \
             expires_at, renew_at, has_refresh_token, version, generation, connected_at, used_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $10, $10) ON CONFLICT (id) DO UPDATE SET \
             server = excluded.server, sealed = excluded.sealed, scope = excluded.scope, missing_scope = '', \
             expires_at = excluded.expires_at, renew_at = excluded.renew_at, has_refresh_token = excluded.has_refresh_token, \
             version = upstream_connections.version + 1, generation = upstream_connections.generation + 1, \
             connected_at = excluded.connected_at, used_at = excluded.used_at, claimed_at = NULL, retry_at = 0, \
             needs_consent = NULL";
        write!(self, |pool| sqlx::query(SQL)
            .bind(new.id.as_str())
            .bind(&new.upstream)
            .bind(new.owner.subject().map(SubjectId::as_str))
            .bind(&new.server)
            .bind(&new.sealed)
            .bind(&new.scope)
            .bind(new.expires_at.map(|at| at.0))
            .bind(new.renew_at.map(|at| at.0))
            .bind(i64::from(new.has_refresh_token))
            .bind(new.connected_at.0)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Writes `next` over the connection that was read at `read_version`. Of any number of callers with that version
    /// exactly one gets true.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_connection(&self, read_version: i64, next: &Connection) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE upstream_connections SET sealed = $3, missing_scope = $4, expires_at = $5, \
             has_refresh_token = $6, version = $7, generation = $8, claimed_at = $9, retry_at = $10, \
             needs_consent = $11, renew_at = $12 WHERE id = $1 AND version = $2";
        Ok(write!(self, |pool| sqlx::query(SQL)
            .bind(next.id.as_str())
            .bind(read_version)
            .bind(&next.sealed)
            .bind(&next.missing_scope)
            .bind(next.expires_at.map(|at| at.0))
            .bind(i64::from(next.has_refresh_token))
            .bind(next.version)
            .bind(next.generation)
            .bind(next.claimed_at.map(|at| at.0))
            .bind(next.retry_at.0)
            .bind(next.needs_consent.map(ConsentNeeded::as_str))
            .bind(next.renew_at.map(|at| at.0))
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1))?)
    }

    /// Notes that a connection is in use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn connection_used(&self, id: &ConnectionId, now: UnixTime) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE upstream_connections SET used_at = $2 WHERE id = $1";
        write!(self, |pool| sqlx::query(SQL).bind(id.as_str()).bind(now.0).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Takes a connection out. Gives it to the one caller that did.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("DELETE FROM upstream_connections WHERE id = $1 RETURNING {COLUMNS}"));
        let row: Option<ConnectionRow> =
            write!(self, |pool| sqlx::query_as(sql).bind(id.as_str()).fetch_optional(pool).await)?;
        row.map(ConnectionRow::into_connection).transpose()
    }

    /// Connections in the order of their ids: those after `after`, a page of them. Of one person, or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn connections(&self, of: Option<&SubjectId>, after: &str) -> Result<Vec<Connection>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM upstream_connections WHERE id > $1 AND (subject_id = $2 OR $3 = 1) \
             ORDER BY id LIMIT $4"
        ));
        let rows: Vec<ConnectionRow> = read!(self, |pool| sqlx::query_as(sql)
            .bind(after)
            .bind(of.map(SubjectId::as_str))
            .bind(i64::from(of.is_none()))
            .bind(PAGE)
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(ConnectionRow::into_connection).collect()
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn begin_attempt(&self, attempt: &ConnectAttempt, state: &SecretHash) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO upstream_attempts (id, state_hash, browser_id, sealed, created_at, \
             expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
        const BOUND: &str = "DELETE FROM upstream_attempts WHERE browser_id = $1 AND id NOT IN \
             (SELECT id FROM upstream_attempts WHERE browser_id = $1 ORDER BY created_at DESC, id LIMIT $2)";
        in_transaction!(self, |tx| {
            sqlx::query(BOUND).bind(attempt.browser.as_str()).bind(ATTEMPTS_PER_BROWSER - 1).execute(&mut *tx).await?;
            sqlx::query(INSERT)
                .bind(&attempt.id)
                .bind(state.as_bytes().as_slice())
                .bind(attempt.browser.as_str())
                .bind(&attempt.sealed)
                .bind(attempt.created_at.0)
                .bind(attempt.expires_at.0)
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// Takes the attempt that a `state` belongs to, if it began in this browser. Exactly one caller gets it; in another
    /// browser it stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_attempt(
        &self,
        state: &SecretHash,
        browser: &BrowserId,
        now: UnixTime,
    ) -> Result<Option<ConnectAttempt>, StoreError> {
        const SQL: &str = "DELETE FROM upstream_attempts WHERE state_hash = $1 AND browser_id = $2 \
             AND expires_at > $3 RETURNING id, browser_id, sealed, created_at, expires_at";
        let row: Option<(String, String, Vec<u8>, i64, i64)> = write!(self, |pool| sqlx::query_as(SQL)
            .bind(state.as_bytes().as_slice())
            .bind(browser.as_str())
            .bind(now.0)
            .fetch_optional(pool)
            .await)?;
        Ok(row.map(|(id, browser, sealed, created_at, expires_at)| ConnectAttempt {
            id,
            browser: BrowserId::new(browser),
            sealed,
            created_at: UnixTime(created_at),
            expires_at: UnixTime(expires_at),
        }))
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn upstream_registration(&self, id: &str) -> Result<Option<UpstreamRegistration>, StoreError> {
        const SQL: &str = "SELECT id, upstream_id, sealed, used_at FROM upstream_registrations WHERE id = $1";
        let row: Option<(String, String, Vec<u8>, i64)> =
            read!(self, |pool| sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(|(id, upstream, sealed, used_at)| UpstreamRegistration {
            id,
            upstream,
            sealed,
            used_at: UnixTime(used_at),
        }))
    }

    /// Keeps a registration in the place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save_upstream_registration(&self, registration: &UpstreamRegistration) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO upstream_registrations (id, upstream_id, sealed, used_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, \
             used_at = excluded.used_at";
        write!(self, |pool| sqlx::query(SQL)
            .bind(&registration.id)
            .bind(&registration.upstream)
            .bind(&registration.sealed)
            .bind(registration.used_at.0)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Takes out a registration that its server does not know any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn drop_upstream_registration(&self, id: &str) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM upstream_registrations WHERE id = $1";
        write!(self, |pool| sqlx::query(SQL).bind(id).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Takes out every registration for an upstream. Gives how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_upstream_registrations(&self, upstream: &str) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM upstream_registrations WHERE upstream_id = $1";
        Ok(write!(self, |pool| sqlx::query(SQL).bind(upstream).execute(pool).await.map(|done| done.rows_affected()))?)
    }
}
