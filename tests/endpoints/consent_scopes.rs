//! Scopes that the person clears on the consent page (CONS-17).

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::browser::{Browser, Page};
use crate::support::flow::{TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

const GATEWAY: &str = r#""scopes": { "mcp:tools": [], "mail:send": [], "files:write": [], "files:all": ["files:write", "mcp:tools"] },
    "resourceServers": [{ "id": "files", "secret": "the secret of files" }]"#;

/// Calls of `/mcp/one` need `mcp:tools`, those of `/mcp/two` `files:write` as well.
async fn gateway() -> TestGateway {
    TestGateway::start_with(Options {
        gateway: GATEWAY.to_owned(),
        required_scopes: vec![("two", &["files:write"])],
        ..Options::default()
    })
    .await
}

async fn consent(client: &TestClient<'_>, browser: &Browser, slug: &str, scope: &str) -> Page {
    client.consent_page(browser, &client.authorize_url(slug, &[("scope", scope)]), "admin").await
}

async fn redeem(client: &TestClient<'_>, decided: &Page) -> Value {
    client.redeem(&decided.param("code").expect("a code")).await.json().await.unwrap()
}

/// The `scope` of an access token's claims.
fn claimed(tokens: &Value) -> Value {
    let claims = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(claims).unwrap()).unwrap();
    claims["scope"].clone()
}

/// Event, outcome and reason of every decision, oldest first.
async fn decisions(gateway: &TestGateway) -> Vec<(String, Option<String>)> {
    gateway.assembly.store.settle_audit().await;
    let entries = gateway.assembly.store.audit_tail(1000).await.unwrap().into_iter();
    entries
        .filter(|entry| entry.event.starts_with("mcp_auth_consent_"))
        .map(|entry| (entry.event, entry.reason))
        .collect()
}

// CONS-17, REFR-8, REV-6, REV-7
#[tokio::test]
async fn what_a_person_clears_is_nowhere_granted_and_the_answer_says_what_is() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = consent(&client, &browser, "one", "mcp:tools mail:send files:write").await;
    let decided = client.decide_without(&browser, &page, &["mail:send"]).await;
    let tokens = redeem(&client, &decided).await;
    let left = json!("files:write mcp:tools");
    assert_eq!((&tokens["scope"], claimed(&tokens)), (&left, left.clone()));

    let refreshed: Value = client.refresh(tokens["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!((&refreshed["scope"], claimed(&refreshed)), (&left, left.clone()));
    let refresh_token = refreshed["refresh_token"].as_str().unwrap();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("scope", "mail:send")];
    oauth_error(client.token(&fields).await, 400, "invalid_scope").await;
    for token in ["access_token", "refresh_token"] {
        let fields = [
            ("client_id", "files"),
            ("client_secret", "the secret of files"),
            ("token", refreshed[token].as_str().unwrap()),
        ];
        let response = post_form(&client.http, &gateway.url("/oauth/introspect"), &fields).await;
        let told: Value = response.json().await.unwrap();
        assert_eq!((&told["active"], &told["scope"]), (&json!(true), &left), "{token}");
    }
    let reason = Some("without `mail:send`".to_owned());
    assert_eq!(decisions(&gateway).await, [("mcp_auth_consent_approved".to_owned(), reason)]);
}

// CONS-17, SCOPE-1, SCOPE-5
#[rstest]
#[case::what_the_route_needs("one", "mcp:tools", &[])]
#[case::what_the_route_does_without("one", "mcp:tools mail:send files:write", &["files:write", "mail:send"])]
#[case::what_this_route_asks_for_beside("two", "mcp:tools mail:send files:write", &["mail:send"])]
#[case::what_brings_the_needed_one_and_what_comes_with_it("one", "files:all files:write mail:send", &["mail:send"])]
#[case::what_would_bring_what_was_asked_for_by_name("one", "files:all mcp:tools", &["files:all"])]
#[case::out_of_habit("one", "openid offline_access mcp:tools", &[])]
#[tokio::test]
async fn only_what_the_route_does_without_can_be_cleared(
    #[case] slug: &str,
    #[case] asked: &str,
    #[case] optional: &[&str],
) {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let page = consent(&client, &Browser::new(), slug, asked).await;
    assert_eq!(page.checkboxes(), optional);
    let checked = page.text.matches("<label><input type=\"checkbox\"").count();
    assert_eq!((checked, page.text.matches(" checked>").count()), (optional.len(), optional.len()), "{}", page.text);
    assert_eq!(page.text.contains("name=\"offered\""), !optional.is_empty());
}

