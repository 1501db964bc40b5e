//! What the identity provider vouches for people with, one for each. Every change is made against the version that was
//! read.

use super::{Store, StoreError, read, write};
use crate::domain::{SubjectId, SubjectToken, UnixTime};

#[derive(sqlx::FromRow)]
struct SubjectTokenRow {
    id: String,
    sealed: Vec<u8>,
    expires_at: i64,
    obtained_at: i64,
    renewable: i64,
    version: i64,
    generation: i64,
    claimed_at: Option<i64>,
    retry_at: i64,
}

impl From<SubjectTokenRow> for SubjectToken {
    fn from(row: SubjectTokenRow) -> Self {
        Self {
            subject: SubjectId::new(row.id),
            sealed: row.sealed,
            expires_at: UnixTime(row.expires_at),
            obtained_at: UnixTime(row.obtained_at),
            renewable: row.renewable != 0,
            version: row.version,
            generation: row.generation,
            claimed_at: row.claimed_at.map(UnixTime),
            retry_at: UnixTime(row.retry_at),
        }
    }
}

impl Store {
    /// # Errors
    /// [`StoreError`].
    pub async fn subject_token(&self, subject: &SubjectId) -> Result<Option<SubjectToken>, StoreError> {
        const SQL: &str = "SELECT id, sealed, expires_at, obtained_at, renewable, version, generation, claimed_at, \
             retry_at FROM subject_tokens WHERE id = $1";
        let row: Option<SubjectTokenRow> =
            read!(self, |pool| sqlx::query_as(SQL).bind(subject.as_str()).fetch_optional(pool).await)?;
        Ok(row.map(SubjectToken::from))
    }

    /// Puts the token of a sign-in, valid until `expires_at`, in the place of whatever there was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_subject_token(
        &self,
        subject: &SubjectId,
        sealed: &[u8],
        (expires_at, renewable): (UnixTime, bool),
        now: UnixTime,
    ) -> Result<(), StoreError> {
        // A fresh row counts on from the time, so that no number of an earlier one comes again.
        const SQL: &str = "INSERT INTO subject_tokens \
             (id, sealed, expires_at, renewable, obtained_at, version, generation) \
             VALUES ($1, $2, $3, $4, $5, 1, $5) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, \
             expires_at = excluded.expires_at, renewable = excluded.renewable, obtained_at = excluded.obtained_at, \
             version = subject_tokens.version + 1, generation = subject_tokens.generation + 1, claimed_at = NULL, \
             retry_at = 0";
        write!(self, |pool| sqlx::query(SQL)
            .bind(subject.as_str())
            .bind(sealed)
            .bind(expires_at.0)
            .bind(i64::from(renewable))
            .bind(now.0)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Writes `next` over the record that was read at `read_version`. Of any number of callers with that version
    /// exactly one gets true.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_subject_token(&self, read_version: i64, next: &SubjectToken) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE subject_tokens SET sealed = $3, expires_at = $4, obtained_at = $5, renewable = $6, \
             version = $7, generation = $8, claimed_at = $9, retry_at = $10 WHERE id = $1 AND version = $2";
        Ok(write!(self, |pool| sqlx::query(SQL)
            .bind(next.subject.as_str())
            .bind(read_version)
            .bind(&next.sealed)
            .bind(next.expires_at.0)
            .bind(next.obtained_at.0)
            .bind(i64::from(next.renewable))
            .bind(next.version)
            .bind(next.generation)
            .bind(next.claimed_at.map(|at| at.0))
            .bind(next.retry_at.0)
            .execute(pool)
            .await
            .map(|done| done.rows_affected() == 1))?)
    }
}
