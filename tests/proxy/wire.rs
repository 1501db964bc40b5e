//! Bytes on the wire: framing, trailers, versions of HTTP, and requests that two parties could read differently.

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::upstream::{Upstream, json as answer};
use crate::world::World;

/// What the gateway answers to these bytes until it closes, or until `enough`.
async fn heard(world: &World, said: &[u8], enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let _ = stream.write_all(said).await;
    read_until(&mut stream, enough).await
}

async fn read_until(stream: &mut TcpStream, enough: impl Fn(&str) -> bool) -> String {
    let mut heard = Vec::new();
    let reading = async {
        while !enough(&String::from_utf8_lossy(&heard)) {
            if !matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_mins(1), reading).await;
    String::from_utf8_lossy(&heard).into_owned()
}

fn statuses(heard: &str) -> Vec<&str> {
    heard.match_indices("HTTP/1.1 ").filter_map(|(at, _)| heard.get(at + 9..at + 12)).collect()
}

/// The head of a POST to `/mcp/one` with a good token; header lines end with CRLF.
fn head(world: &World, lines: &str) -> String {
    format!("POST /mcp/one HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{lines}\r\n", world.token("one"))
}

// PROX-4, PROX-10
#[tokio::test]
async fn a_request_that_two_parties_could_read_differently_reaches_no_upstream() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    for (lines, body) in [
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"),
        ("Content-Length: 2, 3\r\n", "{}x"),
        ("Content-Length: +2\r\n", "{}"),
        ("Content-Length: -2\r\n", "{}"),
        ("Content-Length: 0x2\r\n", "{}"),
        ("Content-Length : 2\r\n", "{}"),
        ("Content-Length: 99999999999999999999\r\n", "{}"),
        ("Content-Length:\r\n", "{}"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", "{}"),
        ("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-1\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "2\r\n{}xx0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "2;a=\"\n\"\r\n{}\r\n0\r\n\r\n"),
        ("X-Folded: a\r\n b\r\nContent-Length: 2\r\n", "{}"),
        ("X-Null: a\0b\r\nContent-Length: 2\r\n", "{}"),
        ("X-Return: a\rb\r\nContent-Length: 2\r\n", "{}"),
        ("X Blank: a\r\nContent-Length: 2\r\n", "{}"),
        (": nameless\r\nContent-Length: 2\r\n", "{}"),
        ("nameonly\r\nContent-Length: 2\r\n", "{}"),
    ] {
        let request = format!("{}{body}", head(&world, &format!("Connection: close\r\n{lines}")));
        let heard = heard(&world, request.as_bytes(), |_| false).await;
        let refused = statuses(&heard).iter().all(|status| status.starts_with('4') || *status == "502");
        assert!(refused, "{lines:?} {body:?}: {heard}");
        // A body that turns out to be wrong in its middle may have begun to arrive; it never ends well.
        assert!(upstream.seen().is_empty(), "{lines:?} {body:?}: {:?}", upstream.seen());
    }
}

// PROX-10
#[tokio::test]
async fn no_request_target_reaches_an_upstream_but_the_literal_path_of_a_route() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    for target in [
        "/mcp/one/",
        "/mcp//one",
        "//mcp/one",
        "/mcp/./one",
        "/mcp/x/../one",
        "/mcp/%6fne",
        "/mcp%2fone",
        "/%6dcp/one",
        "/mcp/one%00",
        "/mcp/one%0d%0aX:y",
        "/mcp/one;x",
        "/mcp/one\\",
        "/MCP/one",
        "/mcp/ONE",
        "*",
        "mcp/one",
        "evil.example:80",
        "http://evil.example/other",
        "/mcp/one/%2e%2e/two",
        "\\mcp\\one",
    ] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            world.token("one")
        );
        let heard = heard(&world, request.as_bytes(), |_| false).await;
        assert!(statuses(&heard).iter().all(|status| status.starts_with('4')), "{target}: {heard}");
    }
    for line in [
        "CONNECT evil.example:80 HTTP/1.1",
        "CONNECT /mcp/one HTTP/1.1",
        "POST /mcp/one HTTP/1.1 x",
        "POST  /mcp/one HTTP/1.1",
    ] {
        let request = format!("{line}\r\nHost: evil.example:80\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let heard = heard(&world, request.as_bytes(), |_| false).await;
        assert!(statuses(&heard).iter().all(|status| status.starts_with('4')), "{line}: {heard}");
    }
    assert!(upstream.seen().is_empty());
    // A target in absolute form names a route by its path; the host in it has no say in where the request goes.
    let request = format!(
        "POST http://evil.example/mcp/one HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        world.token("one")
    );
    assert_eq!(statuses(&heard(&world, request.as_bytes(), |_| false).await), ["200"]);
    assert_eq!(upstream.last().headers["host"], upstream.origin.trim_start_matches("http://"));
    assert_eq!(upstream.last().uri.to_string(), "/mcp");
}

// PROX-4, CHAL-11
#[tokio::test]
async fn leave_to_send_a_body_is_given_only_once_the_caller_is_admitted() {
    let upstream = Upstream::start(|seen| async move { answer(200, std::str::from_utf8(&seen.body).unwrap()) }).await;
    let world = World::new(&upstream.url()).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let asking = head(&world, "Expect: 100-continue\r\nContent-Length: 7\r\nConnection: close\r\n");
    stream.write_all(asking.as_bytes()).await.unwrap();
    let leave = read_until(&mut stream, |heard| heard.ends_with("\r\n\r\n")).await;
    assert_eq!(leave, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{\"a\":1}").await.unwrap();
    let heard_then = read_until(&mut stream, |_| false).await;
    assert!(heard_then.starts_with("HTTP/1.1 200") && heard_then.ends_with("{\"a\":1}"), "{heard_then}");
    assert!(!upstream.last().headers.contains_key("expect"));

    let stranger = b"POST /mcp/one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n";
    let refused = heard(&world, stranger, |heard| heard.contains("\r\n\r\n")).await;
    assert_eq!(statuses(&refused), ["401"], "{refused}");
    assert_eq!(upstream.seen().len(), 1);
}

/// An upstream that gives `answer` to the first request, and what it was sent, byte for byte.
async fn scripted(answer: &'static str, ends: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", socket.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let heard = read_until(&mut stream, |heard| heard.ends_with(ends)).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        heard
    });
    (url, heard)
}

