//! Which authorization server an upstream trusts, and what that server can do (MCP authorization, "Authorization Server
//! Discovery"; RFC 9728, RFC 8414, OpenID Connect Discovery 1.0).
//!
//! What is found is kept for a while and goes on serving in an outage; concurrent callers share one attempt. Each document
//! is asked for by whoever's name it is in: see [`UpstreamFetcher`].

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use crate::domain::{Clock, UnixTime};
use crate::oauth::challenge::{UpstreamChallenge, scopes};
use crate::oauth::server_metadata::{
    ResourceDocument, ServerDocument, resource_covers, resource_metadata_urls, same_issuer, server_metadata_urls,
};
use crate::outbound::{FetchError, Post, UpstreamFetcher};

/// What was found of this age is looked for anew.
const FRESH: Duration = Duration::from_hours(1);
/// Between two attempts to find anew what is at hand.
const COOLDOWN: Duration = Duration::from_mins(1);
/// Between two attempts when nothing is at hand.
const PAUSE: Duration = Duration::from_secs(3);
/// For a whole attempt: somebody waits for it.
const DEADLINE: Duration = Duration::from_secs(25);
/// The authorization servers of a resource that are tried.
const MOST_SERVERS: usize = 3;
/// Of the methods of client authentication those that the gateway has.
const AUTH_METHODS: [&str; 4] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
/// RFC 8414 §2, for metadata that say nothing of it.
const DEFAULT_AUTH_METHOD: &str = "client_secret_basic";
const OFFLINE_ACCESS: &str = "offline_access";

/// What the gateway knows of an upstream's authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    pub issuer: String,
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub registration_endpoint: Option<Url>,
    pub revocation_endpoint: Option<Url>,
    /// A client id may be the URL of a metadata document.
    pub takes_metadata_documents: bool,
    /// RFC 7591 names of the methods of client authentication at the token endpoint that the gateway has too.
    pub auth_methods: Vec<String>,
    /// Refresh tokens are not ruled out.
    pub grants_refresh: bool,
    /// Every callback carries `iss` (RFC 9207).
    pub sends_issuer: bool,
    /// What tokens are asked for (RFC 8707).
    pub resource: String,
    /// What to ask for: as configured, else as the upstream's challenge says, else as its metadata say, else nothing.
    pub scopes: Vec<String>,
}

/// Why nothing is known. `Display` is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Trying again later may help.
    #[error("the upstream's authorization server cannot be found: {0}")]
    Unavailable(String),
    /// Somebody has to change something.
    #[error("the upstream's authorization server cannot be used: {0}")]
    Unusable(String),
}

/// What the configuration says of an upstream.
#[derive(Debug, Clone)]
pub struct Premises {
    /// The MCP endpoint.
    pub server: Url,
    /// `protectedResourceMetadataUrl`
    pub resource_metadata: Option<Url>,
    pub scopes: Option<Vec<String>>,
    /// The operator registered the gateway by hand, and so has looked at the authorization server.
    pub registered_by_hand: bool,
}

/// Finds the authorization server of one upstream.
pub struct Discovery {
    premises: Premises,
    fetcher: UpstreamFetcher,
    clock: Arc<dyn Clock>,
    /// Its lock is what makes concurrent callers share one attempt.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    found: Option<Arc<Discovered>>,
    /// Looked for anew from this moment on.
    stale_at: Option<UnixTime>,
    failure: Option<DiscoveryError>,
}

/// What protected resource metadata, or their absence, say.
struct Resource {
    /// As its metadata call it.
    identifier: String,
    /// In the order of preference.
    servers: Vec<Url>,
    scopes: Vec<String>,
    /// There are no metadata, so the server is taken for its own authorization server (MCP 2025-03-26).
    assumed: bool,
}

impl Discovery {
    #[must_use]
    pub fn new(premises: Premises, fetcher: UpstreamFetcher, clock: Arc<dyn Clock>) -> Self {
        Self { premises, fetcher, clock, known: Mutex::default() }
    }

