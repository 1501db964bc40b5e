//! When a credential of a server behind ends: streams that live on it, and servers that take none (gateway.md §8).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use doorward::domain::{ConnectionId, Owner};
use http::Method;
use rstest::rstest;
use serde_json::json;
use tokio::sync::mpsc;

use crate::credentials::{ID, connect, guarded_apart, person, token_of};
use crate::fake_upstream::FakeUpstream;
use crate::upstream::{Seen, Upstream, event_stream, json as answer};
use crate::world::World;

/// What sends events to each person's streams, by the token that they were opened with.
type Senders = Arc<Mutex<HashMap<String, Vec<mpsc::Sender<Bytes>>>>>;

fn bearer(seen: &Seen) -> Option<String> {
    Some(seen.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned())
}

/// Streams events to whoever asks for `text/event-stream`, and answers 401 to tokens of nobody.
async fn streaming(fake: &Arc<FakeUpstream>, senders: &Senders) -> Upstream {
    let (fake, senders) = (Arc::clone(fake), Arc::clone(senders));
    Upstream::start(move |seen: Seen| {
        let known = ["ada", "bob"].iter().flat_map(|person| fake.access_tokens(person)).collect::<Vec<_>>();
        let response = match bearer(&seen) {
            Some(token) if known.contains(&token) && seen.headers["accept"] == "text/event-stream" => {
                let (sender, response) = event_stream(&[]);
                senders.lock().unwrap().entry(token).or_default().push(sender);
                response
            }
            Some(token) if known.contains(&token) => answer(200, "{}"),
            _ => answer(401, "{}"),
        };
        async move { response }
    })
    .await
}

