//! One upstream at several addresses, behind gateways that share nothing but their keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use doorward::config::SigningAlg;
use doorward::keys::{AccessTokenClaims, Keys};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::upstream::{Upstream, json as answer};
use crate::world::World;

/// No resolver knows it: what arrives was dialled by its address.
const URL: &str = "http://mcp.invalid/mcp";
const CALLERS: usize = 24;

/// Gives whoever brings no session one that names `self`.
async fn stateful(name: usize) -> Upstream {
    Upstream::start(move |seen| async move {
        let mut response = answer(200, "{}");
        if !seen.headers.contains_key("mcp-session-id") {
            response.headers_mut().insert("mcp-session-id", format!("session-of-{name}").parse().unwrap());
        }
        response
    })
    .await
}

async fn three() -> [Upstream; 3] {
    [stateful(0).await, stateful(1).await, stateful(2).await]
}

async fn gateway(addresses: &[&str]) -> World {
    World::with(URL, &json!({ "addresses": addresses }), &json!({})).await
}

fn addresses(upstreams: &[Upstream]) -> Vec<&str> {
    upstreams.iter().map(Upstream::address).collect()
}

/// A request of one of many people.
fn request(world: &World, method: Method, caller: usize) -> reqwest::RequestBuilder {
    let claims = AccessTokenClaims { sub: format!("usr_{caller}"), ..world.claims("one") };
    world.client.request(method, world.url("one")).bearer_auth(world.sign(&claims))
}

fn call(world: &World, caller: usize) -> reqwest::RequestBuilder {
    request(world, Method::POST, caller).body(format!("{{\"caller\":{caller}}}"))
}

async fn open(world: &World, caller: usize) -> String {
    let response = call(world, caller).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.headers()["mcp-session-id"].to_str().unwrap().to_owned()
}

fn counts(upstreams: &[Upstream]) -> Vec<usize> {
    upstreams.iter().map(|upstream| upstream.seen().len()).collect()
}

/// Which of them `work` reached.
async fn reached(upstreams: &[Upstream], work: impl Future<Output = reqwest::Response>) -> (reqwest::Response, usize) {
    let before = counts(upstreams);
    let response = work.await;
    let after = counts(upstreams);
    let hit: Vec<usize> = (0..upstreams.len()).filter(|index| after[*index] > before[*index]).collect();
    let [only] = hit.as_slice() else { panic!("{before:?} {after:?}") };
    (response, *only)
}

async fn send(request: reqwest::RequestBuilder) -> reqwest::Response {
    request.send().await.unwrap()
}

// STRM-6, STRM-10
#[tokio::test]
async fn a_session_finds_its_own_address_on_every_gateway_and_after_a_restart() {
    let upstreams = three().await;
    let first = gateway(&addresses(&upstreams)).await;
    let mut used = BTreeSet::new();
    let mut sessions = Vec::new();
    for caller in 0..CALLERS {
        let (response, home) = reached(&upstreams, send(call(&first, caller))).await;
        let id = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        used.insert(home);
        sessions.push((caller, id, home));
    }
    assert_eq!(used.len(), 3, "everyone at one address");
    // The other has the addresses in another order, and the first is gone.
    drop(first);
    let second = gateway(&[upstreams[2].address(), upstreams[0].address(), upstreams[1].address()]).await;
    for (caller, id, home) in sessions {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let with_session = request(&second, method, caller).header("mcp-session-id", &id);
            let (response, hit) = reached(&upstreams, send(with_session)).await;
            assert_eq!((response.status().as_u16(), hit), (200, home));
            let seen = upstreams[home].last();
            assert_eq!(seen.headers["mcp-session-id"], format!("session-of-{home}"));
            assert_eq!(seen.headers["host"], "mcp.invalid");
        }
        let other = request(&second, Method::POST, caller + 1).header("mcp-session-id", &id);
        assert_eq!(send(other).await.status(), 404, "another person's");
    }
}

