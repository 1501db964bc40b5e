//! What is counted, and how it is told: OpenMetrics text (OPS-4).
//!
//! Owns every metric's name, help text and labels. A label's value is a word of the code or of the configuration,
//! never of a request: counters with labels take `&'static str`, and routes are those of the configuration. So
//! nothing a client sends can become a label or make memory grow (SEC-6). Nothing is decided by a metric.

mod durations;
mod process;
mod route;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

pub use route::{OpenRequest, RouteMetrics};

use process::Process;
use route::Routes;

/// Everything that the process counts. It outlives a configuration.
pub struct Metrics {
    registry: Mutex<Registry>,
    routes: Arc<Routes>,
    pub endpoints: EndpointMetrics,
    pub sign_in: SignInMetrics,
    pub upstreams: UpstreamMetrics,
    pub token_cache: TokenCacheMetrics,
    pub connections: ConnectionMetrics,
    pub store: StoreMetrics,
    /// By `outcome`: `loaded` or `refused`.
    pub config_reloads: CounterBy<1>,
    /// Audit records of calls that were lost, by reason.
    pub audit_lost: CounterBy<1>,
}

/// Answers of the gateway's own endpoints.
#[derive(Debug, Clone)]
pub struct EndpointMetrics {
    requests: CounterBy<2>,
    rate_limited: CounterBy<1>,
}

impl EndpointMetrics {
    /// `endpoint` is its path in the URL table.
    pub fn answered(&self, endpoint: &'static str, status: StatusCode) {
        self.requests.count([endpoint, route::class(status)]);
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.rate_limited.count([endpoint]);
        }
    }
}

/// What becomes of people and clients that want to come in.
#[derive(Debug, Clone)]
pub struct SignInMetrics {
    /// By `step`: how far connecting clients come.
    pub steps: CounterBy<1>,
    /// By `outcome`.
    pub logins: CounterBy<1>,
    /// By `error`, in OAuth's words: requests of known clients that never came to a login.
    pub authorizations_refused: CounterBy<1>,
    /// By `grant_type`.
    pub tokens_issued: CounterBy<1>,
    /// By `error`, in OAuth's words.
    pub tokens_refused: CounterBy<1>,
    /// By `outcome`: what a presented refresh token turned out to be.
    pub refreshes: CounterBy<1>,
    /// By `reason`.
    pub grants_ended: CounterBy<1>,
    /// By `outcome`: what the provider said of a login that was asked about again.
    pub session_checks: CounterBy<1>,
}

/// What becomes of the credentials for servers behind.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    /// By `outcome`: what came back from an upstream's authorization server with a browser.
    pub connections: CounterBy<1>,
    /// By `outcome`.
    pub renewals: CounterBy<1>,
}

impl UpstreamMetrics {
    fn registered(registry: &mut Registry) -> Self {
        let help = "Connections to servers behind that people came back from";
        let connections = by(registry, "doorward_upstream_connections", help, ["outcome"]);
        let help = "Renewals of access tokens for servers behind";
        Self { connections, renewals: by(registry, "doorward_upstream_renewals", help, ["outcome"]) }
    }
}

impl Default for UpstreamMetrics {
    /// Counts for nobody.
    fn default() -> Self {
        Self { connections: CounterBy::named(["outcome"]), renewals: CounterBy::named(["outcome"]) }
    }
}

/// How often the signature of an access token was known already.
#[derive(Debug, Clone, Default)]
pub struct TokenCacheMetrics {
    pub hits: Counter,
    pub misses: Counter,
}

/// What came of asking the store, at the last scrape.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics {
    up: prometheus_client::metrics::gauge::Gauge,
    answer: prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>,
}

impl StoreMetrics {
    /// The store answered after this long, or not at all.
    pub fn set(&self, answered: Option<Duration>) {
        self.up.set(i64::from(answered.is_some()));
        if let Some(took) = answered {
            self.answer.set(took.as_secs_f64());
        }
    }
}

