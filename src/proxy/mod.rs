//! The way to the MCP servers behind: authenticate, strip, forward, stream.
//!
//! Owns the data path of `/mcp/<slug>` (MCP Streamable HTTP, RFC 9110 §7.6). Must not buffer a body, rewrite
//! one, or decide who may have a token.

mod access;
mod addresses;
mod answer;
mod audit;
mod body;
mod caller;
mod cors;
mod credential;
mod direct;
mod error;
mod filter;
pub mod headers;
mod identity;
mod keep_alive;
mod not_connected;
mod people;
mod pool;
mod rate_limits;
mod response;
mod route;
mod session;
mod shared;
mod streams;
mod upstream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;

pub use answer::ProxyBody;
pub use body::BoxError;
pub use caller::CallerToken;
pub use route::ProxyRoute;
pub use session::SessionBinding;
pub use streams::OpenStreams;
pub use upstream::UpstreamTls;

use crate::access::StepUp;
use crate::config::model::{GatewayConfig, Route};
use crate::crypto::Sealer;
use crate::domain::GrantId;
use crate::domain::{Clock, Random};
use crate::identity::AuthKit;
use crate::keys::{AccessTokenVerifier, AssertionIssuer, Keys, Revocations};
use crate::oauth::bearer::{self, BearerError, BearerProblem, Challenge};
use crate::oauth::metadata::protected_resource_url;
use crate::oauth::scope::ScopeCatalog;
use crate::store::Store;
use crate::telemetry::metrics::{CounterBy, Metrics};
use crate::upstream::Upstreams;
use audit::{Recording, Witness};
use credential::Credentials;
use error::{Challenged, ProxyError};
use people::People;
use rate_limits::{RateLimits, SharedWindows};
use streams::{StreamPlace, Streams};
use upstream::Way;

/// Calls and streams that one caller may have open where no policy says otherwise.
const STREAMS_WITHOUT_GRANT: u32 = 100;

/// What the proxy is made of; all of it lives longer than one configuration.
pub struct ProxyParts {
    pub keys: Arc<Keys>,
    pub revocations: Arc<Revocations>,
    pub store: Store,
    pub sealer: Sealer,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub tls: UpstreamTls,
    /// Bytes; a route may take less.
    pub max_body: u64,
    pub streams: Arc<OpenStreams>,
    pub metrics: Arc<Metrics>,
}

/// The proxy under one configuration.
pub struct Proxy {
    verifier: AccessTokenVerifier,
    credentials: Credentials,
    /// In direct mode, whose tokens count instead of ours.
    authkit: Option<Arc<AuthKit>>,
    assertions: AssertionIssuer,
    people: People,
    sessions: SessionBinding,
    scopes: Option<ScopeCatalog>,
    /// By their literal path.
    routes: HashMap<String, ProxyRoute>,
    stream_max: Duration,
    close_at_expiry: bool,
    outage_grace: Duration,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    streams: Streams,
    store: Store,
    /// Records of calls for which there was no room.
    audit_lost: CounterBy<1>,
}

/// One request on its way.
struct Call<'a> {
    to: &'a ProxyRoute,
    origin: &'a str,
    request_id: &'a str,
    /// Absent on public routes.
    token: Option<CallerToken>,
    /// In direct mode: the stream that it opens has no end of its own.
    listens: bool,
    peer: Option<IpAddr>,
}

impl Call<'_> {
    /// Whose calls go to the same of several addresses.
    fn caller(&self) -> String {
        match &self.token {
            Some(token) => serde_json::json!([token.subject().as_str(), token.client().as_str()]).to_string(),
            None => self.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        }
    }
}

