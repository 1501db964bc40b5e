//! Options of `mcp-oauth-inbound` as they are written (gateway.md §6.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BrowserLogin, Gateway, IdJag, Pkce};

/// Options of `mcp-oauth-inbound`: login with any `OpenID` Connect provider.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["oidc", "browserLogin"]))]
pub struct Oidc {
    pub oidc: OidcProvider,
    pub browser_login: OidcBrowserLogin,
    /// Where roles stand in the claims: a name, or names separated by dots; `\.` is a dot of a name. Left out: `roles`.
    pub role_claim: Option<String>,
    /// The same for groups. Left out: `groups`.
    pub group_claim: Option<String>,
    /// The same for permissions. Left out: `permissions`.
    pub permission_claim: Option<String>,
    pub id_jag: IdJag,
    pub gateway: Gateway,
}

/// The provider.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["issuer"]))]
pub struct OidcProvider {
    /// Spelt as in the provider's tokens. What is not configured is discovered from it.
    pub issuer: Option<String>,
    /// The provider's public keys.
    pub jwks_url: Option<String>,
    /// What `aud` of ID tokens must hold beside the client id.
    pub audience: Option<String>,
    /// Asked for claims that the ID token lacks.
    pub userinfo_url: Option<String>,
    /// Where people are signed out at the provider.
    pub end_session_url: Option<String>,
}

/// How a person's browser is sent to the provider and back, and how the code is redeemed.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["clientId"]))]
pub struct OidcBrowserLogin {
    /// The authorization endpoint.
    pub url: Option<String>,
    pub token_url: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    /// A private key in PEM, for `private_key_jwt`: RSA, P-256, P-384, P-521 or Ed25519. Best written as `$env(NAME)`.
    pub private_key: Option<String>,
    /// `kid` of the private key, as the provider knows it.
    pub private_key_id: Option<String>,
    /// Left out: `private_key_jwt` with a private key; with a secret what the provider's metadata offer, else
    /// `client_secret_basic`.
    pub token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
    /// Sent to the provider; holds `openid`.
    pub scope: String,
    /// `audience` sent to the provider with the authorization request.
    pub audience: Option<String>,
    /// Milliseconds one step of a login may take at the provider.
    #[schemars(range(min = 1, max = 120_000))]
    pub remote_timeout_ms: u64,
    /// How long a login may take.
    #[schemars(range(min = 1, max = 86400))]
    pub state_ttl_seconds: u64,
    /// How long a browser stays signed in.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub session_ttl_seconds: u64,
    /// PKCE towards the provider.
    pub pkce: Pkce,
}

impl Default for OidcBrowserLogin {
    fn default() -> Self {
        let BrowserLogin { remote_timeout_ms, state_ttl_seconds, session_ttl_seconds, pkce } = BrowserLogin::default();
        Self {
            url: None,
            token_url: None,
            client_id: None,
            client_secret: None,
            private_key: None,
            private_key_id: None,
            token_endpoint_auth_method: None,
            scope: "openid profile email".to_owned(),
            audience: None,
            remote_timeout_ms,
            state_ttl_seconds,
            session_ttl_seconds,
            pkce,
        }
    }
}

impl OidcBrowserLogin {
    /// The members that every login policy has.
    #[must_use]
    pub fn common(&self) -> BrowserLogin {
        BrowserLogin {
            remote_timeout_ms: self.remote_timeout_ms,
            state_ttl_seconds: self.state_ttl_seconds,
            session_ttl_seconds: self.session_ttl_seconds,
            pkce: self.pkce,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenEndpointAuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
}