    /// Speaks to everything that belongs to this upstream.
    #[must_use]
    pub fn fetcher(&self) -> &UpstreamFetcher {
        &self.fetcher
    }

    /// What is known, found out if need be.
    ///
    /// # Errors
    /// [`DiscoveryError`].
    pub async fn discovered(&self) -> Result<Arc<Discovered>, DiscoveryError> {
        let mut known = self.known.lock().await;
        if known.stale_at.is_none_or(|stale_at| stale_at <= self.clock.now()) {
            let outcome = tokio::time::timeout(DEADLINE, self.find()).await.unwrap_or_else(|_| {
                Err(DiscoveryError::Unavailable(format!("there was no answer within {} s", DEADLINE.as_secs())))
            });
            known.learn(outcome, self.premises.server.as_str(), self.clock.now());
        }
        match (&known.found, &known.failure) {
            (Some(found), _) => Ok(Arc::clone(found)),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(DiscoveryError::Unavailable("nothing was found yet".to_owned())),
        }
    }

    async fn find(&self) -> Result<Discovered, DiscoveryError> {
        let challenge = self.challenge().await;
        let resource = self.resource(&challenge).await?;
        let mut trouble = None;
        for issuer in &resource.servers {
            match self.server(issuer, resource.assumed).await {
                Ok(server) => return self.accept(server, &challenge, &resource),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        Err(trouble.unwrap_or_else(|| unusable("its metadata name no authorization server".to_owned())))
    }

    /// What the MCP endpoint says to a request without a token. Not every server says it to the first one, so silence is
    /// no obstacle.
    async fn challenge(&self) -> UpstreamChallenge {
        let mut post = Post::json(initialize());
        post.accept = "application/json, text/event-stream";
        match self.fetcher.challenges(&self.premises.server, post).await {
            Ok(values) => UpstreamChallenge::parse(values.iter().map(String::as_str)),
            Err(error) => {
                tracing::debug!(event = "upstream_challenge_unavailable", server = %self.premises.server, %error);
                UpstreamChallenge::default()
            }
        }
    }

    /// RFC 9728 §3, from the place that is configured, else those that the challenge names and that follow from the URL.
    async fn resource(&self, challenge: &UpstreamChallenge) -> Result<Resource, DiscoveryError> {
        let server = &self.premises.server;
        if let Some(place) = &self.premises.resource_metadata {
            let document = self.document(place, ResourceDocument::parse).await?;
            let document = document.ok_or_else(|| unusable(format!("there are no metadata at {place}")))?;
            return self.described(document, place);
        }
        let mut places = Vec::new();
        if let Some(named) = &challenge.resource_metadata {
            let named = Url::parse(named).map_err(|_| unusable("its challenge names metadata by no URL".to_owned()))?;
            places.push(named);
        }
        places.extend(
            resource_metadata_urls(server).into_iter().filter(|place| !places.contains(place)).collect::<Vec<_>>(),
        );
        for place in &places {
            if let Some(document) = self.document(place, ResourceDocument::parse).await? {
                return self.described(document, place);
            }
        }
        let mut origin = server.clone();
        origin.set_path("/");
        origin.set_query(None);
        Ok(Resource { identifier: server.to_string(), servers: vec![origin], scopes: Vec::new(), assumed: true })
    }

    /// RFC 9728 §3.3. A place that the operator configured may also speak of the resource that it belongs to: an upstream that
    /// is reached under an internal name knows itself by its public one.
    fn described(&self, document: ResourceDocument, place: &Url) -> Result<Resource, DiscoveryError> {
        let named = Url::parse(&document.resource).ok();
        let configured = self.premises.resource_metadata.as_ref() == Some(place);
        let ours = named.as_ref().is_some_and(|resource| {
            resource_covers(resource, &self.premises.server)
                || (configured && resource_metadata_urls(resource).contains(place))
        });
        if !ours {
            return Err(unusable(format!(
                "the metadata at {place} are of another resource ({:?}) than {}",
                shown(&document.resource),
                self.premises.server
            )));
        }
        let servers = document.authorization_servers.iter().filter_map(|issuer| Url::parse(issuer).ok());
        Ok(Resource {
            identifier: document.resource,
            servers: servers.take(MOST_SERVERS).collect(),
            scopes: document.scopes,
            assumed: false,
        })
    }

    /// The metadata of `issuer` (RFC 8414 §3).
    async fn server(&self, issuer: &Url, assumed: bool) -> Result<ServerDocument, DiscoveryError> {
        for place in server_metadata_urls(issuer) {
            let Some(document) = self.document(&place, ServerDocument::parse).await? else { continue };
            if same_issuer(&document.issuer, issuer.as_str()) || (assumed && keeps_codes(&document)) {
                return Ok(document);
            }
            return Err(unusable(format!(
                "the metadata at {place} are of another issuer ({:?}) than {issuer}",
                shown(&document.issuer)
            )));
        }
        if assumed {
            Ok(default_endpoints(issuer))
        } else {
            Err(unusable(format!("there are no metadata of {issuer}")))
        }
    }

    /// What stands at `place`; `None` when there is no such document there.
    async fn document<T>(&self, place: &Url, parse: fn(&[u8]) -> Option<T>) -> Result<Option<T>, DiscoveryError> {
        let problem = |error: &FetchError| format!("{place} cannot be read: {error}");
        match self.fetcher.get(place).await {
            Ok(json) => {
                Ok(Some(parse(&json).ok_or_else(|| unusable(format!("what stands at {place} are no metadata")))?))
            }
            // Some servers answer every path, with a page or by leading elsewhere.
            Err(FetchError::ContentType(_) | FetchError::Redirect(_)) => Ok(None),
            Err(FetchError::Status(status)) if (400..500).contains(&status) && !matches!(status, 408 | 425 | 429) => {
                Ok(None)
            }
            Err(error @ FetchError::Blocked(_)) => Err(unusable(format!(
                "{}; `--upstream-allow` names networks where upstreams may have theirs",
                problem(&error)
            ))),
            Err(error) if error.is_temporary() => Err(DiscoveryError::Unavailable(problem(&error))),
            Err(error) => Err(unusable(problem(&error))),
        }
    }

    fn accept(
        &self,
        server: ServerDocument,
        challenge: &UpstreamChallenge,
        resource: &Resource,
    ) -> Result<Discovered, DiscoveryError> {
        let issuer = server.issuer.clone();
        let lacks = |what: &str| unusable(format!("{issuer} {what}"));
        let offers = |list: &Option<Vec<String>>, value: &str| {
            list.as_ref().map(|list| list.iter().any(|offered| offered == value))
        };
        if offers(&server.response_types, "code") == Some(false) {
            return Err(lacks("does not offer the authorization code flow"));
        }
        match offers(&server.code_challenge_methods, "S256") {
            Some(true) => {}
            // MCP has clients refuse a server that does not speak of PKCE. Some that keep silent know it all the same; whoever
            // registered there by hand has seen which.
            None if self.premises.registered_by_hand => {}
            _ => return Err(lacks("does not say that it supports PKCE with S256")),
        }
        let scopes = self.scopes(challenge, resource, &server);
        let mut auth_methods = server.auth_methods.unwrap_or_else(|| vec![DEFAULT_AUTH_METHOD.to_owned()]);
        auth_methods.retain(|method| AUTH_METHODS.contains(&method.as_str()));
        let grants_refresh = offers(&server.grant_types, "refresh_token") != Some(false);
        Ok(Discovered {
            authorization_endpoint: self.needed(&issuer, server.authorization_endpoint, "authorization_endpoint")?,
            token_endpoint: self.needed(&issuer, server.token_endpoint, "token_endpoint")?,
            registration_endpoint: self.optional(&issuer, server.registration_endpoint),
            revocation_endpoint: self.optional(&issuer, server.revocation_endpoint),
            takes_metadata_documents: server.takes_metadata_documents,
            auth_methods,
            grants_refresh,
            sends_issuer: server.sends_issuer,
            resource: resource.identifier.clone(),
            scopes,
            issuer,
        })
    }

    /// gateway.md §8. What the operator did not write himself gains `offline_access` where the server knows it, as without it
    /// there may be no refresh token.
    fn scopes(&self, challenge: &UpstreamChallenge, resource: &Resource, server: &ServerDocument) -> Vec<String> {
        if let Some(configured) = &self.premises.scopes {
            return configured.clone();
        }
        let challenged = scopes(challenge.scope.as_deref());
        let mut scopes = if challenged.is_empty() { resource.scopes.clone() } else { challenged };
        let offered = server.scopes.iter().any(|scope| scope == OFFLINE_ACCESS);
        if offered && !scopes.is_empty() && !scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
            scopes.push(OFFLINE_ACCESS.to_owned());
        }
        scopes
    }

    fn needed(&self, issuer: &str, endpoint: Option<Url>, name: &str) -> Result<Url, DiscoveryError> {
        let endpoint = endpoint.ok_or_else(|| unusable(format!("the metadata of {issuer} lack `{name}`")))?;
        match self.fetcher.check(&endpoint) {
            Ok(()) => Ok(endpoint),
            Err(error) => Err(unusable(format!("`{name}` of {issuer} cannot be used: {error}"))),
        }
    }

    fn optional(&self, issuer: &str, endpoint: Option<Url>) -> Option<Url> {
        let endpoint = endpoint?;
        let refused = self.fetcher.check(&endpoint).err();
        if let Some(error) = &refused {
            tracing::warn!(event = "upstream_endpoint_refused", issuer, %endpoint, %error);
        }
        refused.is_none().then_some(endpoint)
    }
}

impl Known {
    fn learn(&mut self, outcome: Result<Discovered, DiscoveryError>, server: &str, now: UnixTime) {
        match outcome {
            Ok(found) => {
                *self = Self { found: Some(Arc::new(found)), stale_at: Some(now.plus(FRESH)), failure: None };
            }
            Err(failure) => {
                tracing::warn!(event = "upstream_discovery_failed", server, %failure);
                let pause = if self.found.is_some() { COOLDOWN } else { PAUSE };
                self.stale_at = Some(now.plus(pause));
                self.failure = Some(failure);
            }
        }
    }
}

/// Whether a server whose issuer is not the place of its metadata keeps the codes of that issuer to itself: else one server
/// could have people sign in at another and get their codes.
fn keeps_codes(document: &ServerDocument) -> bool {
    let issuer = Url::parse(&document.issuer).map(|issuer| issuer.origin());
    let token = document.token_endpoint.as_ref().map(Url::origin);
    issuer.is_ok_and(|issuer| issuer.is_tuple() && token == Some(issuer))
}

/// MCP 2025-03-26, "Fallbacks for Servers without Metadata Discovery".
fn default_endpoints(origin: &Url) -> ServerDocument {
    let at = |path: &str| origin.join(path).ok();
    ServerDocument {
        issuer: origin.origin().ascii_serialization(),
        authorization_endpoint: at("/authorize"),
        token_endpoint: at("/token"),
        registration_endpoint: at("/register"),
        revocation_endpoint: None,
        code_challenge_methods: Some(vec!["S256".to_owned()]),
        auth_methods: None,
        response_types: None,
        grant_types: None,
        scopes: Vec::new(),
        sends_issuer: false,
        takes_metadata_documents: false,
    }
}

/// The request that every client begins with.
fn initialize() -> String {
    let client = json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string()
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

fn unusable(cause: String) -> DiscoveryError {
    DiscoveryError::Unusable(cause)
}