impl Proxy {
    #[must_use]
    pub fn new(config: &GatewayConfig, upstreams: Arc<Upstreams>, parts: ProxyParts) -> Self {
        let options = config.login.as_ref().map(|login| &login.gateway);
        let scopes = options.map(|options| ScopeCatalog::new(&options.scopes));
        let mut windows = SharedWindows::default();
        let prepared = |route: &Route| {
            let rate_limits = RateLimits::new(route, &mut windows);
            let prepared = ProxyRoute::new(route, scopes.as_ref(), &parts.tls, parts.max_body, &parts.metrics);
            let needed = match &config.direct {
                Some(direct) => direct.required_scopes.union(&route.required_scopes),
                None => prepared.needed,
            };
            ProxyRoute { needed, rate_limits, ..prepared }
        };
        Self {
            routes: config
                .routes
                .iter()
                .map(|route| route.path.clone())
                .zip(config.routes.iter().map(prepared))
                .collect(),
            verifier: AccessTokenVerifier::new(Arc::clone(&parts.keys), parts.revocations)
                .counted_by(parts.metrics.token_cache.clone()),
            credentials: Credentials {
                upstreams,
                operators: options.map(|options| options.operators.clone()).unwrap_or_default(),
                has_pages: config.login.is_some(),
            },
            authkit: None,
            assertions: AssertionIssuer::new(parts.keys),
            audit_lost: parts.metrics.audit_lost.clone(),
            people: People::new(parts.store.clone(), options.map_or(Duration::MAX, |options| options.outage_grace)),
            sessions: SessionBinding::new(parts.sealer, Arc::clone(&parts.random)),
            scopes,
            stream_max: options.map_or(Duration::from_secs(86_400), |options| options.stream_max),
            outage_grace: options.map_or(Duration::MAX, |options| options.outage_grace),
            close_at_expiry: options.is_some_and(|options| options.close_streams_at_expiry),
            clock: parts.clock,
            store: parts.store,
            random: parts.random,
            // Without a login policy there are no grants, but callers of public routes.
            streams: Streams::new(
                parts.streams,
                options.map_or(Some(STREAMS_WITHOUT_GRANT), |options| Some(options.limits?.streams_per_grant)),
            ),
        }
    }

    /// The same for direct mode, whose tokens `authkit` verifies.
    #[must_use]
    pub fn direct(self, authkit: Option<Arc<AuthKit>>) -> Self {
        Self { authkit, ..self }
    }

    /// Grants with a token that came here for the first time since the last time somebody asked (REFR-12).
    #[must_use]
    pub fn take_used_grants(&self) -> Vec<GrantId> {
        self.verifier.take_used()
    }

    /// The route at a path, which is compared as it stands, without decoding or normalising (PROX-10).
    #[must_use]
    pub fn route(&self, path: &str) -> Option<&ProxyRoute> {
        self.routes.get(path)
    }

    /// Serves one request of a route.
    pub async fn handle(
        &self,
        to: &ProxyRoute,
        origin: &str,
        request_id: &str,
        peer: Option<IpAddr>,
        request: Request<Incoming>,
    ) -> Response<ProxyBody> {
        let started = Instant::now();
        let open = to.metrics.begin(request.method(), started);
        let asked = cors::asked_headers(request.headers(), &to.route.cors);
        let audit = to.route.audit.as_ref().filter(|_| request.method() == Method::POST);
        let witness = audit.map(|_| Witness::default());
        let mut recording = audit.zip(witness.clone()).map(|(audit, witness)| Recording {
            proxy: self,
            route: &to.route,
            audit,
            witness,
            request_id,
            peer,
            started,
            answered: None,
        });
        let mut refusal = None;
        let mut response = match self.serve(to, origin, request_id, peer, request, witness.as_ref()).await {
            Ok(response) => response,
            Err(refused) => {
                refusal = Some(refused.error.reason_code());
                to.metrics.refused(refused.error.reason_code());
                tracing::info!(
                    event = "mcp_request_rejected",
                    operationId = to.route.operation_id,
                    subjectId = refused.token.as_ref().map(|token| tracing::field::display(token.subject())),
                    clientId = refused.token.as_ref().map(|token| tracing::field::display(token.client())),
                    requestId = request_id,
                    reasonCode = refused.error.reason_code(),
                    reason = %refused.error,
                    peer = peer.map(tracing::field::display),
                    latencyMs = started.elapsed().as_millis(),
                );
                let response = refused.error.response(request_id);
                if let Some(body) = refused.unread {
                    body.drain().await;
                }
                response
            }
        };
        if let Some(recording) = &mut recording {
            recording.answered = Some((response.status(), refusal));
        }
        drop(recording);
        cors::expose(response.headers_mut(), asked, to.exposed.clone());
        open.answered(response.status());
        response.body_mut().keep_open(open);
        response
    }

