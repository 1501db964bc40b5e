//! Options of `mcp-authkit-inbound` (gateway.md §7).

use secrecy::SecretString;
use url::Url;

use super::diagnostic::Problems;
use super::document::Node;
use super::gateway::is_scope;
use super::model::{OidcCredential, OidcEndpoints, OidcOptions, PersonClaims, ProviderProfile, SecretWay};
use super::raw;
use super::workos::{api_url, check_client_id, check_client_secret, is_https_or_loopback};
use crate::oauth::scope::ScopeSet;

/// What AuthKit's own metadata advertise.
const SCOPES: [&str; 4] = ["email", "offline_access", "openid", "profile"];

/// `mcp-authkit-inbound` with `dcr`: clients get their tokens from AuthKit, and the gateway verifies them.
#[derive(Debug, Clone)]
pub struct DirectPolicy {
    pub name: String,
    pub authkit: AuthKitOptions,
    pub resource: ResourceDescription,
    /// Needed on every call.
    pub required_scopes: ScopeSet,
    /// Those that a client is told of, beside the required ones.
    pub scopes_supported: ScopeSet,
}

/// One AuthKit domain, and what makes its tokens good here.
#[derive(Debug, Clone)]
pub struct AuthKitOptions {
    /// `https://host`, without a slash at the end, as `iss` has it.
    pub issuer: String,
    /// `client_…` of the environment.
    pub client_id: Option<String>,
    pub audience: AuthKitAudience,
    /// Where people are looked up, when they may be.
    pub api: Option<WorkOsApi>,
}

impl AuthKitOptions {
    /// An endpoint of AuthKit's, such as `jwks`.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Url {
        endpoint(&self.origin(), name)
    }

    /// A document of AuthKit's, such as `oauth-authorization-server`.
    #[must_use]
    pub fn well_known(&self, name: &str) -> Url {
        let mut url = self.origin();
        url.set_path(&format!("/.well-known/{name}"));
        url
    }

    fn origin(&self) -> Url {
        #[expect(clippy::expect_used, reason = "it was written by `domain`, from a URL")]
        Url::parse(&self.issuer).expect("an origin is a URL")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthKitAudience {
    /// The route's URL.
    Resource,
    /// The route's URL, or the environment's client id.
    ClientId,
}

/// The WorkOS API and a key for it.
#[derive(Debug, Clone)]
pub struct WorkOsApi {
    /// An origin.
    pub url: Url,
    pub key: SecretString,
}

/// What the metadata of every route say beside its own facts (RFC 9728 §2).
#[derive(Debug, Clone, Default)]
pub struct ResourceDescription {
    pub name: Option<String>,
    pub documentation: Option<Url>,
}

fn endpoint(origin: &Url, name: &str) -> Url {
    let mut url = origin.clone();
    url.set_path(&format!("/oauth2/{name}"));
    url
}

/// The policy with `dcr`. `None` only after a problem.
pub(super) fn direct(
    name: &str,
    raw: &raw::AuthKit,
    node: &Node,
    problems: &mut Problems,
    notes: &mut Vec<String>,
) -> Option<DirectPolicy> {
    let issuer = common(raw, node, problems);
    for key in ["gateway", "idJag", "browserLoginOverrides", "scope"] {
        if let Some(given) = node.get(key) {
            problems
                .add("conflict", given.place, format!("`{key}` has no meaning where AuthKit issues the tokens"))
                .help("leave it out, or set `mode` to `preregistered`");
        }
    }
    if let Some(key) = &raw.api_key {
        check_client_secret("apiKey", key, &node.find(&["apiKey"]), problems);
    }
    let audience = audience(raw, node, problems, notes);
    let api = api(raw, node, problems);
    let required_scopes = scopes(&raw.required_scopes, "requiredScopes", node, problems);
    let scopes_supported = match &raw.scopes_supported {
        Some(names) => scopes(names, "scopesSupported", node, problems),
        None => SCOPES.into_iter().map(str::to_owned).collect(),
    };
    Some(DirectPolicy {
        name: name.to_owned(),
        authkit: AuthKitOptions { issuer: issuer?, client_id: raw.client_id.clone(), audience, api: api? },
        resource: resource(raw),
        required_scopes,
        scopes_supported,
    })
}

/// The policy with `preregistered`: AuthKit as the `OpenID` provider of a gateway that issues its own tokens. `None` only
/// after a problem.
pub(super) fn preregistered(raw: &raw::AuthKit, node: &Node, problems: &mut Problems) -> Option<OidcOptions> {
    let issuer = common(raw, node, problems);
    if raw.client_id.is_none() {
        problems
            .add("missing", node.place, "`clientId` is missing, which `preregistered` needs")
            .help("the client id of an OAuth application: WorkOS dashboard, Connect, Applications");
    }
    for (key, help) in [
        ("audience", "the gateway issues the tokens, each for one route"),
        (
            "scopesSupported",
            "the gateway's own scopes stand under `gateway.scopes`, those asked of AuthKit under `scope`",
        ),
        ("requiredScopes", "name them under `requiredScopes` of the routes' handlers, and under `gateway.scopes`"),
    ] {
        if let Some(given) = node.get(key) {
            problems
                .add("conflict", given.place, format!("`{key}` has no meaning with `preregistered`"))
                .help(format!("leave it out: {help}"));
        }
    }
    if !raw.scope.split(' ').any(|scope| scope == "openid") {
        problems
            .add("value", node.find(&["scope"]).place, "`scope` lacks `openid`, without which there is no ID token")
            .help("the default is `openid profile email`");
    }
    if raw.api_key.as_deref().is_some_and(|secret| secret.trim().is_empty()) {
        problems
            .add("value", node.find(&["apiKey"]).place, "the secret is empty")
            .help("the application's secret; or leave it out, and PKCE alone proves the gateway");
    }
    let credential = match &raw.api_key {
        Some(key) => OidcCredential::Secret { secret: SecretString::from(key.clone()), way: Some(SecretWay::Post) },
        None => OidcCredential::None,
    };
    let options = AuthKitOptions { issuer: issuer?, client_id: None, audience: AuthKitAudience::Resource, api: None };
    Some(OidcOptions {
        display_name: "AuthKit".to_owned(),
        audience: None,
        endpoints: OidcEndpoints {
            authorization: Some(options.endpoint("authorize")),
            token: Some(options.endpoint("token")),
            jwks: Some(options.endpoint("jwks")),
            userinfo: Some(options.endpoint("userinfo")),
            end_session: None,
        },
        issuer: options.issuer,
        client_id: raw.client_id.clone()?,
        credential,
        requested_audience: None,
        claims: PersonClaims::default(),
        profile: ProviderProfile { claims_in_access_token: true, open_sign_up: true, ..ProviderProfile::STANDARD },
    })
}

/// What both modes check alike: the issuer.
fn common(raw: &raw::AuthKit, node: &Node, problems: &mut Problems) -> Option<String> {
    if !raw.verify_jwt {
        problems.add("unsupported", node.find(&["verifyJwt"]).place, "`verifyJwt` cannot be switched off").help(
            "anybody can write a token that nobody verifies; for tests use `doorward dev` with its development login",
        );
    }
    if let Some(id) = &raw.client_id {
        check_client_id(id, &node.find(&["clientId"]), problems);
    }
    check_resource(raw, node, problems);
    let text = raw.authkit_domain.as_deref()?;
    match domain(text) {
        Ok(issuer) => Some(issuer),
        Err(problem) => {
            problems
                .add("value", node.find(&["authkitDomain"]).place, problem)
                .help("such as `name.authkit.app`, `auth.example.com` or `https://auth.example.com`; the WorkOS dashboard shows it under Domains");
            None
        }
    }
}

/// The issuer that a domain means: a host name, `name` for `name.authkit.app`, or an origin.
fn domain(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "`authkitDomain` is not a host name";
    let written = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&written).map_err(|_| SHAPE)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("`authkitDomain` must not have a path, a query or a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`authkitDomain` must not hold a user or password");
    }
    if !is_https_or_loopback(&url) {
        return Err("`authkitDomain` must be https, or http on loopback");
    }
    let host = url.host_str().unwrap_or_default();
    if host == "api.workos.com" || host.starts_with("client_") || host.starts_with("sk_") {
        return Err("`authkitDomain` must be the domain where people sign in, not an API host, a client id or a key");
    }
    let subdomain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match url.domain() {
        Some(name) if !name.contains('.') && name != "localhost" => {
            if text == name && subdomain(text) {
                Ok(format!("https://{text}.authkit.app"))
            } else {
                Err(SHAPE)
            }
        }
        _ => Ok(url.origin().ascii_serialization()),
    }
}

