//! Answers that say nothing of what exists, are kept by nobody, and come in the right shape (SEC-7, LIM-4).

use reqwest::{Client, Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::browser::client as http;
use crate::support::flow::{REDIRECT, TestClient, VERIFIER, post_form};
use crate::support::gateway::{Options, TestGateway};

const FORM: &str = "application/x-www-form-urlencoded";
const SERVER: &str = r#""resourceServers": [{ "id": "rs", "secret": "secret-of-the-resource-server" }]"#;

async fn gateway() -> TestGateway {
    TestGateway::start_with(Options { gateway: SERVER.to_owned(), ..Options::default() }).await
}

/// All that an answer says, but for the reference and the time.
async fn said(response: Response) -> String {
    let reference = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = response.status();
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let text = response.text().await.unwrap().replace(&reference, "REF");
    format!("{status}\n{}\n\n{text}", headers.join("\n"))
}

// SEC-7
#[rstest]
#[case::token("/oauth/token")]
#[case::revocation("/oauth/revoke")]
#[case::introspection("/oauth/introspect")]
#[tokio::test]
async fn an_unknown_client_and_a_wrong_secret_are_alike(#[case] path: &str) {
    let gateway = gateway().await;
    let body = json!({ "redirect_uris": [REDIRECT] });
    let known = if path.ends_with("introspect") {
        "rs".to_owned()
    } else {
        TestClient::register_with(&gateway, &body).await.id
    };
    let public = TestClient::register(&gateway).await.id;
    let url = gateway.url(path);
    let basic = async |id: &str| {
        let request = http().post(&url).basic_auth(id, Some("wrong")).header("content-type", FORM);
        said(request.body("grant_type=refresh_token&refresh_token=x&token=x").send().await.unwrap()).await
    };
    let post = async |id: &str, secret: &[(&str, &str)]| {
        let fields = [("client_id", id), ("grant_type", "refresh_token"), ("refresh_token", "x"), ("token", "x")];
        said(post_form(&http(), &url, &[&fields, secret].concat()).await).await
    };
    let unknown = basic("dcr_unknown").await;
    assert!(unknown.starts_with("401") && unknown.contains("invalid_client"), "{unknown}");
    assert!(unknown.contains("www-authenticate: Basic") && unknown.contains("cache-control: no-store"), "{unknown}");
    assert_eq!(basic(&known).await, unknown);
    assert_eq!(basic(&public).await, unknown, "a client without a secret");
    let wrong = [("client_secret", "wrong")];
    let unknown = post("dcr_unknown", &wrong).await;
    assert!(unknown.starts_with("401") && unknown.contains("invalid_client"), "{unknown}");
    assert_eq!(post(&known, &wrong).await, unknown);
    assert_eq!(post(&known, &[]).await, post("dcr_unknown", &[]).await, "a secret left out");
    let jwt = |id: &str| {
        let part = |value: &Value| doorward::crypto::base64url(value.to_string().as_bytes());
        format!("{}.{}.c2ln", part(&json!({ "alg": "ES256" })), part(&json!({ "iss": id, "sub": id })))
    };
    let assertion = async |id: &str| {
        let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        post(id, &[kind, ("client_assertion", &jwt(id))]).await
    };
    assert_eq!(assertion(&known).await, assertion("dcr_unknown").await);
}

// SEC-7, CODE-5, REFR-9
#[tokio::test]
async fn a_code_or_token_of_somebody_else_is_like_one_of_nobody() {
    let gateway = gateway().await;
    let owner = TestClient::register(&gateway).await;
    let other = TestClient::register(&gateway).await;
    let code = owner.code("one").await;
    let tokens = owner.connect("two").await;
    let redeem = async |code: &str| {
        let fields = [("grant_type", "authorization_code"), ("code", code), ("code_verifier", VERIFIER)];
        said(other.token(&fields).await).await
    };
    assert_eq!(redeem(&code).await, redeem("nobodys").await);
    let token = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(said(other.refresh(token).await).await, said(other.refresh("rt_nobodys").await).await);
    let revoke = async |token: &str| {
        let fields = [("client_id", other.id.as_str()), ("token", token)];
        said(post_form(&http(), &gateway.url("/oauth/revoke"), &fields).await).await
    };
    assert_eq!(revoke(token).await, revoke("rt_nobodys").await);
    assert_eq!(owner.redeem(&code).await.status(), StatusCode::OK, "nothing of it did any harm");
    assert_eq!(owner.refresh(token).await.status(), StatusCode::OK);
}

// SEC-7, DCR-14, CONS-16
#[tokio::test]
async fn a_registration_or_sign_in_of_somebody_else_is_like_one_of_nobody() {
    let gateway = gateway().await;
    let owner = TestClient::register(&gateway).await;
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let ask = async |id: &str| {
            let url = gateway.url(&format!("/oauth/register/{id}"));
            said(http().request(method.clone(), url).bearer_auth("rat_wrong").json(&body).send().await.unwrap()).await
        };
        assert_eq!(ask(&owner.id).await, ask("dcr_unknown").await, "{method}");
    }
    let browser = crate::support::browser::Browser::new();
    let page = owner.consent_page(&browser, &owner.authorize_url("one", &[]), "admin").await;
    let visit = async |transaction: &str| {
        let url = gateway.url(&format!("/oauth/consent?transaction={transaction}"));
        said(http().get(url).send().await.unwrap()).await
    };
    assert_eq!(visit(&page.field("transaction")).await, visit("tx_unknown").await);
}

