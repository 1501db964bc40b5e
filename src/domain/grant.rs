//! A grant: what one consent created. It owns its code, refresh tokens and access tokens.

use super::client::ClientId;
use super::login_session::LoginSessionId;
use super::person::SubjectId;
use super::text_id;
use super::time::UnixTime;
use crate::oauth::scope::ScopeSet;

text_id!(
    /// `grt_…`; the `sid` claim of access tokens.
    GrantId
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    pub subject: SubjectId,
    pub client_id: ClientId,
    pub resource: String,
    /// Route path the resource names.
    pub route: String,
    pub scope: ScopeSet,
    /// Public origin that made it; tokens are good there only (DISC-13, STORE-10).
    pub origin: String,
    /// `iss` of its access tokens.
    pub issuer: String,
    /// Host of the redirect URI, for lists and audit.
    pub redirect_host: String,
    /// When the person signed in.
    pub authenticated_at: UnixTime,
    /// The login at the provider that it hangs on, when the provider is asked again from time to time.
    pub login_session: Option<LoginSessionId>,
    pub created_at: UnixTime,
    /// Absolute end (REFR-9).
    pub expires_at: UnixTime,
    pub revoked_at: Option<UnixTime>,
}

impl Grant {
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}