fn audience(raw: &raw::AuthKit, node: &Node, problems: &mut Problems, notes: &mut Vec<String>) -> AuthKitAudience {
    if raw.audience != Some(raw::AuthKitAudience::ClientId) {
        return AuthKitAudience::Resource;
    }
    if raw.client_id.is_none() {
        problems
            .add("missing", node.find(&["audience"]).place, "`audience: \"clientId\"` needs `clientId`")
            .help("the environment's client id, `client_…`");
    }
    notes.push(
        "`audience` is `clientId`: a token for one route opens every route, and those of other servers of the environment \
         too; list the routes' URLs as MCP resource indicators in the WorkOS dashboard (Connect, Configuration), and take \
         `audience` out"
            .to_owned(),
    );
    AuthKitAudience::ClientId
}

/// The outer `None` only after a problem.
#[expect(clippy::option_option, reason = "a problem is not an absent key")]
fn api(raw: &raw::AuthKit, node: &Node, problems: &mut Problems) -> Option<Option<WorkOsApi>> {
    let url = api_url(&raw.api_url, &node.find(&["apiUrl"]), problems)?;
    Some(raw.api_key.clone().map(|key| WorkOsApi { url, key: SecretString::from(key) }))
}

fn scopes(names: &[String], key: &str, node: &Node, problems: &mut Problems) -> ScopeSet {
    for (index, name) in names.iter().enumerate() {
        if !is_scope(name) || name.contains('*') {
            let entry = node.find(&[key, &index.to_string()]);
            problems
                .add("value", entry.place, format!("{} is not a scope", entry.shown()))
                .help("one name each, such as `profile`");
        }
    }
    names.iter().cloned().collect()
}

/// How the routes are described. Both modes check it.
pub(super) fn resource(raw: &raw::AuthKit) -> ResourceDescription {
    ResourceDescription { name: raw.resource_name.clone(), documentation: documentation(raw) }
}

fn documentation(raw: &raw::AuthKit) -> Option<Url> {
    raw.docs_url.as_deref().and_then(|text| Url::parse(text).ok()).filter(is_https_or_loopback)
}

fn check_resource(raw: &raw::AuthKit, node: &Node, problems: &mut Problems) {
    if raw.resource_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        problems
            .add("value", node.find(&["resourceName"]).place, "`resourceName` is empty")
            .help("leave it out, and each route is called by its `summary`");
    }
    if raw.docs_url.is_some() && documentation(raw).is_none() {
        problems
            .add("value", node.find(&["docsUrl"]).place, "`docsUrl` must be an https URL, or http on loopback")
            .help("such as `https://docs.example.com/mcp`");
    }
}
