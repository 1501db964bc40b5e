//! Who gets in, and what the others are told.

use std::time::Duration;

use doorward::keys::AccessTokenClaims;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::upstream::Upstream;
use crate::world::{START, World};

fn challenge(response: &reqwest::Response) -> String {
    let mut values = response.headers().get_all("www-authenticate").iter();
    let value = values.next().expect("a challenge").to_str().expect("ASCII").to_owned();
    assert!(values.next().is_none(), "one challenge");
    for attribute in ["error", "resource_metadata", "scope"] {
        assert!(value.matches(&format!("{attribute}=\"")).count() <= 1, "{value}");
    }
    value
}

// CHAL-1, CHAL-4, CHAL-6, CHAL-9, CHAL-10, CHAL-12, CORS-4
#[tokio::test]
async fn without_a_token_every_method_gets_a_401_that_leads_to_the_authorization_server() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let token = world.token("one");
    for method in [Method::POST, Method::GET, Method::DELETE] {
        for (url, authorization) in [
            (world.url("one"), None),
            (format!("{}?access_token={token}", world.url("one")), None),
            (format!("{}?x=%22%0d%0aevil:1", world.url("one")), None),
            (world.url("one"), Some("Basic dTpw")),
            (world.url("one"), Some("DPoP abc")),
        ] {
            let mut request = world.client.request(method.clone(), &url).header("mcp-session-id", "s");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {url}");
            let expected = format!(
                "Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp/one\", scope=\"mcp:tools\"",
                world.origin
            );
            assert_eq!(challenge(&response), expected);
            assert_eq!(response.headers()["cache-control"], "no-store");
            let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
            for name in ["WWW-Authenticate", "Mcp-Session-Id", "MCP-Protocol-Version"] {
                assert!(exposed.contains(name), "{exposed}");
            }
            assert_eq!(response.json::<Value>().await.unwrap()["error"], "unauthorized");
        }
    }
    assert!(upstream.seen().is_empty());
}

// CHAL-2, CHAL-3, STRM-8, SEC-9
#[tokio::test]
async fn a_token_that_is_not_good_here_and_now_gets_invalid_token() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let good = world.claims("one");
    let with = |change: fn(&mut AccessTokenClaims)| {
        let mut claims = good.clone();
        change(&mut claims);
        world.sign(&claims)
    };
    let mut tampered = world.token("one");
    tampered.truncate(tampered.len() - 4);
    let unsigned =
        format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", world.token("one").split('.').nth(1).unwrap());
    for bad in [
        with(|claims| claims.exp = START),
        with(|claims| claims.iss = "https://other.example".to_owned()),
        world.token("two"),
        tampered,
        unsigned,
        "garbage".to_owned(),
        "gar bage".to_owned(),
        String::new(),
    ] {
        let response =
            world.client.post(world.url("one")).header("authorization", format!("Bearer {bad}")).send().await.unwrap();
        assert_eq!(response.status(), 401, "{bad}");
        let challenge = challenge(&response);
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert!(challenge.contains("/.well-known/oauth-protected-resource/mcp/one\""), "{challenge}");
        assert_eq!(response.json::<Value>().await.unwrap()["error"], "invalid_token");
    }
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    world.revocations.revoke(doorward::domain::GrantId::new("grt_1"), doorward::domain::UnixTime(START + 900));
    assert_eq!(world.post("{}").send().await.unwrap().status(), 401);
    assert_eq!(upstream.seen().len(), 1);
}

// CHAL-1, PROX-2, PROX-10
#[tokio::test]
async fn no_header_of_a_callers_own_lets_them_in() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let token = world.token("one");
    for (name, value) in [
        ("x-forwarded-uri", "/mcp/public"),
        ("x-original-url", "/livez"),
        ("x-rewrite-url", "/livez"),
        ("x-http-method-override", "OPTIONS"),
        ("x-forwarded-user", "usr_1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-doorward-assertion", token.as_str()),
        ("x-forwarded-access-token", token.as_str()),
        ("proxy-authorization", &format!("Bearer {token}")),
        ("cookie", &format!("access_token={token}; __Host-doorward={token}")),
        ("mcp-session-id", token.as_str()),
        ("mcp-init-host", "upstream"),
        ("router-key", "secret-api-key"),
    ] {
        let response = world.client.post(world.url("one")).header(name, value).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 401, "{name}");
    }
    assert!(upstream.seen().is_empty());
}

