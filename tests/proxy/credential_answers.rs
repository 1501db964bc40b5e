//! What callers are told whose server is not connected (gateway.md §8): in each era's words, with the way to help it.

use doorward::domain::{Owner, SubjectId};
use http::Method;
use reqwest::Url;
use rstest::rstest;
use serde_json::{Value, json};

use crate::credentials::{ID, call, connect, guarded, guarded_apart, per_person, person, policy, said};
use crate::fake_upstream::FakeUpstream;
use crate::upstream::{Upstream, json as answer};
use crate::world::World;

fn shared() -> Value {
    policy(&json!({ "authMode": "shared-oauth" }))
}

async fn post(world: &World, body: &Value) -> (u16, Value) {
    said(world.post(body.to_string()).send().await.unwrap()).await
}

/// Whose ticket the link of an answer holds.
fn ticket_of(world: &World, link: &Value) -> SubjectId {
    let link = Url::parse(link.as_str().unwrap()).unwrap();
    assert_eq!(link.origin().ascii_serialization(), world.origin);
    assert_eq!(link.path(), format!("/auth/connections/{ID}/connect"));
    let ticket = link.query_pairs().find(|(name, _)| name == "ticket").unwrap().1.into_owned();
    world.upstreams.open_ticket(&ticket, world.upstreams.get(ID).unwrap()).unwrap().subject.unwrap()
}

/// A request of the stateless era, by a client with these capabilities.
fn stateless(method: &str, capabilities: &Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    json!({ "jsonrpc": "2.0", "id": "q", "method": method, "params": { "name": "whoami", "_meta": meta } })
}

// PROX-8
#[rstest]
#[case("initialize")]
#[case("tools/list")]
#[case("tools/call")]
#[tokio::test]
async fn a_client_of_the_handshake_era_gets_the_error_that_opens_the_page(#[case] method: &str) {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    let (status, body) = post(&world, &json!({ "jsonrpc": "2.0", "id": 7, "method": method })).await;
    assert_eq!((status, &body["id"], &body["error"]["code"]), (200, &json!(7), &json!(-32042)));
    let data = &body["error"]["data"];
    for (name, value) in [
        ("state", "authenticating"),
        ("upstreamServerId", ID),
        ("operationId", "one"),
        ("authProfileId", ID),
        ("nextAction", "redirect"),
        ("reference", "ref-1"),
    ] {
        assert_eq!(data[name], value, "{name}");
    }
    assert_eq!(ticket_of(&world, &data["authUrl"]), SubjectId::new("usr_1"));
    let [elicitation] = data["elicitations"].as_array().unwrap().as_slice() else { panic!("{data}") };
    assert_eq!((&elicitation["mode"], &elicitation["url"]), (&json!("url"), &data["authUrl"]));
    assert!(!elicitation["elicitationId"].as_str().unwrap().is_empty());
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Tracker is not connected"), "{message}");
    assert!(message.ends_with(data["authUrl"].as_str().unwrap()), "people see the link without anything else");
    assert!(fake.requests().is_empty());
}

// PROX-8
#[tokio::test]
async fn each_answer_has_a_link_of_its_own() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    let one = post(&world, &call("whoami")).await.1;
    let other = post(&world, &call("whoami")).await.1;
    for member in ["/error/data/authUrl", "/error/data/elicitations/0/elicitationId"] {
        assert_ne!(one.pointer(member), other.pointer(member), "{member}");
    }
}

