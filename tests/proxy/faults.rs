//! Upstreams that break the rules of HTTP, or their word, on raw sockets: each harms its own call and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::upstream::{Upstream, json as answer};
use crate::world::World;

/// Longer than anything here takes; who waits for it has found a hang.
const HANG: Duration = Duration::from_mins(2);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// A server of bytes, and how many requests it has read.
struct Raw {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Raw {
    /// After each request, body included, `script` has the connection; it gives it back to read another.
    async fn start<F, W>(script: F) -> Self
    where
        F: Fn(TcpStream, usize) -> W + Send + Sync + 'static,
        W: Future<Output = Option<TcpStream>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, script) = (Arc::clone(&requests), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, script) = (Arc::clone(&counter), Arc::clone(&script));
                tokio::spawn(async move {
                    let mut stream = stream;
                    while read_request(&mut stream).await {
                        let number = counter.fetch_add(1, Ordering::SeqCst);
                        match script(stream, number).await {
                            Some(back) => stream = back,
                            None => return,
                        }
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// Always says the same, and keeps the connection.
    async fn says(words: impl Into<Bytes>) -> Self {
        let words: Bytes = words.into();
        Self::start(move |mut stream, _| {
            let words = words.clone();
            async move {
                let _ = stream.write_all(&words).await;
                Some(stream)
            }
        })
        .await
    }

    /// Says it once in each connection, and hangs up.
    async fn says_and_hangs_up(words: &'static str) -> Self {
        Self::start(move |mut stream, _| async move {
            let _ = stream.write_all(words.as_bytes()).await;
            None
        })
        .await
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Reads a head and the two bytes of body that these tests send. False at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut taken = Vec::new();
    loop {
        match stream.read_buf(&mut taken).await {
            Ok(0) | Err(_) => return false,
            Ok(_) if taken.ends_with(b"\r\n\r\n{}") => return true,
            Ok(_) => {}
        }
    }
}

async fn call(world: &World) -> reqwest::Response {
    tokio::time::timeout(HANG, world.post("{}").send()).await.expect("an answer comes").unwrap()
}

async fn text(response: reqwest::Response) -> Result<String, reqwest::Error> {
    tokio::time::timeout(HANG, response.text()).await.expect("it ends")
}

// PROX-8: what may have been done is not done again.
#[tokio::test]
async fn a_call_that_fails_after_it_was_sent_is_made_once() {
    for words in [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        let upstream = Raw::says_and_hangs_up(words).await;
        let world = World::new(&upstream.url).await;
        let response = call(&world).await;
        assert_eq!(response.status(), 502, "{words:?}");
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["jsonrpc"], &body["error"]["data"]["reference"]), (&json!("2.0"), &json!("ref-1")));
        assert_eq!(upstream.requests(), 1, "{words:?}");
    }
}

// PROX-8: the same over a connection that had served before.
#[tokio::test]
async fn a_call_over_a_kept_connection_that_breaks_after_it_was_sent_is_made_once() {
    let upstream = Raw::start(|mut stream, number| async move {
        if number % 2 == 1 {
            return None;
        }
        stream.write_all(OK.as_bytes()).await.unwrap();
        Some(stream)
    })
    .await;
    let world = World::new(&upstream.url).await;
    for round in 1..=5 {
        assert_eq!(text(call(&world).await).await.unwrap(), "{}");
        assert_eq!(call(&world).await.status(), 502);
        assert_eq!(upstream.requests(), 2 * round);
    }
}

// PROX-8
#[tokio::test]
async fn a_head_that_never_ends_or_has_too_many_fields_gives_502() {
    let many: Vec<String> = (0..10_000).map(|number| format!("x-{number}: 1\r\n")).collect();
    let heads = [
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2 * 1024 * 1024)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", many.concat()),
    ];
    for head in heads {
        let upstream = Raw::says(head).await;
        let world = World::new(&upstream.url).await;
        assert_eq!(call(&world).await.status(), 502);
        assert_eq!(upstream.requests(), 1);
    }
}

// PROX-4: half an answer does not pass for a whole one.
#[tokio::test]
async fn an_answer_that_is_shorter_than_it_says_breaks_off_at_the_client_too() {
    for words in [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{\"a\"",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\na\r\n{\"a\"",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    ] {
        let upstream = Raw::says_and_hangs_up(words).await;
        let world = World::new(&upstream.url).await;
        // The break may be known before a byte of the head is on its way down.
        let answer = async { world.post("{}").send().await?.error_for_status()?.text().await };
        tokio::time::timeout(HANG, answer).await.expect("it ends").expect_err(words);
        assert_eq!(upstream.requests(), 1);
    }
}

// STRM-4
#[tokio::test]
async fn an_event_stream_that_breaks_off_ends_cleanly_for_its_client() {
    for words in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100\r\n\r\ndata: 1\n\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
    ] {
        let upstream = Raw::says_and_hangs_up(words).await;
        let world = World::new(&upstream.url).await;
        assert_eq!(text(call(&world).await).await.unwrap(), "data: 1\n\n", "{words:?}");
    }
}

// PROX-4, LIM-7: what an upstream says beyond its word is nobody's answer.
#[tokio::test]
async fn bytes_after_an_answer_are_not_taken_for_the_next_one() {
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let upstream = Raw::says(format!("{OK}{forged}")).await;
    let world = World::new(&upstream.url).await;
    for round in 1..=10 {
        assert_eq!(text(call(&world).await).await.unwrap(), "{}");
        assert_eq!(upstream.requests(), round);
    }
}

// PROX-4
#[tokio::test]
async fn answers_before_the_answer_are_not_taken_for_it() {
    for before in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
    ] {
        let upstream = Raw::says(format!("{before}{OK}")).await;
        let world = World::new(&upstream.url).await;
        for round in 1..=3 {
            let response = call(&world).await;
            assert_eq!((response.status().as_u16(), response.headers().contains_key("link")), (200, false));
            assert_eq!(text(response).await.unwrap(), "{}");
            assert_eq!(upstream.requests(), round);
        }
    }
}

// PROX-8
#[tokio::test]
async fn an_upstream_that_closes_its_half_serves_with_it_and_fails_without_an_answer() {
    for (words, status) in [(OK, 200), ("", 502)] {
        let upstream = Raw::start(move |mut stream, _| async move {
            stream.write_all(words.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // It still reads, and says no more.
            let _ = stream.read(&mut [0; 16]).await;
            None
        })
        .await;
        let world = World::new(&upstream.url).await;
        for round in 1..=3 {
            assert_eq!(call(&world).await.status(), status);
            assert_eq!(upstream.requests(), round);
        }
    }
}

// PROX-8
#[tokio::test]
async fn a_connection_reset_gives_502_and_the_next_call_a_new_one() {
    let upstream = Raw::start(|mut stream, number| async move {
        if number == 0 {
            // Closing with nothing left to send and no time to linger resets.
            stream.set_zero_linger().unwrap();
            return None;
        }
        stream.write_all(OK.as_bytes()).await.unwrap();
        Some(stream)
    })
    .await;
    let world = World::new(&upstream.url).await;
    assert_eq!(call(&world).await.status(), 502);
    assert_eq!(text(call(&world).await).await.unwrap(), "{}");
}

// PROX-4, PROX-6: an upstream need not read what it refuses.
#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_read_is_passed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut taken = Vec::new();
            while !taken.windows(4).any(|four| four == b"\r\n\r\n") {
                stream.read_buf(&mut taken).await.unwrap();
            }
            let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(refusal.as_bytes()).await.unwrap();
            held.push(stream);
        }
    });
    let world = World::new(&url).await;
    for _ in 0..3 {
        // A client that has not finished speaking either.
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("{\"half\":"))]);
        let rest = futures_util::stream::pending();
        let body = reqwest::Body::wrap_stream(futures_util::StreamExt::chain(first, rest));
        let response = tokio::time::timeout(HANG, world.post(body).send()).await.expect("it comes").unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(text(response).await.unwrap(), "{}");
    }
}

