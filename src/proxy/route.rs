//! One route as the data path needs it: everything that a call would otherwise work out again.

use std::sync::Arc;

use http::HeaderValue;

use super::cors;
use super::rate_limits::RateLimits;
use super::upstream::{Upstream, UpstreamTls};
use crate::config::model::{CapabilityFilter, Route};
use crate::oauth::scope::{ScopeCatalog, ScopeSet};
use crate::telemetry::metrics::{Metrics, RouteMetrics};

/// A route, prepared for its calls.
pub struct ProxyRoute {
    pub route: Route,
    pub(super) upstream: Upstream,
    /// What every call needs (SCOPE-1).
    pub(super) needed: ScopeSet,
    /// `Access-Control-Expose-Headers` of every answer.
    pub(super) exposed: HeaderValue,
    pub(super) rate_limits: RateLimits,
    /// Bytes of request body.
    pub(super) max_body: u64,
    /// What it shows; `None` when all of it.
    pub(super) filters: Option<Arc<[CapabilityFilter]>>,
    pub(super) metrics: Arc<RouteMetrics>,
}

impl ProxyRoute {
    /// `max_body` is what the process takes at most, in bytes. Without its limits, which it may share with other routes.
    #[must_use]
    pub fn new(
        route: &Route,
        scopes: Option<&ScopeCatalog>,
        tls: &UpstreamTls,
        max_body: u64,
        metrics: &Metrics,
    ) -> Self {
        Self {
            upstream: Upstream::new(&route.proxy, tls),
            needed: scopes.map(|scopes| scopes.needed(&route.required_scopes)).unwrap_or_default(),
            exposed: cors::exposed(&route.cors),
            rate_limits: RateLimits::default(),
            max_body: route.proxy.max_body.min(max_body),
            filters: (!route.filters.is_empty()).then(|| route.filters.clone().into()),
            metrics: metrics.route(&route.operation_id),
            route: route.clone(),
        }
    }
}
