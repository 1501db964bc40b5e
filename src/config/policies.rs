//! `policies.json`: which policies there are, and which of them is the login (gateway.md §2, §3).

use std::collections::BTreeSet;

use super::cors::CorsPolicies;
use super::diagnostic::{Place, Problems};
use super::document::{Kind, Node};
use super::model::{AccessRules, BrowserLogin, LoginPolicy, LoginProvider};
use super::routes::Known;
use super::{Mode, access, gateway, oidc, raw, schema, workos};

pub(super) const WORKOS: &str = "mcp-workos-oauth-inbound";
const OIDC: &str = "mcp-oauth-inbound";

/// The policy types of this version.
const SUPPORTED: [&str; 3] = [WORKOS, OIDC, "mcp-access-inbound"];

/// `policyType` and the `export` that belongs to it.
const TYPES: &[(&str, &str)] = &[
    (WORKOS, "McpWorkosOAuthInboundPolicy"),
    (OIDC, "McpOAuthInboundPolicy"),
    ("mcp-auth0-oauth-inbound", "McpAuth0OAuthInboundPolicy"),
    ("mcp-cognito-oauth-inbound", "McpCognitoOAuthInboundPolicy"),
    ("mcp-clerk-oauth-inbound", "McpClerkOAuthInboundPolicy"),
    ("mcp-entra-oauth-inbound", "McpEntraOAuthInboundPolicy"),
    ("mcp-google-oauth-inbound", "McpGoogleOAuthInboundPolicy"),
    ("mcp-keycloak-oauth-inbound", "McpKeycloakOAuthInboundPolicy"),
    ("mcp-logto-oauth-inbound", "McpLogtoOAuthInboundPolicy"),
    ("mcp-okta-oauth-inbound", "McpOktaOAuthInboundPolicy"),
    ("mcp-onelogin-oauth-inbound", "McpOneLoginOAuthInboundPolicy"),
    ("mcp-ping-oauth-inbound", "McpPingOAuthInboundPolicy"),
    ("mcp-authkit-inbound", "McpAuthKitInboundPolicy"),
    ("mcp-token-exchange-inbound", "McpTokenExchangeInboundPolicy"),
    ("mcp-capability-filter-inbound", "McpCapabilityFilterInboundPolicy"),
    ("mcp-access-inbound", "McpAccessInboundPolicy"),
    ("rate-limit-inbound", "RateLimitInboundPolicy"),
    ("set-headers-inbound", "SetHeadersInboundPolicy"),
    ("remove-headers-inbound", "RemoveHeadersInboundPolicy"),
    ("set-upstream-api-key-inbound", "SetUpstreamApiKeyInboundPolicy"),
    ("audit-log-inbound", "AuditLogInboundPolicy"),
];

/// What routes may name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An MCP OAuth policy.
    Login,
    /// `mcp-access-inbound`.
    Access,
    /// Named, but with a problem of its own; nothing more can be said about routes that use it.
    Unusable,
}

pub(super) struct Entry {
    pub name: String,
    pub role: Role,
}

pub(super) struct Policies {
    pub entries: Vec<Entry>,
    /// Whether the file could be read, so that a name that is missing is really missing.
    pub complete: bool,
    login: Option<Login>,
    access: Vec<Access>,
    pub cors: CorsPolicies,
}

struct Access {
    name: String,
    rules: AccessRules,
    node: Node,
}

struct Login {
    name: String,
    options: LoginOptions,
    node: Node,
    /// The variables of the missing credentials, when the development login stands in.
    stand_in: Option<(String, String)>,
}

/// What there is to configure depends on the provider; some of it is the same for all.
enum LoginOptions {
    WorkOs(raw::WorkOs),
    Oidc(raw::Oidc),
}

impl LoginOptions {
    fn gateway(&self) -> &raw::Gateway {
        match self {
            Self::WorkOs(raw) => &raw.gateway,
            Self::Oidc(raw) => &raw.gateway,
        }
    }

    fn id_jag(&self) -> &raw::IdJag {
        match self {
            Self::WorkOs(raw) => &raw.id_jag,
            Self::Oidc(raw) => &raw.id_jag,
        }
    }

