//! Sessions of the handshake era (STRM-5, STRM-6): the id a client sees is a sealed envelope of the upstream's
//! own, bound to person, client and route. No memory is kept, so it holds on every replica and after a
//! restart.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::error::ProxyError;
use crate::config::model::Route;
use crate::crypto::{Sealer, base64url, base64url_decode};
use crate::domain::Random;
use crate::keys::VerifiedToken;
use crate::mcp::SESSION_ID;

/// More than any upstream's id comes to, sealed.
const MAX_ENVELOPE: usize = 4096;

/// Seals and opens session ids.
pub struct SessionBinding {
    sealer: Sealer,
    random: Arc<dyn Random>,
}

impl SessionBinding {
    pub fn new(sealer: Sealer, random: Arc<dyn Random>) -> Self {
        Self { sealer, random }
    }

    /// Replaces the client's envelope by the upstream's id.
    ///
    /// # Errors
    /// [`ProxyError::UnknownSession`] for a forged envelope or another caller's.
    pub fn open_in(
        &self,
        headers: &mut HeaderMap,
        token: Option<&VerifiedToken>,
        route: &Route,
    ) -> Result<(), ProxyError> {
        let mut presented = headers.get_all(SESSION_ID).iter();
        let envelope = match (presented.next(), presented.next()) {
            (None, _) => return Ok(()),
            (Some(envelope), None) if envelope.len() <= MAX_ENVELOPE => envelope,
            _ => return Err(ProxyError::UnknownSession),
        };
        let id = envelope
            .to_str()
            .ok()
            .and_then(base64url_decode)
            .and_then(|bytes| self.sealer.open(&place(token, route), &bytes).ok())
            .and_then(|id| HeaderValue::from_bytes(&id).ok())
            .ok_or(ProxyError::UnknownSession)?;
        headers.insert(SESSION_ID, id);
        Ok(())
    }

    /// Replaces the upstream's id by an envelope for this caller.
    pub fn seal_in(&self, headers: &mut HeaderMap, token: Option<&VerifiedToken>, route: &Route) {
        let Some(id) = headers.get(SESSION_ID) else { return };
        let envelope = base64url(&self.sealer.seal(&place(token, route), id.as_bytes(), &*self.random));
        match HeaderValue::from_str(&envelope) {
            Ok(envelope) => headers.insert(SESSION_ID, envelope),
            Err(_) => headers.remove(SESSION_ID),
        };
    }
}

/// Where an envelope opens: for one person, client, route and upstream. JSON keeps the parts apart.
fn place(token: Option<&VerifiedToken>, route: &Route) -> String {
    let caller = token.map(|token| (token.subject.as_str(), token.client.as_str()));
    let upstream = route.proxy.upstream.origin().ascii_serialization();
    serde_json::json!(["session", caller, route.path, upstream]).to_string()
}
