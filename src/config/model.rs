//! The configuration as the rest of the gateway sees it: typed, valid, immutable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use secrecy::SecretString;
use url::Url;

pub use super::audit_log::AuditLog;
pub use super::authkit::{AuthKitAudience, AuthKitOptions, DirectPolicy, ResourceDescription, WorkOsApi};
pub use super::capability_filter::{Audience, CapabilityEntry, CapabilityFilter, Demands, HeldClaim};
pub use super::claim_path::ClaimPath;
pub use super::client_certificate::ClientCertificate;
pub use super::headers::HeaderChange;
pub use super::id_jag::{SubjectMapping, TrustedIssuer};
pub use super::providers::{AnotherAccount, ProviderProfile, SignOut};
pub use super::rate_limit::{RateLimit, RateLimitBy};
pub use super::token_exchange::{
    IdJagEndpoint, Upstream, UpstreamIdJag, UpstreamMode, UpstreamOAuth, UpstreamPrompt, UpstreamRegistration,
};
use crate::crypto::AssertionKey;
use crate::domain::Client;
use crate::oauth::scope::ScopeSet;

/// Everything the config folder (or the flags that stand in for it) says.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The one login policy of the project. Absent only when every route is public, or in direct mode.
    pub login: Option<LoginPolicy>,
    /// Direct mode, in the place of a login: AuthKit issues the tokens.
    pub direct: Option<DirectPolicy>,
    pub routes: Vec<Route>,
}

impl GatewayConfig {
    /// The routes that a token can be for: all that are not public.
    pub fn protected_routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| !route.proxy.public)
    }

    /// What the project calls its login policy.
    #[must_use]
    pub fn login_name(&self) -> Option<&str> {
        let direct = self.direct.as_ref().map(|direct| direct.name.as_str());
        self.login.as_ref().map(|login| login.name.as_str()).or(direct)
    }

    /// One of the protected routes.
    #[must_use]
    pub fn protected_route(&self, path: &str) -> Option<&Route> {
        self.protected_routes().find(|route| route.path == path)
    }

    /// The servers that want a credential of their own, each once.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let mut seen = BTreeSet::new();
        self.routes.iter().filter_map(|route| route.credential.as_ref()).filter(move |one| seen.insert(one.id.as_str()))
    }
}

/// The MCP OAuth policy.
#[derive(Debug, Clone)]
pub struct LoginPolicy {
    pub name: String,
    pub provider: LoginProvider,
    /// `scope` sent to the provider.
    pub scope: String,
    pub browser_login: BrowserLogin,
    /// Whose identity assertions count (EXT-2). Empty: nobody's.
    pub trusted_issuers: Vec<TrustedIssuer>,
    pub gateway: GatewayOptions,
    pub resource: ResourceDescription,
}

#[derive(Debug, Clone)]
pub enum LoginProvider {
    WorkOs(WorkOsOptions),
    Oidc(OidcOptions),
    /// AuthKit, of which the gateway is one OAuth application.
    AuthKit(OidcOptions),
    /// The development login; only `dev` ever sets it.
    Development,
}

/// `mcp-workos-oauth-inbound`, gateway.md §6.1.
#[derive(Debug, Clone)]
pub struct WorkOsOptions {
    /// `client_…`
    pub client_id: String,
    pub client_secret: SecretString,
    /// Default `https://api.workos.com`; no path, no trailing slash when displayed.
    pub api_url: Url,
    /// Issuers accepted beside the derived ones.
    pub issuers: Vec<String>,
    pub selector: WorkOsSelector,
    /// Only people of this organisation (WOS-10).
    pub organization_id: Option<String>,
    pub screen_hint: Option<String>,
    pub domain_hint: Option<String>,
    pub allow_impersonation: bool,
    pub session_sync: bool,
    pub session_sync_interval: Duration,
}

/// The one selector WorkOS wants (WOS-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkOsSelector {
    Provider(String),
    Connection(String),
    Organization(String),
}

/// `mcp-oauth-inbound` and the policies derived from it, gateway.md §6.2 and §6.3: all that differs between one `OpenID` provider and another.
#[derive(Debug, Clone)]
pub struct OidcOptions {
    /// What pages and logs call the provider.
    pub display_name: String,
    /// Byte for byte what `iss` holds.
    pub issuer: String,
    /// What `aud` must hold beside the client id.
    pub audience: Option<String>,
    pub endpoints: OidcEndpoints,
    pub client_id: String,
    pub credential: OidcCredential,
    /// `audience` of the authorization request, for providers that know this parameter.
    pub requested_audience: Option<String>,
    pub claims: PersonClaims,
    pub profile: ProviderProfile,
}

