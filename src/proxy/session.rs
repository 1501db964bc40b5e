//! Sessions of the handshake era (STRM-5, STRM-6): the id a client sees is a sealed envelope of the upstream's
//! own and of the address it lives at, bound to person, client and route. No memory is kept, so it holds on every
//! replica and after a restart.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::caller::CallerToken;
use super::error::ProxyError;
use super::route::ProxyRoute;
use crate::crypto::{Sealer, base64url, base64url_decode};
use crate::domain::Random;
use crate::mcp::SESSION_ID;

/// More than any upstream's id comes to, sealed.
const MAX_ENVELOPE: usize = 4096;
/// Between address and id; neither can hold it.
const SEPARATOR: u8 = 0;

/// Seals and opens session ids.
pub struct SessionBinding {
    sealer: Sealer,
    random: Arc<dyn Random>,
}

impl SessionBinding {
    pub fn new(sealer: Sealer, random: Arc<dyn Random>) -> Self {
        Self { sealer, random }
    }

    /// Replaces the client's envelope by the upstream's id, and says at which of the route's addresses it lives.
    ///
    /// # Errors
    /// [`ProxyError::UnknownSession`] for a forged envelope, another caller's, or one of an address that is no longer
    /// configured: its client begins anew.
    pub fn open_in(
        &self,
        headers: &mut HeaderMap,
        token: Option<&CallerToken>,
        to: &ProxyRoute,
    ) -> Result<Option<usize>, ProxyError> {
        let mut presented = headers.get_all(SESSION_ID).iter();
        let envelope = match (presented.next(), presented.next()) {
            (None, _) => return Ok(None),
            (Some(envelope), None) if envelope.len() <= MAX_ENVELOPE => envelope,
            _ => return Err(ProxyError::UnknownSession),
        };
        let (address, id) = envelope
            .to_str()
            .ok()
            .and_then(base64url_decode)
            .and_then(|bytes| self.sealer.open(&place(token, to), &bytes).ok())
            .and_then(|sealed| {
                let (address, id) = sealed.split_at_checked(sealed.iter().position(|byte| *byte == SEPARATOR)?)?;
                Some((to.upstream.position(address)?, HeaderValue::from_bytes(id.get(1..)?).ok()?))
            })
            .ok_or(ProxyError::UnknownSession)?;
        headers.insert(SESSION_ID, id);
        Ok(Some(address))
    }

    /// Replaces the upstream's id by an envelope for this caller; `address` is which of the route's gave it.
    pub fn seal_in(&self, headers: &mut HeaderMap, token: Option<&CallerToken>, to: &ProxyRoute, address: usize) {
        let Some(id) = headers.get(SESSION_ID) else { return };
        let sealed = [to.upstream.name_of(address).as_bytes(), &[SEPARATOR], id.as_bytes()].concat();
        let envelope = base64url(&self.sealer.seal(&place(token, to), &sealed, &*self.random));
        match HeaderValue::from_str(&envelope) {
            Ok(envelope) => headers.insert(SESSION_ID, envelope),
            Err(_) => headers.remove(SESSION_ID),
        };
    }
}

/// Where an envelope opens: for one person, client, route and upstream. JSON keeps the parts apart.
fn place(token: Option<&CallerToken>, to: &ProxyRoute) -> String {
    let caller = token.map(|token| (token.subject().as_str(), token.client().as_str()));
    let upstream = to.route.proxy.upstream.origin().ascii_serialization();
    serde_json::json!(["session", caller, to.route.path, upstream]).to_string()
}
