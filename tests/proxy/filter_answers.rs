//! Answers on a route with a capability filter (gateway.md §9): lists lose what is hidden, in JSON and in event streams,
//! and what cannot be read does not pass.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use doorward::domain::{Person, UnixTime};
use http::Response;
use http_body_util::{BodyExt as _, Full};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::filter::{filtered, posting};
use crate::upstream::{Answer, Upstream, event_stream, json as answer};
use crate::world::{START, World};

const LISTED: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"},{"name":"hidden"}],"prompts":[{"name":"hidden"}],"resources":[{"uri":"docs://hidden","name":"x"},{"uri":"docs://a","name":"y"}],"resourceTemplates":[{"uriTemplate":"hidden://{x}","name":"z"}],"nextCursor":"c"}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"}],"prompts":[],"resources":[{"uri":"docs://a","name":"Ours","mimeType":"text/plain"}],"resourceTemplates":[],"nextCursor":"c"}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn filter() -> Value {
    json!({
        "tools": ["add", "sub_*"],
        "prompts": [],
        "resources": [{ "uri": "docs://a", "name": "Ours", "mimeType": "text/plain" }],
        "resourceTemplates": ["docs://{page}"],
    })
}

/// The proxy before an upstream that always answers this.
async fn answered(make: impl Fn() -> Answer + Send + Sync + 'static) -> (Upstream, World) {
    let make = Arc::new(Mutex::new(make));
    let upstream = Upstream::start(move |_| {
        let answer = make.lock().unwrap()();
        async move { answer }
    })
    .await;
    let world = filtered(&upstream, &filter()).await;
    (upstream, world)
}

fn whole(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(Bytes::copy_from_slice(body)).boxed_unsync()).unwrap()
}