    /// The scope, and where it stands.
    fn scope(&self) -> (&str, &'static [&'static str]) {
        match self {
            Self::WorkOs(raw) => (&raw.scope, &["scope"]),
            Self::Oidc(raw) => (&raw.browser_login.scope, &["browserLogin", "scope"]),
        }
    }

    fn browser_login(&self) -> BrowserLogin {
        match self {
            Self::WorkOs(raw) => browser_login(&raw.browser_login_overrides),
            Self::Oidc(raw) => browser_login(&raw.browser_login.common()),
        }
    }
}

/// Reads `policies.json`.
pub(super) fn read(document: Option<Node>, mode: Mode, problems: &mut Problems) -> Policies {
    let mut policies = Policies {
        entries: Vec::new(),
        complete: false,
        login: None,
        access: Vec::new(),
        cors: CorsPolicies::default(),
    };
    let Some(mut document) = document else { return policies };
    policies.complete = matches!(document.get("policies").map(|node| &node.kind), Some(Kind::List(_)));
    let mut stand_in = None;
    if let Some(Kind::List(items)) = document.get_mut("policies").map(|node| &mut node.kind) {
        items.retain_mut(|item| {
            let supported = check_type(item, problems);
            if supported {
                stand_in = stand_in.take().or(stand_in_credentials(item, mode, problems));
            } else if let Some(name) = item.get("name").and_then(Node::as_text) {
                policies.entries.push(Entry { name: name.to_owned(), role: Role::Unusable });
            }
            supported
        });
    }
    let before = problems.count();
    let file: raw::Policies = schema::read(&mut document, problems);
    let whole = problems.count() == before;
    let nodes = document.get("corsPolicies").map(Node::items).unwrap_or_default();
    policies.cors = CorsPolicies::read(file.cors_policies, nodes, problems);
    let nodes = document.get("policies").map(Node::items).unwrap_or_default();
    for (policy, node) in file.policies.unwrap_or_default().into_iter().zip(nodes) {
        match policy {
            raw::Policy::WorkOs(policy) => {
                let options = policy.handler.and_then(|handler| handler.options).map(LoginOptions::WorkOs);
                policies.add_login(policy.name, options, node, stand_in.take(), problems);
            }
            raw::Policy::Oidc(policy) => {
                let options = policy.handler.and_then(|handler| handler.options).map(LoginOptions::Oidc);
                policies.add_login(policy.name, options, node, stand_in.take(), problems);
            }
            raw::Policy::Access(policy) => policies.add_access(policy, node, whole, problems),
        }
    }
    Policies::check_names(&document, problems);
    policies
}

