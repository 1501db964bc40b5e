//! Step-up: a tool that needs a scope, or a login that is not old, and the way from its refusal to a token that serves
//! (MCP Authorization "Step-Up"; RFC 9470).

use doorward::domain::Clock as _;
use reqwest::{Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::fake_oidc::{CLIENT_ID, CLIENT_SECRET, FakeOidc};
use crate::support::browser::{Browser, Page};
use crate::support::flow::{TestClient, oauth_error};
use crate::support::gateway::{Options, TestGateway};

/// Both routes have tools that need more than others, and no server behind them.
async fn gateway(login: Value, development: bool) -> TestGateway {
    let tools = json!(["read", { "name": "delete", "scope": "tickets:delete" }, { "name": "wipe", "maxAge": 300 }]);
    let filter = json!({
        "name": "access",
        "policyType": "mcp-capability-filter-inbound",
        "handler": { "options": { "tools": tools } },
    });
    let policies = Some(json!({ "policies": [login, filter] }).to_string());
    TestGateway::start_with(Options { policies, access: Some(""), development, ..Options::default() }).await
}

async fn development() -> TestGateway {
    let options = json!({
        "clientId": "$env(WORKOS_CLIENT_ID)",
        "clientSecret": "$env(WORKOS_CLIENT_SECRET)",
        "gateway": { "scopes": { "tickets:delete": [] } },
    });
    let login = json!({ "name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": { "options": options } });
    gateway(login, true).await
}

/// 502: let through, and there is no server behind.
const PASSED: StatusCode = StatusCode::BAD_GATEWAY;

async fn call(client: &TestClient<'_>, tool: &str, tokens: &Value) -> Response {
    client
        .http
        .post(client.gateway.resource("one"))
        .bearer_auth(tokens["access_token"].as_str().unwrap())
        .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool } }))
        .send()
        .await
        .unwrap()
}

async fn redeem(client: &TestClient<'_>, browser: &Browser, consent: &Page) -> Value {
    let code = client.decide(browser, consent, "approve").await.param("code").expect("a code");
    client.redeem(&code).await.json().await.unwrap()
}

fn challenge(response: &Response) -> String {
    response.headers()["www-authenticate"].to_str().unwrap().to_owned()
}

// SCOPE-6, CHAL-7
#[tokio::test]
async fn a_tool_that_needs_a_scope_says_so_and_serves_the_token_that_brings_it() {
    let gateway = development().await;
    let client = TestClient::register(&gateway).await;
    let first = client.connect("one").await;
    let refused = call(&client, "delete", &first).await;
    let said = challenge(&refused);
    assert!(said.starts_with("Bearer error=\"insufficient_scope\", "), "{said}");
    assert!(said.contains("scope=\"mcp:tools tickets:delete\"") && said.contains("resource_metadata=\"http"), "{said}");
    oauth_error(refused, 403, "insufficient_scope").await;

    let browser = Browser::new();
    let url = client.authorize_url("one", &[("scope", "mcp:tools tickets:delete")]);
    let consent = client.consent_page(&browser, &url, "admin").await;
    let second = redeem(&client, &browser, &consent).await;
    assert_eq!(call(&client, "delete", &second).await.status(), PASSED);
    for (tool, tokens) in [("read", &first), ("read", &second)] {
        assert_eq!(call(&client, tool, tokens).await.status(), PASSED, "grants that were there go on");
    }
}

// CONS-17, SCOPE-6
#[tokio::test]
async fn a_tool_whose_scope_the_person_cleared_stays_closed_and_the_others_work() {
    let gateway = development().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let url = client.authorize_url("one", &[("scope", "mcp:tools tickets:delete")]);
    for _ in 0..2 {
        let consent = client.consent_page(&browser, &url, "admin").await;
        let decided = client.decide_without(&browser, &consent, &["tickets:delete"]).await;
        let code = decided.param("code").expect("a code");
        let tokens: Value = client.redeem(&code).await.json().await.unwrap();
        assert_eq!(call(&client, "read", &tokens).await.status(), PASSED);
        let refused = call(&client, "delete", &tokens).await;
        assert!(challenge(&refused).contains("scope=\"mcp:tools tickets:delete\""), "the client may ask again");
        oauth_error(refused, 403, "insufficient_scope").await;
    }
    let consent = client.consent_page(&browser, &url, "admin").await;
    let tokens = redeem(&client, &browser, &consent).await;
    assert_eq!(call(&client, "delete", &tokens).await.status(), PASSED, "the person may change their mind");
}

