//! What reaches the upstream and what comes back.

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

use crate::upstream::{Upstream, json as answer};
use crate::world::World;

// PROX-1, PROX-2, PROX-3
#[tokio::test]
async fn the_golden_set_of_headers_crosses_and_no_other() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let kept = [
        ("accept", "application/json, text/event-stream"),
        ("baggage", "a=1"),
        ("content-digest", "sha-256=:x:"),
        ("content-type", "application/json"),
        ("last-event-id", "7"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?ZWNobw==?="),
        ("mcp-param-city", "Paris"),
        ("mcp-param-unknown", "x"),
        ("mcp-protocol-version", "2026-07-28"),
        ("signature", "sig1=:x:"),
        ("signature-input", "sig1=()"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("x-custom", "one"),
        ("x-custom", "two"),
    ];
    let taken = [
        ("cookie", "a=b"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-user", "root"),
        ("x_forwarded_email", "root@example.com"),
        ("x-doorward-assertion", "forged"),
        ("x_doorward_assertion", "forged"),
        ("x-real-ip", "1.2.3.4"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic x"),
        ("mcp_session_id", "raw"),
        ("x.forwarded.user", "root"),
        ("proxy", "http://evil.example"),
        ("x-original-url", "/admin"),
        ("x_rewrite_url", "/admin"),
        ("x-http-method-override", "DELETE"),
        // Allowed beside a gateway on loopback, and judged there.
        ("origin", "http://localhost:6274"),
    ];
    let mut request = world.post("{}");
    for (name, value) in kept.iter().chain(&taken) {
        request = request.header(*name, *value);
    }
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = upstream.last();
    let mut reached: Vec<(&str, &str)> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    reached.sort_unstable();
    let host = upstream.origin.trim_start_matches("http://").to_owned();
    let mut expected: Vec<(&str, &str)> = kept.to_vec();
    expected.extend([("content-length", "2"), ("host", host.as_str())]);
    expected.sort_unstable();
    assert_eq!(reached, expected);
}

// PROX-3, PROX-7, STRM-1
#[tokio::test]
async fn the_golden_set_of_answer_headers_crosses_and_no_other() {
    let kept = [
        ("content-type", "application/json"),
        ("cache-control", "no-cache"),
        ("content-language", "en"),
        ("etag", "\"1\""),
        ("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT"),
        ("mcp-protocol-version", "2026-07-28"),
        ("retry-after", "3"),
        ("server-timing", "tool;dur=3"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-custom", "one"),
        ("x-custom", "two"),
    ];
    let taken = [
        ("set-cookie", "a=b"),
        ("www-authenticate", "Basic"),
        ("location", "https://evil.example/"),
        ("access-control-allow-origin", "https://evil.example"),
        ("access-control-allow-credentials", "true"),
        ("strict-transport-security", "max-age=1"),
        ("clear-site-data", "\"*\""),
        ("refresh", "0; url=https://evil.example"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ];
    let upstream = Upstream::start(move |_| async move {
        let mut response = answer(200, "{}");
        response.headers_mut().remove("content-type");
        for (name, value) in kept.iter().chain(&taken) {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let response = world.post("{}").send().await.unwrap();
    let mut reached: Vec<(&str, &str)> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .filter(|(name, _)| *name != "date")
        .collect();
    reached.sort_unstable();
    let exposed = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, X-Request-Id";
    let mut expected: Vec<(&str, &str)> = kept.to_vec();
    expected.extend([
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", exposed),
        ("content-length", "2"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
    ]);
    expected.sort_unstable();
    assert_eq!(reached, expected);
}

// PROX-4
#[tokio::test]
async fn bodies_pass_byte_for_byte_in_both_directions() {
    let upstream = Upstream::start(|seen| async move {
        http::Response::builder()
            .header("content-type", "application/json")
            .body(Full::new(seen.body).boxed_unsync())
            .unwrap()
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let odd = br#"{"jsonrpc" : "2.0","id":10000000000000000000001,"a":1.0,"a":1e2,"_meta":{"x":"\u00e9"}}"#.to_vec();
    let binary: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
    for body in [odd, binary, Vec::new()] {
        let echoed = world.post(body.clone()).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(upstream.last().body, body);
        assert_eq!(echoed, body);
    }
    let chunks =
        futures_util::stream::iter(["{", "\"a\":", "1}"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part))));
    let echoed = world.post(reqwest::Body::wrap_stream(chunks)).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(echoed, "{\"a\":1}");
}

// PROX-6
#[tokio::test]
async fn upstream_statuses_and_bodies_pass_unchanged() {
    let upstream = Upstream::start(|seen| async move {
        let status: u16 = seen.headers["x-status"].to_str().unwrap().parse().unwrap();
        answer(status, if status == 202 { "" } else { "{\"error\":\"of the upstream\"}" })
    })
    .await;
    let world = World::new(&upstream.url()).await;
    for status in [200, 202, 400, 403, 404, 405, 409, 429, 500, 503] {
        let response = world.post("{}").header("x-status", status.to_string()).send().await.unwrap();
        assert_eq!(response.status(), status);
        let expected = if status == 202 { "" } else { "{\"error\":\"of the upstream\"}" };
        assert_eq!(response.text().await.unwrap(), expected);
    }
}

// PROX-7, CORS-4
#[tokio::test]
async fn an_answer_loses_what_speaks_in_the_gateways_name() {
    let upstream = Upstream::start(|_| async {
        let mut response = answer(403, "{}");
        for (name, value) in [
            ("set-cookie", "__Host-doorward=stolen"),
            ("www-authenticate", "Bearer resource_metadata=\"https://evil.example\""),
            ("clear-site-data", "\"*\""),
            ("access-control-allow-origin", "https://evil.example"),
            ("access-control-allow-credentials", "true"),
            ("x-own", "kept"),
            ("retry-after", "7"),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
    .await;
    let world = World::new(&upstream.url()).await;
    let response = world.post("{}").send().await.unwrap();
    assert_eq!(response.status(), 403);
    for name in ["set-cookie", "www-authenticate", "clear-site-data", "access-control-allow-credentials"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
    assert_eq!(response.headers()["x-own"], "kept");
    assert_eq!(response.headers()["retry-after"], "7");
    assert!(response.headers()["access-control-expose-headers"].to_str().unwrap().contains("Mcp-Session-Id"));
}

// PROX-10
#[tokio::test]
async fn nothing_of_the_clients_target_chooses_where_a_request_goes() {
    let upstream = Upstream::ok().await;
    let world = World::new(&format!("{}/base/mcp?key=1", upstream.origin)).await;
    let url = format!("{}?next=//evil.example/%2e%2e/&a=%0d%0a", world.url("one"));
    let response = world.client.request(Method::POST, url).bearer_auth(world.token("one")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = upstream.last();
    assert_eq!(seen.uri.path(), "/base/mcp");
    assert_eq!(seen.uri.query(), Some("key=1&next=//evil.example/%2e%2e/&a=%0d%0a"));
    assert_eq!(seen.headers["host"], upstream.origin.trim_start_matches("http://"));
    for path in ["/mcp/one/", "/mcp/%6fne", "//mcp/one", "/mcp/one/../one", "/mcp/one/..%2f"] {
        let request = format!("{}{path}", world.origin);
        let status = raw_status(&world, path).await;
        assert_eq!(status, 404, "{request}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// The status of a POST to a path that no client library would leave alone.
async fn raw_status(world: &World, path: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        world.token("one")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text[9..12].parse().unwrap()
}

// PROX-10
#[tokio::test]
async fn a_client_cannot_set_again_what_the_routes_url_sets() {
    let upstream = Upstream::ok().await;
    let world = World::new(&format!("{}/mcp?tenant=acme&key=1", upstream.origin)).await;
    let url = format!("{}?tenant=evil&a=1&TEN%41NT=evil&&key=2&tenants=2", world.url("one"));
    let response = world.client.post(url).bearer_auth(world.token("one")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(upstream.last().uri.query(), Some("tenant=acme&key=1&a=1&&tenants=2"));
}

// PROX-13
#[tokio::test]
async fn an_answer_that_a_token_opened_is_kept_by_no_shared_cache() {
    let upstream = Upstream::start(|seen| async move {
        let mut response = answer(200, "{}");
        response.headers_mut().insert("cache-control", seen.headers["x-says"].clone());
        response.headers_mut().insert("cdn-cache-control", "public".parse().unwrap());
        response.headers_mut().insert("surrogate-control", "max-age=60".parse().unwrap());
        response
    })
    .await;
    let world = World::new(&upstream.url()).await;
    for (says, passes) in [
        ("public, max-age=60", "private, no-store"),
        ("S-MaxAge=60", "private, no-store"),
        ("max-age=60, must-revalidate", "private, no-store"),
        ("no-store, must-revalidate", "no-store, must-revalidate"),
        ("private, max-age=60", "private, max-age=60"),
        ("max-age=60", "max-age=60"),
    ] {
        let response = world.get().header("x-says", says).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], passes, "{says}");
        for name in ["cdn-cache-control", "surrogate-control"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
    }
}

// PROX-4, PROX-10
#[tokio::test]
async fn a_request_with_two_lengths_is_one_request() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let hidden = "DELETE /mcp HTTP/1.1\r\nHost: x\r\n\r\n";
    for lengths in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
        let request = format!(
            "POST /mcp/one HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n{lengths}\r\n\r\n\
             {:x}\r\n{hidden}\r\n0\r\n\r\n",
            world.token("one"),
            hidden.len(),
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{lengths}: {text}");
        assert_eq!(upstream.last().body, hidden, "{lengths}");
    }
    assert_eq!(upstream.seen().len(), 2);
}

// PROX-10
#[tokio::test]
async fn the_query_stays_behind_when_the_route_says_so() {
    let upstream = Upstream::ok().await;
    let world = World::with(&upstream.url(), &json!({ "forwardSearch": false }), &json!({})).await;
    let request = world.client.post(format!("{}?a=1", world.url("one"))).bearer_auth(world.token("one"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(upstream.last().uri.query(), None);
}
