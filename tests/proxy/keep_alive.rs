//! Event streams that are quiet for long, on a clock that stands still but for what waits on it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use crate::streams::Feed;
use crate::upstream::{Upstream, event_stream};
use crate::world::World;

const COMMENT: &str = ":\n\n";
const HOUR: Duration = Duration::from_secs(3600);

async fn next(response: &mut reqwest::Response) -> Bytes {
    response.chunk().await.unwrap().expect("the stream is open")
}

// STRM-3
#[tokio::test]
async fn a_quiet_stream_gets_comments_between_its_events_and_none_inside_one() {
    let mut feed = Feed::start().await;
    let world = World::new(&feed.upstream.url()).await;
    tokio::time::pause();
    for request in [world.get(), world.post("{}")] {
        let mut response = request.send().await.unwrap();
        let sender = feed.opened().await;
        let opened = Instant::now();
        assert_eq!(next(&mut response).await, COMMENT);
        assert_eq!(opened.elapsed().as_secs(), 25);
        assert_eq!(next(&mut response).await, COMMENT);
        for piece in ["data: half", " of it\n", "\n"] {
            sender.send(Bytes::from(piece)).await.unwrap();
            assert_eq!(next(&mut response).await, piece);
            if piece != "\n" {
                tokio::time::sleep(HOUR).await;
            }
        }
        assert_eq!(next(&mut response).await, COMMENT);
        drop(sender);
        assert_eq!(response.chunk().await.unwrap(), None);
    }
}

// STRM-3
#[tokio::test]
async fn the_period_is_the_routes_own_and_0_adds_nothing() {
    for (option, seconds) in [(7_000, Some(7)), (0, None)] {
        let mut feed = Feed::start().await;
        let world = World::with(&feed.upstream.url(), &json!({ "streamKeepAliveMs": option }), &json!({})).await;
        tokio::time::pause();
        let mut response = world.get().send().await.unwrap();
        let sender = feed.opened().await;
        let opened = Instant::now();
        if let Some(seconds) = seconds {
            assert_eq!(next(&mut response).await, COMMENT);
            assert_eq!(opened.elapsed().as_secs(), seconds);
        } else {
            tokio::time::sleep(HOUR).await;
            sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
            assert_eq!(next(&mut response).await, "data: 1\n\n");
        }
        tokio::time::resume();
    }
}

// STRM-3, PROX-4
#[tokio::test]
async fn no_comment_gets_into_other_content_or_into_encoded_bytes() {
    for (name, value) in [("content-type", "application/json"), ("content-encoding", "gzip")] {
        let (opened, mut senders) = tokio::sync::mpsc::unbounded_channel();
        let upstream = Upstream::start(move |_| {
            let (sender, mut response) = event_stream(&[]);
            response.headers_mut().insert(name, value.parse().unwrap());
            opened.send(sender).unwrap();
            async { response }
        })
        .await;
        let world = World::new(&upstream.url()).await;
        tokio::time::pause();
        let mut response = world.get().send().await.unwrap();
        let sender = senders.recv().await.unwrap();
        for piece in ["data: 1\n\n", "data: 2\n\n"] {
            tokio::time::sleep(HOUR).await;
            sender.send(Bytes::from(piece)).await.unwrap();
            assert_eq!(next(&mut response).await, piece, "{name}: {value}");
        }
        tokio::time::resume();
    }
}

// STRM-2, STRM-3
#[tokio::test]
async fn a_subscription_listens_for_hours_and_hears_what_comes_at_last() {
    let mut feed = Feed::start().await;
    let world = World::new(&feed.upstream.url()).await;
    tokio::time::pause();
    let listen = world.post(r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#);
    let listen = listen.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "subscriptions/listen");
    let mut response = listen.send().await.unwrap();
    let sender = feed.opened().await;
    let opened = Instant::now();
    let mut comments = 0;
    while opened.elapsed() < 12 * HOUR {
        assert_eq!(next(&mut response).await, COMMENT);
        comments += 1;
    }
    assert_eq!(comments, 12 * 3600 / 25);
    sender.send(Bytes::from("data: at last\n\n")).await.unwrap();
    assert_eq!(next(&mut response).await, "data: at last\n\n");
    drop(sender);
    assert_eq!(response.chunk().await.unwrap(), None, "the upstream's end is the client's");
}

// STRM-8
#[tokio::test]
async fn a_comment_keeps_no_stream_open_beyond_its_time() {
    let mut feed = Feed::start().await;
    let world = World::with(&feed.upstream.url(), &json!({}), &json!({ "streamMaxSeconds": 60 })).await;
    tokio::time::pause();
    let mut response = world.get().send().await.unwrap();
    let _held = feed.opened().await;
    let opened = Instant::now();
    assert_eq!((next(&mut response).await, next(&mut response).await), (COMMENT.into(), COMMENT.into()));
    assert_eq!(response.chunk().await.unwrap(), None);
    assert_eq!(opened.elapsed().as_secs(), 60);
}
