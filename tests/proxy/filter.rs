//! Requests on a route with a capability filter (gateway.md §9): what is hidden is refused before the server hears of
//! it, in both eras, and a body with two readings goes nowhere.

use doorward::domain::{Person, UnixTime};
use rstest::rstest;
use serde_json::{Value, json};

use crate::upstream::{Seen, Upstream, json as answer};
use crate::world::{START, World};

/// The proxy before `upstream`, with this filter on both routes.
pub async fn filtered(upstream: &Upstream, options: &Value) -> World {
    filtered_with(upstream, options, &json!({})).await
}

async fn filtered_with(upstream: &Upstream, options: &Value, handler: &Value) -> World {
    let handler_of_policy = json!({ "options": options });
    let policy =
        json!({ "name": "shown", "policyType": "mcp-capability-filter-inbound", "handler": handler_of_policy });
    World::with_policies(&upstream.url(), handler, &[policy]).await
}

/// A filter of every kind, each with one thing that is shown.
fn strict() -> Value {
    json!({
        "tools": ["add"],
        "prompts": ["greet"],
        "resources": ["docs://a"],
        "resourceTemplates": ["docs://pages/{page}"],
    })
}

async fn world(upstream: &Upstream) -> World {
    filtered(upstream, &strict()).await
}

/// An upstream that answers every request with its id.
pub async fn echo() -> Upstream {
    Upstream::start(|seen: Seen| async move {
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let of = |message: &Value| json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "done": true } });
        match body.as_array() {
            Some(batch) => answer(200, &Value::Array(batch.iter().map(of).collect()).to_string()),
            None => answer(200, &of(&body).to_string()),
        }
    })
    .await
}

pub fn posting(world: &World, body: &str) -> reqwest::RequestBuilder {
    world.post(body.to_owned()).header("content-type", "application/json")
}

fn request(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
}

async fn said(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

// STRM-12
#[rstest]
#[case("tools/call", json!({"name": "add", "arguments": {"n": 1}}), true)]
#[case("tools/call", json!({"name": "sub"}), false)]
#[case("tools/call", json!({"name": "Add"}), false)]
#[case("tools/call", json!({}), false)]
#[case("TOOLS/call", json!({"name": "add"}), false)]
#[case("prompts/get", json!({"name": "greet"}), true)]
#[case("prompts/get", json!({"name": "add"}), false)]
#[case("resources/read", json!({"uri": "docs://a"}), true)]
#[case("resources/read", json!({"uri": "docs://pages/1"}), true)]
#[case("resources/read", json!({"uri": "docs://b"}), false)]
#[case("resources/subscribe", json!({"uri": "docs://a"}), true)]
#[case("resources/subscribe", json!({"uri": "docs://b"}), false)]
#[case("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {}}), true)]
#[case("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "other"}, "argument": {}}), false)]
#[case("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "docs://pages/{page}"}}), true)]
#[case("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "docs://{other}"}}), false)]
#[case("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["docs://a"]}}), true)]
#[case("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["docs://a", "docs://b"]}}), false)]
#[case("initialize", json!({}), true)]
#[case("tools/list", json!({}), true)]
#[tokio::test]
async fn what_is_hidden_is_refused_before_the_server_hears_of_it(
    #[case] method: &str,
    #[case] params: Value,
    #[case] passes: bool,
) {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let body = request(method, &params);
    let (status, text) = said(posting(&world, &body).send().await.unwrap()).await;
    if passes {
        assert_eq!((status, &text["result"]["done"]), (200, &json!(true)));
        assert_eq!(upstream.last().body, body, "the client's own bytes go on");
        return;
    }
    // 404 would end the session.
    assert_eq!((status, &text["error"]["code"], &text["id"]), (200, &json!(-32601), &json!(7)));
    assert!(upstream.seen().is_empty());
    // In the stateless era it is the status of a method that is not there.
    let stateless = posting(&world, &body).header("mcp-protocol-version", "2026-07-28").send().await.unwrap();
    let (status, text) = said(stateless).await;
    assert_eq!((status, &text["error"]["code"], &text["id"]), (404, &json!(-32601), &json!(7)));
    assert!(upstream.seen().is_empty());
}

// STRM-12
#[rstest]
#[case::duplicate(r#"{"method": "tools/call", "params": {"name": "add", "name": "sub"}}"#)]
#[case::duplicate_by_escape(r#"{"method": "tools/call", "params": {"name": "add", "n\u0061me": "sub"}}"#)]
#[case::duplicate_far_down(
    r#"{"method": "tools/call", "params": {"name": "add", "arguments": {"a": {"b": 1, "b": 2}}}}"#
)]
#[case::method_twice(r#"{"method": "ping", "method": "tools/call", "params": {"name": "sub"}}"#)]
#[case::another_case(r#"{"method": "tools/call", "params": {"name": "add", "NAME": "sub"}}"#)]
#[case::long_s(r#"{"method": "ping", "param\u017f": {"name": "sub"}}"#)]
#[case::byte_order_mark("\u{feff}{\"method\": \"tools/call\", \"params\": {\"name\": \"sub\"}}")]
#[case::two_texts(r#"{"method": "ping"}{"method": "tools/call", "params": {"name": "sub"}}"#)]
#[case::nested_batch(r#"[[{"method": "tools/call", "params": {"name": "sub"}}]]"#)]
#[case::no_object(r#"["tools/call"]"#)]
#[case::comment("{\"method\": \"ping\" /* */}")]
#[case::half("{\"method\": \"ping\"")]
#[case::empty("")]
#[tokio::test]
async fn a_body_with_two_readings_or_none_goes_nowhere(#[case] body: &str) {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let (status, text) = said(posting(&world, body).send().await.unwrap()).await;
    assert_eq!((status, &text["error"]["code"]), (400, &json!(-32000)));
    assert!(upstream.seen().is_empty());
}

