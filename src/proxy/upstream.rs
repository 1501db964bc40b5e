//! One route's upstream: its address, its connection pool, its deadlines.
//!
//! Each route has a pool of its own, so a dead upstream delays no other (LIM-7).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::Service;
use url::Url;

use super::body::{BoxError, RequestBody};
use super::error::ProxyError;
use crate::config::model::ProxyOptions;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How many redirects on the same origin are followed, with `followRedirects`.
const MAX_REDIRECTS: usize = 5;

/// The trust roots for upstreams: the platform's, and the operator's own.
#[derive(Clone)]
pub struct UpstreamTls(pub Arc<rustls::ClientConfig>);

/// Connects within one deadline, which covers the name, TCP and TLS alike.
#[derive(Clone)]
struct DeadlineConnector {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for DeadlineConnector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.inner.call(target));
        Box::pin(async move { connecting.await.map_err(|_| BoxError::from("connecting took too long"))? })
    }
}

/// A prepared upstream.
pub struct Upstream {
    client: Client<DeadlineConnector, RequestBody>,
    url: Url,
    uri: Uri,
    audience: String,
    forward_search: bool,
    follow_redirects: bool,
    first_byte_timeout: Duration,
}

impl Upstream {
    pub fn new(options: &ProxyOptions, tls: &UpstreamTls) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*tls.0).clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            // A request whose connection was closed under it before a byte of it was sent is tried again.
            .retry_canceled_requests(true)
            .build(DeadlineConnector { inner: connector, limit: options.connect_timeout });
        let mut url = options.upstream.clone();
        url.set_fragment(None);
        let mut audience = url.clone();
        audience.set_query(None);
        Self {
            client,
            uri: as_uri(&url),
            url,
            audience: audience.into(),
            forward_search: options.forward_search,
            follow_redirects: options.follow_redirects,
            first_byte_timeout: options.first_byte_timeout,
        }
    }

    /// The upstream's URL without its query: the audience of identity assertions.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Where a request goes: the configured URL, with the client's query if that is forwarded. Nothing else of
    /// the client's target has a say (PROX-10), and no parameter that the configured URL holds: of two values many
    /// upstreams would take the client's.
    pub fn uri(&self, query: Option<&str>) -> Uri {
        let Some(query) = query.filter(|query| self.forward_search && !query.is_empty()) else {
            return self.uri.clone();
        };
        let own = self.url.query().filter(|own| !own.is_empty());
        let joined: Vec<&str> = match own {
            Some(own) => [own].into_iter().chain(query.split('&').filter(|pair| !names_one_of(own, pair))).collect(),
            None => vec![query],
        };
        let mut url = self.url.clone();
        url.set_query(Some(&joined.join("&")));
        as_uri(&url)
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`ProxyError`] for an upstream that cannot be reached or is late.
    pub async fn send(&self, mut parts: Parts, body: RequestBody) -> Result<Response<Incoming>, ProxyError> {
        parts.version = Version::HTTP_11;
        parts.headers.remove(header::HOST);
        parts.extensions.clear();
        let answer = async {
            if self.follow_redirects {
                return self.send_following(parts, body).await;
            }
            self.client.request(Request::from_parts(parts, body)).await.map_err(|error| unreachable(&error))
        };
        tokio::time::timeout(self.first_byte_timeout, answer).await.unwrap_or(Err(ProxyError::UpstreamTimeout))
    }

    /// PROX-9: 307 and 308 on the same origin, method and body kept. The body must be held for that, which is
    /// why the option is off by default.
    async fn send_following(&self, parts: Parts, body: RequestBody) -> Result<Response<Incoming>, ProxyError> {
        let bytes =
            body.collect().await.map_err(|error| ProxyError::UpstreamUnreachable(error.to_string()))?.to_bytes();
        let mut target = Url::parse(&parts.uri.to_string()).map_err(|_| ProxyError::UpstreamRedirect)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut next = parts.clone();
            next.uri = as_uri(&target);
            let held = RequestBody::Held(Full::new(bytes.clone()));
            let response =
                self.client.request(Request::from_parts(next, held)).await.map_err(|error| unreachable(&error))?;
            if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.and_then(|location| target.join(location).ok()) else {
                return Err(ProxyError::UpstreamRedirect);
            };
            if location.origin() != self.url.origin() {
                return Err(ProxyError::UpstreamRedirect);
            }
            target = location;
        }
        Err(ProxyError::UpstreamRedirect)
    }
}

/// Whether a pair of a query names a parameter of another query, in upper or lower case.
fn names_one_of(own: &str, pair: &str) -> bool {
    let names = |query: &str| -> Vec<String> {
        url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.to_ascii_lowercase()).collect()
    };
    let own = names(own);
    names(pair).iter().any(|name| own.contains(name))
}

/// A URL as a request target. Every `http` URL is one; the root stands in for what could not be.
fn as_uri(url: &Url) -> Uri {
    Uri::try_from(url.as_str()).unwrap_or_else(|_| Uri::from_static("/"))
}

fn unreachable(error: &ClientError) -> ProxyError {
    // The chain of causes says what happened; none of them holds a header or a body.
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    ProxyError::UpstreamUnreachable(text)
}