    async fn serve(
        &self,
        to: &ProxyRoute,
        origin: &str,
        request_id: &str,
        peer: Option<IpAddr>,
        request: Request<Incoming>,
        witness: Option<&Witness>,
    ) -> Result<Response<ProxyBody>, Refused> {
        let (mut parts, body) = request.into_parts();
        let waits = parts.headers.contains_key(header::EXPECT);
        let refuse = |error: ProxyError, token: Option<CallerToken>, body: Incoming| Refused {
            error,
            token,
            unread: body::Unread::new(body, waits),
        };
        if !cors::is_allowed(&parts.headers, origin, &to.route.cors) {
            return Err(refuse(ProxyError::Origin, None, body));
        }
        if parts.method == Method::OPTIONS {
            return Ok(cors::preflight(&to.route.cors));
        }
        // Nothing of the body is looked at before the caller is known (CHAL-1, CHAL-11).
        let mut admitted = match &self.authkit {
            None => self.admit(to, origin, &parts),
            // In a box, so that calls of the other mode do not carry its state.
            Some(authkit) => Box::pin(self.admit_direct(authkit, to, origin, &parts)).await,
        };
        if admitted.is_err() && self.authkit.is_none() && self.learn_key(&parts).await {
            admitted = self.admit(to, origin, &parts);
        }
        let token = match admitted {
            Ok(token) => token,
            Err(error) => return Err(refuse(error, None, body)),
        };
        if let Some(witness) = witness {
            witness.admitted(token.as_ref());
        }
        if let Err(error) = self.check_access(to, token.as_ref()).await {
            return Err(refuse(error, token, body));
        }
        if let Err(error) = to.rate_limits.take(token.as_ref(), peer, self.clock.now()) {
            return Err(refuse(error, token, body));
        }
        let (body, grown) = match body::RequestBody::limited(body, to.max_body) {
            Ok((body, grown)) => (body.watched(witness.cloned()), grown),
            Err(body) => return Err(refuse(ProxyError::BodyTooLarge(to.max_body), token, body)),
        };
        let call =
            Call { to, origin, request_id, token, listens: self.authkit.is_some() && direct::listens(&parts), peer };
        let refuse = |error: ProxyError, token: Option<CallerToken>, body: body::RequestBody| Refused {
            error,
            token,
            unread: body.unread(waits),
        };
        let place = match self.streams.take(call.token.as_ref(), peer) {
            Ok(place) => place,
            Err(error) => return Err(refuse(error, call.token, body)),
        };
        let session = match self.prepare_headers(&call, &mut parts.headers).await {
            Ok(session) => session,
            Err(error) => return Err(refuse(error, call.token, body)),
        };
        let way = to.upstream.way(session, || call.caller());
        self.forward(&call, way, parts, body, place).await.map_err(|error| {
            let grown = grown.is_some_and(|grown| grown.is_set());
            let error = if grown { ProxyError::BodyTooLarge(to.max_body) } else { error };
            Refused { error, token: call.token, unread: None }
        })
    }

    /// Method, credentials, scope (CHAL-1 … CHAL-9, PROX-5). Nobody on public routes.
    fn admit(
        &self,
        to: &ProxyRoute,
        origin: &str,
        parts: &http::request::Parts,
    ) -> Result<Option<CallerToken>, ProxyError> {
        if !is_taken(&parts.method) {
            return Err(ProxyError::Method);
        }
        if to.route.proxy.public {
            return Ok(None);
        }
        let presented = presented(parts).map_err(|problem| {
            ProxyError::Bearer(Box::new(challenge(to, origin, problem.error())), "no_usable_credentials")
        })?;
        let token = self.verifier.verify(presented, origin, &to.route.path, self.clock.now()).map_err(|refusal| {
            let challenge = challenge(to, origin, Some(BearerError::InvalidToken));
            ProxyError::Bearer(Box::new(challenge), refusal.reason_code())
        })?;
        if self.verifier.revocations().is_outdated(self.outage_grace, self.clock.now()) {
            return Err(ProxyError::RevocationsUnknown);
        }
        let enough = self
            .scopes
            .as_ref()
            .is_none_or(|scopes| to.needed.iter().all(|needed| scopes.satisfies(&token.scope, needed)));
        if !enough {
            let challenge = challenge(to, origin, Some(BearerError::InsufficientScope));
            return Err(ProxyError::Bearer(Box::new(challenge), "insufficient_scope"));
        }
        Ok(Some(CallerToken::Own(token)))
    }

    /// Whether a refused token may be good after all, by a key that another replica made a moment ago (SEC-3).
    async fn learn_key(&self, parts: &http::request::Parts) -> bool {
        match presented(parts) {
            Ok(presented) => self.verifier.learn_key_of(presented, self.clock.now()).await,
            Err(_) => false,
        }
    }

