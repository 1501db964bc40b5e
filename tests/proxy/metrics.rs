//! What the data path counts (OPS-4).

use std::time::Duration;

use bytes::Bytes;
use doorward::domain::{GrantId, UnixTime};
use http::Method;
use serde_json::json;

use crate::upstream::{Upstream, event_stream, json as answer};
use crate::world::{START, World};

/// The value of a sample; 0 for what has not occurred.
fn value(world: &World, sample: &str) -> u64 {
    let text = world.metrics.to_text();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Waits for the end of an answer to be noticed on the gateway's side.
async fn becomes(world: &World, sample: &str, expected: u64) {
    for _ in 0..6_000 {
        if value(world, sample) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{sample} does not become {expected}:\n{}", world.metrics.to_text());
}

// OPS-4
#[tokio::test]
async fn calls_are_counted_by_route_method_and_class_of_status() {
    let upstream = Upstream::start(|seen| async move {
        let status = if seen.method == Method::DELETE { 405 } else { 200 };
        answer(status, "{}")
    })
    .await;
    let world = World::new(&upstream.url()).await;
    for slug in ["one", "one", "two"] {
        world.client.post(world.url(slug)).bearer_auth(world.token(slug)).body("{}").send().await.unwrap();
    }
    world.get().send().await.unwrap();
    world.client.delete(world.url("one")).bearer_auth(world.token("one")).send().await.unwrap();
    world.client.patch(world.url("one")).send().await.unwrap();
    for (sample, expected) in [
        (r#"doorward_mcp_requests_total{route="one",method="POST",status="2xx"}"#, 2),
        (r#"doorward_mcp_requests_total{route="two",method="POST",status="2xx"}"#, 1),
        (r#"doorward_mcp_requests_total{route="one",method="GET",status="2xx"}"#, 1),
        (r#"doorward_mcp_requests_total{route="one",method="DELETE",status="4xx"}"#, 1),
        (r#"doorward_mcp_requests_total{route="one",method="other",status="4xx"}"#, 1),
        (r#"doorward_mcp_refusals_total{route="one",reason="method_not_allowed"}"#, 1),
        (r#"doorward_mcp_upstream_first_byte_seconds_count{route="one"}"#, 4),
    ] {
        assert_eq!(value(&world, sample), expected, "{sample}\n{}", world.metrics.to_text());
    }
    // Without the GET, whose length is the client's.
    becomes(&world, r#"doorward_mcp_request_duration_seconds_count{route="one"}"#, 4).await;
    becomes(&world, r#"doorward_mcp_open_requests{route="one"}"#, 0).await;
}

// OPS-4
#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let upstream =
        Upstream::start(
            |seen| async move { answer(if seen.headers.contains_key("x-refuse") { 401 } else { 200 }, "{}") },
        )
        .await;
    let world = World::with(&upstream.url(), &json!({ "maxBodyBytes": 64 }), &json!({})).await;
    world.client.post(world.url("one")).send().await.unwrap();
    let expired = world.sign(&doorward::keys::AccessTokenClaims { exp: START - 1, ..world.claims("one") });
    world.client.post(world.url("one")).bearer_auth(expired).send().await.unwrap();
    world.client.post(world.url("one")).bearer_auth(world.token("two")).send().await.unwrap();
    world.post(vec![b' '; 65]).send().await.unwrap();
    world.post("{}").header("x-refuse", "1").send().await.unwrap();
    world.revocations.revoke(GrantId::new("grt_1"), UnixTime(START + 900));
    world.post("{}").send().await.unwrap();
    for reason in [
        "no_usable_credentials",
        "token_expired",
        "token_wrong_audience",
        "body_too_large",
        "upstream_credential_rejected",
        "token_revoked",
    ] {
        let sample = format!("doorward_mcp_refusals_total{{route=\"one\",reason=\"{reason}\"}}");
        assert_eq!(value(&world, &sample), 1, "{sample}\n{}", world.metrics.to_text());
    }
}

// OPS-4, STRM-4
#[tokio::test]
async fn a_stream_is_open_until_either_side_ends_it() {
    const REQUESTS: &str = r#"doorward_mcp_open_requests{route="one"}"#;
    const STREAMS: &str = r#"doorward_mcp_open_streams{route="one"}"#;
    let (opened, mut senders) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (sender, response) = event_stream(&[]);
        opened.send(sender).unwrap();
        async { response }
    })
    .await;
    let world = World::new(&upstream.url()).await;
    for client_leaves in [false, true] {
        let mut response = world.post("{}").send().await.unwrap();
        let sender = senders.recv().await.unwrap();
        sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
        response.chunk().await.unwrap();
        assert_eq!((value(&world, REQUESTS), value(&world, STREAMS)), (1, 1));
        if client_leaves {
            drop(response);
        } else {
            drop(sender);
            while response.chunk().await.unwrap().is_some() {}
        }
        becomes(&world, STREAMS, 0).await;
        assert_eq!(value(&world, REQUESTS), 0);
    }
    assert_eq!(value(&world, r#"doorward_mcp_request_duration_seconds_count{route="one"}"#), 2);
}

// OPS-4
#[tokio::test]
async fn a_token_is_checked_once_and_then_found_in_the_cache() {
    let upstream = Upstream::start(|_| async { answer(200, "{}") }).await;
    let world = World::new(&upstream.url()).await;
    let token = world.token("one");
    for _ in 0..5 {
        world.client.post(world.url("one")).bearer_auth(&token).body("{}").send().await.unwrap();
    }
    assert_eq!(value(&world, "doorward_token_cache_misses_total"), 1);
    assert_eq!(value(&world, "doorward_token_cache_hits_total"), 4);
}