// SCOPE-6, IDP-16
#[tokio::test]
async fn a_tool_that_needs_a_fresh_login_says_so_and_the_person_signs_in_anew() {
    let gateway = development().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let consent = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let first = redeem(&client, &browser, &consent).await;
    assert_eq!(call(&client, "wipe", &first).await.status(), PASSED);

    gateway.clock.advance(310);
    let refused = call(&client, "wipe", &first).await;
    let said = challenge(&refused);
    assert!(said.starts_with("Bearer error=\"insufficient_user_authentication\", "), "{said}");
    assert!(said.ends_with("max_age=\"300\""), "{said}");
    oauth_error(refused, 403, "insufficient_user_authentication").await;
    // A token that was refreshed is of the same login.
    let refreshed: Value = client.refresh(first["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(call(&client, "wipe", &refreshed).await.status(), 403);
    assert_eq!(call(&client, "read", &refreshed).await.status(), PASSED);

    // Without `max_age` the person's session is as good as ever, and with it they go to the provider.
    let straight = browser.get(&client.authorize_url("one", &[])).await;
    assert!(straight.redirect().contains("/oauth/consent"), "{}", straight.redirect());
    let anew = client.authorize_url("one", &[("max_age", "300")]);
    let start = browser.get(&anew).await;
    let fields = [("transaction", start.field("transaction")), ("decision", "continue".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let left = browser.post(&gateway.url("/oauth/consent"), &fields).await;
    assert!(left.redirect().contains("/oauth/dev-login"), "{}", left.redirect());
    let back = client.log_in(&browser, left.redirect(), "admin").await;
    let consent = browser.get(back.redirect()).await;
    let second = redeem(&client, &browser, &consent).await;
    assert_eq!(call(&client, "wipe", &second).await.status(), PASSED);
    assert_eq!(call(&client, "wipe", &refreshed).await.status(), 403);
}

// AUTHZ-7
#[tokio::test]
async fn a_max_age_that_is_no_number_is_refused() {
    let gateway = development().await;
    let client = TestClient::register(&gateway).await;
    for max_age in ["-1", "x", "1.5"] {
        let page = Browser::new().get(&client.authorize_url("one", &[("max_age", max_age)])).await;
        assert_eq!(page.param("error").as_deref(), Some("invalid_request"), "{max_age}");
    }
}

// IDP-3, SCOPE-6
#[rstest]
#[case::fresh(Some(-10), true)]
#[case::old(Some(-400), false)]
#[case::silent(None, false)]
#[tokio::test]
async fn the_provider_is_asked_for_a_fresh_login_and_has_to_have_made_one(
    #[case] auth_time: Option<i64>,
    #[case] good: bool,
) {
    let provider = FakeOidc::start().await;
    let options = json!({
        "oidc": { "issuer": provider.issuer() },
        "browserLogin": { "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET },
        "gateway": { "scopes": { "tickets:delete": [] } },
    });
    let login = json!({ "name": "login", "policyType": "mcp-oauth-inbound", "handler": { "options": options } });
    let gateway = gateway(login, true).await;
    let client = TestClient::register(&gateway).await;
    let now = gateway.clock.now().0;
    let claims = auth_time.map(|ago| json!({ "auth_time": now + ago }));
    provider.behave(|how| how.claims = claims);

    let browser = Browser::new();
    let start = browser.get(&client.authorize_url("one", &[("max_age", "300")])).await;
    let transaction = start.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
    let left = browser.post(&gateway.url("/oauth/consent"), &fields).await;
    let sent = left.redirect().to_owned();
    assert!(sent.contains("max_age=300") && sent.contains("prompt=login"), "{sent}");
    let at_provider = browser.get(&sent).await;
    let back = browser.get(at_provider.redirect()).await;
    if !good {
        assert_eq!(back.status, StatusCode::BAD_GATEWAY, "{}", back.text);
        return;
    }
    let consent = browser.get(back.redirect()).await;
    let tokens = redeem(&client, &browser, &consent).await;
    assert_eq!(call(&client, "wipe", &tokens).await.status(), PASSED);
    // It counts when the provider saw the person, not when they came here.
    gateway.clock.advance(295);
    assert_eq!(call(&client, "wipe", &tokens).await.status(), 403);
}
