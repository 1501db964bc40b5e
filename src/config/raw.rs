//! The config files as they are written, member by member (gateway.md §2, §3, §6.1, §10).
//!
//! The JSON Schema made from these structs is both what `doorward schema` prints and what the folder is checked
//! against, so names, types, bounds and defaults stand here and nowhere else. What the schema lists as `required` is
//! `Option` here all the same: a missing member is reported once and the rest of the file is checked all the same.
//! These structs hold secrets and have no `Debug`.

mod audit_log;
mod authkit;
mod capability_filter;
mod headers;
mod id_jag;
mod oidc;
mod providers;
mod rate_limit;
mod routes;
mod token_exchange;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use audit_log::*;
pub use authkit::*;
pub use capability_filter::*;
pub use headers::*;
pub use id_jag::*;
pub use oidc::*;
pub use providers::*;
pub use rate_limit::*;
pub use routes::*;
pub use token_exchange::*;

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
#[schemars(extend("required" = ["options"]))]
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

/// Options of `mcp-access-inbound`: who may use a route. Every list that is given must match; a list matches when
/// the person has one of its entries.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Access {
    /// Ids of organisations, as the provider gives them, such as `org_01H…`.
    #[schemars(length(min = 1))]
    pub organizations: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub permissions: Option<Vec<String>>,
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
    /// Whole addresses, without regard to case.
    #[schemars(length(min = 1))]
    pub emails: Option<Vec<String>>,
    /// What stands behind the `@`, such as `example.com`; subdomains are domains of their own.
    #[schemars(length(min = 1))]
    pub email_domains: Option<Vec<String>>,
    /// Whether the address must be verified. Left out: where `emails` or `emailDomains` is given.
    pub email_verified: Option<bool>,
    /// Ids of clients: of `gateway.clients`, the URL of a metadata document, or `dcr_…`.
    #[schemars(length(min = 1))]
    pub clients: Option<Vec<String>>,
}

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

/// The authorization server that MCP clients see.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own in the contract")]
pub struct Gateway {
    /// Life of an access token.
    #[schemars(range(min = 1, max = 86400))]
    pub access_token_ttl_seconds: u64,
    /// Idle life of a refresh token; each use starts it anew.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub refresh_token_ttl_seconds: u64,
    /// Clients may identify themselves by a metadata document.
    pub cimd_enabled: bool,
    /// Clients may register themselves.
    pub dcr_enabled: bool,
    /// Absolute life of a grant.
    #[schemars(range(min = 1, max = 315_360_000))]
    pub grant_ttl_seconds: u64,
    /// How long a superseded refresh token still answers, for clients that retry.
    #[schemars(range(max = 120))]
    pub refresh_token_reuse_seconds: u64,
    pub signing_alg: SigningAlg,
    /// Scopes beside `mcp:tools`, each with the scopes it implies.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Path or slug of the route that a client without `resource` means.
    pub default_route: Option<String>,
    /// `/authorize`, `/token` and `/register` at the root, for 2025-03-26 clients.
    pub legacy_aliases: bool,
    pub remember_consent: bool,
    /// Exact URIs, or `https://host` origins.
    pub redirect_uri_allow_list: Option<Vec<String>>,
    /// Hosts whose client metadata documents are accepted; all when left out.
    pub cimd_allowed_hosts: Option<Vec<String>>,
    pub cimd_denied_hosts: Vec<String>,
    /// Client metadata documents by URL, used instead of fetching them.
    pub cimd_documents: BTreeMap<String, BTreeMap<String, Value>>,
    /// Clients that need no registration.
    pub clients: Vec<StaticClient>,
    /// When given, registration demands it as a bearer token.
    pub initial_access_token: Option<String>,
    /// Registered clients at most.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_clients: u64,
    /// Days after which an unused registered client is removed.
    #[schemars(range(min = 1, max = 3650))]
    pub client_idle_days: u64,
    /// Who may introspect tokens.
    pub resource_servers: Vec<ResourceServer>,
    /// Longest life of one stream.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub stream_max_seconds: u64,
    /// Ends a stream when its access token ends.
    pub close_streams_at_expiry: bool,
    /// How long refresh and calls go on while the provider or the store is down.
    #[schemars(range(max = 86400))]
    pub outage_grace_seconds: u64,
    /// What one caller may ask for, in numbers; `false` switches these limits off.
    pub limits: Limits,
    /// Who connects the servers whose account all share: whoever one of the lists names.
    pub operators: Operators,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            access_token_ttl_seconds: 900,
            refresh_token_ttl_seconds: 2_592_000,
            cimd_enabled: true,
            dcr_enabled: true,
            grant_ttl_seconds: 31_536_000,
            refresh_token_reuse_seconds: 120,
            signing_alg: SigningAlg::ES256,
            scopes: BTreeMap::from([("mcp:tools".to_owned(), Vec::new())]),
            default_route: None,
            legacy_aliases: true,
            remember_consent: false,
            redirect_uri_allow_list: None,
            cimd_allowed_hosts: None,
            cimd_denied_hosts: Vec::new(),
            cimd_documents: BTreeMap::new(),
            clients: Vec::new(),
            initial_access_token: None,
            max_clients: 100_000,
            client_idle_days: 90,
            resource_servers: Vec::new(),
            stream_max_seconds: 86400,
            close_streams_at_expiry: false,
            outage_grace_seconds: 3600,
            limits: Limits::default(),
            operators: Operators::default(),
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Limits {
    Switch(bool),
    Numbers(LimitNumbers),
}

impl Default for Limits {
    fn default() -> Self {
        Self::Numbers(LimitNumbers::default())
    }
}

/// Each rate is also how many may come at once. An address is one of IPv4, or a /64 of IPv6.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LimitNumbers {
    /// Registrations from one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub registrations_per_minute: u32,
    /// Authorizations started from one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub authorizations_per_minute: u32,
    /// Fetches of client metadata and keys that were never seen before, for one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub document_fetches_per_minute: u32,
    /// Token requests with an unknown code or token, and failed authentications, of one client id at one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failed_token_requests_per_minute: u32,
    /// Token requests of one grant, whatever address they come from.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub grant_token_requests_per_minute: u32,
    /// Calls and event streams that one grant may have open.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub streams_per_grant: u32,
}

