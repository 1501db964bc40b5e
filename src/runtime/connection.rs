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
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::quiet::{StreamBody, Streams};
use crate::proxy::BoxError;
use crate::web::{Answer, MetricsWeb, Web};

/// How long a TLS handshake may take, and after it the bytes that tell the version of HTTP.
const BEGINNING: Duration = Duration::from_secs(30);
/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long until a beginning that came in pieces is looked at again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Bytes of request head.
const MAX_HEADERS: usize = 64 * 1024;

/// What answers the requests of all connections.
pub trait Application: Send + Sync + 'static {
    type Body: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static;

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
    /// How long a connection may go unused.
    quiet: Duration,
    shutdown: CancellationToken,
}

impl<A: Application> Http<A> {
    /// `header_read` is how long a request's head may take, and how long a connection may be without one.
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
        Self { application, tls, http1, http2, quiet: header_read, shutdown }
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
    pub async fn within<T>(&self, step: impl Future<Output = io::Result<T>>) -> Option<T> {
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
        if is_http2 {
            return self.serve_http2(stream, peer, watcher);
        }
        let application = Arc::clone(&self.application);
        let service = service_fn(move |request: Request<Incoming>| {
            let application = Arc::clone(&application);
            // On the heap: hyper keeps room for the future of a request as long as the connection, and a stream that
            // is open for hours needs it for its head only.
            Box::pin(async move { Ok::<_, Infallible>(application.serve(peer, request).await) })
        });
        let connection = watcher.watch(self.http1.serve_connection(TokioIo::new(stream), service));
        Box::pin(async move { tell_end(connection.await) })
    }

    /// HTTP/2 has no timeout for a connection without streams, so the streams are counted.
    fn serve_http2<S>(&self, stream: S, peer: SocketAddr, watcher: Watcher) -> Serving
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let application = Arc::clone(&self.application);
        let streams = Streams::default();
        let counted = streams.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (application, stream) = (Arc::clone(&application), counted.open());
            Box::pin(async move {
                let response = application.serve(peer, request).await;
                Ok::<_, Infallible>(response.map(|body| StreamBody::new(body, stream)))
            })
        });
        let stream = TokioIo::new(Beginning::within(BEGINNING, stream));
        let (quiet, shutdown, closing) = (self.quiet, self.shutdown.clone(), GracefulShutdown::new());
        let connection = closing.watch(self.http2.serve_connection(stream, service));
        Box::pin(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                // Either way a stream that is open goes on to its end.
                () = async { tokio::select! { () = streams.quiet_for(quiet) => {} () = shutdown.cancelled() => {} } } => {
                    tokio::select! {
                        ended = connection => ended,
                        // Over when the connection is dropped.
                        () = closing.shutdown() => Ok(()),
                    }
                }
            };
            tell_end(ended);
            drop(watcher);
        })
    }
}

fn tell_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(event = "connection_ended", %error);
    }
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
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::{Mutex, mpsc};
    use tokio::task::JoinHandle;

    use super::*;

    /// On a clock that stands still but for what waits on it, wherever no socket of the system is in play.
    const SHORT: Duration = Duration::from_millis(20);

    // LIM-4
    #[tokio::test(start_paused = true)]
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
    #[tokio::test(start_paused = true)]
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

    /// Answers with whatever the test sends, until it is done.
    struct Fed(Mutex<mpsc::Receiver<mpsc::Receiver<Bytes>>>);

    impl Application for Fed {
        type Body = Feed;

        async fn serve(&self, _: SocketAddr, _: Request<Incoming>) -> Response<Feed> {
            Response::new(Feed(self.0.lock().await.recv().await.unwrap()))
        }
    }

    struct Feed(mpsc::Receiver<Bytes>);

    impl http_body::Body for Feed {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            task: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(task).map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
        }
    }

    /// A connection that is served, our end of it, and where its answers come from.
    fn served(is_http2: bool) -> (JoinHandle<()>, DuplexStream, mpsc::Sender<mpsc::Receiver<Bytes>>) {
        let (answers, fed) = mpsc::channel(4);
        let http = Http::new(Arc::new(Fed(Mutex::new(fed))), None, SHORT, CancellationToken::new());
        let (ours, theirs) = duplex(64 * 1024);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let graceful = GracefulShutdown::new();
        let serving = http.serve(theirs, is_http2, peer, graceful.watcher());
        let serving = tokio::spawn(async move {
            serving.await;
            drop(graceful);
        });
        (serving, ours, answers)
    }

    // LIM-4, STRM-2
    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_without_streams_is_closed_and_one_with_a_quiet_stream_is_not() {
        let (serving, ours, answers) = served(true);
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let (say, said) = mpsc::channel(1);
        answers.send(said).await.unwrap();
        let request = Request::get("http://localhost/").body(Empty::<Bytes>::new()).unwrap();
        let mut answer = client.send_request(request).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(SHORT * 5).await;
            say.send(Bytes::from_static(b":\n\n")).await.unwrap();
            assert!(answer.frame().await.unwrap().is_ok(), "the stream goes on");
        }
        drop(say);
        let rest = answer.into_body().collect().await.expect("it ends by itself");
        assert!(rest.to_bytes().is_empty());
        tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it is closed").unwrap();
    }

    // LIM-4
    #[tokio::test(start_paused = true)]
    async fn an_http1_connection_without_requests_is_closed_and_one_with_a_quiet_answer_is_not() {
        let (serving, mut ours, answers) = served(false);
        let (say, said) = mpsc::channel(1);
        answers.send(said).await.unwrap();
        ours.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(SHORT * 5).await;
        say.send(Bytes::from_static(b"late")).await.unwrap();
        drop(say);
        let mut heard = Vec::new();
        while !heard.ends_with(b"0\r\n\r\n") {
            assert_ne!(ours.read_buf(&mut heard).await.unwrap(), 0, "it is answered whole");
        }
        tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it is closed").unwrap();
    }
}
