//! The accept loop: connections in, within limits, and out again in time.
//!
//! Built on hyper-util instead of `axum::serve`, which sets no header-read timeout and waits for ever on an
//! event stream at shutdown.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::domain::{Caller, Place, Places};
use crate::outbound::special_use;
use crate::proxy::BoxError;
use crate::web::{Answer, Web};

/// How long a TLS handshake may take, and after it the bytes that tell the version of HTTP.
const BEGINNING: Duration = Duration::from_secs(30);
/// Length of the HTTP/2 preface: hyper-util reads this far, without a timeout, to tell the versions apart.
const PREFACE: usize = 24;
/// How long a request's head may take.
pub const HEADER_READ: Duration = Duration::from_secs(30);
/// Bytes of request head.
const MAX_HEADERS: usize = 64 * 1024;
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a burst of refused connections is told of.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What answers the requests of all connections.
pub trait Application: Send + Sync + 'static {
    type Body: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// Answers one request; `peer` is the other end of its connection.
    fn serve(&self, peer: SocketAddr, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;
}

impl Application for Web {
    type Body = Answer;

    async fn serve(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Answer> {
        Self::serve(self, Some(peer), request).await
    }
}

/// What every listener shares.
pub struct Listener<A = Web> {
    pub application: Arc<A>,
    pub tls: Option<TlsAcceptor>,
    pub connections: Arc<Places<Caller>>,
    /// Their connections are not counted by address: they carry everybody's.
    pub trusted_proxies: Arc<[IpNet]>,
    /// How long a request's head may take.
    pub header_read: Duration,
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
            shutdown: self.shutdown.clone(),
            ..*self
        }
    }
}

impl<A: Application> Listener<A> {
    /// Accepts until shutdown, then lets connections finish for as long as the drain timeout.
    pub async fn serve(self, socket: TcpListener) {
        let graceful = GracefulShutdown::new();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.header_read).max_buf_size(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(64 * 1024)
            .max_concurrent_streams(256)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        let builder = Arc::new(builder);
        let mut burst = Burst::default();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(refused) = burst.tell(Instant::now()) {
                        tracing::warn!(event = "accept_failed", %error, refused);
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.place(peer) else {
                if let Some(refused) = burst.tell(Instant::now()) {
                    tracing::warn!(event = "connection_refused", reasonCode = "max_connections", %peer, refused);
                }
                continue;
            };
            let connection = self.clone().connection(stream, peer, Arc::clone(&builder), graceful.watcher());
            tokio::spawn(async move {
                connection.await;
                drop(place);
            });
        }
        drop(socket);
        if tokio::time::timeout(self.drain, graceful.shutdown()).await.is_err() {
            tracing::info!(event = "drain_timeout", "closing the streams that are still open");
        }
    }

    /// A place for a connection. No caller may take all of them: one address has a quarter (LIM-6). Proxies and
    /// addresses that are not of the internet, as load balancers have them, carry connections of many callers.
    fn place(&self, peer: SocketAddr) -> Option<Place<Caller>> {
        let address = peer.ip().to_canonical();
        let shared =
            special_use(address).is_some() || self.trusted_proxies.iter().any(|network| network.contains(&address));
        let share = (!shared).then(|| (Caller::from(address), self.connections.quarter()));
        self.connections.take(share).ok()
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        builder: Arc<Builder<TokioExecutor>>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match &self.tls {
            None => serve_http(stream, peer, self.application, &builder, watcher).await,
            Some(acceptor) => {
                let handshake = tokio::time::timeout(BEGINNING, acceptor.accept(stream));
                let shaken = tokio::select! {
                    // A peer that has said nothing yet does not delay the end.
                    () = self.shutdown.cancelled() => return,
                    shaken = handshake => shaken,
                };
                match shaken {
                    Ok(Ok(stream)) => serve_http(stream, peer, self.application, &builder, watcher).await,
                    Ok(Err(error)) => tracing::debug!(event = "tls_handshake_failed", %error),
                    Err(_) => tracing::debug!(event = "tls_handshake_failed", "timed out"),
                }
            }
        }
    }
}

async fn serve_http<S, A>(
    stream: S,
    peer: SocketAddr,
    application: Arc<A>,
    builder: &Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Application,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let application = Arc::clone(&application);
        async move { Ok::<_, Infallible>(application.serve(peer, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(Beginning::within(BEGINNING, stream)), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(event = "connection_ended", %error);
    }
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

/// A connection that must bring its first bytes in time: the header timeout starts only once the version of
/// HTTP is known, and a peer that says nothing, or `P` alone, would stay for ever (LIM-4).
struct Beginning<S> {
    stream: S,
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Beginning<S> {
    fn within(time: Duration, stream: S) -> Self {
        Self { stream, missing: PREFACE, deadline: Box::pin(tokio::time::sleep(time)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Beginning<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.missing == 0 {
            return read;
        }
        self.missing = self.missing.saturating_sub(buf.filled().len() - before);
        if read.is_pending() && self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Beginning<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    // LIM-4
    #[tokio::test]
    async fn a_peer_that_says_nothing_or_half_a_preface_is_dropped_in_time() {
        for said in [b"".as_slice(), b"PRI * HTTP/2.0"] {
            let (mut peer, ours) = duplex(64);
            peer.write_all(said).await.unwrap();
            let mut connection = Beginning::within(SHORT, ours);
            let mut heard = Vec::new();
            let error = connection.read_to_end(&mut heard).await.unwrap_err();
            assert_eq!((heard.as_slice(), error.kind()), (said, io::ErrorKind::TimedOut));
        }
    }

    // LIM-4, STRM-2
    #[tokio::test]
    async fn a_connection_that_has_begun_may_be_quiet() {
        let (mut peer, ours) = duplex(64);
        peer.write_all(&[b'x'; PREFACE]).await.unwrap();
        let mut connection = Beginning::within(SHORT, ours);
        let mut heard = [0; PREFACE];
        connection.read_exact(&mut heard).await.unwrap();
        let more = tokio::time::timeout(SHORT * 5, connection.read(&mut heard));
        assert!(more.await.is_err(), "it waits for more");
    }

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
            shutdown: CancellationToken::new(),
            // Longer than any test is waited for.
            drain: Duration::from_secs(3600),
        }
    }

    // LIM-4, LIM-6
    #[test]
    fn one_address_takes_a_quarter_of_the_connections_unless_it_stands_for_many() {
        let listener = listener(8);
        let take = |address: &str| listener.place(SocketAddr::new(address.parse().unwrap(), 1));
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
