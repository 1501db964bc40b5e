//! The accept loop: connections in, within limits, and out again in time.
//!
//! Built on hyper-util instead of `axum::serve`, which sets no header-read timeout and waits for ever on an
//! event stream at shutdown.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::{Application, Http};
use super::proxy_protocol;
use crate::domain::{Caller, Place, Places};
use crate::outbound::special_use;
use crate::telemetry::metrics::ConnectionMetrics;
use crate::web::Web;

/// How long a request's head may take, counted from the end of the exchange before it. So long may a connection be
/// idle, which is more than the minute that load balancers keep theirs: the side that closes first must be theirs.
pub const HEADER_READ: Duration = Duration::from_secs(75);
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
    /// Connections begin with a header of the PROXY protocol, and are whose it says.
    pub proxy_protocol: bool,
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
        let http = Http::new(Arc::clone(&self.application), self.tls.clone(), self.header_read, self.shutdown.clone());
        let (listener, http) = (Arc::new(self), Arc::new(http));
        let mut burst = Burst::default();
        loop {
            let accepted = tokio::select! {
                () = listener.shutdown.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    listener.metrics.refused.count(["accept_failed"]);
                    if let Some(refused) = burst.tell(Instant::now()) {
                        tracing::warn!(event = "accept_failed", %error, refused);
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = match listener.place_for(peer) {
                Ok(place) => place,
                Err(reason) => {
                    listener.metrics.refused.count([reason]);
                    if let Some(refused) = burst.tell(Instant::now()) {
                        tracing::warn!(event = "connection_refused", reasonCode = reason, %peer, refused);
                    }
                    continue;
                }
            };
            listener.metrics.accepted.inc();
            let (listener, http, watcher) = (Arc::clone(&listener), Arc::clone(&http), graceful.watcher());
            tokio::spawn(async move {
                let begun = async {
                    let (stream, peer, place) = listener.origin(&http, stream, peer, place).await?;
                    Some((http.begin(stream, peer, watcher).await?, place))
                };
                // On the heap, so that nothing of the beginning is kept as long as the connection.
                if let Some((connection, place)) = Box::pin(begun).await {
                    connection.await;
                    drop(place);
                }
            });
        }
        drop(socket);
        if tokio::time::timeout(listener.drain, graceful.shutdown()).await.is_err() {
            tracing::info!(event = "drain_timeout", "closing the streams that are still open");
        }
    }

    /// A place for a peer, or why it gets none. One that speaks for others has no share of its own yet.
    fn place_for(&self, peer: SocketAddr) -> Result<Place<Caller>, &'static str> {
        if !self.proxy_protocol {
            return place(&self.connections, &self.trusted_proxies, peer).ok_or("max_connections");
        }
        let address = peer.ip().to_canonical();
        let believed = self.trusted_proxies.is_empty() || contains(&self.trusted_proxies, address);
        if !believed {
            return Err("proxy_protocol");
        }
        self.connections.take(None).map_err(|_| "max_connections")
    }

    /// Whose connection it is, with a place in the share of theirs.
    async fn origin(
        &self,
        http: &Http<A>,
        mut stream: TcpStream,
        peer: SocketAddr,
        taken: Place<Caller>,
    ) -> Option<(TcpStream, SocketAddr, Place<Caller>)> {
        if !self.proxy_protocol {
            return Some((stream, peer, taken));
        }
        // On the heap: its buffer is no connection's that has no such header.
        let Some(header) = http.within(Box::pin(proxy_protocol::read(&mut stream))).await else {
            self.metrics.refused.count(["proxy_protocol"]);
            return None;
        };
        let Some(origin) = header else { return Some((stream, peer, taken)) };
        drop(taken);
        let Some(place) = place(&self.connections, &self.trusted_proxies, origin) else {
            self.metrics.refused.count(["max_connections"]);
            return None;
        };
        Some((stream, origin, place))
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// A place for a connection. No caller may take all of them: one address has a quarter (LIM-6). Proxies and
/// addresses that are not of the internet, as load balancers have them, carry connections of many callers.
fn place(connections: &Arc<Places<Caller>>, proxies: &[IpNet], peer: SocketAddr) -> Option<Place<Caller>> {
    let address = peer.ip().to_canonical();
    let shared = special_use(address).is_some() || contains(proxies, address);
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
            proxy_protocol: false,
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
        tokio::time::timeout(Duration::from_mins(1), serving).await.is_ok()
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
        let ended = tokio::time::timeout(Duration::from_mins(1), peer.read_to_end(&mut heard)).await;
        ended.expect("it is dropped").unwrap();
        assert!(!String::from_utf8_lossy(&heard).contains("200"));
    }

    /// Answers with the address it is asked from.
    struct Echo;

    impl Application for Echo {
        type Body = http_body_util::Full<bytes::Bytes>;

        async fn serve(&self, peer: SocketAddr, _: Request<Incoming>) -> Response<Self::Body> {
            Response::new(peer.to_string().into())
        }
    }

    /// What a listener that believes `trusted` answers to these bytes, until it closes.
    async fn heard(trusted: &[&str], said: &[u8]) -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let Listener { connections, header_read, metrics, shutdown, drain, .. } = listener(8);
        let listener = Listener {
            application: Arc::new(Echo),
            tls: None,
            connections,
            trusted_proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(),
            proxy_protocol: true,
            header_read,
            metrics,
            shutdown: shutdown.clone(),
            drain,
        };
        let _stop = shutdown.drop_guard();
        tokio::spawn(listener.serve(socket));
        let mut heard = Vec::new();
        // A connection that is closed before it was read to its end is reset.
        let _ = peer.write_all(said).await;
        let _ = tokio::time::timeout(Duration::from_mins(1), peer.read_to_end(&mut heard)).await.expect("it is closed");
        String::from_utf8(heard).unwrap()
    }

    // DISC-12, LIM-6
    #[tokio::test]
    async fn a_connection_is_whose_the_header_says_and_is_closed_without_one() {
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".as_slice();
        let said = [b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".as_slice(), request].concat();
        for trusted in [&[][..], &["127.0.0.0/8"], &["10.0.0.0/8", "127.0.0.1/32"]] {
            let heard = heard(trusted, &said).await;
            assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with("\r\n\r\n203.0.113.7:4711"), "{heard}");
        }
        let own = heard(&[], &[b"PROXY UNKNOWN\r\n".as_slice(), request].concat()).await;
        assert!(own.contains("\r\n\r\n127.0.0.1:"), "a health check is the load balancer's own: {own}");
        assert_eq!(heard(&[], request).await, "", "without a header");
        assert_eq!(heard(&["10.0.0.0/8"], &said).await, "", "from somebody who is not trusted");
    }

    // LIM-6
    #[tokio::test]
    async fn behind_a_load_balancer_one_address_has_a_quarter_of_the_connections() {
        let listener = Listener { proxy_protocol: true, ..listener(8) };
        let http = Http::new(Arc::new(Nobody), None, HEADER_READ, listener.shutdown.clone());
        let balancer = SocketAddr::from(([198, 18, 7, 1], 1));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut held = Vec::new();
        for (origin, admitted) in [("8.8.8.8", true), ("8.8.8.8", true), ("8.8.8.8", false), ("9.9.9.9", true)] {
            let mut peer = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
            let (stream, _) = socket.accept().await.unwrap();
            peer.write_all(format!("PROXY TCP4 {origin} 10.0.0.1 4711 443\r\n").as_bytes()).await.unwrap();
            let place = listener.place_for(balancer).unwrap();
            let begun = listener.origin(&http, stream, balancer, place).await;
            assert_eq!(begun.is_some(), admitted, "{origin}");
            held.extend(begun);
        }
        assert!(listener.place_for(SocketAddr::from(([8, 8, 8, 8], 1))).is_err(), "a stranger speaks for nobody");
    }
}