// PROX-4
#[tokio::test]
async fn a_length_stays_a_length_and_chunks_stay_chunks() {
    const SHORT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    let (url, sent) = scripted(SHORT, "{\"a\":1}").await;
    let world = World::new(&url).await;
    let said = format!("{}{{\"a\":1}}", head(&world, "Content-Length: 7\r\nConnection: close\r\n"));
    let answer = heard(&world, said.as_bytes(), |_| false).await;
    assert!(answer.contains("content-length: 2\r\n") && answer.ends_with("\r\n\r\n{}"), "{answer}");
    let sent = sent.await.unwrap();
    assert!(sent.contains("content-length: 7\r\n") && !sent.contains("transfer-encoding"), "{sent}");

    let (url, sent) = scripted(CHUNKED, "0\r\n\r\n").await;
    let world = World::new(&url).await;
    let chunks = "3;ext=1\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
    let said = format!("{}{chunks}", head(&world, "Transfer-Encoding: chunked\r\nConnection: close\r\n"));
    let answer = heard(&world, said.as_bytes(), |_| false).await;
    assert!(answer.contains("transfer-encoding: chunked\r\n") && !answer.contains("content-length"), "{answer}");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    let sent = sent.await.unwrap();
    assert!(sent.contains("transfer-encoding: chunked\r\n") && !sent.contains("ext=1"), "{sent}");
}

// PROX-2, PROX-4
#[tokio::test]
async fn what_a_client_says_in_trailers_stays_behind() {
    const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let (url, sent) = scripted(DONE, "0\r\n\r\n").await;
    let world = World::new(&url).await;
    let lines =
        "Trailer: X-Forwarded-User, X-Sum\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
    let said = format!("{}2\r\n{{}}\r\n0\r\nX-Forwarded-User: root\r\nX-Sum: 1\r\n\r\n", head(&world, lines));
    let answer = heard(&world, said.as_bytes(), |_| false).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    let sent = sent.await.unwrap().to_ascii_lowercase();
    assert!(!sent.contains("x-forwarded-user") && !sent.contains("x-sum"), "{sent}");
    assert!(sent.ends_with("2\r\n{}\r\n0\r\n\r\n"), "{sent}");
}

// PROX-2, PROX-4
#[tokio::test]
async fn what_an_upstream_says_in_trailers_stays_behind_and_its_connection_is_kept() {
    const SAID: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntrailer: set-cookie, x-sum\r\n\
        transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nset-cookie: a=b\r\nx-sum: 1\r\n\r\n";
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::new(&format!("http://{}/mcp", socket.local_addr().unwrap())).await;
    let upstream = tokio::spawn(async move {
        // There is this one connection and no other.
        let (mut stream, _) = socket.accept().await.unwrap();
        drop(socket);
        while read_until(&mut stream, |heard| heard.ends_with("\r\n\r\n{}")).await.ends_with("{}") {
            stream.write_all(SAID).await.unwrap();
        }
    });
    for _ in 0..2 {
        let lines = "TE: trailers\r\nContent-Length: 2\r\nConnection: close\r\n";
        let answer = heard(&world, format!("{}{{}}", head(&world, lines)).as_bytes(), |_| false).await;
        assert_eq!(statuses(&answer), ["200"], "{answer}");
        assert!(!answer.contains("set-cookie") && !answer.contains("x-sum"), "{answer}");
        assert!(answer.ends_with("2\r\n{}\r\n0\r\n\r\n"), "{answer}");
    }
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(world.url("one"))
        .header("authorization", format!("Bearer {}", world.token("one")))
        .header("te", "trailers")
        .body(http_body_util::Full::new(Bytes::from("{}")))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert!(!answer.headers().contains_key("trailer"));
    let body = answer.into_body().collect().await.unwrap();
    assert!(body.trailers().is_none());
    assert_eq!(body.to_bytes(), "{}");
    drop(client);
    connection.await.unwrap().unwrap();
    upstream.abort();
}

// PROX-3, PROX-4
#[tokio::test]
async fn http2_by_prior_knowledge_is_served_like_http1_with_the_same_headers() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let parts = ["{\"a\":", "1}"].map(|part| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(part))));
    let request = http::Request::post(world.url("one"))
        .header("authorization", format!("Bearer {}", world.token("one")))
        .header("mcp-method", "tools/call")
        .header("mcp-param-city", "Paris")
        .header("x-custom", "one")
        .header("x-custom", "two")
        // HTTP/2 lets a client split its cookies.
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .body(StreamBody::new(futures_util::stream::iter(parts)))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    let seen = upstream.last();
    assert_eq!(seen.body, "{\"a\":1}");
    let custom: Vec<_> = seen.headers.get_all("x-custom").iter().collect();
    assert_eq!(custom, ["one", "two"]);
    assert_eq!(
        (&seen.headers["mcp-method"], &seen.headers["mcp-param-city"]),
        (&"tools/call".parse().unwrap(), &"Paris".parse().unwrap())
    );
    assert_eq!(seen.headers["host"], upstream.origin.trim_start_matches("http://"));
    for name in ["cookie", "authorization"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    drop(client);
    connection.await.unwrap().unwrap();
}
