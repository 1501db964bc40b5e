//! Redirect URIs (OAuth 2.1 §2.3.1, RFC 8252 §7): which are taken, and when two are the same.
//!
//! https; http on loopback only; private-use schemes. Compared as exact strings, but that for http loopback
//! URIs the port is whatever the native app got from its system (AUTHZ-2 … AUTHZ-4).

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Bytes.
const MAX_LENGTH: usize = 2048;
/// Schemes that would run or read something instead of carrying an answer.
const REFUSED_SCHEMES: &[&str] = &[
    "javascript",
    "data",
    "file",
    "vbscript",
    "blob",
    "about",
    "view-source",
    "filesystem",
    "ftp",
    "ws",
    "wss",
    "chrome",
    "chrome-extension",
    "resource",
    "jar",
    "mailto",
    "tel",
    "sms",
    "intent",
    "content",
    "livescript",
    "mhtml",
    "ms-msdt",
    "search-ms",
    "urn",
];
/// Everything but RFC 3986 `unreserved`. A space becomes `%20`, which form decoders and plain percent decoders
/// read alike; `+` is a space to the former only.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a text is no redirect URI. `Display` tells the client's maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    #[error("is longer than 2048 bytes")]
    TooLong,
    #[error("is not an absolute URI")]
    NotAbsolute,
    #[error("holds a character that no URI may hold")]
    IllegalCharacter,
    #[error("must not have a fragment")]
    Fragment,
    #[error("must not have user information")]
    UserInfo,
    #[error("uses a scheme that is not allowed")]
    Scheme,
    #[error("uses http for a host that is not loopback; use https")]
    InsecureHost,
}

/// Where an answer goes, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    Https,
    /// A program on the person's machine: `localhost`, 127.0.0.0/8 or `[::1]`, by http or https.
    Loopback,
    /// Such as `cursor://…` or `com.example.app:/…`.
    PrivateUse,
}

/// A redirect URI, kept as it was written. In JSON a plain string, checked on the way in. `Debug` shows the host
/// only (SEC-6).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

