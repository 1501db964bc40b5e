//! `idJag` of a token exchange policy: which client the gateway is at the two token endpoints (RFC 8693, RFC 7523).

use std::time::Duration;

use secrecy::SecretString;

use super::super::diagnostic::Problems;
use super::super::document::Node;
use super::super::model::{ClientKey, OidcCredential, SecretWay};
use super::super::oidc;
use super::super::raw::{self, ClientAssertionAlgorithm, TokenEndpointAuthMethod};
use super::{IdJagEndpoint, UpstreamIdJag, check_scopes, check_text, https_url};
use crate::crypto::AssertionKey;

/// Without `expiresInSeconds`.
const ASSERTION_LIFE: u32 = 60;

/// Stands for a secret whose absence is reported.
pub(super) const UNSET: &str = "unset";

/// `node` holds the options of the policy. `None` only after a problem.
pub(super) fn resolve(raw: Option<raw::UpstreamIdJag>, node: &Node, problems: &mut Problems) -> Option<UpstreamIdJag> {
    let Some(raw) = raw else {
        problems
            .add("missing", node.find(&["authMode"]).place, "`id-jag` needs `idJag`")
            .help("it names the identity provider (`idp`) and the server's authorization server (`resourceAs`)");
        return None;
    };
    let node = node.find(&["idJag"]);
    check_scopes(&raw.scopes, &raw.scope_delimiter, &node, problems);
    let (at_idp, at_server) = (node.find(&["idp"]), node.find(&["resourceAs"]));
    for (key, text) in [("audience", &raw.resource_as.audience), ("resource", &raw.resource_as.resource)] {
        check_text(text.as_deref(), key, &at_server, problems);
    }
    let idp = endpoint(raw.idp.token_url.as_deref(), &raw.idp.client_auth, &at_idp, problems);
    let resource_as =
        endpoint(raw.resource_as.token_url.as_deref(), &raw.resource_as.client_auth, &at_server, problems);
    Some(UpstreamIdJag {
        scopes: raw.scopes,
        scope_delimiter: raw.scope_delimiter,
        idp: idp?,
        resource_as: resource_as?,
        audience: raw.resource_as.audience?,
        resource: raw.resource_as.resource,
    })
}

fn endpoint(
    token_url: Option<&str>,
    auth: &raw::UpstreamClientAuth,
    node: &Node,
    problems: &mut Problems,
) -> Option<IdJagEndpoint> {
    let help = "the token endpoint, such as `https://login.example.com/oauth2/token`";
    let token_url = token_url.and_then(|text| https_url(text, &node.find(&["tokenUrl"]), "tokenUrl", help, problems));
    let node = node.find(&["clientAuth"]);
    oidc::check_client_id(auth.client_id.as_deref(), &node.find(&["clientId"]), problems);
    let credential = credential(auth, &node, problems);
    Some(IdJagEndpoint {
        token_url: token_url?,
        client_id: auth.client_id.clone()?,
        credential: credential?,
        assertion_audience: auth.audience.clone(),
        assertion_life: Duration::from_secs(u64::from(auth.expires_in_seconds.unwrap_or(ASSERTION_LIFE))),
    })
}

fn credential(auth: &raw::UpstreamClientAuth, node: &Node, problems: &mut Problems) -> Option<OidcCredential> {
    let way = match auth.method? {
        TokenEndpointAuthMethod::PrivateKeyJwt => return private_key(auth, node, problems),
        TokenEndpointAuthMethod::ClientSecretBasic => SecretWay::Basic,
        TokenEndpointAuthMethod::ClientSecretPost => SecretWay::Post,
    };
    let of_keys = [
        ("privateKeyPem", auth.private_key_pem.is_some()),
        ("algorithm", auth.algorithm.is_some()),
        ("keyId", auth.key_id.is_some()),
        ("audience", auth.audience.is_some()),
        ("expiresInSeconds", auth.expires_in_seconds.is_some()),
    ];
    for (key, _) in of_keys.into_iter().filter(|(_, given)| *given) {
        problems
            .add("conflict", node.find(&[key]).place, format!("`{key}` has no meaning with a secret"))
            .help("set `method` to `private_key_jwt`, or leave it out");
    }
    let Some(secret) = auth.client_secret.as_deref() else {
        problems
            .add("missing", node.find(&["method"]).place, "this way of authentication needs `clientSecret`")
            .help("write `$env(NAME)`");
        return None;
    };
    oidc::check_secret(Some(secret), &node.find(&["clientSecret"]), problems);
    Some(OidcCredential::Secret { secret: SecretString::from(secret.to_owned()), way: Some(way) })
}

fn private_key(auth: &raw::UpstreamClientAuth, node: &Node, problems: &mut Problems) -> Option<OidcCredential> {
    if auth.client_secret.is_some() {
        problems
            .add("conflict", node.find(&["clientSecret"]).place, "`clientSecret` has no meaning with `private_key_jwt`")
            .help("leave it out, or set `method` to the way the secret is sent");
    }
    let Some(pem) = auth.private_key_pem.as_deref() else {
        problems
            .add("missing", node.find(&["method"]).place, "`private_key_jwt` needs `privateKeyPem`")
            .help("write `$env(NAME)`; it takes a key in PEM");
        return None;
    };
    if pem == UNSET {
        return None;
    }
    let Some(key) = AssertionKey::from_pem(pem) else {
        problems
            .add("value", node.find(&["privateKeyPem"]).place, "`privateKeyPem` is not a private key that can be used")
            .help("PEM, not encrypted: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519");
        return None;
    };
    let own = key.algorithm();
    let Some(key) = key.with_algorithm(auth.algorithm.map_or(own, ClientAssertionAlgorithm::name)) else {
        problems
            .add("value", node.find(&["algorithm"]).place, format!("this private key signs with {own}"))
            .help("leave `algorithm` out, or give another key");
        return None;
    };
    Some(OidcCredential::PrivateKey(ClientKey { key, id: auth.key_id.clone() }))
}
