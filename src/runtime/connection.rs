//! One connection: TLS, which version of HTTP it speaks, and serving it.
//!
//! hyper-util's own detection of the version reads the first bytes apart from the rest, which doubles the buffer that
//! every connection keeps; here the bytes are only looked at.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::proxy::BoxError;
use crate::web::{Answer, MetricsWeb, Web};

/// How long a TLS handshake may take, and after it the bytes that tell the version of HTTP.
const BEGINNING: Duration = Duration::from_secs(30);
/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long until a preface that came in pieces is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Bytes of request head.
const MAX_HEADERS: usize = 64 * 1024;

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

impl Application for MetricsWeb {
    type Body = axum::body::Body;

    async fn serve(&self, _: SocketAddr, request: Request<Incoming>) -> Response<axum::body::Body> {
        Self::serve(self, request).await
    }
}

/// A connection that is served until it ends.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How connections are served.
pub struct Http<A> {
    application: Arc<A>,
    tls: Option<TlsAcceptor>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    shutdown: CancellationToken,
}

impl<A: Application> Http<A> {
    /// `header_read` is how long a request's head may take.
    pub fn new(
        application: Arc<A>,
        tls: Option<TlsAcceptor>,
        header_read: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(header_read)
            // The buffer bounds a head that is not complete; one that comes whole in one read is bounded by itself.
            .max_buf_size(MAX_HEADERS)
            .max_header_size(MAX_HEADERS);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(64 * 1024)
            .max_concurrent_streams(256)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        Self { application, tls, http1, http2, shutdown }
    }

    /// Goes as far as it takes to know what the connection speaks; `None` for one that ends before.
    pub async fn begin(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) -> Option<Serving> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match &self.tls {
            None => {
                let is_http2 = self.within(peeks_http2(&stream)).await?;
                Some(self.serve(stream, is_http2, peer, watcher))
            }
            Some(acceptor) => {
                // On the heap: the state of a handshake is large, and over when the connection begins.
                let stream: Box<TlsStream<TcpStream>> =
                    self.within(Box::pin(async { acceptor.accept(stream).await.map(Box::new) })).await?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                Some(self.serve(stream, is_http2, peer, watcher))
            }
        }
    }

    /// A peer that takes long over the beginning is dropped, and does not delay the end of the process.
    async fn within<T>(&self, step: impl Future<Output = io::Result<T>>) -> Option<T> {
        let done = tokio::select! {
            () = self.shutdown.cancelled() => return None,
            done = tokio::time::timeout(BEGINNING, step) => done,
        };
        done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .inspect_err(|error| tracing::debug!(event = "connection_not_begun", %error))
            .ok()
    }

    fn serve<S>(&self, stream: S, is_http2: bool, peer: SocketAddr, watcher: Watcher) -> Serving
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let application = Arc::clone(&self.application);
        let service = service_fn(move |request: Request<Incoming>| {
            let application = Arc::clone(&application);
            // On the heap: hyper keeps room for the future of a request as long as the connection, and a stream that
            // is open for hours needs it for its head only.
            Box::pin(async move { Ok::<_, Infallible>(application.serve(peer, request).await) })
        });
        if is_http2 {
            let stream = TokioIo::new(Beginning::within(BEGINNING, stream));
            watched(self.http2.serve_connection(stream, service), watcher)
        } else {
            watched(self.http1.serve_connection(TokioIo::new(stream), service), watcher)
        }
    }
}

fn watched<C>(connection: C, watcher: Watcher) -> Serving
where
    C: GracefulConnection<Error = hyper::Error> + Send + 'static,
{
    let watched = watcher.watch(connection);
    Box::pin(async move {
        if let Err(error) = watched.await {
            tracing::debug!(event = "connection_ended", %error);
        }
    })
}

/// Whether a connection begins with the preface of HTTP/2. Its bytes stay to be read.
async fn peeks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut seen).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length if !PREFACE.starts_with(&seen[..length]) => return Ok(false),
            length if length == PREFACE.len() => return Ok(true),
            // Nobody wakes us for more as long as the first bytes are unread.
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// A connection that must bring its first bytes in time: HTTP/2 has no timeout of its own before its preface, and a
/// peer that agreed on it in the TLS handshake and says nothing would stay for ever (LIM-4).
struct Beginning<S> {
    stream: S,
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Beginning<S> {
    fn within(time: Duration, stream: S) -> Self {
        Self { stream, missing: PREFACE.len(), deadline: Box::pin(tokio::time::sleep(time)) }
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
        peer.write_all(&[b'x'; PREFACE.len()]).await.unwrap();
        let mut connection = Beginning::within(SHORT, ours);
        let mut heard = [0; PREFACE.len()];
        connection.read_exact(&mut heard).await.unwrap();
        let more = tokio::time::timeout(SHORT * 5, connection.read(&mut heard));
        assert!(more.await.is_err(), "it waits for more");
    }

    // LIM-4
    #[tokio::test]
    async fn the_first_bytes_tell_the_version_also_when_they_come_one_by_one() {
        for (said, is_http2) in [
            (b"POST /mcp/one HTTP/1.1\r\n".as_slice(), Some(false)),
            (b"PRIOR /mcp/one HTTP/1.1\r\n", Some(false)),
            (PREFACE, Some(true)),
            (b"PRI * HTTP/2.0", None),
            (b"", None),
        ] {
            let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut peer = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
            let (stream, _) = socket.accept().await.unwrap();
            let looking = tokio::spawn(async move { (peeks_http2(&stream).await.ok(), stream) });
            for byte in said {
                peer.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            if is_http2.is_none() {
                tokio::time::sleep(LOOK_AGAIN * 3).await;
                assert!(!looking.is_finished(), "it may still become one: {said:?}");
                continue;
            }
            let (found, mut stream) = looking.await.unwrap();
            assert_eq!(found, is_http2, "{said:?}");
            let mut read = vec![0; said.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, said, "nothing was taken");
        }
    }
}
