//! The credentials that servers behind want (gateway.md §8): how the gateway comes to hold an access token for an
//! upstream, for each person or for all, and keeps it alive.
//!
//! Owns the conversation with the authorization servers of upstreams (MCP authorization, client side; RFC 9728, 8414,
//! 7591, 6749) and the sealed tokens. Must not know pages or the requests of MCP.

pub mod authorization_request;
pub mod client_metadata;
mod clients;
mod connect;
mod credential;
pub mod discovery;
mod id_jag;
mod lease;
pub mod registration;
mod renewal;
mod subject_token;
mod ticket;
pub mod token_request;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use connect::{ConnectError, ConnectFailure, Connected, ReturnTo, Returned, Start};
pub use credential::{Credential, CredentialError};
pub use lease::Lease;
pub use ticket::{TICKET_LIFE, Ticket};

use crate::config::model::{Upstream, UpstreamMode, UpstreamOAuth, UpstreamRegistration};
use crate::crypto::Sealer;
use crate::domain::connection::ConsentNeeded;
use crate::domain::{Clock, Connection, ConnectionId, Owner, Random, SubjectId, UnixTime};
use crate::identity::IdentityProvider;
use crate::outbound::{Outbound, UpstreamFetcher};
use crate::store::{AuditRecord, Store, StoreError};
use crate::telemetry::audit;
use crate::telemetry::metrics::UpstreamMetrics;
use client_metadata::ClientMetadata;
use clients::KeptClient;
use credential::InVain;
use discovery::{Discovered, Discovery, DiscoveryError, Premises};
use id_jag::Assertions;
use lease::Leases;
use registration::UpstreamClient;
use token_request::{TokenAnswer, TokenEndpoint, TokenGrant, TokenRequestError};

/// The upstreams of one configuration, over the store and keys of the process.
pub struct Upstreams {
    all: Vec<Known>,
    store: Store,
    outbound: Outbound,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The public origins.
    origins: Vec<String>,
    /// Where the endpoints hang: `/` or `/prefix/`.
    base_path: String,
    /// Where people sign in; in direct mode, nowhere here.
    identity: Option<Arc<dyn IdentityProvider>>,
    assertions: Assertions,
    leases: Leases,
    in_vain: InVain,
    metrics: UpstreamMetrics,
}

/// An upstream of the configuration.
struct Known {
    upstream: Arc<Upstream>,
    /// `None` for one that is not connected.
    discovery: Option<Discovery>,
    /// Held while the gateway registers itself there, so that people who come together do not make it do so twice.
    registering: tokio::sync::Mutex<()>,
}

/// What [`Upstreams`] are made of; all but `identity` lives longer than one configuration.
pub struct UpstreamParts {
    pub store: Store,
    pub outbound: Outbound,
    pub sealer: Sealer,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub origins: Vec<String>,
    pub base_path: String,
    pub metrics: UpstreamMetrics,
    pub identity: Option<Arc<dyn IdentityProvider>>,
}

/// How things stand between a person and an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStatus {
    Connected {
        since: UnixTime,
    },
    NotConnected,
    NeedsConsent(ConsentNeeded),
    /// It wants no connecting: each call proves who the person is.
    ByAssertion,
}

/// What a connection holds, sealed as JSON.
#[derive(Serialize, Deserialize)]
struct Held {
    access_token: String,
    refresh_token: Option<String>,
    /// Whom the tokens were issued to.
    client: KeptClient,
    issuer: String,
    token_endpoint: url::Url,
    revocation_endpoint: Option<url::Url>,
    resource: String,
}

