//! The whole journey with an OpenID provider (IDP-3, IDP-4, IDP-6, IDP-7, IDP-8, IDP-10, IDP-11).

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::fake_oidc::{Behaviour, CLIENT_ID, CLIENT_SECRET, FakeOidc};
use super::support::browser::{Browser, Page, param_of};
use super::support::flow::TestClient;
use super::support::gateway::{Options, TestGateway};

struct World {
    provider: FakeOidc,
    gateway: TestGateway,
}

impl World {
    async fn new() -> Self {
        let provider = FakeOidc::start().await;
        let policies = json!({ "policies": [{
            "name": "login",
            "policyType": "mcp-oauth-inbound",
            "handler": { "export": "McpOAuthInboundPolicy", "options": {
                "oidc": { "issuer": provider.issuer() },
                "browserLogin": { "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET, "remoteTimeoutMs": 60_000 },
            } },
        }] });
        let options = Options { policies: Some(policies.to_string()), ..Options::default() };
        let gateway = TestGateway::start_with(options).await;
        Self { provider, gateway }
    }

    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.provider.behave(change);
    }
}

/// From the client's authorization URL to what the form *continue* leads to.
async fn leave(client: &TestClient<'_>, browser: &Browser, changes: &[(&str, &str)]) -> Page {
    let start = browser.get(&client.authorize_url("one", changes)).await;
    let transaction = start.field("transaction");
    let consent = client.gateway.url("/oauth/consent");
    browser.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await
}

/// The callback's answer, to a browser that the provider sent back.
async fn come_back(browser: &Browser, left: &Page) -> Page {
    let provider = browser.get(left.redirect()).await;
    assert!(provider.status.is_redirection(), "{}", provider.text);
    browser.get(provider.redirect()).await
}

// IDP-3, IDP-8, IDP-11
#[tokio::test]
async fn a_client_connects_through_an_openid_provider() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let left = leave(&client, &browser, &[]).await;
    let back = come_back(&browser, &left).await;
    let consent = browser.get(back.redirect()).await;
    assert!(consent.text.contains("ada@example.com"), "{}", consent.text);
    let code = client.decide(&browser, &consent, "approve").await.param("code").expect("a code");
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let called = client.call("one", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(called.status(), StatusCode::BAD_GATEWAY, "let in, and there is no server behind this route");
    let refreshed = client.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.status(), StatusCode::OK);
    assert!(!tokens.to_string().contains("canary"), "no token of the provider");
    let database = std::fs::read(world.gateway.folder().join("test.db")).unwrap();
    let wal = std::fs::read(world.gateway.folder().join("test.db-wal")).unwrap_or_default();
    for stored in [database, wal] {
        assert!(!String::from_utf8_lossy(&stored).contains("provider-access-canary"));
        assert!(!String::from_utf8_lossy(&stored).contains("provider-refresh-canary"));
    }
}

// IDP-7
#[tokio::test]
async fn nothing_of_the_client_s_request_reaches_the_provider() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let hints =
        [("login_hint", "eve@example.com"), ("prompt", "consent"), ("scope", "mcp:tools profile"), ("nonce", "n")];
    let left = leave(&client, &Browser::new(), &hints).await;
    let sent = left.redirect();
    for hint in ["eve", "consent", "mcp", "resource", "nonce=n&", "st-1"] {
        assert!(!sent.contains(hint), "{sent}");
    }
}

// IDP-4
#[tokio::test]
async fn another_issuer_on_the_callback_stops_before_the_code_is_given_away() {
    for error in [None, Some("access_denied".to_owned())] {
        let world = World::new().await;
        let client = TestClient::register(&world.gateway).await;
        world.behave(|how| {
            how.callback_issuer = Some("https://other.example".to_owned());
            how.callback_error = error;
        });
        let browser = Browser::new();
        let left = leave(&client, &browser, &[]).await;
        let back = come_back(&browser, &left).await;
        assert_eq!(back.status, StatusCode::BAD_GATEWAY);
        assert!(back.text.contains("could not be verified"), "{}", back.text);
        assert!(world.provider.token_requests().is_empty());
    }
}

// IDP-6, REV-6
#[tokio::test]
async fn a_refusal_at_the_provider_reaches_the_client_without_the_provider_s_words() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    world.behave(|how| how.callback_error = Some("access_denied".to_owned()));
    let browser = Browser::new();
    let left = leave(&client, &browser, &[]).await;
    let back = come_back(&browser, &left).await;
    assert_eq!(back.param("error").as_deref(), Some("access_denied"));
    assert_eq!(back.param("state").as_deref(), Some("st-1"));
    assert_eq!(back.param("iss").as_deref(), Some(world.gateway.origin.as_str()));
    assert!(!back.redirect().contains("canary"));
    let entries = world.gateway.assembly.store.audit_tail(100).await.unwrap();
    let denied = entries.iter().find(|entry| entry.event == "mcp_auth_consent_denied").unwrap();
    assert_eq!(denied.client_id.as_deref(), Some(client.id.as_str()));
    assert_eq!((denied.route.as_deref(), denied.reason.as_deref()), (Some("/mcp/one"), Some("provider")));
}

// IDP-8, IDP-10
#[tokio::test]
async fn a_provider_that_is_down_at_start_costs_a_try_and_not_the_gateway() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    world.behave(|how| how.metadata_status = Some(503));
    let browser = Browser::new();
    let start = browser.get(&client.authorize_url("one", &[])).await;
    let transaction = start.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
    let down = browser.post(&world.gateway.url("/oauth/consent"), &fields).await;
    assert_eq!(down.status, StatusCode::BAD_GATEWAY);
    assert!(down.text.contains("does not answer") && down.text.contains("Try again"), "{}", down.text);
    world.behave(|how| how.metadata_status = None);
    let left = browser.post(&world.gateway.url("/oauth/consent"), &fields).await;
    assert!(left.redirect().starts_with(&format!("{}/authorize?", world.provider.base())), "{}", left.text);
    let back = come_back(&browser, &left).await;
    assert!(back.redirect().contains("/oauth/consent"));
}

#[tokio::test]
async fn signing_out_leads_to_the_provider_s_own_sign_out() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let left = leave(&client, &browser, &[]).await;
    come_back(&browser, &left).await;
    let form = browser.get(&world.gateway.url("/oauth/logout")).await;
    let csrf = form.field("csrf");
    let out = browser.post(&world.gateway.url("/oauth/logout"), &[("csrf", &csrf)]).await;
    assert!(out.redirect().starts_with(&format!("{}/logout?client_id=doorward", world.provider.base())));
    assert_eq!(out.param("logout_hint").as_deref(), Some("s-1"));
    assert_eq!(out.param("post_logout_redirect_uri"), Some(world.gateway.url("/oauth/logout")));
}

#[tokio::test]
async fn another_account_is_asked_for_at_the_provider_s_login_form() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let left = leave(&client, &browser, &[]).await;
    let back = come_back(&browser, &left).await;
    let consent = browser.get(back.redirect()).await;
    let switched = client.decide(&browser, &consent, "switch").await;
    assert!(switched.redirect().starts_with(&format!("{}/authorize?", world.provider.base())));
    assert_eq!(switched.param("prompt").as_deref(), Some("login"));
}

// IDP-2, CODE-6
#[tokio::test]
async fn each_login_proves_itself_to_the_provider_with_a_verifier_of_its_own() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let left = leave(&client, &Browser::new(), &[]).await;
        seen.insert(param_of(left.redirect(), "code_challenge").expect("a challenge"));
    }
    assert_eq!(seen.len(), 3);
}
