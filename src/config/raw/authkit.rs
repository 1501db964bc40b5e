//! Options of `mcp-authkit-inbound` as they are written (gateway.md §7).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BrowserLogin, Gateway, IdJag};

/// Options of `mcp-authkit-inbound`: AuthKit itself is the authorization server of MCP clients.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["authkitDomain"]))]
pub struct AuthKit {
    /// Such as `name.authkit.app`, `auth.example.com`, or `name` for `name.authkit.app`.
    pub authkit_domain: Option<String>,
    /// `dcr`: clients register at AuthKit and get their tokens there. `preregistered`: the gateway is one OAuth
    /// application of AuthKit's, and the authorization server of its clients.
    pub mode: AuthKitMode,
    /// `client_…`. With `dcr` the environment's, by which its tokens are told from those for this server; with
    /// `preregistered` that of the OAuth application under Connect.
    pub client_id: Option<String>,
    /// `sk_…`. With `dcr`, asks the WorkOS API for name and address of people whose token lacks them; with
    /// `preregistered`, the client's secret. Best written as `$env(WORKOS_API_KEY)`.
    pub api_key: Option<String>,
    /// Replaces `https://api.workos.com`: https, or http on loopback.
    pub api_url: String,
    /// Scopes that every token must carry.
    pub required_scopes: Vec<String>,
    /// Scopes that clients are told to ask for. Left out: `email`, `offline_access`, `openid`, `profile`.
    pub scopes_supported: Option<Vec<String>>,
    /// What clients call the server. Left out: the route's summary.
    pub resource_name: Option<String>,
    /// Where people read about the server.
    pub docs_url: Option<String>,
    /// What a token's audience must be: `resource`, the route's URL; or with `clientId` that or the environment's id, so
    /// that one token opens every route.
    pub audience: Option<AuthKitAudience>,
    /// Must be true: tokens are always verified.
    pub verify_jwt: bool,
    /// Sent to AuthKit, with `preregistered`. Holds `openid`.
    pub scope: String,
    pub browser_login_overrides: BrowserLogin,
    pub id_jag: IdJag,
    pub gateway: Gateway,
}

impl Default for AuthKit {
    fn default() -> Self {
        Self {
            authkit_domain: None,
            mode: AuthKitMode::Dcr,
            client_id: None,
            api_key: None,
            api_url: "https://api.workos.com".to_owned(),
            required_scopes: Vec::new(),
            scopes_supported: None,
            resource_name: None,
            docs_url: None,
            audience: None,
            verify_jwt: true,
            scope: "openid profile email".to_owned(),
            browser_login_overrides: BrowserLogin::default(),
            id_jag: IdJag::default(),
            gateway: Gateway::default(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthKitMode {
    Dcr,
    Preregistered,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuthKitAudience {
    Resource,
    ClientId,
}
