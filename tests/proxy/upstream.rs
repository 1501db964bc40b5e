//! An upstream whose answers the test writes, and which remembers what reached it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Handler = Arc<dyn Fn(Seen) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A request as it reached the upstream.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A running upstream.
pub struct Upstream {
    /// `http://127.0.0.1:PORT`
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
        let handler: Handler = Arc::new(move |seen| Box::pin(handler(seen)));
        let listener = TcpListener::bind(address).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let running = tokio::spawn(async move {
            // They end with the upstream.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (handler, record) = (Arc::clone(&handler), Arc::clone(&record));
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let (handler, record) = (Arc::clone(&handler), Arc::clone(&record));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let seen = Seen { method: parts.method, uri: parts.uri, headers: parts.headers, body };
                        record.lock().unwrap().push(seen.clone());
                        Ok::<_, hyper::Error>(handler(seen).await)
                    }
                });
                connections.spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
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
        self.origin.trim_start_matches("http://")
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
