//! Event streams: as they come, for as long as they may.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use doorward::domain::{GrantId, UnixTime};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::upstream::{Upstream, event_stream, json as answer};
use crate::world::{START, World};

/// Far longer than anything here takes on any machine, and shorter than what would end a stream by itself.
const SOON: Duration = Duration::from_mins(1);

/// An upstream whose streams the test feeds by hand.
pub struct Feed {
    pub upstream: Upstream,
    senders: mpsc::UnboundedReceiver<mpsc::Sender<Bytes>>,
}

impl Feed {
    pub async fn start() -> Self {
        let (opened, senders) = mpsc::unbounded_channel();
        let upstream = Upstream::start(move |_| {
            let (sender, response) = event_stream(&[("cache-control", "no-cache")]);
            opened.send(sender).unwrap();
            async { response }
        })
        .await;
        Self { upstream, senders }
    }

    pub async fn opened(&mut self) -> mpsc::Sender<Bytes> {
        tokio::time::timeout(SOON, self.senders.recv()).await.expect("the upstream is asked").unwrap()
    }
}

async fn next(response: &mut reqwest::Response) -> Option<Bytes> {
    tokio::time::timeout(SOON, response.chunk()).await.expect("something comes").unwrap()
}

/// Waits for the stream to end.
async fn ended(response: &mut reqwest::Response) {
    while next(response).await.is_some() {}
}

// STRM-1
#[tokio::test]
async fn each_event_arrives_while_the_upstream_still_holds_the_next() {
    let mut feed = Feed::start().await;
    let world = World::new(&feed.upstream.url()).await;
    for request in [world.post("{}"), world.get()] {
        // The head comes before any event does.
        let mut response = tokio::time::timeout(SOON, request.send()).await.expect("the head comes alone").unwrap();
        let sender = feed.opened().await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert!(!response.headers().contains_key("content-encoding"));
        let directives: Vec<_> = response.headers().get_all("cache-control").iter().collect();
        assert_eq!(directives, ["no-cache", "no-transform"]);
        for event in ["id: 1\ndata: {\"a\":1}\n\n", ": a comment\n\n", "retry: 5\ndata: half", " of it\n\n"] {
            sender.send(Bytes::from(event)).await.unwrap();
            assert_eq!(next(&mut response).await.unwrap(), event);
        }
        drop(sender);
        assert!(next(&mut response).await.is_none());
    }
}

// STRM-4
#[tokio::test]
async fn a_client_that_goes_away_ends_the_upstreams_stream() {
    let mut feed = Feed::start().await;
    let world = World::new(&feed.upstream.url()).await;
    for _ in 0..20 {
        let mut response = world.post("{}").send().await.unwrap();
        let sender = feed.opened().await;
        sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
        next(&mut response).await.unwrap();
        drop(response);
        tokio::time::timeout(SOON, sender.closed()).await.expect("the upstream learns of it");
    }
}

// STRM-4
#[tokio::test]
async fn a_client_that_goes_away_while_the_tool_works_ends_the_upstreams_request() {
    let (started, mut working) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (guard, dropped) = tokio::sync::oneshot::channel::<()>();
        started.send(dropped).unwrap();
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let call = tokio::spawn(world.post("{}").send());
    let dropped = working.recv().await.unwrap();
    call.abort();
    tokio::time::timeout(SOON, dropped).await.expect("the upstream learns of it").unwrap_err();
}

// STRM-8
#[tokio::test]
async fn revoking_the_grant_cuts_its_streams_and_no_others() {
    let mut feed = Feed::start().await;
    let world = World::new(&feed.upstream.url()).await;
    let mut mine = world.get().send().await.unwrap();
    let _mine = feed.opened().await;
    let mut claims = world.claims("one");
    claims.sid = "grt_2".to_owned();
    let mut other = world.client.get(world.url("one")).bearer_auth(world.sign(&claims)).send().await.unwrap();
    let others = feed.opened().await;
    world.revocations.revoke(GrantId::new("grt_1"), UnixTime(START + 900));
    ended(&mut mine).await;
    others.send(Bytes::from("data: 1\n\n")).await.unwrap();
    assert_eq!(next(&mut other).await.unwrap(), "data: 1\n\n");
    assert_eq!(world.get().send().await.unwrap().status(), 401);
}

