//! The MCP server that `doorward dev` brings along, so that the first call needs nothing but the gateway.
//!
//! It stands where any upstream stands: behind the proxy, on a loopback port of its own, knowing its callers
//! only from `X-Doorward-Assertion` (gateway.md §10). Whoever comes without a good one is refused. Speaks both
//! eras of MCP: sessions, and the stateless 2026-07-28 transport.

mod tools;

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;
use url::Url;

use crate::domain::Clock;
use crate::keys::{AssertionVerifier, IdentityClaims};
use tools::Demo;

/// Path of the MCP endpoint on the demo's own port.
const PATH: &str = "/mcp";
/// The header that tells who calls.
const ASSERTION: &str = "x-doorward-assertion";

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A running demo server; it stops when this is dropped.
pub struct DemoServer {
    url: Url,
    _stop: DropGuard,
}

impl DemoServer {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    /// When no loopback port can be opened.
    pub async fn start(verifier: AssertionVerifier, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}{PATH}", listener.local_addr()?);
        let url = Url::parse(&url).map_err(io::Error::other)?;
        let stop = CancellationToken::new();
        let config = StreamableHttpServerConfig::default().with_cancellation_token(stop.clone());
        let door = Door {
            verifier,
            clock,
            audience: url.to_string(),
            mcp: StreamableHttpService::new(|| Ok(Demo::new()), Arc::default(), config),
        };
        tokio::spawn(accept(listener, Arc::new(door), stop.clone()));
        Ok(Self { url, _stop: stop.drop_guard() })
    }

    /// Its MCP endpoint: the upstream of the demo route, and thereby the audience of assertions.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "the demo server could not accept a connection");
                    // Too many open files pass; spinning would not help them to.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        tokio::spawn(serve(stream, Arc::clone(&door), stop.clone()));
    }
}

async fn serve(stream: TcpStream, door: Arc<Door>, stop: CancellationToken) {
    let service = hyper::service::service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.enter(request).await) }
    });
    let builder = Builder::new(TokioExecutor::new());
    tokio::select! {
        () = stop.cancelled() => {}
        ended = builder.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the demo server ended");
            }
        }
    }
}

/// Lets in whom the gateway vouches for.
struct Door {
    verifier: AssertionVerifier,
    clock: Arc<dyn Clock>,
    audience: String,
    mcp: StreamableHttpService<Demo, LocalSessionManager>,
}

impl Door {
    async fn enter(&self, mut request: Request<Incoming>) -> Answer {
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "The demo server is at /mcp.\n");
        }
        let Some(caller) = self.caller(&request) else {
            return plain(StatusCode::FORBIDDEN, "The demo server takes calls through its gateway only.\n");
        };
        request.extensions_mut().insert(caller);
        match self.mcp.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }

    fn caller(&self, request: &Request<Incoming>) -> Option<IdentityClaims> {
        let assertion = request.headers().get(ASSERTION)?.to_str().ok()?;
        self.verifier.verify(assertion, &self.audience, self.clock.now())
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
