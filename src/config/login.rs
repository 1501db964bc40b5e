//! The login policy: which provider signs people in, and the development login in its place (gateway.md §3, §6).

use std::collections::BTreeSet;

use super::diagnostic::Problems;
use super::document::{Kind, Node};
use super::model::{BrowserLogin, DirectPolicy, LoginPolicy, LoginProvider, ResourceDescription};
use super::policies::{AUTHKIT, OIDC};
use super::routes::Known;
use super::{Mode, authkit, gateway, id_jag, oidc, providers, raw, workos};

/// The MCP OAuth policy of a project.
pub(super) struct Login {
    pub name: String,
    options: LoginOptions,
    node: Node,
    /// The variables of the missing credentials, when the development login stands in.
    stand_in: Option<Vec<String>>,
}

/// What there is to configure depends on the provider; some of it is the same for all.
pub(super) enum LoginOptions {
    WorkOs(raw::WorkOs),
    Oidc(raw::Oidc),
    Provider(raw::Provider),
    AuthKit(raw::AuthKit),
}

/// What becomes of the policy: the gateway's own authorization server, or AuthKit's.
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub(super) enum Resolved {
    Login(LoginPolicy),
    Direct(DirectPolicy),
}

impl LoginOptions {
    /// Those of a policy with derived endpoints.
    pub fn provider(raw: impl Into<raw::Provider>) -> Self {
        Self::Provider(raw.into())
    }

    fn gateway(&self) -> &raw::Gateway {
        match self {
            Self::WorkOs(raw) => &raw.gateway,
            Self::Oidc(raw) => &raw.gateway,
            Self::Provider(raw) => raw.common().gateway,
            Self::AuthKit(raw) => &raw.gateway,
        }
    }

    fn id_jag(&self) -> &raw::IdJag {
        match self {
            Self::WorkOs(raw) => &raw.id_jag,
            Self::Oidc(raw) => &raw.id_jag,
            Self::Provider(raw) => raw.common().id_jag,
            Self::AuthKit(raw) => &raw.id_jag,
        }
    }

    /// The scope, and where it stands.
    fn scope(&self) -> (&str, &'static [&'static str]) {
        match self {
            Self::WorkOs(raw) => (&raw.scope, &["scope"]),
            Self::Oidc(raw) => (&raw.browser_login.scope, &["browserLogin", "scope"]),
            Self::Provider(raw) => (raw.common().scope, &["scope"]),
            Self::AuthKit(raw) => (&raw.scope, &["scope"]),
        }
    }

    fn browser_login(&self) -> BrowserLogin {
        match self {
            Self::WorkOs(raw) => browser_login(&raw.browser_login_overrides),
            Self::Oidc(raw) => browser_login(&raw.browser_login.common()),
            Self::Provider(raw) => browser_login(raw.common().browser_login_overrides),
            Self::AuthKit(raw) => browser_login(&raw.browser_login_overrides),
        }
    }
}

impl Login {
    /// `policy` is the whole policy's node.
    pub fn new(name: String, options: LoginOptions, policy: &Node, stand_in: Option<Vec<String>>) -> Self {
        Self { name, options, node: policy.find(&["handler", "options"]).into_owned(), stand_in }
    }

    /// Direct mode, unless the development login stands in for it.
    fn direct(&self) -> Option<&raw::AuthKit> {
        match &self.options {
            LoginOptions::AuthKit(raw) if raw.mode == raw::AuthKitMode::Dcr && self.stand_in.is_none() => Some(raw),
            _ => None,
        }
    }

    /// The text of one of its options.
    pub fn option(&self, name: &str) -> Option<String> {
        self.node.get(name).and_then(Node::as_text).map(str::to_owned)
    }

    /// Whether AuthKit issues the tokens, as the project has it.
    pub fn is_direct(&self) -> bool {
        matches!(self.options, LoginOptions::AuthKit(raw::AuthKit { mode: raw::AuthKitMode::Dcr, .. }))
    }

    /// Whether the provider proves a sign-in with an ID token.
    pub fn has_id_token(&self) -> bool {
        !matches!(self.options, LoginOptions::WorkOs(_))
    }

    /// The scopes that can be granted; `None` where that is AuthKit's to say.
    pub fn scopes(&self) -> Option<BTreeSet<String>> {
        if self.is_direct() {
            return None;
        }
        Some(self.options.gateway().scopes.keys().cloned().chain([gateway::BASE_SCOPE.to_owned()]).collect())
    }

    /// The clients that the operator vouches for; `None` where AuthKit has the clients.
    pub fn static_clients(&self) -> Option<&[raw::StaticClient]> {
        self.direct().is_none().then(|| self.options.gateway().clients.as_slice())
    }

