//! Authorization requests, as what follows `/oauth/authorize` in the request line; sent as a form when it cannot stand
//! there (AUTHZ-1 … AUTHZ-4, AUTHZ-7, AUTHZ-12, AUTHZ-13).

use doorward::oauth::redirect_uri::RedirectUri;
use http::{Method, Request, Response, Uri, header};
use http_body_util::Full;
use url::Url;

use super::world::{ORIGIN, REDIRECTS, world};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or(("", text));
    let target = |rest: &str| format!("/oauth/authorize{rest}").parse::<Uri>();
    let (method, uri, body) = match (target(text), target(path)) {
        (Ok(uri), _) if text.contains('?') => (Method::GET, uri, ""),
        (_, Ok(uri)) => (Method::POST, uri, query),
        _ => return,
    };
    // A fragment is not sent.
    let query = if method == Method::GET { uri.query().unwrap_or_default().to_owned() } else { query.to_owned() };
    let mut world = world();
    let answer = world.send(Request::builder().method(method).uri(uri).body(Full::from(body.to_owned())).unwrap());
    let status = answer.status().as_u16();
    assert!([200, 303, 400, 404, 405, 413].contains(&status), "{status}: {}", answer.body());
    assert!(!answer.body().contains("<script"));
    let params = Asked(url::form_urlencoded::parse(query.as_bytes()).into_owned().take(100).collect());
    match status {
        200 => was_complete(&params),
        303 => goes_where_it_may(&answer, &params, path),
        _ => assert!(answer.headers().get(header::LOCATION).is_none()),
    }
}

/// The request as a naive reader sees it.
struct Asked(Vec<(String, String)>);

impl Asked {
    /// The only value of a parameter; an empty one is none.
    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// A page that lets a person go on is shown for nothing less than this.
fn was_complete(params: &Asked) {
    assert_eq!(params.one("client_id").map(|id| ["app", "service", "signer"].contains(&id)), Some(true));
    assert_eq!(params.one("response_type"), Some("code"));
    assert_eq!(params.one("code_challenge_method"), Some("S256"));
    assert_eq!(params.one("code_challenge").map(str::len), Some(43));
    assert!(params.one("request").is_none() && params.one("request_uri").is_none());
    assert!(is_registered(params.one("redirect_uri").unwrap()));
    assert!(params.one("state").is_none_or(|state| state.len() <= 4096));
}

/// Nobody is signed in, so all that can leave is an error, to the place that was asked for and is registered.
fn goes_where_it_may(answer: &Response<String>, params: &Asked, path: &str) {
    let location = answer.headers()[header::LOCATION].to_str().unwrap();
    let asked = params.one("redirect_uri").unwrap();
    assert!(is_registered(asked), "{location}");
    let (asked, location) = (Url::parse(asked).unwrap(), Url::parse(location).unwrap());
    assert_eq!(asked[..url::Position::AfterPath], location[..url::Position::AfterPath]);
    let all = |name: &str| {
        let found = location.query_pairs().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(all("iss"), [format!("{ORIGIN}{path}")]);
    assert_eq!(all("error").len(), 1);
    assert_eq!(all("code"), [""; 0]);
    // No database takes NUL, so it comes back as U+FFFD, and counts as that.
    let state = params.one("state").map(|state| state.replace('\0', "\u{fffd}"));
    assert_eq!(all("state"), Vec::from_iter(state.filter(|state| state.len() <= 4096)));
}

fn is_registered(text: &str) -> bool {
    let presented = RedirectUri::parse(text).unwrap();
    REDIRECTS.iter().any(|registered| RedirectUri::parse(registered).unwrap().matches(&presented))
}