impl RedirectUri {
    /// # Errors
    /// [`RedirectUriError`].
    pub fn parse(text: &str) -> Result<Self, RedirectUriError> {
        if text.len() > MAX_LENGTH {
            return Err(RedirectUriError::TooLong);
        }
        if !text.bytes().all(is_uri_byte) {
            return Err(RedirectUriError::IllegalCharacter);
        }
        if text.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        let url = Url::parse(text).map_err(|_| RedirectUriError::NotAbsolute)?;
        if authority(text).contains('@') {
            return Err(RedirectUriError::UserInfo);
        }
        match url.scheme() {
            // The parser forgives `https:/host`; a browser would too, and land somewhere the text does not say.
            "https" | "http" if !has_authority(text) => Err(RedirectUriError::NotAbsolute),
            "https" => Ok(Self(text.to_owned())),
            "http" if is_loopback(&url) => Ok(Self(text.to_owned())),
            "http" => Err(RedirectUriError::InsecureHost),
            scheme if REFUSED_SCHEMES.contains(&scheme) => Err(RedirectUriError::Scheme),
            // `scheme:text` names no place at which an application could listen.
            _ if url.cannot_be_a_base() || text.ends_with(':') => Err(RedirectUriError::NotAbsolute),
            _ => Ok(Self(text.to_owned())),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this registered URI: byte for byte, or, for http loopback, but for the port; an
    /// empty path equals `/` there (RFC 8252 §7.3).
    #[must_use]
    pub fn matches(&self, presented: &Self) -> bool {
        if self.0 == presented.0 {
            return true;
        }
        match (self.loopback_parts(), presented.loopback_parts()) {
            (Some(registered), Some(presented)) => registered == presented,
            _ => false,
        }
    }

    /// Host, path and query of an http loopback URI; the text of each as written, but for an empty path.
    fn loopback_parts(&self) -> Option<(&str, &str, &str)> {
        // http is taken for loopback hosts only.
        let rest = self.0.strip_prefix("http://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        // The colons of an IPv6 address stand in brackets.
        let bracket = authority.rfind(']').unwrap_or(0);
        let host_end = authority[bracket..].find(':').map_or(authority.len(), |at| bracket + at);
        let (path, query) = tail.split_at(tail.find('?').unwrap_or(tail.len()));
        Some((&authority[..host_end], if path.is_empty() { "/" } else { path }, query))
    }

    #[must_use]
    pub fn kind(&self) -> RedirectKind {
        match self.scheme() {
            "http" => RedirectKind::Loopback,
            // No certificate authority vouches for who listens there, so it is a local program all the same.
            "https" if Url::parse(&self.0).is_ok_and(|url| is_loopback(&url)) => RedirectKind::Loopback,
            "https" => RedirectKind::Https,
            _ => RedirectKind::PrivateUse,
        }
    }

    /// In lower case only if it was written so; private-use schemes compare exactly anyway.
    #[must_use]
    pub fn scheme(&self) -> &str {
        let scheme = self.0.split(':').next().unwrap_or_default();
        match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => "https",
            _ if scheme.eq_ignore_ascii_case("http") => "http",
            other => other,
        }
    }

    /// What people are shown of it: host and port in punycode, or scheme and host for a private-use one.
    #[must_use]
    pub fn display_host(&self) -> String {
        let Ok(url) = Url::parse(&self.0) else { return self.scheme().to_owned() };
        let host = url.host_str().unwrap_or_default();
        let host = match self.kind() {
            RedirectKind::PrivateUse => {
                let host = idna::domain_to_ascii(host).unwrap_or_else(|_| host.escape_default().to_string());
                return if host.is_empty() {
                    format!("{}:", url.scheme())
                } else {
                    format!("{}://{host}", url.scheme())
                };
            }
            _ => host,
        };
        match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// The URI with parameters added to its query; what stands there stays, except for parameters of the same
    /// names: the client must find each of ours exactly once (AUTHZ-12, AUTHZ-13).
    #[must_use]
    pub fn with_params(&self, params: &[(&str, &str)]) -> String {
        let (base, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let is_ours = |pair: &str| {
            url::form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| params.iter().any(|(ours, _)| *ours == name))
        };
        let kept = query.split('&').filter(|pair| !pair.is_empty() && !is_ours(pair)).map(str::to_owned);
        let added = params.iter().map(|(name, value)| {
            format!("{}={}", utf8_percent_encode(name, COMPONENT), utf8_percent_encode(value, COMPONENT))
        });
        let pairs: Vec<String> = kept.chain(added).collect();
        if pairs.is_empty() { base.to_owned() } else { format!("{base}?{}", pairs.join("&")) }
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedirectUri({})", self.display_host())
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = RedirectUriError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

/// RFC 3986 §2: `unreserved`, `reserved` and the percent sign. A host outside ASCII is written in punycode.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn has_authority(text: &str) -> bool {
    text.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//") && !rest.starts_with("///"))
}

fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> RedirectUri {
        RedirectUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    // AUTHZ-4
    #[test]
    fn https_loopback_http_and_private_schemes_are_taken_and_the_rest_refused() {
        for good in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://app.example:",
            "http://localhost:33418/callback",
            "http://127.0.0.1/cb",
            "http://127.8.9.1:5/cb",
            "http://[::1]:80/",
            "http://localhost",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "com.example.app:/oauth",
            "vscode://vscode.github-authentication/did-authenticate?windowId=1",
        ] {
            uri(good);
        }
        for (bad, error) in [
            ("http://example.com/cb", RedirectUriError::InsecureHost),
            ("http://localhost.evil.example/cb", RedirectUriError::InsecureHost),
            ("http://127.0.0.1.evil.example/cb", RedirectUriError::InsecureHost),
            ("javascript:alert(1)", RedirectUriError::Scheme),
            ("JavaScript:alert(1)", RedirectUriError::Scheme),
            ("data:text/html,x", RedirectUriError::Scheme),
            ("file:///etc/passwd", RedirectUriError::Scheme),
            ("vbscript:x", RedirectUriError::Scheme),
            ("blob:https://x/1", RedirectUriError::Scheme),
            ("about:blank", RedirectUriError::Scheme),
            ("https://a.example/cb#x", RedirectUriError::Fragment),
            ("https://a.example/cb#", RedirectUriError::Fragment),
            ("https://user@a.example/cb", RedirectUriError::UserInfo),
            ("https://user:pw@a.example/cb", RedirectUriError::UserInfo),
            ("https://@a.example/cb", RedirectUriError::UserInfo),
            ("http://localhost:1@evil.example/", RedirectUriError::UserInfo),
            ("/cb", RedirectUriError::NotAbsolute),
            ("https:a.example/cb", RedirectUriError::NotAbsolute),
            ("https:///a.example/cb", RedirectUriError::NotAbsolute),
            ("", RedirectUriError::NotAbsolute),
            ("https://a.example/c b", RedirectUriError::IllegalCharacter),
            ("https://a.example/c\tb", RedirectUriError::IllegalCharacter),
            ("https://a.example\\@b.example/", RedirectUriError::IllegalCharacter),
            ("https://b\u{fc}cher.example/cb", RedirectUriError::IllegalCharacter),
            ("https://a.example/\"><script>", RedirectUriError::IllegalCharacter),
            ("urn:ietf:wg:oauth:2.0:oob", RedirectUriError::Scheme),
            ("myapp:callback", RedirectUriError::NotAbsolute),
            ("myapp:", RedirectUriError::NotAbsolute),
            ("http://0.0.0.0/cb", RedirectUriError::InsecureHost),
            ("http://[::ffff:127.0.0.1]/cb", RedirectUriError::InsecureHost),
        ] {
            assert_eq!(RedirectUri::parse(bad), Err(error), "{bad}");
        }
        let of_length = |length: usize| RedirectUri::parse(&format!("{:x<length$}", "https://a.example/"));
        assert!(of_length(2048).is_ok());
        assert_eq!(of_length(2049), Err(RedirectUriError::TooLong));
    }

    // AUTHZ-2
    #[test]
    fn a_registered_uri_matches_byte_for_byte_only() {
        let registered = uri("https://app.example/cb");
        assert!(registered.matches(&uri("https://app.example/cb")));
        for other in [
            "https://app.example/cb/",
            "https://app.example/cb?x=1",
            "https://app.example/CB",
            "https://APP.example/cb",
            "https://app.example:443/cb",
            "https://app.example.evil.example/cb",
            "https://app.example/cb/../x",
        ] {
            assert!(!registered.matches(&uri(other)), "{other}");
        }
        assert!(!uri("cursor://a/b").matches(&uri("cursor://a:1/b")));
    }

    // AUTHZ-3, CIMD-12
    #[test]
    fn the_port_of_a_loopback_uri_is_ignored_and_nothing_else() {
        let registered = uri("http://localhost/callback");
        assert!(registered.matches(&uri("http://localhost:51234/callback")));
        assert!(uri("http://127.0.0.1:8787/callback").matches(&uri("http://127.0.0.1:1/callback")));
        assert!(uri("http://[::1]/cb").matches(&uri("http://[::1]:99/cb")));
        assert!(uri("http://localhost").matches(&uri("http://localhost:1/")));
        assert!(uri("http://localhost?a").matches(&uri("http://localhost:1/?a")));
        assert!(!uri("https://localhost:1/cb").matches(&uri("https://localhost:2/cb")));
        for other in [
            "http://127.0.0.1:51234/callback",
            "http://localhost:51234/callback/",
            "http://localhost:51234/Callback",
            "http://localhost:51234/callback?x=1",
            "https://localhost/callback",
        ] {
            assert!(!registered.matches(&uri(other)), "{other}");
        }
    }

    // AUTHZ-13
    #[test]
    fn an_existing_query_is_kept() {
        let params = [("code", "a b&c"), ("state", "ä")];
        assert_eq!(
            uri("https://a.example/cb").with_params(&params),
            "https://a.example/cb?code=a%20b%26c&state=%C3%A4"
        );
        assert_eq!(
            uri("https://a.example/cb?x=%20").with_params(&params[..1]),
            "https://a.example/cb?x=%20&code=a%20b%26c"
        );
        assert_eq!(uri("https://a.example/cb?").with_params(&params[..1]), "https://a.example/cb?code=a%20b%26c");
    }

    // AUTHZ-12, AUTHZ-13
    #[test]
    fn a_registered_query_cannot_double_our_parameters() {
        let params = [("code", "c"), ("iss", "https://gw")];
        let answer = uri("https://a.example/cb?iss=https%3A%2F%2Fevil&%63ode=x&keep=1").with_params(&params);
        assert_eq!(answer, "https://a.example/cb?keep=1&code=c&iss=https%3A%2F%2Fgw");
    }

    // CONS-2, CONS-3
    #[test]
    fn a_loopback_host_is_a_local_program_by_https_too() {
        assert_eq!(uri("https://localhost:8443/cb").kind(), RedirectKind::Loopback);
        assert_eq!(uri("https://127.0.0.1/cb").kind(), RedirectKind::Loopback);
        assert_eq!(uri("HTTP://localhost/cb").kind(), RedirectKind::Loopback);
        assert_eq!(uri("HTTPS://app.example/cb").kind(), RedirectKind::Https);
        assert_eq!(uri("HTTPS://app.example/cb").kind(), RedirectKind::Https);
        assert_eq!(uri("cursor://localhost/cb").kind(), RedirectKind::PrivateUse);
    }

    #[test]
    fn in_json_it_is_a_plain_string_checked_on_the_way_in() {
        let json = "\"http://localhost/callback\"";
        let parsed: RedirectUri = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), json);
        assert!(serde_json::from_str::<RedirectUri>("\"javascript:alert(1)\"").is_err());
    }

    // CONS-6, CONS-7
    #[test]
    fn people_see_the_host_in_punycode() {
        assert_eq!(uri("https://xn--pple-43d.com/cb").display_host(), "xn--pple-43d.com");
        assert_eq!(uri("http://localhost:3/cb").display_host(), "localhost:3");
        assert_eq!(uri("cursor://anysphere.cursor-mcp/oauth/callback").display_host(), "cursor://anysphere.cursor-mcp");
        assert_eq!(uri("com.example.app:/oauth").display_host(), "com.example.app:");
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics_and_what_is_taken_matches_itself(text in "\\PC{0,80}|(https?|cursor)://[a-z\\[\\]:.@0-9]{0,20}/?[a-z?&=%]{0,20}") {
            if let Ok(uri) = RedirectUri::parse(&text) {
                assert!(uri.matches(&uri));
                assert!(RedirectUri::parse(&uri.with_params(&[("a", "b")])).is_ok());
                let _ = uri.display_host();
            }
        }

        // AUTHZ-13
        #[test]
        fn any_state_comes_back_once_and_unchanged(state in "\\PC{0,60}|[\\x00-\\x7f]{0,60}", query in "[a-z=&]{0,12}|state=x") {
            let answer = uri(&format!("https://a.example/cb?{query}")).with_params(&[("state", &state)]);
            let url = Url::parse(&answer).unwrap();
            let found: Vec<_> = url.query_pairs().filter(|(name, _)| name == "state").map(|(_, value)| value).collect();
            assert_eq!(found, [state]);
        }
    }
}
