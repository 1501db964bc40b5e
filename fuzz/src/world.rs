//! A gateway without sockets: one connection in memory, a fresh SQLite file, on a clock and a source of randomness that
//! go the same way in every run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use doorward::authorization::{AuthorizationServer, Incoming};
use doorward::config::{self, Mode};
use doorward::crypto::{KeyMaterial, sha256};
use doorward::domain::client::AuthMethod;
use doorward::domain::{Clock, Person, Random, SubjectId, UnixTime};
use doorward::runtime::{Assembly, Settings};
use doorward::web::{SharedGateway, Web};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

pub const ORIGIN: &str = "https://gw.example";
/// Redirect URIs of the public client `app`.
pub const REDIRECTS: [&str; 4] =
    ["https://app.example/cb", "https://app.example/cb?keep=1", "http://localhost/cb", "cursor://app/cb"];
pub const SECRET: &str = "sk_a_secret_of_the_service_that_is_long_enough";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Inputs after which what has expired is taken out.
const PURGE_EVERY: u64 = 5_000;

#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        UnixTime(2_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let draw = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
            chunk.copy_from_slice(&sha256(&draw)[..chunk.len()]);
        }
    }
}

pub struct World {
    runtime: tokio::runtime::Runtime,
    connection: SendRequest<Full<Bytes>>,
    shared: SharedGateway,
    assembly: Assembly,
    clock: Arc<Hand>,
    inputs: u64,
    _folder: tempfile::TempDir,
}

/// The one world of this process, for one input.
pub fn world() -> MutexGuard<'static, World> {
    static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new()));
    let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    world.begin();
    world
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = load(folder.path());
        let settings = Settings {
            listen: Vec::new(),
            public_urls: vec![ORIGIN.to_owned()],
            trusted_proxies: Vec::new(),
            base_path: "/".to_owned(),
            database_url: format!("sqlite://{}", folder.path().join("fuzz.db").display()),
            secret_keys: vec![KeyMaterial::new([7; 32])],
            cimd_allow: Vec::new(),
            upstream_allow: Vec::new(),
            outbound_ca_files: Vec::new(),
            outbound_resolve: Vec::new(),
            tls: None,
            proxy_protocol: false,
            drain_timeout: Duration::ZERO,
            max_connections: 1,
            max_streams: 1,
            max_body: 1024,
            metrics: None,
            development: None,
        };
        let clock = Arc::new(Hand::default());
        let random = Arc::new(Counted::default());
        let opened = Assembly::open_with(settings, config::SigningAlg::EdDsa, clock.clone(), random);
        let assembly = runtime.block_on(opened).unwrap();
        let shared = assembly.install(assembly.gateway(config));
        let connection = runtime.block_on(connect(Web::new(shared.clone())));
        Self { runtime, connection, shared, assembly, clock, inputs: 0, _folder: folder }
    }

    fn begin(&mut self) {
        self.inputs += 1;
        if self.inputs.is_multiple_of(PURGE_EVERY) {
            self.advance(3 * 24 * 3600);
            let idle = Duration::from_secs(u32::MAX.into());
            self.runtime.block_on(self.assembly.store.purge(self.clock.now(), idle, 1_000_000)).unwrap();
        }
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Sends a request to our host and reads the whole answer as text.
    pub fn send(&mut self, mut request: Request<Full<Bytes>>) -> Response<String> {
        request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("gw.example"));
        self.runtime.block_on(async {
            self.connection.ready().await.unwrap();
            let (parts, body) = self.connection.send_request(request).await.unwrap().into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            Response::from_parts(parts, String::from_utf8(bytes.to_vec()).unwrap())
        })
    }

    /// A code that a person approved for a client of the configuration.
    pub fn approved_code(&self, client: &str) -> String {
        let gateway = self.shared.load_full();
        let server: &AuthorizationServer = gateway.authorization.as_ref().unwrap();
        let redirect = url::form_urlencoded::byte_serialize(REDIRECTS[0].as_bytes()).collect::<String>();
        let query = format!(
            "response_type=code&client_id={client}&redirect_uri={redirect}&code_challenge={CHALLENGE}\
             &code_challenge_method=S256&resource={ORIGIN}/mcp/one&scope=mcp:tools%20read"
        );
        let incoming = Incoming { query: &query, origin: ORIGIN, bound_route: None, browser: None, peer: None };
        let location = self.runtime.block_on(server.authorize_without_asking(&incoming, &person())).unwrap();
        let location = url::Url::parse(&location).unwrap();
        location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }
}

async fn connect(web: Web) -> SendRequest<Full<Bytes>> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let service = hyper::service::service_fn(move |request| {
        let web = web.clone();
        async move { Ok::<_, Infallible>(web.serve(None, request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(serving);
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn person() -> Person {
    serde_json::from_value(serde_json::json!({
        "id": SubjectId::derive("https://idp.example", "1"),
        "provider": "https://idp.example",
        "subject": "1",
    }))
    .unwrap()
}

/// Two routes; a public client, one with a secret and one with a key. Nothing is ever fetched.
fn load(folder: &std::path::Path) -> config::GatewayConfig {
    let policies = serde_json::json!({ "policies": [{
        "name": "login", "policyType": "mcp-workos-oauth-inbound",
        "handler": { "options": { "clientId": "client_01", "clientSecret": "$env(SECRET)", "gateway": {
            "cimdEnabled": false,
            "signingAlg": "EdDSA",
            "scopes": { "mcp:tools": [], "write": ["read"], "read": [] },
            "clients": [
                { "clientId": "app", "name": "App", "redirectUris": REDIRECTS },
                { "clientId": "service", "name": "Service", "redirectUris": REDIRECTS[..3],
                  "authMethod": AuthMethod::ClientSecretPost.as_str(), "clientSecret": "$env(SECRET)" },
                { "clientId": "signer", "name": "Signer", "redirectUris": REDIRECTS[..3],
                  "authMethod": AuthMethod::PrivateKeyJwt.as_str(), "jwks": { "keys": [
                    { "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" } ] } },
            ],
        } } },
    }] });
    let route = |id: &str| {
        serde_json::json!({ "post": { "operationId": id, "x-zuplo-route": {
            "handler": { "export": "McpProxyHandler", "options": { "rewritePattern": "http://127.0.0.1:9/mcp" } },
            "policies": { "inbound": ["login"] } } } })
    };
    let routes =
        serde_json::json!({ "openapi": "3.1.0", "paths": { "/mcp/one": route("one"), "/mcp/two": route("two") } });
    let config = folder.join("config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("policies.json"), policies.to_string()).unwrap();
    std::fs::write(config.join("routes.oas.json"), routes.to_string()).unwrap();
    let env = BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned())]);
    config::load(&config, &env, Mode::Serve).unwrap_or_else(|problems| panic!("{problems}")).config
}
