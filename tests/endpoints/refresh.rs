//! Refreshing, which must not lose a session (REFR).

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::flow::{REDIRECT, TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

fn text<'v>(tokens: &'v Value, name: &str) -> &'v str {
    tokens[name].as_str().unwrap()
}

async fn refreshed(client: &TestClient<'_>, token: &str) -> Value {
    let response = client.refresh(token).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

// REFR-3, REFR-4, REFR-5, REFR-7
#[tokio::test]
async fn a_superseded_refresh_token_works_until_its_successor_is_used() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let first = refreshed(&client, text(&tokens, "refresh_token")).await;
    gateway.clock.advance(119);
    let again = refreshed(&client, text(&tokens, "refresh_token")).await;
    assert_eq!(first["refresh_token"], again["refresh_token"], "the same successor, byte for byte");

    let second = refreshed(&client, text(&first, "refresh_token")).await;
    oauth_error(client.refresh(text(&tokens, "refresh_token")).await, 400, "invalid_grant").await;
    // The whole grant is gone, the newest generation and the access tokens with it, and one record says so.
    oauth_error(client.refresh(text(&second, "refresh_token")).await, 400, "invalid_grant").await;
    assert_eq!(client.call("one", text(&second, "access_token")).await.status(), StatusCode::UNAUTHORIZED);
    let payload = text(&second, "access_token").split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(payload).unwrap()).unwrap();
    let grant = doorward::domain::GrantId::new(claims["sid"].as_str().unwrap());
    let events = gateway.assembly.store.audit_events_of(&grant).await.unwrap();
    assert_eq!(events.iter().filter(|event| *event == "mcp_auth_grant_revoked").count(), 1);
}

// REFR-4, REFR-5
#[tokio::test]
async fn a_superseded_token_is_a_replay_after_two_minutes() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    refreshed(&client, text(&tokens, "refresh_token")).await;
    gateway.clock.advance(121);
    oauth_error(client.refresh(text(&tokens, "refresh_token")).await, 400, "invalid_grant").await;
}

// REFR-6
#[tokio::test(flavor = "multi_thread")]
async fn twenty_refreshes_at_once_all_succeed_on_one_lineage_and_so_do_the_next_twenty() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let mut token = text(&client.connect("one").await, "refresh_token").to_owned();
    for _ in 0..3 {
        let racers = (0..20).map(|_| refreshed(&client, &token));
        let answers = futures_util::future::join_all(racers).await;
        let successor = text(&answers[0], "refresh_token").to_owned();
        assert!(answers.iter().all(|answer| answer["refresh_token"] == successor.as_str()));
        assert!(answers.iter().all(|answer| answer["access_token"].is_string()));
        token = successor;
        gateway.clock.advance(20 * 60);
    }
}

// REFR-1
#[tokio::test]
async fn a_client_gets_a_refresh_token_exactly_if_it_registered_that_grant() {
    let gateway = TestGateway::start().await;
    let body = json!({
        "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"],
    });
    let client = TestClient::register_with(&gateway, &body).await;
    let tokens = client.connect("one").await;
    assert!(tokens.get("refresh_token").is_none());
    oauth_error(client.refresh("rt_x").await, 400, "unauthorized_client").await;
    // With neither scope nor grant_types given, it gets one.
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let client = TestClient::register_with(&gateway, &body).await;
    assert!(client.connect("one").await["refresh_token"].is_string());
}

// REFR-2
#[tokio::test]
async fn a_refresh_token_is_bound_to_its_client_and_resource() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let other = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let token = text(&tokens, "refresh_token");
    oauth_error(other.refresh(token).await, 400, "invalid_grant").await;
    oauth_error(client.refresh("rt_unknown").await, 400, "invalid_grant").await;
    let elsewhere = gateway.resource("two");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("resource", elsewhere.as_str())];
    oauth_error(client.token(&fields).await, 400, "invalid_target").await;
    let here = gateway.resource("one");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("resource", here.as_str())];
    assert_eq!(client.token(&fields).await.status(), StatusCode::OK);
}