impl Upstreams {
    #[must_use]
    pub fn new<'u>(upstreams: impl IntoIterator<Item = &'u Arc<Upstream>>, parts: UpstreamParts) -> Self {
        Self {
            all: upstreams
                .into_iter()
                .map(|upstream| Known {
                    upstream: Arc::clone(upstream),
                    discovery: discovery(upstream, &parts.outbound, &parts.clock),
                    registering: tokio::sync::Mutex::default(),
                })
                .collect(),
            store: parts.store,
            outbound: parts.outbound,
            sealer: parts.sealer,
            clock: parts.clock,
            random: parts.random,
            origins: parts.origins,
            base_path: parts.base_path,
            metrics: parts.metrics,
            identity: parts.identity,
            assertions: Assertions::default(),
            leases: Leases::default(),
            in_vain: InVain::default(),
        }
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Upstream>> {
        self.known(id).map(|known| &known.upstream)
    }

    fn known(&self, id: &str) -> Option<&Known> {
        self.all.iter().find(|known| known.upstream.id == id)
    }

    /// What is known of an upstream's authorization server.
    async fn discovered(&self, upstream: &Upstream) -> Result<Arc<Discovered>, DiscoveryError> {
        match self.known(&upstream.id).and_then(|known| known.discovery.as_ref()) {
            Some(discovery) => discovery.discovered().await,
            None => Err(DiscoveryError::Unusable("it wants no connecting".to_owned())),
        }
    }

    /// How things stand for a person.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn status(&self, upstream: &Upstream, subject: &SubjectId) -> Result<ConnectionStatus, StoreError> {
        let Some((options, owner)) = connects(upstream, subject) else { return Ok(ConnectionStatus::ByAssertion) };
        let connection = self.store.connection(&ConnectionId::of(&upstream.id, &owner)).await?;
        Ok(match connection.filter(|connection| is_for(connection, upstream)) {
            None => ConnectionStatus::NotConnected,
            Some(connection) => match connection.consent_needed(&scopes(options), self.clock.now()) {
                Some(reason) => ConnectionStatus::NeedsConsent(reason),
                None => ConnectionStatus::Connected { since: connection.connected_at },
            },
        })
    }

    /// Where a person connects an upstream: an address that works once, for them alone.
    #[must_use]
    pub fn link(&self, origin: &str, upstream: &Upstream, subject: &SubjectId) -> String {
        let ticket = Ticket::new(&upstream.id, Some(subject), TICKET_LIFE, &*self.random, self.clock.now());
        connect_link(origin, &self.base_path, &upstream.id, &ticket.seal(&self.sealer, &*self.random))
    }

    /// The document that the gateway is known by at the upstream's authorization server; `None` where it could not be
    /// fetched.
    #[must_use]
    pub fn client_metadata(&self, upstream: &Upstream) -> Option<ClientMetadata> {
        self.as_client(&upstream.id).document()
    }

    /// The ticket of a link to `upstream`, if it is one of ours and still good.
    #[must_use]
    pub fn open_ticket(&self, text: &str, upstream: &Upstream) -> Option<Ticket> {
        Ticket::open(text, &self.sealer, self.clock.now()).filter(|ticket| ticket.upstream == upstream.id)
    }

    /// Spends a ticket: true exactly once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spend_ticket(&self, ticket: &Ticket) -> Result<bool, StoreError> {
        ticket.spend(&self.store).await
    }

    /// Whether a ticket has been spent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_spent(&self, ticket: &Ticket) -> Result<bool, StoreError> {
        ticket.is_spent(&self.store).await
    }

    /// Forgets the credential of a person, or the shared one, and asks its authorization server to do so too. False when
    /// there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn disconnect(
        self: &Arc<Self>,
        upstream: &str,
        owner: &Owner,
        by: Option<&SubjectId>,
    ) -> Result<bool, StoreError> {
        let Some(gone) = self.store.disconnect(&ConnectionId::of(upstream, owner)).await? else { return Ok(false) };
        self.leases.end(&gone.id);
        self.audit("mcp_auth_upstream_connection_removed", &gone.upstream, by, None).await;
        if let Some(upstream) = self.get(upstream).filter(|upstream| is_for(&gone, upstream)) {
            let (this, upstream) = (Arc::clone(self), Arc::clone(upstream));
            tokio::spawn(async move { this.revoke(&upstream, &gone).await });
        }
        Ok(true)
    }

    /// RFC 7009, as well as it goes: what is forgotten here is not used again in any case.
    async fn revoke(&self, upstream: &Upstream, gone: &Connection) {
        let Some(held) = self.open(gone) else { return };
        let Some((url, client)) = held.revocation_endpoint.as_ref().zip(held.client.client(upstream)) else { return };
        let fetcher = fetcher(&self.outbound, upstream);
        let endpoint = TokenEndpoint { fetcher: &fetcher, url, client: &client };
        let (token, hint) = match held.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (held.access_token, "access_token"),
        };
        if let Err(cause) = endpoint.revoke(&token.into(), hint, &*self.random, self.clock.now()).await {
            tracing::warn!(event = "mcp_auth_upstream_revocation_failed", upstreamServerId = upstream.id, %cause);
        }
    }

    async fn audit(&self, event: &'static str, upstream: &str, subject: Option<&SubjectId>, reason: Option<&str>) {
        let about = reason.map_or_else(|| upstream.to_owned(), |reason| format!("{upstream}: {reason}"));
        let record = AuditRecord { subject, reason: Some(&about), ..AuditRecord::new(event, self.clock.now()) };
        audit::record(&self.store, record).await;
    }

    async fn ask_for_token(
        &self,
        upstream: &Upstream,
        url: &url::Url,
        client: &UpstreamClient,
        grant: &TokenGrant<'_>,
    ) -> Result<TokenAnswer, TokenRequestError> {
        let fetcher = fetcher(&self.outbound, upstream);
        let endpoint = TokenEndpoint { fetcher: &fetcher, url, client };
        endpoint.request(grant, &*self.random, self.clock.now()).await
    }

    fn seal(&self, id: &ConnectionId, held: &Held) -> Vec<u8> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(held).unwrap_or_default());
        self.sealer.seal(&place(id), &plain, &*self.random)
    }

    /// `None` when it was sealed under a key that is gone.
    fn open(&self, connection: &Connection) -> Option<Held> {
        let plain = self.sealer.open(&place(&connection.id), &connection.sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// Where a connection's tokens are sealed to (SEC-2).
fn place(id: &ConnectionId) -> String {
    format!("upstream connection:{id}")
}

/// The address of a link with a ticket.
#[must_use]
pub fn connect_link(origin: &str, base_path: &str, upstream: &str, ticket: &str) -> String {
    format!("{origin}{base_path}auth/connections/{upstream}/connect?ticket={ticket}")
}

/// `None` for an upstream that is not connected.
fn discovery(upstream: &Upstream, outbound: &Outbound, clock: &Arc<dyn Clock>) -> Option<Discovery> {
    let options = upstream.mode.oauth()?;
    let premises = Premises {
        server: upstream.server.clone(),
        resource_metadata: options.resource_metadata.clone(),
        scopes: options.scopes.clone(),
        registered_by_hand: matches!(options.registration, UpstreamRegistration::Manual { .. }),
    };
    Some(Discovery::new(premises, fetcher(outbound, upstream), Arc::clone(clock)))
}

/// What speaks to everything of an upstream.
fn fetcher(outbound: &Outbound, upstream: &Upstream) -> UpstreamFetcher {
    let configured = upstream.mode.oauth().and_then(|options| options.resource_metadata.as_ref());
    UpstreamFetcher::new(outbound.clone(), std::iter::once(&upstream.server).chain(configured))
}

/// How an upstream is connected, and whose the connection of a person is; `None` when it is not connected at all.
fn connects<'a>(upstream: &'a Upstream, subject: &SubjectId) -> Option<(&'a UpstreamOAuth, Owner)> {
    match &upstream.mode {
        UpstreamMode::PerPerson(options) => Some((options, Owner::Person(subject.clone()))),
        UpstreamMode::Shared(options) => Some((options, Owner::Everyone)),
        UpstreamMode::IdJag(_) => None,
    }
}

/// Whether a connection is for the server that the configuration has now.
fn is_for(connection: &Connection, upstream: &Upstream) -> bool {
    connection.server == upstream.server.as_str()
}

/// The scopes that the configuration has, separated by blanks.
fn scopes(options: &UpstreamOAuth) -> String {
    options.scopes.as_ref().map(|scopes| scopes.join(" ")).unwrap_or_default()
}
