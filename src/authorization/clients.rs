//! Finding the client behind a `client_id`: configured, by metadata document, or registered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::self_describing;
use crate::crypto::Sealer;
use crate::domain::{Client, ClientId, Random, Throttled, UnixTime};
use crate::oauth::client_id_metadata::{ClientIdUrl, looks_like_url};
use crate::outbound::{ClientDocumentError, ClientDocuments};
use crate::store::{Store, StoreError, StoredClient};

/// Why there is no client to go on with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Never registered here, or no longer.
    #[error("unknown client")]
    Unknown,
    /// The metadata document cannot be used: the text names the URL's host and the cause (CIMD-10).
    #[error("{0}")]
    Refused(String),
    /// The metadata document cannot be had at the moment.
    #[error("{0}")]
    Unreachable(String),
    /// The asker named too many documents that were never seen before.
    #[error(transparent)]
    Throttled(Throttled),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The three sources of clients.
pub struct Clients {
    store: Store,
    configured: HashMap<ClientId, Client>,
    /// `None` with `cimdEnabled: false`.
    documents: Option<Arc<ClientDocuments>>,
    sealer: Sealer,
    /// `maxClients`.
    max_registered: u64,
}

impl Clients {
    #[must_use]
    pub fn new(
        store: Store,
        configured: &[Client],
        documents: Option<Arc<ClientDocuments>>,
        sealer: Sealer,
        max_registered: u64,
    ) -> Self {
        let configured = configured.iter().map(|client| (client.id.clone(), client.clone())).collect();
        Self { store, configured, documents, sealer, max_registered }
    }

    /// The client of an id that was resolved for somebody before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resolve(&self, id: &str, now: UnixTime) -> Result<Client, ClientError> {
        self.resolve_for(None, id, now).await
    }

    /// The client of an id that came from outside; `asker` pays for fetching what was never seen before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resolve_for(&self, asker: Option<IpAddr>, id: &str, now: UnixTime) -> Result<Client, ClientError> {
        let id = ClientId::new(id);
        if let Some(client) = self.configured.get(&id) {
            return Ok(client.clone());
        }
        if looks_like_url(id.as_str()) {
            return self.by_document(asker, id.as_str(), now).await;
        }
        match self.registered(&id, now).await? {
            Some(stored) => Ok(stored.client),
            None => Err(ClientError::Unknown),
        }
    }

    /// A registration; one that the store lost is revived from what its id says of itself (DCR-10).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn registered(&self, id: &ClientId, now: UnixTime) -> Result<Option<StoredClient>, StoreError> {
        if let Some(stored) = self.store.registered_client(id).await? {
            return Ok(Some(stored));
        }
        let Some(stored) = self_describing::registration_of(id, &self.sealer) else { return Ok(None) };
        if !self.store.revive_client(&stored, self.max_registered, now).await? {
            return Ok(None);
        }
        tracing::info!(event = "mcp_auth_client_revived", clientId = %id);
        Ok(Some(stored))
    }

    /// Stores a fresh registration, under an id that says what was registered where that fits into one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register(&self, mut stored: StoredClient, random: &dyn Random) -> Result<Client, StoreError> {
        if let Some(id) = self_describing::id_of(&stored, &self.sealer, random) {
            stored.client.id = id;
        }
        self.store.register_client(&stored, self.max_registered).await?;
        Ok(stored.client)
    }

    /// The client as the configuration, the store or a copy of its document describes it, without asking its host:
    /// for lists. `None` when nothing is known of it any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn at_hand(&self, id: &ClientId, now: UnixTime) -> Result<Option<Client>, StoreError> {
        if let Some(client) = self.configured.get(id) {
            return Ok(Some(client.clone()));
        }
        if looks_like_url(id.as_str()) {
            let url = ClientIdUrl::parse(id.as_str()).ok();
            return Ok(match self.documents.as_ref().zip(url) {
                Some((documents, url)) => documents.at_hand(&url, now).await,
                None => None,
            });
        }
        let stored = self.store.registered_client(id).await?;
        Ok(stored.or_else(|| self_describing::registration_of(id, &self.sealer)).map(|stored| stored.client))
    }

    async fn by_document(&self, asker: Option<IpAddr>, id: &str, now: UnixTime) -> Result<Client, ClientError> {
        let Some(documents) = &self.documents else {
            return Err(ClientError::Refused("client-id metadata documents are switched off here".to_owned()));
        };
        let url = ClientIdUrl::parse(id).map_err(|error| ClientError::Refused(error.to_string()))?;
        documents.resolve_for(asker, &url, now).await.map_err(|error| match error {
            ClientDocumentError::Throttled(throttled) => ClientError::Throttled(throttled),
            ClientDocumentError::Temporary(cause) => ClientError::Unreachable(cause),
            ClientDocumentError::Refused(cause) => ClientError::Refused(cause),
        })
    }

    /// The public keys of a `private_key_jwt` client that names them by URL.
    #[must_use]
    pub fn documents(&self) -> Option<&Arc<ClientDocuments>> {
        self.documents.as_ref()
    }

    /// Whether the configuration declares this client.
    #[must_use]
    pub fn is_configured(&self, id: &ClientId) -> bool {
        self.configured.contains_key(id)
    }
}
