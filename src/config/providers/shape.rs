//! What a provider's own options must look like, and what is said of those that do not.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Host, Url};

use crate::config::workos::is_https_or_loopback;

/// One option.
pub(super) struct Shape {
    pub option: &'static str,
    /// A value of the right shape.
    pub example: &'static str,
    /// The value as it stands in URLs, or what is wrong with it.
    pub check: fn(&str) -> Result<String, Fault>,
}

/// What is wrong: follows the option's name.
pub(super) struct Fault {
    pub message: String,
    /// Instead of the example.
    pub help: Option<String>,
}

impl Fault {
    fn new<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Self { message: message.into(), help: None })
    }

    fn with<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Self> {
        Err(Self { message: message.into(), help: Some(help.into()) })
    }
}

/// Every option of which URLs are made.
pub(super) const SHAPES: &[Shape] = &[
    Shape { option: "auth0Domain", example: "my-tenant.us.auth0.com", check: host },
    Shape { option: "awsRegion", example: "us-east-1", check: aws_region },
    Shape { option: "userPoolId", example: "us-east-1_AbCdEf123", check: user_pool_id },
    Shape { option: "userPoolDomain", example: "my-pool.auth.us-east-1.amazoncognito.com", check: user_pool_domain },
    Shape { option: "frontendApiUrl", example: "https://verb-noun-00.clerk.accounts.dev", check: origin },
    Shape { option: "tenantId", example: "3fa85f64-5717-4562-b3fc-2c963f66afa6", check: tenant_id },
    Shape { option: "keycloakBaseUrl", example: "https://sso.example.com", check: keycloak_base_url },
    Shape { option: "realm", example: "main", check: realm },
    Shape { option: "logtoEndpoint", example: "https://your-tenant.logto.app", check: logto_endpoint },
    Shape { option: "oktaDomain", example: "acme.okta.com", check: okta_domain },
    Shape { option: "authorizationServerId", example: "default", check: authorization_server_id },
    Shape { option: "oneLoginSubdomain", example: "acme", check: one_login_subdomain },
    Shape { option: "environmentId", example: "3fa85f64-5717-4562-b3fc-2c963f66afa6", check: uuid },
    Shape { option: "region", example: "north-america", check: ping_region },
    Shape { option: "customDomain", example: "login.example.com", check: host },
];

fn host(text: &str) -> Result<String, Fault> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Fault::with("must be a host name, without a scheme", format!("leave out all but `{host}`"));
    }
    if text.contains(['/', '?', '#']) {
        return Fault::new("must be a host name, without a slash or path");
    }
    if text.contains([':', '@']) {
        return Fault::new("must be a host name, without port or user");
    }
    if !text.contains('.') {
        return Fault::new("must be a whole host name, with a dot");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match Host::parse(text) {
        Ok(Host::Domain(name)) if name.split('.').all(|label| !label.is_empty() && label.bytes().all(plain)) => {
            Ok(name)
        }
        _ => Fault::new("is not a host name"),
    }
}

/// An origin, as browsers write it.
fn origin(text: &str) -> Result<String, Fault> {
    let Ok(url) = Url::parse(text) else { return Fault::new("must be an origin, with `https://`") };
    if !is_https_or_loopback(&url) {
        return Fault::new("must be https, or http on loopback");
    }
    if has_user(&url) || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Fault::with(
            "must be an origin, without path, query or fragment",
            format!("leave out all but `{}`", url.origin().ascii_serialization()),
        );
    }
    Ok(url.origin().ascii_serialization())
}

