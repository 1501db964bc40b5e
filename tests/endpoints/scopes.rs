//! Scopes: what a route asks for, what a request is granted, and asking for more later.

use rstest::rstest;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::support::browser::{Browser, client as http};
use crate::support::flow::{TestClient, oauth_error};
use crate::support::gateway::{Options, TestGateway};

const SCOPES: &str = r#""scopes": { "mcp:tools": [], "files:write": [], "files:all": ["files:write", "mcp:tools"] }"#;

/// Calls of `/mcp/one` need `mcp:tools`, those of `/mcp/two` `files:write` as well.
async fn gateway() -> TestGateway {
    TestGateway::start_with(Options {
        gateway: SCOPES.to_owned(),
        required_scopes: vec![("two", &["files:write"])],
        ..Options::default()
    })
    .await
}

/// The tokens of a journey whose request asks for `scope`.
async fn connect(client: &TestClient<'_>, slug: &str, scope: &str) -> Value {
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url(slug, &[("scope", scope)]), "admin").await;
    let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
    client.redeem(&code).await.json().await.unwrap()
}

async fn status(client: &TestClient<'_>, slug: &str, tokens: &Value) -> u16 {
    client.call(slug, tokens["access_token"].as_str().unwrap()).await.status().as_u16()
}

async fn document(gateway: &TestGateway, path: &str) -> Value {
    http().get(gateway.url(path)).send().await.unwrap().json().await.unwrap()
}

