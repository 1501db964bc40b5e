//! One `*.oas.json`: the operations in it, each with a path of its own and a handler that is ours (gateway.md §2).

use std::borrow::Cow;

use crate::config::diagnostic::{Place, Problems};
use crate::config::document::{Kind, Node};
use crate::config::policies::check_module;
use crate::config::{raw, schema};

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
pub struct Operation {
    pub path: String,
    pub place: Place,
    pub id: Option<String>,
    pub summary: Option<String>,
    pub description: Option<String>,
    pub settings: Option<raw::RouteSettings>,
    /// The operation object.
    pub node: Node,
    /// The key its settings stand under.
    key: &'static str,
}

impl Operation {
    /// What stands at `path` in its settings.
    pub fn find(&self, path: &[&str]) -> Cow<'_, Node> {
        self.node.find(&[&[self.key], path].concat())
    }
}

/// Reads one document.
pub fn read(mut document: Node, problems: &mut Problems) -> Vec<Operation> {
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
    let beside =
        |name: &str| ["summary", "description", "servers", "parameters"].contains(&name) || name.starts_with("x-");
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
