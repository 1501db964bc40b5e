//! From start to stop: load, bind, serve, reload on SIGHUP or a changed file, drain on SIGTERM (OPS-5, OPS-6).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::{Assembly, StartError, signing_alg};
use super::background;
use super::listener::{HEADER_READ, Listener};
use super::metrics;
use super::settings::Settings;
use super::tls::{LOOK_EVERY, ServerCertificate};
use crate::config::model::{CorsPolicy, ForwardIdentity, GatewayConfig, ProxyOptions, Route};
use crate::config::{Diagnostics, Loaded};
use crate::crypto::KeyMaterial;
use crate::demo::DemoServer;
use crate::domain::Places;
use crate::keys::AssertionVerifier;
use crate::oauth::scope::ScopeSet;
use crate::web::{SharedGateway, Web};

/// Path of the built-in demo server.
const DEMO_PATH: &str = "/mcp/demo";
/// How long after the drain timeout the process waits for its tasks before it goes anyway.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Where the configuration comes from, now and at each reload.
pub struct ConfigSource {
    pub load: Box<dyn Fn() -> Result<Loaded, Diagnostics> + Send + Sync>,
    /// The secret keys, first one first, as their files are now.
    pub secret_keys: Box<dyn Fn() -> Result<Vec<KeyMaterial>, String> + Send + Sync>,
    /// Files and folders to watch for changes, in `dev`.
    pub watch: Vec<PathBuf>,
}

/// Runs the gateway until it is told to stop. `ready` is called once, when it listens, with the addresses and
/// the configuration.
///
/// # Errors
/// [`StartError`], before anything is served.
pub async fn run(
    settings: Settings,
    loaded: Loaded,
    source: ConfigSource,
    ready: impl FnOnce(&[SocketAddr], &GatewayConfig),
) -> Result<(), StartError> {
    let shutdown = CancellationToken::new();
    let assembly = Arc::new(Assembly::open(settings, signing_alg(&loaded.config)).await?);
    let demo = match assembly.settings.development {
        Some(_) => Some(start_demo(&assembly).await?),
        None => None,
    };
    let certificate = assembly.settings.tls.as_ref().map(ServerCertificate::load).transpose()?.map(Arc::new);
    let sockets = bind(&assembly.settings.listen).await?;
    let metrics_socket = metrics::bind(assembly.settings.metrics).await?;

    log_notes(&loaded);
    let config = with_demo(loaded.config, demo.as_ref());
    let shared = install(&assembly, config.clone()).await;
    let tasks = TaskTracker::new();
    tasks.spawn(warn_of_former_issuers(Arc::clone(&assembly), config.clone()));
    let connections = Places::new(assembly.settings.max_connections);
    metrics::add_connections(&assembly.metrics, &connections);
    metrics::add_process(&assembly.metrics, assembly.clock.now());
    if let Some(socket) = metrics_socket {
        tasks.spawn(metrics::listener(&shared, shutdown.clone()).serve(socket));
    }
    let listener = Listener {
        application: Arc::new(Web::new(shared.clone())),
        tls: certificate.as_ref().map(|certificate| certificate.acceptor()),
        connections,
        trusted_proxies: assembly.settings.trusted_proxies.clone().into(),
        proxy_protocol: assembly.settings.proxy_protocol,
        header_read: HEADER_READ,
        metrics: assembly.metrics.connections.clone(),
        shutdown: shutdown.clone(),
        drain: assembly.settings.drain_timeout,
    };
    let addresses: Vec<SocketAddr> = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    for socket in sockets {
        tasks.spawn(listener.clone().serve(socket));
    }
    drop(listener);
    spawn_background(&assembly, &tasks, &shutdown);
    let gateway = shared.load_full();
    // A fault of the set-up there is told at once, not to the first person who comes.
    tasks.spawn(async move {
        if let Some(server) = &gateway.direct {
            server.metadata().await;
        }
    });
    if let Some(certificate) = &certificate {
        tasks.spawn(Arc::clone(certificate).follow(LOOK_EVERY, shutdown.clone()));
    }
    ready(&addresses, &config);

    until_stopped(&assembly, &source, demo.as_ref(), certificate.as_deref()).await;
    tracing::info!(event = "stopping");
    shutdown.cancel();
    tasks.close();
    let patience = assembly.settings.drain_timeout + LAST_WAIT;
    if tokio::time::timeout(patience, tasks.wait()).await.is_err() {
        tracing::warn!(event = "stopped_with_tasks_left");
    }
    assembly.store.close().await;
    Ok(())
}

fn spawn_background(assembly: &Arc<Assembly>, tasks: &TaskTracker, shutdown: &CancellationToken) {
    tasks.spawn(background::follow_revocations(
        assembly.store.clone(),
        Arc::clone(&assembly.revocations),
        Arc::clone(&assembly.clock),
        shutdown.clone(),
    ));
    tasks.spawn(background::follow_keys(Arc::clone(assembly), shutdown.clone()));
    tasks.spawn(background::follow_use(Arc::clone(assembly), shutdown.clone()));
    tasks.spawn(background::purge(Arc::clone(assembly), shutdown.clone()));
}

