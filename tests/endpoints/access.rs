//! Access rules (`mcp-access-inbound`): at consent, on every call, at refresh and at introspection.

use rstest::rstest;
use serde_json::Value;
use sqlx::Connection as _;

use doorward::domain::{Clock as _, Person, SubjectId};

use crate::support::browser::Browser;
use crate::support::flow::{TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

async fn gateway(access: &'static str) -> TestGateway {
    let gateway = r#""resourceServers": [{ "id": "files", "secret": "the secret of files" }]"#.to_owned();
    TestGateway::start_with(Options { access: Some(access), gateway, ..Options::default() }).await
}

/// Reasons of the refused consents, oldest first.
async fn denials(gateway: &TestGateway) -> Vec<String> {
    let url = format!("sqlite://{}?mode=ro", gateway.folder().join("test.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sql = "SELECT reason FROM audit WHERE event = 'mcp_auth_consent_denied' ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(&mut database).await.unwrap()
}

/// Writes a change of the person behind `tokens` into the store, as a login or a sync does.
async fn change(gateway: &TestGateway, tokens: &Value, change: impl FnOnce(&mut Person)) {
    let payload = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(payload).unwrap()).unwrap();
    let store = &gateway.assembly.store;
    let mut person = store.person(&SubjectId::new(claims["sub"].as_str().unwrap())).await.unwrap().unwrap();
    change(&mut person);
    store.save_person(&person, gateway.clock.now()).await.unwrap();
}

async fn call(client: &TestClient<'_>, tokens: &Value) -> reqwest::Response {
    client.call("one", tokens["access_token"].as_str().unwrap()).await
}

// WOS-13
#[rstest]
#[case::organization(r#""organizations": ["org_other", "org_example"]"#, "access_organization", "organisations")]
#[case::role(r#""roles": ["admin"]"#, "access_role", "roles")]
#[case::permission(r#""permissions": ["tools:manage"]"#, "access_permission", "permissions")]
#[case::email(r#""emails": ["ADA@example.com"]"#, "access_email", "e-mail addresses")]
#[case::every_list(r#""organizations": ["org_partner", "org_example"], "roles": ["admin"]"#, "access_role", "roles")]
#[tokio::test]
async fn who_may_not_use_a_server_is_told_why_at_consent_and_gets_no_code(
    #[case] access: &'static str,
    #[case] reason: &str,
    #[case] said: &str,
) {
    let gateway = gateway(access).await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "guest").await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("You cannot use this server") && page.text.contains(said), "{}", page.text);
    assert!(!page.text.contains("value=\"approve\"") && page.text.contains("value=\"switch\""));
    assert!(page.headers["cache-control"].to_str().unwrap().contains("no-store"));
    assert_eq!(denials(&gateway).await, [reason]);

    // A form of one's own making changes nothing.
    let forced = client.decide(&browser, &page, "approve").await;
    assert!(forced.redirect().starts_with(&gateway.url("/oauth/consent")), "{}", forced.redirect());
    assert_eq!(browser.get(forced.redirect()).await.status, 403);
    // The client can be told.
    let told = client.decide(&browser, &page, "cancel").await;
    assert!(told.redirect().starts_with(&client.redirect_uri));
    assert_eq!((told.param("error").as_deref(), told.param("code")), (Some("access_denied"), None));
    assert_eq!((told.param("state").as_deref(), told.param("iss")), (Some("st-1"), Some(gateway.origin.clone())));

    let tokens = client.connect("one").await;
    assert_eq!(call(&client, &tokens).await.status(), 502, "the admin is let through");
}

