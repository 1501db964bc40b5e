//! Fetching URLs that strangers name: client-id metadata documents and the key sets of such clients, and what upstreams say
//! of their authorization servers.
//!
//! Owns the guarded HTTP clients (CIMD-2, CIMD-3), one for each of the two kinds of strangers, and the documents fetched with
//! them (CIMD-6 … CIMD-13, AuthKit's metadata). Must not know what a document is used for. [`Outbound::trusted_client`] is
//! the one client without the address check; it is for endpoints that the operator's configuration names.

mod client_documents;
mod client_keys;
mod fetch;
mod fetch_budget;
mod freshness;
mod known_clients;
mod remote_document;
mod resolver;
mod special_use;
mod upstream;

pub use client_documents::{
    ClientDocumentError, ClientDocuments, DocumentPolicy, DocumentStore, DocumentStoreError, NoDocumentStore,
    StoredDocument,
};
pub use fetch::{Fetch, FetchError, FetchRules, Fetched, Purpose};
pub use remote_document::RemoteDocument;
pub use special_use::{SpecialUse, special_use};
pub use upstream::{Answered, Post, Unanswered, UpstreamFetcher};

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::redirect::Policy;

use resolver::{Guard, Resolver, canonical};

const USER_AGENT: &str = concat!("doorward/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// What the process flags say of outgoing requests.
#[derive(Debug, Clone, Default)]
pub struct OutboundSettings {
    /// `--cimd-allow HOST[=CIDR]`: hosts that may stand for special-use addresses, all of them or those of one
    /// network.
    pub cimd_allow: Vec<(String, Option<IpNet>)>,
    /// `--upstream-allow CIDR`: special-use networks in which authorization servers of upstreams may stand.
    pub upstream_allow: Vec<IpNet>,
    /// `dev`: any host may stand for loopback, and plain http is good enough there.
    pub allow_loopback: bool,
    /// `--outbound-ca-file`: PEM bundles of further trust roots.
    pub extra_roots: Vec<Vec<u8>>,
    /// `--outbound-resolve HOST:PORT=ADDR`. A fixed address is checked like a resolved one.
    pub resolve: Vec<(String, u16, SocketAddr)>,
}

/// Why the clients could not be made; `Display` names the flag.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("`--outbound-ca-file` holds no certificate that can be read")]
    ExtraRoots,
    #[error(
        "`--outbound-resolve {host}:{port}={address}`: a host has one fixed address, and another port there is \
         possible for 443 and 80 only, as a port in a URL is kept"
    )]
    FixedAddress { host: String, port: u16, address: SocketAddr },
    #[error("no TLS client can be made (are CA certificates installed?): {0}")]
    Tls(String),
}

/// Outgoing HTTP of the control path.
#[derive(Debug, Clone)]
pub struct Outbound {
    guarded: reqwest::Client,
    trusted: reqwest::Client,
    guard: Arc<Guard>,
    upstream: reqwest::Client,
    upstream_guard: Arc<Guard>,
}

impl Outbound {
    /// # Errors
    /// [`OutboundError`].
    pub fn new(settings: &OutboundSettings) -> Result<Self, OutboundError> {
        let guard = Arc::new(Guard::of_documents(&settings.cimd_allow, settings.allow_loopback));
        let upstream_guard = Arc::new(Guard::of_upstreams(&settings.upstream_allow, settings.allow_loopback));
        let fixed = Arc::new(fixed_addresses(&settings.resolve)?);
        let roots = extra_roots(&settings.extra_roots)?;
        let guarded = |guard: &Arc<Guard>| {
            let resolver = Resolver { fixed: Arc::clone(&fixed), guard: Some(Arc::clone(guard)) };
            // No connection outlives its fetch: each one is to an address checked for it.
            build(base_client(roots.clone(), resolver).pool_max_idle_per_host(0))
        };
        let trusted = Resolver { fixed: Arc::clone(&fixed), guard: None };
        Ok(Self {
            guarded: guarded(&guard)?,
            trusted: build(base_client(roots.clone(), trusted).pool_idle_timeout(IDLE_CONNECTION))?,
            guard,
            upstream: guarded(&upstream_guard)?,
            upstream_guard,
        })
    }

    /// For endpoints that the operator configured: the same roots and fixed addresses, no redirects, no proxy
    /// from the environment, but any address. Callers set a deadline on each request.
    #[must_use]
    pub fn trusted_client(&self) -> &reqwest::Client {
        &self.trusted
    }
}

fn base_client(roots: Vec<reqwest::Certificate>, resolver: Resolver) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_certs_merge(roots)
        .dns_resolver(resolver)
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, OutboundError> {
    builder.build().map_err(|error| OutboundError::Tls(fetch::root_cause(&error)))
}

fn extra_roots(bundles: &[Vec<u8>]) -> Result<Vec<reqwest::Certificate>, OutboundError> {
    let mut roots = Vec::new();
    for bundle in bundles {
        let found = reqwest::Certificate::from_pem_bundle(bundle).map_err(|_| OutboundError::ExtraRoots)?;
        if found.is_empty() {
            return Err(OutboundError::ExtraRoots);
        }
        roots.extend(found);
    }
    Ok(roots)
}

/// One address per host: the connector asks for a name, never for a port.
fn fixed_addresses(entries: &[(String, u16, SocketAddr)]) -> Result<HashMap<String, SocketAddr>, OutboundError> {
    let mut fixed = HashMap::new();
    for (host, port, address) in entries {
        let refused = || OutboundError::FixedAddress { host: host.clone(), port: *port, address: *address };
        let default_port = matches!(port, 443 | 80);
        if !default_port && address.port() != *port {
            return Err(refused());
        }
        // A URL with an explicit port keeps it; port 0 leaves the scheme's own.
        let address = if default_port { *address } else { SocketAddr::new(address.ip(), 0) };
        if fixed.insert(canonical(host), address).is_some_and(|other| other != address) {
            return Err(refused());
        }
    }
    Ok(fixed)
}
