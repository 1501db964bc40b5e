//! What a journey leaves in the audit trail (REV-6), and what operators see of grants (REV-5, REFR-12).

use doorward::store::{AuditEntry, GrantFilter};
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::flow::{TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

async fn trail(gateway: &TestGateway) -> Vec<AuditEntry> {
    let store = &gateway.assembly.store;
    store.settle_audit().await;
    let chains = store.verify_audit().await.unwrap();
    assert!(chains.iter().all(|chain| chain.fault.is_none()), "{chains:?}");
    store.audit_tail(1000).await.unwrap()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

// REV-6, SEC-1
#[tokio::test]
async fn every_decision_is_recorded_with_who_what_where_and_no_secret() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let refused = Browser::new();
    let page = client.consent_page(&refused, &client.authorize_url("two", &[]), "guest").await;
    client.decide(&refused, &page, "cancel").await;
    let code = client.code("one").await;
    let redeemed = client.redeem(&code).await;
    let request_id = redeemed.headers()["x-request-id"].to_str().unwrap().to_owned();
    let first: Value = redeemed.json().await.unwrap();
    let second: Value = client.refresh(text(&first, "refresh_token")).await.json().await.unwrap();
    let third: Value = client.refresh(text(&second, "refresh_token")).await.json().await.unwrap();
    oauth_error(client.refresh(text(&first, "refresh_token")).await, 400, "invalid_grant").await;

    let entries = trail(&gateway).await;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (entry.event.as_str(), entry.outcome.as_deref().unwrap(), entry.reason.as_deref().unwrap_or_default())
        })
        .filter(|(event, ..)| *event != "mcp_auth_login_succeeded")
        .collect();
    assert_eq!(
        told,
        [
            ("mcp_auth_client_registered", "success", ""),
            ("mcp_auth_consent_denied", "refused", "person"),
            ("mcp_auth_consent_approved", "success", ""),
            ("mcp_auth_downstream_token_issued", "success", ""),
            ("mcp_auth_downstream_token_issued", "success", "refresh"),
            ("mcp_auth_downstream_token_issued", "success", "refresh"),
            ("mcp_auth_grant_revoked", "refused", "refresh_replayed"),
        ]
    );
    for entry in &entries {
        assert!(entry.request_id.is_some() && entry.peer.is_some(), "{entry:?}");
        assert_eq!(entry.client_id.as_deref(), Some(client.id.as_str()));
    }
    let issued = entries.iter().find(|entry| entry.event == "mcp_auth_downstream_token_issued").unwrap();
    assert_eq!(issued.request_id.as_deref(), Some(request_id.as_str()), "the id that the client was told");
    assert_eq!(issued.route.as_deref(), Some("/mcp/one"));
    assert!(issued.subject_id.is_some() && issued.grant_id.is_some());
    let all = serde_json::to_string(&entries).unwrap();
    for secret in [&code, text(&first, "refresh_token"), text(&third, "refresh_token"), text(&third, "access_token")] {
        assert!(!all.contains(secret));
    }
}

// REV-6
#[tokio::test]
async fn more_scope_than_the_person_gave_before_is_recorded_as_such() {
    let options = Options {
        gateway: r#""scopes": { "mcp:tools": [], "mcp:write": ["mcp:tools"] }"#.to_owned(),
        ..Options::default()
    };
    let gateway = TestGateway::start_with(options).await;
    let client = TestClient::register(&gateway).await;
    for scope in ["mcp:tools", "mcp:tools", "mcp:write"] {
        let browser = Browser::new();
        let page = client.consent_page(&browser, &client.authorize_url("one", &[("scope", scope)]), "admin").await;
        let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
        assert_eq!(client.redeem(&code).await.status(), StatusCode::OK);
    }
    let elevated: Vec<_> =
        trail(&gateway).await.into_iter().filter(|entry| entry.event == "mcp_auth_scope_elevated").collect();
    assert_eq!(elevated.len(), 1);
    assert!(elevated[0].reason.as_deref().unwrap().contains("mcp:write"));
}

