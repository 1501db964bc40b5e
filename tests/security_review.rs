//! Attacks and faults that a review found, each held shut.

mod support;

use std::time::Duration;

use doorward::domain::UnixTime;
use doorward::oauth::params::Params;
use doorward::oauth::redirect_uri::RedirectUri;
use reqwest::StatusCode;
use serde_json::json;
use support::browser::{Browser, client};
use support::flow::{REDIRECT, TestClient, VERIFIER, oauth_error};
use support::gateway::{Options, TestGateway, load};

const DAY: i64 = 24 * 3600;

// STRM-8, REV-3
#[tokio::test]
async fn a_grant_at_the_end_of_its_life_joins_the_revoked_ones_and_an_unredeemed_one_does_not() {
    let gateway =
        TestGateway::start_with(Options { gateway: r#""grantTtlSeconds": 3600"#.into(), ..Options::default() }).await;
    let client = TestClient::register(&gateway).await;
    client.code("one").await;
    client.connect("one").await;
    let ended = async |since: i64, now: i64| {
        let start = doorward::domain::Clock::now(&*gateway.clock).0;
        gateway.assembly.store.ended_grants(UnixTime(start + since), UnixTime(start + now)).await.unwrap().len()
    };
    assert_eq!(ended(-DAY, 3_500).await, 0);
    assert_eq!(ended(-DAY, 3_700).await, 1);
    assert_eq!(ended(3_700, 3_800).await, 0);
}

// STRM-8, AUTHZ-17
#[tokio::test]
async fn a_login_that_starts_late_in_the_life_of_a_browsers_record_can_be_finished() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let start = async || {
        let page = browser.get(&client.authorize_url("one", &[])).await;
        let fields = [("transaction", page.field("transaction")), ("decision", "continue".to_owned())];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post(&gateway.url("/oauth/consent"), &fields).await
    };
    start().await;
    // Twice the life of a transaction is what a record without a login gets.
    gateway.clock.advance(29 * 60);
    let away = start().await;
    gateway.clock.advance(5 * 60);
    let back = client.log_in(&browser, away.redirect(), "admin").await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{}", back.text);
    // And a cookie whose record has expired, but is not taken out yet, starts over.
    let stale = Browser::new();
    stale.get(&client.authorize_url("one", &[])).await;
    for _ in 0..2 {
        let page = stale.get(&client.authorize_url("one", &[])).await;
        let transaction = page.field("transaction");
        let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
        let away = stale.post(&gateway.url("/oauth/consent"), &fields).await;
        assert!(away.redirect().contains("/oauth/dev-login"));
        gateway.clock.advance(40 * 60);
    }
    let page = client.consent_page(&stale, &client.authorize_url("one", &[]), "admin").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
}

// AUTHZ-17, CONS-15
#[tokio::test]
async fn a_browser_left_with_the_cookie_from_before_its_login_can_sign_in_again_and_go_on() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = browser.get(&client.authorize_url("one", &[])).await;
    let transaction = page.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
    let consent = gateway.url("/oauth/consent");
    let away = browser.post(&consent, &fields).await;
    // The answer that carries the new cookie is lost.
    let before = browser.cookies.lock().unwrap().clone();
    let back = client.log_in(&browser, away.redirect(), "admin").await;
    *browser.cookies.lock().unwrap() = before;
    let page = browser.get(back.redirect()).await;
    assert!(!page.text.contains("approve"), "the old cookie identifies nobody");
    let away = browser.post(&consent, &fields).await;
    let back = client.log_in(&browser, away.redirect(), "member").await;
    let page = browser.get(back.redirect()).await;
    let answer = client.decide(&browser, &page, "approve").await;
    assert!(answer.param("code").is_some());
}

// AUTHZ-5, STAT-4
#[tokio::test]
async fn a_redirect_that_the_operator_took_off_the_list_gives_no_token_any_more() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let code = client.code("one").await;
    let folder = tempfile::tempdir().unwrap();
    let narrowed =
        Options { gateway: r#""redirectUriAllowList": ["https://app.example/cb"]"#.into(), ..Options::default() };
    gateway.assembly.install(gateway.assembly.gateway(load(&narrowed, folder.path())));
    oauth_error(client.redeem(&code).await, 400, "invalid_grant").await;
}

