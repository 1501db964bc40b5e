//! `*.oas.json`: the MCP routes and the rules between them and the policies (gateway.md §2, §10).

mod credentials;

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::diagnostic::{Place, Problems};
use super::document::{Kind, Node};
use super::model::{
    AccessRules, AuditLog, CapabilityFilter, ForwardIdentity, HeaderChange, ProxyOptions, RateLimit, Route,
};
use super::policies::{Policies, Role, Rule, check_module};
use super::{addresses, client_certificate, raw, schema};
use crate::oauth::scope::ScopeSet;
use credentials::Credentials;

const METHODS: [&str; 4] = ["post", "get", "get,post", "get,post,delete"];
const ROUTE_KEYS: [&str; 2] = ["x-zuplo-route", "x-doorward-route"];
const HANDLER: &str = "McpProxyHandler";
/// Options of later versions.
const LATER_OPTIONS: [&str; 1] = ["registry"];
/// Paths of the gateway itself (gateway.md §4); a trailing slash takes everything below.
const OWN_PATHS: [&str; 14] = [
    "/.well-known/",
    "/oauth/",
    "/auth/connections/",
    "/mcp-registry/",
    "/__zuplo/",
    "/authorize",
    "/token",
    "/register",
    "/account",
    "/healthz",
    "/livez",
    "/readyz",
    "/metrics",
    "/favicon.ico",
];

/// One path item as it was read.
pub(super) struct Operation {
    path: String,
    place: Place,
    id: Option<String>,
    summary: Option<String>,
    description: Option<String>,
    settings: Option<raw::RouteSettings>,
    /// The operation object.
    node: Node,
    /// The key its settings stand under.
    key: &'static str,
}

impl Operation {
    fn find(&self, path: &[&str]) -> std::borrow::Cow<'_, Node> {
        self.node.find(&[&[self.key], path].concat())
    }
}

/// Reads one document.
pub(super) fn read(mut document: Node, problems: &mut Problems) -> Vec<Operation> {
    if let Some(Kind::Object(paths)) = document.get_mut("paths").map(|node| &mut node.kind) {
        for item in paths.iter().filter(|item| is_bare(&item.value)) {
            problems
                .add("missing", item.place, format!("`{}` has no operation", item.name))
                .help("put it under `get,post`");
        }
        paths.retain_mut(|item| check_handlers(&item.name, &mut item.value, problems));
    }
    let file: raw::Routes = schema::read(&mut document, problems);
    if let Some(version) = &file.openapi
        && !version.starts_with("3.")
    {
        problems
            .add("value", document.find(&["openapi"]).place, "the document must be OpenAPI 3.1")
            .help("write `3.1.0`");
    }
    let mut items = file.paths.unwrap_or_default();
    let mut operations = Vec::with_capacity(items.len());
    for member in document.get("paths").map(Node::members).unwrap_or_default() {
        let Some(item) = items.remove(&member.name) else { continue };
        if let Some(operation) = path_item(&member.name, member.place, item, &member.value, problems) {
            operations.push(operation);
        }
    }
    operations
}

/// Looks at the handlers of a path item before its shape is checked: the options of a foreign handler would only
/// give unknown keys. Whether the item may stay.
fn check_handlers(path: &str, item: &mut Node, problems: &mut Problems) -> bool {
    let Kind::Object(methods) = &mut item.kind else { return true };
    let mut ours = true;
    for method in methods {
        let id = method.value.get("operationId").and_then(Node::as_text).map(str::to_owned);
        for key in ROUTE_KEYS {
            let Some(handler) = method.value.get_mut(key).and_then(|settings| settings.get_mut("handler")) else {
                continue;
            };
            check_module(handler, problems);
            if let Some(export) = handler.get("export")
                && let Some(given) = export.as_text()
                && given != HANDLER
            {
                let route = id.as_deref().unwrap_or(path);
                let message =
                    format!("the handler of route `{route}` is {}, and only `{HANDLER}` is served", export.shown());
                problems.add("unsupported", export.place, message).nearest(
                    given,
                    [HANDLER],
                    "remove the route, or make it an MCP route",
                );
                ours = false;
            }
            if let Some(Kind::Object(options)) = handler.get_mut("options").map(|options| &mut options.kind) {
                options.retain(|option| {
                    let later = LATER_OPTIONS.contains(&option.name.as_str());
                    if later {
                        let message = format!("`{}` is not supported yet in this version", option.name);
                        problems.add("unsupported", option.place, message).help("leave it out");
                    }
                    !later
                });
            }
        }
    }
    ours
}