async fn listen(world: &World, method: Method, id: &str) -> reqwest::Response {
    let request = world.client.request(method, world.url("one")).bearer_auth(token_of(world, id));
    let response = request.header("accept", "text/event-stream").body("").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// The next piece of a stream; `None` when it has ended.
async fn next(stream: &mut reqwest::Response) -> Option<Bytes> {
    tokio::time::timeout(Duration::from_secs(60), stream.chunk()).await.expect("something happens").unwrap()
}

#[derive(Clone, Copy)]
enum Ending {
    Here,
    /// By an operator, or at another gateway.
    Elsewhere,
    /// Perhaps to another account.
    ConnectedAnew,
    /// The server's authorization server renews it no more.
    Lost,
}

// STRM-8
#[rstest]
#[case(Ending::Here)]
#[case(Ending::Elsewhere)]
#[case(Ending::ConnectedAnew)]
#[case(Ending::Lost)]
#[tokio::test]
async fn an_open_stream_ends_with_the_connection_it_lives_on_and_no_other_does(#[case] ending: Ending) {
    let fake = Arc::new(FakeUpstream::start().await);
    let senders = Senders::default();
    let upstream = streaming(&fake, &senders).await;
    let world = guarded_apart(&fake, &upstream, &json!({}), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    connect(&world, &fake, person("usr_2"), "bob").await;
    let mut adas = [listen(&world, Method::GET, "usr_1").await, listen(&world, Method::POST, "usr_1").await];
    let mut bobs = listen(&world, Method::GET, "usr_2").await;
    let of = |person: &str| senders.lock().unwrap()[fake.access_tokens(person).last().unwrap()].clone();
    let (to_ada, to_bob) = (of("ada"), of("bob"));
    for (sender, stream) in to_ada.iter().zip(&mut adas) {
        sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
        assert_eq!(next(stream).await.unwrap(), "data: 1\n\n");
    }
    let (ada, id) = (person("usr_1"), ConnectionId::of(ID, &person("usr_1")));
    match ending {
        Ending::Here => assert!(world.upstreams.disconnect(ID, &ada, None).await.unwrap()),
        Ending::Elsewhere => assert!(world.store.disconnect(&id).await.unwrap().is_some()),
        Ending::ConnectedAnew => {
            world.clock.0.fetch_add(1, Ordering::SeqCst);
            connect(&world, &fake, ada, "bob").await;
        }
        Ending::Lost => {
            fake.revoke("ada");
            let call = world.client.post(world.url("one")).bearer_auth(token_of(&world, "usr_1"));
            call.header("accept", "application/json").body("{}").send().await.unwrap();
        }
    }
    for stream in &mut adas {
        assert_eq!(next(stream).await, None);
    }
    to_bob[0].send(Bytes::from_static(b"data: 2\n\n")).await.unwrap();
    assert_eq!(next(&mut bobs).await.unwrap(), "data: 2\n\n");
    // Whoever connects again, listens again.
    world.clock.0.fetch_add(1, Ordering::SeqCst);
    connect(&world, &fake, person("usr_1"), "ada").await;
    let mut again = listen(&world, Method::GET, "usr_1").await;
    of("ada").last().unwrap().send(Bytes::from_static(b"data: 3\n\n")).await.unwrap();
    assert_eq!(next(&mut again).await.unwrap(), "data: 3\n\n");
}

// STRM-8
#[tokio::test]
async fn the_streams_of_all_end_with_the_shared_connection() {
    let fake = Arc::new(FakeUpstream::start().await);
    let upstream = streaming(&fake, &Senders::default()).await;
    let resource = upstream.url();
    fake.behave(|behaviour| behaviour.resource_metadata = Some(json!({ "resource": resource })));
    let policy = crate::credentials::policy(&json!({
        "authMode": "shared-oauth",
        "protectedResourceMetadataUrl": fake.resource_metadata_url(),
    }));
    let world = World::with_policies(&upstream.url(), &json!({}), &[policy]).await;
    connect(&world, &fake, Owner::Everyone, "ada").await;
    let mut streams = [listen(&world, Method::GET, "usr_1").await, listen(&world, Method::GET, "usr_2").await];
    world.store.disconnect(&ConnectionId::of(ID, &Owner::Everyone)).await.unwrap();
    for stream in &mut streams {
        assert_eq!(next(stream).await, None);
    }
}

// LIM-7, PROX-7
#[tokio::test]
async fn a_server_that_refuses_every_token_costs_one_in_half_a_minute() {
    let fake = Arc::new(FakeUpstream::start().await);
    let refuses_all = Arc::new(AtomicBool::new(true));
    let (theirs, refuses) = (Arc::clone(&fake), Arc::clone(&refuses_all));
    let upstream = Upstream::start(move |seen: Seen| {
        let is_known = bearer(&seen).is_some_and(|token| theirs.access_tokens("ada").contains(&token));
        let is_taken = is_known && !refuses.load(Ordering::SeqCst);
        async move { if is_taken { answer(200, "{}") } else { answer(401, "{}") } }
    })
    .await;
    let world = guarded_apart(&fake, &upstream, &json!({}), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    let call = || async { world.post("{}").send().await.unwrap().status().as_u16() };
    for _ in 0..5 {
        assert_eq!(call().await, 502);
    }
    assert_eq!(fake.granted("refresh_token"), 1);
    world.clock.0.fetch_add(30, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(call().await, 502);
    }
    assert_eq!(fake.granted("refresh_token"), 2);

    // As soon as it takes one, one that it then refuses is renewed at once.
    refuses_all.store(false, Ordering::SeqCst);
    assert_eq!((call().await, fake.granted("refresh_token")), (200, 2));
    fake.expire_access_tokens();
    assert_eq!((call().await, fake.granted("refresh_token")), (200, 3));

    // A token that was got otherwise meanwhile is tried.
    refuses_all.store(true, Ordering::SeqCst);
    fake.expire_access_tokens();
    assert_eq!((call().await, fake.granted("refresh_token")), (502, 4));
    refuses_all.store(false, Ordering::SeqCst);
    fake.expire_access_tokens();
    assert_eq!((call().await, fake.granted("refresh_token")), (502, 4));
    connect(&world, &fake, person("usr_1"), "ada").await;
    assert_eq!(call().await, 200);
}
