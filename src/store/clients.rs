//! Registered clients (RFC 7591). Static clients live in the configuration, metadata documents in
//! `client_documents`.

use super::{Store, StoreError, in_transaction, read, text_hash, write};
use crate::crypto::SecretHash;
use crate::domain::{Client, ClientId, GrantId, UnixTime};

/// A registration and the hash of the token that manages it (RFC 7592).
#[derive(Debug, Clone)]
pub struct StoredClient {
    pub client: Client,
    pub management_hash: Option<SecretHash>,
}

/// A registration in a list.
#[derive(Debug, Clone)]
pub struct ListedClient {
    pub client: Client,
    pub created_at: UnixTime,
    pub last_used_at: UnixTime,
}

#[derive(sqlx::FromRow)]
struct ClientRow {
    document: String,
    management_hash: Option<Vec<u8>>,
}

/// How many of the oldest never-used registrations make room at once when the cap is reached.
const EVICTION_BATCH: i64 = 100;
/// Keeps an id from being revived: `$2` is 1 when it was deleted, which nothing takes back, 0 when it was changed.
const ENTOMB: &str = "INSERT INTO client_tombstones (id_hash, deleted, used, at) \
     VALUES ($1, $2, (SELECT COALESCE(MAX(used), 0) FROM clients WHERE id_hash = $1), $3) \
     ON CONFLICT (id_hash) DO UPDATE SET at = excluded.at, \
         deleted = CASE WHEN excluded.deleted = 1 THEN 1 ELSE client_tombstones.deleted END";