async fn all_of(response: reqwest::Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

// STRM-12
#[tokio::test]
async fn lists_in_json_lose_what_is_hidden_and_keep_their_cursor() {
    let (_upstream, world) = answered(|| {
        let headers =
            [("content-type", "application/json; charset=utf-8"), ("etag", "\"1\""), ("content-digest", "sha-256=:x:")];
        whole(200, &headers, LISTED.as_bytes())
    })
    .await;
    let response = posting(&world, LIST).send().await.unwrap();
    for name in ["content-length", "etag", "content-digest"] {
        assert!(!response.headers().contains_key(name), "{name} is about other bytes");
    }
    assert_eq!(all_of(response).await, (200, SHOWN.to_owned()));
    // Whatever the client said it was asking for.
    for body in [
        r#"{"id":"1","method":"ping"}"#,
        r#"[{"id":1,"method":"tools/list"}]"#,
        r#"{"id":2,"method":"server/discover"}"#,
    ] {
        assert_eq!(all_of(posting(&world, body).send().await.unwrap()).await.1, SHOWN);
    }
}

// STRM-12, STRM-1
#[rstest]
#[case("\n")]
#[case("\r\n")]
#[case("\r")]
#[tokio::test]
async fn lists_in_events_lose_what_is_hidden_wherever_the_frames_break(#[case] end: &str) {
    let stream = format!(
        ": hello\n\nid: 1\ndata: \n\nevent: message\nid: 2\ndata: {LISTED}\n\ndata: {{\"method\":\"notifications/progress\"}}\n\n"
    );
    let stream = stream.replace('\n', end);
    let expected = format!(
        ": hello\n\nid: 1\ndata: \n\nevent: message\nid: 2\ndata: {SHOWN}\n\ndata: {{\"method\":\"notifications/progress\"}}\n\n"
    );
    for size in [1, 7, 64, 100_000] {
        let stream = stream.clone();
        let (_upstream, world) = answered(move || {
            let (sender, response) = event_stream(&[]);
            let pieces: Vec<Bytes> = stream.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            tokio::spawn(async move {
                for piece in pieces {
                    let _ = sender.send(piece).await;
                }
            });
            response
        })
        .await;
        // Also where answers come to requests of another connection, after a resumption.
        for request in [posting(&world, LIST), world.get().header("last-event-id", "0")] {
            assert_eq!(all_of(request.send().await.unwrap()).await, (200, expected.clone()), "{size}");
        }
    }
}

// STRM-1, STRM-12
#[tokio::test]
async fn each_event_arrives_while_the_upstream_still_holds_the_next_also_through_a_filter() {
    let (opened, mut senders) = mpsc::unbounded_channel();
    let (_upstream, world) = answered(move || {
        let (sender, response) = event_stream(&[]);
        opened.send(sender).unwrap();
        response
    })
    .await;
    let mut response = posting(&world, LIST).send().await.unwrap();
    let sender = senders.recv().await.unwrap();
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    for event in
        [": a comment\n", "id: 1\ndata: {\"method\":\"notifications/message\"}\n\n", "event: ping\ndata: {}\n\n"]
    {
        sender.send(Bytes::from(event)).await.unwrap();
        let got = tokio::time::timeout(Duration::from_mins(1), response.chunk()).await.unwrap().unwrap().unwrap();
        assert_eq!(got, event);
    }
    drop(sender);
    assert_eq!(response.chunk().await.unwrap(), None);
}

// STRM-12
#[rstest]
#[case::html(&[("content-type", "text/html")], LISTED.as_bytes())]
#[case::no_type(&[], LISTED.as_bytes())]
#[case::two_types(&[("content-type", "application/json"), ("content-type", "text/plain")], LISTED.as_bytes())]
#[case::charset(&[("content-type", "application/json; charset=utf-16le")], b"{\0}\0")]
#[case::coding(&[("content-type", "application/json"), ("content-encoding", "gzip")], LISTED.as_bytes())]
#[tokio::test]
async fn an_answer_of_a_form_that_cannot_be_read_is_withheld(
    #[case] headers: &'static [(&'static str, &'static str)],
    #[case] body: &'static [u8],
    #[values(200, 206, 404, 500)] status: u16,
) {
    let (_upstream, world) = answered(move || whole(status, headers, body)).await;
    let response = posting(&world, LIST).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let (got, text) = all_of(response).await;
    assert_eq!(got, if status < 300 { 502 } else { status }, "a client still tells the eras apart");
    let text: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&text["id"], &text["error"]["code"]), (&json!(1), &json!(-32010)));
}

// STRM-12
#[rstest]
#[case::not_json(b"hidden")]
#[case::duplicate(br#"{"id":1,"result":{"tools":[]},"result":{"tools":[{"name":"hidden"}]}}"#)]
#[case::in_an_item(br#"{"id":1,"result":{"tools":[{"name":"add","name":"hidden"}]}}"#)]
#[case::another_case(br#"{"id":1,"Result":{"tools":[{"name":"hidden"}]}}"#)]
#[case::no_array(br#"{"id":1,"result":{"tools":{"hidden":{}}}}"#)]
#[case::cut(br#"{"id":1,"result":{"tools":[{"name":"add"}"#)]
#[case::two(br#"{"id":1}{"id":1,"result":{"tools":[{"name":"hidden"}]}}"#)]
#[case::no_utf8(b"{\"id\":1,\"result\":{\"x\":\"\xff hidden\"}}")]
#[case::a_mark("\u{feff}{\"id\":1,\"result\":{\"tools\":[{\"name\":\"hidden\"}]}}".as_bytes())]
#[case::nested(br#"[[{"id":1,"result":{"tools":[{"name":"hidden"}]}}]]"#)]
#[tokio::test]
async fn an_answer_with_two_readings_or_none_is_withheld(#[case] body: &'static [u8], #[values(200, 400)] status: u16) {
    let (_upstream, world) = answered(move || whole(status, &[("content-type", "application/json")], body)).await;
    let (got, text) = all_of(posting(&world, LIST).send().await.unwrap()).await;
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((got, &error["id"], &error["error"]["code"]), (status, &json!(1), &json!(-32010)));

    let (_upstream, world) = answered(move || {
        let (sender, response) = event_stream(&[]);
        let events =
            [b"id: 4\ndata: {\"method\":\"first\"}\n\nid: 5\ndata: ", body, b"\n\ndata: {\"method\":\"last\"}\n\n"]
                .concat();
        tokio::spawn(async move { sender.send(events.into()).await });
        response
    })
    .await;
    let (_, text) = all_of(posting(&world, LIST).send().await.unwrap()).await;
    let rest = text.strip_prefix("id: 4\ndata: {\"method\":\"first\"}\n\nevent: message\ndata: ").unwrap();
    let error: Value = serde_json::from_str(rest).unwrap();
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(1), &json!(-32010)), "and it ends the stream");
}