impl Default for LimitNumbers {
    fn default() -> Self {
        Self {
            registrations_per_minute: 120,
            authorizations_per_minute: 300,
            document_fetches_per_minute: 60,
            failed_token_requests_per_minute: 120,
            grant_token_requests_per_minute: 120,
            streams_per_grant: 100,
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub enum SigningAlg {
    ES256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A client that the operator vouches for.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["clientId"]))]
pub struct StaticClient {
    pub client_id: Option<String>,
    pub name: Option<String>,
    /// One at least, unless `grantTypes` lacks `authorization_code`.
    pub redirect_uris: Option<Vec<String>>,
    /// One, or two while the secret is being changed.
    pub client_secret: Option<OneOrTwo>,
    /// `sha256:` and 64 hexadecimal digits; one, or two.
    pub client_secret_hash: Option<OneOrTwo>,
    /// Left out: `client_secret_basic` with a secret, `private_key_jwt` with `jwks`, else `none`.
    pub auth_method: Option<AuthMethod>,
    /// The client's public keys: a JWK set, or the https URL of one.
    pub jwks: Option<Jwks>,
    /// Left out: `authorization_code` and `refresh_token`. The third is for identity assertions (`idJag`).
    #[schemars(length(min = 1))]
    pub grant_types: Option<Vec<GrantType>>,
    /// What it may ask for; left out: everything.
    pub scopes: Option<Vec<String>>,
    /// Paths or slugs of the routes it may use; left out: all.
    pub routes: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrTwo {
    One(String),
    Two(#[schemars(length(min = 1, max = 2))] Vec<String>),
}

impl OneOrTwo {
    #[must_use]
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Two(values) => values,
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Jwks {
    Url(String),
    Set(BTreeMap<String, Value>),
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    AuthorizationCode,
    RefreshToken,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

/// A service that may ask whether a token is live.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["id", "secret"]))]
pub struct ResourceServer {
    pub id: Option<String>,
    pub secret: Option<String>,
    /// Paths or slugs of the routes it may ask about; left out: all.
    pub routes: Option<Vec<String>>,
}

/// Who may connect shared upstreams and see operator pages.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Operators {
    /// Verified addresses, without regard to case.
    pub emails: Vec<String>,
    /// Whoever has one of these roles.
    pub roles: Vec<String>,
    /// Ids of organisations: all of their members.
    pub organizations: Vec<String>,
}