// PROX-8
#[tokio::test]
async fn a_client_of_the_stateless_era_is_asked_to_open_the_page_where_it_may_be_asked() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    let asking = json!({ "elicitation": { "url": {} } });
    let (status, body) = post(&world, &stateless("tools/call", &asking)).await;
    assert_eq!((status, &body["id"], &body["result"]["resultType"]), (200, &json!("q"), &json!("input_required")));
    let requests = body["result"]["inputRequests"].as_object().unwrap();
    let [asked] = requests.values().collect::<Vec<_>>()[..] else { panic!("{body}") };
    assert_eq!((&asked["method"], &asked["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
    assert_eq!(ticket_of(&world, &asked["params"]["url"]), SubjectId::new("usr_1"));

    // Where it may not be asked, or cannot, an error says it; not the one that was taken back.
    for (method, capabilities) in
        [("server/discover", &asking), ("tools/list", &asking), ("tools/call", &json!({})), ("initialize", &asking)]
    {
        let (status, body) = post(&world, &stateless(method, capabilities)).await;
        assert_eq!((status, &body["error"]["code"]), (200, &json!(-32000)), "{method}");
        let link = &body["error"]["data"]["authUrl"];
        assert_eq!(ticket_of(&world, link), SubjectId::new("usr_1"));
        assert!(body["error"]["message"].as_str().unwrap().contains(link.as_str().unwrap()));
    }
}

// PROX-8
#[tokio::test]
async fn a_person_who_went_to_the_page_is_waited_for_and_one_who_did_not_want_to_is_not_asked_again() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    let body = stateless("tools/call", &json!({ "elicitation": { "url": {} } }));
    let (_, asked) = post(&world, &body).await;
    let key = asked["result"]["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    let answered = |action: &str| {
        let mut retried = body.clone();
        retried["params"]["inputResponses"] = json!({ key.as_str(): { "action": action } });
        retried
    };
    let (_, declined) = post(&world, &answered("decline")).await;
    assert_eq!(declined["error"]["code"], -32000);
    let accepted = answered("accept");
    let (came, ()) = tokio::join!(post(&world, &accepted), connect(&world, &fake, person("usr_1"), "ada"));
    assert_eq!(came.1["result"]["content"][0]["text"], "ada");
}

// PROX-8
#[tokio::test]
async fn each_request_of_a_batch_gets_its_own_error() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let listed = json!({ "jsonrpc": "2.0", "id": "b", "method": "tools/list" });
    let (status, body) = post(&world, &json!([call("whoami"), notification, listed])).await;
    assert_eq!(status, 200);
    let errors = body.as_array().unwrap();
    let ids: Vec<_> = errors.iter().map(|error| (&error["id"], &error["error"]["code"])).collect();
    assert_eq!(ids, [(&json!(1), &json!(-32042)), (&json!("b"), &json!(-32042))]);
    assert!(errors.iter().all(|error| error["error"]["data"]["reference"] == "ref-1"));
}

// PROX-8
#[rstest]
#[case(Method::POST, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)]
#[case(Method::POST, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)]
#[case(Method::POST, "not json")]
#[case(Method::GET, "")]
#[case(Method::DELETE, "")]
#[tokio::test]
async fn where_nobody_waits_for_a_message_the_status_says_it(#[case] method: Method, #[case] body: &'static str) {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    let request = world.client.request(method, world.url("one")).bearer_auth(world.token("one")).body(body);
    let response = request.send().await.unwrap();
    assert!(!response.headers().contains_key("www-authenticate"), "no login here would help");
    let (status, body) = said(response).await;
    assert_eq!((status, &body["error"]["code"], &body["id"]), (403, &json!(-32000), &Value::Null));
    assert_eq!(body["error"]["data"]["state"], "authenticating");
    assert!(fake.requests().is_empty());
}

// PROX-8
#[tokio::test]
async fn more_scope_than_was_asked_for_leads_to_connecting_again_and_what_was_denied_stays_a_403() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.behave(|behaviour| behaviour.required_scope = Some("notes.write".to_owned()));
    let (status, body) = post(&world, &call("whoami")).await;
    assert_eq!((status, &body["error"]["code"]), (200, &json!(-32042)));
    assert_eq!(body["error"]["data"]["state"], "reconsent_required");
    assert!(body["error"]["message"].as_str().unwrap().contains("permissions"));
    connect(&world, &fake, person("usr_1"), "ada").await;
    assert_eq!(fake.authorizations().pop().unwrap()["scope"], "notes.read offline_access notes.write");
    assert_eq!(post(&world, &call("whoami")).await.1["result"]["content"][0]["text"], "ada");
}

// PROX-8, PROX-7
#[tokio::test]
async fn a_server_that_denies_what_it_was_asked_for_is_passed_on_without_its_challenge() {
    let fake = FakeUpstream::start().await;
    let upstream = Upstream::start(|_| async {
        let mut refused = answer(403, "not for you");
        let challenge = r#"Bearer error="insufficient_scope", scope="notes.read""#;
        refused.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
        refused
    })
    .await;
    let world = guarded_apart(&fake, &upstream, &json!({}), &[]).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    for _ in 0..2 {
        let response = world.post(call("whoami").to_string()).send().await.unwrap();
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_eq!(said(response).await, (403, json!("not for you")));
    }
}

fn operators() -> Value {
    json!({ "operators": { "emails": ["ada@example.com"] } })
}

