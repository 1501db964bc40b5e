//! The way in: a request gets its context; the MCP routes go straight to the proxy, everything else through the URL
//! table.
//!
//! The data path leaves the router out: its boxed futures and bodies would cost as much as the proxy itself.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use super::admission;
use super::gateway::SharedGateway;
use super::router::{metrics_router, router};
use crate::proxy::{BoxError, ProxyBody};
use crate::telemetry::request::RequestScope;

/// Paths that answer on any Host (OPS-3).
const HEALTH: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// Serves the requests of all connections.
#[derive(Clone)]
pub struct Web {
    shared: SharedGateway,
    table: Router,
}

impl Web {
    #[must_use]
    pub fn new(shared: SharedGateway) -> Self {
        Self { table: router(&shared), shared }
    }

    /// Serves one request; `peer` is the other end of its connection, where that has an address.
    pub async fn serve(&self, peer: Option<SocketAddr>, request: Request<Incoming>) -> Response<Answer> {
        if HEALTH.contains(&request.uri().path()) {
            let request_id = self.shared.load().request_ids.next();
            return admission::sign(self.through_table(request.map(Body::new)).await, &request_id);
        }
        let (head, body) = request.into_parts();
        let context = match admission::admit(self.shared.load_full(), peer, &head) {
            Ok(context) => context,
            Err(refusal) => return refusal.map(Answer::Page),
        };
        let mut request = Request::from_parts(head, body);
        if let Some(route) = context.gateway.proxy.route(request.uri().path()) {
            let proxy = &context.gateway.proxy;
            let answer = proxy.handle(route, &context.origin, &context.request_id, context.client_ip, request).await;
            return context.sign(answer.map(Answer::Proxied));
        }
        let span = tracing::info_span!("request", requestId = %context.request_id);
        let scope = RequestScope { id: context.request_id.clone(), client_ip: context.client_ip };
        request.extensions_mut().insert(context.clone());
        let answer = scope.run(self.through_table(request.map(Body::new)).instrument(span)).await;
        context.sign(answer)
    }

    async fn through_table(&self, request: Request<Body>) -> Response<Answer> {
        let Ok(answer) = self.table.clone().oneshot(request).await;
        answer.map(Answer::Page)
    }
}

/// Serves the metrics listener (OPS-4).
#[derive(Clone)]
pub struct MetricsWeb {
    table: Router,
}

impl MetricsWeb {
    #[must_use]
    pub fn new(shared: &SharedGateway) -> Self {
        Self { table: metrics_router(shared) }
    }

    pub async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        let Ok(answer) = self.table.clone().oneshot(request.map(Body::new)).await;
        answer
    }
}

/// The body of an answer.
#[expect(clippy::large_enum_variant, reason = "most are proxied, and a box would cost each of those an allocation")]
pub enum Answer {
    Page(Body),
    Proxied(ProxyBody),
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Page(body) => Pin::new(body).poll_frame(task).map_err(Into::into),
            Self::Proxied(body) => Pin::new(body).poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(body) => body.is_end_stream(),
            Self::Proxied(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(body) => body.size_hint(),
            Self::Proxied(body) => body.size_hint(),
        }
    }
}
