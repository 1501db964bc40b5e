//! Signing and derivation keys, sealed.

use super::{Store, StoreError, in_transaction, read, write};
use crate::domain::UnixTime;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Signs access tokens and identity assertions.
    Signing,
    /// Derives codes, anti-forgery values and refresh-token successors.
    Derivation,
}

impl KeyKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Derivation => "derivation",
        }
    }
}

/// Where a key stands in its life (DISC-19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Known to all, used by nobody yet.
    Next,
    /// New values are made with it.
    Current,
    /// What was made with it still counts.
    Retired,
}

/// A key row. `sealed` opens at the place `key:{id}`. Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredKey {
    pub id: String,
    pub algorithm: String,
    pub generation: i64,
    pub sealed: Vec<u8>,
    pub created_at: i64,
    /// When it becomes, or became, current; absent while nobody has said so.
    pub in_force_at: Option<i64>,
    /// When another becomes, or became, current in its place.
    pub retired_at: Option<i64>,
}

impl StoredKey {
    #[must_use]
    pub fn state(&self, now: UnixTime) -> KeyState {
        if self.in_force_at.is_none_or(|at| at > now.0) {
            KeyState::Next
        } else if self.retired_at.is_some_and(|at| at <= now.0) {
            KeyState::Retired
        } else {
            KeyState::Current
        }
    }
}

/// One key taking the place of another.
#[derive(Debug)]
pub struct Succession<'a> {
    pub current: &'a str,
    pub next: &'a str,
    /// The moment of change.
    pub at: UnixTime,
    /// The key that is the next one from now on.
    pub after: &'a StoredKey,
}

const INSERT: &str = "INSERT INTO keys (id, kind, algorithm, generation, sealed, created_at, in_force_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

impl Store {
    /// All keys of a kind, newest generation first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self, kind: KeyKind) -> Result<Vec<StoredKey>, StoreError> {
        const SQL: &str = "SELECT id, algorithm, generation, sealed, created_at, in_force_at, retired_at FROM keys \
                           WHERE kind = $1 ORDER BY generation DESC";
        Ok(read!(self, |pool| sqlx::query_as(SQL).bind(kind.as_str()).fetch_all(pool).await)?)
    }

    /// A value that changes whenever a key comes, goes or changes its state: cheap enough to ask for twice a second.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys_version(&self) -> Result<KeysVersion, StoreError> {
        const SQL: &str = "SELECT id, in_force_at, retired_at FROM keys ORDER BY id";
        Ok(KeysVersion(read!(self, |pool| sqlx::query_as(SQL).fetch_all(pool).await)?))
    }

    /// Adds a key unless another gateway has already added that generation. Callers read the keys again
    /// afterwards, so that all agree on the winner's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_key(&self, kind: KeyKind, key: &StoredKey) -> Result<(), StoreError> {
        write!(self, |pool| sqlx::query(INSERT)
            .bind(&key.id)
            .bind(kind.as_str())
            .bind(&key.algorithm)
            .bind(key.generation)
            .bind(&key.sealed)
            .bind(key.created_at)
            .bind(key.in_force_at)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Puts the next key in the current one's place. Of any number of callers one gets true.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn succeed_key(&self, kind: KeyKind, succession: &Succession<'_>) -> Result<bool, StoreError> {
        const PROMOTE: &str = "UPDATE keys SET in_force_at = $2 WHERE id = $1 AND in_force_at IS NULL";
        const RETIRE: &str = "UPDATE keys SET retired_at = $2 WHERE id = $1 AND retired_at IS NULL";
        let at = succession.at.0;
        let after = succession.after;
        Ok(in_transaction!(self, |tx| {
            let promoted = sqlx::query(PROMOTE).bind(succession.next).bind(at).execute(&mut *tx).await?.rows_affected();
            if promoted == 1 {
                sqlx::query(RETIRE).bind(succession.current).bind(at).execute(&mut *tx).await?;
                sqlx::query(INSERT)
                    .bind(&after.id)
                    .bind(kind.as_str())
                    .bind(&after.algorithm)
                    .bind(after.generation)
                    .bind(&after.sealed)
                    .bind(after.created_at)
                    .bind(after.in_force_at)
                    .execute(&mut *tx)
                    .await?;
            }
            promoted == 1
        }))
    }

    /// Takes out keys that were retired before `since`, but for derivation keys that a refresh token still needs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge_keys(&self, since: UnixTime) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM keys WHERE retired_at < $1 AND (kind = 'signing' OR NOT EXISTS \
                           (SELECT 1 FROM refresh_tokens WHERE refresh_tokens.derivation_key = keys.id))";
        Ok(write!(self, |pool| sqlx::query(SQL).bind(since.0).execute(pool).await.map(|done| done.rows_affected()))?)
    }
}

/// What the keys were when somebody looked; see [`Store::keys_version`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeysVersion(Vec<(String, Option<i64>, Option<i64>)>);
