//! Authorization codes: single use, 60 seconds, bound to all that the authorization was about (CODE-5).

use std::time::Duration;

use super::client::ClientId;
use super::grant::GrantId;
use super::time::UnixTime;
use crate::oauth::redirect_uri::RedirectUri;

/// Life of a code.
pub const CODE_TTL: Duration = Duration::from_secs(60);

/// A code as the store keeps it, beside its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationCode {
    pub grant: GrantId,
    pub client_id: ClientId,
    pub redirect_uri: RedirectUri,
    pub code_challenge: String,
    pub expires_at: UnixTime,
    pub consumed_at: Option<UnixTime>,
}
