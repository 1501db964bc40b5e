//! The way to the MCP servers behind: authenticate, strip, forward, stream.
//!
//! Owns the data path of `/mcp/<slug>` (MCP Streamable HTTP, RFC 9110 §7.6). Must not buffer a body, rewrite
//! one, or decide who may have a token.

mod access;
mod body;
mod cors;
mod error;
mod headers;
mod identity;
mod people;
mod session;
mod streams;
mod upstream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;

pub use body::{BoxError, ProxyBody};
pub use session::SessionBinding;
pub use streams::OpenStreams;
pub use upstream::UpstreamTls;

use crate::config::model::{GatewayConfig, Route};
use crate::crypto::Sealer;
use crate::domain::GrantId;
use crate::domain::{Clock, Random};
use crate::keys::{AccessTokenVerifier, AssertionIssuer, Keys, Revocations, VerifiedToken};
use crate::oauth::bearer::{self, BearerError, Challenge};
use crate::oauth::metadata::protected_resource_url;
use crate::oauth::scope::{ScopeCatalog, ScopeSet};
use crate::store::Store;
use body::BodyKind;
use error::{Challenged, ProxyError};
use people::People;
use streams::{StreamPlace, Streams};
use upstream::Upstream;

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
}

/// The proxy under one configuration: a prepared upstream for each route.
pub struct Proxy {
    verifier: AccessTokenVerifier,
    assertions: AssertionIssuer,
    people: People,
    sessions: SessionBinding,
    scopes: Option<ScopeCatalog>,
    upstreams: HashMap<String, Upstream>,
    stream_max: Duration,
    close_at_expiry: bool,
    outage_grace: Duration,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    max_body: u64,
    streams: Streams,
}

/// One request on its way.
struct Call<'a> {
    route: &'a Route,
    upstream: &'a Upstream,
    origin: &'a str,
    request_id: &'a str,
    /// Absent on public routes.
    token: Option<Arc<VerifiedToken>>,
}

impl Proxy {
    #[must_use]
    pub fn new(config: &GatewayConfig, parts: ProxyParts) -> Self {
        let options = config.login.as_ref().map(|login| &login.gateway);
        Self {
            verifier: AccessTokenVerifier::new(Arc::clone(&parts.keys), parts.revocations),
            assertions: AssertionIssuer::new(parts.keys),
            people: People::new(parts.store, options.map_or(Duration::MAX, |options| options.outage_grace)),
            sessions: SessionBinding::new(parts.sealer, Arc::clone(&parts.random)),
            scopes: options.map(|options| ScopeCatalog::new(&options.scopes)),
            upstreams: config
                .routes
                .iter()
                .map(|route| (route.path.clone(), Upstream::new(&route.proxy, &parts.tls)))
                .collect(),
            stream_max: options.map_or(Duration::from_secs(86_400), |options| options.stream_max),
            outage_grace: options.map_or(Duration::MAX, |options| options.outage_grace),
            close_at_expiry: options.is_some_and(|options| options.close_streams_at_expiry),
            clock: parts.clock,
            random: parts.random,
            max_body: parts.max_body,
            // Without a login policy there are no grants, but callers of public routes.
            streams: Streams::new(
                parts.streams,
                options.map_or(Some(u32::MAX), |options| Some(options.limits?.streams_per_grant)),
            ),
        }
    }

    /// Grants with a token that came here for the first time since the last time somebody asked (REFR-12).
    #[must_use]
    pub fn take_used_grants(&self) -> Vec<GrantId> {
        self.verifier.take_used()
    }

