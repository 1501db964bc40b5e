//! What other servers say of themselves: protected resource metadata (RFC 9728) and authorization server metadata
//! (RFC 8414, OpenID Connect Discovery 1.0), found and read as MCP clients do (MCP authorization, 2025-11-25).
//!
//! Members of a wrong type, of a length that makes no sense, or with control characters in them count as absent; what must
//! be there is asked for by whoever reads.

use serde_json::Value;
use url::Url;

use super::challenge::scopes;

/// Of one text, in bytes: it may come to stand in an address.
const LONGEST_TEXT: usize = 2048;
/// Of one list.
const MOST_TEXTS: usize = 100;

/// RFC 9728 §2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceDocument {
    pub resource: String,
    pub authorization_servers: Vec<String>,
    pub scopes: Vec<String>,
}

impl ResourceDocument {
    /// `None` for what is no JSON object with a `resource`.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(json).ok()?;
        Some(Self {
            resource: text(&document, "resource")?.to_owned(),
            authorization_servers: texts(&document, "authorization_servers").unwrap_or_default(),
            scopes: scopes(texts(&document, "scopes_supported").unwrap_or_default().iter().map(String::as_str)),
        })
    }
}

/// RFC 8414 §2, with RFC 9207 §3 and the client-id metadata draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerDocument {
    pub issuer: String,
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Option<Url>,
    pub registration_endpoint: Option<Url>,
    pub revocation_endpoint: Option<Url>,
    pub code_challenge_methods: Option<Vec<String>>,
    pub auth_methods: Option<Vec<String>>,
    pub response_types: Option<Vec<String>>,
    pub grant_types: Option<Vec<String>>,
    pub scopes: Vec<String>,
    /// `authorization_response_iss_parameter_supported`
    pub sends_issuer: bool,
    /// `client_id_metadata_document_supported`
    pub takes_metadata_documents: bool,
}

impl ServerDocument {
    /// `None` for what is no JSON object with an `issuer`.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(json).ok()?;
        let url = |name: &str| text(&document, name).and_then(|text| Url::parse(text).ok());
        let flag = |name: &str| document.get(name).and_then(Value::as_bool).unwrap_or_default();
        Some(Self {
            issuer: text(&document, "issuer")?.to_owned(),
            authorization_endpoint: url("authorization_endpoint"),
            token_endpoint: url("token_endpoint"),
            registration_endpoint: url("registration_endpoint"),
            revocation_endpoint: url("revocation_endpoint"),
            code_challenge_methods: texts(&document, "code_challenge_methods_supported"),
            auth_methods: texts(&document, "token_endpoint_auth_methods_supported"),
            response_types: texts(&document, "response_types_supported"),
            grant_types: texts(&document, "grant_types_supported"),
            scopes: scopes(texts(&document, "scopes_supported").unwrap_or_default().iter().map(String::as_str)),
            sends_issuer: flag("authorization_response_iss_parameter_supported"),
            takes_metadata_documents: flag("client_id_metadata_document_supported"),
        })
    }
}

fn text<'d>(document: &'d Value, name: &str) -> Option<&'d str> {
    document.get(name)?.as_str().filter(|text| is_text(text))
}

/// Whether it may come to stand in an address, and in a line of the log.
fn is_text(text: &str) -> bool {
    text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control)
}

/// The texts of an array; `None` when there is no array.
fn texts(document: &Value, name: &str) -> Option<Vec<String>> {
    let items = document.get(name)?.as_array()?.iter().filter_map(Value::as_str);
    Some(items.filter(|text| is_text(text)).take(MOST_TEXTS).map(str::to_owned).collect())
}

/// Where the metadata of the resource `server` may stand (RFC 9728 §3.1): with its path inserted, then at the root.
#[must_use]
pub fn resource_metadata_urls(server: &Url) -> Vec<Url> {
    let path = bare_path(server);
    let mut urls = vec![at(server, &format!("/.well-known/oauth-protected-resource{path}"))];
    if !path.is_empty() {
        urls.push(at(server, "/.well-known/oauth-protected-resource"));
    }
    urls
}