/// Endpoints as configured. Where one that a login needs is missing, the provider's metadata fill in the rest.
#[derive(Debug, Clone, Default)]
pub struct OidcEndpoints {
    pub authorization: Option<Url>,
    pub token: Option<Url>,
    pub jwks: Option<Url>,
    pub userinfo: Option<Url>,
    pub end_session: Option<Url>,
}

/// How the gateway proves itself at the token endpoint (IDP-9).
#[derive(Debug, Clone)]
pub enum OidcCredential {
    /// Without a way, the first that the provider's metadata offer.
    Secret { secret: SecretString, way: Option<SecretWay> },
    /// `private_key_jwt`
    PrivateKey(ClientKey),
    /// `none`: a public client, which PKCE alone tells from others.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretWay {
    /// `client_secret_basic`
    Basic,
    /// `client_secret_post`
    Post,
}

#[derive(Debug, Clone)]
pub struct ClientKey {
    pub key: AssertionKey,
    /// `kid`
    pub id: Option<String>,
}

/// Where a person's roles, groups and permissions stand. `None`: where [`ProviderProfile`] says, which may be absent.
#[derive(Debug, Clone, Default)]
pub struct PersonClaims {
    pub roles: Option<ClaimPath>,
    pub groups: Option<ClaimPath>,
    pub permissions: Option<ClaimPath>,
}

/// `browserLoginOverrides`, or the same members of `browserLogin`.
#[derive(Debug, Clone)]
pub struct BrowserLogin {
    pub remote_timeout: Duration,
    pub state_ttl: Duration,
    pub session_ttl: Duration,
    /// S256 towards the provider.
    pub pkce: bool,
}

/// `options.gateway`, gateway.md §3.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own in the contract")]
pub struct GatewayOptions {
    pub access_token_ttl: Duration,
    pub refresh_token_ttl: Duration,
    pub grant_ttl: Duration,
    pub refresh_token_reuse: Duration,
    pub signing_alg: SigningAlg,
    /// Scope → the scopes it implies. Holds `mcp:tools` at least.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Route path for a missing `resource`.
    pub default_route: Option<String>,
    pub cimd_enabled: bool,
    pub dcr_enabled: bool,
    pub legacy_aliases: bool,
    pub remember_consent: bool,
    pub redirect_uri_allow_list: Option<Vec<RedirectAllowance>>,
    pub cimd_allowed_hosts: Option<Vec<String>>,
    pub cimd_denied_hosts: Vec<String>,
    /// Pinned client-id metadata documents by URL.
    pub cimd_documents: BTreeMap<String, serde_json::Value>,
    /// Static clients, already checked.
    pub clients: Vec<Client>,
    pub initial_access_token: Option<SecretString>,
    pub max_clients: u64,
    pub client_idle: Duration,
    pub resource_servers: Vec<ResourceServer>,
    pub stream_max: Duration,
    pub close_streams_at_expiry: bool,
    pub outage_grace: Duration,
    /// `None` when they are switched off.
    pub limits: Option<Limits>,
    pub operators: Operators,
}

/// `gateway.limits` (LIM-1 … LIM-3, LIM-5): what one caller may ask for. A rate is per minute, and as many may come
/// at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one address.
    pub registrations: u32,
    /// Of one address.
    pub authorizations: u32,
    /// Fetches of client metadata and keys never seen before, for one address.
    pub document_fetches: u32,
    /// Of one client id at one address.
    pub failed_token_requests: u32,
    /// Of one grant, at whatever address.
    pub grant_token_requests: u32,
    /// Calls and event streams open at once.
    pub streams_per_grant: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlg {
    Es256,
    EdDsa,
}

/// An entry of `redirectUriAllowList`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectAllowance {
    /// The whole URI, compared as a registered one is.
    Uri(crate::oauth::redirect_uri::RedirectUri),
    /// `https://host[:port]`: any path on that origin.
    Origin(url::Origin),
}

