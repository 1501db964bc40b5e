//! `options.gateway`: the authorization server's settings (gateway.md §3). Bounds of numbers are the schema's.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::diagnostic::Problems;
use super::document::Node;
use super::model::{GatewayOptions, Limits, Operators, RedirectAllowance, ResourceServer, SigningAlg};
use super::raw;
use super::routes::Known;
use crate::oauth::redirect_uri::RedirectUri;

/// The scope that every route has.
pub(super) const BASE_SCOPE: &str = "mcp:tools";
/// Tolerated in requests and never granted, so they cannot be configured.
const PROVIDER_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

pub(super) fn resolve(
    raw: &raw::Gateway,
    node: &Node,
    routes: &Known,
    problems: &mut Problems,
    notes: &mut Vec<String>,
) -> GatewayOptions {
    if raw.access_token_ttl_seconds > 900 {
        notes.push(format!(
            "accessTokenTtlSeconds is {}: a stolen or revoked access token stays good for that long; 900 or less is advised",
            raw.access_token_ttl_seconds
        ));
    }
    let scopes = scopes(&raw.scopes, node, problems);
    let allow_list = raw.redirect_uri_allow_list.as_deref().map(|entries| allow_list(entries, node, problems));
    let clients = super::clients::resolve(&raw.clients, node, &scopes, allow_list.as_deref(), routes, problems);
    check_secret(raw.initial_access_token.as_deref(), &node.find(&["initialAccessToken"]), problems);
    GatewayOptions {
        access_token_ttl: Duration::from_secs(raw.access_token_ttl_seconds),
        refresh_token_ttl: Duration::from_secs(raw.refresh_token_ttl_seconds),
        grant_ttl: Duration::from_secs(raw.grant_ttl_seconds),
        refresh_token_reuse: Duration::from_secs(raw.refresh_token_reuse_seconds),
        signing_alg: match raw.signing_alg {
            raw::SigningAlg::ES256 => SigningAlg::Es256,
            raw::SigningAlg::EdDsa => SigningAlg::EdDsa,
        },
        scopes,
        default_route: raw
            .default_route
            .as_deref()
            .and_then(|route| routes.resolve(route, &node.find(&["defaultRoute"]), problems)),
        cimd_enabled: raw.cimd_enabled,
        dcr_enabled: raw.dcr_enabled,
        legacy_aliases: raw.legacy_aliases,
        remember_consent: raw.remember_consent,
        redirect_uri_allow_list: allow_list,
        cimd_allowed_hosts: raw
            .cimd_allowed_hosts
            .as_deref()
            .map(|names| hosts(names, &node.find(&["cimdAllowedHosts"]), problems)),
        cimd_denied_hosts: hosts(&raw.cimd_denied_hosts, &node.find(&["cimdDeniedHosts"]), problems),
        cimd_documents: documents(&raw.cimd_documents, &node.find(&["cimdDocuments"]), problems),
        clients,
        initial_access_token: raw.initial_access_token.clone().map(SecretString::from),
        max_clients: raw.max_clients,
        client_idle: Duration::from_secs(raw.client_idle_days * 86400),
        resource_servers: resource_servers(raw, node, routes, problems),
        stream_max: Duration::from_secs(raw.stream_max_seconds),
        close_streams_at_expiry: raw.close_streams_at_expiry,
        outage_grace: Duration::from_secs(raw.outage_grace_seconds),
        limits: limits(raw.limits),
        operators: operators(&raw.operators, &node.find(&["operators"]), problems),
    }
}

/// `true` is what leaving it out is.
fn limits(raw: raw::Limits) -> Option<Limits> {
    let numbers = match raw {
        raw::Limits::Switch(false) => return None,
        raw::Limits::Switch(true) => raw::LimitNumbers::default(),
        raw::Limits::Numbers(numbers) => numbers,
    };
    Some(Limits {
        registrations: numbers.registrations_per_minute,
        authorizations: numbers.authorizations_per_minute,
        document_fetches: numbers.document_fetches_per_minute,
        failed_token_requests: numbers.failed_token_requests_per_minute,
        grant_token_requests: numbers.grant_token_requests_per_minute,
        streams_per_grant: numbers.streams_per_grant,
    })
}

/// RFC 6749 §3.3 `scope-token`.
pub(super) fn is_scope(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// The scope table: `mcp:tools` and the configured ones, each implied scope known.
fn scopes(raw: &BTreeMap<String, Vec<String>>, node: &Node, problems: &mut Problems) -> BTreeMap<String, Vec<String>> {
    let mut scopes = raw.clone();
    scopes.entry(BASE_SCOPE.to_owned()).or_default();
    for member in node.get("scopes").map(Node::members).unwrap_or_default() {
        let name = member.name.as_str();
        if PROVIDER_SCOPES.contains(&name) {
            problems
                .add("value", member.place, format!("`{name}` cannot be a scope of the gateway"))
                .help("it belongs to the identity provider; requests that name it are tolerated anyway");
        } else if !is_scope(name) || name.contains('*') {
            problems
                .add("value", member.place, format!("`{name}` is not a scope"))
                .help("use letters, digits and `:` `.` `_` `-`, without blanks or wildcards");
        }
        for implied in member.value.items() {
            let Some(text) = implied.as_text() else { continue };
            if text == name {
                problems
                    .add("value", implied.place, format!("`{name}` implies itself"))
                    .help("leave it out of its own list");
            } else if !scopes.contains_key(text) {
                problems.add("reference", implied.place, format!("there is no scope {}", implied.shown())).nearest(
                    text,
                    scopes.keys().map(String::as_str),
                    "add it to `gateway.scopes`",
                );
            }
        }
    }
    scopes
}

fn allow_list(entries: &[String], node: &Node, problems: &mut Problems) -> Vec<RedirectAllowance> {
    let node = node.find(&["redirectUriAllowList"]);
    let mut allowances = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match allowance(entry) {
            Some(allowance) => allowances.push(allowance),
            None => {
                problems
                    .add("value", node.find(&[&index.to_string()]).place, "this is neither a redirect URI nor an `https://host` origin")
                    .help("write an exact URI such as `https://claude.ai/api/mcp/auth_callback`, or an origin such as `https://claude.ai`; there are no globs");
            }
        }
    }
    allowances
}

