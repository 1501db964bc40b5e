//! Calls to servers that want OAuth of their own (gateway.md §8): which credential they carry, and what is sent again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use doorward::domain::{BrowserId, GrantId, Owner, SubjectId, UnixTime};
use doorward::upstream::{ReturnTo, Returned, Start};
use http::{HeaderMap, Method};
use rstest::rstest;
use serde_json::{Value, json};

use crate::fake_upstream::{Endpoint, FakeUpstream, Fault, McpRequest, Refreshing};
use crate::upstream::{Answer, Seen, Upstream, event_stream, json as answer};
use crate::world::{START, World};

/// The id of the upstream, after its policy.
pub const ID: &str = "tracker";

/// The policy of the upstream.
pub fn policy(options: &Value) -> Value {
    let mut options = options.clone();
    options["displayName"] = "Tracker".into();
    json!({
        "name": format!("mcp-token-exchange-{ID}"),
        "policyType": "mcp-token-exchange-inbound",
        "handler": { "options": options },
    })
}

pub fn per_person() -> Value {
    policy(&json!({ "authMode": "user-oauth" }))
}

/// The proxy before a server that wants a credential, on both routes.
pub async fn guarded(fake: &FakeUpstream) -> World {
    World::with_policies(&fake.mcp_url(), &json!({}), &[per_person()]).await
}

/// The proxy before `upstream`, for which `fake` gives out the tokens.
pub async fn guarded_apart(fake: &FakeUpstream, upstream: &Upstream, handler: &Value, more: &[Value]) -> World {
    let resource = upstream.url();
    fake.behave(|behaviour| behaviour.resource_metadata = Some(json!({ "resource": resource })));
    let policy = policy(&json!({
        "authMode": "user-oauth",
        "protectedResourceMetadataUrl": fake.resource_metadata_url(),
    }));
    World::with_policies(&upstream.url(), handler, &[&[policy], more].concat()).await
}

/// Connects the upstream for `owner` to the account of `account`.
pub async fn connect(world: &World, fake: &FakeUpstream, owner: Owner, account: &str) {
    fake.sign_in(account);
    let upstream = world.upstreams.get(ID).unwrap();
    let browser = BrowserId::new("brw_1");
    let start = Start { origin: &world.origin, browser: &browser, owner, by: None, return_to: ReturnTo::Application };
    let url = world.upstreams.start(upstream, start).await.unwrap();
    let response = world.client.get(url).send().await.unwrap();
    let back = reqwest::Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
    let param = |name: &str| back.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let (state, code, iss) = (param("state").unwrap(), param("code"), param("iss"));
    let returned = Returned {
        upstream: ID,
        browser: &browser,
        subject: None,
        state: &state,
        code: code.as_deref(),
        error: None,
        iss: iss.as_deref(),
    };
    world.upstreams.finish(returned).await.unwrap();
}

pub fn person(id: &str) -> Owner {
    Owner::Person(SubjectId::new(id))
}

/// Another person's token for `/mcp/one`.
pub fn token_of(world: &World, id: &str) -> String {
    world.sign(&doorward::keys::AccessTokenClaims {
        sub: id.to_owned(),
        sid: format!("grt_{id}"),
        ..world.claims("one")
    })
}

pub fn call(tool: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": {} } })
}

