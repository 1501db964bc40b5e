//! Client-id metadata documents: the first line is the client id, the rest the body behind it (CIMD-1, CIMD-4,
//! CIMD-5).

use doorward::domain::client::AuthMethod;
use doorward::domain::{Client, UnixTime};
use doorward::oauth::client_id_metadata::{ClientIdUrl, looks_like_url, parse_document};
use url::Url;

pub fn run(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (id, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let Ok(id) = std::str::from_utf8(id) else { return };
    let Ok(url) = ClientIdUrl::parse(id) else { return };
    is_plain(&url);
    match parse_document(&url, body, UnixTime(7)) {
        Ok(client) => is_described(&client, &url, body),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The text of a client id is the URL that is fetched: nothing in it is resolved, dropped or hidden.
fn is_plain(url: &ClientIdUrl) {
    let text = url.as_str();
    assert!(looks_like_url(text));
    let parsed = Url::parse(text).unwrap();
    assert_eq!(parsed.scheme(), "https");
    assert!(parsed.username().is_empty() && parsed.password().is_none() && parsed.fragment().is_none());
    assert!(parsed.has_host() && parsed.path().len() > 1);
    let path = text.splitn(4, '/').nth(3).unwrap().split('?').next().unwrap();
    assert_eq!(path.split('/').count(), parsed.path_segments().unwrap().count(), "{text}");
}

fn is_described(client: &Client, url: &ClientIdUrl, body: &[u8]) {
    assert_eq!(client.id.as_str(), url.as_str());
    let document: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(document["client_id"], url.as_str());
    assert!(document["client_secret"].is_null());
    assert!((1..=20).contains(&client.redirect_uris.len()));
    let name = client.name.as_deref().unwrap();
    assert!(!name.trim().is_empty() && name.chars().count() <= 200 && !name.chars().any(char::is_control));
    assert!(client.secret_hashes.is_empty() && !client.auth_method.uses_secret());
    assert_eq!(client.keys.is_some(), client.auth_method == AuthMethod::PrivateKeyJwt);
    let stored: Client = serde_json::from_value(serde_json::to_value(client).unwrap()).unwrap();
    assert_eq!(stored, *client);
    assert_eq!(stored.identity_digest(), client.identity_digest(), "a consent survives the cache (CONS-4)");
}
