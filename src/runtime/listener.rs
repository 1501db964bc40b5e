//! The accept loop: connections in, within limits, and out again in time.
//!
//! Built on hyper-util instead of `axum::serve`, which sets no header-read timeout and waits for ever on an
//! event stream at shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::web::Peer;

/// How long a new connection may stay silent, and a TLS handshake may take.
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// How long a request's head may take.
const HEADER_READ: Duration = Duration::from_secs(30);
/// Bytes of request head.
const MAX_HEADERS: usize = 64 * 1024;
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every listener shares.
#[derive(Clone)]
pub struct Listener {
    pub app: Router,
    pub tls: Option<TlsAcceptor>,
    pub connections: Arc<Semaphore>,
    pub shutdown: CancellationToken,
    pub drain: Duration,
}

impl Listener {
    /// Accepts until shutdown, then lets connections finish for as long as the drain timeout.
    pub async fn serve(self, socket: TcpListener) {
        let graceful = GracefulShutdown::new();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ).max_buf_size(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(64 * 1024)
            .max_concurrent_streams(256)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        let builder = Arc::new(builder);
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(event = "accept_failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
                tracing::warn!(event = "connection_refused", reasonCode = "max_connections");
                continue;
            };
            let connection = self.clone().connection(stream, peer, Arc::clone(&builder), graceful.watcher());
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        drop(socket);
        if tokio::time::timeout(self.drain, graceful.shutdown()).await.is_err() {
            tracing::info!(event = "drain_timeout", "closing the streams that are still open");
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        builder: Arc<Builder<TokioExecutor>>,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        // A peer that connects and says nothing would outlive the header timeout, which starts with the
        // first byte.
        if !matches!(tokio::time::timeout(FIRST_BYTE, stream.readable()).await, Ok(Ok(()))) {
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match &self.tls {
            None => serve_http(stream, peer, self.app, &builder, watcher).await,
            Some(acceptor) => match tokio::time::timeout(FIRST_BYTE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => serve_http(stream, peer, self.app, &builder, watcher).await,
                Ok(Err(error)) => tracing::debug!(event = "tls_handshake_failed", %error),
                Err(_) => tracing::debug!(event = "tls_handshake_failed", "timed out"),
            },
        }
    }
}

async fn serve_http<S>(
    stream: S,
    peer: SocketAddr,
    app: Router,
    builder: &Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        app.clone().oneshot(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(event = "connection_ended", %error);
    }
}