// CHAL-5
#[tokio::test]
async fn two_credentials_at_once_are_refused() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let token = world.token("one");
    let twice = world.post("{}").header("authorization", format!("Bearer {token}"));
    let both = world.client.post(format!("{}?access_token={token}", world.url("one"))).bearer_auth(&token);
    for request in [twice, both] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(response.json::<Value>().await.unwrap()["error"], "invalid_request");
    }
    assert!(upstream.seen().is_empty());
}

// CHAL-7, CHAL-12
#[tokio::test]
async fn a_token_without_the_needed_scope_is_told_which_one() {
    let upstream = Upstream::ok().await;
    let gateway = json!({ "scopes": { "mcp:tools": [], "other": [], "all": ["mcp:tools"] } });
    let world = World::with(&upstream.url(), &json!({}), &gateway).await;
    let send = |scope: &str| {
        let token = world.sign(&AccessTokenClaims { scope: scope.to_owned(), ..world.claims("one") });
        world.client.post(world.url("one")).bearer_auth(token).body("{}").send()
    };
    let response = send("other").await.unwrap();
    assert_eq!(response.status(), 403);
    let text = challenge(&response);
    assert!(text.contains("error=\"insufficient_scope\""), "{text}");
    assert!(text.contains("scope=\"mcp:tools\"") && text.contains("resource_metadata="), "{text}");
    assert!(!text.contains("offline_access"), "{text}");
    assert_eq!(send("all").await.unwrap().status(), 200);
}

// CORS-3, CORS-5
#[tokio::test]
async fn a_preflight_needs_no_token_and_a_foreign_page_gets_nowhere() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let preflight = |origin: &str| {
        world
            .client
            .request(Method::OPTIONS, world.url("one"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,mcp-param-city,x-other")
            .send()
    };
    let response = preflight("http://localhost:6274").await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert!(!response.headers().contains_key("access-control-allow-credentials"));
    let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    for name in [
        "authorization",
        "content-type",
        "accept",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "mcp-param-city",
        "mcp-session-id",
        "last-event-id",
    ] {
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name} in {allowed}");
    }
    assert!(!allowed.contains("x-other"));
    assert_eq!(preflight("https://evil.example").await.unwrap().status(), 403);
    for origin in ["https://evil.example", "null"] {
        let response = world.post("{}").header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), 403, "{origin}");
        assert!(!response.headers().contains_key("www-authenticate"));
    }
    assert!(upstream.seen().is_empty());
    assert_eq!(world.post("{}").header("origin", world.origin.clone()).send().await.unwrap().status(), 200);
}

// PROX-5
#[tokio::test]
async fn other_methods_are_told_which_ones_there_are() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    for method in [Method::PUT, Method::PATCH, Method::TRACE, Method::HEAD] {
        let request = world.client.request(method.clone(), world.url("one")).bearer_auth(world.token("one"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "POST, GET, DELETE, OPTIONS");
    }
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let request = world.client.request(method.clone(), world.url("one")).bearer_auth(world.token("one"));
        assert_eq!(request.send().await.unwrap().status(), 200);
        assert_eq!(upstream.last().method, method);
    }
}

/// Writes `request` and reads until `answers` status lines came, the peer closed, or time is up.
async fn raw(world: &World, request: &[u8], answers: usize) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut text = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while String::from_utf8_lossy(&text).matches("HTTP/1.1 ").count() < answers {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_mins(1), read).await;
    String::from_utf8_lossy(&text).into_owned()
}

// CHAL-11
#[tokio::test]
async fn a_refusal_before_the_body_leaves_the_connection_correct() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    // A body that looks like a request must not be taken for one.
    let smuggled = "GET /mcp/one HTTP/1.1\r\nHost: evil\r\n\r\n";
    let first = format!("POST /mcp/one HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let second = format!(
        "POST /mcp/one HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 2\r\n\r\n{{}}",
        world.token("one")
    );
    let text = raw(&world, format!("{first}{second}").as_bytes(), 2).await;
    let statuses: Vec<&str> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["401", "200"], "{text}");
    assert_eq!(upstream.seen().len(), 1);

    // One that never comes: an answer all the same, and the connection is over.
    let waiting = b"POST /mcp/one HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    let text = raw(&world, waiting, 2).await;
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1);

    // One that waits for leave to be sent gets none.
    let asking = b"POST /mcp/one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n";
    let text = raw(&world, asking, 1).await;
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
    let asking = format!(
        "POST /mcp/one HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nMcp-Session-Id: forged\r\n\
         Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
        world.token("one")
    );
    let text = raw(&world, asking.as_bytes(), 1).await;
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
}