// WOS-13
#[tokio::test]
async fn another_account_can_be_used_where_the_first_one_is_refused() {
    let gateway = gateway(r#""emailDomains": ["example.com"], "roles": ["admin"]"#).await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "member").await;
    let leave = client.decide(&browser, &page, "switch").await;
    let back = client.log_in(&browser, leave.redirect(), "admin").await;
    let page = browser.get(back.redirect()).await;
    assert_eq!(page.status, 200);
    assert!(client.decide(&browser, &page, "approve").await.param("code").is_some());
}

// WOS-13: rules that change between the page and the click.
#[tokio::test]
async fn an_approval_that_came_too_late_makes_no_code() {
    let gateway = gateway(r#""roles": ["admin"]"#).await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    assert_eq!(page.status, 200);
    change(&gateway, &tokens, |person| person.roles.clear()).await;
    let late = client.decide(&browser, &page, "approve").await;
    assert!(late.redirect().starts_with(&gateway.url("/oauth/consent")));
    assert_eq!(denials(&gateway).await, ["access_role"]);
}

// WOS-13
#[tokio::test]
async fn calls_follow_the_person_and_a_lost_role_costs_nobody_their_sign_in() {
    let gateway = gateway(r#""roles": ["admin"]"#).await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    assert_eq!(call(&client, &tokens).await.status(), 502);

    change(&gateway, &tokens, |person| person.roles = vec!["member".to_owned()]).await;
    gateway.clock.advance(6);
    let refused = call(&client, &tokens).await;
    assert!(!refused.headers().contains_key("www-authenticate"), "no token would help");
    let body = oauth_error(refused, 403, "access_denied").await;
    assert!(body["error_description"].as_str().unwrap().contains("roles"), "{body}");
    let fields = [
        ("client_id", "files"),
        ("client_secret", "the secret of files"),
        ("token", tokens["access_token"].as_str().unwrap()),
    ];
    let introspect = async || -> Value {
        post_form(&client.http, &gateway.url("/oauth/introspect"), &fields).await.json().await.unwrap()
    };
    assert_eq!(introspect().await["active"], false);
    // The grant is kept: a refresh token is not lost over a rule.
    let next: Value = client.refresh(tokens["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
    oauth_error(call(&client, &next).await, 403, "access_denied").await;

    change(&gateway, &tokens, |person| person.roles = vec!["admin".to_owned()]).await;
    assert_eq!(call(&client, &next).await.status(), 502, "whoever is let in again need not wait");
    assert_eq!(introspect().await["active"], true);
}

// WOS-13
#[rstest]
#[case(r#""emailDomains": ["example.com"]"#, false)]
#[case(r#""emails": ["ada@example.com"]"#, false)]
#[case(r#""emailVerified": true"#, false)]
#[case(r#""emailDomains": ["example.com"], "emailVerified": false"#, true)]
#[tokio::test]
async fn an_address_counts_only_when_it_is_verified_unless_the_policy_says_otherwise(
    #[case] access: &'static str,
    #[case] passes: bool,
) {
    let gateway = gateway(access).await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    change(&gateway, &tokens, |person| person.email_verified = false).await;
    gateway.clock.advance(6);
    let response = call(&client, &tokens).await;
    if passes {
        assert_eq!(response.status(), 502);
    } else {
        let body = oauth_error(response, 403, "access_denied").await;
        let text = body["error_description"].as_str().unwrap();
        assert!(text.contains("verified"), "{text}");
    }
}

// WOS-13
#[tokio::test]
async fn a_route_can_be_for_certain_clients_only() {
    let gateway = gateway(r#""clients": ["https://app.example.com/client.json"]"#).await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("applications"), "{}", page.text);
    assert_eq!(denials(&gateway).await, ["access_client"]);
}

// WOS-13, STORE-6
#[tokio::test]
async fn with_the_store_away_the_rules_go_by_the_person_as_last_known_for_a_bounded_time() {
    let gateway = gateway(r#""roles": ["admin"]"#).await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    assert_eq!(call(&client, &tokens).await.status(), 502);
    let other = client.connect("two").await;
    gateway.assembly.store.close().await;
    gateway.clock.advance(60);
    assert_eq!(call(&client, &tokens).await.status(), 502);
    // The same person, through the other route's token.
    assert_eq!(client.call("two", other["access_token"].as_str().unwrap()).await.status(), 502);
}

// WOS-13, OPS-11
#[tokio::test]
async fn passing_without_a_page_is_no_way_round_the_rules() {
    let gateway = TestGateway::start_with(Options {
        access: Some(r#""roles": ["owner"]"#),
        auto_approve: true,
        ..Options::default()
    })
    .await;
    let client = TestClient::register(&gateway).await;
    let answer = Browser::new().get(&client.authorize_url("one", &[])).await;
    assert_eq!((answer.param("error").as_deref(), answer.param("code")), (Some("access_denied"), None));
    assert_eq!(denials(&gateway).await, ["access_role"]);
}
