//! Introspection (RFC 7662): who may ask, and what they are told.

use base64::Engine as _;
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::browser::{Browser, client as http};
use crate::support::flow::{REDIRECT, TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

/// May ask about `/mcp/one`, and about both routes.
const SERVERS: &str = r#""resourceServers": [
    { "id": "files", "secret": "the secret of files: +/%", "routes": ["one"] },
    { "id": "all", "secret": "the secret of all" }
]"#;
const FILES: (&str, &str) = ("files", "the secret of files: +/%");
const ALL: (&str, &str) = ("all", "the secret of all");

async fn gateway() -> TestGateway {
    TestGateway::start_with(Options { gateway: SERVERS.to_owned(), ..Options::default() }).await
}

async fn ask(url: &str, (id, secret): (&str, &str), token: &str) -> Response {
    post_form(&http(), url, &[("client_id", id), ("client_secret", secret), ("token", token)]).await
}

/// What `caller` is told of `token`.
async fn told(gateway: &TestGateway, caller: (&str, &str), token: &Value) -> Value {
    let response = ask(&gateway.url("/oauth/introspect"), caller, token.as_str().unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.json().await.unwrap()
}

fn inactive() -> Value {
    json!({ "active": false })
}

// REV-7
#[tokio::test]
async fn a_resource_server_learns_what_a_live_token_of_its_route_says() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let claims = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(claims).unwrap()).unwrap();

    let mut expected = claims.clone();
    for (name, value) in [("active", json!(true)), ("token_type", json!("Bearer"))] {
        expected[name] = value;
    }
    let access = told(&gateway, FILES, &tokens["access_token"]).await;
    expected["username"] = access["username"].clone();
    assert_eq!(access, expected);
    assert!(access["username"].as_str().unwrap().contains('@'));
    assert_eq!(access["aud"], gateway.resource("one"));

    // A service that takes whatever is active for an access token of its own must not be misled.
    let refresh = told(&gateway, FILES, &tokens["refresh_token"]).await;
    assert_eq!((&refresh["active"], &refresh["token_type"]), (&json!(true), &json!("refresh_token")));
    assert_eq!((refresh["aud"].as_str(), &refresh["sid"]), (Some(gateway.origin.as_str()), &claims["sid"]));
    assert_eq!((&refresh["scope"], &refresh["client_id"]), (&claims["scope"], &claims["client_id"]));
    let (issued, ends) = (claims["iat"].as_i64().unwrap(), refresh["exp"].as_i64().unwrap());
    assert!((2_592_000..2_592_060).contains(&(ends - issued)), "the idle life of a refresh token: {}", ends - issued);
    assert!(refresh.as_object().unwrap().values().all(|value| !value.is_null()));
}

// REV-7, DISC-13
#[tokio::test]
async fn whatever_is_not_good_for_the_caller_is_inactive_and_nothing_more() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let (one, two) = (client.connect("one").await, client.connect("two").await);
    for kind in ["access_token", "refresh_token"] {
        assert_eq!(told(&gateway, FILES, &two[kind]).await, inactive(), "{kind} of a route that is not its own");
        assert_eq!(told(&gateway, ALL, &two[kind]).await["active"], true, "{kind}");
        let elsewhere = format!("http://127.0.0.1:{}/oauth/introspect", gateway.address.port());
        let foreign: Value = ask(&elsewhere, ALL, one[kind].as_str().unwrap()).await.json().await.unwrap();
        assert_eq!(foreign, inactive(), "{kind} of another origin");
    }
    let forged = format!("{}x", one["access_token"].as_str().unwrap());
    for garbage in ["rt_unknown", "x", "a.b.c", &forged] {
        assert_eq!(told(&gateway, ALL, &json!(garbage)).await, inactive(), "{garbage}");
    }

    let fields = [("client_id", client.id.as_str()), ("token", two["access_token"].as_str().unwrap())];
    assert_eq!(post_form(&client.http, &gateway.url("/oauth/revoke"), &fields).await.status(), 200);
    for kind in ["access_token", "refresh_token"] {
        assert_eq!(told(&gateway, ALL, &two[kind]).await, inactive(), "{kind} of a revoked grant");
    }
    gateway.clock.advance(901);
    assert_eq!(told(&gateway, ALL, &one["access_token"]).await, inactive(), "expired");
    assert_eq!(told(&gateway, ALL, &one["refresh_token"]).await["active"], true);
    gateway.clock.advance(2_592_000);
    assert_eq!(told(&gateway, ALL, &one["refresh_token"]).await, inactive(), "idle for too long");
}

