//! Dynamic client registration (RFC 7591) and its management (RFC 7592).

use std::net::IpAddr;

use super::AuthorizationServer;
use crate::crypto::{Secret, SecretHash, constant_time_eq};
use crate::domain::client::{AuthMethod, ClientOrigin, GrantType};
use crate::domain::{Client, ClientId, Throttled};
use crate::oauth::registration::{
    ClientMetadata, RegistrationError, RegistrationErrorCode, RegistrationRequest, RegistrationResponse,
};
use crate::store::{AuditRecord, StoreError, StoredClient};

/// A successful registration.
pub type Registered = RegistrationResponse;

/// Why a registration was refused.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// `dcrEnabled: false`: the endpoint does not exist (DCR-13).
    #[error("registration is switched off")]
    Off,
    #[error("a valid initial access token is needed to register here")]
    InitialAccessToken,
    #[error("{}", .0.description)]
    Metadata(RegistrationError),
    #[error(transparent)]
    Throttled(#[from] Throttled),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a registration could not be read, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// Unknown id and wrong token look alike (RFC 7592 §2.1).
    #[error("unknown registration, or wrong registration access token")]
    Unauthorized,
    #[error("{}", .0.description)]
    Metadata(RegistrationError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthorizationServer {
    /// Registers a client. `bearer` is the initial access token, if one was sent.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register(
        &self,
        body: &[u8],
        bearer: Option<&str>,
        origin: &str,
        peer: Option<IpAddr>,
    ) -> Result<Registered, RegisterError> {
        self.budgets.registration(peer, self.now())?;
        self.check_registration_allowed(bearer)?;
        let metadata = self.check_metadata(body).map_err(RegisterError::Metadata)?;
        let id = ClientId::new(self.new_id("dcr_"));
        let secret = metadata.auth_method.uses_secret().then(|| self.secret("cs_"));
        let management = self.secret("rat_");
        let client = self.client_from(id, &metadata, secret.as_ref());
        let stored = StoredClient { client, management_hash: Some(management.hash()) };
        let client = self.clients.register(stored, &*self.random).await?;
        self.audit(AuditRecord {
            client: Some(&client.id),
            ..AuditRecord::new("mcp_auth_client_registered", self.now())
        })
        .await;
        Ok(self.describe(&client, &metadata, secret.as_ref(), &management, origin))
    }

    fn check_registration_allowed(&self, bearer: Option<&str>) -> Result<(), RegisterError> {
        use secrecy::ExposeSecret as _;
        if !self.options().dcr_enabled {
            return Err(RegisterError::Off);
        }
        match (&self.options().initial_access_token, bearer) {
            (None, _) => Ok(()),
            (Some(wanted), Some(sent)) if constant_time_eq(wanted.expose_secret().as_bytes(), sent.as_bytes()) => {
                Ok(())
            }
            (Some(_), _) => Err(RegisterError::InitialAccessToken),
        }
    }

    /// The RFC's rules, then the operator's redirect allow-list (AUTHZ-5).
    fn check_metadata(&self, body: &[u8]) -> Result<ClientMetadata, RegistrationError> {
        let mut metadata = RegistrationRequest::from_json(body)?.check(&self.scopes)?;
        if !self.takes_assertions() || metadata.auth_method == AuthMethod::None {
            metadata.grant_types.retain(|grant| *grant != GrantType::JwtBearer);
        }
        match metadata.redirect_uris.iter().find(|uri| !self.redirect_allowed(uri)) {
            None => Ok(metadata),
            Some(uri) => Err(RegistrationError::new(
                RegistrationErrorCode::InvalidRedirectUri,
                format!("the operator does not allow redirects to {}", uri.display_host()),
            )),
        }
    }

    fn client_from(&self, id: ClientId, metadata: &ClientMetadata, secret: Option<&Secret>) -> Client {
        Client {
            id,
            origin: ClientOrigin::Registered,
            name: metadata.client_name.clone(),
            redirect_uris: metadata.redirect_uris.clone(),
            auth_method: metadata.auth_method,
            secret_hashes: secret.map(Secret::hash).into_iter().collect(),
            keys: metadata.keys.clone(),
            grant_types: metadata.grant_types.clone(),
            // What it registered with is no limit: a client that registered with the first challenge could never
            // step up (SCOPE-6).
            scopes: None,
            routes: None,
            software_id: metadata.software_id.clone(),
            software_version: metadata.software_version.clone(),
            client_uri: metadata.client_uri.clone(),
            application_type: metadata.application_type.clone(),
            issued_at: self.now(),
        }
    }

    fn describe(
        &self,
        client: &Client,
        metadata: &ClientMetadata,
        secret: Option<&Secret>,
        management: &Secret,
        origin: &str,
    ) -> RegistrationResponse {
        RegistrationResponse::new(
            client,
            metadata,
            secret.map(|secret| secret.expose().to_owned()),
            management.expose().to_owned(),
            format!("{origin}{}oauth/register/{}", self.base_path, client.id),
        )
    }

    /// Reads a registration (RFC 7592 §2.1).
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn read_registration(&self, id: &str, token: &str, origin: &str) -> Result<Registered, ManagementError> {
        let (client, management) = self.managed(id, token).await?;
        Ok(self.describe(&client, &ClientMetadata::of(&client), None, &management, origin))
    }

    /// Replaces a registration's metadata (RFC 7592 §2.2). Id and secret stay.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn update_registration(
        &self,
        id: &str,
        token: &str,
        body: &[u8],
        origin: &str,
    ) -> Result<Registered, ManagementError> {
        let (current, management) = self.managed(id, token).await?;
        check_same_id(body, &current.id).map_err(ManagementError::Metadata)?;
        let metadata = self.check_metadata(body).map_err(ManagementError::Metadata)?;
        let fresh =
            (metadata.auth_method.uses_secret() && current.secret_hashes.is_empty()).then(|| self.secret("cs_"));
        let mut client = self.client_from(current.id.clone(), &metadata, fresh.as_ref());
        if fresh.is_none() && metadata.auth_method.uses_secret() {
            client.secret_hashes = current.secret_hashes;
        }
        client.issued_at = current.issued_at;
        self.store.update_client(&client, self.now()).await?;
        Ok(self.describe(&client, &metadata, fresh.as_ref(), &management, origin))
    }

    /// Deletes a registration and ends its grants (RFC 7592 §2.3, DCR-14).
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn delete_registration(&self, id: &str, token: &str) -> Result<(), ManagementError> {
        let (client, _) = self.managed(id, token).await?;
        for grant in self.store.delete_client(&client.id, self.now()).await? {
            self.metrics.grants_ended.count(["client_deleted"]);
            self.forget_grant(&grant);
        }
        self.audit(AuditRecord { client: Some(&client.id), ..AuditRecord::new("mcp_auth_client_deleted", self.now()) })
            .await;
        Ok(())
    }

    /// The registration that `token` manages, and the token.
    async fn managed(&self, id: &str, token: &str) -> Result<(Client, Secret), ManagementError> {
        let stored = self.clients.registered(&ClientId::new(id), self.now()).await?;
        match stored {
            Some(StoredClient { client, management_hash: Some(hash) }) if hash == SecretHash::of(token.as_bytes()) => {
                Ok((client, Secret::presented(token)))
            }
            _ => Err(ManagementError::Unauthorized),
        }
    }
}

/// RFC 7592 §2.2: a client that sends an id must send its own.
fn check_same_id(body: &[u8], id: &ClientId) -> Result<(), RegistrationError> {
    let sent: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    match sent.as_ref().and_then(|sent| sent.get("client_id")).and_then(|sent| sent.as_str()) {
        Some(sent) if sent != id.as_str() => Err(RegistrationError::new(
            RegistrationErrorCode::InvalidClientMetadata,
            "client_id is not the one of this registration".to_owned(),
        )),
        _ => Ok(()),
    }
}