// REFR-8
#[tokio::test]
async fn scope_narrows_one_access_token_and_leaves_the_grant_as_it_is() {
    let options = Options {
        gateway: r#""scopes": { "mcp:tools": [], "write": ["read"], "read": [] }"#.to_owned(),
        ..Options::default()
    };
    let gateway = TestGateway::start_with(options).await;
    let client = TestClient::register(&gateway).await;
    let browser = crate::support::browser::Browser::new();
    let url = client.authorize_url("one", &[("scope", "mcp:tools write")]);
    let page = client.consent_page(&browser, &url, "admin").await;
    let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let refresh = async |scope: &str, token: &str| {
        client.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]).await
    };
    let narrow: Value = refresh("read unknown", text(&tokens, "refresh_token")).await.json().await.unwrap();
    assert_eq!(narrow["scope"], "read");
    oauth_error(refresh("unknown", text(&narrow, "refresh_token")).await, 400, "invalid_scope").await;
    let whole = refreshed(&client, text(&narrow, "refresh_token")).await;
    assert_eq!(whole["scope"], "mcp:tools write");
}

// REFR-9, CODE-11
#[tokio::test]
async fn a_grant_ends_when_idle_and_in_the_end() {
    let options = Options {
        gateway: r#""refreshTokenTtlSeconds": 3600, "grantTtlSeconds": 7500"#.to_owned(),
        ..Options::default()
    };
    let gateway = TestGateway::start_with(options).await;
    let client = TestClient::register(&gateway).await;
    let idle = client.connect("one").await;
    gateway.clock.advance(3601);
    oauth_error(client.refresh(text(&idle, "refresh_token")).await, 400, "invalid_grant").await;

    let mut tokens = client.connect("one").await;
    for _ in 0..2 {
        gateway.clock.advance(3500);
        tokens = refreshed(&client, text(&tokens, "refresh_token")).await;
    }
    assert!(tokens["expires_in"].as_i64().unwrap() <= 500, "never past the grant's end");
    gateway.clock.advance(501);
    oauth_error(client.refresh(text(&tokens, "refresh_token")).await, 400, "invalid_grant").await;
    assert_eq!(client.call("one", text(&tokens, "access_token")).await.status(), StatusCode::UNAUTHORIZED);
}

// REFR-10, CODE-2
#[tokio::test]
async fn trouble_with_the_store_is_503_and_never_an_oauth_error_that_costs_the_session() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    gateway.assembly.store.close().await;
    let response = client.refresh(text(&tokens, "refresh_token")).await;
    assert!(response.headers().contains_key("retry-after"));
    oauth_error(response, 503, "temporarily_unavailable").await;
    let call = client.call("one", text(&tokens, "access_token")).await;
    assert_eq!(call.status(), StatusCode::BAD_GATEWAY, "calls go on");
    let ready = client.http.get(gateway.url("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.http.get(gateway.url("/livez")).send().await.unwrap().status(), StatusCode::OK);
}

// REV-1, REV-2
#[tokio::test]
async fn revocation_ends_the_own_grant_and_no_other() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let other = TestClient::register(&gateway).await;
    let revoke = async |client: &TestClient<'_>, token: &str| {
        let fields = [("client_id", client.id.as_str()), ("token", token), ("token_type_hint", "nonsense")];
        let response = post_form(&client.http, &gateway.url("/oauth/revoke"), &fields).await;
        assert_eq!(response.status(), StatusCode::OK);
    };
    let mut tokens = client.connect("one").await;
    revoke(&other, text(&tokens, "refresh_token")).await;
    revoke(&other, text(&tokens, "access_token")).await;
    revoke(&client, "rt_unknown").await;
    let old = text(&tokens, "refresh_token").to_owned();
    tokens = refreshed(&client, &old).await;
    // A generation that was superseded ends the grant as well.
    revoke(&client, &old).await;
    oauth_error(client.refresh(text(&tokens, "refresh_token")).await, 400, "invalid_grant").await;

    let tokens = client.connect("two").await;
    revoke(&client, text(&tokens, "access_token")).await;
    assert_eq!(client.call("two", text(&tokens, "access_token")).await.status(), StatusCode::UNAUTHORIZED);
    let nobody = post_form(&client.http, &gateway.url("/oauth/revoke"), &[("token", "x")]).await;
    oauth_error(nobody, 400, "invalid_request").await;
}
