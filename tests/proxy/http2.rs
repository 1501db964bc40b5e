//! Upstreams on HTTP/2 that have little room, change their mind or break off: each harms its own calls and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::Authority;
use crate::world::World;

type Wire = Connection<TlsStream<TcpStream>, Bytes>;

/// What an upstream does with a request: its connection, the number of the connection and that of the request in it.
type Script = fn(&mut Wire, usize, usize, Request<RecvStream>, SendResponse<Bytes>);

/// A server of frames.
struct Frames {
    url: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    authority: Authority,
}

impl Frames {
    /// Each connection takes so many calls at once.
    async fn start(at_once: u32, script: Script) -> Self {
        let authority = Authority::new();
        let tls = TlsAcceptor::from(Arc::new(authority.server(&["h2"], false)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/mcp", listener.local_addr().unwrap());
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counter, served) = (Arc::clone(&connections), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let (tls, served) = (tls.clone(), Arc::clone(&served));
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let settings = h2::server::Builder::new().max_concurrent_streams(at_once).handshake(stream).await;
                    let Ok(mut wire) = settings else { return };
                    let mut count = 0;
                    while let Some(Ok((request, respond))) = wire.accept().await {
                        served.fetch_add(1, Ordering::SeqCst);
                        script(&mut wire, number, count, request, respond);
                        count += 1;
                    }
                });
            }
        });
        Self { url, connections, requests, authority }
    }

    async fn world(&self) -> World {
        World::with_roots(&self.url, [&json!({}), &json!({})], self.authority.roots()).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn answer(mut respond: SendResponse<Bytes>) {
    let head = Response::builder().header("content-type", "application/json").body(()).unwrap();
    if let Ok(mut body) = respond.send_response(head, false) {
        let _ = body.send_data(Bytes::from_static(b"{}"), true);
    }
}

/// The first event of a stream that goes on until its reader leaves. Says `2` when `more` is over.
fn stream(mut respond: SendResponse<Bytes>, more: Duration) {
    let head = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    body.send_data(Bytes::from_static(b"data: 1\n\n"), false).unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(more).await;
        let _ = body.send_data(Bytes::from_static(b"data: 2\n\n"), false);
        let _ = std::future::poll_fn(|task| body.poll_reset(task)).await;
    });
}

const FOREVER: Duration = Duration::from_secs(3600);

// STRM-2: streams stay open for hours, and an upstream takes a hundred or so of them on a connection.
#[tokio::test]
async fn a_call_beyond_what_a_connection_takes_goes_over_another_and_does_not_wait() {
    let upstream = Frames::start(2, |_, _, _, request, respond| {
        if request.method() == http::Method::GET { stream(respond, FOREVER) } else { answer(respond) }
    })
    .await;
    let world = upstream.world().await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = world.get().send().await.unwrap();
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");
        streams.push(stream);
    }
    assert_eq!(upstream.connections(), 3);
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(upstream.connections(), 3, "the third has room");
    drop(streams);
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(upstream.connections(), 3);
}

// PROX-8: what was sent may have been done.
#[tokio::test]
async fn a_call_whose_stream_the_upstream_resets_is_made_once_and_leaves_the_connection() {
    let upstream = Frames::start(100, |_, _, count, _, mut respond| match count {
        0 => respond.send_reset(Reason::INTERNAL_ERROR),
        _ => answer(respond),
    })
    .await;
    let world = upstream.world().await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 502);
    assert_eq!(upstream.requests(), 1);
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(upstream.connections(), 1);
}

// STRM-4, PROX-8
#[tokio::test]
async fn an_answer_that_is_reset_midway_breaks_off_at_the_client_too() {
    let upstream = Frames::start(100, |_, _, count, _, mut respond| {
        if count > 0 {
            return answer(respond);
        }
        let head = Response::builder().header("content-length", "1000").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(b"half"), false).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        });
    })
    .await;
    let world = upstream.world().await;
    let response = world.post("{}").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
}

// STRM-2: as servers do that are deployed anew.
#[tokio::test]
async fn an_upstream_that_says_goodbye_ends_its_streams_in_peace_and_gets_new_calls_on_a_new_connection() {
    let upstream = Frames::start(100, |wire, connection, count, _, respond| match (connection, count) {
        (0, 0) => stream(respond, Duration::from_millis(500)),
        (0, 1) => {
            answer(respond);
            wire.graceful_shutdown();
        }
        _ => answer(respond),
    })
    .await;
    let world = upstream.world().await;
    let mut open = world.get().send().await.unwrap();
    assert_eq!(open.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    let calls = async {
        while upstream.connections() < 2 {
            assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), calls).await.expect("a new connection");
    assert_eq!(open.chunk().await.unwrap().unwrap(), "data: 2\n\n", "the stream went on");
}

// PROX-8
#[tokio::test]
async fn a_connection_that_is_torn_down_costs_the_calls_on_it_and_no_other() {
    let upstream = Frames::start(100, |wire, connection, _, _, respond| match connection {
        0 => wire.abrupt_shutdown(Reason::PROTOCOL_ERROR),
        _ => answer(respond),
    })
    .await;
    let world = upstream.world().await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 502);
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!((upstream.connections(), upstream.requests()), (2, 2));
}