impl Policies {
    pub fn is_login(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name && entry.role == Role::Login)
    }

    /// The scopes that can be granted; `None` when the login policy cannot be read.
    pub fn scopes(&self) -> Option<BTreeSet<String>> {
        let options = &self.login.as_ref()?.options;
        Some(options.gateway().scopes.keys().cloned().chain([gateway::BASE_SCOPE.to_owned()]).collect())
    }

    /// The access rules that the policy `name` makes.
    pub fn access_rules(&self, name: &str) -> Option<&AccessRules> {
        self.access.iter().find(|access| access.name == name).map(|access| &access.rules)
    }

    /// `whole`: nothing of the file was taken out for its shape.
    fn add_access(&mut self, policy: raw::PolicyOf<raw::Access>, node: &Node, whole: bool, problems: &mut Problems) {
        let Some(name) = policy.name else {
            self.complete = false;
            return;
        };
        self.entries.push(Entry { name: name.clone(), role: Role::Access });
        if let Some(options) = policy.handler.and_then(|handler| handler.options) {
            let node = node.find(&["handler", "options"]).into_owned();
            self.access.push(Access { name, rules: access::resolve(options, &node, whole, problems), node });
        }
    }

    fn add_login(
        &mut self,
        name: Option<String>,
        options: Option<LoginOptions>,
        node: &Node,
        stand_in: Option<(String, String)>,
        problems: &mut Problems,
    ) {
        let Some(name) = name else {
            self.complete = false;
            return;
        };
        self.entries.push(Entry { name: name.clone(), role: Role::Login });
        if let Some(first) = &self.login {
            let first = first.name.clone();
            if first == name {
                return;
            }
            problems
                .add("conflict", node.find(&["policyType"]).place, format!("`{name}` is a second MCP OAuth policy"))
                .help(format!("a project has one login for all its routes; keep `{first}` or this one"));
            return;
        }
        if let Some(options) = options {
            let node = node.find(&["handler", "options"]).into_owned();
            self.login = Some(Login { name, options, node, stand_in });
        }
    }

    fn check_names(document: &Node, problems: &mut Problems) {
        let mut seen: Vec<(&str, Place)> = Vec::new();
        let policies = document.get("policies").map(Node::items).unwrap_or_default();
        for name in policies.iter().filter_map(|policy| policy.get("name")) {
            let Some(text) = name.as_text() else { continue };
            if text.is_empty() || text.chars().any(char::is_control) {
                problems.add("value", name.place, "a policy needs a name").help("such as `workos`");
            } else if let Some((_, first)) = seen.iter().find(|(other, _)| *other == text) {
                let first = problems.locate(*first, name.place);
                problems
                    .add("duplicate", name.place, format!("there are two policies named `{text}`"))
                    .help(format!("the first stands {first}; names are unique"));
            } else {
                seen.push((text, name.place));
            }
        }
    }

    /// The login policy, typed. Anything wrong with it is in `problems`.
    pub fn resolve(&self, routes: &Known, problems: &mut Problems, notes: &mut Vec<String>) -> Option<LoginPolicy> {
        let login = self.login.as_ref()?;
        let raw = &login.options;
        if raw.id_jag().enabled {
            problems
                .add(
                    "unsupported",
                    login.node.find(&["idJag", "enabled"]).place,
                    "`idJag` is not supported yet in this version",
                )
                .help("leave `idJag` out, or set `enabled` to false");
        }
        let (scope, scope_at) = raw.scope();
        if scope.trim().is_empty() {
            problems
                .add("value", login.node.find(scope_at).place, "`scope` is empty")
                .help("the default is `openid profile email`");
        }
        let (provider, configured) = match raw {
            LoginOptions::WorkOs(raw) => {
                ("WorkOS", workos::resolve(raw, &login.node, problems).map(LoginProvider::WorkOs))
            }
            LoginOptions::Oidc(raw) => {
                ("the identity provider", oidc::resolve(raw, &login.node, problems).map(LoginProvider::Oidc))
            }
        };
        for policy in &self.access {
            access::check_clients(&policy.rules, &policy.node, &raw.gateway().clients, problems);
        }
        let gateway = gateway::resolve(raw.gateway(), &login.node.find(&["gateway"]), routes, problems, notes);
        let provider = match &login.stand_in {
            Some((id, secret)) => {
                notes.push(format!("{id} and {secret} are not set: the development login stands in for {provider}"));
                LoginProvider::Development
            }
            None => configured?,
        };
        Some(LoginPolicy {
            name: login.name.clone(),
            provider,
            scope: scope.to_owned(),
            browser_login: raw.browser_login(),
            gateway,
        })
    }
}

fn browser_login(raw: &raw::BrowserLogin) -> BrowserLogin {
    use std::time::Duration;
    BrowserLogin {
        remote_timeout: Duration::from_millis(raw.remote_timeout_ms),
        state_ttl: Duration::from_secs(raw.state_ttl_seconds),
        session_ttl: Duration::from_secs(raw.session_ttl_seconds),
        pkce: raw.pkce == raw::Pkce::S256,
    }
}

/// Whether the policy's type is one we have, with `module` and `export` in agreement.
fn check_type(policy: &Node, problems: &mut Problems) -> bool {
    check_module(&policy.find(&["handler"]), problems);
    let export = policy.at(&["handler", "export"]);
    // A missing or ill-typed `policyType` is the schema's to report.
    let Some(kind) = policy.get("policyType") else { return true };
    let Some(text) = kind.as_text() else { return true };
    let Some((_, right)) = TYPES.iter().find(|(name, _)| *name == text) else {
        problems.add("value", kind.place, format!("there is no policy type {}", kind.shown())).nearest(
            text,
            TYPES.iter().map(|(name, _)| *name),
            supported(),
        );
        return false;
    };
    if let Some(export) = export
        && let Some(given) = export.as_text()
        && given != *right
    {
        problems
            .add("value", export.place, format!("`export` does not belong to `{text}`"))
            .help(format!("write `{right}`, or leave `export` out"));
    }
    if !SUPPORTED.contains(&text) {
        problems
            .add("unsupported", kind.place, format!("`{text}` is not supported yet in this version"))
            .help(supported());
        return false;
    }
    true
}

