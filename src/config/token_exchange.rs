//! `mcp-token-exchange-inbound`: the credential that the server behind a route wants (gateway.md §8).
//!
//! A policy says how the gateway comes by a credential; the route that names it says for which server. Together they
//! are an [`Upstream`].

mod id_jag;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::diagnostic::Problems;
use super::document::{Kind, Node};
use super::model::{OidcCredential, SecretWay};
use super::oidc;
use super::raw::{self, ManualAuthMethod};
use super::workos::is_https_or_loopback;

/// A server behind that wants a credential of its own.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// What its connections are stored under: 1 to 64 letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// For people.
    pub display_name: String,
    pub summary: Option<String>,
    /// `rewritePattern` without query and fragment: the one server the credential is sent to.
    pub server: Url,
    pub mode: UpstreamMode,
}

/// Whose credential it is, and how the gateway comes by it.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there are as many as servers behind")]
pub enum UpstreamMode {
    /// `user-oauth`: each person's own.
    PerPerson(UpstreamOAuth),
    /// `shared-oauth`: one for all, which an operator connects.
    Shared(UpstreamOAuth),
    /// `id-jag`: each person's own, out of what the identity provider says of them.
    IdJag(UpstreamIdJag),
}

impl UpstreamMode {
    /// The authorization code flow, if the credential comes from one.
    #[must_use]
    pub fn oauth(&self) -> Option<&UpstreamOAuth> {
        match self {
            Self::PerPerson(oauth) | Self::Shared(oauth) => Some(oauth),
            Self::IdJag(_) => None,
        }
    }
}

/// The authorization code flow at the server's authorization server.
#[derive(Debug, Clone)]
pub struct UpstreamOAuth {
    /// Where the server describes itself (RFC 9728), unless it is where the standard says.
    pub resource_metadata: Option<Url>,
    /// What to ask for, unless that is the server's to say. Never empty.
    pub scopes: Option<Vec<String>>,
    /// What stands between two scopes on the wire.
    pub scope_delimiter: String,
    pub prompt: UpstreamPrompt,
    pub registration: UpstreamRegistration,
}

/// `prompt` of an authorization request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamPrompt {
    /// `consent` where `offline_access` is asked for (`OpenID` Connect Core §11), else none.
    ForOfflineAccess,
    Never,
    Always(&'static str),
}

impl UpstreamPrompt {
    /// What to send with a request for `scopes`.
    #[must_use]
    pub fn value(&self, scopes: &[String]) -> Option<&'static str> {
        match self {
            Self::ForOfflineAccess => scopes.iter().any(|scope| scope == "offline_access").then_some("consent"),
            Self::Never => None,
            Self::Always(value) => Some(value),
        }
    }
}

/// How the gateway is known to an authorization server.
#[derive(Debug, Clone)]
pub enum UpstreamRegistration {
    /// By its metadata document where those are taken, else by registering (RFC 7591).
    Auto,
    /// As a client that was registered by hand.
    Manual { client_id: String, credential: OidcCredential },
}

/// Two token requests: an assertion at the identity provider, an access token for it at the server's authorization
/// server.
#[derive(Debug, Clone)]
pub struct UpstreamIdJag {
    /// May be empty: then none are asked for.
    pub scopes: Vec<String>,
    pub scope_delimiter: String,
    pub idp: IdJagEndpoint,
    pub resource_as: IdJagEndpoint,
    /// The authorization server, as it calls itself.
    pub audience: String,
    /// The server, unless it goes by its URL.
    pub resource: Option<String>,
}

/// A token endpoint, and which client the gateway is there.
#[derive(Debug, Clone)]
pub struct IdJagEndpoint {
    pub token_url: Url,
    pub client_id: String,
    pub credential: OidcCredential,
    /// `aud` of a `private_key_jwt` assertion, unless it is `token_url`.
    pub assertion_audience: Option<String>,
    /// Life of a `private_key_jwt` assertion.
    pub assertion_life: Duration,
}