/// Who may introspect.
#[derive(Debug, Clone)]
pub struct ResourceServer {
    pub id: String,
    pub secret: SecretString,
    /// Route paths it may ask about.
    pub routes: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Operators {
    pub emails: Vec<String>,
    pub roles: Vec<String>,
    pub organizations: Vec<String>,
}

/// One MCP route.
#[derive(Debug, Clone)]
pub struct Route {
    pub operation_id: String,
    /// Literal path, such as `/mcp/linear`.
    pub path: String,
    /// For people: the consent page, `resource_name`.
    pub summary: Option<String>,
    pub description: Option<String>,
    pub proxy: ProxyOptions,
    pub cors: CorsPolicy,
    /// What every call of it needs beside the default scopes.
    pub required_scopes: ScopeSet,
    /// Who may use it: all of them must let a person in.
    pub access: Vec<AccessRules>,
    /// Made in every request before it goes to the upstream, in order.
    pub header_changes: Vec<HeaderChange>,
    /// Each must let a request pass, in order.
    pub rate_limits: Vec<RateLimit>,
    /// What it shows: all of them must let an item through.
    pub filters: Vec<CapabilityFilter>,
    /// Whether, and how, its calls are recorded.
    pub audit: Option<AuditLog>,
    /// What its server wants of a call. Routes with the same server may share it.
    pub credential: Option<Arc<Upstream>>,
}

impl Route {
    /// What people call it: the summary, else the operation id.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.summary.as_deref().unwrap_or(&self.operation_id)
    }
}

/// `mcp-access-inbound`, gateway.md §9. Every list that is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRules {
    pub organizations: Option<Vec<String>>,
    pub roles: Option<Vec<String>>,
    pub permissions: Option<Vec<String>>,
    pub groups: Option<Vec<String>>,
    /// Compared without regard to case.
    pub emails: Option<Vec<String>>,
    /// ASCII, lower case.
    pub email_domains: Option<Vec<String>>,
    /// Whether the provider must have verified the person's address.
    pub verified_email: bool,
    pub clients: Option<Vec<String>>,
}

/// Whose pages may call a route from a browser, beside those of the gateway's own origin (CORS-5), and what more
/// than MCP needs they may send and read. The default is `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsPolicy {
    pub origins: Vec<PageOrigin>,
    /// Further request headers; `*` for any.
    pub allowed_headers: Vec<String>,
    /// Further response headers; `*` for any.
    pub expose_headers: Vec<String>,
    /// How long a browser may keep the answer to a preflight, in seconds.
    pub max_age: Option<u32>,
}

impl CorsPolicy {
    /// The built-in policy `anything-goes`.
    #[must_use]
    pub fn anything_goes() -> Self {
        let any = || vec!["*".to_owned()];
        Self { origins: vec![PageOrigin::Any], allowed_headers: any(), expose_headers: any(), max_age: None }
    }

    /// Whether pages of `origin` may call.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.matches(origin))
    }
}

/// One entry of `allowedOrigins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageOrigin {
    /// `*`
    Any,
    /// `https://app.example.com`, as browsers write it.
    Exact(String),
    /// `https://*.example.com:8443`: a host one level below, never the host itself. `*.example.com` is for http and https.
    Below { scheme: Option<String>, host: String, port: Option<u16> },
}

impl PageOrigin {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(allowed) => allowed == origin,
            Self::Below { scheme, host, port } => {
                let Ok(url) = Url::parse(origin) else { return false };
                let below = url
                    .domain()
                    .and_then(|name| name.strip_suffix(host.as_str()))
                    .and_then(|rest| rest.strip_suffix('.'))
                    .is_some_and(|label| !label.is_empty() && !label.contains('.'));
                let fits = match scheme {
                    Some(scheme) => scheme == url.scheme(),
                    None => matches!(url.scheme(), "http" | "https"),
                };
                below && fits && *port == url.port() && url.origin().ascii_serialization() == origin
            }
        }
    }
}

/// `McpProxyHandler`, gateway.md §10.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// The upstream MCP endpoint, `rewritePattern`.
    pub upstream: Url,
    /// Host and port to dial instead of the upstream's; empty for its own.
    pub addresses: Vec<Authority>,
    /// Shown to an upstream that asks for one.
    pub client_certificate: Option<ClientCertificate>,
    pub forward_search: bool,
    pub follow_redirects: bool,
    /// Serves without a login policy.
    pub public: bool,
    pub forward_identity: ForwardIdentity,
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    /// How long an event stream may be quiet before the gateway adds a comment; `None` for no comments.
    pub stream_keep_alive: Option<Duration>,
    /// Bytes.
    pub max_body: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardIdentity {
    #[default]
    None,
    Headers,
    Assertion,
}
