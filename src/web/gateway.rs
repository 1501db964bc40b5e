//! What every request needs, prepared once per configuration.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::origin::Origins;
use crate::authorization::{AuthorizationServer, DelegatedServer};
use crate::config::model::GatewayConfig;
use crate::domain::{Clock, Random};
use crate::identity::dev::DevLogin;
use crate::keys::Keys;
use crate::proxy::Proxy;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestIds;
use crate::upstream::Upstreams;

/// The gateway under one configuration. A reload puts a new one in its place; requests under way keep theirs.
pub struct Gateway {
    pub config: Arc<GatewayConfig>,
    pub origins: Origins,
    /// Proxies whose `Forwarded` and `X-Forwarded-*` count (DISC-12).
    pub trusted_proxies: Vec<IpNet>,
    /// `/` or `/prefix/`.
    pub base_path: String,
    pub store: Store,
    pub keys: Arc<Keys>,
    /// Absent when every route is public, and in direct mode.
    pub authorization: Option<AuthorizationServer>,
    /// In direct mode, who stands in its place.
    pub direct: Option<DelegatedServer>,
    pub proxy: Proxy,
    /// The servers behind that want a credential; the authorization server and the proxy have the same ones.
    pub upstreams: Arc<Upstreams>,
    pub development: Option<Development>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub request_ids: RequestIds,
    pub metrics: Arc<Metrics>,
}

/// What `dev` adds.
pub struct Development {
    /// The development login, when it stands in for the provider.
    pub login: Option<Arc<DevLogin>>,
    /// `--auto-approve`.
    pub auto_approve: bool,
}

/// The present gateway; swapped on reload.
pub type SharedGateway = Arc<ArcSwap<Gateway>>;
