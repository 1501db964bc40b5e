//! A start without a folder: the same configuration from flags, through the same checks (gateway.md §1).

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::diagnostic::{Diagnostics, Place, Problems};
use super::document::{Kind, Member, Node};
use super::{Loaded, Mode, policies};

/// The name of the one policy.
const LOGIN: &str = "workos";

/// The flags that stand in for `policies.json` and `routes.oas.json`.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--workos-client-id`
    pub workos_client_id: Option<String>,
    /// `--workos-client-secret`
    pub workos_client_secret: Option<SecretString>,
    /// `--workos-api-url`
    pub workos_api_url: Option<String>,
    /// `--authkit-domain`
    pub authkit_domain: Option<String>,
    /// `--server SLUG=URL`, repeatable.
    pub servers: Vec<String>,
}

impl Flags {
    /// Whether a flag was given that replaces the folder.
    #[must_use]
    pub fn replace_folder(&self) -> bool {
        !self.servers.is_empty()
    }
}

/// Makes the configuration out of flags.
///
/// # Errors
/// Every problem, each naming its flag.
pub fn from_flags(flags: &Flags, mode: Mode) -> Result<Loaded, Diagnostics> {
    let mut problems = Problems::default();
    let policies = match &flags.authkit_domain {
        Some(domain) => authkit_document(domain, flags, &mut problems),
        None => workos_document(flags, &mut problems),
    };
    let routes = routes_document(flags, mode, &mut problems);
    super::resolve(Path::new("."), Some(policies), vec![Some(routes)], mode, problems, Vec::new())
}

fn workos_document(flags: &Flags, problems: &mut Problems) -> Node {
    let id = credential(flags.workos_client_id.as_deref(), "--workos-client-id", "WORKOS_CLIENT_ID", problems);
    let secret = flags.workos_client_secret.as_ref().map(ExposeSecret::expose_secret);
    let secret = credential(secret, "--workos-client-secret", "WORKOS_CLIENT_SECRET", problems);
    let place = id.place;
    let mut options = vec![("clientId", id), ("clientSecret", secret)];
    options.extend(api_url(flags, problems));
    policies_document(place, policies::WORKOS, options)
}

/// Direct mode. What else is known of WorkOS serves to diagnose, and to complete people.
fn authkit_document(domain: &str, flags: &Flags, problems: &mut Problems) -> Node {
    let place = problems.whole("--authkit-domain".to_owned());
    let mut options = vec![("authkitDomain", Node::text(place, domain))];
    if let Some(id) = flags.workos_client_id.as_deref().filter(|id| !id.is_empty()) {
        options.push(("clientId", credential(Some(id), "--workos-client-id", "WORKOS_CLIENT_ID", problems)));
    }
    let key = flags.workos_client_secret.as_ref().map(ExposeSecret::expose_secret);
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        options.push(("apiKey", credential(Some(key), "--workos-client-secret", "WORKOS_CLIENT_SECRET", problems)));
    }
    options.extend(api_url(flags, problems));
    policies_document(place, policies::AUTHKIT, options)
}

fn api_url(flags: &Flags, problems: &mut Problems) -> Option<(&'static str, Node)> {
    let url = flags.workos_api_url.as_deref()?;
    let place = problems.whole("--workos-api-url".to_owned());
    Some(("apiUrl", Node::text(place, url)))
}

/// One policy, the login of every server.
fn policies_document(place: Place, kind: &str, options: Vec<(&'static str, Node)>) -> Node {
    let handler = Node::object(place, vec![("options", Node::object(place, options))]);
    let policy = Node::object(
        place,
        vec![("name", Node::text(place, LOGIN)), ("policyType", Node::text(place, kind)), ("handler", handler)],
    );
    Node::object(place, vec![("policies", Node::new(place, Kind::List(vec![policy])))])
}

fn credential(value: Option<&str>, flag: &str, variable: &str, problems: &mut Problems) -> Node {
    let place = problems.whole(flag.to_owned());
    let mut node = match value.filter(|value| !value.is_empty()) {
        Some(value) => Node::text(place, value),
        None => Node::new(place, Kind::Unset(variable.to_owned())),
    };
    node.variable = Some(variable.to_owned());
    node
}

fn routes_document(flags: &Flags, mode: Mode, problems: &mut Problems) -> Node {
    let nowhere = problems.whole("--server".to_owned());
    // `dev` brings a server of its own.
    if flags.servers.is_empty() && mode != Mode::Dev {
        problems
            .add("missing", nowhere, "no MCP server is named")
            .help("add `--server SLUG=URL`, such as `--server linear=https://mcp.linear.app/mcp`");
    }
    let mut paths = Vec::new();
    for server in &flags.servers {
        let slug = server.split_once('=').map_or("", |(slug, _)| slug);
        let place = problems.whole(format!("--server {slug}").trim_end().to_owned());
        let Some((slug, url)) = server.split_once('=').filter(|(slug, _)| is_slug(slug)) else {
            problems
                .add("value", place, "a server is given as SLUG=URL, the slug of letters, digits, `-`, `_` and `.`")
                .help("such as `--server linear=https://mcp.linear.app/mcp`");
            continue;
        };
        let name = format!("/mcp/{slug}");
        if paths.iter().any(|other: &Member| other.name == name) {
            problems
                .add("duplicate", place, format!("there are two servers named `{slug}`"))
                .help("each has a slug of its own");
            continue;
        }
        paths.push(Member { name, place, value: path_item(place, slug, url) });
    }
    let paths = Node::new(nowhere, Kind::Object(paths));
    Node::object(nowhere, vec![("openapi", Node::text(nowhere, "3.1.0")), ("paths", paths)])
}

/// Whether `slug` can stand in `/mcp/{slug}`.
pub(crate) fn is_slug(slug: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !slug.is_empty() && slug.len() <= 100 && !slug.starts_with('.') && slug.bytes().all(plain)
}

fn path_item(place: Place, slug: &str, url: &str) -> Node {
    let login = Node::new(place, Kind::List(vec![Node::text(place, LOGIN)]));
    let handler = Node::object(
        place,
        vec![
            ("export", Node::text(place, "McpProxyHandler")),
            ("options", Node::object(place, vec![("rewritePattern", Node::text(place, url))])),
        ],
    );
    let settings =
        Node::object(place, vec![("handler", handler), ("policies", Node::object(place, vec![("inbound", login)]))]);
    let operation = Node::object(place, vec![("operationId", Node::text(place, slug)), ("x-doorward-route", settings)]);
    Node::object(place, vec![("get,post", operation)])
}