    /// Serves one request of a route.
    pub async fn handle<B>(
        &self,
        route: &Route,
        origin: &str,
        request_id: &str,
        peer: Option<IpAddr>,
        request: Request<B>,
    ) -> Response<ProxyBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let asked = cors::asked_headers(request.headers(), &route.cors);
        let mut response = match self.serve(route, origin, request_id, peer, request).await {
            Ok(response) => response,
            Err(refused) => {
                tracing::info!(
                    event = "mcp_request_rejected",
                    operationId = route.operation_id,
                    subjectId = refused.token.as_ref().map(|token| tracing::field::display(&token.subject)),
                    clientId = refused.token.as_ref().map(|token| tracing::field::display(&token.client)),
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
        cors::expose(response.headers_mut(), asked, &route.cors);
        response
    }

    async fn serve<B>(
        &self,
        route: &Route,
        origin: &str,
        request_id: &str,
        peer: Option<IpAddr>,
        request: Request<B>,
    ) -> Result<Response<ProxyBody>, Refused>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let waits = parts.headers.contains_key(header::EXPECT);
        let refuse = |error: ProxyError, token: Option<Arc<VerifiedToken>>, body: B| Refused {
            error,
            token,
            unread: body::Unread::new(body, waits),
        };
        if !cors::is_allowed(&parts.headers, origin, &route.cors) {
            return Err(refuse(ProxyError::Origin, None, body));
        }
        if parts.method == Method::OPTIONS {
            return Ok(cors::preflight(&route.cors));
        }
        // Nothing of the body is looked at before the caller is known (CHAL-1, CHAL-11).
        let mut admitted = self.admit(route, origin, &parts);
        if admitted.is_err() && self.learn_key(&parts).await {
            admitted = self.admit(route, origin, &parts);
        }
        let token = match admitted {
            Ok(token) => token,
            Err(error) => return Err(refuse(error, None, body)),
        };
        if let Err(error) = self.check_access(route, token.as_deref()).await {
            return Err(refuse(error, token, body));
        }
        let Some(upstream) = self.upstreams.get(&route.path) else {
            return Err(refuse(ProxyError::UpstreamUnreachable("no such route".to_owned()), token, body));
        };
        let call = Call { route, upstream, origin, request_id, token };
        let limit = route.proxy.max_body.min(self.max_body);
        if body::declared_length(&parts.headers).is_some_and(|length| length > limit) {
            return Err(refuse(ProxyError::BodyTooLarge(limit), call.token, body));
        }
        let place = match self.streams.take(call.token.as_ref().map(|token| &token.grant), peer) {
            Ok(place) => place,
            Err(error) => return Err(refuse(error, call.token, body)),
        };
        if let Err(error) = self.prepare_headers(&call, &mut parts.headers).await {
            return Err(refuse(error, call.token, body));
        }
        let body = body::limited(body, limit);
        match self.forward(&call, parts, body, place).await {
            Ok(response) => Ok(response),
            Err(error) => Err(Refused { error, token: call.token, unread: None }),
        }
    }

    /// Method, credentials, scope (CHAL-1 … CHAL-9, PROX-5).
    fn admit(
        &self,
        route: &Route,
        origin: &str,
        parts: &http::request::Parts,
    ) -> Result<Option<Arc<VerifiedToken>>, ProxyError> {
        if !matches!(parts.method, Method::POST | Method::GET | Method::DELETE) {
            return Err(ProxyError::Method);
        }
        if route.proxy.public {
            return Ok(None);
        }
        let headers = parts.headers.get_all(header::AUTHORIZATION).iter().map(http::HeaderValue::as_bytes);
        let presented = bearer::credentials(headers, parts.uri.query()).map_err(|problem| {
            ProxyError::Bearer(Box::new(self.challenge(route, origin, problem.error())), "no_usable_credentials")
        })?;
        let token = self.verifier.verify(presented, origin, &route.path, self.clock.now()).map_err(|refusal| {
            let challenge = self.challenge(route, origin, Some(BearerError::InvalidToken));
            ProxyError::Bearer(Box::new(challenge), refusal.reason_code())
        })?;
        if self.verifier.revocations().is_outdated(self.outage_grace, self.clock.now()) {
            return Err(ProxyError::RevocationsUnknown);
        }
        let needed = self.needed_scopes(route);
        let enough = self
            .scopes
            .as_ref()
            .is_none_or(|scopes| needed.iter().all(|needed| scopes.satisfies(&token.scope, needed)));
        if !enough {
            let challenge = self.challenge(route, origin, Some(BearerError::InsufficientScope));
            return Err(ProxyError::Bearer(Box::new(challenge), "insufficient_scope"));
        }
        Ok(Some(token))
    }

    /// Whether a refused token may be good after all, by a key that another replica made a moment ago (SEC-3).
    async fn learn_key(&self, parts: &http::request::Parts) -> bool {
        let headers = parts.headers.get_all(header::AUTHORIZATION).iter().map(http::HeaderValue::as_bytes);
        match bearer::credentials(headers, parts.uri.query()) {
            Ok(presented) => self.verifier.learn_key_of(presented, self.clock.now()).await,
            Err(_) => false,
        }
    }

    fn needed_scopes(&self, route: &Route) -> ScopeSet {
        self.scopes.as_ref().map(|scopes| scopes.needed(&route.required_scopes)).unwrap_or_default()
    }

    /// The challenge of a route: where its metadata is, and the scope it needs (RFC 9728 §5.1).
    fn challenge(&self, route: &Route, origin: &str, error: Option<BearerError>) -> Challenged {
        let description = error.map(describe);
        let header = Challenge {
            resource_metadata: &protected_resource_url(origin, &route.path),
            scope: &self.needed_scopes(route),
            error,
            error_description: description,
        }
        .to_string();
        Challenged { header, error, description: description.unwrap_or("sign in to use this server") }
    }

    /// Takes out what is not for the upstream, and puts in what is.
    async fn prepare_headers(&self, call: &Call<'_>, headers: &mut HeaderMap) -> Result<(), ProxyError> {
        headers::strip_request(headers);
        self.sessions.open_in(headers, call.token.as_deref(), call.route)?;
        self.add_identity(call, headers).await
    }

    async fn forward(
        &self,
        call: &Call<'_>,
        mut parts: http::request::Parts,
        body: body::RequestBody,
        place: StreamPlace,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let started = Instant::now();
        let method = parts.method.clone();
        parts.uri = call.upstream.uri(parts.uri.query());
        let response = call.upstream.send(parts, body).await?;
        tracing::info!(
            event = "mcp_request_accepted",
            operationId = call.route.operation_id,
            subjectId = call.token.as_ref().map(|token| tracing::field::display(&token.subject)),
            clientId = call.token.as_ref().map(|token| tracing::field::display(&token.client)),
            requestId = call.request_id,
            method = %method,
            status = response.status().as_u16(),
            latencyMs = started.elapsed().as_millis(),
        );
        self.answer(call, response, place)
    }

    /// The upstream's answer, in the form the client may have it (PROX-6, PROX-7, PROX-9).
    fn answer(
        &self,
        call: &Call<'_>,
        response: Response<hyper::body::Incoming>,
        place: StreamPlace,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        match response.status() {
            StatusCode::UNAUTHORIZED => return Err(ProxyError::UpstreamCredential),
            status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                return Err(ProxyError::UpstreamRedirect);
            }
            _ => {}
        }
        let (mut parts, body) = response.into_parts();
        headers::strip_response(&mut parts.headers);
        if call.token.is_some() {
            headers::keep_private(&mut parts.headers);
        }
        self.sessions.seal_in(&mut parts.headers, call.token.as_deref(), call.route);
        parts.version = http::Version::HTTP_11;
        let (kind, life) = if headers::is_event_stream(&parts.headers) {
            headers::keep_unbuffered(&mut parts.headers);
            (BodyKind::EventStream, self.stream_life(call.token.as_deref()))
        } else {
            (BodyKind::Whole, self.stream_max)
        };
        let revocations = Arc::clone(self.verifier.revocations());
        let grant = call.token.as_ref().map(|token| token.grant.clone());
        let end = async move {
            match grant {
                Some(grant) => {
                    tokio::select! {
                        () = tokio::time::sleep(life) => {}
                        () = revocations.revoked(&grant) => {}
                    }
                }
                None => tokio::time::sleep(life).await,
            }
        };
        Ok(Response::from_parts(parts, ProxyBody::upstream(body, kind, end, place)))
    }

    /// How long an event stream may stay open (STRM-8).
    fn stream_life(&self, token: Option<&VerifiedToken>) -> Duration {
        match token {
            Some(token) if self.close_at_expiry => {
                let left = token.expires_at.since(self.clock.now()).max(0);
                self.stream_max.min(Duration::from_secs(left.unsigned_abs()))
            }
            _ => self.stream_max,
        }
    }
}

/// A refused request, with what is left of it on the wire.
struct Refused {
    error: ProxyError,
    /// Who asked, if that was known already.
    token: Option<Arc<VerifiedToken>>,
    unread: Option<body::Unread>,
}

/// What a refused caller is told.
fn describe(error: BearerError) -> &'static str {
    match error {
        BearerError::InvalidRequest => "send one access token, in the Authorization header",
        BearerError::InvalidToken => "the access token is not valid here; get a new one",
        BearerError::InsufficientScope => "the token does not carry the scope that this server needs",
    }
}
