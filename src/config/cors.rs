//! `corsPolicies` in `policies.json`, and the one that a route names under `corsPolicy` (CORS-5).

use url::Url;

use super::diagnostic::{Place, Problems};
use super::document::Node;
use super::model::{CorsPolicy, PageOrigin};
use super::raw;

const NONE: &str = "none";
const ANYTHING_GOES: &str = "anything-goes";
const ORIGIN_HELP: &str = "scheme, host and port without a path or `/` at the end, such as `https://app.example.com` or \
                           `https://*.example.com`; `*` for any page";

/// The policies of a project by name.
#[derive(Default)]
pub(super) struct CorsPolicies {
    named: Vec<(String, CorsPolicy)>,
}

impl CorsPolicies {
    /// `nodes` are the places of `policies`, one for each.
    pub fn read(policies: Vec<raw::CorsPolicy>, nodes: &[Node], problems: &mut Problems) -> Self {
        let mut all = Self::default();
        for (policy, node) in policies.into_iter().zip(nodes) {
            let Some(name) = policy.name.clone() else { continue };
            let place = node.find(&["name"]).place;
            if name.is_empty() || [NONE, ANYTHING_GOES].contains(&name.as_str()) {
                problems
                    .add("value", place, format!("a CORS policy cannot be named `{name}`"))
                    .help(format!("`{NONE}` and `{ANYTHING_GOES}` are built in; choose another name"));
            } else if all.named.iter().any(|(other, _)| *other == name) {
                problems
                    .add("duplicate", place, format!("there are two CORS policies named `{name}`"))
                    .help("names are unique");
            }
            all.named.push((name, resolve(&policy, node, problems)));
        }
        all
    }

    /// The policy that a route names at `place`.
    pub fn of_route(&self, name: Option<&str>, place: Place, problems: &mut Problems) -> CorsPolicy {
        match name.unwrap_or(NONE) {
            NONE => CorsPolicy::default(),
            ANYTHING_GOES => CorsPolicy::anything_goes(),
            name => self.named.iter().find(|(known, _)| known == name).map_or_else(
                || {
                    let known = self.named.iter().map(|(known, _)| known.as_str()).chain([NONE, ANYTHING_GOES]);
                    problems.add("reference", place, format!("there is no CORS policy named `{name}`")).nearest(
                        name,
                        known,
                        "add it to `corsPolicies` in policies.json",
                    );
                    CorsPolicy::default()
                },
                |(_, policy)| policy.clone(),
            ),
        }
    }
}

fn resolve(policy: &raw::CorsPolicy, node: &Node, problems: &mut Problems) -> CorsPolicy {
    let place = |member: &str| node.find(&[member]).place;
    if policy.allow_credentials {
        problems
            .add("value", place("allowCredentials"), "`allowCredentials` must be false")
            .help("what opens a route is a token in the Authorization header, which works without; leave it out");
    }
    let origins = policy.allowed_origins.as_ref().map(raw::Texts::values).unwrap_or_default();
    if policy.allowed_origins.is_some() && origins.is_empty() {
        problems
            .add("value", place("allowedOrigins"), "`allowedOrigins` names no origin")
            .help("such as `https://app.example.com`; for no pages of other origins, routes say `none`");
    }
    let mut headers = |member: &str, texts: Option<&raw::Texts>| {
        let names = texts.map(raw::Texts::values).unwrap_or_default();
        for name in names.iter().filter(|name| http::HeaderName::from_bytes(name.as_bytes()).is_err()) {
            problems
                .add("value", place(member), format!("`{name}` is not the name of a header"))
                .help("such as `X-Request-Id`; `*` for any");
        }
        names.into_iter().map(str::to_owned).collect()
    };
    CorsPolicy {
        allowed_headers: headers("allowedHeaders", policy.allowed_headers.as_ref()),
        expose_headers: headers("exposeHeaders", policy.expose_headers.as_ref()),
        max_age: policy.max_age,
        origins: origins
            .into_iter()
            .enumerate()
            .filter_map(|(index, text)| {
                let origin = page_origin(text);
                if origin.is_none() {
                    let place = node.find(&["allowedOrigins", &index.to_string()]).place;
                    problems.add("value", place, format!("`{text}` is not an origin of web pages")).help(ORIGIN_HELP);
                }
                origin
            })
            .collect(),
    }
}

/// `None` for what no browser would ever send.
fn page_origin(text: &str) -> Option<PageOrigin> {
    if text == "*" {
        return Some(PageOrigin::Any);
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
        Some(_) => return None,
        None => (None, text),
    };
    let Some(below) = rest.strip_prefix("*.") else {
        let origin = Url::parse(text).ok()?.origin().ascii_serialization();
        // A star in any other place is a host to the parser, and a name to nobody.
        let names_one = scheme.is_some() && origin == text && !text.contains('*');
        return names_one.then_some(PageOrigin::Exact(origin));
    };
    let stand_in = Url::parse(&format!("{}://{below}", scheme.unwrap_or("https"))).ok()?;
    let host = stand_in.domain()?.to_owned();
    let bare =
        stand_in.origin().ascii_serialization().split_once("://").is_some_and(|(_, authority)| authority == below);
    bare.then(|| PageOrigin::Below { scheme: scheme.map(str::to_owned), host, port: stand_in.port() })
}

#[cfg(test)]
mod tests {
    use super::*;

    // CORS-5
    #[test]
    fn an_origin_matches_as_a_whole_and_a_wildcard_only_what_is_below() {
        let allows = |pattern: &str, origin: &str| {
            let origins = vec![page_origin(pattern).unwrap()];
            CorsPolicy { origins, ..CorsPolicy::default() }.allows(origin)
        };
        for (pattern, origin, allowed) in [
            ("https://app.example.com", "https://app.example.com", true),
            ("https://app.example.com", "http://app.example.com", false),
            ("https://app.example.com", "https://app.example.com:8443", false),
            ("https://app.example.com", "https://app.example.com.evil.example", false),
            ("http://localhost:6274", "http://localhost:6274", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", false),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "http://a.example.com", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            ("https://*.example.com:8443", "https://a.example.com:8443", true),
            ("*.example.com", "http://a.example.com", true),
            ("*.example.com", "https://a.example.com", true),
            ("*.example.com", "ftp://a.example.com", false),
            ("*.example.com", "https://a.example.com/", false),
            ("*.example.com", "null", false),
            ("*", "null", true),
            ("*", "https://anything.example", true),
        ] {
            assert_eq!(allows(pattern, origin), allowed, "{pattern} for {origin}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for text in [
            "",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://APP.example.com",
            "https://app.example.com:443",
            "ftp://app.example.com",
            "https://*.",
            "*.",
            "https://*example.com",
            "**",
            "https://u@app.example.com",
            "https://*.example.com/",
            "*.127.0.0.1",
            "null",
        ] {
            assert_eq!(page_origin(text), None, "{text}");
        }
    }
}
