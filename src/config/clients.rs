//! `gateway.clients`: clients the operator declares (STAT-1, STAT-2, STAT-5).

use std::collections::BTreeMap;

use super::diagnostic::{Place, Problems};
use super::document::Node;
use super::model::RedirectAllowance;
use super::raw;
use super::routes::Known;
use crate::crypto::SecretHash;
use crate::domain::client::{AuthMethod, ClientKeys, GrantType};
use crate::domain::{Client, ClientId, ClientOrigin, UnixTime};
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;

/// What a static client is checked against.
struct Surroundings<'a> {
    scopes: &'a BTreeMap<String, Vec<String>>,
    allow_list: Option<&'a [RedirectAllowance]>,
    routes: &'a Known,
}

pub(super) fn resolve(
    raw: &[raw::StaticClient],
    gateway: &Node,
    scopes: &BTreeMap<String, Vec<String>>,
    allow_list: Option<&[RedirectAllowance]>,
    routes: &Known,
    problems: &mut Problems,
) -> Vec<Client> {
    let surroundings = Surroundings { scopes, allow_list, routes };
    let mut seen: Vec<(&str, Place)> = Vec::new();
    let mut clients = Vec::with_capacity(raw.len());
    for (index, client) in raw.iter().enumerate() {
        let node = gateway.find(&["clients", &index.to_string()]);
        let Some(id) = client.client_id.as_deref() else { continue };
        let place = node.find(&["clientId"]).place;
        check_id(id, place, problems);
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == id) {
            let first = problems.locate(*first, place);
            problems
                .add("duplicate", place, format!("there are two clients with the id `{id}`"))
                .help(format!("the first stands {first}; ids are unique"));
        }
        seen.push((id, place));
        clients.push(surroundings.client(id, client, &node, problems));
    }
    clients
}

fn check_id(id: &str, place: Place, problems: &mut Problems) {
    let message = if id.contains("://") || id.starts_with("http:") || id.starts_with("https:") {
        "a static client's id cannot be a URL: those belong to client metadata documents"
    } else if id.starts_with("dcr_") {
        "a static client's id cannot begin with `dcr_`: those belong to registered clients"
    } else if id.starts_with("usr_") {
        "a static client's id cannot begin with `usr_`: those belong to people"
    } else if id.is_empty() || id.len() > 200 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        "a client id is 1 to 200 printable ASCII characters without blanks"
    } else {
        return;
    };
    problems.add("value", place, message).help("choose a name such as `ci-runner`");
}

