//! Options of `mcp-oauth-inbound` (gateway.md §6.2, IDP-8, IDP-9, IDP-17).

use secrecy::SecretString;
use url::Url;

use super::claim_path::ClaimPath;
use super::diagnostic::Problems;
use super::document::Node;
use super::model::{ClientKey, OidcCredential, OidcEndpoints, OidcOptions, PersonClaims, ProviderProfile, SecretWay};
use super::raw::{self, TokenEndpointAuthMethod};
use super::workos::is_https_or_loopback;
use crate::crypto::AssertionKey;

/// `None` only after a problem.
pub(super) fn resolve(raw: &raw::Oidc, node: &Node, problems: &mut Problems) -> Option<OidcOptions> {
    let (provider, login) = (node.find(&["oidc"]), node.find(&["browserLogin"]));
    let issuer = issuer(raw.oidc.issuer.as_deref(), &provider, problems);
    let mut endpoint = |text: &Option<String>, node: &Node, key: &str| {
        text.as_deref().and_then(|text| endpoint(text, &node.find(&[key]), key, problems))
    };
    let endpoints = OidcEndpoints {
        authorization: endpoint(&raw.browser_login.url, &login, "url"),
        token: endpoint(&raw.browser_login.token_url, &login, "tokenUrl"),
        jwks: endpoint(&raw.oidc.jwks_url, &provider, "jwksUrl"),
        userinfo: endpoint(&raw.oidc.userinfo_url, &provider, "userinfoUrl"),
        end_session: endpoint(&raw.oidc.end_session_url, &provider, "endSessionUrl"),
    };
    let client_id = raw.browser_login.client_id.clone();
    check_client_id(client_id.as_deref(), &login.find(&["clientId"]), problems);
    check_scope(&raw.browser_login.scope, &login.find(&["scope"]), problems);
    let paths = [&raw.role_claim, &raw.group_claim, &raw.permission_claim].map(Option::as_deref);
    let claims = person_claims(paths, node, problems);
    let credential = credential(&raw.browser_login, &login, problems);
    let (issuer, display_name) = issuer?;
    Some(OidcOptions {
        display_name,
        issuer,
        audience: raw.oidc.audience.clone(),
        endpoints,
        client_id: client_id?,
        credential: credential?,
        requested_audience: raw.browser_login.audience.clone(),
        claims,
        profile: ProviderProfile::STANDARD,
    })
}

pub(super) fn check_client_id(id: Option<&str>, node: &Node, problems: &mut Problems) {
    if id.is_some_and(|id| id.trim().is_empty()) {
        problems
            .add("value", node.place, "`clientId` is empty")
            .help("the provider shows it where the gateway is registered as an application");
    }
}

pub(super) fn check_secret(secret: Option<&str>, node: &Node, problems: &mut Problems) {
    if secret.is_some_and(|secret| secret.trim().is_empty()) {
        problems.add("value", node.place, "the secret is empty").help("write `$env(NAME)`");
    }
}

/// An empty scope is the caller's to report.
pub(super) fn check_scope(scope: &str, node: &Node, problems: &mut Problems) {
    let scope = scope.trim();
    if !scope.is_empty() && !scope.split(' ').any(|scope| scope == "openid") {
        problems
            .add("value", node.place, "`scope` lacks `openid`, without which there is no ID token")
            .help("the default is `openid profile email`");
    }
}

/// `roleClaim`, `groupClaim` and `permissionClaim` of the options in `node`.
pub(super) fn person_claims(paths: [Option<&str>; 3], node: &Node, problems: &mut Problems) -> PersonClaims {
    let mut claim =
        |text: Option<&str>, key: &str| text.and_then(|text| claim_path(text, &node.find(&[key]), key, problems));
    let [roles, groups, permissions] = paths;
    PersonClaims {
        roles: claim(roles, "roleClaim"),
        groups: claim(groups, "groupClaim"),
        permissions: claim(permissions, "permissionClaim"),
    }
}