    /// The policy, typed. Anything wrong with it is in `problems`.
    pub fn resolve(&self, routes: &Known, problems: &mut Problems, notes: &mut Vec<String>) -> Option<Resolved> {
        match self.direct() {
            Some(raw) => authkit::direct(&self.name, raw, &self.node, problems, notes).map(Resolved::Direct),
            None => self.resolve_login(routes, problems, notes).map(Resolved::Login),
        }
    }

    fn resolve_login(&self, routes: &Known, problems: &mut Problems, notes: &mut Vec<String>) -> Option<LoginPolicy> {
        let raw = &self.options;
        let (scope, scope_at) = raw.scope();
        if scope.trim().is_empty() {
            problems
                .add("value", self.node.find(scope_at).place, "`scope` is empty")
                .help("the default is `openid profile email`");
        }
        let (provider, configured) = match raw {
            LoginOptions::WorkOs(raw) => {
                ("WorkOS", workos::resolve(raw, &self.node, problems).map(LoginProvider::WorkOs))
            }
            // Only where the development login stands in: it is read for its problems.
            LoginOptions::AuthKit(raw) if raw.mode == raw::AuthKitMode::Dcr => {
                authkit::direct(&self.name, raw, &self.node, problems, notes);
                ("AuthKit", None)
            }
            LoginOptions::AuthKit(raw) => {
                ("AuthKit", authkit::preregistered(raw, &self.node, problems).map(LoginProvider::AuthKit))
            }
            LoginOptions::Oidc(raw) => {
                ("the identity provider", oidc::resolve(raw, &self.node, problems).map(LoginProvider::Oidc))
            }
            LoginOptions::Provider(raw) => {
                if self.stand_in.is_none() {
                    providers::check_account(raw, &self.node, problems);
                }
                (providers::name(raw), providers::resolve(raw, &self.node, problems).map(LoginProvider::Oidc))
            }
        };
        let trusted_issuers =
            id_jag::resolve(raw.id_jag(), &self.node, configured.as_ref(), &raw.gateway().clients, problems);
        let gateway = gateway::resolve(raw.gateway(), &self.node.find(&["gateway"]), routes, problems, notes);
        let provider = match &self.stand_in {
            Some(missing) => {
                let are = if missing.len() == 1 { "is" } else { "are" };
                let missing = missing.join(" and ");
                notes.push(format!("{missing} {are} not set: the development login stands in for {provider}"));
                LoginProvider::Development
            }
            None => configured?,
        };
        Some(LoginPolicy {
            name: self.name.clone(),
            provider,
            scope: scope.to_owned(),
            browser_login: raw.browser_login(),
            trusted_issuers,
            gateway,
            resource: match raw {
                LoginOptions::AuthKit(raw) => authkit::resource(raw),
                _ => ResourceDescription::default(),
            },
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

/// In `dev`, credentials that are variables without a value make room for the development login. The variables' names,
/// if so; one of a pair without the other is a problem.
pub(super) fn stand_in_credentials(policy: &mut Node, mode: Mode, problems: &mut Problems) -> Option<Vec<String>> {
    if mode != Mode::Dev {
        return None;
    }
    let kind = policy.get("policyType").and_then(Node::as_text);
    let (is_oidc, is_authkit) = (kind == Some(OIDC), kind == Some(AUTHKIT));
    let options = policy.get_mut("handler")?.get_mut("options")?;
    if is_authkit {
        return stand_in_authkit(options);
    }
    let filled = if is_oidc { stand_in_oidc(options, problems) } else { stand_in_pair(options, problems) };
    if filled.is_some() {
        providers::fill_for_development(options);
    }
    if is_oidc && filled.is_some() {
        // The issuer may come from the same environment as the credentials.
        if let Some(issuer) = options.get_mut("oidc").and_then(|oidc| oidc.get_mut("issuer"))
            && matches!(issuer.kind, Kind::Unset(_))
        {
            issuer.kind = Kind::Text("https://development.invalid".to_owned());
        }
    }
    filled.map(|(id, secret)| vec![id, secret])
}

/// What names AuthKit is its domain; without it, nothing else is looked at.
fn stand_in_authkit(options: &mut Node) -> Option<Vec<String>> {
    let Kind::Unset(variable) = &options.get("authkitDomain")?.kind else { return None };
    let variable = variable.clone();
    for (key, value) in
        [("authkitDomain", "development"), ("clientId", "client_development"), ("apiKey", "sk_development")]
    {
        if options.get(key).is_some_and(|node| matches!(node.kind, Kind::Unset(_))) {
            fill(options, key, value);
        }
    }
    Some(vec![variable])
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
