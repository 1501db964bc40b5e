//! The addresses that one upstream is reached at, and whose calls go to which (STRM-10).
//!
//! Every gateway works the same order out of the caller and the configured addresses (rendezvous hashing), so replicas
//! share nothing, and an address that comes or goes moves only the callers that are its own. What an address did lately
//! is remembered per process, and changes nothing but the order.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::Instant;
use tower::Service;

use super::body::RequestBody;
use super::pool::{Answer, Pool, SendError};
use super::upstream::UpstreamTls;
use crate::crypto::sha256;

/// What a [`Pool`] connects with.
pub type Connector = HttpsConnector<Dial>;

/// How long an address that could not be reached is asked last. Without this, one that swallows connections would cost
/// each of its callers the connect timeout, call by call.
const AVOIDED: Duration = Duration::from_secs(10);

/// One address, with connections of its own.
pub struct Address {
    /// `HOST:PORT`
    name: String,
    pool: Arc<Pool>,
    /// When it was last found to be out of reach.
    unreachable: Mutex<Option<Instant>>,
}

impl Address {
    /// `uri` is the upstream's. `dialled` stands in for its host and port; names in requests and in certificates stay
    /// the URI's.
    pub fn new(
        name: String,
        uri: &Uri,
        dialled: Option<Authority>,
        connect_timeout: Duration,
        tls: &UpstreamTls,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*tls.0).clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(Dial { inner: connector, to: dialled });
        Self { name, pool: Pool::new(uri, connector, connect_timeout), unreachable: Mutex::new(None) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// # Errors
    /// [`SendError`], with the request if nothing of it was sent.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<Answer>, SendError> {
        self.pool.send(request).await
    }

    /// Notes whether it could be reached. What it answers does not matter: one that turns the gateway away is alive
    /// (STRM-11).
    pub fn note(&self, reached: bool) {
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        *unreachable = (!reached).then(Instant::now);
    }

    fn is_avoided(&self) -> bool {
        let unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        unreachable.is_some_and(|since| since.elapsed() < AVOIDED)
    }
}

/// The order in which a caller's calls try the addresses.
pub fn order(addresses: &[Address], caller: &str) -> Vec<usize> {
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_by_cached_key(|index| {
        let address = &addresses[*index];
        (address.is_avoided(), Reverse(score(caller, &address.name)))
    });
    order
}

/// How much a caller is an address's own.
fn score(caller: &str, address: &str) -> [u8; 32] {
    sha256(format!("{address}\n{caller}").as_bytes())
}

/// Dials another host and port than the URL's, if there is one.
#[derive(Clone)]
pub struct Dial {
    inner: HttpConnector,
    to: Option<Authority>,
}

impl Service<Uri> for Dial {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = <HttpConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(to) = &self.to else { return self.inner.call(target) };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(to.clone());
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        self.inner.call(Uri::from_parts(parts).unwrap_or(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // STRM-10: who an address was not the first of stays where they are when it goes, and all addresses get their part.
    #[test]
    fn an_address_that_goes_moves_only_its_own_callers() {
        let names = ["a:1", "b:1", "c:1"];
        let first =
            |names: &[&'static str], caller: &str| *names.iter().max_by_key(|name| score(caller, name)).unwrap();
        let mut share = [0; 3];
        for caller in (0..300).map(|number| format!("caller {number}")) {
            let before = first(&names, &caller);
            share[names.iter().position(|name| *name == before).unwrap()] += 1;
            let after = first(&names[..2], &caller);
            assert!(before == after || before == "c:1", "{caller}");
        }
        assert!(share.iter().all(|count| *count > 60), "{share:?}");
    }
}
