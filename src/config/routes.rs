//! `*.oas.json`: the MCP routes and the rules between them and the policies (gateway.md §2, §10).

mod credentials;
mod operation;

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::diagnostic::{Place, Problems};
use super::document::Node;
use super::model::{
    AccessRules, AuditLog, CapabilityFilter, ForwardIdentity, HeaderChange, ProxyOptions, RateLimit, Route,
};
use super::policies::{Policies, Role, Rule};
use super::{addresses, client_certificate, raw};
use crate::oauth::scope::ScopeSet;
use credentials::Credentials;
pub(super) use operation::{Operation, read};

/// The routes, typed, after the rules between them.
pub(super) fn resolve(
    operations: &[Operation],
    folder: &Path,
    policies: &Policies,
    problems: &mut Problems,
) -> Vec<Route> {
    check_unique(operations, problems);
    let mut credentials = Credentials::default();
    operations
        .iter()
        .filter_map(|operation| {
            check_policies(operation, policies, problems);
            let cors = operation.settings.as_ref().and_then(|settings| settings.cors_policy.as_deref());
            let cors = policies.cors.of_route(cors, operation.find(&["corsPolicy"]).place, problems);
            let proxy = proxy(operation, folder, problems)?;
            let credential = credentials.of_route(operation, policies, &proxy.upstream, problems);
            Some(Route {
                cors,
                operation_id: operation.id.clone()?,
                path: operation.path.clone(),
                summary: operation.summary.clone(),
                description: operation.description.clone(),
                proxy,
                required_scopes: required_scopes(operation, policies, problems),
                access: access_rules(operation, policies),
                header_changes: header_changes(operation, policies),
                rate_limits: rate_limits(operation, policies),
                filters: filters(operation, policies),
                audit: audit(operation, policies),
                credential,
            })
        })
        .collect()
}

/// Each is one that the login policy can grant.
fn required_scopes(operation: &Operation, policies: &Policies, problems: &mut Problems) -> ScopeSet {
    let options = operation.settings.as_ref().and_then(|settings| settings.handler.as_ref()?.options.as_ref());
    let Some(options) = options.filter(|options| !options.required_scopes.is_empty()) else {
        return ScopeSet::default();
    };
    let node = operation.find(&["handler", "options", "requiredScopes"]);
    if options.public {
        problems
            .add("conflict", node.place, format!("the route `{}` is public, so nobody brings scopes", operation.path))
            .help("remove one of `public` and `requiredScopes`");
    }
    if let Some(known) = policies.scopes() {
        for (index, name) in options.required_scopes.iter().enumerate().filter(|(_, name)| !known.contains(*name)) {
            let entry = node.find(&[&index.to_string()]);
            problems.add("reference", entry.place, format!("there is no scope {}", entry.shown())).nearest(
                name,
                known.iter().map(String::as_str),
                "add it to `gateway.scopes`",
            );
        }
    }
    options.required_scopes.iter().cloned().collect()
}

/// What the policies named by the route make of it, in their order.
fn rules<'a>(operation: &'a Operation, policies: &'a Policies) -> impl Iterator<Item = &'a Rule> {
    let named = operation.settings.iter().flat_map(|settings| &settings.policies.inbound);
    named.filter_map(|name| policies.rule(name))
}

fn access_rules(operation: &Operation, policies: &Policies) -> Vec<AccessRules> {
    rules(operation, policies)
        .filter_map(|rule| match rule {
            Rule::Access(rules) => Some(rules.clone()),
            _ => None,
        })
        .collect()
}

fn audit(operation: &Operation, policies: &Policies) -> Option<AuditLog> {
    rules(operation, policies).find_map(|rule| match rule {
        Rule::AuditLog(audit) => Some(audit.clone()),
        _ => None,
    })
}

fn rate_limits(operation: &Operation, policies: &Policies) -> Vec<RateLimit> {
    rules(operation, policies)
        .filter_map(|rule| match rule {
            Rule::RateLimit(limit) => Some(limit.clone()),
            _ => None,
        })
        .collect()
}

fn filters(operation: &Operation, policies: &Policies) -> Vec<CapabilityFilter> {
    rules(operation, policies)
        .filter_map(|rule| match rule {
            Rule::Filter(filter) => Some(filter.clone()),
            _ => None,
        })
        .collect()
}

