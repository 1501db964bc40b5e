//! An upstream whose answers the test writes, and which remembers what reached it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Handler = Arc<dyn Fn(Seen) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A request as it reached the upstream.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub version: Version,
    /// Which connection it came over, from 1.
    pub connection: usize,
    /// The certificate that the connection showed.
    pub certificate: Option<CertificateDer<'static>>,
}

/// A running upstream.
pub struct Upstream {
    /// `http://127.0.0.1:PORT`, or https
    pub origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    running: AbortHandle,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Upstream {
    /// Answers every request with what `handler` makes of it.
    pub async fn start<F, A>(handler: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0", handler).await
    }

    /// The same where another one was before.
    pub async fn start_at<F, A>(address: &str, handler: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        Self::begin(address, None, Arc::new(move |seen| Box::pin(handler(seen)))).await
    }

    /// The same over TLS.
    pub async fn start_tls<F, A>(tls: rustls::ServerConfig, handler: F) -> Self
    where
        F: Fn(Seen) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let tls = TlsAcceptor::from(Arc::new(tls));
        Self::begin("127.0.0.1:0", Some(tls), Arc::new(move |seen| Box::pin(handler(seen)))).await
    }

    async fn begin(address: &str, tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let running = tokio::spawn(async move {
            // They end with the upstream.
            let mut connections = JoinSet::new();
            let mut count = 0;
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                count += 1;
                let (handler, record, tls) = (Arc::clone(&handler), Arc::clone(&record), tls.clone());
                connections.spawn(async move {
                    let Some(tls) = tls else { return serve(stream, count, None, handler, record).await };
                    // A handshake that fails is the other side's to tell of.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let certificate = stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone().into_owned());
                    serve(stream, count, certificate, handler, record).await;
                });
            }
        })
        .abort_handle();
        Self { origin, seen, running }
    }

    /// Answers 200 with `{}`.
    pub async fn ok() -> Self {
        Self::start(|_| async { json(200, "{}") }).await
    }

    pub fn url(&self) -> String {
        format!("{}/mcp", self.origin)
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        self.origin.split_once("://").unwrap().1
    }

    /// Hangs up and listens no more.
    pub fn stop(&self) {
        self.running.abort();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request reached the upstream")
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: usize,
    certificate: Option<CertificateDer<'static>>,
    handler: Handler,
    record: Arc<Mutex<Vec<Seen>>>,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (handler, record, certificate) = (Arc::clone(&handler), Arc::clone(&record), certificate.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let http::request::Parts { method, uri, headers, version, .. } = parts;
            let seen = Seen { method, uri, headers, body, version, connection, certificate };
            record.lock().unwrap().push(seen.clone());
            Ok::<_, hyper::Error>(handler(seen).await)
        }
    });
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

pub fn json(status: u16, body: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed_unsync();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

/// An event stream that the test feeds; `closed()` of the sender tells that nobody reads any more.
pub fn event_stream(headers: &[(&str, &str)]) -> (mpsc::Sender<Bytes>, Answer) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures_util::StreamExt::map(frames, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::builder().header("content-type", "text/event-stream");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    (sender, response.body(StreamBody::new(frames).boxed_unsync()).unwrap())
}
