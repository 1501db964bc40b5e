//! The accept loop: connections in, within limits, and out again in time.
//!
//! Built on hyper-util instead of `axum::serve`, which sets no header-read timeout and waits for ever on an
//! event stream at shutdown.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::web::Peer;

/// How long a TLS handshake may take, and after it the bytes that tell the version of HTTP.
const BEGINNING: Duration = Duration::from_secs(30);
/// Length of the HTTP/2 preface: hyper-util reads this far, without a timeout, to tell the versions apart.
const PREFACE: usize = 24;
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
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match &self.tls {
            None => serve_http(stream, peer, self.app, &builder, watcher).await,
            Some(acceptor) => match tokio::time::timeout(BEGINNING, acceptor.accept(stream)).await {
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
    let connection = builder.serve_connection(TokioIo::new(Beginning::within(BEGINNING, stream)), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(event = "connection_ended", %error);
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
}
