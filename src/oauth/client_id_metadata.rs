//! Client-id metadata documents (draft-ietf-oauth-client-id-metadata-document-01): which URLs are client ids,
//! and what the document behind one says (CIMD-1, CIMD-4, CIMD-5, CIMD-11).
//!
//! Must not fetch; `outbound` does, under guard.

use url::Url;

use super::client_metadata::{Members, MetadataError};
use super::scope::ScopeSet;
use crate::domain::client::{AuthMethod, ClientKeys};
use crate::domain::{Client, ClientId, ClientOrigin, UnixTime};

/// The longest client id, in bytes.
const MAX_LENGTH: usize = 2048;

/// Why a URL is no client id. `Display` is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdUrlError {
    #[error("the client id is longer than 2048 bytes")]
    TooLong,
    #[error("a client id that is a URL must begin with https://")]
    NotHttps,
    #[error("the client id is not a valid URL")]
    Malformed,
    #[error("a client id that is a URL must not hold a user name, a password or a fragment")]
    UserInfoOrFragment,
    #[error("a client id that is a URL must have a path, without `.` and `..` segments")]
    Path,
}

/// Whether a client id asks to be resolved as a URL. What does is never looked up as a registered id.
#[must_use]
pub fn looks_like_url(client_id: &str) -> bool {
    let begins = |scheme: &str| client_id.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    client_id.contains("://") || begins("https:") || begins("http:")
}

/// A client id that is the URL of its own metadata document, byte for byte as it was presented.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientIdUrl(String);

impl ClientIdUrl {
    /// CIMD-1.
    ///
    /// # Errors
    /// [`ClientIdUrlError`].
    pub fn parse(text: &str) -> Result<Self, ClientIdUrlError> {
        if text.len() > MAX_LENGTH {
            return Err(ClientIdUrlError::TooLong);
        }
        let rest = text.strip_prefix("https://").ok_or(ClientIdUrlError::NotHttps)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(ClientIdUrlError::Malformed);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') || text.contains('#') {
            return Err(ClientIdUrlError::UserInfoOrFragment);
        }
        // An empty authority would let the parser take the path's first segment for the host.
        if authority.is_empty() || Url::parse(text).is_err() {
            return Err(ClientIdUrlError::Malformed);
        }
        let path = path.split('?').next().unwrap_or_default();
        if path.len() < 2 || path.split('/').any(is_dot_segment) {
            return Err(ClientIdUrlError::Path);
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `.` or `..`, also percent-encoded: URL parsers resolve both spellings.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// Why a document does not describe its client. `Display` is for the client's maker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("`client_id` in the document is not the URL it was fetched from")]
    OtherClientId,
    #[error("`client_name` is missing")]
    NoName,
    #[error("a public document must not hold `{0}`")]
    Secret(String),
    #[error("a client that is known by its document cannot authenticate with a shared secret")]
    SharedSecret,
    #[error(
        "the document offers none of the methods of client authentication that are accepted: none, and private_key_jwt with `jwks` or `jwks_uri`"
    )]
    NoAuthMethod,
}

/// The client that the document at `url` describes.
///
/// # Errors
/// [`DocumentError`].
pub fn parse_document(url: &ClientIdUrl, body: &[u8], now: UnixTime) -> Result<Client, DocumentError> {
    let members = Members::from_json(body)?;
    if members.text("client_id")? != Some(url.as_str()) {
        return Err(DocumentError::OtherClientId);
    }
    if let Some(secret) = members.names().find(|name| name.starts_with("client_secret")) {
        return Err(DocumentError::Secret(secret.chars().take(40).collect()));
    }
    members.check_response_types()?;
    let keys = members.keys()?;
    let auth_method = auth_method(&members, keys.as_ref())?;
    Ok(Client {
        id: ClientId::new(url.as_str()),
        origin: ClientOrigin::MetadataDocument,
        name: Some(members.client_name()?.ok_or(DocumentError::NoName)?),
        redirect_uris: members.redirect_uris()?,
        auth_method,
        secret_hashes: Vec::new(),
        keys: keys.filter(|_| auth_method == AuthMethod::PrivateKeyJwt),
        grant_types: members.grant_types()?,
        scopes: members.text("scope")?.map(ScopeSet::parse).filter(|scope| !scope.is_empty()),
        routes: None,
        software_id: members.label("software_id")?,
        software_version: members.label("software_version")?,
        client_uri: members.web_address("client_uri")?,
        application_type: members.label("application_type")?,
        issued_at: now,
    })
}