/// The issuer as written, and its host.
pub(super) fn issuer(text: Option<&str>, provider: &Node, problems: &mut Problems) -> Option<(String, String)> {
    let text = text?;
    let usable = |url: &Url| is_https_or_loopback(url) && url.query().is_none() && url.fragment().is_none();
    let host = Url::parse(text).ok().filter(usable).and_then(|url| url.host_str().map(str::to_owned));
    if host.is_none() {
        problems
            .add(
                "value",
                provider.find(&["issuer"]).place,
                "`issuer` must be an https URL without query or fragment, or http on loopback",
            )
            .help("such as `https://login.example.com/realms/main`, spelt as in the provider's tokens");
    } else if text.contains("/.well-known/") {
        problems
            .add("value", provider.find(&["issuer"]).place, "`issuer` must be the issuer, not its metadata document")
            .help("leave out what begins with `/.well-known/`");
    }
    host.map(|host| (text.to_owned(), host))
}

pub(super) fn endpoint(text: &str, node: &Node, key: &str, problems: &mut Problems) -> Option<Url> {
    let plain = |url: &Url| url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let url = Url::parse(text).ok().filter(|url| is_https_or_loopback(url) && plain(url));
    if url.is_none() {
        problems
            .add("value", node.place, format!("`{key}` must be an https URL, or http on loopback"))
            .help("without fragment, user or password; leave it out to have it discovered");
    }
    url
}

fn claim_path(text: &str, node: &Node, key: &str, problems: &mut Problems) -> Option<ClaimPath> {
    match ClaimPath::parse(text) {
        Ok(path) => Some(path),
        Err(error) => {
            problems.add("value", node.place, format!("`{key}` is not a claim path: {error}")).help(
                r"such as `roles`, `realm_access.roles` or `https://example.com/roles`; a dot of a name is written `\.`, in JSON `\\.`",
            );
            None
        }
    }
}

fn credential(raw: &raw::OidcBrowserLogin, login: &Node, problems: &mut Problems) -> Option<OidcCredential> {
    use TokenEndpointAuthMethod as Method;
    let (secret, key) = (raw.client_secret.as_deref(), raw.private_key.as_deref());
    let wants_key = raw.token_endpoint_auth_method.map(|method| method == Method::PrivateKeyJwt);
    let at = |key: &str| login.find(&[key]).place;
    match (secret, key, wants_key) {
        (Some(_), Some(_), _) => {
            problems
                .add("conflict", at("privateKey"), "`clientSecret` and `privateKey` exclude each other")
                .help("keep the one that the provider knows");
            None
        }
        (None, None, _) | (Some(_), None, Some(true)) | (None, Some(_), Some(false)) => {
            let (place, message) = match wants_key {
                Some(true) => (at("tokenEndpointAuthMethod"), "`private_key_jwt` needs `privateKey`"),
                Some(false) => (at("tokenEndpointAuthMethod"), "this way of authentication needs `clientSecret`"),
                None => (login.place, "`clientSecret` is missing in `browserLogin`"),
            };
            problems.add("missing", place, message).help("write `$env(NAME)`; `privateKey` takes a key in PEM");
            None
        }
        (Some(secret), None, _) => {
            check_secret(Some(secret), &login.find(&["clientSecret"]), problems);
            let way = raw.token_endpoint_auth_method.map(|method| match method {
                Method::ClientSecretPost => SecretWay::Post,
                Method::ClientSecretBasic | Method::PrivateKeyJwt => SecretWay::Basic,
            });
            Some(OidcCredential::Secret { secret: SecretString::from(secret.to_owned()), way })
        }
        (None, Some(pem), _) => {
            let Some(key) = AssertionKey::from_pem(pem) else {
                problems
                    .add("value", at("privateKey"), "`privateKey` is not a private key that can be used")
                    .help("PEM, not encrypted: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519");
                return None;
            };
            Some(OidcCredential::PrivateKey(ClientKey { key, id: raw.private_key_id.clone() }))
        }
    }
}