// CODE-1, CONS-10, CHAL-1, SEC-7: every path of the URL table but the documents that may be kept.
#[tokio::test]
async fn nothing_but_discovery_may_be_kept_by_anyone() {
    let gateway = gateway().await;
    let paths = [
        "/",
        "/authorize",
        "/token",
        "/register",
        "/oauth/authorize",
        "/oauth/authorize/mcp/one",
        "/oauth/authorize/mcp/none",
        "/oauth/callback",
        "/oauth/consent",
        "/oauth/setup",
        "/oauth/logout",
        "/oauth/dev-login",
        "/oauth/token",
        "/oauth/revoke",
        "/oauth/introspect",
        "/oauth/register",
        "/oauth/register/dcr_1",
        "/oauth/none",
        "/mcp/one",
        "/mcp/none",
        "/favicon.ico",
    ];
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let request = http().request(method.clone(), gateway.url(path)).header("content-type", FORM);
            let response = request.body("grant_type=refresh_token&client_id=x&refresh_token=x").send().await.unwrap();
            let control = response.headers().get("cache-control").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(control.as_deref(), Some("no-store"), "{method} {path}: {}", response.status());
            assert!(response.status().as_u16() < 500, "{method} {path}: {}", response.status());
        }
    }
}

async fn post(http: &Client, url: &str, kind: &str, length: usize) -> Response {
    let body = format!("a={}", "x".repeat(length - 2));
    http.post(url).header("content-type", kind).body(body).send().await.unwrap()
}

// LIM-4, DCR-12
#[tokio::test]
async fn a_body_of_64_kib_is_read_and_a_larger_one_refused_in_the_shape_of_the_endpoint() {
    let gateway = gateway().await;
    let http = http();
    for (path, kind, status, error) in [
        ("/oauth/token", FORM, 413, Some("invalid_request")),
        ("/token", FORM, 413, Some("invalid_request")),
        ("/oauth/revoke", FORM, 413, Some("invalid_request")),
        ("/oauth/introspect", FORM, 413, Some("invalid_request")),
        ("/oauth/register", "application/json", 400, Some("invalid_client_metadata")),
        ("/oauth/authorize", FORM, 413, None),
        ("/oauth/consent", FORM, 413, None),
        ("/oauth/logout", FORM, 413, None),
        ("/oauth/dev-login", FORM, 413, None),
    ] {
        let url = gateway.url(path);
        let large = post(&http, &url, kind, 64 * 1024 + 1).await;
        assert_eq!(large.status(), status, "{path}");
        let shape = large.headers()["content-type"].to_str().unwrap().to_owned();
        match error {
            Some(error) => {
                let body: Value = large.json().await.unwrap();
                assert_eq!((shape.as_str(), &body["error"]), ("application/json", &json!(error)), "{path}");
            }
            None => assert!(shape.starts_with("text/html"), "{path}: {shape}"),
        }
        if status == 413 {
            assert_ne!(post(&http, &url, kind, 64 * 1024).await.status(), 413, "{path}");
        }
    }
}

// LIM-4
#[tokio::test]
async fn a_long_address_is_refused_with_a_page_or_json() {
    let gateway = gateway().await;
    let address = |length: usize| {
        let path = "/oauth/authorize?x=";
        gateway.url(&format!("{path}{}", "x".repeat(length - path.len())))
    };
    let get =
        async |length: usize, accept: &str| http().get(address(length)).header("accept", accept).send().await.unwrap();
    assert_eq!(get(16 * 1024, "text/html").await.status(), StatusCode::BAD_REQUEST, "it names no client");
    let page = get(16 * 1024 + 1, "text/html,*/*").await;
    assert_eq!(page.status(), StatusCode::URI_TOO_LONG);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let plain = get(16 * 1024 + 1, "application/json").await;
    assert_eq!(
        (plain.status(), &plain.headers()["cache-control"]),
        (StatusCode::URI_TOO_LONG, &"no-store".parse().unwrap())
    );
    assert_eq!(plain.json::<Value>().await.unwrap()["error"], "uri_too_long");
}

// LIM-4
#[tokio::test]
async fn a_head_beyond_64_kib_is_refused_and_the_gateway_goes_on() {
    let gateway = gateway().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(80 * 1024));
    // The gateway may have answered and gone before all of it is sent.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(http().get(gateway.url("/livez")).send().await.unwrap().status(), StatusCode::OK);
}
