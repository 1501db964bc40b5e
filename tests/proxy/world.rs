//! The proxy behind a listener of its own, on a clock that the test sets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use doorward::config::{self, GatewayConfig, Mode, SigningAlg};
use doorward::crypto::{KeyMaterial, Sealer};
use doorward::domain::{Clock, Person, SubjectId, SystemRandom, UnixTime};
use doorward::keys::{AccessTokenClaims, AccessTokenIssuer, Keys, Revocations};
use doorward::outbound::{Outbound, OutboundSettings};
use doorward::proxy::{OpenStreams, Proxy, ProxyParts, UpstreamTls};
use doorward::store::Store;
use doorward::telemetry::metrics::Metrics;
use doorward::upstream::{UpstreamParts, Upstreams};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::RootCertStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub const START: i64 = 1_800_000_000;

#[derive(Debug)]
pub struct TestClock(pub AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

/// The proxy with two routes, `/mcp/one` and `/mcp/two`, to one upstream.
pub struct World {
    pub origin: String,
    pub address: SocketAddr,
    pub clock: Arc<TestClock>,
    pub keys: Arc<Keys>,
    pub revocations: Arc<Revocations>,
    pub store: Store,
    pub metrics: Arc<Metrics>,
    pub upstreams: Arc<Upstreams>,
    pub client: reqwest::Client,
    _folder: TempDir,
}

impl World {
    pub async fn new(upstream: &str) -> Self {
        Self::with(upstream, &json!({}), &json!({})).await
    }

    /// `handler`: options of both routes. `gateway`: options of the login policy.
    pub async fn with(upstream: &str, handler: &Value, gateway: &Value) -> Self {
        let keys = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
        Self::with_keys(upstream, handler, gateway, keys).await
    }

    pub async fn with_keys(upstream: &str, handler: &Value, gateway: &Value, keys: Arc<Keys>) -> Self {
        Self::start(upstream, [handler, handler], gateway, &[], keys, 10_000, RootCertStore::empty()).await
    }

    /// Trusts upstreams by `roots`; the routes have options of their own, and may have a `rewritePattern`.
    pub async fn with_roots(upstream: &str, handlers: [&Value; 2], roots: RootCertStore) -> Self {
        let keys = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
        Self::start(upstream, handlers, &json!({}), &[], keys, 10_000, roots).await
    }

    /// With further policies, which both routes name in this order.
    pub async fn with_policies(upstream: &str, handler: &Value, policies: &[Value]) -> Self {
        Self::with_gateway_and_policies(upstream, handler, &json!({}), policies).await
    }

    pub async fn with_gateway_and_policies(upstream: &str, handler: &Value, gateway: &Value, more: &[Value]) -> Self {
        let keys = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
        Self::start(upstream, [handler, handler], gateway, more, keys, 10_000, RootCertStore::empty()).await
    }

    /// With so many calls and streams open at most.
    pub async fn with_streams(upstream: &str, handler: &Value, gateway: &Value, max_streams: usize) -> Self {
        let keys = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
        Self::start(upstream, [handler, handler], gateway, &[], keys, max_streams, RootCertStore::empty()).await
    }

    async fn start(
        upstream: &str,
        handlers: [&Value; 2],
        gateway: &Value,
        policies: &[Value],
        keys: Arc<Keys>,
        max_streams: usize,
        roots: RootCertStore,
    ) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", folder.path().join("p.db").display())).await.unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(START)));
        let revocations = Arc::new(Revocations::default());
        let config = config(&folder, upstream, handlers, gateway, policies);
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let metrics: Arc<Metrics> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = format!("http://{address}");
        let sealer = Sealer::new(&[KeyMaterial::new([9; 32])]).unwrap();
        let outbound = OutboundSettings { allow_loopback: true, ..OutboundSettings::default() };
        let upstreams = UpstreamParts {
            store: store.clone(),
            outbound: Outbound::new(&outbound).unwrap(),
            sealer: sealer.clone(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            origins: vec![origin.clone()],
            base_path: "/".to_owned(),
            metrics: metrics.upstreams.clone(),
            identity: None,
        };
        let upstreams = Arc::new(Upstreams::new(config.upstreams(), upstreams));
        let parts = ProxyParts {
            keys: Arc::clone(&keys),
            revocations: Arc::clone(&revocations),
            store: store.clone(),
            sealer,
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            tls: UpstreamTls(Arc::new(tls)),
            max_body: 4 * 1024 * 1024,
            streams: OpenStreams::new(max_streams),
            metrics: Arc::clone(&metrics),
        };
        let proxy = Arc::new(Proxy::new(&config, Arc::clone(&upstreams), parts));
        tokio::spawn(accept(listener, proxy, origin.clone().into()));
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { origin, address, clock, keys, revocations, store, metrics, upstreams, client, _folder: folder }
    }

    pub fn url(&self, slug: &str) -> String {
        format!("{}/mcp/{slug}", self.origin)
    }

    pub fn claims(&self, slug: &str) -> AccessTokenClaims {
        AccessTokenClaims {
            iss: self.origin.clone(),
            sub: "usr_1".to_owned(),
            aud: self.url(slug),
            client_id: "dcr_1".to_owned(),
            exp: START + 900,
            iat: START,
            jti: "1".to_owned(),
            scope: "mcp:tools".to_owned(),
            sid: "grt_1".to_owned(),
            auth_time: None,
        }
    }

    pub fn sign(&self, claims: &AccessTokenClaims) -> String {
        AccessTokenIssuer::new(Arc::clone(&self.keys)).issue(claims).unwrap()
    }

    /// A good token for a route.
    pub fn token(&self, slug: &str) -> String {
        self.sign(&self.claims(slug))
    }

    /// A POST of `body` to `/mcp/one`, with a good token.
    pub fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client.post(self.url("one")).bearer_auth(self.token("one")).body(body)
    }

    pub fn get(&self) -> reqwest::RequestBuilder {
        self.client.get(self.url("one")).bearer_auth(self.token("one"))
    }

    /// Makes the person of [`World::claims`] known.
    pub async fn introduce(&self) -> Person {
        self.introduce_as(|_| {}).await
    }

    /// The same, with something else about them.
    pub async fn introduce_as(&self, change: impl FnOnce(&mut Person)) -> Person {
        let mut person = Person {
            id: SubjectId::new("usr_1"),
            provider: "https://idp.example".to_owned(),
            subject: "user_01".to_owned(),
            email: Some("ada@example.com".to_owned()),
            email_verified: true,
            name: Some("Ada Lovelace".to_owned()),
            given_name: Some("Ada".to_owned()),
            family_name: Some("Lovelace".to_owned()),
            username: None,
            picture: None,
            organization_id: Some("org_1".to_owned()),
            roles: vec!["admin".to_owned()],
            groups: vec!["staff".to_owned(), "a,admins".to_owned()],
            permissions: vec!["tools:use".to_owned()],
            entitlements: Vec::new(),
            external_id: None,
            impersonator: None,
        };
        change(&mut person);
        self.store.save_person(&person, UnixTime(START)).await.unwrap();
        person
    }
}

