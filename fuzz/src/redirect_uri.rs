//! Redirect URIs: the first line is registered, the second presented, the third a `state` (AUTHZ-2 … AUTHZ-4).

use doorward::oauth::redirect_uri::{RedirectKind, RedirectUri};
use url::{Host, Url};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (registered, presented, state) = (RedirectUri::parse(next()), RedirectUri::parse(next()), next());
    for uri in [&registered, &presented].into_iter().flatten() {
        is_sound(uri);
        answers_come_back(uri, state);
    }
    if let (Ok(registered), Ok(presented)) = (registered, presented) {
        assert_eq!(registered.matches(&presented), presented.matches(&registered));
        if registered.matches(&presented) {
            assert_eq!(but_for_the_port(&registered), but_for_the_port(&presented));
        }
    }
}

/// What holds for each that is accepted, whatever it is compared with.
fn is_sound(uri: &RedirectUri) {
    let text = uri.as_str();
    assert!(uri.matches(uri));
    assert_eq!(RedirectUri::parse(text).as_ref(), Ok(uri));
    assert_eq!(serde_json::from_value::<RedirectUri>(serde_json::to_value(uri).unwrap()).unwrap(), *uri);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['#', '"', '<', '>', '\\']));

    let url = Url::parse(text).expect("browsers can follow it");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let kind = match url.scheme() {
        "http" => {
            assert!(local, "{text} would carry a code over the network in the clear");
            RedirectKind::Loopback
        }
        "https" if local => RedirectKind::Loopback,
        "https" => RedirectKind::Https,
        "javascript" | "data" | "file" | "vbscript" | "blob" | "about" | "mailto" => panic!("{text} is accepted"),
        _ => RedirectKind::PrivateUse,
    };
    assert_eq!(uri.kind(), kind, "{text}");

    let shown = uri.display_host();
    assert!(!shown.is_empty() && shown.is_ascii(), "{text} is shown as {shown}");
    if kind != RedirectKind::PrivateUse {
        assert!(shown.starts_with(url.host_str().unwrap()), "{text} is shown as {shown}");
    }
    assert_eq!(format!("{uri:?}"), format!("RedirectUri({shown})"));
}

/// The client finds each of our parameters exactly once, at the place it named (AUTHZ-12, AUTHZ-13).
fn answers_come_back(uri: &RedirectUri, state: &str) {
    let params = [("code", "c"), ("state", state), ("iss", "https://gw.example")];
    let (before, after) = (Url::parse(uri.as_str()).unwrap(), Url::parse(&uri.with_params(&params)).unwrap());
    assert_eq!(before[..url::Position::AfterPath], after[..url::Position::AfterPath]);
    for (name, value) in params {
        let found: Vec<_> = after.query_pairs().filter(|(known, _)| known == name).map(|(_, found)| found).collect();
        assert_eq!(found, [value], "{name} in {after}");
    }
    let others = |url: &Url| {
        let ours = |name: &str| params.iter().any(|(known, _)| *known == name);
        url.query_pairs().into_owned().filter(|(name, _)| !ours(name)).collect::<Vec<_>>()
    };
    assert_eq!(others(&before), others(&after));
}

/// A browser's view of a URI: with the port taken out where a native app may choose it.
fn but_for_the_port(uri: &RedirectUri) -> Url {
    let mut url = Url::parse(uri.as_str()).unwrap();
    if url.scheme() == "http" {
        url.set_port(None).unwrap();
    }
    url
}