/// Whether a path item has nothing that could be an operation.
fn is_bare(item: &Node) -> bool {
    let beside = |name: &str| ["summary", "description"].contains(&name) || name.starts_with("x-");
    matches!(&item.kind, Kind::Object(members) if members.iter().all(|member| beside(&member.name)))
}

/// The one operation of a path item.
fn path_item(path: &str, place: Place, item: raw::PathItem, node: &Node, problems: &mut Problems) -> Option<Operation> {
    check_path(path, place, problems);
    let mut given = [
        (METHODS[0], item.post),
        (METHODS[1], item.get),
        (METHODS[2], item.get_post),
        (METHODS[3], item.get_post_delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)));
    let (method, operation) = given.next()?;
    if let Some((second, _)) = given.next() {
        let second = node.members().iter().find(|member| member.name == second).map_or(place, |member| member.place);
        problems
            .add("conflict", second, format!("`{path}` has two operations, and a path is one MCP route"))
            .help("keep one, under `get,post`; it serves POST, GET and DELETE");
    }
    let node = node.find(&[method]).into_owned();
    let (key, settings) = match (operation.zuplo_route, operation.doorward_route) {
        (Some(settings), None) => (ROUTE_KEYS[0], Some(settings)),
        (None, Some(settings)) => (ROUTE_KEYS[1], Some(settings)),
        (Some(settings), Some(_)) => {
            problems
                .add(
                    "duplicate",
                    node.find(&["x-doorward-route"]).place,
                    "`x-doorward-route` and `x-zuplo-route` are the same key",
                )
                .help("keep one");
            (ROUTE_KEYS[0], Some(settings))
        }
        (None, None) => {
            let start = Place { end: node.place.start + 1, ..node.place };
            if ROUTE_KEYS.iter().all(|key| node.get(key).is_none()) {
                problems
                    .add("missing", start, format!("`x-zuplo-route` is missing in the operation of `{path}`"))
                    .help("it names the handler and the policies of the route");
            }
            (ROUTE_KEYS[0], None)
        }
    };
    Some(Operation {
        path: path.to_owned(),
        place,
        id: operation.operation_id,
        summary: operation.summary.or(item.summary),
        description: operation.description.or(item.description),
        settings,
        node,
        key,
    })
}

/// A literal path that is nobody else's.
fn check_path(path: &str, place: Place, problems: &mut Problems) {
    let literal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=@/".contains(&byte);
    let segments = || path.split('/').skip(1);
    let (message, help) = if !path.starts_with('/') {
        ("a path begins with `/`", "such as `/mcp/linear`")
    } else if path == "/" {
        ("`/` cannot be a route", "give the route a path of its own, such as `/mcp/linear`")
    } else if path.contains(['{', '}', '*']) || segments().any(|segment| segment.starts_with(':')) {
        ("a route's path has no parameters or wildcards", "write one literal path per MCP server")
    } else if path.contains('%') {
        ("a route's path has no encoded bytes", "use letters, digits, `-`, `_`, `.` and `~`")
    } else if !path.bytes().all(literal) {
        ("a route's path holds a character that it cannot", "use letters, digits, `-`, `_`, `.` and `~`")
    } else if segments().any(|segment| ["", ".", ".."].contains(&segment)) {
        ("a route's path has no empty, `.` or `..` segments and no slash at its end", "such as `/mcp/linear`")
    } else if segments().any(|segment| segment == ".well-known") || OWN_PATHS.iter().any(|own| collides(path, own)) {
        ("the gateway itself answers at this path", "choose another path, such as `/mcp/linear`")
    } else {
        return;
    };
    problems.add("value", place, message).help(help);
}

fn collides(path: &str, own: &str) -> bool {
    match own.strip_suffix('/') {
        Some(prefix) => path == prefix || path.starts_with(own),
        None => path == own,
    }
}

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
