//! `policies.json`: which policies there are, which of them is the login, and what the others make of the routes that
//! name them (gateway.md §2, §3).

use std::collections::BTreeSet;

use super::cors::CorsPolicies;
use super::diagnostic::{Place, Problems};
use super::document::{Kind, Node};
use super::login::{Login, LoginOptions, Resolved, stand_in_credentials};
use super::model::{AccessRules, AuditLog, CapabilityFilter, HeaderChange, RateLimit};
use super::routes::Known;
use super::token_exchange::{self, Credential};
use super::{Mode, access, audit_log, capability_filter, headers, rate_limit, raw, schema};

pub(super) const WORKOS: &str = "mcp-workos-oauth-inbound";
pub(super) const OIDC: &str = "mcp-oauth-inbound";
pub(super) const AUTHKIT: &str = "mcp-authkit-inbound";
const TOKEN_EXCHANGE: &str = "mcp-token-exchange-inbound";

const TYPES_HELP: &str = "`doorward schema policies` shows those of this version";

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
    (AUTHKIT, "McpAuthKitInboundPolicy"),
    (TOKEN_EXCHANGE, "McpTokenExchangeInboundPolicy"),
    ("mcp-capability-filter-inbound", "McpCapabilityFilterInboundPolicy"),
    ("mcp-access-inbound", "McpAccessInboundPolicy"),
    ("rate-limit-inbound", "RateLimitInboundPolicy"),
    ("set-headers-inbound", "SetHeadersInboundPolicy"),
    ("remove-headers-inbound", "RemoveHeadersInboundPolicy"),
    ("set-upstream-api-key-inbound", "SetUpstreamApiKeyInboundPolicy"),
    ("audit-log-inbound", "AuditLogInboundPolicy"),
];
/// An export that goes by a second name in projects of Zuplo's gateway.
const EXPORT_ALIASES: &[(&str, &str)] = &[("AuditLogsInboundPolicy", "AuditLogInboundPolicy")];

/// What routes may name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An MCP OAuth policy.
    Login,
    /// A policy that makes a [`Rule`].
    Rule,
    /// Named, but with a problem of its own; nothing more can be said about routes that use it.
    Unusable,
}

pub(super) struct Entry {
    pub name: String,
    pub role: Role,
}

/// What a policy that is no login makes of the routes that name it.
pub(super) enum Rule {
    Access(AccessRules),
    Headers(Vec<HeaderChange>),
    RateLimit(RateLimit),
    Filter(CapabilityFilter),
    AuditLog(AuditLog),
    Credential(Box<Credential>),
}

impl Rule {
    /// Whether it is about the person who calls, so that a public route cannot have it.
    pub fn needs_person(&self) -> bool {
        match self {
            // A credential is lent to people whom the gateway knows.
            Self::Access(_) | Self::Credential(_) => true,
            Self::Headers(_) | Self::AuditLog(_) => false,
            Self::RateLimit(limit) => limit.by.needs_token(),
            Self::Filter(filter) => filter.needs_caller(),
        }
    }
}

/// A policy that makes a rule.
struct RulePolicy {
    name: String,
    rule: Rule,
    /// Its options.
    node: Node,
}

pub(super) struct Policies {
    pub entries: Vec<Entry>,
    /// Whether the file could be read, so that a name that is missing is really missing.
    pub complete: bool,
    login: Option<Login>,
    rules: Vec<RulePolicy>,
    pub cors: CorsPolicies,
}

