//! What real clients send, all the way: register → authorize → consent → token → refresh → call. Where each of
//! these comes from is said in `tests/fixtures/README.md`.

use base64::Engine as _;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::browser::{Browser, client as http};
use crate::support::flow::{TestClient, VERIFIER, post_form};
use crate::support::gateway::{Options, TestGateway};

/// How a client names the route in `resource`.
#[derive(Clone, Copy)]
enum Resource {
    Exact,
    WithSlash,
    Origin,
    Absent,
}

impl Resource {
    fn parameter(self, gateway: &TestGateway) -> String {
        match self {
            Self::Exact => gateway.resource("one"),
            Self::WithSlash => format!("{}/", gateway.resource("one")),
            Self::Origin => gateway.origin.clone(),
            Self::Absent => String::new(),
        }
    }
}

macro_rules! registration {
    ($name:literal) => {
        include_str!(concat!("../fixtures/registration/", $name, ".json"))
    };
}

macro_rules! known_document {
    ($name:literal) => {
        include_str!(concat!("../../src/outbound/known_clients/", $name, ".json"))
    };
}

async fn start(options: &str) -> TestGateway {
    // Some clients name no resource, or the origin: a gateway with two routes needs to be told which is meant.
    let gateway = format!(r#""defaultRoute": "/mcp/one", {options} "accessTokenTtlSeconds": 600"#);
    TestGateway::start_with(Options { gateway, ..Options::default() }).await
}

/// The request for a token in the client's own way, `client_secret_basic` included.
async fn ask(client: &TestClient<'_>, method: &str, fields: &[(&str, &str)]) -> Value {
    let url = client.gateway.url("/oauth/token");
    let response = if method == "client_secret_basic" {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&client.id), encode(client.secret.as_deref().unwrap()));
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = client.http.post(&url).header("authorization", basic);
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap()
    } else {
        let mut all = vec![("client_id", client.id.as_str())];
        all.extend(client.secret.as_deref().map(|secret| ("client_secret", secret)));
        all.extend_from_slice(fields);
        post_form(&client.http, &url, &all).await
    };
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("no-store"));
    let answer: Value = response.json().await.unwrap();
    assert!(answer.as_object().unwrap().values().all(|value| !value.is_null()), "{answer}");
    answer
}

/// From the authorization request to a call with a refreshed token.
async fn journey(client: &TestClient<'_>, scope: &str, resource: Resource, method: &str) {
    let gateway = client.gateway;
    let resource = resource.parameter(gateway);
    let browser = Browser::new();
    let changes = [("resource", resource.as_str()), ("scope", scope), ("state", "gXVXo0/iMD8WMolDHKxSTg==")];
    let page = client.consent_page(&browser, &client.authorize_url("one", &changes), "admin").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let back = client.decide(&browser, &page, "approve").await;
    assert!(back.redirect().starts_with(&client.redirect_uri), "{}", back.redirect());
    assert_eq!(back.param("state").as_deref(), Some("gXVXo0/iMD8WMolDHKxSTg=="));
    assert_eq!(back.param("iss").as_deref(), Some(gateway.origin.as_str()));

    let code = back.param("code").unwrap();
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", &client.redirect_uri),
    ];
    fields.extend((!resource.is_empty()).then_some(("resource", resource.as_str())));
    let tokens = ask(client, method, &fields).await;
    assert_eq!(tokens["scope"], "mcp:tools");

    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    fields.extend((!resource.is_empty()).then_some(("resource", resource.as_str())));
    let refreshed = ask(client, method, &fields).await;
    assert_ne!(refreshed["refresh_token"], tokens["refresh_token"]);
    // The upstream of this gateway does not exist: the token was accepted, the call went on.
    let access_token = refreshed["access_token"].as_str().unwrap();
    assert_eq!(client.call("one", access_token).await.status(), StatusCode::BAD_GATEWAY);
}