pub async fn said(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn bearer(headers: &HeaderMap) -> String {
    let values: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(values.len(), 1, "{headers:?}");
    values[0].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

async fn whoami(world: &World, token: &str) -> Value {
    let request = world.client.post(world.url("one")).bearer_auth(token).json(&call("whoami"));
    let (status, body) = said(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{body}");
    body["result"]["content"][0]["text"].clone()
}

/// Answers 401 to every token but the newest one of `ada`, and keeps what came.
async fn strict(fake: &Arc<FakeUpstream>) -> Upstream {
    let fake = Arc::clone(fake);
    Upstream::start(move |seen: Seen| {
        let fake = Arc::clone(&fake);
        async move { if is_good(&fake, &seen) { answer(200, r#"{"done":true}"#) } else { unauthorized() } }
    })
    .await
}

fn is_good(fake: &FakeUpstream, seen: &Seen) -> bool {
    seen.headers.contains_key("authorization") && fake.access_tokens("ada").contains(&bearer(&seen.headers))
}

/// The calls that reached the server: whoever looks for its authorization server asks without a token.
fn calls_at(upstream: &Upstream) -> Vec<Seen> {
    upstream.seen().into_iter().filter(|seen| seen.headers.contains_key("authorization")).collect()
}

fn calls_of(fake: &FakeUpstream) -> Vec<McpRequest> {
    fake.requests().into_iter().filter(|seen| seen.headers.contains_key("authorization")).collect()
}

fn unauthorized() -> Answer {
    let mut refused = answer(401, "{}");
    refused.headers_mut().insert("www-authenticate", r#"Bearer error="invalid_token""#.parse().unwrap());
    refused
}

// PROX-1
#[tokio::test]
async fn the_server_gets_the_persons_token_for_it_and_never_the_clients() {
    let fake = FakeUpstream::start().await;
    let keyed = json!({
        "name": "key", "policyType": "set-headers-inbound",
        "handler": { "options": { "headers": [{ "name": "X-Extra", "value": "1" }] } },
    });
    let world = World::with_policies(&fake.mcp_url(), &json!({}), &[keyed, per_person()]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    for slug in ["one", "two"] {
        let request = world.client.post(world.url(slug)).bearer_auth(world.token(slug)).json(&call("whoami"));
        let (status, body) = said(request.send().await.unwrap()).await;
        assert_eq!((status, &body["result"]["content"][0]["text"]), (200, &json!("ada")));
        let seen = fake.requests().pop().unwrap();
        assert_eq!(bearer(&seen.headers), fake.access_tokens("ada")[0]);
        assert_eq!(seen.headers["x-extra"], "1");
    }
    assert!(fake.requests().iter().all(|seen| !format!("{:?}", seen.headers).contains(&world.token("one"))));
}

// PROX-1
#[tokio::test]
async fn two_people_never_get_each_others_token_however_many_calls_are_under_way() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    connect(&world, &fake, person("usr_2"), "bob").await;
    let tokens = [token_of(&world, "usr_1"), token_of(&world, "usr_2")];
    // The tokens have ended, so that both are renewed in the middle of it.
    fake.expire_access_tokens();
    let calls = (0..50).map(|n| {
        let (world, token) = (&world, &tokens[n % 2]);
        async move { (n % 2, whoami(world, token).await) }
    });
    for (whose, account) in futures_util::future::join_all(calls).await {
        assert_eq!(account, ["ada", "bob"][whose]);
    }
    assert_eq!(fake.granted("refresh_token"), 2, "one renewal for each person");
    // A third person gets nobody's.
    let third = token_of(&world, "usr_3");
    let request = world.client.post(world.url("one")).bearer_auth(third).json(&call("whoami"));
    assert_eq!(said(request.send().await.unwrap()).await.1["error"]["data"]["state"], "authenticating");
}

// PROX-7
#[rstest]
#[case(Method::POST, r#"{"jsonrpc":"2.0", "id":1,"method":"ping"}"#)]
#[case(Method::POST, " not json \u{1}")]
#[case(Method::GET, "")]
#[case(Method::DELETE, "")]
#[tokio::test]
async fn after_a_401_the_same_bytes_go_once_more_with_another_token(
    #[case] method: Method,
    #[case] body: &'static str,
) {
    let fake = Arc::new(FakeUpstream::start().await);
    let upstream = strict(&fake).await;
    let world = guarded_apart(&fake, &upstream, &json!({}), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    let first = fake.access_tokens("ada").remove(0);
    fake.expire_access_tokens();
    let request = world.client.request(method.clone(), world.url("one")).bearer_auth(world.token("one"));
    let (status, answered) = said(request.header("x-mine", "1").body(body).send().await.unwrap()).await;
    assert_eq!((status, answered), (200, json!({ "done": true })));
    let seen = calls_at(&upstream);
    assert_eq!(seen.len(), 2);
    assert_eq!([bearer(&seen[0].headers), bearer(&seen[1].headers)], [first, fake.access_tokens("ada").remove(0)]);
    for one in &seen {
        assert_eq!(
            (&one.method, &one.body, &one.headers["x-mine"]),
            (&method, &Bytes::from(body), &"1".parse().unwrap())
        );
    }
    // The next call begins with the new one.
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    assert_eq!(calls_at(&upstream).len(), 3);
}

// PROX-7
#[tokio::test]
async fn a_second_401_is_the_operators_to_mend_and_the_challenge_goes_nowhere() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.fail_always(Endpoint::Mcp, Fault::Unauthorized);
    let response = world.post(call("whoami").to_string()).send().await.unwrap();
    assert!(!response.headers().contains_key("www-authenticate"));
    let (status, body) = said(response).await;
    assert_eq!(status, 502);
    assert!(body["error"]["message"].as_str().unwrap().starts_with("upstream credential rejected"), "{body}");
    assert_eq!(calls_of(&fake).len(), 2, "once more, and not again");
    assert_eq!(fake.granted("refresh_token"), 1);
}

// PROX-7
#[tokio::test]
async fn a_call_that_was_carried_out_and_answered_401_is_made_once_more_only() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.fail_next(Endpoint::Mcp, Fault::DoneAndUnauthorized);
    assert_eq!(whoami(&world, &world.token("one")).await, "ada");
    assert_eq!(calls_of(&fake).len(), 2);
}

// PROX-7
#[rstest]
#[case::hangs_up(Fault::Dropped, 502)]
#[case::hangs_up_after_it_is_done(Fault::AnswerLost, 502)]
#[case::an_error(Fault::down(), 500)]
#[case::overloaded(Fault::too_many(1), 429)]
#[case::unavailable(Fault::error(503, "x"), 503)]
#[case::forbidden(Fault::error(403, "x"), 403)]
#[tokio::test]
async fn nothing_else_makes_a_call_be_sent_again(#[case] fault: Fault, #[case] expected: u16) {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    // Over a kept connection and over a new one.
    for kept in [false, true] {
        if kept {
            whoami(&world, &world.token("one")).await;
        }
        let before = fake.fetches(Endpoint::Mcp);
        fake.fail_next(Endpoint::Mcp, fault.clone());
        let response = world.post(call("whoami").to_string()).send().await.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(fake.fetches(Endpoint::Mcp), before + 1);
    }
    assert_eq!(fake.granted("refresh_token"), 0);
}

// PROX-7
#[tokio::test]
async fn a_call_that_is_late_is_not_made_again() {
    let fake = FakeUpstream::start().await;
    let handler = json!({ "firstByteTimeoutMs": 3000 });
    let world = World::with_policies(&fake.mcp_url(), &handler, &[per_person()]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    let before = fake.fetches(Endpoint::Mcp);
    fake.fail_next(Endpoint::Mcp, Fault::HeldBefore);
    assert_eq!(world.post(call("whoami").to_string()).send().await.unwrap().status(), 504);
    assert_eq!(fake.fetches(Endpoint::Mcp), before + 1);
    fake.release();
}

// PROX-7
#[tokio::test]
async fn many_calls_with_a_token_that_has_ended_make_one_token_request() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.expire_access_tokens();
    let token = world.token("one");
    let calls = (0..50).map(|_| whoami(&world, &token));
    assert!(futures_util::future::join_all(calls).await.iter().all(|account| account == "ada"));
    assert_eq!(fake.granted("refresh_token"), 1);
    assert_eq!(fake.carried_out().len(), 50, "none was carried out twice");
}

// PROX-7
#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_trouble_with_that_is_no_matter_while_it_serves() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    for fault in [Fault::too_many(1), Fault::down(), Fault::Dropped] {
        fake.fail_next(Endpoint::Token, fault);
    }
    let first = fake.access_tokens("ada").remove(0);
    world.clock.0.fetch_add(3600 - 30, Ordering::SeqCst);
    let token = |world: &World| {
        let now = world.clock.0.load(Ordering::SeqCst);
        world.sign(&doorward::keys::AccessTokenClaims { iat: now, exp: now + 900, ..world.claims("one") })
    };
    assert_eq!(whoami(&world, &token(&world)).await, "ada");
    assert_eq!(bearer(&fake.requests().pop().unwrap().headers), first, "the old one serves");
    assert_eq!(fake.granted("refresh_token"), 0, "the fault came before the request was read");
    // It has ended, and the authorization server is still in trouble.
    world.clock.0.fetch_add(60, Ordering::SeqCst);
    let request = world.client.post(world.url("one")).bearer_auth(token(&world)).json(&call("whoami"));
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    let (_, body) = said(response).await;
    assert_eq!((&body["jsonrpc"], &body["error"]["code"]), (&json!("2.0"), &json!(-32010)), "{body}");
    // An operator's answer is not lost: once the server is well, calls go on.
    fake.recover(Endpoint::Token);
    world.clock.0.fetch_add(60, Ordering::SeqCst);
    assert_eq!(whoami(&world, &token(&world)).await, "ada");
}

// PROX-7
#[tokio::test]
async fn a_lost_token_answer_costs_a_call_and_not_the_connection_where_the_server_allows_for_it() {
    let fake = FakeUpstream::start().await;
    fake.behave(|behaviour| behaviour.refreshing = Refreshing::KeepsSilently);
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.expire_access_tokens();
    fake.fail_next(Endpoint::Token, Fault::AnswerLost);
    assert_eq!(world.post(call("whoami").to_string()).send().await.unwrap().status(), 503);
    world.clock.0.fetch_add(5, Ordering::SeqCst);
    assert_eq!(whoami(&world, &world.token("one")).await, "ada");
}

// PROX-7
#[tokio::test]
async fn what_is_revoked_at_the_server_in_the_middle_of_a_call_sends_the_person_to_connect_again() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    assert_eq!(whoami(&world, &world.token("one")).await, "ada");
    fake.revoke("ada");
    for _ in 0..2 {
        let (status, body) = said(world.post(call("whoami").to_string()).send().await.unwrap()).await;
        assert_eq!((status, &body["error"]["code"]), (200, &json!(-32042)));
        assert_eq!(body["error"]["data"]["state"], "reconsent_required");
    }
    assert_eq!(fake.granted("refresh_token"), 1, "a refused connection is not tried again");
    connect(&world, &fake, person("usr_1"), "ada").await;
    assert_eq!(whoami(&world, &world.token("one")).await, "ada");
}

// STRM-4
#[tokio::test]
async fn a_listening_stream_is_opened_again_after_a_401_and_goes_on_while_the_token_is_renewed() {
    let fake = Arc::new(FakeUpstream::start().await);
    let events: Arc<Mutex<Option<tokio::sync::mpsc::Sender<Bytes>>>> = Arc::default();
    let (theirs, asked) = (Arc::clone(&fake), Arc::clone(&events));
    let upstream = Upstream::start(move |seen: Seen| {
        let (fake, events) = (Arc::clone(&theirs), Arc::clone(&asked));
        async move {
            if !is_good(&fake, &seen) {
                return unauthorized();
            }
            if seen.method != Method::GET {
                return answer(200, "{}");
            }
            let (sender, response) = event_stream(&[]);
            *events.lock().unwrap() = Some(sender);
            response
        }
    })
    .await;
    let world = guarded_apart(&fake, &upstream, &json!({}), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.expire_access_tokens();
    let mut listening = world.get().send().await.unwrap();
    assert_eq!((listening.status().as_u16(), calls_at(&upstream).len()), (200, 2));
    let sender = events.lock().unwrap().clone().unwrap();
    sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    assert_eq!(listening.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    // Another call renews the token; the stream is none the worse for it.
    fake.expire_access_tokens();
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    sender.send(Bytes::from_static(b"data: 2\n\n")).await.unwrap();
    assert_eq!(listening.chunk().await.unwrap().unwrap(), "data: 2\n\n");
}

// LIM-4
#[rstest]
#[case::at_the_limit(64, false, 200)]
#[case::chunked_at_the_limit(64, true, 200)]
#[case::beyond_it(65, false, 413)]
#[case::chunked_beyond_it(65, true, 413)]
#[tokio::test]
async fn a_body_is_kept_up_to_the_routes_limit(#[case] length: usize, #[case] chunked: bool, #[case] expected: u16) {
    let fake = Arc::new(FakeUpstream::start().await);
    let upstream = strict(&fake).await;
    let world = guarded_apart(&fake, &upstream, &json!({ "maxBodyBytes": 64 }), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.expire_access_tokens();
    let bytes = Bytes::from(vec![b'x'; length]);
    let body = if chunked {
        let (one, other) = (bytes.slice(..30), bytes.slice(30..));
        reqwest::Body::wrap_stream(futures_util::stream::iter([one, other].map(Ok::<_, std::io::Error>)))
    } else {
        bytes.clone().into()
    };
    assert_eq!(world.post(body).send().await.unwrap().status(), expected);
    let seen = calls_at(&upstream);
    if expected == 200 {
        assert_eq!(seen.len(), 2);
        for one in seen {
            assert_eq!((&one.body, &one.headers["content-length"]), (&bytes, &length.to_string().parse().unwrap()));
            assert!(!one.headers.contains_key("transfer-encoding"));
        }
    } else {
        assert_eq!(seen.len(), 0, "nothing of it was sent");
    }
}

// STRM-12, REV-6
#[tokio::test]
async fn filters_limits_and_the_audit_log_work_together_with_it() {
    let fake = FakeUpstream::start().await;
    let more = [
        json!({
            "name": "shown", "policyType": "mcp-capability-filter-inbound",
            "handler": { "options": { "tools": ["whoami"] } },
        }),
        json!({ "name": "log", "policyType": "audit-log-inbound", "handler": { "options": {} } }),
    ];
    let world = World::with_policies(&fake.mcp_url(), &json!({}), &[&[per_person()], &more[..]].concat()).await;
    let posted = |body: &Value| world.client.post(world.url("one")).bearer_auth(world.token("one")).json(body);
    // What is hidden is hidden before anybody is asked to connect anything.
    let (_, body) = said(posted(&call("echo")).send().await.unwrap()).await;
    assert_eq!(body["error"]["code"], -32601);
    let (_, body) = said(posted(&call("whoami")).send().await.unwrap()).await;
    assert_eq!(body["error"]["code"], -32042);
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.expire_access_tokens();
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let (_, body) = said(posted(&list).send().await.unwrap()).await;
    let tools: Vec<_> = body["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(tools, ["whoami"]);
    assert_eq!(calls_of(&fake).len(), 2, "once refused, once answered");
    assert_eq!(fake.carried_out()[0].body, list);
}

// STRM-6
#[tokio::test]
async fn a_session_of_one_persons_token_is_not_found_by_anybody_else() {
    let fake = Arc::new(FakeUpstream::start().await);
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let upstream = Upstream::start(move |seen: Seen| {
        let counted = Arc::clone(&counted);
        async move {
            let mut response = answer(200, "{}");
            if !seen.headers.contains_key("mcp-session-id") {
                let id = format!("session-{}", counted.fetch_add(1, Ordering::SeqCst));
                response.headers_mut().insert("mcp-session-id", id.parse().unwrap());
            }
            response
        }
    })
    .await;
    let world = guarded_apart(&fake, &upstream, &json!({}), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    connect(&world, &fake, person("usr_2"), "bob").await;
    let response = world.post("{}").send().await.unwrap();
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let with =
        |token: String| world.client.post(world.url("one")).bearer_auth(token).header("mcp-session-id", &session);
    assert_eq!(with(world.token("one")).body("{}").send().await.unwrap().status(), 200);
    let reached = calls_at(&upstream).len();
    assert_eq!(with(token_of(&world, "usr_2")).body("{}").send().await.unwrap().status(), 404);
    assert_eq!(calls_at(&upstream).len(), reached, "and the server hears nothing of it");
    let tokens: Vec<_> = calls_at(&upstream).iter().map(|seen| bearer(&seen.headers)).collect();
    assert!(tokens.iter().all(|token| fake.access_tokens("ada").contains(token)));
}

// PROX-9
#[tokio::test]
async fn a_redirect_takes_the_credential_nowhere_else() {
    let fake = Arc::new(FakeUpstream::start().await);
    let elsewhere = Upstream::ok().await;
    let target = elsewhere.url();
    let upstream = Upstream::start(move |_| {
        let target = target.clone();
        async move {
            let mut response = answer(307, "");
            response.headers_mut().insert("location", target.parse().unwrap());
            response
        }
    })
    .await;
    let world = guarded_apart(&fake, &upstream, &json!({ "followRedirects": true }), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 502);
    assert!(elsewhere.seen().is_empty());
}

// REV-3
#[tokio::test]
async fn a_grant_that_ends_while_its_call_waits_for_a_token_ends_the_call() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.expire_access_tokens();
    fake.fail_next(Endpoint::Token, Fault::HeldBefore);
    let ends = async {
        fake.wait_for_held(1).await;
        world.revocations.revoke(GrantId::new("grt_1"), UnixTime(START + 900));
        fake.release();
    };
    let (response, ()) = tokio::join!(world.post(call("whoami").to_string()).send(), ends);
    assert_eq!(response.unwrap().status(), 401);
    assert!(fake.carried_out().is_empty());
}

// SEC-6
#[tokio::test]
async fn a_client_that_hangs_up_does_not_lose_the_renewed_tokens() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.expire_access_tokens();
    fake.fail_next(Endpoint::Token, Fault::HeldAfter);
    {
        let request = world.post(call("whoami").to_string()).send();
        let mut request = Box::pin(request);
        tokio::select! {
            _ = &mut request => panic!("it is held"),
            () = fake.wait_for_held(1) => {}
        }
    }
    fake.release();
    assert_eq!(whoami(&world, &world.token("one")).await, "ada");
    assert_eq!(fake.granted("refresh_token"), 1);
}
