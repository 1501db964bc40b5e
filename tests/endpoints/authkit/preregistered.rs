//! `mode: "preregistered"`: the gateway is one application of AuthKit's, and the authorization server of its clients.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fake_authkit::{APPLICATION, APPLICATION_SECRET, Behaviour, FakeAuthKit, USER, patch};
use crate::support::browser::{Browser, Page};
use crate::support::flow::{REDIRECT, TestClient};
use crate::support::gateway::{Options, TestGateway};

struct World {
    authkit: FakeAuthKit,
    gateway: TestGateway,
}

impl World {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// `more`: options of the policy.
    async fn with(more: Value) -> Self {
        let authkit = FakeAuthKit::start().await;
        let mut options = json!({ "authkitDomain": authkit.base(), "mode": "preregistered", "clientId": APPLICATION });
        patch(&mut options, Some(&more));
        let policies = json!({ "policies": [{
            "name": "login", "policyType": "mcp-authkit-inbound", "handler": { "options": options },
        }] });
        let gateway =
            TestGateway::start_with(Options { policies: Some(policies.to_string()), ..Options::default() }).await;
        Self { authkit, gateway }
    }

    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.authkit.behave(change);
    }
}

/// From the client's authorization URL to what the form *continue* leads to.
async fn leave(client: &TestClient<'_>, browser: &Browser) -> Page {
    let start = browser.get(&client.authorize_url("one", &[])).await;
    let transaction = start.field("transaction");
    let consent = client.gateway.url("/oauth/consent");
    browser.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await
}

/// The whole browser part, approved: a code of the gateway's.
async fn code(client: &TestClient<'_>) -> String {
    let browser = Browser::new();
    let left = leave(client, &browser).await;
    let authkit = browser.get(left.redirect()).await;
    let back = browser.get(authkit.redirect()).await;
    let consent = browser.get(back.redirect()).await;
    assert!(consent.text.contains("ada@example.com"), "{}", consent.text);
    let approved = client.decide(&browser, &consent, "approve").await;
    assert_eq!(approved.param("iss").as_deref(), Some(client.gateway.origin.as_str()));
    assert!(approved.redirect().starts_with(REDIRECT));
    approved.param("code").expect("a code")
}

// DISC-3, DISC-6, DISC-10
#[tokio::test]
async fn metadata_name_the_gateway_and_the_resource_what_the_policy_says() {
    let world = World::with(json!({ "resourceName": "Acme tools", "docsUrl": "https://docs.example.com/mcp" })).await;
    let http = crate::support::browser::client();
    let get =
        async |path: &str| -> Value { http.get(world.gateway.url(path)).send().await.unwrap().json().await.unwrap() };
    let resource = get("/.well-known/oauth-protected-resource/mcp/one").await;
    assert_eq!(resource["authorization_servers"], json!([world.gateway.origin]));
    assert_eq!(resource["resource_name"], "Acme tools");
    assert_eq!(resource["resource_documentation"], "https://docs.example.com/mcp");
    let server = get("/.well-known/oauth-authorization-server").await;
    assert_eq!(server["issuer"], world.gateway.origin);
    assert_eq!(server["registration_endpoint"], world.gateway.url("/oauth/register"));
}