// SCOPE-7, DCR-1, DCR-2, DCR-4, DCR-5, DCR-6, DCR-7, AUTHZ-3, AUTHZ-4, AUTHZ-8, AUTHZ-10, AUTHZ-13: the redirect is the
// one used at authorize, where a loopback port may differ from the registered one.
#[rstest]
#[case::claude(registration!("claude"), "https://claude.ai/api/mcp/auth_callback", "mcp:tools", Resource::Exact)]
#[case::claude_code(registration!("claude-code"), "http://localhost:54460/callback", "mcp:tools offline_access", Resource::Exact)]
#[case::claude_code_without_scope(registration!("claude-code-secret"), "http://localhost:61234/callback", "", Resource::Origin)]
#[case::cursor(registration!("cursor"), "cursor://anysphere.cursor-mcp/oauth/callback", "mcp:tools", Resource::Exact)]
#[case::cursor_on_the_web(registration!("cursor"), "https://www.cursor.com/agents/mcp/oauth/callback", "", Resource::Exact)]
#[case::cursor_on_loopback(registration!("cursor"), "http://localhost:8787/callback", "mcp:tools", Resource::Exact)]
#[case::vscode(registration!("vscode"), "http://127.0.0.1:33418/", "mcp:tools", Resource::Exact)]
#[case::vscode_on_a_random_port(registration!("vscode"), "http://127.0.0.1:49800/", "mcp:tools", Resource::Exact)]
#[case::vscode_on_the_web(registration!("vscode"), "https://vscode.dev/redirect", "mcp:tools", Resource::Exact)]
#[case::copilot_cli_on_another_port(registration!("copilot-cli"), "http://127.0.0.1:60005/", "mcp:tools", Resource::Exact)]
#[case::chatgpt(registration!("chatgpt"), "https://chatgpt.com/connector_platform_oauth_redirect", "openid email profile tools.read mcp:tools", Resource::Exact)]
#[case::codex(registration!("codex"), "http://127.0.0.1:39927/callback", "mcp:tools offline_access", Resource::WithSlash)]
#[case::gemini_cli(registration!("gemini-cli"), "http://localhost:7777/oauth/callback", "", Resource::WithSlash)]
#[case::inspector(registration!("inspector"), "http://127.0.0.1:6276/oauth/callback", "mcp:tools offline_access", Resource::Exact)]
#[case::mcp_remote_on_another_port(registration!("mcp-remote"), "http://localhost:3334/oauth/callback", "mcp:tools offline_access", Resource::Exact)]
#[case::python_mcp(registration!("python-mcp"), "http://localhost:3030/callback", "mcp:tools offline_access", Resource::Exact)]
#[case::rmcp(registration!("rmcp"), "http://127.0.0.1:8080/callback", "mcp:tools offline_access", Resource::Absent)]
#[tokio::test]
async fn a_client_that_registers_itself_comes_to_a_call(
    #[case] body: &str,
    #[case] redirect: &str,
    #[case] scope: &str,
    #[case] resource: Resource,
) {
    let gateway = start("").await;
    let http = http();
    let request = http.post(gateway.url("/oauth/register")).header("content-type", "application/json");
    let response = request.body(body.to_owned()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let registered: Value = response.json().await.unwrap();
    assert!(registered.as_object().unwrap().values().all(|value| !value.is_null()), "{registered}");
    let client = TestClient {
        gateway: &gateway,
        http,
        id: registered["client_id"].as_str().unwrap().to_owned(),
        redirect_uri: redirect.to_owned(),
        secret: registered["client_secret"].as_str().map(str::to_owned),
    };
    journey(&client, scope, resource, registered["token_endpoint_auth_method"].as_str().unwrap()).await;
}

// SCOPE-7, CIMD-5, CIMD-8, CIMD-11, CIMD-12, AUTHZ-3
#[rstest]
#[case::claude(known_document!("claude"), "https://claude.ai/api/mcp/auth_callback", "mcp:tools")]
#[case::claude_code(known_document!("claude-code"), "http://localhost:64096/callback", "mcp:tools offline_access")]
#[case::codex(known_document!("codex"), "http://127.0.0.1:38679/callback", "mcp:tools offline_access")]
#[case::vscode(known_document!("vscode"), "http://127.0.0.1:51000/", "mcp:tools")]
#[case::vscode_on_the_web(known_document!("vscode"), "https://vscode.dev/redirect", "mcp:tools")]
#[case::opencode(known_document!("opencode"), "http://127.0.0.1:51675/callback", "")]
#[tokio::test]
async fn a_client_known_by_its_document_comes_to_a_call(
    #[case] document: &str,
    #[case] redirect: &str,
    #[case] scope: &str,
) {
    let document: Value = serde_json::from_str(document).unwrap();
    let id = document["client_id"].as_str().unwrap();
    let gateway = start(&format!(r#""cimdDocuments": {},"#, json!({ id: document }))).await;
    let client = TestClient {
        gateway: &gateway,
        http: http(),
        id: id.to_owned(),
        redirect_uri: redirect.to_owned(),
        secret: None,
    };
    journey(&client, scope, Resource::Exact, "none").await;
}
