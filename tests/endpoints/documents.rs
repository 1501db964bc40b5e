//! Clients whose id is the URL of their metadata document (CIMD), from a host that the test speaks for.

use doorward::runtime::Settings;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::browser::{Browser, client as http};
use crate::support::document_host::{DOCUMENT_URL, HOST, Host, Reply, document};
use crate::support::flow::{TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

const REDIRECT: &str = "https://client.example/callback";
const DAY: i64 = 86_400;

/// A gateway that finds [`HOST`] at the double, and lets documents come from there.
pub async fn gateway_beside(host: &Host) -> TestGateway {
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &host.root).unwrap();
    let (address, path) = (host.address, ca.path().to_owned());
    let settings = Box::new(move |settings: &mut Settings| {
        settings.outbound_ca_files = vec![path];
        settings.outbound_resolve = vec![(HOST.to_owned(), 443, address)];
        settings.cimd_allow = vec![(HOST.to_owned(), None)];
    });
    TestGateway::start_with(Options { settings, ..Options::default() }).await
}

fn client_of(gateway: &TestGateway) -> TestClient<'_> {
    TestClient { gateway, http: http(), id: DOCUMENT_URL.to_owned(), redirect_uri: REDIRECT.to_owned(), secret: None }
}

// CIMD-1, CIMD-5, CIMD-11, CODE-12, REFR-1, REV-1
#[tokio::test]
async fn a_document_that_says_only_what_it_must_is_good_for_code_refresh_and_revocation() {
    let least = json!({ "client_id": DOCUMENT_URL, "client_name": "Least", "redirect_uris": [REDIRECT] });
    let host = Host::start(Reply::json(least.to_string()));
    let gateway = gateway_beside(&host).await;
    let client = client_of(&gateway);
    let browser = Browser::new();
    // No scope in the document and none asked for: all grantable ones.
    let page = client.consent_page(&browser, &client.authorize_url("one", &[("scope", "")]), "admin").await;
    assert!(page.text.contains("Least") && page.text.contains(HOST), "the host of the id is what is proven");
    let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    assert_eq!(tokens["scope"], "mcp:tools");
    let refreshed: Value = client.refresh(tokens["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
    let (access, refresh) = (refreshed["access_token"].as_str().unwrap(), refreshed["refresh_token"].as_str().unwrap());
    assert_eq!(client.call("one", access).await.status(), StatusCode::BAD_GATEWAY, "let through");
    let fields = [("client_id", DOCUMENT_URL), ("token", refresh)];
    let revoked = post_form(&client.http, &gateway.url("/oauth/revoke"), &fields).await;
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(client.call("one", access).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(host.requests().len(), 1, "one fetch serves them all");
}

// CIMD-4, CIMD-5, CIMD-10, AUTHZ-1, CODE-2
#[tokio::test]
async fn a_document_that_does_not_fit_is_a_page_that_says_why_and_no_redirect() {
    let with = |changes: Value| {
        let mut body: Value = serde_json::from_str(&document(DOCUMENT_URL, "Good")).unwrap();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Reply::json(body.to_string())
    };
    for (reply, cause) in [
        (with(json!({ "client_id": "https://client.example/Client.json" })), "client_id"),
        (with(json!({ "client_name": null })), "client_name"),
        (with(json!({ "redirect_uris": [] })), "redirect_uris"),
        (with(json!({ "client_secret": "x" })), "client_secret"),
        (with(json!({ "token_endpoint_auth_method": "client_secret_post" })), "shared secret"),
        (with(json!({ "token_endpoint_auth_method": "tls_client_auth" })), "client authentication"),
        (Reply::json("<html>"), "not a JSON object"),
        (Reply::new(200, "text/html", "{}"), "content type"),
        (Reply::new(404, "text/plain", ""), "HTTP 404"),
        (Reply::new(302, "text/plain", "").with("location", "https://client.example/x"), "redirect"),
        (Reply::json(" ".repeat(6_000)), "larger than 5120 bytes"),
        (Reply::new(500, "text/plain", ""), "HTTP 500"),
    ] {
        let host = Host::start(reply);
        let gateway = gateway_beside(&host).await;
        let client = client_of(&gateway);
        let page = Browser::new().get(&client.authorize_url("one", &[])).await;
        assert!(matches!(page.status.as_u16(), 400 | 503) && page.location.is_none(), "{cause}: {}", page.status);
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        for text in [cause, DOCUMENT_URL] {
            assert!(page.text.contains(text), "{text} is missing from\n{}", page.text);
        }
        let expected = if cause == "HTTP 500" { (503, "temporarily_unavailable") } else { (401, "invalid_client") };
        oauth_error(client.refresh("rt_x").await, expected.0, expected.1).await;
    }
}

// CIMD-3, CIMD-10: named or not, what is inside is not reached.
#[tokio::test]
async fn an_id_that_leads_inside_is_refused_by_the_class_of_its_address() {
    let host = Host::start(Reply::json(document(DOCUMENT_URL, "Good")));
    let gateway = TestGateway::start_with(Options {
        settings: Box::new(|settings| {
            settings.outbound_resolve = vec![("inside.example".to_owned(), 443, "10.1.2.3:443".parse().unwrap())];
        }),
        ..Options::default()
    })
    .await;
    for (id, class) in [
        ("https://10.0.0.1/client.json", "private"),
        ("https://169.254.169.254/latest/meta-data", "link-local"),
        ("https://[::ffff:10.0.0.1]/client.json", "IPv4-mapped"),
        ("https://[fd00::1]/client.json", "unique local"),
        ("https://inside.example/client.json", "private"),
    ] {
        let client = TestClient { id: id.to_owned(), ..client_of(&gateway) };
        let page = Browser::new().get(&client.authorize_url("one", &[])).await;
        assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "{id}");
        assert!(page.text.to_lowercase().contains(&class.to_lowercase()), "{id}: {class} is missing\n{}", page.text);
    }
    assert!(host.requests().is_empty());
}

// CIMD-6, CIMD-7, CODE-2, REFR-1
#[tokio::test]
async fn a_live_grant_goes_on_refreshing_while_the_documents_host_is_down() {
    let host = Host::start(Reply::json(document(DOCUMENT_URL, "Good")));
    let gateway = gateway_beside(&host).await;
    let client = client_of(&gateway);
    let mut token = client.connect("one").await;
    host.say(Reply::new(503, "text/plain", ""));
    for _ in 0..3 {
        gateway.clock.advance(DAY);
        let answer = client.refresh(token["refresh_token"].as_str().unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        token = answer.json().await.unwrap();
    }
    let before = host.requests().len();
    for _ in 0..5 {
        let answer = client.refresh(token["refresh_token"].as_str().unwrap()).await;
        token = answer.json().await.unwrap();
    }
    assert_eq!(host.requests().len(), before, "a host in trouble is left alone for a moment");

    gateway.clock.advance(20 * DAY);
    let answer = client.refresh(token["refresh_token"].as_str().unwrap()).await;
    let retry = answer.headers().contains_key("retry-after");
    oauth_error(answer, 503, "temporarily_unavailable").await;
    assert!(retry, "never an error that would make it throw its tokens away");
    host.say(Reply::json(document(DOCUMENT_URL, "Good")));
    gateway.clock.advance(60);
    assert_eq!(client.refresh(token["refresh_token"].as_str().unwrap()).await.status(), StatusCode::OK);
}

// CIMD-6, AUTHZ-2: what a document no longer says no longer holds, once it is asked again.
#[tokio::test]
async fn a_changed_document_takes_effect_when_its_copy_is_no_longer_fresh() {
    let host = Host::start(Reply::json(document(DOCUMENT_URL, "Good")));
    let gateway = gateway_beside(&host).await;
    let client = client_of(&gateway);
    let ask = async || Browser::new().get(&client.authorize_url("one", &[])).await.status;
    assert_eq!(ask().await, StatusCode::OK);
    let moved = document(DOCUMENT_URL, "Good").replace("/callback", "/elsewhere");
    host.say(Reply::json(moved));
    gateway.clock.advance(240);
    assert_eq!(ask().await, StatusCode::OK, "fresh for five minutes at least");
    gateway.clock.advance(DAY);
    assert_eq!(ask().await, StatusCode::BAD_REQUEST);
}
