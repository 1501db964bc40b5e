//! Revocation (RFC 7009) and what it does to running traffic, on the replica that hears of it and on another.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::postgres::Postgres;
use crate::support::browser::client as http;
use crate::support::flow::{REDIRECT, TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

/// Long enough for anything but a wait for ever.
const BOUND: Duration = Duration::from_mins(2);

/// An upstream that answers every request with one event, and keeps the stream open.
async fn stream_upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                let _ = socket.read(&mut buffer).await;
                let _ =
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").await;
                // Until the gateway goes away.
                while socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    url
}

/// A stream of `/mcp/one` on `replica`, which is known by the name of `origin`.
async fn open(replica: &TestGateway, origin: &str, tokens: &Value) -> Response {
    let host = origin.strip_prefix("http://").unwrap();
    http()
        .request(Method::GET, replica.url("/mcp/one"))
        .header("host", host)
        .header("accept", "text/event-stream")
        .bearer_auth(tokens["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap()
}

/// The next piece of a stream; `None` when it is over.
async fn next(stream: &mut Response) -> Option<String> {
    let piece = tokio::time::timeout(BOUND, stream.chunk()).await.expect("something comes").unwrap();
    piece.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

async fn revoke(client: &TestClient<'_>, token: &str, more: &[(&str, &str)]) -> Response {
    let mut fields = vec![("client_id", client.id.as_str()), ("token", token)];
    fields.extend_from_slice(more);
    post_form(&client.http, &client.gateway.url("/oauth/revoke"), &fields).await
}

fn text<'v>(tokens: &'v Value, name: &str) -> &'v str {
    tokens[name].as_str().unwrap()
}

// REV-3, STRM-8
#[tokio::test]
async fn a_revoked_grant_stops_at_once_here_and_soon_on_the_other_replica_streams_included() {
    let database = Postgres::shared().unwrap().new_database();
    let routes = vec![("one", stream_upstream().await)];
    let here = TestGateway::start_with(Options {
        database_url: Some(database.clone()),
        routes: routes.clone(),
        ..Options::default()
    })
    .await;
    let there = TestGateway::start_with(Options {
        database_url: Some(database),
        routes,
        public_urls: vec![here.origin.clone()],
        ..Options::default()
    })
    .await;
    let stop = CancellationToken::new();
    for gateway in [&here, &there] {
        let assembly = Arc::clone(&gateway.assembly);
        tokio::spawn(doorward::runtime::follow_revocations(
            assembly.store.clone(),
            Arc::clone(&assembly.revocations),
            Arc::clone(&assembly.clock),
            stop.clone(),
        ));
    }
    let client = TestClient::register(&here).await;
    let (mine, other) = (client.connect("one").await, client.connect("one").await);
    let mut streams = Vec::new();
    for replica in [&here, &there] {
        for tokens in [&mine, &other] {
            let mut stream = open(replica, &here.origin, tokens).await;
            assert_eq!(stream.status(), 200);
            assert_eq!(next(&mut stream).await.as_deref(), Some("data: 1\n\n"));
            streams.push(stream);
        }
    }

    assert_eq!(revoke(&client, text(&mine, "refresh_token"), &[]).await.status(), 200);
    assert_eq!(open(&here, &here.origin, &mine).await.status(), 401, "at once");
    for stream in [0, 2] {
        assert_eq!(next(&mut streams[stream]).await, None, "the grant's streams are over");
    }
    // Its stream ended because the other replica knows: so does everything else there.
    assert_eq!(open(&there, &here.origin, &mine).await.status(), 401);
    for replica in [&here, &there] {
        assert_eq!(open(replica, &here.origin, &other).await.status(), 200, "nobody else is touched");
    }
    for stream in [1, 3] {
        let silent = tokio::time::timeout(Duration::from_millis(50), streams[stream].chunk()).await;
        assert!(silent.is_err(), "the other grant's streams stay open");
    }
    stop.cancel();
}

// REV-1, REV-2
#[tokio::test]
async fn revocation_answers_alike_whatever_it_is_given_and_harms_no_token_of_another_client() {
    let gateway = TestGateway::start().await;
    let (client, other) = (TestClient::register(&gateway).await, TestClient::register(&gateway).await);
    let (mine, foreign) = (client.connect("one").await, other.connect("one").await);
    let unknown = format!("rt_{}", "A".repeat(43));
    for token in [text(&foreign, "refresh_token"), text(&foreign, "access_token"), &unknown, "x", "a.b.c"] {
        let answer = revoke(&client, token, &[]).await;
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, ""));
    }
    assert_eq!(other.call("one", text(&foreign, "access_token")).await.status(), 502, "still good");
    assert_eq!(other.refresh(text(&foreign, "refresh_token")).await.status(), 200);

    // An access token that has expired is still known for what it was.
    gateway.clock.advance(901);
    assert_eq!(revoke(&client, text(&mine, "access_token"), &[]).await.status(), 200);
    oauth_error(client.refresh(text(&mine, "refresh_token")).await, 400, "invalid_grant").await;
    let again = revoke(&client, text(&mine, "refresh_token"), &[]).await;
    assert_eq!((again.status().as_u16(), again.text().await.unwrap().as_str()), (200, ""));
    oauth_error(revoke(&client, "", &[]).await, 400, "invalid_request").await;
}

// REV-2, REV-3
#[tokio::test]
async fn any_token_of_a_grant_under_any_hint_ends_it_at_once() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    for presented in ["first", "second", "newest", "access"] {
        for hint in ["access_token", "refresh_token", "nonsense"] {
            let first = client.connect("one").await;
            let second: Value = client.refresh(text(&first, "refresh_token")).await.json().await.unwrap();
            let newest: Value = client.refresh(text(&second, "refresh_token")).await.json().await.unwrap();
            let token = match presented {
                "first" => text(&first, "refresh_token"),
                "second" => text(&second, "refresh_token"),
                "newest" => text(&newest, "refresh_token"),
                _ => text(&newest, "access_token"),
            };
            assert_eq!(revoke(&client, token, &[("token_type_hint", hint)]).await.status(), 200);
            for tokens in [&first, &second, &newest] {
                let call = client.call("one", text(tokens, "access_token")).await;
                assert_eq!(call.status(), 401, "{presented} as {hint}");
            }
            oauth_error(client.refresh(text(&newest, "refresh_token")).await, 400, "invalid_grant").await;
        }
    }
}

// REV-1
#[tokio::test]
async fn a_client_with_a_secret_must_prove_itself_to_revoke() {
    let gateway = TestGateway::start().await;
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_post" });
    let client = TestClient::register_with(&gateway, &body).await;
    let tokens = client.connect("one").await;
    let token = text(&tokens, "refresh_token");
    oauth_error(revoke(&client, token, &[]).await, 401, "invalid_client").await;
    oauth_error(revoke(&client, token, &[("client_secret", "wrong")]).await, 401, "invalid_client").await;
    assert_eq!(client.call("one", text(&tokens, "access_token")).await.status(), 502, "nothing happened");
    let secret = client.secret.clone().unwrap();
    assert_eq!(revoke(&client, token, &[("client_secret", &secret)]).await.status(), 200);
    assert_eq!(client.call("one", text(&tokens, "access_token")).await.status(), 401);
}
