//! What makes a token of AuthKit's good, and what is said to one that is not.

use doorward::crypto::base64url;
use jsonwebtoken::{Algorithm, Header};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::{World, refused};
use crate::fake_authkit::ENVIRONMENT;
use crate::logs::Log;

// CHAL-1, CHAL-4, CHAL-6, CHAL-9, CHAL-12
#[tokio::test]
async fn a_call_without_a_token_is_told_where_to_sign_in() {
    let world = World::new().await;
    let url = world.gateway.resource("one");
    for request in [
        world.http.post(&url).json(&json!({})),
        world.http.get(&url),
        world.http.delete(&url).header("mcp-session-id", "x"),
        world.http.post(format!("{url}?access_token={}", world.token(json!({})))),
        world.http.post(&url).header("authorization", "Basic eDp5"),
    ] {
        let (description, challenge) = refused(&world, request.send().await.unwrap(), 401, "unauthorized").await;
        assert!(description.starts_with("missing or invalid bearer token: sign in"), "{description}");
        assert!(!challenge.contains("error=") && !challenge.contains("scope="), "{challenge}");
    }
    assert!(world.upstream.seen.lock().unwrap().is_empty());
}

// CHAL-5
#[tokio::test]
async fn two_tokens_are_a_bad_request() {
    let world = World::new().await;
    let token = world.token(json!({}));
    let url = format!("{}?access_token={token}", world.gateway.resource("one"));
    let response = world.http.post(url).bearer_auth(&token).send().await.unwrap();
    refused(&world, response, 400, "invalid_request").await;
}

