//! Options of `mcp-workos-oauth-inbound` as they are written, and what it shares with the other logins (gateway.md §3, §6.1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gateway, IdJag};

/// Options of `mcp-workos-oauth-inbound`: login with WorkOS AuthKit.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["clientId", "clientSecret"]))]
pub struct WorkOs {
    /// `client_` followed by letters, digits or underscores.
    pub client_id: Option<String>,
    /// The API key, `sk_…`. Best written as `$env(WORKOS_CLIENT_SECRET)`.
    pub client_secret: Option<String>,
    /// Replaces `https://api.workos.com`: https, or http on loopback.
    pub api_url: String,
    /// Issuers accepted beside the derived ones.
    pub issuers: Vec<String>,
    /// Lets in people of this organisation only.
    pub organization_id: Option<String>,
    /// Sends everyone to this connection. Not together with `provider`.
    pub connection_id: Option<String>,
    /// `authkit` unless `connectionId` or `organizationId` is given.
    pub provider: Option<String>,
    /// Which AuthKit page opens first.
    pub screen_hint: Option<ScreenHint>,
    /// The domain a login starts with.
    pub domain_hint: Option<String>,
    /// Lets in sessions that a WorkOS dashboard user opened in another person's name.
    pub allow_impersonation: bool,
    /// Re-reads person and roles while a login lives.
    pub session_sync: bool,
    #[schemars(range(min = 1, max = 86400))]
    pub session_sync_seconds: u64,
    /// Sent to the provider.
    pub scope: String,
    pub browser_login_overrides: BrowserLogin,
    pub id_jag: IdJag,
    pub gateway: Gateway,
}

impl Default for WorkOs {
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: None,
            api_url: "https://api.workos.com".to_owned(),
            issuers: Vec::new(),
            organization_id: None,
            connection_id: None,
            provider: None,
            screen_hint: None,
            domain_hint: None,
            allow_impersonation: false,
            session_sync: true,
            session_sync_seconds: 300,
            scope: "openid profile email".to_owned(),
            browser_login_overrides: BrowserLogin::default(),
            id_jag: IdJag::default(),
            gateway: Gateway::default(),
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScreenHint {
    SignIn,
    SignUp,
}

/// How a person's browser is sent to the provider and back.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct BrowserLogin {
    /// Milliseconds one request to the provider may take.
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

impl Default for BrowserLogin {
    fn default() -> Self {
        Self { remote_timeout_ms: 10_000, state_ttl_seconds: 900, session_ttl_seconds: 28_800, pkce: Pkce::S256 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pkce {
    #[serde(rename = "none")]
    None,
    S256,
}