// STRM-2, STRM-8
#[tokio::test]
async fn a_stream_outlives_its_token_unless_a_setting_says_otherwise() {
    let mut feed = Feed::start().await;
    let world = World::new(&feed.upstream.url()).await;
    let mut response = world.get().send().await.unwrap();
    let sender = feed.opened().await;
    world.clock.0.store(START + 10_000, std::sync::atomic::Ordering::SeqCst);
    sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
    assert_eq!(next(&mut response).await.unwrap(), "data: 1\n\n");
    assert_eq!(world.get().send().await.unwrap().status(), 401);

    let strict = World::with(&feed.upstream.url(), &json!({}), &json!({ "closeStreamsAtExpiry": true })).await;
    strict.clock.0.store(START + 899, std::sync::atomic::Ordering::SeqCst);
    let mut response = strict.get().send().await.unwrap();
    let _held = feed.opened().await;
    ended(&mut response).await;
}

// STRM-8
#[tokio::test]
async fn no_stream_is_longer_than_the_cap() {
    let mut feed = Feed::start().await;
    let world = World::with(&feed.upstream.url(), &json!({}), &json!({ "streamMaxSeconds": 1 })).await;
    let mut response = world.get().send().await.unwrap();
    let _held = feed.opened().await;
    ended(&mut response).await;
}