// REFR-12
#[tokio::test]
async fn a_token_that_was_issued_and_never_used_since_can_be_told() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let store = &gateway.assembly.store;
    let is_unused = async || {
        gateway.assembly.note_used_grants().await.unwrap();
        store.list_grants(&GrantFilter::default(), "").await.unwrap()[0].is_unused()
    };
    let code = client.code("one").await;
    assert!(!is_unused().await, "no token yet");
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    assert!(is_unused().await);
    let made = store.list_grants(&GrantFilter::default(), "").await.unwrap()[0].created_at;
    let window = (doorward::domain::UnixTime(made), doorward::domain::UnixTime(made + 1));
    assert_eq!(store.never_used_grants(window.0, window.1).await.unwrap().len(), 1);

    client.call("one", text(&tokens, "access_token")).await;
    assert!(!is_unused().await);
    assert!(store.never_used_grants(window.0, window.1).await.unwrap().is_empty());
    gateway.clock.advance(600);
    let next: Value = client.refresh(text(&tokens, "refresh_token")).await.json().await.unwrap();
    assert!(is_unused().await, "the new one has not come back");
    client.call("one", text(&next, "access_token")).await;
    assert!(!is_unused().await);
}

// REV-6, IDP-6
#[tokio::test]
async fn every_refused_consent_is_recorded_with_who_refused_what_and_where() {
    let access = Some(r#""roles": ["admin"]"#);
    let gateway = TestGateway::start_with(Options { access, ..Options::default() }).await;
    let client = TestClient::register(&gateway).await;
    let start = Browser::new().get(&client.authorize_url("one", &[])).await;
    let fields = [("transaction", start.field("transaction")), ("decision", "cancel".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    Browser::new().post(&gateway.url("/oauth/consent"), &fields).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("two", &[]), "admin").await;
    client.decide(&browser, &page, "cancel").await;
    client.consent_page(&Browser::new(), &client.authorize_url("one", &[]), "guest").await;

    let entries = trail(&gateway).await;
    let denied: Vec<_> = entries.iter().filter(|entry| entry.event == "mcp_auth_consent_denied").collect();
    let told: Vec<_> = denied
        .iter()
        .map(|entry| (entry.reason.as_deref(), entry.route.as_deref(), entry.subject_id.is_some()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("person"), Some("/mcp/one"), false),
            (Some("person"), Some("/mcp/two"), true),
            (Some("access_role"), Some("/mcp/one"), true),
        ]
    );
    assert!(denied.iter().all(|entry| entry.client_id.as_deref() == Some(client.id.as_str())));
    assert_ne!(denied[1].subject_id, denied[2].subject_id);
}

// REV-6, REV-1
#[tokio::test]
async fn sign_ins_registrations_and_revocations_are_recorded_with_what_they_are_about() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let fields = [("client_id", client.id.as_str()), ("token", text(&tokens, "refresh_token"))];
    post_form(&client.http, &gateway.url("/oauth/revoke"), &fields).await;
    let entries = trail(&gateway).await;
    let of = |event: &str| entries.iter().find(|entry| entry.event == event).unwrap();
    let signed_in = of("mcp_auth_login_succeeded");
    assert!(signed_in.subject_id.is_some() && signed_in.client_id.as_deref() == Some(client.id.as_str()));
    assert_eq!((signed_in.route.as_deref(), signed_in.reason.as_deref()), (Some("/mcp/one"), None));
    assert_eq!(of("mcp_auth_client_registered").client_id.as_deref(), Some(client.id.as_str()));
    let revoked = of("mcp_auth_grant_revoked");
    assert_eq!((revoked.outcome.as_deref(), revoked.reason.as_deref()), (Some("success"), Some("client")));
    assert!(revoked.grant_id.is_some() && revoked.subject_id == signed_in.subject_id && revoked.peer.is_some());
}

// REV-6, OPS-11
#[tokio::test]
async fn an_approval_that_nobody_gave_is_recorded_as_such() {
    let gateway = TestGateway::start_with(Options { auto_approve: true, ..Options::default() }).await;
    let client = TestClient::register(&gateway).await;
    Browser::new().get(&client.authorize_url("one", &[])).await.param("code").unwrap();
    let entries = trail(&gateway).await;
    assert!(entries.iter().any(|entry| entry.reason.as_deref() == Some("auto_approve")));
}