// IDP-2, IDP-3, IDP-9, IDP-11
#[rstest]
#[case::public(json!({}), None)]
#[case::with_a_secret(json!({ "apiKey": APPLICATION_SECRET }), Some(APPLICATION_SECRET))]
#[tokio::test]
async fn a_client_registers_here_signs_in_at_authkit_and_gets_tokens_of_the_gateway(
    #[case] more: Value,
    #[case] secret: Option<&str>,
) {
    let world = World::with(more).await;
    let client = TestClient::register(&world.gateway).await;
    assert_ne!(client.id, APPLICATION);
    let tokens: Value = client.redeem(&code(&client).await).await.json().await.unwrap();
    let called = client.call("one", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(called.status(), StatusCode::BAD_GATEWAY, "let in, and there is no server behind this route");
    assert_eq!(client.refresh(tokens["refresh_token"].as_str().unwrap()).await.status(), StatusCode::OK);

    let requests = world.authkit.token_requests();
    let [request] = requests.as_slice() else { panic!("{} token requests", requests.len()) };
    assert_eq!(request["client_id"], APPLICATION);
    assert_eq!(request["redirect_uri"], world.gateway.url("/oauth/callback"));
    assert!(request.contains_key("code_verifier"));
    assert_eq!(request.get("client_secret").map(String::as_str), secret);
}

// IDP-7
#[tokio::test]
async fn nothing_of_the_client_s_request_reaches_authkit() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let left = leave(&client, &Browser::new()).await;
    let sent = left.redirect();
    assert!(sent.starts_with(&format!("{}/oauth2/authorize?", world.authkit.base())), "{sent}");
    for foreign in ["resource", "mcp", "st-1", client.id.as_str()] {
        assert!(!sent.contains(foreign), "{sent}");
    }
}

// CHAL-2: AuthKit's tokens are for the gateway as a client, and open nothing
#[tokio::test]
async fn a_token_of_authkit_opens_no_route() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let token = world.authkit.sign(&world.authkit.claims(&world.gateway.resource("one")));
    assert_eq!(client.call("one", &token).await.status(), StatusCode::UNAUTHORIZED);
}

// WOS-10: what AuthKit's ID token does not say of the organisation stands in its access token
#[tokio::test]
async fn the_organisation_and_roles_come_from_the_access_token() {
    let world = World::new().await;
    world.behave(|how| how.claims = Some(json!({ "roles": ["admin"], "permissions": ["tools:use"] })));
    let client = TestClient::register(&world.gateway).await;
    code(&client).await;
    let id = doorward::domain::SubjectId::derive(&world.authkit.base(), USER);
    let person = world.gateway.assembly.store.person(&id).await.unwrap().unwrap();
    assert_eq!(person.organization_id.as_deref(), Some("org_01ACME"));
    assert_eq!((person.roles, person.permissions), (vec!["admin".to_owned()], vec!["tools:use".to_owned()]));
    assert_eq!(person.name.as_deref(), Some("Ada Byron"));
}

// IDP-3
#[rstest]
#[case::nonce(json!({ "nonce": "another" }))]
#[case::audience(json!({ "aud": "client_01OTHER" }))]
#[case::issuer(json!({ "iss": "https://other.authkit.app" }))]
#[tokio::test]
async fn an_id_token_that_does_not_prove_who_signed_in_lets_nobody_in(#[case] claims: Value) {
    let world = World::new().await;
    world.behave(|how| how.id_token = Some(claims));
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let left = leave(&client, &browser).await;
    let authkit = browser.get(left.redirect()).await;
    let back = browser.get(authkit.redirect()).await;
    assert_eq!(back.status, StatusCode::BAD_GATEWAY);
    assert!(back.text.contains("could not be verified"), "{}", back.text);
}

// WOS-4: AuthKit shows these on a page of its own, from which nobody comes back
#[tokio::test]
async fn an_application_that_authkit_does_not_know_is_named_before_anybody_is_sent_there() {
    let world = World::new().await;
    world.behave(|how| how.application_deleted = true);
    let client = TestClient::register(&world.gateway).await;
    let page = leave(&client, &Browser::new()).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text.contains("application_not_found") && page.text.contains(APPLICATION), "{}", page.text);

    world.behave(|how| {
        how.application_deleted = false;
        how.redirect_uri_unlisted = true;
    });
    let page = leave(&client, &Browser::new()).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text.contains(&world.gateway.url("/oauth/callback")), "{}", page.text);

    world.behave(|how| how.redirect_uri_unlisted = false);
    leave(&client, &Browser::new()).await.redirect();
    let asked = world.authkit.fetches("authorize");
    leave(&client, &Browser::new()).await.redirect();
    assert_eq!(world.authkit.fetches("authorize"), asked, "asked once, until it is known to be good");
}