/// Waits for SIGTERM or SIGINT; reloads on SIGHUP and on changed files meanwhile.
async fn until_stopped(
    assembly: &Assembly,
    source: &ConfigSource,
    demo: Option<&DemoServer>,
    certificate: Option<&ServerCertificate>,
) {
    let (changed, mut changes) = mpsc::channel(1);
    if let Err(error) = background::watch(&source.watch, changed.clone()) {
        tracing::warn!(event = "config_not_watched", %error);
    }
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        tracing::error!(event = "no_signals", "signals cannot be received; stop the process by force");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = hangup.recv() => {
                if let Some(certificate) = certificate {
                    certificate.reload();
                }
                reload(assembly, source, demo).await;
            }
            Some(()) = changes.recv() => reload(assembly, source, demo).await,
        }
    }
}

/// Puts the new configuration in force, or keeps the old one and says why (OPS-6).
async fn reload(assembly: &Assembly, source: &ConfigSource, demo: Option<&DemoServer>) {
    match (source.secret_keys)() {
        Ok(keys) if assembly.sealer.replace(&keys) => {}
        Ok(_) => tracing::error!(event = "secret_keys_refused", "there is none; the old secret keys stay in force"),
        Err(error) => tracing::error!(event = "secret_keys_refused", error, "the old secret keys stay in force"),
    }
    match (source.load)() {
        Ok(loaded) => {
            log_notes(&loaded);
            assembly.follow_signing_alg(&loaded.config).await;
            install(assembly, with_demo(loaded.config, demo)).await;
            assembly.metrics.config_reloads.count(["loaded"]);
            tracing::info!(event = "config_reloaded");
        }
        Err(diagnostics) => {
            assembly.metrics.config_reloads.count(["refused"]);
            tracing::error!(
                event = "config_refused",
                "the configuration has problems; the old one stays in force\n{}",
                diagnostics.to_text()
            );
        }
    }
}

async fn install(assembly: &Assembly, config: GatewayConfig) -> SharedGateway {
    let gateway = assembly.gateway(config);
    if let Err(error) = assembly.revoke_removed_clients(&gateway).await {
        tracing::warn!(event = "removed_clients_unknown", %error);
    }
    assembly.install(gateway)
}

/// Clients are bound to the issuer that they registered with (SEP-2352): those of a former one have to start anew (OPS-16).
/// Nobody waits for it: it reads every grant.
async fn warn_of_former_issuers(assembly: Arc<Assembly>, config: GatewayConfig) {
    match assembly.issuers_gone(&config).await {
        Ok(gone) if gone.is_empty() => {}
        Ok(gone) => tracing::warn!(
            event = "issuer_changed",
            issuers = gone.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", "),
            "applications still hold grants of URLs that this gateway no longer has: they must register again and people \
             sign in again. To go on serving them, name the origin in --public-url again, or give the route its path back"
        ),
        Err(error) => tracing::warn!(event = "former_issuers_unknown", %error),
    }
}

fn log_notes(loaded: &Loaded) {
    for note in &loaded.notes {
        tracing::info!(event = "config_note", "{note}");
    }
}

async fn start_demo(assembly: &Assembly) -> Result<DemoServer, StartError> {
    let verifier = AssertionVerifier::new(Arc::clone(&assembly.keys));
    DemoServer::start(verifier, Arc::clone(&assembly.clock)).await.map_err(|error| StartError::Demo(error.to_string()))
}

/// Adds the demo route unless a configured one claims its path.
fn with_demo(mut config: GatewayConfig, demo: Option<&DemoServer>) -> GatewayConfig {
    if let Some(demo) = demo
        && config.routes.iter().all(|route| route.path != DEMO_PATH)
    {
        config.routes.push(Route {
            operation_id: "demo".to_owned(),
            path: DEMO_PATH.to_owned(),
            summary: Some("Demo server".to_owned()),
            description: Some("The MCP server that doorward brings along".to_owned()),
            cors: CorsPolicy::default(),
            proxy: ProxyOptions {
                upstream: demo.url().clone(),
                addresses: Vec::new(),
                client_certificate: None,
                forward_search: true,
                follow_redirects: false,
                public: false,
                forward_identity: ForwardIdentity::Assertion,
                connect_timeout: Duration::from_secs(5),
                first_byte_timeout: Duration::from_secs(300),
                stream_keep_alive: Some(Duration::from_secs(25)),
                max_body: 4 * 1024 * 1024,
            },
            required_scopes: ScopeSet::default(),
            access: Vec::new(),
            header_changes: Vec::new(),
            rate_limits: Vec::new(),
            filters: Vec::new(),
            audit: None,
            credential: None,
        });
    }
    config
}

async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let mut sockets = Vec::new();
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(socket) => sockets.push(socket),
            // A machine without IPv6 still has its IPv4 loopback.
            Err(error) if address.is_ipv6() && !sockets.is_empty() => {
                tracing::debug!(%address, %error, "not listening there");
            }
            Err(source) => return Err(StartError::Listen { address: *address, source }),
        }
    }
    Ok(sockets)
}