impl Surroundings<'_> {
    fn client(&self, id: &str, raw: &raw::StaticClient, node: &Node, problems: &mut Problems) -> Client {
        if raw.name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 200) {
            problems
                .add("value", node.find(&["name"]).place, "a client's name has 1 to 200 characters")
                .help("it is shown on the consent page");
        }
        let auth_method = auth_method(raw, node, problems);
        Client {
            id: ClientId::new(id),
            origin: ClientOrigin::Static,
            name: raw.name.clone(),
            redirect_uris: self.redirect_uris(raw, auth_method, node, problems),
            auth_method,
            secret_hashes: secret_hashes(raw, node, problems),
            keys: keys(raw, node, problems),
            grant_types: grant_types(raw, auth_method, node, problems),
            scopes: self.scopes(raw, node, problems),
            routes: raw
                .routes
                .as_deref()
                .map(|names| self.routes.resolve_all(names, &node.find(&["routes"]), problems)),
            software_id: None,
            software_version: None,
            client_uri: None,
            application_type: None,
            issued_at: UnixTime(0),
        }
    }

    fn redirect_uris(
        &self,
        raw: &raw::StaticClient,
        auth_method: AuthMethod,
        node: &Node,
        problems: &mut Problems,
    ) -> Vec<RedirectUri> {
        let texts = raw.redirect_uris.as_deref().unwrap_or_default();
        let browses = raw.grant_types.as_ref().is_none_or(|types| types.contains(&raw::GrantType::AuthorizationCode));
        if texts.is_empty() && browses {
            problems
                .add("missing", node.find(&["redirectUris"]).place, "the client needs `redirectUris`")
                .help("where it takes its codes, such as `https://app.example.com/callback`");
        }
        let node = node.find(&["redirectUris"]);
        let mut uris = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let entry = node.find(&[&index.to_string()]);
            let Ok(uri) = RedirectUri::parse(text) else {
                problems
                    .add("value", entry.place, "this cannot be a redirect URI")
                    .help("use https, http on loopback, or a private-use scheme such as `cursor://`; no fragment, user or password");
                continue;
            };
            if auth_method != AuthMethod::None && !text.starts_with("https:") && !text.starts_with("http:") {
                problems
                    .add("conflict", entry.place, "a private-use scheme is for public clients only")
                    .help("set `authMethod` to `none` and leave the secret out, or use an https redirect URI");
            }
            if self.allow_list.is_some_and(|list| !list.iter().any(|allowance| allows(allowance, &uri))) {
                problems
                    .add("conflict", entry.place, "`gateway.redirectUriAllowList` does not admit this redirect URI")
                    .help("add it to the list");
            }
            uris.push(uri);
        }
        uris
    }

    fn scopes(&self, raw: &raw::StaticClient, node: &Node, problems: &mut Problems) -> Option<ScopeSet> {
        let names = raw.scopes.as_ref()?;
        let node = node.find(&["scopes"]);
        if names.is_empty() {
            problems
                .add("value", node.place, "a client without scopes can do nothing")
                .help("leave `scopes` out for all scopes");
        }
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !self.scopes.contains_key(*name)) {
            let entry = node.find(&[&index.to_string()]);
            problems.add("reference", entry.place, format!("there is no scope {}", entry.shown())).nearest(
                name,
                self.scopes.keys().map(String::as_str),
                "add it to `gateway.scopes`",
            );
        }
        Some(ScopeSet::parse(&names.join(" ")))
    }
}

fn allows(allowance: &RedirectAllowance, uri: &RedirectUri) -> bool {
    match allowance {
        RedirectAllowance::Uri(allowed) => allowed.matches(uri),
        RedirectAllowance::Origin(origin) => url::Url::parse(uri.as_str()).is_ok_and(|url| url.origin() == *origin),
    }
}

/// The method, in agreement with the credentials that are given.
fn auth_method(raw: &raw::StaticClient, node: &Node, problems: &mut Problems) -> AuthMethod {
    let has_secret = raw.client_secret.is_some() || raw.client_secret_hash.is_some();
    if raw.client_secret.is_some() && raw.client_secret_hash.is_some() {
        problems
            .add(
                "conflict",
                node.find(&["clientSecretHash"]).place,
                "`clientSecret` and `clientSecretHash` exclude each other",
            )
            .help("keep the hash");
    }
    if has_secret && raw.jwks.is_some() {
        problems
            .add("conflict", node.find(&["jwks"]).place, "a client has a secret or keys, not both")
            .help("keep the keys");
    }
    let method = match raw.auth_method {
        Some(raw::AuthMethod::ClientSecretBasic) => AuthMethod::ClientSecretBasic,
        Some(raw::AuthMethod::ClientSecretPost) => AuthMethod::ClientSecretPost,
        Some(raw::AuthMethod::PrivateKeyJwt) => AuthMethod::PrivateKeyJwt,
        None if raw.jwks.is_some() => AuthMethod::PrivateKeyJwt,
        None if has_secret => AuthMethod::ClientSecretBasic,
        Some(raw::AuthMethod::None) | None => AuthMethod::None,
    };
    let place = node.find(&["authMethod"]).place;
    let name = method.as_str();
    if method.uses_secret() && !has_secret {
        problems
            .add("conflict", place, format!("`{name}` needs a secret"))
            .help("give `clientSecretHash`, or set `authMethod` to `none`");
    } else if method == AuthMethod::PrivateKeyJwt && raw.jwks.is_none() {
        problems
            .add("conflict", place, format!("`{name}` needs keys"))
            .help("give `jwks`: a JWK set, or the https URL of one");
    } else if method == AuthMethod::None && (has_secret || raw.jwks.is_some()) {
        problems
            .add("conflict", place, "`none` is for clients without credentials")
            .help("leave `authMethod` out, or the credentials");
    }
    method
}

