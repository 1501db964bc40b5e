//! `rate-limit-inbound`: what counts together, and what a caller beyond the limit is told.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::upstream::Upstream;
use crate::world::{START, World};

fn limit(name: &str, by: &str, allowed: u32, more: &Value) -> Value {
    let mut options = json!({ "rateLimitBy": by, "requestsAllowed": allowed, "timeWindowMinutes": 1 });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "name": name, "policyType": "rate-limit-inbound", "handler": { "options": options } })
}

/// A call with a token of this person and client.
async fn call(world: &World, slug: &str, subject: &str, client: &str) -> reqwest::Response {
    let mut claims = world.claims(slug);
    (claims.sub, claims.client_id) = (subject.to_owned(), client.to_owned());
    let request = world.client.post(world.url(slug)).bearer_auth(world.sign(&claims)).body("{}");
    request.send().await.unwrap()
}

// LIM-2, PROX-8
#[tokio::test]
async fn beyond_the_limit_a_caller_is_told_when_to_try_again_and_the_server_hears_nothing() {
    let upstream = Upstream::ok().await;
    let world = World::with_policies(&upstream.url(), &json!({}), &[limit("l", "user", 2, &json!({}))]).await;
    for _ in 0..2 {
        assert_eq!(call(&world, "one", "usr_1", "dcr_1").await.status(), 200);
    }
    let refused = call(&world, "one", "usr_1", "dcr_1").await;
    assert_eq!(refused.status(), 429);
    let wait: i64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: Value = refused.json().await.unwrap();
    assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &Value::Null));
    assert_eq!(body["error"]["code"], -32000);
    let message = body["error"]["message"].as_str().unwrap();
    assert_eq!(message, format!("too many requests; try again in {wait} s"));
    assert_eq!(upstream.seen().len(), 2);
    assert!(world.metrics.to_text().contains(r#"doorward_mcp_refusals_total{route="one",reason="rate_limited"} 1"#));
    world.clock.0.store(START + wait - 1, Ordering::SeqCst);
    assert_eq!(call(&world, "one", "usr_1", "dcr_1").await.status(), 429);
    world.clock.0.store(START + wait, Ordering::SeqCst);
    assert_eq!(call(&world, "one", "usr_1", "dcr_1").await.status(), 200);
}

// LIM-2
#[tokio::test]
async fn people_clients_and_addresses_count_for_themselves_and_over_all_routes_of_a_policy() {
    let upstream = Upstream::ok().await;
    let statuses = async |by: &str, calls: [(&str, &str, &str); 4]| {
        let world = World::with_policies(&upstream.url(), &json!({}), &[limit("l", by, 1, &json!({}))]).await;
        let mut statuses = Vec::new();
        for (slug, subject, client) in calls {
            statuses.push(call(&world, slug, subject, client).await.status().as_u16());
        }
        statuses
    };
    let calls =
        [("one", "usr_1", "dcr_1"), ("two", "usr_1", "dcr_2"), ("one", "usr_2", "dcr_1"), ("two", "usr_3", "dcr_3")];
    assert_eq!(statuses("user", calls).await, [200, 429, 200, 200]);
    assert_eq!(statuses("client", calls).await, [200, 200, 429, 200]);
    assert_eq!(statuses("ip", calls).await, [200, 429, 429, 429]);
    assert_eq!(statuses("all", calls).await, [200, 200, 429, 429], "route by route");
}

// LIM-2
#[tokio::test]
async fn several_limits_all_count_and_a_caller_need_not_be_told_when() {
    let upstream = Upstream::ok().await;
    let policies = [
        limit("long", "user", 3, &json!({ "timeWindowMinutes": 60 })),
        limit("short", "user", 2, &json!({ "headerMode": "none" })),
    ];
    let world = World::with_policies(&upstream.url(), &json!({}), &policies).await;
    for _ in 0..2 {
        assert_eq!(call(&world, "one", "usr_1", "dcr_1").await.status(), 200);
    }
    let refused = call(&world, "one", "usr_1", "dcr_1").await;
    assert_eq!(refused.status(), 429);
    assert!(!refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("try again later"));
    world.clock.0.store(START + 600, Ordering::SeqCst);
    let refused = call(&world, "one", "usr_1", "dcr_1").await;
    assert_eq!(refused.status(), 429, "the third counted in the longer window");
    assert!(refused.headers().contains_key("retry-after"));
}

// LIM-2, CHAL-1
#[tokio::test]
async fn nobody_spends_anothers_limit_without_a_token() {
    let upstream = Upstream::ok().await;
    let world = World::with_policies(&upstream.url(), &json!({}), &[limit("l", "ip", 1, &json!({}))]).await;
    for _ in 0..3 {
        let request = world.client.post(world.url("one")).bearer_auth("forged").body("{}");
        assert_eq!(request.send().await.unwrap().status(), 401);
        let preflight = world.client.request(http::Method::OPTIONS, world.url("one"));
        assert_eq!(preflight.send().await.unwrap().status(), 204);
    }
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(world.get().send().await.unwrap().status(), 429, "every method counts");
}

// LIM-2
#[tokio::test]
async fn a_public_route_is_limited_by_address() {
    let upstream = Upstream::ok().await;
    let policies = [limit("l", "ip", 1, &json!({}))];
    let world = World::with_policies(&upstream.url(), &json!({ "public": true }), &policies).await;
    let call = async || world.client.post(world.url("one")).body("{}").send().await.unwrap().status();
    assert_eq!(call().await, 200);
    assert_eq!(call().await, 429);
}