/// Where the metadata of an authorization server may stand, in the order that MCP demands (RFC 8414 §3.1 and §5,
/// OpenID Connect Discovery §4).
#[must_use]
pub fn server_metadata_urls(issuer: &Url) -> Vec<Url> {
    let path = bare_path(issuer);
    let mut urls = vec![
        at(issuer, &format!("/.well-known/oauth-authorization-server{path}")),
        at(issuer, &format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        urls.push(at(issuer, &format!("{path}/.well-known/openid-configuration")));
    }
    urls
}

/// Whether the resource that metadata describe is `server`, or one that it is part of: of the same origin, and with a path
/// that `server`'s begins with, segment by segment.
#[must_use]
pub fn resource_covers(resource: &Url, server: &Url) -> bool {
    let segments = |url: &Url| format!("{}/", bare_path(url));
    resource.origin() == server.origin()
        && resource.fragment().is_none()
        && segments(server).starts_with(&segments(resource))
}

/// Whether two issuers are the same (RFC 8414 §3.3). Of many frameworks one half writes a slash after a host and the other
/// does not, so one slash at the end is no difference.
#[must_use]
pub fn same_issuer(one: &str, other: &str) -> bool {
    let bare = |issuer: &str| issuer.strip_suffix('/').unwrap_or(issuer).to_owned();
    bare(one) == bare(other)
}

fn bare_path(url: &Url) -> &str {
    url.path().trim_end_matches('/')
}

fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn texts(urls: &[Url]) -> Vec<&str> {
        urls.iter().map(Url::as_str).collect()
    }

    #[test]
    fn a_path_is_inserted_before_the_root_is_tried() {
        assert_eq!(
            texts(&resource_metadata_urls(&url("https://a.example/public/mcp/?x=1"))),
            [
                "https://a.example/.well-known/oauth-protected-resource/public/mcp",
                "https://a.example/.well-known/oauth-protected-resource",
            ]
        );
        assert_eq!(
            texts(&resource_metadata_urls(&url("http://localhost:3000"))),
            ["http://localhost:3000/.well-known/oauth-protected-resource"]
        );
    }

    #[test]
    fn an_issuer_with_a_path_has_three_places_and_one_without_two() {
        assert_eq!(
            texts(&server_metadata_urls(&url("https://as.example/tenant1/"))),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant1",
                "https://as.example/.well-known/openid-configuration/tenant1",
                "https://as.example/tenant1/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            texts(&server_metadata_urls(&url("https://as.example"))),
            [
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ]
        );
    }

    #[rstest]
    #[case("https://a.example/mcp", true)]
    #[case("https://a.example/mcp/", true)]
    #[case("https://a.example", true)]
    #[case("https://A.example:443/mcp", true)]
    #[case("https://a.example/mc", false)]
    #[case("https://a.example/mcp/x", false)]
    #[case("https://a.example/MCP", false)]
    #[case("https://b.example/mcp", false)]
    #[case("http://a.example/mcp", false)]
    #[case("https://a.example:8443/mcp", false)]
    #[case("https://a.example/mcp/../other", false)]
    #[case("https://a.example/mcp#x", false)]
    #[case("urn:mcp", false)]
    fn a_resource_covers_what_lies_below_it(#[case] resource: &str, #[case] covers: bool) {
        assert_eq!(resource_covers(&url(resource), &url("https://a.example/mcp")), covers);
    }

    #[test]
    fn issuers_differ_in_more_than_one_slash_at_the_end() {
        assert!(same_issuer("https://as.example/", "https://as.example"));
        for other in ["https://as.example//", "https://as.example/x", "https://AS.example", "http://as.example", ""] {
            assert!(!same_issuer("https://as.example", other), "{other}");
        }
    }

    #[test]
    fn members_of_a_wrong_type_are_absent() {
        let document = json!({
            "issuer": "https://as.example", "authorization_endpoint": 7, "token_endpoint": "not a url",
            "code_challenge_methods_supported": "S256", "token_endpoint_auth_methods_supported": ["none", 3],
            "authorization_response_iss_parameter_supported": "true", "client_id_metadata_document_supported": true,
        });
        let read = ServerDocument::parse(document.to_string().as_bytes()).unwrap();
        assert_eq!((read.authorization_endpoint, read.token_endpoint, read.code_challenge_methods), (None, None, None));
        assert_eq!(read.auth_methods.unwrap(), ["none"]);
        assert_eq!((read.sends_issuer, read.takes_metadata_documents), (false, true));
        for bad in ["", "[]", "null", "{}", r#"{"issuer":1,"resource":[]}"#] {
            assert!(ServerDocument::parse(bad.as_bytes()).is_none(), "{bad}");
            assert!(ResourceDocument::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn nothing_of_a_document_is_kept_without_bound() {
        let long = "x".repeat(LONGEST_TEXT + 1);
        let at_length = |text: &str| json!({"issuer": text, "resource": text}).to_string();
        assert!(ServerDocument::parse(at_length(&long[1..]).as_bytes()).is_some());
        assert!(ServerDocument::parse(at_length(&long).as_bytes()).is_none());
        assert!(ResourceDocument::parse(at_length(&long).as_bytes()).is_none());
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).chain([long.clone()]).collect();
        let document = json!({
            "issuer": "i", "token_endpoint": format!("https://as.example/{long}"),
            "token_endpoint_auth_methods_supported": many,
        });
        let read = ServerDocument::parse(document.to_string().as_bytes()).unwrap();
        assert_eq!((read.token_endpoint, read.auth_methods.unwrap().len()), (None, MOST_TEXTS));
    }

    // SEC-6
    #[test]
    fn no_member_brings_a_line_of_its_own_into_the_log() {
        for text in ["https://as.example/\nINFO all is well", "https://as.example/\u{1b}[2J", "\u{85}", "\t"] {
            let document = json!({ "issuer": text, "resource": text }).to_string();
            assert!(ServerDocument::parse(document.as_bytes()).is_none(), "{text:?}");
            assert!(ResourceDocument::parse(document.as_bytes()).is_none(), "{text:?}");
            let document = json!({ "resource": "r", "authorization_servers": [text] }).to_string();
            assert!(ResourceDocument::parse(document.as_bytes()).unwrap().authorization_servers.is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_document_upsets_the_reader(bytes: Vec<u8>) {
            let _ = (ServerDocument::parse(&bytes), ResourceDocument::parse(&bytes));
        }

        #[test]
        fn a_derived_place_is_on_the_host_it_was_derived_from(path in "\\PC{0,40}") {
            let server = Url::parse("https://a.example").and_then(|base| base.join(&path));
            let Some(server) = server.ok().filter(|server| server.origin().is_tuple()) else { return Ok(()) };
            for derived in resource_metadata_urls(&server).iter().chain(&server_metadata_urls(&server)) {
                assert_eq!(derived.origin(), server.origin());
            }
        }
    }
}