// STRM-2, PROX-4
#[tokio::test]
async fn long_streams_of_many_events_pass_whole_and_in_order() {
    let upstream = Upstream::start(|_| async {
        let (sender, response) = event_stream(&[]);
        tokio::spawn(async move {
            for number in 0..5_000 {
                sender.send(Bytes::from(format!("data: {number}\n\n"))).await.unwrap();
            }
        });
        response
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let text = world.post("{}").send().await.unwrap().text().await.unwrap();
    let expected: Vec<String> = (0..5_000).map(|number| format!("data: {number}\n\n")).collect();
    assert_eq!(text, expected.concat());
}

// STRM-5
#[tokio::test]
async fn an_upstream_without_a_get_stream_says_so_itself() {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&requests);
    let upstream = Upstream::start(move |seen| {
        log.lock().unwrap().push(seen.method.to_string());
        async { answer(405, "{\"of\":\"the upstream\"}") }
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let response = world.get().header("last-event-id", "7").send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.json::<Value>().await.unwrap()["of"], "the upstream");
    assert_eq!(upstream.last().headers["last-event-id"], "7");
    assert_eq!(*requests.lock().unwrap(), ["GET"]);
}

// STRM-5, PROX-3
#[tokio::test]
async fn a_dropped_get_stream_goes_on_where_it_was_by_its_last_event_id() {
    let upstream = Upstream::start(|seen| async move {
        if seen.method != "GET" {
            let mut response = answer(200, "{}");
            response.headers_mut().insert("mcp-session-id", "its-own".parse().unwrap());
            return response;
        }
        assert_eq!(seen.headers["mcp-session-id"], "its-own");
        let last = seen.headers.get("last-event-id").map_or(0, |id| id.to_str().unwrap().parse().unwrap());
        let (sender, response) = event_stream(&[]);
        // Two events, and then it breaks off.
        for id in last + 1..=last + 2 {
            sender.try_send(Bytes::from(format!("id: {id}\nretry: 10\ndata: {id}\n\n"))).unwrap();
        }
        response
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let session = world.post("{}").send().await.unwrap().headers()["mcp-session-id"].clone();
    let mut last = String::new();
    for round in 0..3 {
        let mut request = world.get().header("mcp-session-id", &session);
        if !last.is_empty() {
            request = request.header("last-event-id", &last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let (one, two) = (2 * round + 1, 2 * round + 2);
        let expected = format!("id: {one}\nretry: 10\ndata: {one}\n\nid: {two}\nretry: 10\ndata: {two}\n\n");
        assert_eq!(response.text().await.unwrap(), expected);
        last = two.to_string();
    }
}

/// Opens a stream and reads its first event.
async fn open(feed: &mut Feed, request: reqwest::RequestBuilder) -> (reqwest::Response, mpsc::Sender<Bytes>) {
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let sender = feed.opened().await;
    sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
    next(&mut response).await.unwrap();
    (response, sender)
}

async fn refused(request: reqwest::RequestBuilder, status: u16) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["retry-after"], "2");
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["jsonrpc"], body["error"]["code"].is_i64()), (&json!("2.0"), true));
}

/// Tries until the place of a stream that was left is free again.
async fn eventually(
    request: impl Fn() -> reqwest::RequestBuilder,
    feed: &mut Feed,
) -> (reqwest::Response, mpsc::Sender<Bytes>) {
    let tries = async {
        loop {
            let response = request().send().await.unwrap();
            if response.status() == 200 {
                return response;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let response = tokio::time::timeout(SOON, tries).await.expect("its place comes back");
    (response, feed.opened().await)
}

// LIM-5
#[tokio::test]
async fn a_grant_has_so_many_streams_and_gets_a_place_back_when_one_ends_or_its_client_leaves() {
    let mut feed = Feed::start().await;
    let limits = json!({ "limits": { "streamsPerGrant": 2 } });
    let world = World::with(&feed.upstream.url(), &json!({}), &limits).await;
    let (ends, sender) = open(&mut feed, world.get()).await;
    let (leaves, _held) = open(&mut feed, world.post("{}")).await;
    for request in [world.get(), world.post("{}")] {
        refused(request, 429).await;
    }
    let mut claims = world.claims("one");
    claims.sid = "grt_2".to_owned();
    let other = world.client.get(world.url("one")).bearer_auth(world.sign(&claims));
    let _other = open(&mut feed, other).await;
    assert_eq!(feed.upstream.seen().len(), 3, "what is refused does not reach the upstream");

    drop(sender);
    assert_eq!(ends.text().await.unwrap(), "");
    let again = eventually(|| world.get(), &mut feed).await;
    refused(world.get(), 429).await;
    drop(leaves);
    let _third = eventually(|| world.get(), &mut feed).await;
    drop(again);
}

// LIM-5
#[tokio::test]
async fn all_streams_together_are_bounded_also_without_other_limits() {
    let mut feed = Feed::start().await;
    let world = World::with_streams(&feed.upstream.url(), &json!({}), &json!({ "limits": false }), 2).await;
    let _one = open(&mut feed, world.get()).await;
    let two = open(&mut feed, world.get()).await;
    refused(world.get(), 503).await;
    drop(two);
    eventually(|| world.get(), &mut feed).await;
}

// LIM-5, LIM-6
#[tokio::test]
async fn on_a_public_route_one_address_has_a_quarter_of_all_streams() {
    let mut feed = Feed::start().await;
    let public = json!({ "public": true });
    let world = World::with_streams(&feed.upstream.url(), &public, &json!({}), 8).await;
    let get = || world.client.get(world.url("one"));
    let _one = open(&mut feed, get()).await;
    let _two = open(&mut feed, get()).await;
    refused(get(), 429).await;
}

// LIM-5: the place belongs to the body, whether it is a stream or not, and not to its head.
#[tokio::test]
async fn answers_that_are_no_streams_take_a_place_until_they_are_read() {
    let upstream = Upstream::start(|_| async { answer(200, "{}") }).await;
    let world = World::with(&upstream.url(), &json!({}), &json!({ "limits": { "streamsPerGrant": 1 } })).await;
    for _ in 0..50 {
        assert_eq!(world.post("{}").send().await.unwrap().text().await.unwrap(), "{}");
    }
}

// STRM-8, REV-3
#[tokio::test]
async fn revoking_the_grant_breaks_off_a_long_answer_that_is_no_stream() {
    let (opened, mut senders) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (sender, mut response) = event_stream(&[]);
        response.headers_mut().insert("content-type", "application/octet-stream".parse().unwrap());
        opened.send(sender).unwrap();
        async { response }
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let mut response = world.get().send().await.unwrap();
    let sender = senders.recv().await.unwrap();
    sender.send(Bytes::from("half")).await.unwrap();
    assert_eq!(next(&mut response).await.unwrap(), "half");
    world.revocations.revoke(GrantId::new("grt_1"), UnixTime(START + 900));
    let rest = tokio::time::timeout(SOON, response.chunk()).await.expect("it ends");
    assert!(rest.is_err(), "half an answer does not pass for a whole one");
}

// STRM-8, REV-3: also an answer that is no stream, and has said nothing yet beyond its head.
#[tokio::test]
async fn an_answer_that_stalls_ends_with_its_grant_and_shows_that_it_is_cut_off() {
    let (body, answer) = event_stream(&[]);
    let answer = Mutex::new(Some(answer.map(|body| body)));
    let upstream = Upstream::start(move |_| {
        let mut answer = answer.lock().unwrap().take().expect("one call");
        answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
        async move { answer }
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let response = world.post("{}").send().await.unwrap();
    let reading = tokio::spawn(response.bytes());
    tokio::task::yield_now().await;
    world.revocations.revoke(GrantId::new("grt_1"), UnixTime(START + 900));
    assert!(reading.await.unwrap().is_err(), "half an answer is none");
    body.closed().await;
}
