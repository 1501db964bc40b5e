//! Who calls: for the server behind, for access rules and for sessions.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::World;
use crate::fake_authkit::{API_KEY, USER};

/// The assertion that reached the server.
fn assertion(world: &World) -> Value {
    let headers = world.upstream.last();
    let token = headers["x-doorward-assertion"].to_str().unwrap();
    let payload = doorward::crypto::base64url_decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

// PROX-14
#[tokio::test]
async fn the_server_behind_is_told_who_calls() {
    let world = World::with(json!({}), r#""forwardIdentity": "assertion""#, None).await;
    let token = world.token(json!({
        "email": "ada@example.com", "email_verified": true, "name": "Ada Byron", "preferred_username": "ada",
        "picture": "https://images.example/ada.png", "role": "admin", "roles": ["editor", "admin"],
        "permissions": ["tools:use"], "scope": "openid",
    }));
    assert_eq!(world.call(&token).await.status(), StatusCode::OK);
    let claims = assertion(&world);
    for (name, value) in [
        ("iss", json!(world.gateway.origin)),
        ("user_id", json!(USER)),
        ("provider", json!(world.authkit.base())),
        ("email", json!("ada@example.com")),
        ("email_verified", json!(true)),
        ("name", json!("Ada Byron")),
        ("username", json!("ada")),
        ("picture", json!("https://images.example/ada.png")),
        ("organization_id", json!("org_01ACME")),
        ("roles", json!(["editor", "admin"])),
        ("permissions", json!(["tools:use"])),
        ("sid", json!("app_consent_01")),
        ("client_id", json!("client_01MCP")),
        ("scope", json!("openid")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let plain = world.token(json!({ "role": "member", "org_id": null, "sid": null, "client_id": null }));
    assert_eq!(world.call(&plain).await.status(), StatusCode::OK);
    let bare = assertion(&world);
    assert_eq!((&bare["roles"], &bare["sid"]), (&json!(["member"]), &json!("")));
    assert_eq!(bare["sub"], claims["sub"], "the same person");
    assert!(bare.get("email").is_none() && bare.get("organization_id").is_none());
}

// PROX-14, WOS-13
#[tokio::test]
async fn with_an_api_key_people_are_completed_from_workos_once_in_a_while() {
    let world = World::with(json!({ "apiKey": API_KEY }), r#""forwardIdentity": "headers""#, None).await;
    for _ in 0..3 {
        assert_eq!(world.call(&world.token(json!({}))).await.status(), StatusCode::OK);
        let headers = world.upstream.last();
        assert_eq!(headers["x-forwarded-email"], "ada@example.com");
        assert_eq!(headers["x-forwarded-name"], "Ada Byron");
        assert_eq!(headers["x-forwarded-organization"], "org_01ACME");
    }
    assert_eq!(world.authkit.fetches("user"), 1);
    world.gateway.clock.advance(5 * 60);
    world.behave(|how| how.user_status = Some(503));
    let later = world.token(json!({ "exp": 4_102_444_800_i64 }));
    assert_eq!(world.call(&later).await.status(), StatusCode::OK);
    assert_eq!(world.upstream.last()["x-forwarded-email"], "ada@example.com", "the copy at hand");
    world.gateway.clock.advance(2 * 3600);
    assert_eq!(world.call(&later).await.status(), StatusCode::OK);
    assert!(!world.upstream.last().contains_key("x-forwarded-email"), "too old to tell");
    // Who brings name and address is not looked up.
    let before = world.authkit.fetches("user");
    let full = json!({ "email": "eve@example.com", "email_verified": true, "name": "Eve", "exp": 4_102_444_800_i64 });
    assert_eq!(world.call(&world.token(full)).await.status(), StatusCode::OK);
    assert_eq!(world.upstream.last()["x-forwarded-email"], "eve@example.com");
    assert_eq!(world.authkit.fetches("user"), before);
}

// WOS-13
#[tokio::test]
async fn access_rules_hold_for_people_of_authkit() {
    let rules = json!({ "organizations": ["org_01ACME"], "roles": ["admin"] });
    let world = World::with(json!({}), "", Some(rules)).await;
    assert_eq!(world.call(&world.token(json!({ "role": "admin" }))).await.status(), StatusCode::OK);
    for changes in [json!({}), json!({ "role": "member" }), json!({ "role": "admin", "org_id": "org_other" })] {
        let response = world.call(&world.token(changes)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(!response.headers().contains_key("www-authenticate"));
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"], "access_denied");
    }
}

// WOS-13
#[tokio::test]
async fn a_rule_about_addresses_asks_workos_and_without_an_answer_nobody_is_judged() {
    let rules = json!({ "emailDomains": ["example.com"], "clients": ["client_01MCP"] });
    let world = World::with(json!({ "apiKey": API_KEY }), "", Some(rules.clone())).await;
    world.behave(|how| how.user_status = Some(500));
    let response = world.call(&world.token(json!({}))).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    world.behave(|how| how.user_status = None);
    world.gateway.clock.advance(11);
    assert_eq!(world.call(&world.token(json!({}))).await.status(), StatusCode::OK);
    let other = world.call(&world.token(json!({ "sub": "user_01EVE" }))).await;
    assert_eq!(other.status(), StatusCode::FORBIDDEN, "WorkOS knows no such user");

    let without_key = World::with(json!({}), "", Some(rules)).await;
    let response = without_key.call(&without_key.token(json!({}))).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

// STRM-6
#[tokio::test]
async fn a_session_belongs_to_person_and_client_over_the_tokens_that_they_bring() {
    let world = World::new().await;
    let opened = world.call(&world.token(json!({}))).await;
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    assert_ne!(session, "s-1", "sealed");
    let with_session = async |token: &str| {
        let request = world.http.post(world.gateway.resource("one")).bearer_auth(token);
        request.header("mcp-session-id", &session).body("{}").send().await.unwrap().status()
    };
    assert_eq!(with_session(&world.token(json!({}))).await, StatusCode::OK, "a refreshed token");
    assert_eq!(world.upstream.last()["mcp-session-id"], "s-1");
    for stranger in [json!({ "sub": "user_01EVE" }), json!({ "client_id": "client_01OTHER" })] {
        assert_eq!(with_session(&world.token(stranger)).await, StatusCode::NOT_FOUND);
    }
}

// STRM-8: nobody tells the gateway when AuthKit takes a consent back
#[rstest]
#[case(Method::GET, "")]
#[case(Method::POST, "subscriptions/listen")]
#[tokio::test]
async fn a_stream_that_a_client_listens_on_ends_with_its_token(#[case] method: Method, #[case] asked: &str) {
    let world = World::with(json!({}), r#""streamKeepAliveMs": 0"#, None).await;
    world.gateway.clock.stop();
    let now = doorward::domain::Clock::now(&*world.gateway.clock).0;
    let token = world.token(json!({ "exp": now + 2 }));
    let send = |method: &Method, asked: &str| {
        let request = world.http.request(method.clone(), world.gateway.resource("one")).bearer_auth(&token);
        request.header("accept", "text/event-stream").header("mcp-method", asked).send()
    };
    let mut call = send(&Method::POST, "tools/call").await.unwrap();
    let stream = send(&method, asked).await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), stream.bytes()).await;
    assert!(ended.expect("the stream ends").unwrap().is_empty());
    // A call has an end of its own, and would have to be made again.
    assert_eq!(world.call(&world.token(json!({}))).await.status(), StatusCode::OK);
    let chunk = std::pin::pin!(call.chunk());
    assert!(futures_util::FutureExt::now_or_never(chunk).is_none());
}