// REV-7, REFR-4, REFR-5
#[tokio::test]
async fn a_refresh_token_that_is_looked_at_was_not_used() {
    let gateway = gateway().await;
    let client = TestClient::register(&gateway).await;
    let first = client.connect("one").await["refresh_token"].clone();
    for _ in 0..3 {
        assert_eq!(told(&gateway, ALL, &first).await["active"], true);
    }
    let second: Value = client.refresh(first.as_str().unwrap()).await.json().await.unwrap();
    let second = second["refresh_token"].clone();
    assert_eq!(told(&gateway, ALL, &second).await["active"], true);
    assert_eq!(told(&gateway, ALL, &first).await["active"], true, "its successor is unused: it still answers");
    let again: Value = client.refresh(first.as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(again["refresh_token"], second);

    let third: Value = client.refresh(second.as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(told(&gateway, ALL, &first).await, inactive());
    let next = client.refresh(third["refresh_token"].as_str().unwrap()).await;
    assert_eq!(next.status(), 200, "asking about a replayed token ends no grant");
}

// REV-7, SEC-7
#[tokio::test]
async fn only_configured_resource_servers_may_ask() {
    let clients = format!(
        r#"{SERVERS}, "clients": [{{ "clientId": "desk", "redirectUris": ["{REDIRECT}"], "clientSecret": "the secret of desk" }}]"#
    );
    let gateway = TestGateway::start_with(Options { gateway: clients, ..Options::default() }).await;
    let url = gateway.url("/oauth/introspect");
    let client = TestClient::register(&gateway).await;
    let token = client.connect("one").await["access_token"].as_str().unwrap().to_owned();

    let mut said = Vec::new();
    for caller in [("files", "wrong"), ("files", ALL.1), ("nobody", ALL.1), ("desk", "the secret of desk"), ("", "")] {
        let response = ask(&url, caller, &token).await;
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
        let body = oauth_error(response, 401, "invalid_client").await;
        said.push(body["error_description"].as_str().unwrap().split(" (reference").next().unwrap().to_owned());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "all of them look alike: {said:?}");
    for fields in [&[("token", token.as_str())][..], &[("token", &token), ("client_id", &client.id)]] {
        oauth_error(post_form(&client.http, &url, fields).await, 401, "invalid_client").await;
    }
    let bearer = client.http.post(&url).bearer_auth(&token).header("content-type", "application/x-www-form-urlencoded");
    oauth_error(bearer.body(format!("token={token}")).send().await.unwrap(), 401, "invalid_client").await;

    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(FILES.0), encode(FILES.1));
    let basic = client
        .http
        .post(&url)
        .header("authorization", format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}&token_type_hint=refresh_token"));
    assert_eq!(basic.send().await.unwrap().json::<Value>().await.unwrap()["active"], true);

    let no_token = post_form(&client.http, &url, &[("client_id", ALL.0), ("client_secret", ALL.1)]).await;
    oauth_error(no_token, 400, "invalid_request").await;
    assert_eq!(client.http.get(&url).send().await.unwrap().status(), 405);
    let preflight = client
        .http
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST");
    assert_eq!(preflight.send().await.unwrap().status(), 200);
    gateway.assembly.store.close().await;
    oauth_error(ask(&url, ALL, &token).await, 503, "temporarily_unavailable").await;
}

// REV-7, DISC-18
#[tokio::test]
async fn without_resource_servers_there_is_no_introspection_and_none_is_advertised() {
    for (gateway, on) in [(TestGateway::start().await, false), (gateway().await, true)] {
        let metadata = http().get(gateway.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
        let metadata: Value = metadata.json().await.unwrap();
        let url = gateway.url("/oauth/introspect");
        assert_eq!(metadata.get("introspection_endpoint"), on.then(|| json!(url)).as_ref());
        let methods = metadata.get("introspection_endpoint_auth_methods_supported");
        assert_eq!(methods, on.then(|| json!(["client_secret_basic", "client_secret_post"])).as_ref());
        assert_eq!(ask(&url, ALL, "x").await.status(), if on { 200 } else { 404 });
    }
}

// REV-7, SCOPE-5
#[tokio::test]
async fn a_token_of_less_scope_than_its_grant_is_described_with_its_own() {
    let gateway = format!(r#""scopes": {{ "mcp:tools": [], "mcp:write": ["mcp:tools"] }}, {SERVERS}"#);
    let gateway = TestGateway::start_with(Options { gateway, ..Options::default() }).await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let url = client.authorize_url("one", &[("scope", "mcp:tools mcp:write")]);
    let page = client.consent_page(&browser, &url, "admin").await;
    let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
        ("scope", "mcp:tools"),
    ];
    let narrow: Value = client.token(&fields).await.json().await.unwrap();
    assert_eq!(told(&gateway, FILES, &tokens["access_token"]).await["scope"], "mcp:tools mcp:write");
    assert_eq!(told(&gateway, FILES, &narrow["access_token"]).await["scope"], "mcp:tools");
}