// STRM-10
#[tokio::test]
async fn calls_without_a_session_go_to_the_same_address_from_every_gateway() {
    let upstreams = three().await;
    let one = gateway(&addresses(&upstreams)).await;
    let other = gateway(&addresses(&upstreams)).await;
    for caller in 0..CALLERS {
        let (_, home) = reached(&upstreams, send(call(&one, caller))).await;
        let (_, again) = reached(&upstreams, send(call(&other, caller))).await;
        assert_eq!(home, again);
    }
}

// STRM-10
#[tokio::test]
async fn a_call_moves_on_from_an_address_that_cannot_be_reached_and_arrives_once_and_whole() {
    let upstreams = three().await;
    let names: Vec<String> = upstreams.iter().map(|upstream| upstream.address().to_owned()).collect();
    let world = gateway(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    upstreams[0].stop();
    upstreams[1].stop();
    wait_until_refused(&names[0]).await;
    wait_until_refused(&names[1]).await;
    for caller in 0..CALLERS {
        let (response, hit) = reached(&upstreams, send(call(&world, caller))).await;
        assert_eq!((response.status().as_u16(), hit), (200, 2));
        assert_eq!(upstreams[2].last().body, format!("{{\"caller\":{caller}}}"));
    }
    assert_eq!(upstreams[2].seen().len(), CALLERS);
    upstreams[2].stop();
    wait_until_refused(&names[2]).await;
    assert_eq!(call(&world, 0).send().await.unwrap().status(), 502);
}

async fn wait_until_refused(address: &str) {
    let since = std::time::Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(since.elapsed() < std::time::Duration::from_mins(1), "{address} still listens");
        tokio::task::yield_now().await;
    }
}

// STRM-6, STRM-10
#[tokio::test]
async fn a_session_never_moves_to_an_address_that_does_not_know_it() {
    let upstreams = three().await;
    let world = gateway(&addresses(&upstreams)).await;
    let id = open(&world, 7).await;
    let home = upstreams.iter().position(|upstream| !upstream.seen().is_empty()).unwrap();
    upstreams[home].stop();
    wait_until_refused(upstreams[home].address()).await;
    let before = counts(&upstreams);
    assert_eq!(call(&world, 7).header("mcp-session-id", &id).send().await.unwrap().status(), 502);
    assert_eq!(counts(&upstreams), before);
    // It begins anew elsewhere.
    let anew = open(&world, 7).await;
    assert_eq!(call(&world, 7).header("mcp-session-id", &anew).send().await.unwrap().status(), 200);
}

// STRM-6, STRM-10
#[tokio::test]
async fn a_session_of_an_address_that_is_no_longer_configured_is_not_found() {
    let upstreams = three().await;
    let world = gateway(&addresses(&upstreams)).await;
    let (response, home) = reached(&upstreams, send(call(&world, 3))).await;
    let id = response.headers()["mcp-session-id"].clone();
    let left: Vec<&str> =
        upstreams.iter().map(Upstream::address).filter(|address| *address != upstreams[home].address()).collect();
    let before = counts(&upstreams);
    let response = call(&gateway(&left).await, 3).header("mcp-session-id", &id).send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], -32001);
    assert_eq!(counts(&upstreams), before);
    let response = call(&gateway(&[upstreams[home].address()]).await, 3).header("mcp-session-id", &id).send().await;
    assert_eq!(response.unwrap().status(), 200, "an address that stays keeps its sessions");
}

// STRM-6, STRM-10
#[tokio::test]
async fn a_session_from_before_there_were_several_addresses_lives_on_at_its_own() {
    let upstreams = three().await;
    let alone = World::new(&upstreams[1].url()).await;
    let id = open(&alone, 5).await;
    let several = World::with(&upstreams[1].url(), &json!({ "addresses": addresses(&upstreams) }), &json!({})).await;
    let call = call(&several, 5).header("mcp-session-id", &id);
    let (response, hit) = reached(&upstreams, send(call)).await;
    assert_eq!((response.status().as_u16(), hit), (200, 1));
}

