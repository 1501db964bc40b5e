//! Finding the client behind a `client_id`: configured, by metadata document, or registered.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{Client, ClientId, UnixTime};
use crate::oauth::client_id_metadata::{ClientIdUrl, looks_like_url};
use crate::outbound::{ClientDocumentError, ClientDocuments};
use crate::store::{Store, StoreError};

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
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The three sources of clients.
pub struct Clients {
    store: Store,
    configured: HashMap<ClientId, Client>,
    /// `None` with `cimdEnabled: false`.
    documents: Option<Arc<ClientDocuments>>,
}

impl Clients {
    #[must_use]
    pub fn new(store: Store, configured: &[Client], documents: Option<Arc<ClientDocuments>>) -> Self {
        let configured = configured.iter().map(|client| (client.id.clone(), client.clone())).collect();
        Self { store, configured, documents }
    }

    /// # Errors
    /// [`ClientError`].
    pub async fn resolve(&self, id: &str, now: UnixTime) -> Result<Client, ClientError> {
        let id = ClientId::new(id);
        if let Some(client) = self.configured.get(&id) {
            return Ok(client.clone());
        }
        if looks_like_url(id.as_str()) {
            return self.by_document(id.as_str(), now).await;
        }
        match self.store.registered_client(&id).await? {
            Some(stored) => Ok(stored.client),
            None => Err(ClientError::Unknown),
        }
    }

    async fn by_document(&self, id: &str, now: UnixTime) -> Result<Client, ClientError> {
        let Some(documents) = &self.documents else {
            return Err(ClientError::Refused("client-id metadata documents are switched off here".to_owned()));
        };
        let url = ClientIdUrl::parse(id).map_err(|error| ClientError::Refused(error.to_string()))?;
        documents.resolve(&url, now).await.map_err(|error| match error {
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