impl Store {
    /// Stores a registration. Above `max_clients`, the registrations that were never used and lay idle the
    /// longest make room; the new one is never refused, and one with a live grant, or in the middle of an
    /// authorization, never goes (DCR-11). An approval makes the second the first in one step, so no eviction beside
    /// it finds the client with neither.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register_client(&self, stored: &StoredClient, max_clients: u64) -> Result<(), StoreError> {
        self.insert_client(stored, max_clients, stored.client.issued_at).await.map(drop)
    }

    /// Stores a registration again that was lost; `false` when it was deleted on purpose, or changed since it was
    /// made (DCR-10).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revive_client(
        &self,
        stored: &StoredClient,
        max_clients: u64,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        self.insert_client(stored, max_clients, now).await
    }

    async fn insert_client(&self, stored: &StoredClient, max_clients: u64, now: UnixTime) -> Result<bool, StoreError> {
        const TOMBSTONE: &str = "SELECT COUNT(*) FROM client_tombstones WHERE id_hash = $1";
        const INSERT: &str = "INSERT INTO clients (id, id_hash, document, management_hash, created_at, last_used_at) \
                              VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
        const COUNT: &str = "SELECT COUNT(*) FROM clients";
        const EVICT: &str = "DELETE FROM clients WHERE id IN (SELECT id FROM clients \
             WHERE id <> $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_hash = clients.id_hash \
                                             AND grants.revoked_at IS NULL AND grants.expires_at > $2) \
             AND NOT EXISTS (SELECT 1 FROM transactions WHERE transactions.client_hash = clients.id_hash \
                             AND transactions.expires_at > $2 \
                             AND transactions.stage IN ('awaiting_login', 'awaiting_consent')) \
             ORDER BY used, last_used_at LIMIT $3)";
        let document = serde_json::to_string(&stored.client).map_err(|_| StoreError::Unreadable("client"))?;
        let management = stored.management_hash.map(|hash| hash.as_bytes().to_vec());
        let id = stored.client.id.as_str();
        let cap = i64::try_from(max_clients).unwrap_or(i64::MAX);
        let inserted = in_transaction!(self, |tx| {
            let tombstones: i64 = sqlx::query_scalar(TOMBSTONE).bind(text_hash(id)).fetch_one(&mut *tx).await?;
            if tombstones > 0 {
                return Ok(false);
            }
            sqlx::query(INSERT)
                .bind(id)
                .bind(text_hash(id))
                .bind(&document)
                .bind(&management)
                .bind(stored.client.issued_at.0)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *tx).await?;
            if count > cap {
                let surplus = (count - cap).max(EVICTION_BATCH.min(cap / 10));
                sqlx::query(EVICT).bind(id).bind(now.0).bind(surplus).execute(&mut *tx).await?;
            }
            true
        });
        Ok(inserted)
    }

    /// # Errors
    /// [`StoreError`].
    pub async fn registered_client(&self, id: &ClientId) -> Result<Option<StoredClient>, StoreError> {
        // By hash: a stranger's text may hold what PostgreSQL takes for no text at all (NUL).
        const SQL: &str = "SELECT document, management_hash FROM clients WHERE id_hash = $1 \
             AND NOT EXISTS (SELECT 1 FROM client_tombstones WHERE client_tombstones.id_hash = $1 AND deleted = 1)";
        let row: Option<ClientRow> =
            read!(self, |pool| sqlx::query_as(SQL).bind(text_hash(id.as_str())).fetch_optional(pool).await)?;
        row.map(|row| {
            Ok(StoredClient {
                client: serde_json::from_str(&row.document).map_err(|_| StoreError::Unreadable("client"))?,
                management_hash: row.management_hash.as_deref().and_then(SecretHash::from_slice),
            })
        })
        .transpose()
    }

    /// Registrations whose id is greater than `after`, in order, a page of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_clients(&self, after: &str) -> Result<Vec<ListedClient>, StoreError> {
        const SQL: &str =
            "SELECT id, document, created_at, last_used_at FROM clients WHERE id > $1 ORDER BY id LIMIT 500";
        let rows: Vec<(String, String, i64, i64)> =
            read!(self, |pool| sqlx::query_as(SQL).bind(after).fetch_all(pool).await)?;
        let listed = |(_, document, created_at, last_used_at): (String, String, i64, i64)| {
            let client = serde_json::from_str(&document).map_err(|_| StoreError::Unreadable("client"))?;
            Ok(ListedClient { client, created_at: UnixTime(created_at), last_used_at: UnixTime(last_used_at) })
        };
        rows.into_iter().map(listed).collect()
    }

    /// Replaces the metadata of a registration (RFC 7592 §2.2). From now on its id says what no longer holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_client(&self, client: &Client, now: UnixTime) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE clients SET document = $2, last_used_at = $3 WHERE id = $1";
        let document = serde_json::to_string(client).map_err(|_| StoreError::Unreadable("client"))?;
        let id = client.id.as_str();
        in_transaction!(self, |tx| {
            sqlx::query(SQL).bind(id).bind(&document).bind(now.0).execute(&mut *tx).await?;
            sqlx::query(ENTOMB).bind(text_hash(id)).bind(0_i64).bind(now.0).execute(&mut *tx).await?;
        });
        Ok(())
    }

    /// Notes that a client finished an authorization, so that it is not taken for an idle one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch_client(&self, id: &ClientId, now: UnixTime) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE clients SET last_used_at = $2, used = 1 WHERE id = $1";
        write!(self, |pool| sqlx::query(SQL).bind(id.as_str()).bind(now.0).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Deletes a registration and revokes its grants (RFC 7592 §2.3); gives which.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_client(&self, id: &ClientId, now: UnixTime) -> Result<Vec<GrantId>, StoreError> {
        const DELETE: &str = "DELETE FROM clients WHERE id = $1";
        const FORGET: &str = "DELETE FROM consents WHERE client_hash = $1";
        const REVOKE: &str = "UPDATE grants SET revoked_at = $2, revoked_because = 'client_deleted' \
                              WHERE client_hash = $1 AND revoked_at IS NULL RETURNING id";
        let ended: Vec<String> = in_transaction!(self, |tx| {
            sqlx::query(ENTOMB).bind(text_hash(id.as_str())).bind(1_i64).bind(now.0).execute(&mut *tx).await?;
            sqlx::query(DELETE).bind(id.as_str()).execute(&mut *tx).await?;
            sqlx::query(FORGET).bind(text_hash(id.as_str())).execute(&mut *tx).await?;
            sqlx::query_scalar(REVOKE).bind(text_hash(id.as_str())).bind(now.0).fetch_all(&mut *tx).await?
        });
        Ok(ended.into_iter().map(GrantId::new).collect())
    }
}