/// A policy, of which the routes that name it make an [`Upstream`].
pub(super) struct Credential {
    pub id: String,
    display_name: String,
    summary: Option<String>,
    mode: UpstreamMode,
}

impl Credential {
    /// For the server at `url`.
    pub fn at(&self, url: &Url) -> Upstream {
        Upstream {
            id: self.id.clone(),
            display_name: self.display_name.clone(),
            summary: self.summary.clone(),
            server: server(url),
            mode: self.mode.clone(),
        }
    }

    /// In direct mode the gateway has no sign-in of its own, so nobody could connect an account or be vouched for.
    pub fn check_direct(&self, node: &Node, problems: &mut Problems) {
        if !matches!(self.mode, UpstreamMode::Shared(_)) {
            let mode = node.find(&["authMode"]);
            problems
                .add(
                    "conflict",
                    mode.place,
                    format!(
                        "{} needs people who sign in at the gateway, and here they sign in at AuthKit",
                        mode.shown()
                    ),
                )
                .help("write `shared-oauth`, or take a login policy such as `mcp-workos-oauth-inbound`");
        }
    }

    /// What WorkOS tells of a person is no ID token, so there is nothing to exchange.
    pub fn check_id_token(&self, node: &Node, problems: &mut Problems) {
        if matches!(self.mode, UpstreamMode::IdJag(_)) {
            let place = node.find(&["authMode"]).place;
            problems
                .add("conflict", place, "`id-jag` exchanges the ID token of a sign-in, and WorkOS gives none")
                .help("write `user-oauth`, or take a login policy such as `mcp-oauth-inbound`");
        }
    }
}

/// A secret whose variable is not set is a problem, before its absence could make a public client of a confidential
/// one.
pub(super) fn check_secrets(node: &mut Node, problems: &mut Problems) {
    let Kind::Object(members) = &mut node.kind else { return };
    for member in members {
        match &member.value.kind {
            Kind::Unset(variable)
                if !variable.is_empty() && ["clientSecret", "privateKeyPem"].contains(&member.name.as_str()) =>
            {
                let message = format!("`{}` needs the environment variable {variable}, which is not set", member.name);
                problems
                    .add("environment", member.value.place, message)
                    .help(format!("set {variable} in the environment of the gateway"));
                member.value.kind = Kind::Text(id_jag::UNSET.to_owned());
            }
            _ => check_secrets(&mut member.value, problems),
        }
    }
}

/// The server that a `rewritePattern` means.
pub(super) fn server(url: &Url) -> Url {
    let mut server = url.clone();
    server.set_query(None);
    server.set_fragment(None);
    server
}

/// `name` is the policy's, `node` its options. `None` only after a problem.
pub(super) fn resolve(
    name: &Node,
    raw: raw::TokenExchange,
    node: &Node,
    problems: &mut Problems,
) -> Option<Box<Credential>> {
    let id = id(name, raw.id.as_deref(), node, problems);
    check_text(raw.display_name.as_deref(), "displayName", node, problems);
    check_text(raw.summary.as_deref(), "summary", node, problems);
    let mode = match raw.auth_mode {
        Some(raw::UpstreamAuthMode::IdJag) => {
            check_no_oauth(&raw, node, problems);
            id_jag::resolve(raw.id_jag, node, problems).map(UpstreamMode::IdJag)
        }
        Some(mode) => {
            if raw.id_jag.is_some() {
                problems
                    .add("conflict", node.find(&["idJag"]).place, "`idJag` has no meaning with this `authMode`")
                    .help("set `authMode` to `id-jag`, or take `idJag` out");
            }
            let make = match mode {
                raw::UpstreamAuthMode::SharedOauth => UpstreamMode::Shared,
                _ => UpstreamMode::PerPerson,
            };
            oauth(&raw, node, problems).map(make)
        }
        None => None,
    };
    let id = id?;
    let display_name = raw.display_name.unwrap_or_else(|| id.clone());
    Some(Box::new(Credential { id, display_name, summary: raw.summary, mode: mode? }))
}