/// Status, headers, body, and what passes of it.
type Case = (u16, &'static [(&'static str, &'static str)], &'static str, &'static str);

// PROX-6, STRM-12
#[tokio::test]
async fn answers_without_a_body_and_errors_in_json_pass() {
    let cases: [Case; 6] = [
        (202, &[("content-type", "text/plain")], "Accepted", ""),
        (202, &[], "", ""),
        (405, &[("allow", "POST")], "", ""),
        (404, &[("content-type", "application/json")], r#"{"error":"no session"}"#, r#"{"error":"no session"}"#),
        (
            400,
            &[("content-type", "application/json")],
            r#"{"id":null,"error":{"code":-32000}}"#,
            r#"{"id":null,"error":{"code":-32000}}"#,
        ),
        (200, &[("content-type", "application/problem+json")], r#"{"title":"x"}"#, r#"{"title":"x"}"#),
    ];
    for (status, headers, body, expected) in cases {
        let (_upstream, world) = answered(move || whole(status, headers, body.as_bytes())).await;
        let response = posting(&world, LIST).send().await.unwrap();
        assert_eq!(response.headers().contains_key("allow"), status == 405);
        assert_eq!(all_of(response).await, (status, expected.to_owned()));
    }
}

// STRM-12
#[tokio::test]
async fn a_large_list_is_never_held_whole() {
    const ITEMS: usize = 500;
    let (opened, mut senders) = mpsc::unbounded_channel();
    let (_upstream, world) = answered(move || {
        let (sender, mut response) = event_stream(&[]);
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        opened.send(sender).unwrap();
        response
    })
    .await;
    let mut response = posting(&world, LIST).send().await.unwrap();
    let sender = senders.recv().await.unwrap();
    sender.send(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"tools":["#)).await.unwrap();
    // 50 MB, and each item comes only after the one before is out.
    let padding = "x".repeat(100_000);
    let (mut got, mut due) = (0, 0);
    for number in 0..ITEMS {
        let name = if number % 2 == 0 { "add" } else { "hidden" };
        let item = format!(r#"{{"name":"{name}","description":"{padding}"}}"#);
        let comma = if number == 0 { "" } else { "," };
        sender.send(Bytes::from(format!("{comma}{item}"))).await.unwrap();
        due += if name == "add" { item.len() } else { 0 };
        while got < due {
            let piece =
                tokio::time::timeout(Duration::from_mins(1), response.chunk()).await.expect("it is out").unwrap();
            got += piece.expect("there is more").len();
        }
    }
    sender.send(Bytes::from_static(br#"],"nextCursor":"c"}}"#)).await.unwrap();
    drop(sender);
    let mut tail = Vec::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        tail.extend_from_slice(&piece);
    }
    assert!(tail.ends_with(br#"],"nextCursor":"c"}}"#));
}

// STRM-12
#[tokio::test]
async fn an_answer_that_goes_wrong_after_part_of_it_was_seen_is_cut_off() {
    let (opened, mut senders) = mpsc::unbounded_channel();
    let (_upstream, world) = answered(move || {
        let (sender, mut response) = event_stream(&[]);
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        opened.send(sender).unwrap();
        response
    })
    .await;
    let mut response = posting(&world, LIST).send().await.unwrap();
    let sender = senders.recv().await.unwrap();
    let begin = format!(r#"{{"id":1,"result":{{"x":"{}","tools":"#, "x".repeat(100_000));
    sender.send(begin.into()).await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    sender.send(Bytes::from_static(br#"{"hidden":1}}}"#)).await.unwrap();
    drop(sender);
    let mut rest = response.chunk().await;
    while let Ok(Some(piece)) = rest {
        assert!(!String::from_utf8_lossy(&piece).contains("hidden"));
        rest = response.chunk().await;
    }
    assert!(rest.is_err(), "half of it must not look whole");
}

// STRM-12
#[tokio::test]
async fn two_organisations_see_what_their_people_may_use() {
    let options = json!({
        "accessControl": { "mode": "rolesAndGroups" },
        "tools": [
            { "name": "read", "public": true },
            { "name": "write", "roles": ["admin", "member"], "annotations": { "destructiveHint": true } },
            { "name": "manage_*", "roles": ["admin"] },
            "!manage_keys",
        ],
        "prompts": [{ "name": "plan", "groups": ["org-a"] }],
    });
    let listed = r#"{"id":1,"result":{"tools":[{"name":"read"},{"name":"write"},{"name":"manage_users"},{"name":"manage_keys"}],"prompts":[{"name":"plan"}]}}"#;
    for is_stream in [false, true] {
        let upstream = Upstream::start(move |_| async move {
            if is_stream {
                whole(200, &[("content-type", "text/event-stream")], format!("data: {listed}\n\n").as_bytes())
            } else {
                answer(200, listed)
            }
        })
        .await;
        let world = filtered(&upstream, &options).await;
        let known = world.introduce().await;
        let cases = [
            ("admin", "org-a", vec!["read", "write", "manage_users", "plan"]),
            ("member", "org-a", vec!["read", "write", "plan"]),
            ("guest", "org-a", vec!["read", "plan"]),
            ("admin", "org-b", vec!["read", "write", "manage_users"]),
            ("member", "org-b", vec!["read", "write"]),
            ("guest", "org-b", vec!["read"]),
        ];
        for (step, (role, group, expected)) in cases.into_iter().enumerate() {
            let now = START + i64::try_from(step).unwrap() * 10;
            world.clock.0.store(now, std::sync::atomic::Ordering::SeqCst);
            let person = Person { roles: vec![role.to_owned()], groups: vec![group.to_owned()], ..known.clone() };
            world.store.save_person(&person, UnixTime(now)).await.unwrap();
            let (_, text) = all_of(posting(&world, LIST).send().await.unwrap()).await;
            let text = text.strip_prefix("data: ").unwrap_or(&text);
            let result = &serde_json::from_str::<Value>(text).unwrap()["result"];
            let lists = [&result["tools"], &result["prompts"]];
            let names: Vec<_> = lists
                .iter()
                .flat_map(|list| list.as_array().unwrap())
                .map(|item| item["name"].as_str().unwrap())
                .collect();
            assert_eq!(names, expected, "{role} of {group}");
            if expected.contains(&"write") {
                assert_eq!(result["tools"][1]["annotations"]["destructiveHint"], true);
            }
        }
    }
}

// STRM-12
#[tokio::test]
async fn a_batch_answered_by_events_has_the_answers_of_what_is_hidden_first() {
    let (_upstream, world) =
        answered(|| whole(200, &[("content-type", "text/event-stream")], b"data: {\"id\":2,\"result\":{}}\n\n")).await;
    let batch = r#"[{"id":1,"method":"tools/call","params":{"name":"hidden"}},{"id":2,"method":"ping"}]"#;
    let (_, text) = all_of(posting(&world, batch).send().await.unwrap()).await;
    let (first, rest) = text.split_once("\n\n").unwrap();
    let error: Value = serde_json::from_str(first.strip_prefix("event: message\ndata: ").unwrap()).unwrap();
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(1), &json!(-32601)));
    assert_eq!(rest, "data: {\"id\":2,\"result\":{}}\n\n");
}
