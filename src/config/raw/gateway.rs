//! `gateway` of the login policies as it is written (gateway.md §3).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
