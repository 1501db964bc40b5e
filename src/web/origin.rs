//! Which public origin a request came in on (DISC-11, DISC-12, DISC-13).

use std::sync::Arc;

use url::{Host, Url};

/// The configured public URLs. The request's Host picks one; the picked one supplies the scheme, so TLS
/// termination in front needs no header.
#[derive(Debug, Clone)]
pub struct Origins {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    origin: Arc<str>,
    host: String,
    port: u16,
}

/// Why a public URL is not one.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error("`{0}` is not a URL such as https://gateway.example.com")]
    NotAUrl(String),
    #[error("`{0}` must be scheme, host and port only: tokens name the origin, so a path has no place in it")]
    NotAnOrigin(String),
    #[error("`{0}` must be https; http is for loopback only")]
    Insecure(String),
}

impl Origins {
    /// # Errors
    /// [`OriginError`] for the first URL that cannot be a public origin.
    pub fn new<S: AsRef<str>>(urls: &[S]) -> Result<Self, OriginError> {
        let entries = urls.iter().map(|url| Entry::parse(url.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// The origin an authority (`host[:port]`) stands for.
    #[must_use]
    pub fn resolve(&self, authority: &str) -> Option<Arc<str>> {
        let (host, port) = split_authority(authority)?;
        self.entries
            .iter()
            .find(|entry| {
                entry.host.eq_ignore_ascii_case(host) && port.is_none_or(|port| port == entry.port) && entry.takes(port)
            })
            .map(|entry| Arc::clone(&entry.origin))
    }

    /// The first one, for messages.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.entries.first().map(|entry| &*entry.origin)
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.origin)
    }

    /// Whether every origin is a loopback one (OPS-10).
    #[must_use]
    pub fn all_loopback(&self) -> bool {
        self.entries.iter().all(|entry| is_loopback_host(&entry.host))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, OriginError> {
        let url = Url::parse(text).map_err(|_| OriginError::NotAUrl(text.to_owned()))?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(OriginError::NotAUrl(text.to_owned()));
        };
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !bare || !matches!(url.scheme(), "http" | "https") {
            return Err(OriginError::NotAnOrigin(text.to_owned()));
        }
        if url.scheme() == "http" && !is_loopback_host(host) {
            return Err(OriginError::Insecure(text.to_owned()));
        }
        Ok(Self { origin: url.origin().ascii_serialization().into(), host: host.to_owned(), port })
    }

    /// Without a port in the Host header, the entry's port must be its scheme's own.
    fn takes(&self, port: Option<u16>) -> bool {
        let default = if self.origin.starts_with("https:") { 443 } else { 80 };
        port.is_some() || self.port == default
    }
}

/// `host` and `port` of an authority; the brackets of an IPv6 address stay.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_brackets..].find(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_brackets + colon);
            let digits = &port[1..];
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Some((host, Some(digits.parse().ok()?)))
        }
    }
}

/// Whether a host names this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Origins;

    // DISC-11
    #[test]
    fn the_host_picks_the_origin_and_the_origin_supplies_the_scheme() {
        let origins = Origins::new(&["https://gw.example.com", "http://localhost:9000", "http://[::1]:9000"]).unwrap();
        for (authority, origin) in [
            ("gw.example.com", Some("https://gw.example.com")),
            ("GW.example.com:443", Some("https://gw.example.com")),
            ("gw.example.com:80", None),
            ("localhost:9000", Some("http://localhost:9000")),
            ("localhost", None),
            ("[::1]:9000", Some("http://[::1]:9000")),
            ("evil.example", None),
            ("gw.example.com:", None),
            ("gw.example.com:9x", None),
            ("", None),
        ] {
            assert_eq!(origins.resolve(authority).as_deref(), origin, "{authority}");
        }
    }

    #[test]
    fn a_public_url_is_an_https_origin_or_a_loopback_one() {
        for bad in [
            "http://gw.example.com",
            "https://gw.example.com/path",
            "gw.example.com",
            "https://u@gw.example.com",
            "ftp://localhost",
        ] {
            assert!(Origins::new(&[bad]).is_err(), "{bad}");
        }
        assert!(Origins::new(&["http://127.0.0.1:9000"]).unwrap().all_loopback());
    }
}