/// In the order in which the route names its policies.
fn header_changes(operation: &Operation, policies: &Policies) -> Vec<HeaderChange> {
    rules(operation, policies)
        .filter_map(|rule| match rule {
            Rule::Headers(changes) => Some(changes.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn check_unique(operations: &[Operation], problems: &mut Problems) {
    for (index, operation) in operations.iter().enumerate() {
        let earlier = &operations[..index];
        if let Some(first) = earlier.iter().find(|other| other.path == operation.path) {
            let first = problems.locate(first.place, operation.place);
            problems
                .add("duplicate", operation.place, format!("the path `{}` is taken", operation.path))
                .help(format!("it was first given {first}; paths are unique in a project"));
        }
        let Some(id) = &operation.id else { continue };
        let place = operation.node.find(&["operationId"]).place;
        if id.is_empty() || id.len() > 200 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems
                .add("value", place, "an `operationId` is 1 to 200 printable ASCII characters without blanks")
                .help("such as `linear`");
        } else if let Some(first) = earlier.iter().find(|other| other.id.as_ref() == Some(id)) {
            let first = problems.locate(first.node.find(&["operationId"]).place, place);
            problems
                .add("duplicate", place, format!("the operationId `{id}` is taken"))
                .help(format!("it was first given {first}; each route has its own"));
        }
    }
}

/// Names resolve, and there is a login unless the route is public.
fn check_policies(operation: &Operation, policies: &Policies, problems: &mut Problems) {
    let Some(settings) = &operation.settings else { return };
    if !settings.policies.outbound.is_empty() {
        problems
            .add(
                "unsupported",
                operation.find(&["policies", "outbound"]).place,
                "outbound policies are not supported yet in this version",
            )
            .help("leave the list empty");
    }
    let mut has_login = !policies.complete;
    let inbound = operation.find(&["policies", "inbound"]);
    for (index, name) in settings.policies.inbound.iter().enumerate() {
        let place = inbound.find(&[&index.to_string()]).place;
        if settings.policies.inbound[..index].contains(name) {
            problems.add("duplicate", place, format!("`{name}` stands twice on this route")).help("keep one");
        }
        match policies.entries.iter().find(|entry| entry.name == *name) {
            Some(entry) => has_login |= matches!(entry.role, Role::Login | Role::Unusable),
            None if policies.complete => {
                has_login = true;
                problems.add("reference", place, format!("there is no policy named `{name}`")).nearest(
                    name,
                    policies.entries.iter().map(|entry| entry.name.as_str()),
                    "add it to policies.json",
                );
            }
            None => {}
        }
    }
    check_one_login(operation, settings, policies, problems);
    credentials::check(operation, settings, policies, problems);
    let Some(options) = settings.handler.as_ref().and_then(|handler| handler.options.as_ref()) else { return };
    if !has_login && !options.public {
        problems
            .add("conflict", operation.place, format!("the route `{}` has no login policy", operation.path))
            .help("name one under `policies.inbound`; for a server that everyone may use, set `\"public\": true` in the handler's options");
    }
    if let Some(name) =
        settings.policies.inbound.iter().find(|name| policies.rule(name).is_some_and(Rule::needs_person))
        && options.public
    {
        problems
            .add(
                "conflict",
                operation.find(&["handler", "options", "public"]).place,
                format!("the route `{}` is public, so `{name}` cannot tell who calls", operation.path),
            )
            .help("name a login policy too and take `public` out, or take the policy out");
    }
    if options.public && !matches!(options.forward_identity, raw::ForwardIdentity::None) {
        problems
            .add(
                "conflict",
                operation.find(&["handler", "options", "forwardIdentity"]).place,
                format!("the route `{}` is public, so there is nobody to tell its server about", operation.path),
            )
            .help("remove one of `public` and `forwardIdentity`");
    }
    let login_named = settings.policies.inbound.iter().any(|name| policies.is_login(name));
    if login_named && options.public {
        problems
            .add(
                "conflict",
                operation.find(&["handler", "options", "public"]).place,
                format!("the route `{}` is public and has a login policy", operation.path),
            )
            .help("remove one of the two");
    }
}

fn check_one_login(operation: &Operation, settings: &raw::RouteSettings, policies: &Policies, problems: &mut Problems) {
    let mut logins: Vec<&String> = settings.policies.inbound.iter().filter(|name| policies.is_login(name)).collect();
    logins.dedup();
    if let [first, _, ..] = logins.as_slice() {
        problems
            .add("conflict", operation.find(&["policies", "inbound"]).place, "a route has one MCP OAuth policy")
            .help(format!("keep `{first}` or the other"));
    }
}

fn proxy(operation: &Operation, folder: &Path, problems: &mut Problems) -> Option<ProxyOptions> {
    let raw = operation.settings.as_ref()?.handler.as_ref()?.options.as_ref()?;
    let node = operation.find(&["handler", "options", "rewritePattern"]);
    let upstream = upstream(raw.rewrite_pattern.as_deref()?, node.place, problems)?;
    let listed = operation.find(&["handler", "options", "addresses"]);
    let addresses = raw.addresses.as_deref().map(|names| addresses::resolve(names, &upstream, &listed, problems));
    let certificate = operation.find(&["handler", "options", "mtlsCertificate"]);
    let client_certificate = raw
        .mtls_certificate
        .as_deref()
        .and_then(|text| client_certificate::resolve(text, folder, &upstream, &certificate, problems));
    Some(ProxyOptions {
        addresses: addresses.unwrap_or_default(),
        client_certificate,
        upstream,
        forward_search: raw.forward_search,
        follow_redirects: raw.follow_redirects,
        public: raw.public,
        forward_identity: match raw.forward_identity {
            raw::ForwardIdentity::None => ForwardIdentity::None,
            raw::ForwardIdentity::Headers => ForwardIdentity::Headers,
            raw::ForwardIdentity::Assertion => ForwardIdentity::Assertion,
        },
        connect_timeout: Duration::from_millis(raw.connect_timeout_ms),
        first_byte_timeout: Duration::from_millis(raw.first_byte_timeout_ms),
        stream_keep_alive: (raw.stream_keep_alive_ms > 0).then(|| Duration::from_millis(raw.stream_keep_alive_ms)),
        max_body: raw.max_body_bytes,
    })
}

/// The URL behind a route. Its text is not repeated: it may hold a key.
fn upstream(text: &str, place: Place, problems: &mut Problems) -> Option<Url> {
    if let Some(problem) = upstream_problem(text) {
        problems
            .add("value", place, problem)
            .help("give the URL of the MCP endpoint, such as `https://mcp.example.com/mcp`");
        return None;
    }
    Url::parse(text).ok()
}

/// Why `text` cannot be a `rewritePattern`.
pub(crate) fn upstream_problem(text: &str) -> Option<&'static str> {
    match Url::parse(text) {
        _ if text.contains("${") => Some("`rewritePattern` knows `${env.NAME}` and no other placeholder"),
        Err(_) => Some("`rewritePattern` is not a URL"),
        Ok(url) if !["http", "https"].contains(&url.scheme()) => Some("`rewritePattern` must be an http or https URL"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Some("`rewritePattern` must not hold a user or password")
        }
        Ok(url) if url.fragment().is_some() => Some("`rewritePattern` must not hold a fragment"),
        Ok(_) => None,
    }
}

/// The routes by name, for options that point at one.
pub(super) struct Known {
    paths: Vec<String>,
    /// Whether all of them are known; if not, a name that is missing is not reported.
    complete: bool,
}

impl Known {
    pub fn new(operations: &[Operation], complete: bool) -> Self {
        Self { paths: operations.iter().map(|operation| operation.path.clone()).collect(), complete }
    }

    pub fn paths(&self) -> Vec<String> {
        self.paths.clone()
    }

    /// The path that `name` means: a path itself, or the last segment of one.
    pub fn resolve(&self, name: &str, node: &Node, problems: &mut Problems) -> Option<String> {
        let named = |path: &&String| *path == name || path.strip_prefix("/mcp/") == Some(name);
        if let Some(path) = self.paths.iter().find(named) {
            return Some(path.clone());
        }
        if self.complete {
            let slugs = self.paths.iter().filter_map(|path| path.strip_prefix("/mcp/"));
            let known = self.paths.iter().map(String::as_str).chain(slugs);
            problems.add("reference", node.place, format!("there is no route {}", node.shown())).nearest(
                name,
                known,
                "name a route by its path, such as `/mcp/linear`, or its slug, such as `linear`",
            );
        }
        None
    }

    pub fn resolve_all(&self, names: &[String], node: &Node, problems: &mut Problems) -> Vec<String> {
        if names.is_empty() {
            problems.add("value", node.place, "the list of routes is empty").help("leave it out for all routes");
        }
        names
            .iter()
            .enumerate()
            .filter_map(|(index, name)| self.resolve(name, &node.find(&[&index.to_string()]), problems))
            .collect()
    }
}