// STRM-12
#[rstest]
#[case(&[("content-type", "application/json"), ("content-encoding", "gzip")])]
#[case(&[("content-type", "application/json; charset=utf-16")])]
#[case(&[("content-type", "application/json; charset = utf-7")])]
#[case(&[("content-type", "application/json; charset\t=\"utf-7\"")])]
#[case(&[("content-type", "application/json; charset*=us-ascii''utf-7")])]
#[case(&[("content-type", "text/plain")])]
#[case(&[("content-type", "application/json"), ("content-type", "text/plain")])]
#[case(&[])]
#[tokio::test]
async fn only_plain_json_is_read(#[case] headers: &[(&str, &str)]) {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let body = request("tools/call", &json!({"name": "add"}));
    let mut post = world.post(body.clone());
    for (name, value) in headers {
        post = post.header(*name, *value);
    }
    assert_eq!(said(post.send().await.unwrap()).await.0, 415);
    let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let post = world.post(utf16).header("content-type", "application/json");
    assert_eq!(said(post.send().await.unwrap()).await.0, 400);
    assert!(upstream.seen().is_empty());
    let good = world
        .post(body)
        .header("content-type", "application/json; charset=\"UTF-8\"")
        .header("content-encoding", "identity");
    assert_eq!(said(good.send().await.unwrap()).await.0, 200);
}

// PROX-11, PROX-12
#[rstest]
#[case(&[("mcp-method", "tools/call"), ("mcp-name", "add")], 200)]
#[case(&[("MCP-METHOD", "tools/call"), ("mcp-name", "=?base64?YWRk?=")], 200)]
#[case(&[("mcp-method", "ping")], 400)]
#[case(&[("mcp-method", "Tools/call")], 400)]
#[case(&[("mcp-method", "tools/call"), ("mcp-name", "sub")], 400)]
#[case(&[("mcp-method", "tools/call"), ("mcp-name", "Add")], 400)]
#[case(&[("mcp-method", "tools/call"), ("mcp-name", "=?base64?c3Vi?=")], 400)]
#[case(&[("mcp-method", "tools/call"), ("mcp-name", "add"), ("mcp-name", "add")], 400)]
#[tokio::test]
async fn a_header_that_does_not_agree_with_the_body_is_told_so(
    #[case] headers: &[(&str, &str)],
    #[case] expected: u16,
    #[values("2026-07-28", "2025-11-25")] version: &str,
) {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let mut post =
        posting(&world, &request("tools/call", &json!({"name": "add"}))).header("mcp-protocol-version", version);
    for (name, value) in headers {
        post = post.header(*name, *value);
    }
    let (status, text) = said(post.send().await.unwrap()).await;
    assert_eq!(status, expected);
    if expected == 400 {
        assert_eq!((&text["error"]["code"], &text["id"]), (&json!(-32020), &json!(7)));
    }
    assert_eq!(upstream.seen().len(), usize::from(expected == 200));
}

