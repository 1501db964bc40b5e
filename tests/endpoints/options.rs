//! Options of the login policy with another value than their own, and what is different then.

use doorward::runtime::Settings;
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::browser::{Browser, client as http};
use crate::support::document_host::{DOCUMENT_URL, HOST, Host, Reply, document};
use crate::support::flow::{TestClient, oauth_error};
use crate::support::gateway::{Options, TestGateway};

async fn with_gateway(options: &str) -> TestGateway {
    TestGateway::start_with(Options { gateway: options.to_owned(), ..Options::default() }).await
}

// REFR-4, REFR-5
#[tokio::test]
async fn a_superseded_token_answers_for_as_long_as_the_option_says() {
    for (seconds, waited, status) in [(5, 4, StatusCode::OK), (5, 6, StatusCode::BAD_REQUEST)] {
        let gateway = with_gateway(&format!("\"refreshTokenReuseSeconds\": {seconds}")).await;
        gateway.clock.stop();
        let client = TestClient::register(&gateway).await;
        let tokens = client.connect("one").await;
        let first = tokens["refresh_token"].as_str().unwrap();
        assert_eq!(client.refresh(first).await.status(), StatusCode::OK);
        gateway.clock.advance(waited);
        assert_eq!(client.refresh(first).await.status(), status, "{waited} of {seconds}");
    }
    let gateway = with_gateway("\"refreshTokenReuseSeconds\": 0").await;
    gateway.clock.stop();
    let client = TestClient::register(&gateway).await;
    let first = client.connect("one").await["refresh_token"].as_str().unwrap().to_owned();
    let second: Value = client.refresh(&first).await.json().await.unwrap();
    gateway.clock.advance(1);
    oauth_error(client.refresh(&first).await, 400, "invalid_grant").await;
    oauth_error(client.refresh(second["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant").await;
}

async fn with_browser_login(overrides: &str) -> TestGateway {
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{
            "clientId": "$env(WORKOS_CLIENT_ID)", "clientSecret": "$env(WORKOS_CLIENT_SECRET)",
            "browserLoginOverrides": {{ {overrides} }} }} }} }}]}}"#
    );
    let gateway = TestGateway::start_with(Options { policies: Some(policies), ..Options::default() }).await;
    gateway.clock.stop();
    gateway
}

// IDP-1
#[tokio::test]
async fn a_login_may_take_as_long_as_the_option_says() {
    for (waited, comes_to_consent) in [(59, true), (61, false)] {
        let gateway = with_browser_login("\"stateTtlSeconds\": 60").await;
        let client = TestClient::register(&gateway).await;
        let browser = Browser::new();
        let page = browser.get(&client.authorize_url("one", &[])).await;
        let fields = [("transaction", page.field("transaction")), ("decision", "continue".to_owned())];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let to_provider = browser.post(&gateway.url("/oauth/consent"), &fields).await;
        gateway.clock.advance(waited);
        let back = client.log_in(&browser, to_provider.redirect(), "member").await;
        if comes_to_consent {
            assert!(browser.get(back.redirect()).await.text.contains("Test client"));
        } else {
            assert!(back.status.is_client_error(), "{}", back.status);
            assert!(back.text.contains("This sign-in has expired"), "{}", back.text);
        }
    }
}

#[tokio::test]
async fn a_browser_stays_signed_in_for_as_long_as_the_option_says() {
    let gateway = with_browser_login("\"sessionTtlSeconds\": 600").await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    client.consent_page(&browser, &client.authorize_url("one", &[]), "member").await;
    gateway.clock.advance(590);
    let page = browser.get(&client.authorize_url("two", &[])).await;
    assert!(page.redirect().contains("/oauth/consent"), "known still: {}", page.redirect());
    gateway.clock.advance(20);
    let page = browser.get(&client.authorize_url("two", &[])).await;
    assert_eq!(page.status, StatusCode::OK, "asked to sign in: {}", page.text);
    assert!(page.text.contains("Continue to sign in"), "{}", page.text);
}

// CIMD-8
#[tokio::test]
async fn documents_come_from_hosts_that_the_options_let_them_come_from() {
    for (options, is_taken) in [
        ("\"cimdAllowedHosts\": [\"client.example\"]", true),
        ("\"cimdAllowedHosts\": [\"other.example\"]", false),
        ("\"cimdAllowedHosts\": []", false),
        ("\"cimdDeniedHosts\": [\"other.example\"]", true),
        ("\"cimdDeniedHosts\": [\"client.example\"]", false),
        ("\"cimdAllowedHosts\": [\"client.example\"], \"cimdDeniedHosts\": [\"client.example\"]", false),
    ] {
        let host = Host::start(Reply::json(document(DOCUMENT_URL, "Named")));
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), &host.root).unwrap();
        let (address, path) = (host.address, ca.path().to_owned());
        let settings = Box::new(move |settings: &mut Settings| {
            settings.outbound_ca_files = vec![path];
            settings.outbound_resolve = vec![(HOST.to_owned(), 443, address)];
            settings.cimd_allow = vec![(HOST.to_owned(), None)];
        });
        let gateway =
            TestGateway::start_with(Options { gateway: options.to_owned(), settings, ..Options::default() }).await;
        let client = TestClient {
            gateway: &gateway,
            http: http(),
            id: DOCUMENT_URL.to_owned(),
            redirect_uri: "https://client.example/callback".to_owned(),
            secret: None,
        };
        let page = Browser::new().get(&client.authorize_url("one", &[])).await;
        assert_eq!(page.status.is_success(), is_taken, "{options}: {}", page.text);
        assert_eq!(host.requests().len(), usize::from(is_taken), "{options}: nobody else is asked");
    }
}
