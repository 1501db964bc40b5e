//! Headers that policies put in and take out on the way to the upstream.

use serde_json::{Value, json};

use crate::upstream::Upstream;
use crate::world::World;

fn policy(name: &str, kind: &str, options: &Value) -> Value {
    json!({ "name": name, "policyType": kind, "handler": { "options": options } })
}

fn values(seen: &crate::upstream::Seen, name: &str) -> Vec<String> {
    seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

// PROX-1
#[tokio::test]
async fn the_upstream_gets_the_configured_credential_and_never_the_clients() {
    let upstream = Upstream::ok().await;
    let key = policy("key", "set-upstream-api-key-inbound", &json!({ "value": "Bearer upstream-key" }));
    let world = World::with_policies(&upstream.url(), &json!({}), &[key]).await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(values(&upstream.last(), "authorization"), ["Bearer upstream-key"]);
    assert_eq!(world.get().send().await.unwrap().status(), 200);
    assert_eq!(values(&upstream.last(), "authorization"), ["Bearer upstream-key"], "on every method");
    let nobody = world.client.post(world.url("one")).body("{}").send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert_eq!(upstream.seen().len(), 2, "the credential opens the route to nobody");
    // Keeping what is there does not mean keeping the client's token.
    let polite = policy("key", "set-upstream-api-key-inbound", &json!({ "value": "Bearer own", "overwrite": false }));
    let world = World::with_policies(&upstream.url(), &json!({}), &[polite]).await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(values(&upstream.last(), "authorization"), ["Bearer own"]);
}

// PROX-1, PROX-2
#[tokio::test]
async fn policies_apply_in_order_and_no_spelling_of_the_clients_gets_past_them() {
    let upstream = Upstream::ok().await;
    let headers = json!({ "headers": [
        { "name": "X-Api-Key", "value": "ours" },
        { "name": "x-team", "value": "docs", "overwrite": false },
        { "name": "x-gone", "value": "set, then taken out" },
    ] });
    let policies = [
        policy("set", "set-headers-inbound", &headers),
        policy("remove", "remove-headers-inbound", &json!({ "headers": ["X-Gone", "x-debug"] })),
        policy("late", "set-headers-inbound", &json!({ "headers": [{ "name": "x-late", "value": "1" }] })),
    ];
    let world = World::with_policies(&upstream.url(), &json!({}), &policies).await;
    let request = world
        .post("{}")
        .header("x-api-key", "theirs")
        .header("x-api-key", "theirs too")
        .header("x_api_key", "theirs")
        .header("x-team", "mine")
        .header("x-debug", "1")
        .header("X_Debug", "1")
        .header("x-late", "0")
        .header("x_other", "kept");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = upstream.last();
    assert_eq!(values(&seen, "x-api-key"), ["ours"]);
    assert_eq!(values(&seen, "x-team"), ["mine"], "`overwrite: false` keeps the client's");
    assert_eq!(values(&seen, "x-late"), ["1"]);
    assert_eq!(values(&seen, "x_other"), ["kept"]);
    for name in ["x_api_key", "x-gone", "x-debug", "x_debug"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(values(&upstream.last(), "x-team"), ["docs"]);
}

// PROX-14
#[tokio::test]
async fn identity_headers_stay_the_gateways_beside_header_policies() {
    let upstream = Upstream::ok().await;
    let forwarded = json!({ "headers": [{ "name": "X-Forwarded-Proto", "value": "https" }] });
    let world = World::with_policies(
        &upstream.url(),
        &json!({ "forwardIdentity": "headers" }),
        &[policy("set", "set-headers-inbound", &forwarded)],
    )
    .await;
    world.introduce().await;
    let request = world.post("{}").header("x-forwarded-user", "root").header("x-forwarded-proto", "gopher");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = upstream.last();
    assert_eq!(values(&seen, "x-forwarded-user"), ["usr_1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["https"]);
}