// LIM-7
#[tokio::test]
async fn calls_that_an_upstream_swallows_delay_no_other_call_of_anybody() {
    let upstream = Upstream::start(|seen| async move {
        if seen.headers.contains_key("x-stuck") {
            std::future::pending::<()>().await;
        }
        answer(200, "{}")
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let stuck: Vec<_> = (0..50).map(|_| tokio::spawn(world.post("{}").header("x-stuck", "1").send())).collect();
    while upstream.seen().len() < stuck.len() {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        assert_eq!(text(call(&world).await).await.unwrap(), "{}");
    }
    assert!(stuck.iter().all(|call| !call.is_finished()));
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

// LIM-7, PROX-8
#[tokio::test]
async fn a_restarted_upstream_is_found_again_without_anybodys_help() {
    let mut upstream = Upstream::ok().await;
    let address = upstream.address().to_owned();
    let world = World::new(&upstream.url()).await;
    for _ in 0..5 {
        // Several connections are kept.
        let calls: Vec<_> = (0..8).map(|_| tokio::spawn(world.post("{}").send())).collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().text().await.unwrap(), "{}");
        }
        let before = upstream.seen().len();
        assert_eq!(before, 8, "each call once");
        upstream.stop();
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(call(&world).await.status(), 502, "nobody is there");
        upstream = Upstream::start_at(&address, |_| async { answer(200, "{}") }).await;
    }
}

// LIM-7, PROX-8
#[tokio::test]
async fn connections_that_an_upstream_closed_meanwhile_cost_no_call() {
    let upstream = Raw::start(|mut stream, _| async move {
        // It says nothing of closing, and closes.
        stream.write_all(OK.as_bytes()).await.unwrap();
        None
    })
    .await;
    let world = World::new(&upstream.url).await;
    for round in 1..=20 {
        assert_eq!(text(call(&world).await).await.unwrap(), "{}");
        assert_eq!(upstream.requests(), round);
    }
}

// LIM-7
#[tokio::test]
async fn an_upstream_that_is_a_black_hole_delays_no_other_route() {
    // Takes connections, and never a byte of what comes over them.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lost = json!({ "rewritePattern": format!("http://{}/mcp", hole.local_addr().unwrap()) });
    let upstream = Upstream::ok().await;
    let world = World::with_roots(&upstream.url(), [&lost, &json!({})], rustls::RootCertStore::empty()).await;
    let (one, two) = (world.token("one"), world.token("two"));
    let waiting: Vec<_> = (0..40)
        .map(|_| tokio::spawn(world.client.post(world.url("one")).bearer_auth(&one).body("{}").send()))
        .collect();
    for _ in 0..20 {
        let call = world.client.post(world.url("two")).bearer_auth(&two).body("{}").send();
        assert_eq!(tokio::time::timeout(HANG, call).await.expect("it is served").unwrap().status(), 200);
    }
    assert!(waiting.iter().all(|call| !call.is_finished()), "the others still wait for theirs");
    drop(waiting);
}