// PROX-3, PROX-11
#[rstest]
#[case(&[("Mcp-Param-Region", "eu"), ("mcp-param-zip", "10115"), ("mcp-param-count", "42.0")], 200)]
#[case(&[("mcp-param-region", "=?base64?ZXU=?=")], 200)]
#[case(&[("mcp-param-region", "us")], 400)]
#[case(&[("mcp-param-region", "EU")], 400)]
#[case(&[("mcp-param-region", "=?base64?ZXU?=")], 400)]
#[case(&[("mcp-param-count", "43")], 400)]
#[case(&[("mcp-param-region", "eu"), ("MCP-PARAM-REGION", "eu")], 400)]
#[tokio::test]
async fn a_header_that_repeats_no_argument_is_told_so_and_any_other_arrives_unchanged(
    #[case] headers: &[(&str, &str)],
    #[case] expected: u16,
) {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let arguments = json!({ "region": "eu", "count": 42, "place": { "zip": "10115" } });
    let with_headers = |body: &str| {
        let post = posting(&world, body).header("mcp_param_region", "us");
        headers.iter().fold(post, |post, (name, value)| post.header(*name, *value))
    };
    let body = request("tools/call", &json!({ "name": "add", "arguments": arguments }));
    let (status, text) = said(with_headers(&body).send().await.unwrap()).await;
    assert_eq!(status, expected);
    if expected == 400 {
        assert_eq!((&text["error"]["code"], &text["id"]), (&json!(-32020), &json!(7)));
        assert!(upstream.seen().is_empty());
    } else {
        let sent = upstream.last().headers;
        assert!(headers.iter().all(|(name, value)| sent[*name] == *value));
        assert!(!sent.contains_key("mcp_param_region"), "a server may take it for the one that was compared");
    }
    // Beside anything but a call of a tool they mean nothing.
    assert_eq!(said(with_headers(&request("tools/list", &json!({}))).send().await.unwrap()).await.0, 200);
}

// PROX-12
#[tokio::test]
async fn headers_alone_open_nothing() {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let hidden = request("tools/call", &json!({"name": "sub"}));
    let with = |headers: &[(&str, &str)]| {
        headers.iter().fold(posting(&world, &hidden), |post, (name, value)| post.header(*name, *value))
    };
    for headers in [&[("mcp-method", "tools/call"), ("mcp-name", "add")][..], &[("mcp-method", "ping")], &[]] {
        let (_, text) = said(with(headers).send().await.unwrap()).await;
        assert!([-32020, -32601].map(Value::from).contains(&text["error"]["code"]), "{text}");
    }
    assert!(upstream.seen().is_empty());
    // Nor may one that a server behind CGI would read as such a header go on.
    let shown = [("mcp_name", "sub"), ("content_encoding", "deflate"), ("content.type", "text/plain; charset=utf-7")];
    let body = request("tools/call", &json!({"name": "add"}));
    let post = shown.iter().fold(posting(&world, &body), |post, (name, value)| post.header(*name, *value));
    assert_eq!(post.send().await.unwrap().status(), 200);
    assert!(shown.iter().all(|(name, _)| !upstream.last().headers.contains_key(*name)));
}

// STRM-12
#[tokio::test]
async fn of_a_batch_the_hidden_requests_are_answered_here_and_the_others_go_on() {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let batch = r#"[{"id": "a", "method": "tools/call", "params": {"name": "add", "arguments": {"n": 1.0}}},
        {"id": "a", "method": "tools/call", "params": {"name": "sub"}},{"method": "tools/call", "params": {"name": "sub"}},
        {"id": 1.0, "method": "resources/read", "params": {"uri": "docs://b"}}]"#;
    let (status, text) = said(posting(&world, batch).header("content-digest", "x").send().await.unwrap()).await;
    assert_eq!(status, 200);
    let codes: Vec<_> = text.as_array().unwrap().iter().map(|one| (&one["id"], &one["error"]["code"])).collect();
    let hidden = json!(-32601);
    assert_eq!(codes, [(&json!("a"), &hidden), (&json!(1.0), &hidden), (&json!("a"), &Value::Null)]);
    let sent = upstream.last();
    assert_eq!(
        sent.body,
        r#"[{"id": "a", "method": "tools/call", "params": {"name": "add", "arguments": {"n": 1.0}}}]"#
    );
    assert!(!sent.headers.contains_key("content-digest"));

    let all = r#"[{"id": 1, "method": "tools/call", "params": {"name": "sub"}}]"#;
    let (status, text) = said(posting(&world, all).send().await.unwrap()).await;
    assert_eq!((status, &text[0]["error"]["code"]), (200, &hidden));
    let silent = r#"[{"method": "tools/call", "params": {"name": "sub"}}]"#;
    assert_eq!(said(posting(&world, silent).send().await.unwrap()).await, (202, json!("")));
    assert_eq!(upstream.seen().len(), 1);

    let untouched = r#"[ {"id": 1, "method": "ping"} , {"id": 2, "result": {}} ]"#;
    assert_eq!(posting(&world, untouched).send().await.unwrap().status(), 200);
    assert_eq!(upstream.last().body, untouched);
}