fn supported() -> String {
    format!("this version has {}", SUPPORTED.map(|name| format!("`{name}`")).join(", "))
}

/// `module` of a policy's or a route's handler.
pub(super) fn check_module(handler: &Node, problems: &mut Problems) {
    let Some(module) = handler.get("module") else { return };
    let Some(text) = module.as_text() else { return };
    if ["$import(@zuplo/runtime/mcp-gateway)", "$import(@zuplo/runtime)"].contains(&text) {
        return;
    }
    if text.starts_with("$import(./") || text.starts_with("$import(../") {
        problems
            .add("unsupported", module.place, "TypeScript modules of a project cannot run in doorward")
            .help("use a built-in policy type or `McpProxyHandler` here, and put own logic into the MCP server or a proxy in front of it");
    } else {
        problems
            .add("value", module.place, format!("unknown module {}", module.shown()))
            .help("write `$import(@zuplo/runtime/mcp-gateway)`, or leave `module` out");
    }
}

/// In `dev`, credentials that both are variables without a value make room for the development login. The
/// variables' names, if so; one without the other is a problem.
fn stand_in_credentials(policy: &mut Node, mode: Mode, problems: &mut Problems) -> Option<(String, String)> {
    if mode != Mode::Dev {
        return None;
    }
    let is_oidc = policy.get("policyType").and_then(Node::as_text) == Some(OIDC);
    let options = policy.get_mut("handler")?.get_mut("options")?;
    let filled = if is_oidc { stand_in_oidc(options, problems) } else { stand_in_pair(options, problems) };
    if is_oidc && filled.is_some() {
        // The issuer may come from the same environment as the credentials.
        if let Some(issuer) = options.get_mut("oidc").and_then(|oidc| oidc.get_mut("issuer"))
            && matches!(issuer.kind, Kind::Unset(_))
        {
            issuer.kind = Kind::Text("https://development.invalid".to_owned());
        }
    }
    filled
}

/// The credentials in `browserLogin`; a private key takes the secret's place.
fn stand_in_oidc(options: &mut Node, problems: &mut Problems) -> Option<(String, String)> {
    let login = options.get_mut("browserLogin")?;
    if let Kind::Object(members) = &mut login.kind
        && members.iter().any(|member| member.name == "clientId" && matches!(member.value.kind, Kind::Unset(_)))
        && members.iter().all(|member| member.name != "clientSecret")
    {
        members.retain(|member| !matches!(member.name.as_str(), "privateKeyId" | "tokenEndpointAuthMethod"));
        let key = members.iter_mut().find(|member| member.name == "privateKey");
        if let Some(key) = key.filter(|key| matches!(key.value.kind, Kind::Unset(_))) {
            "clientSecret".clone_into(&mut key.name);
        }
    }
    stand_in_pair(login, problems)
}

fn stand_in_pair(options: &mut Node, problems: &mut Problems) -> Option<(String, String)> {
    let unset = |node: Option<&Node>| match node.map(|node| &node.kind) {
        Some(Kind::Unset(variable)) if !variable.is_empty() => Some(variable.clone()),
        _ => None,
    };
    let missing = (unset(options.get("clientId")), unset(options.get("clientSecret")));
    let (key, other, variable) = match &missing {
        (Some(id), None) if options.get("clientSecret").is_some() => ("clientId", "clientSecret", id),
        (None, Some(secret)) if options.get("clientId").is_some() => ("clientSecret", "clientId", secret),
        (Some(id), Some(secret)) => {
            let pair = (id.clone(), secret.clone());
            fill(options, "clientId", "client_development");
            fill(options, "clientSecret", "sk_development");
            return Some(pair);
        }
        _ => return None,
    };
    problems
        .add(
            "environment",
            options.find(&[key]).place,
            format!("`{key}` needs the environment variable {variable}, which is not set, while `{other}` has a value"),
        )
        .help(format!("set {variable}; or unset both, and `doorward dev` uses its development login"));
    fill(options, key, if key == "clientId" { "client_development" } else { "sk_development" });
    None
}

fn fill(options: &mut Node, key: &str, value: &str) {
    if let Some(node) = options.get_mut(key) {
        node.kind = Kind::Text(value.to_owned());
    }
}
