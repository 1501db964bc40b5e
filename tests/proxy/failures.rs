//! Upstreams that fail, each in its own way, and bodies that are too large.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::upstream::{Upstream, json as answer};
use crate::world::World;

/// Status, JSON-RPC code and message of a failure that the gateway tells of.
async fn failure(response: reqwest::Response) -> (u16, i64, String) {
    let status = response.status().as_u16();
    assert!(!response.headers().contains_key("www-authenticate"));
    assert!(!response.headers().contains_key("location"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["jsonrpc"], "2.0");
    assert_eq!(body["error"]["data"]["reference"], "ref-1");
    let code = body["error"]["code"].as_i64().unwrap();
    assert!((-32019..=-32000).contains(&code), "{code}");
    (status, code, body["error"]["message"].as_str().unwrap().to_owned())
}

// PROX-7, PROX-8
#[tokio::test]
async fn an_upstream_401_is_the_gateways_trouble_not_the_clients() {
    let upstream = Upstream::start(|_| async {
        let mut response = answer(401, "{}");
        response.headers_mut().insert("www-authenticate", "Bearer realm=\"upstream\"".parse().unwrap());
        response
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let (status, _, message) = failure(world.post("{}").send().await.unwrap()).await;
    assert_eq!(status, 502);
    assert!(message.contains("upstream credential rejected"), "{message}");
}

// PROX-8
#[tokio::test]
async fn an_upstream_that_is_not_there_gives_502() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}/mcp", socket.local_addr().unwrap());
    drop(socket);
    let world = World::new(&gone).await;
    assert_eq!(failure(world.post("{}").send().await.unwrap()).await.0, 502);
}

// PROX-8
#[tokio::test]
async fn an_upstream_that_hangs_up_or_talks_nonsense_gives_502() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for words in [&b""[..], b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"] {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", socket.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = socket.accept().await {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(words).await;
            }
        });
        let world = World::new(&url).await;
        assert_eq!(failure(world.post("{}").send().await.unwrap()).await.0, 502, "{words:?}");
    }
}

// PROX-8, LIM-7
#[tokio::test]
async fn an_upstream_that_never_finishes_tls_gives_502_within_the_connect_timeout() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/mcp", socket.local_addr().unwrap());
    let world = World::with(&url, &json!({ "connectTimeoutMs": 300 }), &json!({})).await;
    let started = Instant::now();
    assert_eq!(failure(world.post("{}").send().await.unwrap()).await.0, 502);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

// PROX-8
#[tokio::test]
async fn an_upstream_that_is_late_gives_504() {
    let upstream = Upstream::start(|_| async { std::future::pending().await }).await;
    let world = World::with(&upstream.url(), &json!({ "firstByteTimeoutMs": 300 }), &json!({})).await;
    let answered = tokio::time::timeout(Duration::from_mins(1), world.post("{}").send()).await.expect("in time");
    assert_eq!(failure(answered.unwrap()).await.0, 504);
}

// PROX-9
#[tokio::test]
async fn a_redirect_is_never_passed_on() {
    for status in [300, 301, 302, 303, 307, 308] {
        let upstream = Upstream::start(move |_| async move {
            let mut response = answer(status, "");
            response.headers_mut().insert("location", "https://evil.example/".parse().unwrap());
            response
        })
        .await;
        let world = World::new(&upstream.url()).await;
        assert_eq!(failure(world.post("{}").send().await.unwrap()).await.0, 502, "{status}");
        let following = World::with(&upstream.url(), &json!({ "followRedirects": true }), &json!({})).await;
        assert_eq!(failure(following.post("{}").send().await.unwrap()).await.0, 502, "{status}");
        assert_eq!(upstream.seen().len(), 2);
    }
}

// PROX-9
#[tokio::test]
async fn a_redirect_on_the_same_origin_is_followed_on_request_with_method_and_body() {
    let upstream = Upstream::start(|seen| async move {
        if seen.uri.path() == "/moved" {
            return answer(200, "{\"moved\":true}");
        }
        let mut response = answer(if seen.headers.contains_key("x-303") { 303 } else { 307 }, "");
        let target = if seen.headers.contains_key("x-loop") { "/mcp" } else { "/moved" };
        response.headers_mut().insert("location", target.parse().unwrap());
        response
    })
    .await;
    let world = World::with(&upstream.url(), &json!({ "followRedirects": true }), &json!({})).await;
    let response = world.post("{\"a\":1}").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "{\"moved\":true}");
    let seen = upstream.last();
    assert_eq!((seen.method.as_str(), &seen.body[..]), ("POST", &b"{\"a\":1}"[..]));
    assert_eq!(failure(world.post("{}").header("x-303", "1").send().await.unwrap()).await.0, 502);
    let before = upstream.seen().len();
    assert_eq!(failure(world.post("{}").header("x-loop", "1").send().await.unwrap()).await.0, 502);
    assert!(upstream.seen().len() - before < 10);
}

// LIM-4
#[tokio::test]
async fn a_body_over_the_limit_gives_413_whether_or_not_it_says_its_length() {
    let upstream = Upstream::ok().await;
    let world = World::with(&upstream.url(), &json!({ "maxBodyBytes": 1000 }), &json!({})).await;
    assert_eq!(world.post(vec![b'x'; 1000]).send().await.unwrap().status(), 200);
    assert_eq!(failure(world.post(vec![b'x'; 1001]).send().await.unwrap()).await.0, 413);
    let chunks = || {
        let parts = std::iter::repeat_n(Bytes::from(vec![b'x'; 100]), 11);
        reqwest::Body::wrap_stream(futures_util::stream::iter(parts.map(Ok::<_, std::io::Error>)))
    };
    assert_eq!(failure(world.post(chunks()).send().await.unwrap()).await.0, 413);
    let following = json!({ "maxBodyBytes": 1000, "followRedirects": true });
    let following = World::with(&upstream.url(), &following, &json!({})).await;
    assert_eq!(failure(following.post(chunks()).send().await.unwrap()).await.0, 413);
    assert_eq!(upstream.seen().len(), 1);
}

// LIM-7
#[tokio::test]
async fn an_identity_that_cannot_be_looked_up_is_a_503_that_says_when_to_come_back() {
    let upstream = Upstream::ok().await;
    let world = World::with(&upstream.url(), &json!({ "forwardIdentity": "assertion" }), &json!({})).await;
    let response = world.post("{}").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(failure(response).await.0, 503);
    assert!(upstream.seen().is_empty());
}