fn logto_endpoint(text: &str) -> Result<String, Fault> {
    origin(text).map_err(|fault| match fault.help {
        Some(help) => Fault { help: Some(format!("{help}; `/oidc` is added to it")), ..fault },
        None => fault,
    })
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn keycloak_base_url(text: &str) -> Result<String, Fault> {
    let Ok(url) = Url::parse(text) else { return Fault::new("must be a URL, with `https://`") };
    if !is_https_or_loopback(&url) {
        return Fault::new("must be https, or http on loopback");
    }
    if has_user(&url) || url.query().is_some() || url.fragment().is_some() {
        return Fault::new("must be the root of the server, without user, query or fragment");
    }
    let root = url.as_str().trim_end_matches('/');
    let segments = url.path_segments().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    if let Some(realms) = segments.iter().position(|segment| *segment == "realms") {
        let help = match segments.get(realms + 1).filter(|realm| !realm.is_empty()) {
            Some(realm) => format!("the realm has an option of its own: `\"realm\": \"{realm}\"`"),
            None => "the realm has an option of its own, `realm`".to_owned(),
        };
        return Fault::with("must be the root of the server, without `/realms/`", help);
    }
    if segments.contains(&"admin") {
        return Fault::with(
            "must be the root of the server, not its admin console",
            "leave out `/admin` and all behind it",
        );
    }
    Ok(root.to_owned())
}

/// What a path segment does not hold as it is (RFC 3986 §3.3).
const NOT_IN_A_SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

fn realm(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.trim() != text {
        return Fault::new("is empty, or begins or ends with a blank");
    }
    if text.contains(['/', '?', '#', '%']) || text.chars().any(char::is_control) || text == "." || text == ".." {
        return Fault::with("must be the realm's name alone", "as it stands in `/realms/NAME`, decoded");
    }
    Ok(utf8_percent_encode(text, NOT_IN_A_SEGMENT).to_string())
}

fn aws_region(text: &str) -> Result<String, Fault> {
    let parts: Vec<&str> = text.split('-').collect();
    let words = |parts: &[&str]| {
        parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    let well_formed = parts.split_last().is_some_and(|(number, names)| {
        names.len() >= 2 && words(names) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !well_formed {
        return Fault::new("is not a region of AWS");
    }
    if parts[0] == "cn" {
        return Fault::with(
            "is a region with hosts of its own, `amazonaws.com.cn`",
            "configure the pool with `mcp-oauth-inbound`",
        );
    }
    Ok(text.to_owned())
}

pub(super) fn is_aws_region(text: &str) -> bool {
    aws_region(text).is_ok()
}

fn user_pool_id(text: &str) -> Result<String, Fault> {
    let well_formed = text.split_once('_').is_some_and(|(region, id)| {
        is_aws_region(region) && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if well_formed { Ok(text.to_owned()) } else { Fault::new("is not the id of a user pool") }
}

fn user_pool_domain(text: &str) -> Result<String, Fault> {
    let is_label =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_label(text) {
        return Fault::with(
            "must be a whole host name, not the prefix alone",
            format!("such as `{text}.auth.us-east-1.amazoncognito.com`, as the console shows it"),
        );
    }
    host(text)
}

fn tenant_id(text: &str) -> Result<String, Fault> {
    const HELP: &str = "the overview of the app registration shows it as Directory (tenant) ID";
    if ["common", "organizations", "consumers"].contains(&text.to_ascii_lowercase().as_str()) {
        return Fault::with(
            format!("must be one tenant: `{text}` stands for many, each with an issuer of its own"),
            HELP,
        );
    }
    if text.contains('.') || text.contains('/') {
        return Fault::with("must be the tenant's id, a UUID, not a domain or URL", HELP);
    }
    uuid(text).or_else(|_| Fault::with("must be the tenant's id, a UUID", HELP))
}

/// In lower case, as ids stand in issuers.
pub(super) fn uuid(text: &str) -> Result<String, Fault> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths == [8, 4, 4, 4, 12] && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Ok(text.to_ascii_lowercase())
    } else {
        Fault::new("must be a UUID")
    }
}

fn okta_domain(text: &str) -> Result<String, Fault> {
    let name = host(text)?;
    match name.split_once("-admin.") {
        Some((organization, rest)) if rest.starts_with("okta") => {
            Fault::with("is the host of the admin console", format!("write `{organization}.{rest}`"))
        }
        _ => Ok(name),
    }
}

fn authorization_server_id(text: &str) -> Result<String, Fault> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Fault::with(
            "must be the id of an authorization server",
            "such as `default` or `aus9o8wzkhckw9TLa0h7`: what stands behind `/oauth2/` in its issuer",
        )
    }
}

fn one_login_subdomain(text: &str) -> Result<String, Fault> {
    let host = text.split_once("://").map_or(text, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let label = host.strip_suffix(".onelogin.com").unwrap_or(host);
    let is_label = |text: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !text.is_empty() && text.bytes().all(letters) && !text.starts_with('-') && !text.ends_with('-')
    };
    match is_label(label) {
        true if label == text => Ok(text.to_ascii_lowercase()),
        true => Fault::with(
            "must be the subdomain alone, without scheme, `.onelogin.com` or path",
            format!("write `{label}`"),
        ),
        false => Fault::new("must be the subdomain of the account: letters, digits and dashes"),
    }
}

/// What `auth.pingone.` ends with.
fn ping_region(text: &str) -> Result<String, Fault> {
    let domain = match text {
        "canada" => "ca",
        "europe" => "eu",
        "singapore" => "sg",
        "australia" => "com.au",
        "asia-pacific" => "asia",
        "north-america" => "com",
        _ => return Fault::new("is not a region of PingOne"),
    };
    Ok(domain.to_owned())
}
