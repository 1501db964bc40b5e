//! `mcp-token-exchange-inbound` as it is written (gateway.md §8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TokenEndpointAuthMethod;

/// Options of `mcp-token-exchange-inbound`: the credential that the server behind a route wants, which the gateway
/// holds and no client ever sees.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["authMode"]))]
pub struct TokenExchange {
    /// What the connections are stored under, 1 to 64 letters, digits, `.`, `_` and `-`: choose it once. Left out: the
    /// policy's name after `mcp-token-exchange-`, or the whole name.
    pub id: Option<String>,
    /// What people read where they connect. Left out: the id.
    pub display_name: Option<String>,
    /// One sentence for the consent page.
    pub summary: Option<String>,
    /// `user-oauth`: each person connects their own account. `shared-oauth`: an operator connects one account for all.
    /// `id-jag`: what the identity provider says of the person is exchanged, and nobody connects anything.
    pub auth_mode: Option<UpstreamAuthMode>,
    /// Where the server describes itself (RFC 9728). Left out: derived from `rewritePattern`.
    pub protected_resource_metadata_url: Option<String>,
    /// What is asked for. Left out or empty: what the server asks for, else what its metadata list, else nothing.
    pub scopes: Vec<String>,
    /// What stands between two scopes.
    pub scope_delimiter: String,
    /// `prompt` of the authorization request; `false` never sends one. Left out: `consent` where `offline_access` is
    /// asked for.
    pub prompt: Option<UpstreamPrompt>,
    /// How the gateway is known to the authorization server.
    pub client_registration: ClientRegistration,
    /// With `id-jag`, and only then.
    pub id_jag: Option<UpstreamIdJag>,
}

impl Default for TokenExchange {
    fn default() -> Self {
        Self {
            id: None,
            display_name: None,
            summary: None,
            auth_mode: None,
            protected_resource_metadata_url: None,
            scopes: Vec::new(),
            scope_delimiter: " ".to_owned(),
            prompt: None,
            client_registration: ClientRegistration::default(),
            id_jag: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamAuthMode {
    UserOauth,
    SharedOauth,
    IdJag,
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum UpstreamPrompt {
    Switch(bool),
    Value(PromptValue),
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptValue {
    None,
    Login,
    Consent,
    SelectAccount,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientRegistration {
    /// `auto`: by the gateway's own metadata document where that is understood, else by registering. `manual`: as the
    /// client that somebody registered there by hand.
    pub mode: RegistrationMode,
    /// With `manual`.
    pub client_id: Option<String>,
    /// With `manual`, unless the client is public. Best written as `$env(NAME)`.
    pub client_secret: Option<String>,
    /// With `manual`. Left out: with a secret what the authorization server offers, else `none`.
    pub token_endpoint_auth_method: Option<ManualAuthMethod>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationMode {
    #[default]
    Auto,
    Manual,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManualAuthMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
}

/// The two requests of an identity assertion grant.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["idp", "resourceAs"]))]
pub struct UpstreamIdJag {
    /// What is asked for at the identity provider.
    pub scopes: Vec<String>,
    /// What stands between two scopes.
    pub scope_delimiter: String,
    /// The identity provider, which issues the assertion (RFC 8693).
    pub idp: UpstreamIdp,
    /// The server's authorization server, which takes it (RFC 7523).
    pub resource_as: UpstreamResourceAs,
}

impl Default for UpstreamIdJag {
    fn default() -> Self {
        Self {
            scopes: Vec::new(),
            scope_delimiter: " ".to_owned(),
            idp: UpstreamIdp::default(),
            resource_as: UpstreamResourceAs::default(),
        }
    }
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["tokenUrl", "clientAuth"]))]
pub struct UpstreamIdp {
    pub token_url: Option<String>,
    pub client_auth: UpstreamClientAuth,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["tokenUrl", "audience", "clientAuth"]))]
pub struct UpstreamResourceAs {
    pub token_url: Option<String>,
    /// What the authorization server calls itself, usually its issuer.
    pub audience: Option<String>,
    /// What it calls the MCP server. Left out: the URL of the server.
    pub resource: Option<String>,
    pub client_auth: UpstreamClientAuth,
}

/// How the gateway proves which client it is.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["method", "clientId"]))]
pub struct UpstreamClientAuth {
    pub method: Option<TokenEndpointAuthMethod>,
    pub client_id: Option<String>,
    /// With the methods that have a secret. Best written as `$env(NAME)`.
    pub client_secret: Option<String>,
    /// With `private_key_jwt`, in PEM: RSA, P-256, P-384, P-521 or Ed25519. Best written as `$env(NAME)`.
    pub private_key_pem: Option<String>,
    /// What the key signs with. Left out: `RS256` of an RSA key; any other key has but one.
    pub algorithm: Option<ClientAssertionAlgorithm>,
    /// `kid` of the private key, as the other side knows it.
    pub key_id: Option<String>,
    /// `aud` of the client's assertion. Left out: `tokenUrl`.
    pub audience: Option<String>,
    /// How long the client's assertion lives. Left out: 60.
    #[schemars(range(min = 1, max = 3600))]
    pub expires_in_seconds: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientAssertionAlgorithm {
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    ES512,
}

impl ClientAssertionAlgorithm {
    /// `alg`
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
        }
    }
}
