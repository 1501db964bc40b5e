//! `audit-log-inbound`: one record for each call, which nothing waits for.

use doorward::crypto::{base64url, sha256};
use doorward::store::{AuditEntry, CALLS};
use serde_json::{Value, json};

use crate::upstream::{Upstream, json as answer};
use crate::world::World;

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":{"to":"ada"}}}"#;

fn policy(options: &Value) -> Value {
    json!({ "name": "audit", "policyType": "audit-log-inbound", "handler": { "options": options } })
}

async fn records(world: &World) -> Vec<AuditEntry> {
    world.store.settle_audit().await;
    world.store.audit_page(CALLS, 0).await.unwrap()
}

fn call_of(entry: &AuditEntry) -> Value {
    let mut call: Value = serde_json::from_str(entry.call.as_deref().unwrap()).unwrap();
    assert!(call["ms"].as_u64().is_some());
    call.as_object_mut().unwrap().shift_remove("ms");
    call
}

// REV-6, PROX-4, SEC-6
#[tokio::test]
async fn a_record_says_who_called_what_with_which_outcome_and_the_body_passes_as_it_is() {
    let upstream = Upstream::ok().await;
    let world = World::with_policies(&upstream.url(), &json!({}), &[policy(&json!({}))]).await;
    assert_eq!(world.post(CALL).send().await.unwrap().status(), 200);
    assert_eq!(upstream.last().body, CALL);
    assert_eq!(world.get().send().await.unwrap().status(), 200);
    let [entry] = &records(&world).await[..] else { panic!("one record: a stream is no call") };
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    assert_eq!((entry.event.as_str(), text(&entry.outcome).as_str()), ("mcp_capability_completed", "success"));
    assert_eq!((text(&entry.subject_id), text(&entry.client_id)), ("usr_1".to_owned(), "dcr_1".to_owned()));
    assert_eq!((text(&entry.grant_id), text(&entry.route)), ("grt_1".to_owned(), "/mcp/one".to_owned()));
    assert_eq!((text(&entry.request_id), text(&entry.peer)), ("ref-1".to_owned(), "127.0.0.1".to_owned()));
    let hash = base64url(&sha256(br#"{"to":"ada"}"#));
    let expected = json!({ "method": "tools/call", "name": "send", "argumentsHash": hash, "status": 200 });
    assert_eq!(call_of(entry), expected);
    assert!(!serde_json::to_string(entry).unwrap().contains("ada"), "the arguments are not kept");
}

// REV-6
#[tokio::test]
async fn what_was_refused_is_recorded_with_its_reason_but_for_callers_that_nobody_knows() {
    let upstream = Upstream::start(|_| async { answer(400, "{}") }).await;
    let limit = json!({ "rateLimitBy": "user", "requestsAllowed": 1, "timeWindowMinutes": 1 });
    let limit = json!({ "name": "limit", "policyType": "rate-limit-inbound", "handler": { "options": limit } });
    let world = World::with_policies(&upstream.url(), &json!({}), &[policy(&json!({})), limit]).await;
    let stranger = world.client.post(world.url("one")).bearer_auth("forged").body(CALL);
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    assert_eq!(world.post(CALL).send().await.unwrap().status(), 400);
    assert_eq!(world.post(CALL).send().await.unwrap().status(), 429);
    let entries = records(&world).await;
    let said: Vec<_> = entries.iter().map(|entry| (entry.outcome.as_deref(), entry.reason.as_deref())).collect();
    assert_eq!(said, [(Some("refused"), Some("upstream_status")), (Some("refused"), Some("rate_limited"))]);
    assert_eq!(call_of(&entries[0])["name"], "send");
    assert_eq!(call_of(&entries[1]), json!({ "status": 429 }), "its body was not read");
}

// REV-6
#[tokio::test]
async fn a_policy_says_what_is_left_out_and_routes_without_one_record_nothing() {
    let upstream = Upstream::ok().await;
    let bare = policy(&json!({ "include": { "user": false, "ipAddress": false } }));
    let world = World::with_policies(&upstream.url(), &json!({}), &[bare]).await;
    assert_eq!(world.post(CALL).send().await.unwrap().status(), 200);
    let [entry] = &records(&world).await[..] else { panic!("one record") };
    assert_eq!((&entry.subject_id, &entry.client_id, &entry.grant_id, &entry.peer), (&None, &None, &None, &None));
    assert_eq!(call_of(entry)["name"], "send");
    for policies in [vec![policy(&json!({ "samplingRate": 0 }))], Vec::new()] {
        let world = World::with_policies(&upstream.url(), &json!({}), &policies).await;
        assert_eq!(world.post(CALL).send().await.unwrap().status(), 200);
        assert!(records(&world).await.is_empty());
    }
}

// REV-6
#[tokio::test]
async fn a_client_that_goes_away_does_not_hide_its_call() {
    let upstream = Upstream::start(|_| std::future::pending()).await;
    let world = World::with_policies(&upstream.url(), &json!({}), &[policy(&json!({}))]).await;
    let call = tokio::spawn(world.post(CALL).send());
    while upstream.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    call.abort();
    let mut found = Vec::new();
    for _ in 0..6_000 {
        found = records(&world).await;
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let [entry] = &found[..] else { panic!("one record") };
    assert_eq!((entry.outcome.as_deref(), entry.reason.as_deref()), (Some("refused"), Some("client_gone")));
    assert_eq!(call_of(entry)["name"], "send");
}