// CONS-17: whoever sends a form of their own gets no more than the client asked for.
#[rstest]
#[case::a_scope_that_nobody_asked_for(&[("offered", "mail:send"), ("scope", "mail:send"), ("scope", "files:all")], "mail:send mcp:tools")]
#[case::offered_as_well(&[("offered", "mail:send files:all"), ("scope", "files:all")], "mcp:tools")]
#[case::in_one_field(&[("offered", "mail:send"), ("scope", "mail:send files:all")], "mcp:tools")]
#[case::without_what_was_offered(&[("scope", "files:all")], "mail:send mcp:tools")]
#[case::with_that_twice(&[("offered", "x"), ("offered", "mail:send")], "mail:send mcp:tools")]
#[case::that_clears_what_the_route_needs(&[("offered", "mail:send mcp:tools"), ("scope", "mail:send")], "mail:send")]
#[case::that_clears_what_nobody_asked_for(&[("offered", "files:write everything")], "mail:send mcp:tools")]
#[tokio::test]
async fn a_form_can_only_take_away(#[case] forged: &[(&str, &str)], #[case] granted: &str) {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = consent(&client, &browser, "one", "mcp:tools mail:send").await;
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let mut fields = vec![("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", "approve")];
    fields.extend_from_slice(forged);
    let decided = browser.post(&gateway.url("/oauth/consent"), &fields).await;
    let tokens = redeem(&client, &decided).await;
    assert_eq!((&tokens["scope"], claimed(&tokens)), (&json!(granted), json!(granted)));
}

// CONS-17, CONS-13
#[tokio::test]
async fn clearing_everything_is_a_refusal() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = consent(&client, &browser, "one", "mail:send files:write").await;
    let decided = client.decide_without(&browser, &page, &["mail:send", "files:write"]).await;
    assert_eq!((decided.param("error").as_deref(), decided.param("code")), (Some("access_denied"), None));
    assert_eq!(decisions(&gateway).await, [("mcp_auth_consent_denied".to_owned(), Some("person".to_owned()))]);
}

// CONS-12, CONS-17
#[tokio::test]
async fn the_first_of_two_choices_counts() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = consent(&client, &browser, "one", "mcp:tools mail:send").await;
    let first = client.decide_without(&browser, &page, &["mail:send"]).await;
    let second = client.decide(&browser, &page, "approve").await;
    assert_eq!(first.location, second.location);
    assert_eq!(redeem(&client, &second).await["scope"], "mcp:tools");
    assert_eq!(decisions(&gateway).await.len(), 1);
}

// CONS-17, SCOPE-5
#[tokio::test]
async fn what_was_cleared_does_not_come_with_what_implies_it() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = consent(&client, &browser, "one", "mcp:tools files:all files:write").await;
    let decided = client.decide_without(&browser, &page, &["files:write"]).await;
    assert_eq!(redeem(&client, &decided).await["scope"], "mcp:tools");
}

// CONS-17, SCOPE-6, SCOPE-8
#[tokio::test]
async fn a_call_that_needs_what_was_cleared_leads_to_the_page_again_and_never_past_it() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = consent(&client, &browser, "two", "mcp:tools files:write").await;
    assert!(page.checkboxes().is_empty(), "the route needs both");
    let url = client.authorize_url("one", &[("scope", "mcp:tools files:write")]);
    for round in 0..3 {
        let page = client.consent_page(&browser, &url, "admin").await;
        assert_eq!((page.status, page.checkboxes()), (StatusCode::OK, vec!["files:write".to_owned()]), "{round}");
        let tokens = redeem(&client, &client.decide_without(&browser, &page, &["files:write"]).await).await;
        assert_eq!(tokens["scope"], "mcp:tools", "what was asked before changes nothing");
    }
    let page = client.consent_page(&browser, &url, "admin").await;
    let tokens = redeem(&client, &client.decide(&browser, &page, "approve").await).await;
    assert_eq!(tokens["scope"], "files:write mcp:tools");
}