// STRM-12
#[tokio::test]
async fn a_batch_whose_rest_gets_no_answer_still_has_one_for_what_is_hidden() {
    let upstream = Upstream::start(|_| async { answer(202, "") }).await;
    let world = world(&upstream).await;
    let batch =
        r#"[{"method": "notifications/initialized"},{"id": 5, "method": "tools/call", "params": {"name": "sub"}}]"#;
    let (status, text) = said(posting(&world, batch).send().await.unwrap()).await;
    assert_eq!((status, &text[0]["id"], &text[0]["error"]["code"]), (200, &json!(5), &json!(-32601)));
}

// STRM-12
#[tokio::test]
async fn the_server_is_asked_for_the_whole_answer_without_a_coding() {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let post = posting(&world, &request("tools/list", &json!({})))
        .header("accept-encoding", "gzip, br")
        .header("range", "bytes=30-");
    assert_eq!(post.send().await.unwrap().status(), 200);
    let headers = upstream.last().headers;
    assert_eq!(headers["accept-encoding"], "identity");
    assert!(!headers.contains_key("range"));
}

// LIM-1, STRM-12
#[tokio::test]
async fn a_body_that_has_to_be_read_has_the_bound_of_the_route() {
    let upstream = echo().await;
    let world = filtered_with(&upstream, &strict(), &json!({ "maxBodyBytes": 1000 })).await;
    let large = request("tools/call", &json!({"name": "add", "arguments": "x".repeat(1000)}));
    assert_eq!(posting(&world, &large).send().await.unwrap().status(), 413);
    // Also where its length is not told.
    let pieces =
        large.into_bytes().chunks(100).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let post = world.post(stream).header("content-type", "application/json");
    assert_eq!(post.send().await.unwrap().status(), 413);
    assert!(upstream.seen().is_empty());
}

// STRM-12
#[tokio::test]
async fn roles_decide_as_the_store_knows_the_person_and_a_new_role_counts_at_once() {
    let upstream = echo().await;
    let options = json!({
        "accessControl": { "mode": "rolesAndGroups" },
        "tools": [
            { "name": "read", "public": true },
            { "name": "write", "roles": ["editor"], "groups": ["staff"] },
            { "name": "audit", "permissions": ["audit:read"] },
            "unmarked",
        ],
    });
    let world = filtered(&upstream, &options).await;
    let mut person = Person { roles: vec![], groups: vec![], permissions: vec![], ..world.introduce().await };
    world.store.save_person(&person, UnixTime(START)).await.unwrap();
    let allowed = async || {
        let mut names = Vec::new();
        for name in ["read", "write", "audit", "unmarked"] {
            let (_, text) =
                said(posting(&world, &request("tools/call", &json!({"name": name}))).send().await.unwrap()).await;
            if text["error"].is_null() {
                names.push(name);
            }
        }
        names
    };
    assert_eq!(allowed().await, ["read"]);
    person.roles = vec!["editor".to_owned()];
    world.store.save_person(&person, UnixTime(START + 1)).await.unwrap();
    assert_eq!(allowed().await, ["read", "write"]);
    person.roles = vec![];
    person.groups = vec!["staff".to_owned()];
    person.permissions = vec!["audit:read".to_owned()];
    world.store.save_person(&person, UnixTime(START + 2)).await.unwrap();
    assert_eq!(allowed().await, ["read", "write", "audit"]);
}

// STRM-12
#[tokio::test]
async fn a_get_brings_no_message() {
    let upstream = echo().await;
    let world = world(&upstream).await;
    let body = request("tools/call", &json!({"name": "sub"}));
    let get = world.get().header("content-type", "application/json").body(body);
    assert_eq!(get.send().await.unwrap().status(), 400);
    assert!(upstream.seen().is_empty());
    assert_eq!(world.get().send().await.unwrap().status(), 200);
}

// STRM-12
#[tokio::test]
async fn a_public_route_may_have_a_filter_that_asks_nobody() {
    let upstream = echo().await;
    let world = filtered_with(&upstream, &json!({ "tools": ["add"] }), &json!({ "public": true })).await;
    let call = |name: &str| {
        let body = request("tools/call", &json!({ "name": name }));
        world.client.post(world.url("one")).header("content-type", "application/json").body(body).send()
    };
    assert!(said(call("add").await.unwrap()).await.1["error"].is_null());
    assert_eq!(said(call("sub").await.unwrap()).await.1["error"]["code"], -32601);
}