// CHAL-2, CHAL-3, SEC-9: each is one claim away from a good token
#[rstest]
#[case::other_issuer(json!({ "iss": "https://other.authkit.app" }), "token_wrong_issuer")]
#[case::issuer_with_a_slash(json!({ "iss": "http://127.0.0.1:1/" }), "token_wrong_issuer")]
#[case::no_issuer(json!({ "iss": null }), "token_claims_incomplete")]
#[case::other_audience(json!({ "aud": "https://other.example/mcp" }), "token_wrong_audience")]
#[case::no_audience(json!({ "aud": null }), "token_wrong_audience")]
#[case::environment(json!({ "aud": ENVIRONMENT }), "token_for_environment")]
#[case::environments(json!({ "aud": ["x", ENVIRONMENT] }), "token_for_environment")]
#[case::no_subject(json!({ "sub": null }), "token_claims_incomplete")]
#[case::empty_subject(json!({ "sub": " " }), "token_claims_incomplete")]
#[case::application(json!({ "sub": "client_01MCP" }), "token_of_application")]
#[case::no_expiry(json!({ "exp": null }), "token_claims_incomplete")]
#[case::expiry_as_text(json!({ "exp": "4102444800" }), "token_claims_incomplete")]
#[case::from_the_future(json!({ "iat": 4_102_444_800_i64 }), "token_not_yet_good")]
#[case::not_before(json!({ "nbf": 4_102_444_800_i64 }), "token_not_yet_good")]
#[case::id_token(json!({ "nonce": "n-1" }), "token_wrong_type")]
#[case::id_token_with_hash(json!({ "at_hash": "x" }), "token_wrong_type")]
#[case::impersonated(json!({ "act": { "sub": "admin@example.com" } }), "token_impersonated")]
#[tokio::test]
async fn a_token_with_a_wrong_claim_is_refused(#[case] changes: Value, #[case] reason: &str) {
    let world = World::new().await;
    let token = world.token(changes);
    for _ in 0..2 {
        let (_, challenge) = refused(&world, world.call(&token).await, 401, "invalid_token").await;
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    assert!(world.upstream.seen.lock().unwrap().is_empty());
    assert_eq!(world.call(&world.token(json!({}))).await.status(), StatusCode::OK, "{reason}");
    let metrics = world.gateway.assembly.metrics.to_text();
    assert!(metrics.contains(reason), "{reason} is counted: {metrics}");
}

// CHAL-2, SEC-9: RFC 8725 §2.1, §3.1, §3.11
#[tokio::test]
async fn no_token_chooses_its_algorithm_its_key_or_its_type() {
    let world = World::new().await;
    let claims = world.authkit.claims(&world.gateway.resource("one"));
    let payload = base64url(claims.to_string().as_bytes());
    let good = world.authkit.sign(&claims);
    let signature = good.rsplit('.').next().unwrap();
    let none = format!("{}.{payload}.", base64url(br#"{"alg":"none","typ":"JWT"}"#));
    let none_signed = format!("{}.{payload}.{signature}", base64url(br#"{"alg":"None"}"#));
    let typed = |typ: &str| {
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some(typ.to_owned());
        world.authkit.sign_as(&header, &claims)
    };
    let mut foreign_key = Header::new(Algorithm::RS256);
    foreign_key.kid = Some("somebody_else".to_owned());
    for token in [
        world.authkit.sign_with_public_key(&claims),
        world.authkit.forge(&claims),
        world.authkit.sign_as(&Header::new(Algorithm::RS384), &claims),
        world.authkit.sign_as(&Header::new(Algorithm::PS256), &claims),
        world.authkit.sign_as(&foreign_key, &claims),
        none,
        none_signed,
        typed("id_token"),
        typed("doorward-assertion+jwt"),
        typed("logout+jwt"),
        "opaque".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}x"),
        "x".repeat(20_000),
    ] {
        refused(&world, world.call(&token).await, 401, "invalid_token").await;
    }
    for good in [good.clone(), typed("at+jwt"), typed("application/at+jwt"), typed("JWT")] {
        assert_eq!(world.call(&good).await.status(), StatusCode::OK);
    }
}

// CHAL-2, WOS-9
#[tokio::test]
async fn an_expired_token_says_so_and_what_to_do() {
    let world = World::new().await;
    let token = world.token(json!({}));
    assert_eq!(world.call(&token).await.status(), StatusCode::OK);
    world.gateway.clock.advance(300 + 31);
    for _ in 0..2 {
        let (description, challenge) = refused(&world, world.call(&token).await, 401, "token_expired").await;
        assert!(description.starts_with("the access token has expired: refresh it at AuthKit"), "{description}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
}

// CHAL-2, CHAL-3
#[tokio::test]
async fn a_token_of_the_environment_is_refused_with_the_step_in_the_dashboard() {
    let world = World::with(json!({ "clientId": ENVIRONMENT }), "", None).await;
    let (description, _) =
        refused(&world, world.call(&world.token(json!({ "aud": ENVIRONMENT }))).await, 401, "invalid_token").await;
    assert!(description.contains("MCP resource indicators"), "{description}");
}

// CHAL-3, SEC-1
#[tokio::test]
async fn the_log_names_the_route_that_the_dashboard_lacks_and_no_token() {
    let world = World::new().await;
    let (log, _guard) = Log::listen();
    let token = world.token(json!({ "aud": ENVIRONMENT }));
    refused(&world, world.call(&token).await, 401, "invalid_token").await;
    let fault = log.fields_of("authkit_set_up_fault");
    assert_eq!(fault["resource"], world.gateway.resource("one"));
    assert!(fault["message"].as_str().unwrap().contains("MCP resource indicators"), "{fault}");
    assert_eq!(log.fields_of("mcp_request_rejected")["reasonCode"], "token_for_environment");
    for part in token.split('.') {
        assert!(!log.text().contains(part));
    }
}

#[tokio::test]
async fn with_audience_client_id_a_token_of_the_environment_opens_every_route_and_that_of_another_none() {
    let world = World::with(json!({ "clientId": ENVIRONMENT, "audience": "clientId" }), "", None).await;
    let token = world.token(json!({ "aud": ENVIRONMENT }));
    for slug in ["one", "two"] {
        assert_eq!(world.call_at(slug, &token).await.status(), StatusCode::OK);
    }
    assert_eq!(world.call(&world.token(json!({}))).await.status(), StatusCode::OK, "one for the route still does");
    let other = world.token(json!({ "aud": "client_01OTHER" }));
    refused(&world, world.call(&other).await, 401, "invalid_token").await;
    // Not even where an ID token is for the same client id.
    let id_token = json!({ "aud": ENVIRONMENT, "client_id": null, "jti": null, "scope": null, "azp": ENVIRONMENT });
    refused(&world, world.call(&world.token(id_token)).await, 401, "invalid_token").await;
}

// CHAL-7, SCOPE-1
#[tokio::test]
async fn a_token_without_a_required_scope_is_told_all_that_are_needed() {
    let world = World::with(json!({ "requiredScopes": ["tools:use", "openid"] }), "", None).await;
    let (_, challenge) = refused(&world, world.call(&world.token(json!({}))).await, 403, "insufficient_scope").await;
    assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"openid tools:use\""));
    let enough = world.token(json!({ "scope": "openid tools:use" }));
    assert_eq!(world.call(&enough).await.status(), StatusCode::OK);
}