/// Reads `policies.json`.
pub(super) fn read(document: Option<Node>, mode: Mode, problems: &mut Problems) -> Policies {
    let mut policies = Policies {
        entries: Vec::new(),
        complete: false,
        login: None,
        rules: Vec::new(),
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
                if item.get("policyType").and_then(Node::as_text) == Some(TOKEN_EXCHANGE) {
                    token_exchange::check_secrets(item, problems);
                }
            } else if let Some(name) = item.get("name").and_then(Node::as_text) {
                policies.entries.push(Entry { name: name.to_owned(), role: Role::Unusable });
            }
            supported
        });
    }
    let before = problems.count();
    let file: raw::Policies = schema::read(&mut document, problems);
    // Nothing of the file was taken out for its shape.
    let whole = problems.count() == before;
    let nodes = document.get("corsPolicies").map(Node::items).unwrap_or_default();
    policies.cors = CorsPolicies::read(file.cors_policies, nodes, problems);
    let nodes = document.get("policies").map(Node::items).unwrap_or_default();
    for (policy, node) in file.policies.unwrap_or_default().into_iter().zip(nodes) {
        let mut login = |policy| policies.add_login(policy, node, stand_in.take(), problems);
        match policy {
            raw::Policy::WorkOs(policy) => login(policy.map(LoginOptions::WorkOs)),
            raw::Policy::Oidc(policy) => login(policy.map(LoginOptions::Oidc)),
            raw::Policy::Auth0(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Cognito(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Clerk(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Entra(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Google(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Keycloak(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Logto(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Okta(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::OneLogin(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::Ping(policy) => login(policy.map(LoginOptions::provider)),
            raw::Policy::AuthKit(policy) => login(policy.map(LoginOptions::AuthKit)),
            raw::Policy::Access(policy) => policies.add_rule(policy, node, |options, node| {
                Some(Rule::Access(access::resolve(options, node, whole, problems)))
            }),
            raw::Policy::SetHeaders(policy) => policies
                .add_rule(policy, node, |options, node| Some(Rule::Headers(headers::set(&options, node, problems)))),
            raw::Policy::RemoveHeaders(policy) => policies
                .add_rule(policy, node, |options, node| Some(Rule::Headers(headers::remove(&options, node, problems)))),
            raw::Policy::SetUpstreamApiKey(policy) => policies.add_rule(policy, node, |options, node| {
                Some(Rule::Headers(headers::set_api_key(&options, node, problems)))
            }),
            raw::Policy::AuditLog(policy) => {
                policies.add_rule(policy, node, |options, node| {
                    Some(Rule::AuditLog(audit_log::resolve(&options, node, problems)))
                });
            }
            raw::Policy::RateLimit(policy) => {
                let name = policy.name.clone().unwrap_or_default();
                policies.add_rule(policy, node, |options, node| {
                    rate_limit::resolve(&name, &options, node, problems).map(Rule::RateLimit)
                });
            }
            raw::Policy::TokenExchange(policy) => policies.add_rule(policy, node, |options, own| {
                token_exchange::resolve(&node.find(&["name"]), options, own, problems).map(Rule::Credential)
            }),
            raw::Policy::CapabilityFilter(policy) => policies.add_rule(policy, node, |options, node| {
                Some(Rule::Filter(capability_filter::resolve(options, node, whole, problems)))
            }),
        }
    }
    Policies::check_names(&document, problems);
    policies.check_credential_ids(problems);
    policies
}

impl Policies {
    pub fn is_login(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name && entry.role == Role::Login)
    }

    /// The scopes that can be granted; `None` when the login policy cannot be read, or is not ours to ask.
    pub fn scopes(&self) -> Option<BTreeSet<String>> {
        self.login.as_ref().and_then(Login::scopes)
    }

    /// What the policy `name` makes of a route.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|policy| policy.name == name).map(|policy| &policy.rule)
    }

    /// `make` is given the options and their node; nothing comes of it after a problem.
    fn add_rule<O>(&mut self, policy: raw::PolicyOf<O>, node: &Node, make: impl FnOnce(O, &Node) -> Option<Rule>) {
        let Some(name) = policy.name else {
            self.complete = false;
            return;
        };
        self.entries.push(Entry { name: name.clone(), role: Role::Rule });
        if let Some(options) = policy.handler.and_then(|handler| handler.options) {
            let node = node.find(&["handler", "options"]).into_owned();
            if let Some(rule) = make(options, &node) {
                self.rules.push(RulePolicy { name, rule, node });
            }
        }
    }

    fn add_login(
        &mut self,
        policy: raw::PolicyOf<LoginOptions>,
        node: &Node,
        stand_in: Option<Vec<String>>,
        problems: &mut Problems,
    ) {
        let Some(name) = policy.name else {
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
        if let Some(options) = policy.handler.and_then(|handler| handler.options) {
            self.login = Some(Login::new(name, options, node, stand_in));
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

    /// What is stored for one server must not be taken for another's.
    fn check_credential_ids(&self, problems: &mut Problems) {
        let mut seen: Vec<(&str, Place)> = Vec::new();
        for policy in &self.rules {
            let Rule::Credential(credential) = &policy.rule else { continue };
            let place = policy.node.find(&["id"]).place;
            if let Some((_, first)) = seen.iter().find(|(id, _)| *id == credential.id) {
                let first = problems.locate(*first, place);
                problems
                    .add(
                        "duplicate",
                        place,
                        format!("there are two token exchange policies with the id `{}`", credential.id),
                    )
                    .help(format!("the first stands {first}; give one of them an `id` of its own"));
            } else {
                seen.push((&credential.id, place));
            }
        }
    }

    /// The login policy, typed, and what the rules say of its clients. Anything wrong is in `problems`.
    pub fn resolve(&self, routes: &Known, problems: &mut Problems, notes: &mut Vec<String>) -> Option<Resolved> {
        let login = self.login.as_ref()?;
        for policy in &self.rules {
            match &policy.rule {
                Rule::Access(rules) => {
                    if let Some(clients) = login.static_clients() {
                        access::check_clients(rules, &policy.node, clients, problems);
                    }
                }
                Rule::Filter(_) => {
                    let own_claim = |option: &str| login.option(option);
                    capability_filter::check_against_login(&policy.node, login.scopes().as_ref(), own_claim, problems);
                }
                Rule::Credential(credential) if login.is_direct() => credential.check_direct(&policy.node, problems),
                Rule::Credential(credential) if !login.has_id_token() => {
                    credential.check_id_token(&policy.node, problems);
                }
                Rule::Headers(_) | Rule::RateLimit(_) | Rule::AuditLog(_) | Rule::Credential(_) => {}
            }
        }
        login.resolve(routes, problems, notes)
    }
}

/// Whether the policy's type is one we have, with `module` and `export` in agreement.
fn check_type(policy: &Node, problems: &mut Problems) -> bool {
    if !check_module(&policy.find(&["handler"]), problems) {
        return false;
    }
    let export = policy.at(&["handler", "export"]);
    // A missing or ill-typed `policyType` is the schema's to report.
    let Some(kind) = policy.get("policyType") else { return true };
    let Some(text) = kind.as_text() else { return true };
    let Some((_, right)) = TYPES.iter().find(|(name, _)| *name == text) else {
        problems.add("value", kind.place, format!("there is no policy type {}", kind.shown())).nearest(
            text,
            TYPES.iter().map(|(name, _)| *name),
            TYPES_HELP,
        );
        return false;
    };
    if let Some(export) = export
        && let Some(given) = export.as_text()
        && given != *right
        && !EXPORT_ALIASES.contains(&(given, *right))
    {
        problems
            .add("value", export.place, format!("`export` does not belong to `{text}`"))
            .help(format!("write `{right}`, or leave `export` out"));
    }
    true
}

/// `module` of a policy's or a route's handler. False when it is the project's own, of which nothing more can be said.
pub(super) fn check_module(handler: &Node, problems: &mut Problems) -> bool {
    let Some(module) = handler.get("module") else { return true };
    let Some(text) = module.as_text() else { return true };
    if ["$import(@zuplo/runtime/mcp-gateway)", "$import(@zuplo/runtime)"].contains(&text) {
        return true;
    }
    if text.starts_with("$import(./") || text.starts_with("$import(../") {
        problems
            .add("unsupported", module.place, "TypeScript modules of a project cannot run in doorward")
            .help("use a built-in policy type or `McpProxyHandler` here, and put own logic into the MCP server or a proxy in front of it");
        return false;
    }
    problems
        .add("value", module.place, format!("unknown module {}", module.shown()))
        .help("write `$import(@zuplo/runtime/mcp-gateway)`, or leave `module` out");
    true
}
