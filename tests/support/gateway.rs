//! A gateway in this process, over real sockets, on a clock that the test moves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use doorward::config::{self, Mode};
use doorward::crypto::KeyMaterial;
use doorward::domain::{Clock, Places, SystemRandom, UnixTime};
use doorward::runtime::{Assembly, DevelopmentSettings, HEADER_READ, Listener, Settings};
use doorward::web::{SharedGateway, Web};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A clock that the test moves, and can stop. Starts at the present, because real parties (rustls, a real provider)
/// look at the machine's clock.
#[derive(Debug, Default)]
pub struct TestClock {
    offset: AtomicI64,
    /// 0 while it runs.
    stopped_at: AtomicI64,
}

impl TestClock {
    pub fn advance(&self, seconds: i64) {
        self.offset.fetch_add(seconds, Ordering::SeqCst);
    }

    /// From now on it moves when it is moved, and not by itself.
    pub fn stop(&self) {
        self.stopped_at.store(doorward::domain::SystemClock.now().0, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        let now = match self.stopped_at.load(Ordering::SeqCst) {
            0 => doorward::domain::SystemClock.now().0,
            stopped_at => stopped_at,
        };
        UnixTime(now + self.offset.load(Ordering::SeqCst))
    }
}

/// What a test asks for.
pub struct Options {
    /// Text of `config/policies.json`; by default the development login.
    pub policies: Option<String>,
    /// Slug and upstream of each route.
    pub routes: Vec<(&'static str, String)>,
    /// Options of `gateway` in the login policy, as JSON members, such as `"rememberConsent": true`.
    pub gateway: String,
    /// Options of the handler of each route, as JSON members.
    pub handler: String,
    /// `requiredScopes` of routes, by slug.
    pub required_scopes: Vec<(&'static str, &'static [&'static str])>,
    /// Options of an access policy that every route names, as JSON members.
    pub access: Option<&'static str>,
    /// Options of the `mcp-token-exchange-inbound` policy of a route, by slug.
    pub credentials: Vec<(&'static str, serde_json::Value)>,
    /// Items of `corsPolicies`, and the one that each route names.
    pub cors: (String, &'static str),
    /// By default a fresh SQLite file.
    pub database_url: Option<String>,
    pub public_urls: Vec<String>,
    pub auto_approve: bool,
    pub development: bool,
    /// Changes to the process settings.
    pub settings: Box<dyn FnOnce(&mut Settings) + Send>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policies: None,
            routes: vec![("one", "http://127.0.0.1:9/mcp".to_owned()), ("two", "http://127.0.0.1:9/mcp".to_owned())],
            gateway: String::new(),
            handler: String::new(),
            cors: (String::new(), "none"),
            required_scopes: Vec::new(),
            credentials: Vec::new(),
            access: None,
            database_url: None,
            public_urls: Vec::new(),
            auto_approve: false,
            development: true,
            settings: Box::new(|_| {}),
        }
    }
}

/// A running gateway. Stops when dropped.
pub struct TestGateway {
    /// `http://localhost:PORT`
    pub origin: String,
    pub address: SocketAddr,
    pub clock: Arc<TestClock>,
    pub assembly: Arc<Assembly>,
    pub shared: SharedGateway,
    serving: JoinHandle<()>,
    stop: DropGuard,
    folder: TempDir,
}

impl TestGateway {
    /// Two routes, `/mcp/one` and `/mcp/two`, behind the development login.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        super::browser::install_crypto();
        let socket = TcpListener::bind(("127.0.0.1", super::ports::free_port())).await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        let origin = format!("http://localhost:{}", address.port());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let loaded = load(&options, folder.path());
        let mut settings = Settings {
            listen: vec![address],
            public_urls: [vec![origin.clone(), format!("http://127.0.0.1:{}", address.port())], options.public_urls]
                .concat(),
            trusted_proxies: Vec::new(),
            base_path: "/".to_owned(),
            database_url: options
                .database_url
                .unwrap_or_else(|| format!("sqlite://{}", folder.path().join("test.db").display())),
            secret_keys: vec![KeyMaterial::new([7; 32])],
            cimd_allow: Vec::new(),
            upstream_allow: Vec::new(),
            outbound_ca_files: Vec::new(),
            outbound_resolve: Vec::new(),
            tls: None,
            proxy_protocol: false,
            drain_timeout: Duration::from_millis(200),
            max_connections: 10_000,
            max_streams: 10_000,
            max_body: 4 * 1024 * 1024,
            metrics: None,
            development: options.development.then_some(DevelopmentSettings { auto_approve: options.auto_approve }),
        };
        (options.settings)(&mut settings);
        Self::run(socket, origin, loaded, settings, Arc::new(TestClock::default()), folder).await
    }

    /// The same gateway after its process was started anew: address, configuration, store and time are the same,
    /// and nothing is left in memory.
    pub async fn restarted(self) -> Self {
        let Self { origin, address, clock, assembly, shared, serving, stop, folder } = self;
        let (settings, config) = (assembly.settings.clone(), shared.load().config.as_ref().clone());
        drop(stop);
        serving.await.expect("the listener ends");
        assembly.store.close().await;
        drop((shared, assembly));
        let socket = TcpListener::bind(address).await.expect("the same port");
        Self::run(socket, origin, config, settings, clock, folder).await
    }

    async fn run(
        socket: TcpListener,
        origin: String,
        loaded: config::GatewayConfig,
        settings: Settings,
        clock: Arc<TestClock>,
        folder: TempDir,
    ) -> Self {
        let address = socket.local_addr().expect("an address");
        let algorithm = loaded.login.as_ref().map_or(config::SigningAlg::Es256, |login| login.gateway.signing_alg);
        let assembly = Assembly::open_with(settings, algorithm, clock.clone(), Arc::new(SystemRandom))
            .await
            .expect("the gateway opens");
        let assembly = Arc::new(assembly);
        let gateway = assembly.gateway(loaded);
        assembly.revoke_removed_clients(&gateway).await.expect("the store answers");
        let shared = assembly.install(gateway);
        let shutdown = CancellationToken::new();
        let listener = Listener {
            application: Arc::new(Web::new(shared.clone())),
            tls: None,
            connections: Places::new(10_000),
            trusted_proxies: Arc::from([]),
            proxy_protocol: false,
            header_read: HEADER_READ,
            metrics: assembly.metrics.connections.clone(),
            shutdown: shutdown.clone(),
            drain: Duration::from_millis(200),
        };
        let serving = tokio::spawn(listener.serve(socket));
        Self { origin, address, clock, assembly, shared, serving, stop: shutdown.drop_guard(), folder }
    }

    /// The temporary folder: the store is `test.db` in it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The resource identifier of a route.
    pub fn resource(&self, slug: &str) -> String {
        format!("{}/mcp/{slug}", self.origin)
    }
}

/// Reads the configuration in the way `serve` and `dev` do: from a folder.
pub fn load(options: &Options, folder: &std::path::Path) -> config::GatewayConfig {
    let config = folder.join("config");
    std::fs::create_dir_all(&config).expect("a folder");
    let policies = options.policies.clone().unwrap_or_else(|| {
        format!(
            r#"{{"policies": [{{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{
                "clientId": "$env(WORKOS_CLIENT_ID)", "clientSecret": "$env(WORKOS_CLIENT_SECRET)",
                "gateway": {{ {} }} }} }} }}{}], "corsPolicies": [{}]}}"#,
            options.gateway,
            options.access.map_or_else(String::new, |access| format!(
                r#", {{"name": "access", "policyType": "mcp-access-inbound", "handler": {{"options": {{ {access} }} }} }}"#
            )),
            options.cors.0,
        )
    });
    std::fs::write(config.join("policies.json"), with_credentials(policies, &options.credentials)).expect("written");
    let paths: BTreeMap<String, serde_json::Value> = options
        .routes
        .iter()
        .map(|(slug, upstream)| {
            let extra: serde_json::Value =
                serde_json::from_str(&format!("{{ {} }}", options.handler)).expect("handler options are JSON");
            let mut handler = serde_json::json!({ "rewritePattern": upstream });
            for (name, value) in extra.as_object().expect("an object") {
                handler[name] = value.clone();
            }
            if let Some((_, scopes)) = options.required_scopes.iter().find(|(of, _)| of == slug) {
                handler["requiredScopes"] = serde_json::json!(scopes);
            }
            let public = handler["public"] == true;
            let mut inbound = match (public, options.access) {
                (true, _) => serde_json::json!([]),
                (false, None) => serde_json::json!(["login"]),
                (false, Some(_)) => serde_json::json!(["login", "access"]),
            };
            if options.credentials.iter().any(|(of, _)| of == slug) {
                inbound.as_array_mut().expect("a list").push(format!("mcp-token-exchange-{slug}").into());
            }
            (
                format!("/mcp/{slug}"),
                serde_json::json!({ "post": {
                    "operationId": slug,
                    "summary": format!("Server {slug}"),
                    "x-zuplo-route": {
                        "corsPolicy": options.cors.1,
                        "handler": { "export": "McpProxyHandler", "options": handler },
                        "policies": { "inbound": inbound },
                    },
                } }),
            )
        })
        .collect();
    let document = serde_json::json!({ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": paths });
    std::fs::write(config.join("routes.oas.json"), document.to_string()).expect("written");
    let env: BTreeMap<String, String> = BTreeMap::new();
    let mode = if options.development { Mode::Dev } else { Mode::Serve };
    match config::load(&config, &env, mode) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => panic!("{}", diagnostics.to_text()),
    }
}

fn with_credentials(policies: String, credentials: &[(&'static str, serde_json::Value)]) -> String {
    if credentials.is_empty() {
        return policies;
    }
    let mut document: serde_json::Value = serde_json::from_str(&policies).expect("policies are JSON");
    let policies = document["policies"].as_array_mut().expect("a list");
    policies.extend(credentials.iter().map(|(slug, credential)| {
        serde_json::json!({
            "name": format!("mcp-token-exchange-{slug}"),
            "policyType": "mcp-token-exchange-inbound",
            "handler": { "options": credential },
        })
    }));
    document.to_string()
}
