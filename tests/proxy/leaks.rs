//! What is left of streams that were opened and closed, ten thousand times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use doorward::domain::{GrantId, UnixTime};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use crate::world::{START, World};

const CYCLES: usize = 10_000;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "9\r\ndata: 1\n\n\r\n";

/// An upstream that opens a stream for every request, ends it when asked by the path of the query, and counts
/// connections that are open.
async fn upstream() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                counter.fetch_add(1, Ordering::SeqCst);
                serve(stream).await;
                counter.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (url, open)
}

/// Serves until the other side hangs up.
async fn serve(mut stream: TcpStream) {
    let mut taken = Vec::new();
    while stream.read_buf(&mut taken).await.is_ok_and(|read| read > 0) {
        if !taken.ends_with(b"\r\n\r\n") {
            continue;
        }
        let ends = if taken.windows(7).any(|name| name == b"x-ends:") { "0\r\n\r\n" } else { "" };
        taken.clear();
        if stream.write_all(format!("{HEAD}{EVENT}{ends}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Lets everything come to rest that has anything left to do.
async fn at_rest(what: &str, is_at_rest: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_at_rest() {
        assert!(since.elapsed() < Duration::from_mins(1), "{what} is left over");
        tokio::task::yield_now().await;
    }
}

/// Opens a stream over a connection of its own and reads its event. The connection is the client.
async fn open(world: &World, token: &str, header: &str) -> TcpStream {
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let request = format!("GET /mcp/one HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{header}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut taken = Vec::new();
    while !taken.windows(7).any(|piece| piece == b"data: 1") {
        let read = client.read_buf(&mut taken).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&taken));
    }
    assert!(taken.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&taken));
    client
}

// STRM-4, LIM-5: with three places, one that did not come back would soon be missed.
#[tokio::test]
async fn ten_thousand_streams_leave_no_task_no_place_and_no_connection() {
    let (url, connections) = upstream().await;
    let world = World::with_streams(&url, &json!({}), &json!({}), 3).await;
    let token = world.token("one");
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let ending = "x-ends: 1\r\n";
    for cycle in 0..CYCLES {
        let client = open(&world, &token, if cycle % 2 == 0 { "" } else { ending }).await;
        drop(client);
        // The gateway and the upstream learn of it before the next comes.
        at_rest("the upstream's connection", || connections.load(Ordering::SeqCst) <= 1).await;
    }
    // At most one idle connection of the upstream, and who sweeps it.
    at_rest("a task", || tasks() <= before + 2).await;
    for _ in 0..3 {
        let _ = open(&world, &token, ending).await;
    }
}

// STRM-4, STRM-8
#[tokio::test]
async fn streams_of_a_revoked_grant_leave_nothing_either() {
    let (url, connections) = upstream().await;
    let world = World::new(&url).await;
    let token = world.token("one");
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut clients = Vec::new();
    for _ in 0..90 {
        clients.push(open(&world, &token, "").await);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 90);
    world.revocations.revoke(GrantId::new("grt_1"), UnixTime(START + 900));
    for client in &mut clients {
        let mut rest = Vec::new();
        while !rest.ends_with(b"0\r\n\r\n") {
            assert!(client.read_buf(&mut rest).await.unwrap() > 0, "it ends as streams end");
        }
    }
    at_rest("a connection to the upstream", || connections.load(Ordering::SeqCst) == 0).await;
    drop(clients);
    at_rest("a task", || tasks() <= before).await;
}