// STRM-10, PROX-8: an address that took the call may have done it.
#[tokio::test]
async fn a_call_that_an_address_took_and_dropped_is_not_made_again_elsewhere() {
    let good = stateful(0).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dropping = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut taken = Vec::new();
            while !taken.ends_with(b"}") {
                stream.read_buf(&mut taken).await.unwrap();
            }
        }
    });
    let world = gateway(&[good.address(), &dropping]).await;
    let mut failed = 0;
    for caller in 0..CALLERS {
        let before = good.seen().len();
        match send(call(&world, caller)).await.status().as_u16() {
            200 => assert_eq!(good.seen().len(), before + 1),
            502 => {
                failed += 1;
                assert_eq!(good.seen().len(), before);
            }
            status => panic!("{status}"),
        }
    }
    assert!((1..CALLERS).contains(&failed), "{failed}");
}

// STRM-11
#[tokio::test]
async fn an_address_that_turns_the_gateway_away_is_alive_and_keeps_its_callers() {
    let status = Arc::new(AtomicU16::new(401));
    let now = Arc::clone(&status);
    let handler = move |_| {
        let status = now.load(Ordering::SeqCst);
        async move { answer(status, "{}") }
    };
    let upstreams = [Upstream::start(handler.clone()).await, Upstream::start(handler).await];
    let world = gateway(&addresses(&upstreams)).await;
    for caller in 0..CALLERS {
        status.store(401, Ordering::SeqCst);
        let (refused, home) = reached(&upstreams, send(call(&world, caller))).await;
        assert_eq!(refused.status(), 502);
        status.store(200, Ordering::SeqCst);
        let (served, again) = reached(&upstreams, send(call(&world, caller))).await;
        assert_eq!((served.status().as_u16(), again), (200, home));
    }
}

// STRM-10, PROX-9
#[tokio::test]
async fn a_redirect_is_followed_at_the_address_that_gave_it() {
    let redirecting = |seen: crate::upstream::Seen| async move {
        if seen.uri.path() == "/moved" {
            return answer(200, "{}");
        }
        let mut response = answer(307, "");
        response.headers_mut().insert("location", "/moved".parse().unwrap());
        response
    };
    let upstreams = [Upstream::start(redirecting).await, Upstream::start(redirecting).await];
    let options = json!({ "addresses": addresses(&upstreams), "followRedirects": true });
    let world = World::with(URL, &options, &json!({})).await;
    for caller in 0..CALLERS {
        let (response, hit) = reached(&upstreams, send(call(&world, caller))).await;
        assert_eq!(response.status(), 200);
        assert_eq!(upstreams[hit].last().uri.path(), "/moved");
    }
}

// STRM-10: on a public route the callers are told apart by where they call from.
#[tokio::test]
async fn a_public_route_has_addresses_too() {
    let upstreams = three().await;
    let options = json!({ "addresses": addresses(&upstreams), "public": true });
    let keys = Arc::new(Keys::ephemeral(SigningAlg::Es256).unwrap());
    let world = World::with_keys(URL, &options, &json!({}), keys).await;
    let (response, home) = reached(&upstreams, send(world.client.post(world.url("one")).body("{}"))).await;
    let id = response.headers()["mcp-session-id"].clone();
    let again = world.client.post(world.url("one")).header("mcp-session-id", &id).body("{}");
    let (response, hit) = reached(&upstreams, send(again)).await;
    assert_eq!((response.status().as_u16(), hit), (200, home));
}

// PROX-8, STRM-10
#[tokio::test]
async fn an_address_that_answers_nonsense_gives_502_and_the_next_call_of_its_callers_too() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nonsense = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"nonsense\r\n\r\n").await;
        }
    });
    let world = gateway(&[&nonsense]).await;
    for _ in 0..2 {
        assert_eq!(call(&world, 1).send().await.unwrap().status(), 502);
    }
}