fn secret_hashes(raw: &raw::StaticClient, node: &Node, problems: &mut Problems) -> Vec<SecretHash> {
    let mut hashes = Vec::new();
    for secret in raw.client_secret.iter().flat_map(raw::OneOrTwo::values) {
        if secret.trim().is_empty() {
            problems.add("value", node.find(&["clientSecret"]).place, "the secret is empty").help("write `$env(NAME)`");
        }
        hashes.push(SecretHash::of(secret.as_bytes()));
    }
    for text in raw.client_secret_hash.iter().flat_map(raw::OneOrTwo::values) {
        match parse_hash(text) {
            Some(hash) => hashes.push(hash),
            None => {
                problems
                    .add(
                        "value",
                        node.find(&["clientSecretHash"]).place,
                        "a secret's hash is `sha256:` and 64 hexadecimal digits",
                    )
                    .help("printf %s \"$SECRET\" | sha256sum");
            }
        }
    }
    hashes
}

fn parse_hash(text: &str) -> Option<SecretHash> {
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64)?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    SecretHash::from_slice(&bytes?)
}

fn keys(raw: &raw::StaticClient, node: &Node, problems: &mut Problems) -> Option<ClientKeys> {
    let node = node.find(&["jwks"]);
    match raw.jwks.as_ref()? {
        raw::Jwks::Url(url) => {
            if !url::Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.username().is_empty()) {
                problems
                    .add("value", node.place, "`jwks` must be an https URL or a JWK set")
                    .help("such as `https://app.example.com/jwks.json`");
            }
            Some(ClientKeys::Uri(url.clone()))
        }
        raw::Jwks::Set(set) => {
            let keys = node.get("keys").map(Node::items).unwrap_or_default();
            let public = |key: &Node| {
                key.get("kty").is_some() && ["d", "k", "p", "q"].iter().all(|name| key.get(name).is_none())
            };
            if keys.is_empty() || !keys.iter().all(public) {
                problems
                    .add("value", node.place, "`jwks` must hold public keys")
                    .help("`{\"keys\": [{\"kty\": \"EC\", …}]}`, without private members");
            }
            Some(ClientKeys::Inline(serde_json::Value::Object(set.clone().into_iter().collect())))
        }
    }
}

fn grant_types(
    raw: &raw::StaticClient,
    auth_method: AuthMethod,
    node: &Node,
    problems: &mut Problems,
) -> Vec<GrantType> {
    let Some(types) = &raw.grant_types else { return vec![GrantType::AuthorizationCode, GrantType::RefreshToken] };
    let place = node.find(&["grantTypes"]).place;
    let has = |kind| types.contains(&kind);
    if has(raw::GrantType::JwtBearer) && auth_method == AuthMethod::None {
        problems
            .add("conflict", place, "identity assertions are for clients that authenticate")
            .help("give the client `clientSecretHash` or `jwks`");
    }
    let begins = has(raw::GrantType::AuthorizationCode) || has(raw::GrantType::JwtBearer);
    let refreshes_nothing = has(raw::GrantType::RefreshToken) && !has(raw::GrantType::AuthorizationCode);
    if !types.is_empty() && (!begins || refreshes_nothing) {
        problems
            .add("value", place, "a client needs the grant type `authorization_code`")
            .help("leave `grantTypes` out for `authorization_code` and `refresh_token`");
    }
    types
        .iter()
        .map(|kind| match kind {
            raw::GrantType::AuthorizationCode => GrantType::AuthorizationCode,
            raw::GrantType::RefreshToken => GrantType::RefreshToken,
            raw::GrantType::JwtBearer => GrantType::JwtBearer,
        })
        .collect()
}
