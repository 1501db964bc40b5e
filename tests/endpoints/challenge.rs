//! What a refused call is told (CHAL), beside what `tests/proxy/admission.rs` proves.

use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::support::browser::{Browser, client as http};
use crate::support::flow::TestClient;
use crate::support::gateway::{Options, TestGateway};

/// The attributes of a Bearer challenge, read as RFC 9110 §11.6.1 has it: each name once, each value quoted.
fn attributes(response: &Response) -> Vec<(String, String)> {
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    let [challenge] = challenges.as_slice() else { panic!("{} challenges", challenges.len()) };
    assert!(challenge.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)), "{challenge:?}");
    let mut rest = challenge.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once("=\"").unwrap();
        let end = tail.find('"').unwrap();
        assert!(found.iter().all(|(known, _)| known != name), "{name} occurs twice in {challenge:?}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(!tail[..end].contains('\\'), "{challenge:?}");
        found.push((name.to_owned(), tail[..end].to_owned()));
        rest = &tail[end + 1..];
        rest = rest.strip_prefix(", ").unwrap_or(rest);
    }
    found
}

fn value<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

// CHAL-8, CHAL-2, CHAL-3
#[tokio::test]
async fn no_slug_query_or_token_breaks_out_of_a_challenge() {
    let slug = "A_slug.v1~-";
    let options = Options { routes: vec![(slug, "http://127.0.0.1:9/mcp".to_owned())], ..Options::default() };
    let gateway = TestGateway::start_with(options).await;
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp/{slug}", gateway.origin);
    for query in
        ["", "?a=\"b\"", "?scope=\"x\", error=\"y\"", "?%22,%20error=%22none%22%0d%0aX-Evil:%201", "?\u{fc}=\u{1f6aa}"]
    {
        let url = format!("{}{query}", gateway.resource(slug));
        for authorization in [
            None,
            Some("Bearer nonsense"),
            Some("Bearer \", error=\"none\", x=\""),
            Some("Bearer a.b.c\\\""),
            Some("Bearer "),
            Some("Basic eDp5"),
        ] {
            let mut request = http().post(&url).header("content-type", "application/json").body("{}");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{query} {authorization:?}");
            assert!(!response.headers().contains_key("x-evil"));
            let attributes = attributes(&response);
            assert_eq!(value(&attributes, "resource_metadata"), Some(metadata.as_str()));
            let error = value(&attributes, "error");
            assert!(matches!(error, None | Some("invalid_token" | "invalid_request")), "{attributes:?}");
        }
    }
}

// SCOPE-5, SCOPE-1
#[tokio::test]
async fn a_broad_scope_opens_what_a_narrow_one_opens() {
    let scopes = r#""scopes": { "mcp:tools": [], "mcp:admin": ["mcp:tools"], "reports": [] }"#.to_owned();
    let gateway = TestGateway::start_with(Options { gateway: scopes, ..Options::default() }).await;
    let client = TestClient::register_with(
        &gateway,
        &json!({ "redirect_uris": [crate::support::flow::REDIRECT], "token_endpoint_auth_method": "none" }),
    )
    .await;
    let token_for = async |scope: &str| {
        let browser = Browser::new();
        let page = client.consent_page(&browser, &client.authorize_url("one", &[("scope", scope)]), "admin").await;
        let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
        let tokens: serde_json::Value = client.redeem(&code).await.json().await.unwrap();
        tokens
    };
    let broad = token_for("mcp:admin").await;
    assert_eq!(broad["scope"], "mcp:admin");
    let call = client.call("one", broad["access_token"].as_str().unwrap()).await;
    assert_eq!(call.status(), StatusCode::BAD_GATEWAY, "let through; there is no upstream");
    let unrelated = token_for("reports").await;
    let call = client.call("one", unrelated["access_token"].as_str().unwrap()).await;
    assert_eq!(call.status(), StatusCode::FORBIDDEN);
    let attributes = attributes(&call);
    assert_eq!(value(&attributes, "error"), Some("insufficient_scope"));
    assert!(value(&attributes, "scope").unwrap().split(' ').any(|scope| scope == "mcp:tools"));
}
