//! What a server behind and its authorization server say: the first byte picks a challenge, metadata of a resource or of a
//! server, a token answer or an error (RFC 6750, 9728, 8414, 6749).

use doorward::oauth::challenge::{UpstreamChallenge, scopes};
use doorward::oauth::server_metadata::{
    ResourceDocument, ServerDocument, resource_covers, resource_metadata_urls, same_issuer, server_metadata_urls,
};
use doorward::oauth::token_answer::{TokenAnswer, TokenKind, error_code};
use secrecy::ExposeSecret as _;
use url::Url;

pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 5 {
        0 => challenge(&String::from_utf8_lossy(rest)),
        1 => resource(rest),
        2 => server(rest),
        3 => token(rest),
        _ => error(rest),
    }
}

fn challenge(text: &str) {
    let read = UpstreamChallenge::parse(text.lines());
    for said in [&read.resource_metadata, &read.error, &read.scope].into_iter().flatten() {
        assert!(said.len() <= text.len(), "nothing is made up");
    }
    asked_for(&scopes(read.scope.as_deref()));
}

/// What goes into a request is a list of scope-tokens (RFC 6749 §3.3), bounded, each once.
fn asked_for(scopes: &[String]) {
    assert!(scopes.len() <= 100);
    for (index, scope) in scopes.iter().enumerate() {
        assert!(!scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)));
        assert!(!scopes[..index].contains(scope));
    }
}

fn resource(json: &[u8]) {
    let Some(document) = ResourceDocument::parse(json) else { return };
    asked_for(&document.scopes);
    let Some(url) = web_url(&document.resource) else { return };
    for place in resource_metadata_urls(&url) {
        assert_eq!(place.origin(), url.origin(), "a derived place is on the host it was derived from");
        assert!(place.path().starts_with("/.well-known/oauth-protected-resource"));
    }
    let mut other = url.clone();
    if other.set_host(Some("other.invalid")).is_ok() && other.origin() != url.origin() {
        assert!(!resource_covers(&url, &other) && !resource_covers(&other, &url));
    }
}

fn server(json: &[u8]) {
    let Some(document) = ServerDocument::parse(json) else { return };
    assert!(same_issuer(&document.issuer, &document.issuer));
    asked_for(&document.scopes);
    let Some(issuer) = web_url(&document.issuer) else { return };
    for place in server_metadata_urls(&issuer) {
        assert_eq!(place.origin(), issuer.origin());
    }
}

fn token(json: &[u8]) {
    for kind in [TokenKind::Bearer, TokenKind::IdJag] {
        let Ok(answer) = TokenAnswer::parse(json, kind) else { continue };
        for token in [Some(&answer.access_token), answer.refresh_token.as_ref()].into_iter().flatten() {
            let token = token.expose_secret();
            assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "it fits into a header");
            assert!(!format!("{answer:?}").contains(token) || token.len() < 12, "it is not shown");
        }
    }
}

fn error(json: &[u8]) {
    if let Some(code) = error_code(json) {
        assert!(code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || b"_ ".contains(&byte)));
    }
}

fn web_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}
