//! The accept loop: connections in, within limits, and out again in time.
//!
//! Built on hyper-util instead of `axum::serve`, which sets no header-read timeout and waits for ever on an
//! event stream at shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::{Application, Http};
use crate::domain::{Caller, Place, Places};
use crate::outbound::special_use;
use crate::telemetry::metrics::ConnectionMetrics;
use crate::web::Web;

/// How long a request's head may take.
pub const HEADER_READ: Duration = Duration::from_secs(30);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a burst of refused connections is told of.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What every listener shares.
pub struct Listener<A = Web> {
    pub application: Arc<A>,
    pub tls: Option<TlsAcceptor>,
    pub connections: Arc<Places<Caller>>,
    /// Their connections are not counted by address: they carry everybody's.
    pub trusted_proxies: Arc<[IpNet]>,
    /// How long a request's head may take.
    pub header_read: Duration,
    pub metrics: ConnectionMetrics,
    pub shutdown: CancellationToken,
    pub drain: Duration,
}

impl<A> Clone for Listener<A> {
    fn clone(&self) -> Self {
        Self {
            application: Arc::clone(&self.application),
            tls: self.tls.clone(),
            connections: Arc::clone(&self.connections),
            trusted_proxies: Arc::clone(&self.trusted_proxies),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
            ..*self
        }
    }
}

impl<A: Application> Listener<A> {
    /// Accepts until shutdown, then lets connections finish for as long as the drain timeout.
    pub async fn serve(self, socket: TcpListener) {
        let graceful = GracefulShutdown::new();
        let http = Arc::new(Http::new(self.application, self.tls, self.header_read, self.shutdown.clone()));
        let mut burst = Burst::default();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.metrics.refused.count(["accept_failed"]);
                    if let Some(refused) = burst.tell(Instant::now()) {
                        tracing::warn!(event = "accept_failed", %error, refused);
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = place(&self.connections, &self.trusted_proxies, peer) else {
                self.metrics.refused.count(["max_connections"]);
                if let Some(refused) = burst.tell(Instant::now()) {
                    tracing::warn!(event = "connection_refused", reasonCode = "max_connections", %peer, refused);
                }
                continue;
            };
            self.metrics.accepted.inc();
            let (http, watcher) = (Arc::clone(&http), graceful.watcher());
            tokio::spawn(async move {
                // On the heap, so that nothing of the beginning is kept as long as the connection.
                if let Some(connection) = Box::pin(http.begin(stream, peer, watcher)).await {
                    connection.await;
                }
                drop(place);
            });
        }
        drop(socket);
        if tokio::time::timeout(self.drain, graceful.shutdown()).await.is_err() {
            tracing::info!(event = "drain_timeout", "closing the streams that are still open");
        }
    }
}

/// A place for a connection. No caller may take all of them: one address has a quarter (LIM-6). Proxies and
/// addresses that are not of the internet, as load balancers have them, carry connections of many callers.
fn place(connections: &Arc<Places<Caller>>, proxies: &[IpNet], peer: SocketAddr) -> Option<Place<Caller>> {
    let address = peer.ip().to_canonical();
    let shared = special_use(address).is_some() || proxies.iter().any(|network| network.contains(&address));
    let share = (!shared).then(|| (Caller::from(address), connections.quarter()));
    connections.take(share).ok()
}

/// Refused connections since they were last told of.
#[derive(Default)]
struct Burst {
    told_at: Option<Instant>,
    refused: u64,
}

impl Burst {
    /// Notes a refusal. Gives their number when it is time to tell of them: at once, and then now and again.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        self.refused += 1;
        if self.told_at.is_some_and(|told_at| now.duration_since(told_at) < TOLD_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.refused))
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Incoming;
    use hyper::{Request, Response};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    // LIM-4
    #[test]
    fn a_burst_of_refused_connections_is_told_of_once_a_minute() {
        let start = Instant::now();
        let mut burst = Burst::default();
        let told: Vec<Option<u64>> = (0..5).map(|second| burst.tell(start + Duration::from_secs(second))).collect();
        assert_eq!(told, [Some(1), None, None, None, None]);
        assert_eq!(burst.tell(start + TOLD_EVERY), Some(5));
    }

    /// Has nothing to say.
    struct Nobody;

    impl Application for Nobody {
        type Body = http_body_util::Empty<&'static [u8]>;

        async fn serve(&self, _: SocketAddr, _: Request<Incoming>) -> Response<Self::Body> {
            let mut response = Response::default();
            *response.status_mut() = hyper::StatusCode::NOT_FOUND;
            response
        }
    }

    fn listener(places: usize) -> Listener<Nobody> {
        Listener {
            application: Arc::new(Nobody),
            tls: None,
            connections: Places::new(places),
            trusted_proxies: Arc::from(["198.18.7.0/24".parse().unwrap(), "8.8.4.0/24".parse().unwrap()]),
            header_read: HEADER_READ,
            metrics: ConnectionMetrics::default(),
            shutdown: CancellationToken::new(),
            // Longer than any test is waited for.
            drain: Duration::from_secs(3600),
        }
    }

    // LIM-4, LIM-6
    #[test]
    fn one_address_takes_a_quarter_of_the_connections_unless_it_stands_for_many() {
        let listener = listener(8);
        let take = |address: &str| {
            place(&listener.connections, &listener.trusted_proxies, SocketAddr::new(address.parse().unwrap(), 1))
        };
        let held: Vec<_> = (0..2).map(|_| take("8.8.8.8").expect("a place")).collect();
        assert!(take("8.8.8.8").is_none());
        let others: Vec<_> = (0..3).map(|_| take("10.0.0.1").expect("a load balancer")).collect();
        let proxy: Vec<_> = (0..3).map(|_| take("8.8.4.4").expect("a trusted proxy")).collect();
        assert!(take("9.9.9.9").is_none(), "all are taken");
        drop(held);
        assert!(take("8.8.8.8").is_some());
        drop((others, proxy));
    }

    /// Whether a listener with one such connection stops without waiting for it.
    async fn stops_with(said: &[u8], tls: Option<TlsAcceptor>) -> bool {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        peer.write_all(said).await.unwrap();
        let listener = Listener { tls, ..listener(8) };
        let (shutdown, connections) = (listener.shutdown.clone(), Arc::clone(&listener.connections));
        let serving = tokio::spawn(listener.serve(socket));
        // Seven places are left once the connection is accepted.
        while (0..8).filter_map(|_| connections.take(None).ok()).collect::<Vec<_>>().len() == 8 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), serving).await.is_ok()
    }

    // LIM-4, OPS-5
    #[tokio::test]
    async fn a_connection_that_says_nothing_does_not_delay_the_end() {
        for said in [b"".as_slice(), b"PRI * HTTP/2.0"] {
            assert!(stops_with(said, None).await, "{said:?}");
        }
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        assert!(stops_with(b"", Some(TlsAcceptor::from(Arc::new(config)))).await, "before the handshake");
    }

    // LIM-4
    #[tokio::test]
    async fn a_sender_that_is_slow_with_its_head_is_dropped() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let listener = Listener { header_read: SHORT, ..listener(8) };
        let _stop = listener.shutdown.clone().drop_guard();
        tokio::spawn(listener.serve(socket));
        peer.write_all(b"GET /mcp/one HTTP/1.1\r\nhost: gateway.example\r\nx-slow: ").await.unwrap();
        let mut heard = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), peer.read_to_end(&mut heard)).await;
        ended.expect("it is dropped").unwrap();
        assert!(!String::from_utf8_lossy(&heard).contains("200"));
    }
}