/// CIMD-5: what the document offers, in RFC 7591's one member or in the list of SEP-3149, and we accept. A
/// client that has keys must use them; one that says nothing is public.
fn auth_method(members: &Members, keys: Option<&ClientKeys>) -> Result<AuthMethod, DocumentError> {
    let single = members.text("token_endpoint_auth_method")?;
    if single.and_then(AuthMethod::parse).is_some_and(AuthMethod::uses_secret) || single == Some("client_secret_jwt") {
        return Err(DocumentError::SharedSecret);
    }
    let list = members.texts("token_endpoint_auth_methods_supported")?;
    if single.is_none() && list.is_none() {
        return Ok(AuthMethod::None);
    }
    let offered: Vec<_> = single.into_iter().chain(list.unwrap_or_default()).filter_map(AuthMethod::parse).collect();
    if keys.is_some() && offered.contains(&AuthMethod::PrivateKeyJwt) {
        Ok(AuthMethod::PrivateKeyJwt)
    } else if offered.contains(&AuthMethod::None) {
        Ok(AuthMethod::None)
    } else {
        Err(DocumentError::NoAuthMethod)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::client::GrantType;
    use crate::oauth::redirect_uri::RedirectUri;

    const URL: &str = "https://app.example/oauth/client.json";

    fn parse(body: &Value) -> Result<Client, DocumentError> {
        parse_document(&ClientIdUrl::parse(URL).unwrap(), body.to_string().as_bytes(), UnixTime(7))
    }

    /// A document that passes, with `changes` on top.
    fn with(changes: Value) -> Result<Client, DocumentError> {
        let mut body = json!({"client_id": URL, "client_name": "App", "redirect_uris": ["https://app.example/cb"]});
        if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
            body.extend(changes);
        }
        parse(&body)
    }

    #[rstest]
    #[case("https://claude.ai/oauth/claude-code-client-metadata", None)]
    #[case("https://app.example:8443/client.json?v=1", None)]
    #[case("https://app.example/a/...", None)]
    #[case("https://app.example/a", None)]
    #[case("http://app.example/client.json", Some(ClientIdUrlError::NotHttps))]
    #[case("HTTPS://app.example/client.json", Some(ClientIdUrlError::NotHttps))]
    #[case("ftp://app.example/client.json", Some(ClientIdUrlError::NotHttps))]
    #[case("https://app.example", Some(ClientIdUrlError::Path))]
    #[case("https://app.example/", Some(ClientIdUrlError::Path))]
    #[case("https://app.example?x=/y", Some(ClientIdUrlError::Path))]
    #[case("https://app.example/a/../b", Some(ClientIdUrlError::Path))]
    #[case("https://app.example/./b", Some(ClientIdUrlError::Path))]
    #[case("https://app.example/a/%2E%2e", Some(ClientIdUrlError::Path))]
    #[case("https://app.example/a/.%2e/b", Some(ClientIdUrlError::Path))]
    #[case("https://app.example/a#b", Some(ClientIdUrlError::UserInfoOrFragment))]
    #[case("https://user@app.example/a", Some(ClientIdUrlError::UserInfoOrFragment))]
    #[case("https://u:p@app.example/a", Some(ClientIdUrlError::UserInfoOrFragment))]
    #[case("https:///app.example/a", Some(ClientIdUrlError::Malformed))]
    #[case("https://app.example\\@evil.example/a", Some(ClientIdUrlError::Malformed))]
    #[case("https://app.example/a b", Some(ClientIdUrlError::Malformed))]
    #[case("https://app.example/a\n", Some(ClientIdUrlError::Malformed))]
    #[case("https://\u{430}pple.example/a", Some(ClientIdUrlError::Malformed))]
    #[case("https://app.example:x/a", Some(ClientIdUrlError::Malformed))]
    fn cimd_1_only_plain_https_urls_with_a_path_are_client_ids(
        #[case] text: &str,
        #[case] error: Option<ClientIdUrlError>,
    ) {
        assert_eq!(ClientIdUrl::parse(text).err(), error);
        assert!(looks_like_url(text));
    }

    #[test]
    fn registered_ids_do_not_look_like_urls() {
        for id in ["dcr_AbC-_1", "my-client", "team:client", ""] {
            assert!(!looks_like_url(id), "{id}");
        }
        assert!(looks_like_url("Https:app.example"));
        let of_length = |length: usize| ClientIdUrl::parse(&format!("{URL:x<length$}"));
        assert!(of_length(2048).is_ok());
        assert_eq!(of_length(2049), Err(ClientIdUrlError::TooLong));
    }

    // CIMD-4, CIMD-11, CIMD-12
    #[test]
    fn a_document_with_portless_loopback_redirects_makes_a_public_client_for_any_port() {
        let url = ClientIdUrl::parse("https://claude.ai/oauth/claude-code-client-metadata").unwrap();
        let body = include_bytes!("../outbound/known_clients/claude-code.json");
        let client = parse_document(&url, body, UnixTime(7)).unwrap();
        assert_eq!(client.id.as_str(), url.as_str());
        assert_eq!((client.origin, client.auth_method), (ClientOrigin::MetadataDocument, AuthMethod::None));
        for presented in ["http://localhost:53999/callback", "http://127.0.0.1:4/callback"] {
            assert!(client.matching_redirect_uri(&RedirectUri::parse(presented).unwrap()).is_some(), "{presented}");
        }
        assert!(client.matching_redirect_uri(&RedirectUri::parse("http://localhost:1/other").unwrap()).is_none());
    }

    #[test]
    fn documents_in_the_form_of_hosted_clients_are_accepted() {
        let url = ClientIdUrl::parse("https://claude.ai/oauth/mcp-oauth-client-metadata").unwrap();
        let body = include_bytes!("../outbound/known_clients/claude.json");
        assert_eq!(parse_document(&url, body, UnixTime(7)).unwrap().auth_method, AuthMethod::None);

        let url = ClientIdUrl::parse("https://chatgpt.com/oauth/client.json").unwrap();
        let body = include_bytes!("../../tests/fixtures/client_id_metadata/chatgpt.json");
        let client = parse_document(&url, body, UnixTime(7)).unwrap();
        assert_eq!(client.auth_method, AuthMethod::PrivateKeyJwt);
        assert_eq!(client.keys, Some(ClientKeys::Uri("https://chatgpt.com/oauth/jwks.json".to_owned())));
    }

    #[test]
    fn cimd_11_what_is_absent_means_both_grants_and_all_scopes() {
        let client = with(json!({})).unwrap();
        assert_eq!(client.grant_types, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
        assert_eq!((client.scopes, client.auth_method, client.issued_at), (None, AuthMethod::None, UnixTime(7)));
    }

    // CIMD-11
    #[test]
    fn what_a_document_says_of_its_client_is_kept() {
        let client = with(json!({
            "scope": "mcp:tools admin", "software_id": "s", "software_version": "1.2",
            "client_uri": "https://app.example", "application_type": "native",
        }))
        .unwrap();
        assert_eq!(client.scopes, Some(ScopeSet::parse("admin mcp:tools")));
        let kept = [client.software_id, client.software_version, client.client_uri, client.application_type];
        assert_eq!(kept.map(Option::unwrap), ["s", "1.2", "https://app.example", "native"]);
        assert_eq!(with(json!({"scope": "  "})).unwrap().scopes, None);
    }

    #[rstest]
    #[case(json!({"client_id": "https://app.example/oauth/Client.json"}), "client_id")]
    #[case(json!({"client_id": null}), "client_id")]
    #[case(json!({"client_name": null}), "client_name")]
    #[case(json!({"client_name": "\u{202e}"}), "client_name")]
    #[case(json!({"redirect_uris": []}), "redirect_uris")]
    #[case(json!({"redirect_uris": ["http://evil.example/cb"]}), "redirect_uris")]
    #[case(json!({"client_secret": "x"}), "client_secret")]
    #[case(json!({"client_secret_expires_at": 0}), "client_secret_expires_at")]
    #[case(json!({"token_endpoint_auth_method": "client_secret_post"}), "shared secret")]
    #[case(json!({"token_endpoint_auth_method": "client_secret_jwt"}), "shared secret")]
    #[case(json!({"token_endpoint_auth_method": "private_key_jwt"}), "private_key_jwt with")]
    #[case(json!({"token_endpoint_auth_method": "tls_client_auth"}), "private_key_jwt with")]
    #[case(json!({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}), "private_key_jwt with")]
    #[case(json!({"jwks": {"keys": [{"kty": "oct", "k": "x"}]}}), "jwks")]
    fn cimd_4_and_5_a_document_that_does_not_fit_is_refused(#[case] changes: Value, #[case] text: &str) {
        let error = with(changes).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }

    #[rstest]
    #[case(json!({"token_endpoint_auth_method": "none"}), AuthMethod::None)]
    #[case(json!({"token_endpoint_auth_methods_supported": ["client_secret_basic", "none"]}), AuthMethod::None)]
    #[case(json!({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]}), AuthMethod::None)]
    #[case(
        json!({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"], "jwks_uri": "https://app.example/jwks"}),
        AuthMethod::PrivateKeyJwt
    )]
    #[case(
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "EC"}]}}),
        AuthMethod::PrivateKeyJwt
    )]
    #[case(json!({"jwks_uri": "https://app.example/jwks"}), AuthMethod::None)]
    fn cimd_5_both_members_name_methods_and_keys_decide(#[case] changes: Value, #[case] method: AuthMethod) {
        let client = with(changes).unwrap();
        assert_eq!(client.auth_method, method);
        assert_eq!(client.keys.is_some(), method == AuthMethod::PrivateKeyJwt);
    }
}
