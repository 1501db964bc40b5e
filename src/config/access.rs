//! `mcp-access-inbound`: who may use a route (gateway.md §9, WOS-13).

use url::Host;

use super::diagnostic::Problems;
use super::document::Node;
use super::model::{AccessRules, LoginPolicy, LoginProvider, Route, WorkOsSelector};
use super::raw;
use crate::oauth::client_id_metadata::ClientIdUrl;

/// `whole`: no option was taken out for its shape.
pub(super) fn resolve(raw: raw::Access, node: &Node, whole: bool, problems: &mut Problems) -> AccessRules {
    check_entries(node, problems);
    let by_address = raw.emails.is_some() || raw.email_domains.is_some();
    if raw.email_verified == Some(false) && !by_address {
        problems
            .add(
                "conflict",
                node.find(&["emailVerified"]).place,
                "`emailVerified: false` does nothing without `emails` or `emailDomains`",
            )
            .help("leave it out");
    }
    let email_domains = raw.email_domains.as_deref().map(|names| domains(names, node, problems));
    check_emails(raw.emails.as_deref().unwrap_or_default(), node, problems);
    let rules = AccessRules {
        verified_email: raw.email_verified.unwrap_or(by_address),
        organizations: raw.organizations,
        roles: raw.roles,
        permissions: raw.permissions,
        groups: raw.groups,
        emails: raw.emails,
        email_domains,
        clients: raw.clients,
    };
    if whole && node.members().is_empty() {
        problems
            .add("value", node.place, "an access policy without a rule keeps nobody out")
            .help("give one of `organizations`, `roles`, `permissions`, `groups`, `emails`, `emailDomains`, `emailVerified`, `clients`");
    }
    rules
}

/// Nobody has an empty role, or one with a blank at its end: such an entry is a slip.
fn check_entries(node: &Node, problems: &mut Problems) {
    for entry in node.members().iter().flat_map(|member| member.value.items()) {
        if entry.as_text().is_some_and(|text| text.is_empty() || text.trim() != text) {
            problems
                .add("value", entry.place, "an entry is empty, or begins or ends with a blank")
                .help("entries are compared as they stand");
        }
    }
}

fn check_emails(emails: &[String], node: &Node, problems: &mut Problems) {
    for (index, email) in emails.iter().enumerate() {
        let address = email.rsplit_once('@').is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty());
        if !address || email.contains('*') {
            let entry = node.find(&["emails", &index.to_string()]);
            problems
                .add("value", entry.place, format!("{} is not an e-mail address", entry.shown()))
                .help("such as `ada@example.com`; for everyone of a domain use `emailDomains`");
        }
    }
}

fn domains(names: &[String], node: &Node, problems: &mut Problems) -> Vec<String> {
    let mut domains = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let host = Host::parse(name).ok().filter(|_| !name.contains(['*', '@']));
        if let Some(Host::Domain(domain)) = host {
            domains.push(domain);
        } else {
            let entry = node.find(&["emailDomains", &index.to_string()]);
            problems
                .add("value", entry.place, format!("{} is not a domain", entry.shown()))
                .help("write what stands behind the `@`, such as `example.com`; there are no wildcards");
        }
    }
    domains
}

/// A client's id that no client can have would keep everyone out.
pub(super) fn check_clients(rules: &AccessRules, node: &Node, known: &[raw::StaticClient], problems: &mut Problems) {
    check_client_ids(rules.clients.as_deref().unwrap_or_default(), &node.find(&["clients"]), known, problems);
}

/// The same for any list of ids; `node` is the list.
pub(super) fn check_client_ids(ids: &[String], node: &Node, known: &[raw::StaticClient], problems: &mut Problems) {
    for (index, id) in ids.iter().enumerate() {
        let is_static = known.iter().any(|client| client.client_id.as_ref() == Some(id));
        if is_static || id.starts_with("dcr_") || ClientIdUrl::parse(id).is_ok() {
            continue;
        }
        let entry = node.find(&[&index.to_string()]);
        problems.add("reference", entry.place, format!("there is no client {}", entry.shown())).nearest(
            id,
            known.iter().filter_map(|client| client.client_id.as_deref()),
            "name one of `gateway.clients`, the URL of a client's metadata document, or a registered id (`dcr_…`)",
        );
    }
}

const AUTHKIT: &str = "the AuthKit environment";

/// Where anyone may sign up, if there.
fn open_sign_up(login: &LoginPolicy) -> Option<&str> {
    match &login.provider {
        LoginProvider::WorkOs(options) => {
            let limited =
                options.organization_id.is_some() || matches!(options.selector, WorkOsSelector::Connection(_));
            (!limited).then_some(AUTHKIT)
        }
        LoginProvider::AuthKit(_) => Some(AUTHKIT),
        LoginProvider::Oidc(options) => options.profile.open_sign_up.then_some(options.display_name.as_str()),
        LoginProvider::Development => None,
    }
}

/// Where a provider lets anyone sign up, a route without an access policy is everyone's. Without a login, AuthKit is the
/// provider.
pub(super) fn note_on_open_routes(login: Option<&LoginPolicy>, routes: &[Route]) -> Option<String> {
    let place = login.map_or(Some(AUTHKIT), open_sign_up)?;
    let open: Vec<&str> = routes
        .iter()
        .filter(|route| !route.proxy.public && route.access.is_empty())
        .map(|route| route.path.as_str())
        .collect();
    (!open.is_empty()).then(|| {
        format!(
            "whoever can sign in to {place} may use {}: where it lets anyone sign up, add an access policy \
             (`mcp-access-inbound`)",
            open.join(", ")
        )
    })
}