const ID_SHAPE: &str = "an `id` is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with no dot";

fn id(name: &Node, given: Option<&str>, node: &Node, problems: &mut Problems) -> Option<String> {
    let policy = name.as_text()?;
    let id = given.unwrap_or_else(|| policy.strip_prefix("mcp-token-exchange-").unwrap_or(policy));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=64).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(plain) {
        return Some(id.to_owned());
    }
    let problem = match given {
        Some(_) => problems.add("value", node.find(&["id"]).place, ID_SHAPE),
        None => problems.add("value", name.place, "the policy's name cannot be the `id` of its connections"),
    };
    problem.help(match given {
        Some(_) => "such as `linear`".to_owned(),
        None => format!("give it an `id` in its options, such as `linear`; {ID_SHAPE}"),
    });
    None
}

fn check_text(text: Option<&str>, key: &str, node: &Node, problems: &mut Problems) {
    if text.is_some_and(|text| text.trim().is_empty()) {
        problems
            .add("value", node.find(&[key]).place, format!("`{key}` is empty"))
            .help("give it a value, or leave it out");
    }
}

/// What belongs to the code flow and would have no effect.
fn check_no_oauth(raw: &raw::TokenExchange, node: &Node, problems: &mut Problems) {
    let scopes = (!raw.scopes.is_empty()).then_some(("scopes", "put them into `idJag.scopes`"));
    let delimiter = (raw.scope_delimiter != " ").then_some(("scopeDelimiter", "put it into `idJag.scopeDelimiter`"));
    let metadata =
        raw.protected_resource_metadata_url.as_ref().map(|_| ("protectedResourceMetadataUrl", "leave it out"));
    let prompt = raw.prompt.map(|_| ("prompt", "leave it out"));
    let manual = raw.client_registration.mode == raw::RegistrationMode::Manual;
    let client = manual.then_some(("clientRegistration", "put the client into `clientAuth` of `idp` and `resourceAs`"));
    for (key, help) in [scopes, delimiter, metadata, prompt, client].into_iter().flatten() {
        problems.add("conflict", node.find(&[key]).place, format!("`{key}` has no meaning with `id-jag`")).help(help);
    }
}

fn oauth(raw: &raw::TokenExchange, node: &Node, problems: &mut Problems) -> Option<UpstreamOAuth> {
    let metadata = raw.protected_resource_metadata_url.as_deref();
    let key = "protectedResourceMetadataUrl";
    let resource_metadata =
        metadata.map(|text| https_url(text, &node.find(&[key]), key, "leave it out to have it derived", problems));
    check_scopes(&raw.scopes, &raw.scope_delimiter, node, problems);
    let registration = registration(&raw.client_registration, &node.find(&["clientRegistration"]), problems);
    Some(UpstreamOAuth {
        prompt: prompt(raw.prompt, node, problems)?,
        resource_metadata: match resource_metadata {
            Some(url) => Some(url?),
            None => None,
        },
        scopes: (!raw.scopes.is_empty()).then(|| raw.scopes.clone()),
        scope_delimiter: raw.scope_delimiter.clone(),
        registration: registration?,
    })
}

fn prompt(raw: Option<raw::UpstreamPrompt>, node: &Node, problems: &mut Problems) -> Option<UpstreamPrompt> {
    use raw::{PromptValue as Value, UpstreamPrompt as Raw};
    Some(match raw {
        None => UpstreamPrompt::ForOfflineAccess,
        Some(Raw::Switch(false)) => UpstreamPrompt::Never,
        Some(Raw::Switch(true)) => {
            problems
                .add("value", node.find(&["prompt"]).place, "`prompt` is a value, or `false` for none at all")
                .help("write `none`, `login`, `consent`, `select_account` or `false`");
            return None;
        }
        Some(Raw::Value(value)) => UpstreamPrompt::Always(match value {
            Value::None => "none",
            Value::Login => "login",
            Value::Consent => "consent",
            Value::SelectAccount => "select_account",
        }),
    })
}