/// The `scope` of a challenge, which must stand there once.
fn asked_for(response: &reqwest::Response) -> String {
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(challenge.matches("scope=\"").count(), 1, "{challenge}");
    assert!(challenge.contains("resource_metadata=\""), "{challenge}");
    challenge.split("scope=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// Old and new set of every elevation, oldest first.
async fn elevations(gateway: &TestGateway) -> Vec<String> {
    let url = format!("sqlite://{}?mode=ro", gateway.folder().join("test.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sql = "SELECT reason FROM audit WHERE event = 'mcp_auth_scope_elevated' AND grant_id IS NOT NULL \
               AND subject_id IS NOT NULL AND client_id IS NOT NULL AND route = '/mcp/two' ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(&mut database).await.unwrap()
}

// SCOPE-1, SCOPE-2, CHAL-12
#[tokio::test]
async fn a_route_names_what_its_calls_need_and_the_server_all_there_is() {
    let gateway = gateway().await;
    for (slug, needed) in [("one", json!(["mcp:tools"])), ("two", json!(["files:write", "mcp:tools"]))] {
        let resource = document(&gateway, &format!("/.well-known/oauth-protected-resource/mcp/{slug}")).await;
        assert_eq!(resource["scopes_supported"], needed);
        let challenged = http().post(gateway.resource(slug)).body("{}").send().await.unwrap();
        let listed: Vec<&str> = needed.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!((challenged.status().as_u16(), asked_for(&challenged)), (401, listed.join(" ")));
    }
    let server = document(&gateway, "/.well-known/oauth-authorization-server").await;
    assert_eq!(server["scopes_supported"], json!(["files:all", "files:write", "mcp:tools", "offline_access"]));
}

// SCOPE-3, SCOPE-4
#[rstest]
#[case::nothing("", "files:write mcp:tools")]
#[case::out_of_habit("openid profile email offline_access", "files:write mcp:tools")]
#[case::some_of_it("mcp:tools offline_access", "mcp:tools")]
#[case::with_unknown_ones("files:write search everything", "files:write")]
#[tokio::test]
async fn a_request_is_granted_what_is_known_of_it_and_by_default_what_the_route_needs(
    #[case] asked: &str,
    #[case] granted: &str,
) {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let tokens = connect(&client, "two", asked).await;
    assert_eq!(tokens["scope"], granted);
    let claims = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(claims).unwrap()).unwrap();
    assert_eq!(claims["scope"], granted);
}

// SCOPE-3
#[tokio::test]
async fn a_request_of_unknown_scopes_alone_is_refused() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    for scope in ["everything", "openid repo:write"] {
        let url = client.authorize_url("two", &[("scope", scope)]);
        let browser = Browser::new();
        let page = browser.get(&url).await;
        let error = page
            .location
            .as_deref()
            .map_or_else(|| page.text.contains("invalid_scope"), |location| location.contains("error=invalid_scope"));
        assert!(error, "{scope}: {} {:?} {}", page.status, page.location, page.text);
    }
}

// SCOPE-5
#[tokio::test]
async fn a_broad_scope_opens_what_it_implies_and_a_narrow_one_nothing_else() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    for slug in ["one", "two"] {
        let broad = connect(&client, slug, "files:all").await;
        assert_eq!((broad["scope"].as_str(), status(&client, slug, &broad).await), (Some("files:all"), 502), "{slug}");
        let narrow = connect(&client, slug, "files:write").await;
        let refused = client.call(slug, narrow["access_token"].as_str().unwrap()).await;
        let needed = if slug == "one" { "mcp:tools" } else { "files:write mcp:tools" };
        assert_eq!(asked_for(&refused), needed);
        oauth_error(refused, 403, "insufficient_scope").await;
    }
}

// SCOPE-6, SCOPE-8, CHAL-7
#[tokio::test]
async fn asking_for_the_union_after_a_403_opens_the_call_and_leaves_earlier_grants_as_they_are() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let elsewhere = client.connect("one").await;
    let before = connect(&client, "two", "mcp:tools").await;
    let refused = client.call("two", before["access_token"].as_str().unwrap()).await;
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    let asked = asked_for(&refused);
    assert_eq!(asked, "files:write mcp:tools");
    oauth_error(refused, 403, "insufficient_scope").await;
    assert!(elevations(&gateway).await.is_empty());

    let union = format!("{} {asked}", before["scope"].as_str().unwrap());
    let after = connect(&client, "two", &union).await;
    assert_eq!(after["scope"], asked.as_str());
    assert_eq!(status(&client, "two", &after).await, 502, "the call passes");
    assert_eq!(elevations(&gateway).await, ["from `mcp:tools` to `files:write mcp:tools`"]);

    assert_eq!(status(&client, "one", &elsewhere).await, 502);
    for (slug, tokens) in [("one", &elsewhere), ("two", &before)] {
        let next: Value = client.refresh(tokens["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
        assert_eq!(next["scope"], "mcp:tools", "{slug}: what was granted then");
    }
}

// SCOPE-8
#[tokio::test]
async fn only_a_wider_set_than_the_live_one_of_the_same_person_client_and_route_is_an_elevation() {
    let gateway = gateway().await;
    let (client, other) = (TestClient::register(&gateway).await, TestClient::register(&gateway).await);
    connect(&client, "two", "files:write mcp:tools").await;
    connect(&client, "two", "files:write").await;
    connect(&other, "two", "files:all").await;
    connect(&client, "one", "files:all").await;
    // What is implied was there before.
    connect(&other, "two", "files:write mcp:tools").await;
    assert!(elevations(&gateway).await.is_empty());
    connect(&client, "two", "files:all").await;
    assert_eq!(elevations(&gateway).await, ["from `files:write mcp:tools` to `files:all`"]);
    gateway.clock.advance(31_536_001);
    connect(&other, "two", "mcp:tools").await;
    connect(&client, "two", "mcp:tools").await;
    assert_eq!(elevations(&gateway).await.len(), 1, "what has ended is nothing to go beyond");
}

// SCOPE-7
#[tokio::test]
async fn a_client_that_asks_for_everything_advertised_completes() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp/two"] {
        let listed = document(&gateway, path).await["scopes_supported"].clone();
        let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let tokens = connect(&client, "two", &listed.join(" ")).await;
        assert_eq!(tokens["scope"], listed.join(" ").replace(" offline_access", ""));
        assert_eq!(status(&client, "two", &tokens).await, 502, "{path}");
    }
}
