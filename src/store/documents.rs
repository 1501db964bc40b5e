//! Last good copies of client-id metadata documents (CIMD-6, CIMD-7).

use super::{Store, StoreError, read, text_hash, write};

/// A document as it was last fetched. Times in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DocumentRow {
    pub url: String,
    pub body: String,
    pub etag: Option<String>,
    pub fetched_at: i64,
    pub fresh_until: i64,
}

impl Store {
    /// # Errors
    /// [`StoreError`].
    pub async fn client_document(&self, url: &str) -> Result<Option<DocumentRow>, StoreError> {
        const SQL: &str = "SELECT url, body, etag, fetched_at, fresh_until FROM client_documents WHERE url_hash = $1";
        Ok(read!(self, |pool| sqlx::query_as(SQL).bind(text_hash(url)).fetch_optional(pool).await)?)
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn save_client_document(&self, document: &DocumentRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO client_documents (url_hash, url, body, etag, fetched_at, fresh_until) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (url_hash) DO UPDATE SET \
             body = excluded.body, etag = excluded.etag, fetched_at = excluded.fetched_at, fresh_until = excluded.fresh_until";
        write!(self, |pool| sqlx::query(SQL)
            .bind(text_hash(&document.url))
            .bind(&document.url)
            .bind(&document.body)
            .bind(&document.etag)
            .bind(document.fetched_at)
            .bind(document.fresh_until)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }
}
