//! AuthKit's keys: rotated, withdrawn, and away.

use jsonwebtoken::{Algorithm, Header};
use reqwest::StatusCode;
use serde_json::json;

use super::{World, refused};

// IDP-5
#[tokio::test]
async fn a_new_key_is_learnt_at_once_and_a_withdrawn_one_takes_its_tokens_along() {
    let world = World::new().await;
    let old = world.token(json!({ "exp": 4_102_444_800_i64 }));
    assert_eq!(world.call(&old).await.status(), StatusCode::OK);
    world.authkit.rotate_keys();
    let new = world.token(json!({}));
    assert_eq!(world.call(&new).await.status(), StatusCode::OK);
    assert_eq!(world.authkit.fetches("jwks"), 2);
    world.gateway.clock.advance(5 * 60);
    refused(&world, world.call(&old).await, 401, "invalid_token").await;
}

// IDP-5: strangers cannot have the keys fetched over and over
#[tokio::test]
async fn tokens_that_name_unknown_keys_or_issuers_cost_one_fetch() {
    let world = World::new().await;
    assert_eq!(world.call(&world.token(json!({}))).await.status(), StatusCode::OK);
    let claims = world.authkit.claims(&world.gateway.resource("one"));
    for number in 0..5 {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(format!("unknown-{number}"));
        refused(&world, world.call(&world.authkit.sign_as(&header, &claims)).await, 401, "invalid_token").await;
        header.kid = Some(format!("foreign-{number}"));
        let mut foreign = claims.clone();
        foreign["iss"] = "https://other.example".into();
        refused(&world, world.call(&world.authkit.sign_as(&header, &foreign)).await, 401, "invalid_token").await;
    }
    assert_eq!(world.authkit.fetches("jwks"), 2);
}

// IDP-5, IDP-14
#[tokio::test]
async fn an_outage_of_the_key_set_is_no_refusal_and_keys_at_hand_go_on_serving() {
    let world = World::new().await;
    world.behave(|how| how.jwks_down = true);
    let token = world.token(json!({ "exp": 4_102_444_800_i64 }));
    let response = world.call(&token).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after") && !response.headers().contains_key("www-authenticate"));
    world.behave(|how| how.jwks_down = false);
    assert_eq!(world.call(&token).await.status(), StatusCode::OK);
    world.behave(|how| how.jwks_down = true);
    world.gateway.clock.advance(24 * 3600);
    assert_eq!(world.call(&token).await.status(), StatusCode::OK);
}