// PROX-8
#[tokio::test]
async fn a_shared_server_is_the_operators_to_connect_and_others_are_told_so_without_a_link() {
    let fake = FakeUpstream::start().await;
    let world = World::with_gateway_and_policies(&fake.mcp_url(), &json!({}), &operators(), &[shared()]).await;
    world.introduce_as(|person| person.email = Some("bob@example.com".to_owned())).await;
    let (status, body) = post(&world, &call("whoami")).await;
    assert_eq!((status, &body["error"]["code"]), (200, &json!(-32042)));
    let data = &body["error"]["data"];
    assert_eq!((&data["state"], &data["elicitations"]), (&json!("admin_connect_required"), &json!([])));
    assert!(data.get("authUrl").is_none() && data.get("nextAction").is_none(), "{data}");
    let text = body["error"]["message"].as_str().unwrap();
    assert!(text.contains(&format!("doorward connections connect {ID}")) && !text.contains("http"), "{text}");
    connect(&world, &fake, Owner::Everyone, "company").await;
    assert_eq!(post(&world, &call("whoami")).await.1["result"]["content"][0]["text"], "company");
}

// PROX-8
#[tokio::test]
async fn an_operator_gets_the_link_to_connect_a_shared_server() {
    let fake = FakeUpstream::start().await;
    let world = World::with_gateway_and_policies(&fake.mcp_url(), &json!({}), &operators(), &[shared()]).await;
    world.introduce().await;
    let (_, body) = post(&world, &call("whoami")).await;
    let data = &body["error"]["data"];
    assert_eq!(data["state"], "admin_connect_required");
    assert_eq!(ticket_of(&world, &data["authUrl"]), SubjectId::new("usr_1"));
    assert_eq!(data["elicitations"][0]["url"], data["authUrl"]);
}

// PROX-8, LIM-1
#[tokio::test]
async fn a_call_that_wants_more_than_what_everyone_shares_stops_no_other() {
    let fake = FakeUpstream::start().await;
    let world = World::with_gateway_and_policies(&fake.mcp_url(), &json!({}), &operators(), &[shared()]).await;
    world.introduce_as(|person| person.email = Some("bob@example.com".to_owned())).await;
    connect(&world, &fake, Owner::Everyone, "company").await;
    fake.behave(|behaviour| behaviour.required_scope = Some("notes.admin".to_owned()));
    let (_, body) = post(&world, &call("whoami")).await;
    let (data, text) = (&body["error"]["data"], body["error"]["message"].as_str().unwrap());
    assert_eq!(data["state"], "admin_connect_required");
    assert!(data.get("authUrl").is_none() && text.contains("asks for more permissions"), "{body}");
    assert!(text.contains(&format!("doorward connections connect {ID}")), "{text}");
    fake.behave(|behaviour| behaviour.required_scope = None);
    assert_eq!(post(&world, &call("whoami")).await.1["result"]["content"][0]["text"], "company");
    // An operator gets the link.
    let world = World::with_gateway_and_policies(&fake.mcp_url(), &json!({}), &operators(), &[shared()]).await;
    world.introduce().await;
    connect(&world, &fake, Owner::Everyone, "company").await;
    fake.behave(|behaviour| behaviour.required_scope = Some("notes.admin".to_owned()));
    let (_, body) = post(&world, &call("whoami")).await;
    assert_eq!(ticket_of(&world, &body["error"]["data"]["authUrl"]), SubjectId::new("usr_1"));
}

// OPS-4
#[tokio::test]
async fn what_becomes_of_connections_is_counted_and_refusals_by_their_reason() {
    let fake = FakeUpstream::start().await;
    let world = guarded(&fake).await;
    post(&world, &call("whoami")).await;
    connect(&world, &fake, person("usr_1"), "ada").await;
    fake.revoke("ada");
    post(&world, &call("whoami")).await;
    let counted = world.metrics.to_text();
    for line in [
        r#"doorward_mcp_refusals_total{route="one",reason="not_connected"} 1"#,
        r#"doorward_mcp_refusals_total{route="one",reason="reconsent_required"} 1"#,
        r#"doorward_upstream_connections_total{outcome="connected"} 1"#,
        r#"doorward_upstream_renewals_total{outcome="refused"} 1"#,
    ] {
        assert!(counted.lines().any(|counted| counted == line), "{line}\n{counted}");
    }
}

// PROX-8
#[tokio::test]
async fn a_store_that_is_away_is_nobodys_to_connect() {
    let fake = FakeUpstream::start().await;
    let world = World::with_policies(&fake.mcp_url(), &json!({}), &[per_person()]).await;
    world.store.close().await;
    let response = world.post(call("whoami").to_string()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    assert_eq!(said(response).await.1["error"]["code"], -32010);
}
