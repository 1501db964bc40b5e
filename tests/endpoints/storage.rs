//! What the store gives away (nothing), and that every kind of client works on either database.

use rstest::rstest;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::postgres::Postgres;
use crate::support::browser::{Browser, client as http, param_of};
use crate::support::flow::{REDIRECT, TestClient, VERIFIER, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

// SEC-1, SEC-5, STORE-8
#[tokio::test]
async fn a_dump_of_the_store_yields_no_usable_credential() {
    let gateway = TestGateway::start().await;
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_post" });
    let registered: Value =
        http().post(gateway.url("/oauth/register")).json(&body).send().await.unwrap().json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let client = TestClient {
        gateway: &gateway,
        http: http(),
        id: text(&registered["client_id"]),
        redirect_uri: REDIRECT.to_owned(),
        secret: Some(text(&registered["client_secret"])),
    };
    let browser = Browser::new();
    let transaction = browser.get(&client.authorize_url("one", &[])).await.field("transaction");
    let before_login = browser.cookies.lock().unwrap()["doorward"].clone();
    let consent = gateway.url("/oauth/consent");
    let leave = browser.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await;
    let state = param_of(leave.redirect(), "state").unwrap();
    let back = client.log_in(&browser, leave.redirect(), "admin").await;
    let page = browser.get(back.redirect()).await;
    let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let next: Value = client.refresh(tokens["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
    let cookie = browser.cookies.lock().unwrap()["doorward"].clone();

    let random = [
        text(&registered["client_secret"]),
        text(&registered["registration_access_token"]),
        state,
        before_login,
        cookie,
        code,
        text(&tokens["refresh_token"]),
        text(&next["refresh_token"]),
    ];
    for secret in &random {
        // 256 bits in base64url, behind a prefix or not.
        let bytes = doorward::crypto::base64url_decode(&secret[secret.len() - 43..]);
        assert_eq!(bytes.map(|bytes| bytes.len()), Some(32));
    }
    let secrets =
        random.into_iter().chain([text(&tokens["access_token"]), text(&next["access_token"]), VERIFIER.to_owned()]);
    let mut dump = Vec::new();
    for file in std::fs::read_dir(gateway.folder()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            dump.extend(std::fs::read(path).unwrap());
        }
    }
    assert!(dump.len() > 10_000);
    let found = |text: &str| dump.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(found(&client.id), "the dump is the store's");
    for secret in secrets {
        assert!(!found(&secret), "{}… is in the store", &secret[..6]);
        assert!(!found(&secret[4..]), "{}… is in the store without its prefix", &secret[..6]);
    }

    let url = format!("sqlite://{}?mode=ro", gateway.folder().join("test.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for column in
        ["refresh_tokens.token_hash", "codes.code_hash", "browsers.token_hash", "clients.id_hash", "grants.client_hash"]
    {
        let (table, column) = column.split_once('.').unwrap();
        let sql = sqlx::AssertSqlSafe(format!("SELECT DISTINCT length({column}) FROM {table}"));
        let lengths: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&mut database).await.unwrap();
        assert_eq!(lengths, [32], "{table}.{column}");
    }
}

/// A client that survives the gateway it was made at.
struct Kept {
    id: String,
    secret: Option<String>,
}

impl Kept {
    fn at<'g>(&self, gateway: &'g TestGateway) -> TestClient<'g> {
        TestClient {
            gateway,
            http: http(),
            id: self.id.clone(),
            redirect_uri: REDIRECT.to_owned(),
            secret: self.secret.clone(),
        }
    }
}

// CODE-16, STORE-4, REV-7
#[rstest]
#[tokio::test]
async fn every_kind_of_client_connects_refreshes_and_revokes_on_either_database_also_after_restarts(
    #[values("sqlite", "postgres")] database: &str,
    #[values("none", "client_secret_basic", "static", "cimd")] kind: &str,
) {
    const DOCUMENT: &str = "https://app.example.com/client.json";
    const SECRET: &str = "a-long-enough-secret-value-123456";
    let mut gateway = TestGateway::start_with(Options {
        database_url: (database == "postgres").then(|| Postgres::shared().unwrap().new_database()),
        gateway: format!(
            r#""clients": [{{ "clientId": "desk", "redirectUris": ["{REDIRECT}"], "clientSecret": "{SECRET}" }}],
            "cimdDocuments": {{ "{DOCUMENT}": {{
                "client_id": "{DOCUMENT}", "client_name": "App", "redirect_uris": ["{REDIRECT}"]
            }} }},
            "resourceServers": [{{ "id": "files", "secret": "the secret of files" }}]"#
        ),
        ..Options::default()
    })
    .await;
    let client = match kind {
        "static" => Kept { id: "desk".to_owned(), secret: Some(SECRET.to_owned()) },
        "cimd" => Kept { id: DOCUMENT.to_owned(), secret: None },
        _ => {
            let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": kind });
            let registered = TestClient::register_with(&gateway, &body).await;
            Kept { id: registered.id, secret: registered.secret }
        }
    };
    let code = client.at(&gateway).code("one").await;
    gateway = gateway.restarted().await;
    let tokens: Value = client.at(&gateway).redeem(&code).await.json().await.unwrap();
    gateway = gateway.restarted().await;
    let next = client.at(&gateway).refresh(tokens["refresh_token"].as_str().unwrap()).await;
    let next: Value = next.json().await.unwrap();
    let (access, refresh) = (next["access_token"].as_str().unwrap(), next["refresh_token"].as_str().unwrap());
    gateway = gateway.restarted().await;
    assert_eq!(client.at(&gateway).call("one", access).await.status(), 502, "let through to an upstream that is away");
    for token in [access, refresh] {
        assert_eq!(is_active(&gateway, token).await, json!(true));
    }
    let mut fields = vec![("client_id", client.id.as_str()), ("token", refresh)];
    fields.extend(client.secret.as_deref().map(|secret| ("client_secret", secret)));
    assert_eq!(post_form(&http(), &gateway.url("/oauth/revoke"), &fields).await.status(), 200);
    assert_eq!(client.at(&gateway).call("one", access).await.status(), 401);
    gateway = gateway.restarted().await;
    assert_eq!(client.at(&gateway).call("one", access).await.status(), 401);
    oauth_error(client.at(&gateway).refresh(refresh).await, 400, "invalid_grant").await;
    for token in [access, refresh] {
        assert_eq!(is_active(&gateway, token).await, json!(false));
    }
}

async fn is_active(gateway: &TestGateway, token: &str) -> Value {
    let fields = [("client_id", "files"), ("client_secret", "the secret of files"), ("token", token)];
    let answer = post_form(&http(), &gateway.url("/oauth/introspect"), &fields).await;
    answer.json::<Value>().await.unwrap()["active"].clone()
}

// SCOPE-3, SCOPE-4, SCOPE-7: what known clients ask for.
#[rstest]
#[case::codex_asks_for_all_that_is_advertised("mcp:tools offline_access")]
#[case::claude_code_asks_for_nothing("")]
#[case::out_of_habit("openid profile email offline_access")]
#[case::chatgpt_asks_for_what_nobody_defined("mcp:tools search everything")]
#[tokio::test]
async fn whatever_known_clients_ask_for_they_get_the_scope_of_the_route(#[case] scope: &str) {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[("scope", scope)]), "guest").await;
    let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    assert_eq!(tokens["scope"], "mcp:tools");
    assert!(tokens["refresh_token"].is_string());
}

// DISC-21
#[tokio::test]
async fn discovery_answers_with_the_store_and_everything_behind_it_down() {
    let gateway = TestGateway::start().await;
    gateway.assembly.store.close().await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp/one",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration/mcp/two",
        "/.well-known/jwks.json",
    ] {
        let response = http().get(gateway.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let control = response.headers()["cache-control"].to_str().unwrap();
        let age: u64 = control.split("max-age=").nth(1).unwrap().parse().unwrap();
        assert!(age <= 3600, "{path}: {control}");
    }
}
