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

#[cfg(test)]
mod tests {
    use super::*;

    // REFR-9, STORE-10
    #[test]
    fn a_grant_lives_until_it_expires_or_is_revoked() {
        let grant = Grant {
            id: GrantId::new("grt_1"),
            subject: SubjectId::new("usr_1"),
            client_id: ClientId::new("dcr_1"),
            resource: "https://gw.example/mcp/a".to_owned(),
            route: "/mcp/a".to_owned(),
            scope: ScopeSet::default(),
            origin: "https://gw.example".to_owned(),
            issuer: "https://gw.example".to_owned(),
            redirect_host: "app.example".to_owned(),
            authenticated_at: UnixTime(0),
            created_at: UnixTime(0),
            expires_at: UnixTime(100),
            revoked_at: None,
            login_session: None,
        };
        assert!(grant.is_live(UnixTime(99)));
        assert!(!grant.is_live(UnixTime(100)));
        assert!(!Grant { revoked_at: Some(UnixTime(50)), ..grant }.is_live(UnixTime(60)));
    }
}