/// Connections that came in at the public listeners.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    pub accepted: Counter,
    /// By `reason`.
    pub refused: CounterBy<1>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let routes = Arc::new(Routes::default());
        registry.register(
            "doorward_build",
            "The build of the gateway",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(Arc::clone(&routes)));
        let endpoints = EndpointMetrics {
            requests: by(
                &mut registry,
                "doorward_http_requests",
                "Requests to the endpoints beside the MCP routes",
                ["endpoint", "status"],
            ),
            rate_limited: by(
                &mut registry,
                "doorward_rate_limited",
                "Requests answered with 429 by those",
                ["endpoint"],
            ),
        };
        let sign_in = SignInMetrics {
            steps: by(&mut registry, "doorward_connect_steps", "How far connecting clients come", ["step"]),
            logins: by(
                &mut registry,
                "doorward_logins",
                "Logins that came back from the identity provider",
                ["outcome"],
            ),
            authorizations_refused: by(
                &mut registry,
                "doorward_authorizations_refused",
                "Authorization requests refused",
                ["error"],
            ),
            tokens_issued: by(&mut registry, "doorward_tokens_issued", "Access tokens issued", ["grant_type"]),
            tokens_refused: by(&mut registry, "doorward_tokens_refused", "Token requests refused", ["error"]),
            refreshes: by(&mut registry, "doorward_refreshes", "Refresh tokens presented by their client", ["outcome"]),
            grants_ended: by(&mut registry, "doorward_grants_ended", "Grants ended by this process", ["reason"]),
            session_checks: by(
                &mut registry,
                "doorward_session_checks",
                "Logins the provider was asked about again",
                ["outcome"],
            ),
        };
        let token_cache = TokenCacheMetrics::default();
        let help = "Verified access tokens found in the cache";
        registry.register("doorward_token_cache_hits", help, token_cache.hits.clone());
        let help = "Access tokens whose signature was checked";
        registry.register("doorward_token_cache_misses", help, token_cache.misses.clone());
        let connections = ConnectionMetrics {
            accepted: Counter::default(),
            refused: by(&mut registry, "doorward_connections_refused", "Connections turned away", ["reason"]),
        };
        registry.register("doorward_connections_accepted", "Connections taken", connections.accepted.clone());
        let store = StoreMetrics::default();
        registry.register("doorward_store_up", "Whether the store answered at this scrape", store.up.clone());
        let help = "How long it took when it answered last";
        registry.register_with_unit("doorward_store_answer", help, Unit::Seconds, store.answer.clone());
        let help = "Audit records of calls that were not written";
        let audit_lost = by(&mut registry, "doorward_audit_records_lost", help, ["reason"]);
        let config_reloads = by(&mut registry, "doorward_config_reloads", "Configurations read again", ["outcome"]);
        let upstreams = UpstreamMetrics::registered(&mut registry);
        let registry = Mutex::new(registry);
        Self {
            registry,
            routes,
            endpoints,
            sign_in,
            upstreams,
            token_cache,
            connections,
            store,
            config_reloads,
            audit_lost,
        }
    }
}

impl Default for ConnectionMetrics {
    /// Counts for nobody.
    fn default() -> Self {
        Self { accepted: Counter::default(), refused: CounterBy::named(["reason"]) }
    }
}

impl Metrics {
    /// The counters of a route, under its operation id. They live as long as somebody holds them, and a reload finds
    /// those of before.
    #[must_use]
    pub fn route(&self, operation_id: &str) -> Arc<RouteMetrics> {
        self.routes.of(operation_id)
    }

    /// Adds a gauge that is read when somebody asks; without a value it is left out.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.registry().register_collector(Box::new(Gauge { name, help, read: Box::new(read) }));
    }

    /// Adds what the operating system knows of the process, which started at `started_at`, in seconds since 1970.
    pub fn process(&self, started_at: f64) {
        self.registry().register_collector(Box::new(Process { started_at }));
    }

    /// Everything, as OpenMetrics text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let written = text::encode(&mut text, &self.registry());
        debug_assert!(written.is_ok(), "a text can always grow");
        text
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A counter for each combination of words that occurs.
#[derive(Debug, Clone)]
pub struct CounterBy<const N: usize> {
    labels: [&'static str; N],
    counters: Family<[(&'static str, &'static str); N], Counter>,
}

impl<const N: usize> CounterBy<N> {
    fn named(labels: [&'static str; N]) -> Self {
        Self { labels, counters: Family::default() }
    }

    /// Counts one more; the words stand in the order of the labels.
    pub fn count(&self, words: [&'static str; N]) {
        self.add(words, 1);
    }

    pub fn add(&self, words: [&'static str; N], count: u64) {
        let labels = std::array::from_fn(|at| (self.labels[at], words[at]));
        self.counters.get_or_create(&labels).inc_by(count);
    }
}

fn by<const N: usize>(registry: &mut Registry, name: &str, help: &str, labels: [&'static str; N]) -> CounterBy<N>
where
    Family<[(&'static str, &'static str); N], Counter>: Metric,
{
    let counters = CounterBy::named(labels);
    registry.register(name, help, counters.counters.clone());
    counters
}

/// See [`Metrics::gauge`].
struct Gauge {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.name).finish()
    }
}

impl Collector for Gauge {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(value) = (self.read)() else { return Ok(()) };
        encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?.encode_gauge(&value)
    }
}