async fn accept(listener: TcpListener, proxy: Arc<Proxy>, origin: Arc<str>) {
    while let Ok((stream, peer)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let (proxy, origin) = (Arc::clone(&proxy), Arc::clone(&origin));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (proxy, origin) = (Arc::clone(&proxy), Arc::clone(&origin));
            async move {
                let path = request.uri().path();
                let Some(route) = proxy.route(path) else {
                    let mut response = Response::new(doorward::proxy::ProxyBody::own("no such route"));
                    *response.status_mut() = http::StatusCode::NOT_FOUND;
                    return Ok::<_, Infallible>(response);
                };
                Ok(proxy.handle(route, &origin, "ref-1", Some(peer.ip()), request).await)
            }
        });
        tokio::spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn config(folder: &TempDir, upstream: &str, handlers: [&Value; 2], gateway: &Value, more: &[Value]) -> GatewayConfig {
    let path = folder.path().join("config");
    std::fs::create_dir_all(&path).unwrap();
    let mut policies = json!({ "policies": [{
        "name": "login",
        "policyType": "mcp-workos-oauth-inbound",
        "handler": { "options": {
            "clientId": "$env(WORKOS_CLIENT_ID)", "clientSecret": "$env(WORKOS_CLIENT_SECRET)", "gateway": gateway,
        } },
    }] });
    policies["policies"].as_array_mut().unwrap().extend(more.iter().cloned());
    let route = |slug: &str, handler: &Value| {
        let mut options = handler.clone();
        if options["rewritePattern"].is_null() {
            options["rewritePattern"] = upstream.into();
        }
        let login = if options["public"] == true { None } else { Some("login") };
        let inbound: Vec<&str> = login.into_iter().chain(more.iter().filter_map(|one| one["name"].as_str())).collect();
        json!({ "post": {
            "operationId": slug,
            "x-zuplo-route": {
                "corsPolicy": "none",
                "handler": { "export": "McpProxyHandler", "options": options },
                "policies": { "inbound": inbound },
            },
        } })
    };
    let routes = json!({
        "openapi": "3.1.0",
        "info": { "title": "t", "version": "1" },
        "paths": { "/mcp/one": route("one", handlers[0]), "/mcp/two": route("two", handlers[1]) },
    });
    std::fs::write(path.join("policies.json"), policies.to_string()).unwrap();
    std::fs::write(path.join("routes.oas.json"), routes.to_string()).unwrap();
    let env: BTreeMap<String, String> = BTreeMap::new();
    match config::load(&path, &env, Mode::Dev) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => panic!("{}", diagnostics.to_text()),
    }
}
