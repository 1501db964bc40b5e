//! The metrics listener (OPS-4), and the gauges that are read when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::assemble::{Assembly, StartError};
use super::listener::{HEADER_READ, Listener};
use super::settings::MetricsListen;
use crate::domain::{Caller, Places, UnixTime};
use crate::telemetry::metrics::{ConnectionMetrics, Metrics};
use crate::web::{MetricsWeb, SharedGateway};

/// Connections at once: a few that ask, each with a few.
const CONNECTIONS: usize = 64;
/// A scrape under way does not hold up the end.
const DRAIN: Duration = Duration::from_millis(500);

/// Takes the address. Without one, or when the default one is taken and nobody asked for it, there is no listener:
/// a second gateway on a machine must start without a word about metrics.
///
/// # Errors
/// [`StartError::MetricsListen`] for an address that somebody asked for.
pub async fn bind(listen: Option<MetricsListen>) -> Result<Option<TcpListener>, StartError> {
    let Some(MetricsListen { address, asked_for }) = listen else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(socket) => Ok(Some(socket)),
        Err(source) if asked_for => Err(StartError::MetricsListen { address, source }),
        Err(error) => {
            tracing::warn!(
                event = "metrics_off",
                %address,
                %error,
                "no metrics are served: name a free address with --metrics-listen, or `off`"
            );
            Ok(None)
        }
    }
}

/// Serves `GET /metrics` and nothing else.
pub fn listener(shared: &SharedGateway, shutdown: CancellationToken) -> Listener<MetricsWeb> {
    Listener {
        application: Arc::new(MetricsWeb::new(shared)),
        tls: None,
        connections: Places::new(CONNECTIONS),
        trusted_proxies: Arc::from([]),
        proxy_protocol: false,
        header_read: HEADER_READ,
        metrics: ConnectionMetrics::default(),
        shutdown,
        drain: DRAIN,
    }
}

/// What the parts of the process know by themselves.
pub fn add_gauges(assembly: &Assembly) {
    let (streams, revocations) = (Arc::clone(&assembly.streams), Arc::clone(&assembly.revocations));
    let clock = Arc::clone(&assembly.clock);
    let metrics = &assembly.metrics;
    metrics.gauge("doorward_open_calls", "Calls and event streams that count against --max-streams", move || {
        Some(count(streams.taken()))
    });
    metrics.gauge(
        "doorward_revocations_age_seconds",
        "Since the store was last asked which grants have ended",
        move || revocations.known_at().map(|known_at| seconds(clock.now().since(known_at))),
    );
}

/// The connections of the public listeners.
pub fn add_connections(metrics: &Metrics, connections: &Arc<Places<Caller>>) {
    let connections = Arc::clone(connections);
    metrics.gauge("doorward_open_connections", "Connections at the public listeners", move || {
        Some(count(connections.taken()))
    });
}

/// The process started now.
pub fn add_process(metrics: &Metrics, now: UnixTime) {
    metrics.process(seconds(now.0));
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
fn count(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
fn seconds(seconds: i64) -> f64 {
    seconds as f64
}
