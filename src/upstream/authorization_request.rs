//! The browser's way to an upstream's authorization server and back (RFC 6749 §4.1.1, RFC 7636, RFC 8707, RFC 9207).

use url::Url;

use super::discovery::Discovered;
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::server_metadata::same_issuer;

/// One authorization request.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    pub state: &'a str,
    pub code_challenge: &'a CodeChallenge,
    pub scopes: &'a [String],
    /// A blank, unless the server wants another.
    pub scope_delimiter: &'a str,
    pub prompt: Option<&'a str>,
}

/// Parameters that are the gateway's to set, whatever the endpoint's own query holds.
const OURS: [&str; 9] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "scope",
    "prompt",
];

/// Where the browser goes. The endpoint keeps its query (RFC 6749 §3.1).
#[must_use]
pub fn authorization_url(server: &Discovered, request: &AuthorizationRequest<'_>) -> Url {
    let mut url = server.authorization_endpoint.clone();
    let own: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !OURS.contains(&name.as_ref()))
        .map(|(n, v)| (n.into(), v.into()))
        .collect();
    url.set_fragment(None);
    let mut query = url.query_pairs_mut();
    query
        .clear()
        .extend_pairs(own)
        .append_pair("response_type", "code")
        .append_pair("client_id", request.client_id)
        .append_pair("redirect_uri", request.redirect_uri)
        .append_pair("state", request.state)
        .append_pair("code_challenge", request.code_challenge.as_str())
        .append_pair("code_challenge_method", "S256")
        .append_pair("resource", &server.resource);
    if !request.scopes.is_empty() {
        query.append_pair("scope", &request.scopes.join(request.scope_delimiter));
    }
    if let Some(prompt) = request.prompt {
        query.append_pair("prompt", prompt);
    }
    drop(query);
    url
}

/// A callback that does not come from the server that the browser was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForeignCallback {
    #[error("`iss` of the callback is another issuer than the one the browser was sent to")]
    OtherIssuer,
    #[error("the callback lacks `iss`, which the authorization server's metadata promise")]
    NoIssuer,
}

/// RFC 9207 §2.4. Asked before anything else on the callback is believed, so that no code is given away.
///
/// # Errors
/// [`ForeignCallback`].
pub fn check_callback_issuer(server: &Discovered, issuer: Option<&str>) -> Result<(), ForeignCallback> {
    match issuer {
        Some(issuer) if same_issuer(issuer, &server.issuer) => Ok(()),
        Some(_) => Err(ForeignCallback::OtherIssuer),
        None if server.sends_issuer => Err(ForeignCallback::NoIssuer),
        None => Ok(()),
    }
}
