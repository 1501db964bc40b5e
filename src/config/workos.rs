//! Options of `mcp-workos-oauth-inbound` (gateway.md §6.1, WOS-1, WOS-10, WOS-14, WOS-15).

use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

use super::diagnostic::Problems;
use super::document::Node;
use super::model::{WorkOsOptions, WorkOsSelector};
use super::raw;

/// `None` only after a problem.
pub(super) fn resolve(raw: &raw::WorkOs, node: &Node, problems: &mut Problems) -> Option<WorkOsOptions> {
    if let Some(id) = &raw.client_id {
        check_client_id(id, &node.find(&["clientId"]), problems);
    }
    if let Some(secret) = &raw.client_secret {
        check_client_secret("clientSecret", secret, &node.find(&["clientSecret"]), problems);
    }
    check_id(raw.organization_id.as_deref(), "org_", &node.find(&["organizationId"]), problems);
    check_id(raw.connection_id.as_deref(), "conn_", &node.find(&["connectionId"]), problems);
    if let Some(hint) = &raw.domain_hint
        && (url::Host::parse(hint).is_err() || !hint.contains('.'))
    {
        problems
            .add("value", node.find(&["domainHint"]).place, "`domainHint` must be a domain")
            .help("such as `example.com`");
    }
    for (index, issuer) in raw.issuers.iter().enumerate() {
        let entry = node.find(&["issuers", &index.to_string()]);
        if !Url::parse(issuer).is_ok_and(|url| is_https_or_loopback(&url)) {
            problems
                .add("value", entry.place, "an issuer must be an https URL, or http on loopback")
                .help("such as `https://auth.example.com`, spelt as in the tokens");
        }
    }
    let api_url = api_url(&raw.api_url, &node.find(&["apiUrl"]), problems);
    let selector = selector(raw, node, problems);
    if raw.screen_hint.is_some() && raw.provider.as_deref().unwrap_or("authkit") != "authkit" {
        problems
            .add("conflict", node.find(&["screenHint"]).place, "`screenHint` works with AuthKit only")
            .help("leave it out, or set `provider` to `authkit`");
    }
    Some(WorkOsOptions {
        client_id: raw.client_id.clone()?,
        client_secret: SecretString::from(raw.client_secret.clone()?),
        api_url: api_url?,
        issuers: raw.issuers.clone(),
        selector: selector?,
        organization_id: raw.organization_id.clone(),
        screen_hint: raw.screen_hint.map(|hint| match hint {
            raw::ScreenHint::SignIn => "sign-in".to_owned(),
            raw::ScreenHint::SignUp => "sign-up".to_owned(),
        }),
        domain_hint: raw.domain_hint.clone(),
        allow_impersonation: raw.allow_impersonation,
        session_sync: raw.session_sync,
        session_sync_interval: Duration::from_secs(raw.session_sync_seconds),
    })
}

/// Whether `url` is https, or http to this machine.
pub(crate) fn is_https_or_loopback(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

fn has_form(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

pub(super) fn check_client_id(id: &str, node: &Node, problems: &mut Problems) {
    if has_form(id, "client_") {
        return;
    }
    let message = if id.starts_with("sk_") {
        "`clientId` holds an API key: `clientId` and `clientSecret` are probably swapped".to_owned()
    } else if id.contains("://") || id.contains('/') || id.contains('.') {
        "`clientId` must be the client id itself, not a URL or host name".to_owned()
    } else {
        "`clientId` must be `client_` followed by letters, digits or underscores".to_owned()
    };
    problems
        .add("value", node.place, message)
        .help("it looks like `client_01KC6057N3C66XJAXZ65YHAC72`; the WorkOS dashboard shows it under API Keys");
}

/// An API key under the option `key`. Never shows the value.
pub(super) fn check_client_secret(key: &str, secret: &str, node: &Node, problems: &mut Problems) {
    if has_form(secret, "sk_") {
        return;
    }
    let message = if secret.starts_with("client_") {
        format!("`{key}` holds a client id: `clientId` and `{key}` are probably swapped")
    } else if secret.contains("://") || secret.contains('.') {
        format!("`{key}` must be the API key itself, not a URL or host name")
    } else {
        format!("`{key}` must be an API key: `sk_` followed by letters, digits or underscores")
    };
    problems
        .add("value", node.place, message)
        .help("it looks like `sk_live_…` or `sk_test_…`; the WorkOS dashboard shows it under API Keys");
}

fn check_id(id: Option<&str>, prefix: &str, node: &Node, problems: &mut Problems) {
    if let Some(id) = id
        && !has_form(id, prefix)
    {
        problems
            .add("value", node.place, format!("{} is not an id of the form `{prefix}…`", node.shown()))
            .help("copy the id from the WorkOS dashboard");
    }
}

pub(super) fn api_url(text: &str, node: &Node, problems: &mut Problems) -> Option<Url> {
    let problem = match Url::parse(text) {
        Err(_) => "`apiUrl` is not a URL",
        Ok(url) if !is_https_or_loopback(&url) => "`apiUrl` must be https, or http on loopback",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "`apiUrl` must not hold a user or password"
        }
        Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            "`apiUrl` must be an origin, without path, query or fragment"
        }
        Ok(url) => return Some(url),
    };
    problems.add("value", node.place, problem).help("such as `https://auth.example.com` or `http://localhost:4100`");
    None
}

/// The one selector of the authorization request. `connectionId` and `provider` exclude each other; an
/// organisation selects when neither is given, and is demanded of the person in every case.
fn selector(raw: &raw::WorkOs, node: &Node, problems: &mut Problems) -> Option<WorkOsSelector> {
    match (&raw.connection_id, &raw.provider, &raw.organization_id) {
        (Some(_), Some(_), _) => {
            problems
                .add("conflict", node.find(&["connectionId"]).place, "`connectionId` and `provider` exclude each other")
                .help("keep the one that people should sign in with");
            None
        }
        (_, Some(provider), _) if provider.is_empty() || !provider.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            problems
                .add(
                    "value",
                    node.find(&["provider"]).place,
                    "`provider` must be `authkit` or an OAuth provider of WorkOS",
                )
                .help("such as `GoogleOAuth` or `MicrosoftOAuth`");
            None
        }
        (None, Some(provider), _) => Some(WorkOsSelector::Provider(provider.clone())),
        (Some(connection), None, _) => Some(WorkOsSelector::Connection(connection.clone())),
        (None, None, Some(organization)) => Some(WorkOsSelector::Organization(organization.clone())),
        (None, None, None) => Some(WorkOsSelector::Provider("authkit".to_owned())),
    }
}