    /// Takes out what is not for the upstream, and puts in what is. Gives the address of the call's session, if it has
    /// one.
    async fn prepare_headers(&self, call: &Call<'_>, headers: &mut HeaderMap) -> Result<Option<usize>, ProxyError> {
        headers::strip_request(headers);
        let session = self.sessions.open_in(headers, call.token.as_ref(), call.to)?;
        headers::change_request(headers, &call.to.route.header_changes);
        self.add_identity(call, headers).await?;
        Ok(session)
    }

    async fn forward(
        &self,
        call: &Call<'_>,
        way: Way,
        mut parts: http::request::Parts,
        body: body::RequestBody,
        place: StreamPlace,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let (body, filter) = match &call.to.filters {
            None => (body, None),
            Some(filters) => {
                let admitted = self.filter(call, filters, &mut parts, body).await?;
                (admitted.body, Some(admitted.filter))
            }
        };
        let mut sent = Instant::now();
        let method = parts.method.clone();
        parts.uri = call.to.upstream.uri(parts.uri.query());
        let (response, address, lease) = match &call.to.route.credential {
            None => {
                let (response, address) = call.to.upstream.send(way, parts, body).await?;
                (response, address, None)
            }
            // In a box, so that calls of other routes do not carry its state.
            Some(upstream) => {
                let answered = Box::pin(self.send_with_credential(call, upstream, way, parts, body));
                let ((response, address), credential, at) = answered.await?;
                sent = at;
                let lasts = headers::is_event_stream(response.headers());
                (response, address, lasts.then(|| self.credentials.upstreams.lease(&credential)).flatten())
            }
        };
        let took = sent.elapsed();
        call.to.metrics.first_byte(took);
        tracing::info!(
            event = "mcp_request_accepted",
            operationId = call.to.route.operation_id,
            subjectId = call.token.as_ref().map(|token| tracing::field::display(token.subject())),
            clientId = call.token.as_ref().map(|token| tracing::field::display(token.client())),
            requestId = call.request_id,
            method = %method,
            status = response.status().as_u16(),
            latencyMs = took.as_millis(),
        );
        self.answer(call, response, address, place, filter, lease)
    }
}

/// The challenge of a route: where its metadata is, and the scope it needs (RFC 9728 §5.1).
fn challenge(to: &ProxyRoute, origin: &str, error: Option<BearerError>) -> Challenged {
    let description = error.map(describe);
    let header = Challenge {
        resource_metadata: &protected_resource_url(origin, &to.route.path),
        scope: &to.needed,
        error,
        error_description: description,
        max_age: None,
    }
    .to_string();
    Challenged {
        header,
        status: error.map_or(401, BearerError::http_status),
        error: error.map_or("unauthorized", BearerError::as_str),
        description: description.unwrap_or("sign in to use this server"),
    }
}

/// The challenge of a call whose token would do for others, but not for this one (MCP Authorization, "Step-Up"; RFC 9470).
fn step_up(call: &Call<'_>, missing: &StepUp) -> ProxyError {
    let needed = &call.to.needed;
    let (error, scope, max_age) = match missing {
        StepUp::Scope(scope) => (BearerError::InsufficientScope, needed.union(scope), None),
        StepUp::Login(max_age) => (BearerError::InsufficientUserAuthentication, needed.clone(), Some(*max_age)),
    };
    let description = describe(error);
    let header = Challenge {
        resource_metadata: &protected_resource_url(call.origin, &call.to.route.path),
        scope: &scope,
        error: Some(error),
        error_description: Some(description),
        max_age,
    }
    .to_string();
    let challenged = Challenged { header, status: error.http_status(), error: error.as_str(), description };
    ProxyError::Bearer(Box::new(challenged), error.as_str())
}

/// A refused request, with what is left of it on the wire.
struct Refused {
    error: ProxyError,
    /// Who asked, if that was known already.
    token: Option<CallerToken>,
    unread: Option<body::Unread>,
}

/// PROX-5
fn is_taken(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::GET | Method::DELETE)
}

/// The one token of a request.
fn presented(parts: &http::request::Parts) -> Result<&str, BearerProblem> {
    let headers = parts.headers.get_all(header::AUTHORIZATION).iter().map(http::HeaderValue::as_bytes);
    bearer::credentials(headers, parts.uri.query())
}

/// What a refused caller is told.
fn describe(error: BearerError) -> &'static str {
    match error {
        BearerError::InvalidRequest => "send one access token, in the Authorization header",
        BearerError::InvalidToken => "the access token is not valid here; get a new one",
        BearerError::InsufficientUserAuthentication => "the person signed in too long ago for this; sign in again",
        BearerError::InsufficientScope => "the token does not carry the scope that this server needs",
    }
}
