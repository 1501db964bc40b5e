//! Sealed key material: signing keys and derivation keys (SEC-3, SEC-4).

use super::{Store, StoreError, read, write};
/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Signs access tokens.
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

/// A key row. `sealed` opens at the place `key:{id}`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StoredKey {
    pub id: String,
    pub algorithm: String,
    pub generation: i64,
    pub sealed: Vec<u8>,
    pub created_at: i64,
    pub retired_at: Option<i64>,
}

impl Store {
    /// All keys of a kind, newest generation first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self, kind: KeyKind) -> Result<Vec<StoredKey>, StoreError> {
        const SQL: &str = "SELECT id, algorithm, generation, sealed, created_at, retired_at FROM keys \
                           WHERE kind = $1 ORDER BY generation DESC";
        Ok(read!(self, |pool| sqlx::query_as(SQL).bind(kind.as_str()).fetch_all(pool).await)?)
    }

    /// Adds a key unless another gateway has already added that generation. Callers read the keys again
    /// afterwards, so that all agree on the winner's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_key(&self, kind: KeyKind, key: &StoredKey) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO keys (id, kind, algorithm, generation, sealed, created_at) \
                           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        write!(self, |pool| sqlx::query(SQL)
            .bind(&key.id)
            .bind(kind.as_str())
            .bind(&key.algorithm)
            .bind(key.generation)
            .bind(&key.sealed)
            .bind(key.created_at)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }
}
