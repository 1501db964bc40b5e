//! The config files as they are written, member by member (gateway.md §2, §3).
//!
//! The JSON Schema made from these structs is both what `doorward schema` prints and what the folder is checked
//! against, so names, types, bounds and defaults stand here and nowhere else. What the schema lists as `required` is
//! `Option` here all the same: a missing member is reported once and the rest of the file is checked all the same.
//! These structs hold secrets and have no `Debug`.

mod access;
mod audit_log;
mod authkit;
mod capability_filter;
mod gateway;
mod headers;
mod id_jag;
mod oidc;
mod providers;
mod rate_limit;
mod routes;
mod token_exchange;
mod workos;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access::*;
pub use audit_log::*;
pub use authkit::*;
pub use capability_filter::*;
pub use gateway::*;
pub use headers::*;
pub use id_jag::*;
pub use oidc::*;
pub use providers::*;
pub use rate_limit::*;
pub use routes::*;
pub use token_exchange::*;
pub use workos::*;

/// `config/policies.json`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "doorward: config/policies.json")]
#[schemars(extend("required" = ["policies"]))]
pub struct Policies {
    /// For editors: `./policies.schema.json`.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    pub policies: Option<Vec<Policy>>,
    /// Which pages of other origins may call; routes name one under `corsPolicy`.
    pub cors_policies: Vec<CorsPolicy>,
}

/// Whose pages may call a route from a browser. What MCP needs is always allowed: its methods, its headers, and
/// the token's.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "allowedOrigins"]))]
pub struct CorsPolicy {
    /// Unique; routes name it under `corsPolicy`. `none` and `anything-goes` are built in.
    pub name: Option<String>,
    /// Such as `https://app.example.com` or `https://*.example.com`; `*` for any page.
    pub allowed_origins: Option<Texts>,
    /// Of no effect: a route takes POST, GET and DELETE.
    pub allowed_methods: Option<Texts>,
    /// Request headers beside those of MCP; `*` for any.
    pub allowed_headers: Option<Texts>,
    /// Response headers beside those of MCP; `*` for any.
    pub expose_headers: Option<Texts>,
    /// Seconds a browser may keep the answer to a preflight; left out: 3600.
    #[schemars(range(max = 86400))]
    pub max_age: Option<u32>,
    /// Must be false: what opens a route is a token in a header, which needs none.
    pub allow_credentials: bool,
}

/// A list, or the same in one text with commas, as out of a variable.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Texts {
    Joined(String),
    List(Vec<String>),
}

impl Texts {
    #[must_use]
    pub fn values(&self) -> Vec<&str> {
        match self {
            Self::Joined(text) => text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(),
            Self::List(list) => list.iter().map(String::as_str).collect(),
        }
    }
}

/// A policy, used by the routes that name it. Its type decides which options there are.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "policyType")]
pub enum Policy {
    #[serde(rename = "mcp-workos-oauth-inbound")]
    WorkOs(PolicyOf<WorkOs>),
    #[serde(rename = "mcp-oauth-inbound")]
    Oidc(PolicyOf<Oidc>),
    #[serde(rename = "mcp-auth0-oauth-inbound")]
    Auth0(PolicyOf<Auth0>),
    #[serde(rename = "mcp-cognito-oauth-inbound")]
    Cognito(PolicyOf<Cognito>),
    #[serde(rename = "mcp-clerk-oauth-inbound")]
    Clerk(PolicyOf<Clerk>),
    #[serde(rename = "mcp-entra-oauth-inbound")]
    Entra(PolicyOf<Entra>),
    #[serde(rename = "mcp-google-oauth-inbound")]
    Google(PolicyOf<Google>),
    #[serde(rename = "mcp-keycloak-oauth-inbound")]
    Keycloak(PolicyOf<Keycloak>),
    #[serde(rename = "mcp-logto-oauth-inbound")]
    Logto(PolicyOf<Logto>),
    #[serde(rename = "mcp-okta-oauth-inbound")]
    Okta(PolicyOf<Okta>),
    #[serde(rename = "mcp-onelogin-oauth-inbound")]
    OneLogin(PolicyOf<OneLogin>),
    #[serde(rename = "mcp-ping-oauth-inbound")]
    Ping(PolicyOf<Ping>),
    #[serde(rename = "mcp-authkit-inbound")]
    AuthKit(PolicyOf<AuthKit>),
    #[serde(rename = "mcp-access-inbound")]
    Access(PolicyOf<Access>),
    #[serde(rename = "set-headers-inbound")]
    SetHeaders(PolicyOf<SetHeaders>),
    #[serde(rename = "remove-headers-inbound")]
    RemoveHeaders(PolicyOf<RemoveHeaders>),
    #[serde(rename = "set-upstream-api-key-inbound")]
    SetUpstreamApiKey(PolicyOf<SetUpstreamApiKey>),
    #[serde(rename = "audit-log-inbound")]
    AuditLog(PolicyOf<AuditLog>),
    #[serde(rename = "rate-limit-inbound")]
    RateLimit(PolicyOf<RateLimit>),
    #[serde(rename = "mcp-capability-filter-inbound")]
    CapabilityFilter(PolicyOf<CapabilityFilter>),
    #[serde(rename = "mcp-token-exchange-inbound")]
    TokenExchange(PolicyOf<TokenExchange>),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "handler"]))]
pub struct PolicyOf<O> {
    /// Unique; routes name it under `policies.inbound`.
    pub name: Option<String>,
    pub handler: Option<PolicyHandler<O>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(inline, extend("required" = ["options"]))]
pub struct PolicyHandler<O> {
    /// `$import(@zuplo/runtime/mcp-gateway)`, `$import(@zuplo/runtime)`, or left out.
    pub module: Option<String>,
    /// The export that belongs to the policy type, or left out.
    pub export: Option<String>,
    pub options: Option<O>,
}

impl<O> PolicyOf<O> {
    /// The same policy with options made of its own.
    #[must_use]
    pub fn map<P>(self, make: impl FnOnce(O) -> P) -> PolicyOf<P> {
        let handler = self.handler.map(|PolicyHandler { module, export, options }| PolicyHandler {
            module,
            export,
            options: options.map(make),
        });
        PolicyOf { name: self.name, handler }
    }
}
