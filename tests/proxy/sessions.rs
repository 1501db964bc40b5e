//! Sessions of the handshake era behind sealed ids.

use doorward::keys::AccessTokenClaims;
use http::Method;
use serde_json::{Value, json};

use crate::upstream::{Upstream, json as answer};
use crate::world::World;

/// Gives `upstream-session` to whoever brings none.
async fn stateful() -> Upstream {
    Upstream::start(|seen| async move {
        let mut response = answer(200, "{}");
        if !seen.headers.contains_key("mcp-session-id") {
            response.headers_mut().insert("mcp-session-id", "upstream-session".parse().unwrap());
        }
        response
    })
    .await
}

async fn open(world: &World) -> String {
    let response = world.post("{}").send().await.unwrap();
    response.headers()["mcp-session-id"].to_str().unwrap().to_owned()
}

// STRM-5, STRM-6
#[tokio::test]
async fn a_session_id_comes_back_sealed_and_reaches_the_upstream_opened() {
    let upstream = stateful().await;
    let world = World::new(&upstream.url()).await;
    let id = open(&world).await;
    assert!(!id.contains("upstream-session") && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let request = world.client.request(method, world.url("one")).bearer_auth(world.token("one"));
        assert_eq!(request.header("mcp-session-id", &id).send().await.unwrap().status(), 200);
        assert_eq!(upstream.last().headers["mcp-session-id"], "upstream-session");
    }
}

// STRM-6
#[tokio::test]
async fn a_session_survives_a_restart() {
    let upstream = stateful().await;
    let world = World::new(&upstream.url()).await;
    let id = open(&world).await;
    // Another process with the same secret key; only its port and its signing key differ.
    let other = World::new(&upstream.url()).await;
    assert_eq!(other.post("{}").header("mcp-session-id", &id).send().await.unwrap().status(), 200);
    assert_eq!(upstream.last().headers["mcp-session-id"], "upstream-session");
}

// STRM-6, CHAL-9
#[tokio::test]
async fn a_stolen_or_forged_session_id_is_not_found_and_not_forwarded() {
    let upstream = stateful().await;
    let world = World::new(&upstream.url()).await;
    let id = open(&world).await;
    let reached = upstream.seen().len();
    let claims = world.claims("one");
    let other_person = world.sign(&AccessTokenClaims { sub: "usr_2".to_owned(), ..claims.clone() });
    let other_client = world.sign(&AccessTokenClaims { client_id: "dcr_2".to_owned(), ..claims });
    let flipped: String = {
        let mut bytes = id.clone().into_bytes();
        let middle = bytes.len() / 2;
        bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    for (slug, token, session) in [
        ("one", other_person, id.as_str()),
        ("one", other_client, &id),
        ("two", world.token("two"), &id),
        ("one", world.token("one"), &flipped),
        ("one", world.token("one"), "upstream-session"),
        ("one", world.token("one"), "x"),
        ("one", world.token("one"), &"A".repeat(10_000)),
    ] {
        let request = world.client.post(world.url(slug)).bearer_auth(token).header("mcp-session-id", session);
        let response = request.body("{}").send().await.unwrap();
        assert_eq!(response.status(), 404, "{slug} {session}");
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["jsonrpc"], &body["error"]["code"]), (&json!("2.0"), &json!(-32001)));
    }
    let twice = world.post("{}").header("mcp-session-id", &id).header("mcp-session-id", &id).send().await.unwrap();
    assert_eq!(twice.status(), 404);
    assert_eq!(upstream.seen().len(), reached);
}

// STRM-7
#[tokio::test]
async fn a_stateless_request_makes_no_session() {
    let upstream = Upstream::ok().await;
    let world = World::new(&upstream.url()).await;
    let request = world.post("{}").header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/list");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("mcp-session-id"));
    assert!(!upstream.last().headers.contains_key("mcp-session-id"));
}
