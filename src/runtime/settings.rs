//! What the command line says, checked and typed (gateway.md §1).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::crypto::KeyMaterial;

/// The settings of one process. Nothing in here can be reloaded.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: Vec<SocketAddr>,
    pub public_urls: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    /// `/` or `/prefix/`.
    pub base_path: String,
    pub database_url: String,
    /// The first seals, all open.
    pub secret_keys: Vec<KeyMaterial>,
    /// Hosts a client-id metadata document may come from although they resolve to a special-use network.
    pub cimd_allow: Vec<(String, Option<IpNet>)>,
    /// Special-use networks in which the authorization servers of upstreams may stand.
    pub upstream_allow: Vec<IpNet>,
    /// PEM files of extra trust roots.
    pub outbound_ca_files: Vec<PathBuf>,
    /// Host, port and the address to use for them.
    pub outbound_resolve: Vec<(String, u16, SocketAddr)>,
    pub tls: Option<TlsFiles>,
    /// Connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    pub drain_timeout: Duration,
    pub max_connections: usize,
    /// Calls and event streams at once, of all routes together.
    pub max_streams: usize,
    /// The largest body any route takes, in bytes; a route may take less.
    pub max_body: u64,
    /// Where metrics are served; nowhere when absent.
    pub metrics: Option<MetricsListen>,
    /// Set by `dev` only.
    pub development: Option<DevelopmentSettings>,
}

/// `--metrics-listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsListen {
    pub address: SocketAddr,
    /// The operator named it, so that it must work.
    pub asked_for: bool,
}

#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What `dev` adds: loopback only, a demo server, and on request a gateway that approves by itself.
#[derive(Debug, Clone, Copy)]
pub struct DevelopmentSettings {
    pub auto_approve: bool,
}
