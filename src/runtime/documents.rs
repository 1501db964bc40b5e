//! Joins the cache of client-id metadata documents to the store's table.

use async_trait::async_trait;

use crate::domain::UnixTime;
use crate::outbound::{DocumentStore, DocumentStoreError, StoredDocument};
use crate::store::{DocumentRow, Store};

/// The table of last good copies (CIMD-7).
pub struct StoredDocuments(pub Store);

#[async_trait]
impl DocumentStore for StoredDocuments {
    async fn load(&self, url: &str) -> Result<Option<StoredDocument>, DocumentStoreError> {
        let row = self.0.client_document(url).await.map_err(|error| DocumentStoreError(error.to_string()))?;
        Ok(row.map(|row| StoredDocument {
            url: row.url,
            body: row.body,
            etag: row.etag,
            fetched_at: UnixTime(row.fetched_at),
            fresh_until: UnixTime(row.fresh_until),
        }))
    }

    async fn save(&self, document: &StoredDocument) -> Result<(), DocumentStoreError> {
        let row = DocumentRow {
            url: document.url.clone(),
            body: document.body.clone(),
            etag: document.etag.clone(),
            fetched_at: document.fetched_at.0,
            fresh_until: document.fresh_until.0,
        };
        self.0.save_client_document(&row).await.map_err(|error| DocumentStoreError(error.to_string()))
    }
}