fn allowance(entry: &str) -> Option<RedirectAllowance> {
    if entry.contains('*') {
        return None;
    }
    let authority_only = entry.strip_prefix("https://").is_some_and(|rest| !rest.contains(['/', '?', '#', '@', '\\']));
    if authority_only {
        return Url::parse(entry).ok().map(|url| RedirectAllowance::Origin(url.origin()));
    }
    RedirectUri::parse(entry).ok().map(RedirectAllowance::Uri)
}

fn hosts(names: &[String], node: &Node, problems: &mut Problems) -> Vec<String> {
    let mut hosts = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        match Host::parse(name) {
            Ok(host) if !name.contains('*') => hosts.push(host.to_string()),
            _ => {
                let entry = node.find(&[&index.to_string()]);
                problems
                    .add("value", entry.place, format!("{} is not a host name", entry.shown()))
                    .help("such as `claude.ai`: no scheme, port, path or wildcard");
            }
        }
    }
    hosts
}

/// Pinned metadata documents meet the same demands as fetched ones (CIMD-4).
fn documents(
    raw: &BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    node: &Node,
    problems: &mut Problems,
) -> BTreeMap<String, serde_json::Value> {
    for member in node.members() {
        let url = Url::parse(&member.name);
        if !url.is_ok_and(|url| url.scheme() == "https" && url.path() != "/" && url.fragment().is_none()) {
            problems
                .add("value", member.place, format!("`{}` cannot be a client id", member.name))
                .help("a client metadata document has an https URL with a path");
        }
        let document = &member.value;
        if document.get("client_id").and_then(Node::as_text) != Some(member.name.as_str()) {
            let at = document.find(&["client_id"]).place;
            problems
                .add("value", at, "`client_id` of the document must be its URL")
                .help("write the key's URL again, byte for byte");
        }
        if document.get("client_name").and_then(Node::as_text).is_none_or(str::is_empty) {
            problems
                .add("missing", document.find(&["client_name"]).place, "the document needs a `client_name`")
                .help("it is shown on the consent page");
        }
        let redirects = document.find(&["redirect_uris"]);
        if redirects.items().is_empty()
            || redirects.items().iter().any(|uri| uri.as_text().is_none_or(|uri| RedirectUri::parse(uri).is_err()))
        {
            problems
                .add("value", redirects.place, "the document needs usable `redirect_uris`")
                .help("https, http on loopback, or a private-use scheme; no fragment");
        }
        for secret in document.members().iter().filter(|member| member.name.starts_with("client_secret")) {
            problems
                .add("value", secret.place, "a client metadata document cannot hold a secret")
                .help("declare the client under `clients`");
        }
    }
    raw.iter()
        .map(|(url, document)| (url.clone(), serde_json::Value::Object(document.clone().into_iter().collect())))
        .collect()
}

fn check_secret(secret: Option<&str>, node: &Node, problems: &mut Problems) {
    if secret.is_some_and(|secret| secret.trim().is_empty()) {
        problems.add("value", node.place, "the secret is empty").help("write `$env(NAME)`");
    }
}

fn resource_servers(raw: &raw::Gateway, node: &Node, routes: &Known, problems: &mut Problems) -> Vec<ResourceServer> {
    let mut servers: Vec<ResourceServer> = Vec::new();
    for (index, server) in raw.resource_servers.iter().enumerate() {
        let node = node.find(&["resourceServers", &index.to_string()]);
        let place = node.find(&["id"]).place;
        let id = server.id.clone().unwrap_or_default();
        if server.id.is_some()
            && (id.is_empty() || !id.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b':'))
        {
            problems.add("value", place, "this cannot be an id").help("use letters, digits, `-`, `_` and `.`");
        }
        let taken = servers.iter().any(|other| other.id == id)
            || raw.clients.iter().any(|client| client.client_id.as_ref() == Some(&id));
        if server.id.is_some() && taken {
            problems
                .add("duplicate", place, format!("the id `{id}` is taken"))
                .help("clients and resource servers have ids of their own");
        }
        check_secret(server.secret.as_deref(), &node.find(&["secret"]), problems);
        servers.push(ResourceServer {
            id,
            secret: SecretString::from(server.secret.clone().unwrap_or_default()),
            routes: match &server.routes {
                Some(names) => routes.resolve_all(names, &node.find(&["routes"]), problems),
                None => routes.paths(),
            },
        });
    }
    servers
}

fn operators(raw: &raw::Operators, node: &Node, problems: &mut Problems) -> Operators {
    for (index, email) in raw.emails.iter().enumerate() {
        let address = email
            .split_once('@')
            .is_some_and(|(user, domain)| !user.is_empty() && domain.contains('.') && !domain.contains('@'));
        if !address || email.chars().any(char::is_whitespace) {
            let entry = node.find(&["emails", &index.to_string()]);
            problems
                .add("value", entry.place, format!("{} is not an e-mail address", entry.shown()))
                .help("such as `ada@example.com`");
        }
    }
    Operators { emails: raw.emails.clone(), roles: raw.roles.clone(), organizations: raw.organizations.clone() }
}