/// Scopes of any authorization server: RFC 6749 §3.3 says what they are made of.
fn check_scopes(scopes: &[String], delimiter: &str, node: &Node, problems: &mut Problems) {
    if delimiter.is_empty() || delimiter.len() > 8 || delimiter.chars().any(char::is_control) {
        problems
            .add("value", node.find(&["scopeDelimiter"]).place, "`scopeDelimiter` is what stands between two scopes")
            .help("such as ` ` or `,`; the default is a blank");
    }
    let token = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    for (index, scope) in scopes.iter().enumerate() {
        let entry = node.find(&["scopes", &index.to_string()]);
        if scope.is_empty() || !scope.bytes().all(token) {
            problems
                .add("value", entry.place, format!("{} is not a scope", entry.shown()))
                .help("write each scope as an entry of its own, such as `[\"read\", \"write\"]`");
        } else if scopes[..index].contains(scope) {
            problems
                .add("duplicate", entry.place, format!("{} stands twice in this list", entry.shown()))
                .help("keep one");
        }
    }
}

fn registration(raw: &raw::ClientRegistration, node: &Node, problems: &mut Problems) -> Option<UpstreamRegistration> {
    if raw.mode == raw::RegistrationMode::Auto {
        let given = [
            ("clientId", raw.client_id.is_some()),
            ("clientSecret", raw.client_secret.is_some()),
            ("tokenEndpointAuthMethod", raw.token_endpoint_auth_method.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            problems
                .add("conflict", node.find(&[key]).place, format!("`{key}` has no meaning with the mode `auto`"))
                .help("set `mode` to `manual`, or leave it out");
        }
        return Some(UpstreamRegistration::Auto);
    }
    let Some(client_id) = &raw.client_id else {
        problems
            .add("missing", node.place, "`clientId` is missing in `clientRegistration`")
            .help("the server's authorization server shows it where the gateway is registered; `auto` needs none");
        return None;
    };
    oidc::check_client_id(Some(client_id), &node.find(&["clientId"]), problems);
    let secret = raw.client_secret.as_deref();
    oidc::check_secret(secret, &node.find(&["clientSecret"]), problems);
    let credential = match (secret, raw.token_endpoint_auth_method) {
        (None, None | Some(ManualAuthMethod::None)) => OidcCredential::None,
        (None, Some(_)) => {
            problems
                .add(
                    "missing",
                    node.find(&["tokenEndpointAuthMethod"]).place,
                    "this way of authentication needs `clientSecret`",
                )
                .help("write `$env(NAME)`; a public client has `none`");
            return None;
        }
        (Some(_), Some(ManualAuthMethod::None)) => {
            problems
                .add("conflict", node.find(&["clientSecret"]).place, "a public client has no secret")
                .help("leave the secret out, or `tokenEndpointAuthMethod`");
            return None;
        }
        (Some(secret), way) => OidcCredential::Secret {
            secret: SecretString::from(secret.to_owned()),
            way: way.map(|way| match way {
                ManualAuthMethod::ClientSecretPost => SecretWay::Post,
                ManualAuthMethod::ClientSecretBasic | ManualAuthMethod::None => SecretWay::Basic,
            }),
        },
    };
    Some(UpstreamRegistration::Manual { client_id: client_id.clone(), credential })
}

fn https_url(text: &str, node: &Node, key: &str, help: &str, problems: &mut Problems) -> Option<Url> {
    let plain = |url: &Url| url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let url = Url::parse(text).ok().filter(|url| is_https_or_loopback(url) && plain(url));
    if url.is_none() {
        problems
            .add("value", node.place, format!("`{key}` must be an https URL, or http on loopback"))
            .help(format!("without fragment, user or password; {help}"));
    }
    url
}