// DCR-9
#[tokio::test]
async fn a_registration_is_idle_from_its_last_refresh_on_not_from_its_last_consent() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let mut token = client.connect("one").await;
    for _ in 0..5 {
        gateway.clock.advance(20 * DAY);
        token = client.refresh(token["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
    }
    let refresh_token = token["refresh_token"].as_str().unwrap().to_owned();
    client.token(&[("grant_type", "refresh_token"), ("refresh_token", &refresh_token)]).await;
    let http = &client.http;
    support::flow::post_form(
        http,
        &gateway.url("/oauth/revoke"),
        &[("client_id", &client.id), ("token", &refresh_token)],
    )
    .await;
    let purge = async || {
        let now = doorward::domain::Clock::now(&*gateway.clock);
        gateway.assembly.store.purge(now, Duration::from_secs(90 * 24 * 3600), 500).await.unwrap();
        let id = doorward::domain::ClientId::new(client.id.clone());
        gateway.assembly.store.registered_client(&id).await.unwrap().is_some()
    };
    gateway.clock.advance(2 * DAY);
    assert!(purge().await, "its grant has just ended");
    gateway.clock.advance(90 * DAY);
    assert!(!purge().await);
}

// CORS-1, DISC-4, DISC-8
#[tokio::test]
async fn the_documents_below_a_route_are_for_pages_of_any_origin_too() {
    let gateway = TestGateway::start().await;
    let http = client();
    for name in ["oauth-protected-resource", "openid-configuration"] {
        let url = gateway.url(&format!("/mcp/one/.well-known/{name}"));
        let answer = http.get(&url).header("origin", "https://inspector.example").send().await.unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let preflight = http
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", "https://inspector.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "mcp-protocol-version")
            .send()
            .await
            .unwrap();
        assert!(preflight.status().is_success());
        assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
        assert_eq!(preflight.headers()["access-control-allow-headers"], "mcp-protocol-version");
        let unknown = gateway.url(&format!("/mcp/three/.well-known/{name}"));
        assert_eq!(http.get(&unknown).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
}

// OPS-11
#[tokio::test]
async fn a_page_of_another_site_cannot_have_itself_approved() {
    let gateway = TestGateway::start_with(Options { auto_approve: true, ..Options::default() }).await;
    let client = TestClient::register(&gateway).await;
    let url = client.authorize_url("one", &[]);
    for (site, approved) in [(None, true), (Some("none"), true), (Some("same-site"), true), (Some("cross-site"), false)]
    {
        let mut request = client.http.get(&url);
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        let answer = request.send().await.unwrap();
        let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(location.is_some_and(|location| location.contains("code=")), approved, "{site:?}");
    }
}

// REV-3, DCR-14
#[tokio::test]
async fn the_tokens_of_a_deleted_registration_are_refused_at_once() {
    let gateway = TestGateway::start().await;
    let http = client();
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let registered: serde_json::Value =
        http.post(gateway.url("/oauth/register")).json(&body).send().await.unwrap().json().await.unwrap();
    let client = TestClient {
        gateway: &gateway,
        http: http.clone(),
        id: registered["client_id"].as_str().unwrap().to_owned(),
        redirect_uri: REDIRECT.to_owned(),
        secret: None,
    };
    let token = client.connect("one").await;
    let access_token = token["access_token"].as_str().unwrap();
    assert_ne!(client.call("one", access_token).await.status(), StatusCode::UNAUTHORIZED);
    let deleted = http
        .delete(registered["registration_client_uri"].as_str().unwrap())
        .bearer_auth(registered["registration_access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(client.call("one", access_token).await.status(), StatusCode::UNAUTHORIZED);
}

// STORE-6
#[tokio::test]
async fn calls_go_on_through_an_outage_of_the_store_for_a_bounded_time_only() {
    let gateway =
        TestGateway::start_with(Options { gateway: r#""outageGraceSeconds": 60"#.into(), ..Options::default() }).await;
    let client = TestClient::register(&gateway).await;
    let token = client.connect("one").await;
    let access_token = token["access_token"].as_str().unwrap();
    let follow = || gateway.assembly.revocations.known(doorward::domain::Clock::now(&*gateway.clock));
    let served = async || client.call("one", access_token).await.status() != StatusCode::SERVICE_UNAVAILABLE;
    follow();
    gateway.clock.advance(55);
    assert!(served().await);
    gateway.clock.advance(10);
    let refused = client.call("one", access_token).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    follow();
    assert!(served().await, "recovery needs no restart");
}

// CONS-12
#[tokio::test]
async fn approving_and_cancelling_at_once_give_one_answer() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    for _ in 0..20 {
        let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
        let other = browser.copy();
        let (approved, cancelled) =
            tokio::join!(client.decide(&browser, &page, "approve"), client.decide(&other, &page, "cancel"));
        assert_eq!(approved.redirect(), cancelled.redirect());
    }
}

// DISC-2
#[tokio::test]
async fn a_path_that_is_no_text_names_nothing() {
    let gateway = TestGateway::start().await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp/%ff",
        "/.well-known/oauth-authorization-server/%ff",
        "/.well-known/openid-configuration/%ff",
        "/oauth/authorize/%ff",
        "/oauth/register/%ff",
    ] {
        let answer = client().get(gateway.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
    }
}

// SEC-6
#[test]
fn debug_output_shows_no_value_of_a_form_and_of_a_redirect_the_host_only() {
    let form = Params::parse(&format!("code=ac_1&client_secret=cs_1&code_verifier={VERIFIER}"));
    let shown = format!("{form:?}");
    assert!(shown.contains("client_secret"));
    assert!(!shown.contains("ac_1") && !shown.contains("cs_1") && !shown.contains(VERIFIER));
    let redirect = RedirectUri::parse("https://app.example/cb?tenant=secret").unwrap();
    assert_eq!(format!("{redirect:?}"), "RedirectUri(app.example)");
}

// CODE-2
#[test]
fn a_parameter_never_brings_a_nul_to_the_database() {
    let params = Params::parse("client_id=a%00b");
    assert_eq!(params.get("client_id"), Ok(Some("a\u{fffd}b")));
}
