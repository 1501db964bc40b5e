//! Registration (DCR), its management, and static clients (STAT).

use std::time::Duration;

use doorward::crypto::KeyMaterial;
use doorward::domain::ClientId;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::browser::{Browser, client as http};
use crate::support::flow::{REDIRECT, TestClient, oauth_error};
use crate::support::gateway::{Options, TestGateway};

async fn register(gateway: &TestGateway, body: &Value) -> reqwest::Response {
    http().post(gateway.url("/oauth/register")).json(body).send().await.unwrap()
}

// DCR-1, DCR-2, DCR-4, DCR-5, DCR-6, DCR-8: the body Cursor sends.
#[tokio::test]
async fn a_registration_is_answered_with_all_that_holds_and_nothing_null() {
    let gateway = TestGateway::start().await;
    let body = json!({
        "client_name": "Cursor",
        "application_type": "web",
        "logo_uri": null,
        "unknown": { "member": 1 },
        "redirect_uris": [
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ],
        "token_endpoint_auth_method": "none",
    });
    let response = register(&gateway, &body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    let registered: Value = response.json().await.unwrap();
    let members = registered.as_object().unwrap();
    assert!(members.values().all(|value| !value.is_null()), "{registered}");
    assert!(registered["client_id"].as_str().unwrap().starts_with("dcr_"));
    assert!(registered["client_id_issued_at"].is_i64());
    assert_eq!(registered["redirect_uris"], body["redirect_uris"]);
    assert_eq!(registered["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(registered["application_type"], "native", "coerced to what the redirects say");
    assert!(!members.contains_key("client_secret") && !members.contains_key("client_secret_expires_at"));

    let secret: Value = register(&gateway, &json!({ "redirect_uris": [REDIRECT] })).await.json().await.unwrap();
    assert_eq!(secret["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(secret["client_secret_expires_at"], 0);
    assert!(secret["client_secret"].as_str().unwrap().len() >= 43);
}

// DCR-3, DCR-12
#[tokio::test]
async fn a_bad_registration_names_what_is_wrong() {
    let gateway = TestGateway::start().await;
    let many: Vec<String> = (0..21).map(|number| format!("https://a.example/{number}")).collect();
    for (body, code) in [
        (json!({}), "invalid_redirect_uri"),
        (json!({ "redirect_uris": [] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://a.example/cb"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["javascript:alert(1)"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://a.example/cb#x"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": REDIRECT }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "magic" }), "invalid_client_metadata"),
        (
            json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt" }),
            "invalid_client_metadata",
        ),
        (json!({ "redirect_uris": [REDIRECT], "client_name": 7 }), "invalid_client_metadata"),
    ] {
        let response = register(&gateway, &body).await;
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        let seen = answer["error"].as_str().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        let list = body["redirect_uris"].is_array() && !body["redirect_uris"].as_array().unwrap().is_empty();
        assert!(seen == code || !list && seen == "invalid_client_metadata", "{body}: {answer}");
    }
    assert_eq!(register(&gateway, &json!({ "redirect_uris": many })).await.status(), StatusCode::BAD_REQUEST);
    let long = json!({ "redirect_uris": [REDIRECT], "client_name": "x".repeat(70_000) });
    assert_eq!(register(&gateway, &long).await.status(), StatusCode::BAD_REQUEST);
    let garbage = http().post(gateway.url("/oauth/register")).body("{").send().await.unwrap();
    oauth_error(garbage, 400, "invalid_client_metadata").await;
}

// DCR-13
#[tokio::test]
async fn registration_can_be_switched_off_or_gated_and_registered_clients_go_on() {
    let off =
        TestGateway::start_with(Options { gateway: r#""dcrEnabled": false"#.to_owned(), ..Options::default() }).await;
    assert_eq!(register(&off, &json!({ "redirect_uris": [REDIRECT] })).await.status(), StatusCode::NOT_FOUND);
    let metadata: Value =
        http().get(off.url("/.well-known/oauth-authorization-server")).send().await.unwrap().json().await.unwrap();
    assert!(metadata.get("registration_endpoint").is_none());

    let gate = r#""initialAccessToken": "let-me-in-0123456789""#.to_owned();
    let gated = TestGateway::start_with(Options { gateway: gate, ..Options::default() }).await;
    assert_eq!(register(&gated, &json!({ "redirect_uris": [REDIRECT] })).await.status(), StatusCode::UNAUTHORIZED);
    for wrong in ["let-me-in-0123456788", "let-me-in-012345678", "x"] {
        let request = http().post(gated.url("/oauth/register")).bearer_auth(wrong);
        let response = request.json(&json!({ "redirect_uris": [REDIRECT] })).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let request = http().post(gated.url("/oauth/register")).bearer_auth("let-me-in-0123456789");
    let response = request.json(&json!({ "redirect_uris": [REDIRECT] })).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

// DCR-14
#[tokio::test]
async fn a_registration_can_be_read_changed_and_deleted_by_whoever_holds_its_token() {
    let gateway = TestGateway::start().await;
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let registered: Value = register(&gateway, &body).await.json().await.unwrap();
    let url = registered["registration_client_uri"].as_str().unwrap();
    let token = registered["registration_access_token"].as_str().unwrap();
    let http = http();
    for wrong in ["", "rat_wrong"] {
        oauth_error(http.get(url).bearer_auth(wrong).send().await.unwrap(), 401, "invalid_token").await;
    }
    let read: Value = http.get(url).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert_eq!(read["client_id"], registered["client_id"]);
    let changed =
        json!({ "client_name": "New name", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let changed: Value = http.put(url).bearer_auth(token).json(&changed).send().await.unwrap().json().await.unwrap();
    assert_eq!((&changed["client_name"], &changed["client_id"]), (&json!("New name"), &registered["client_id"]));
    assert!(changed.get("client_secret").is_none(), "a public client is given no secret");

    // Its own id may stand in the request. With another method of authentication comes a secret, which is good, and
    // stays good when the registration is changed once more.
    let id = registered["client_id"].as_str().unwrap();
    let method = "client_secret_basic";
    let body = json!({ "client_id": id, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method });
    let with_secret: Value = http.put(url).bearer_auth(token).json(&body).send().await.unwrap().json().await.unwrap();
    let secret = with_secret["client_secret"].as_str().expect("a secret");
    let again: Value = http.put(url).bearer_auth(token).json(&body).send().await.unwrap().json().await.unwrap();
    assert!(again.get("client_secret").is_none(), "the secret at hand stays");
    for (secret, status) in [(secret, StatusCode::OK), ("cs_wrong", StatusCode::UNAUTHORIZED)] {
        let request = http
            .post(gateway.url("/oauth/revoke"))
            .basic_auth(id, Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("token=rt_none");
        assert_eq!(request.send().await.unwrap().status(), status, "{secret}");
    }
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    assert_eq!(http.put(url).bearer_auth(token).json(&body).send().await.unwrap().status(), StatusCode::OK);

    let other = json!({ "client_id": "dcr_other", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let mismatch = http.put(url).bearer_auth(token).json(&other).send().await.unwrap();
    oauth_error(mismatch, 400, "invalid_client_metadata").await;

    let client = TestClient {
        gateway: &gateway,
        http: http.clone(),
        id: registered["client_id"].as_str().unwrap().to_owned(),
        redirect_uri: REDIRECT.to_owned(),
        secret: None,
    };
    let tokens = client.connect("one").await;
    assert_eq!(http.delete(url).bearer_auth(token).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    oauth_error(client.refresh(tokens["refresh_token"].as_str().unwrap()).await, 401, "invalid_client").await;
    assert_eq!(http.get(url).bearer_auth(token).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let store = &gateway.assembly.store;
    store.settle_audit().await;
    let trail = store.audit_tail(1).await.unwrap();
    assert_eq!((trail[0].event.as_str(), trail[0].client_id.as_ref()), ("mcp_auth_client_deleted", Some(&client.id)));
}

// STAT-1, STAT-2, STAT-3, STAT-4
#[tokio::test]
async fn a_configured_client_works_without_registration_and_ends_with_its_entry() {
    // SHA-256 of "second-secret".
    let hash = "0ae70fa044cf10a0fc3887b85fe3675acc620a7d15e588e5f1f47e8b27787e5f";
    let gateway_options = format!(
        r#""clients": [
            {{ "clientId": "bot", "name": "Bot", "redirectUris": ["{REDIRECT}"], "routes": ["/mcp/one"],
               "clientSecretHash": ["sha256:{hash}"], "authMethod": "client_secret_post" }},
            {{ "clientId": "desk", "redirectUris": ["{REDIRECT}"], "authMethod": "none" }} ]"#
    );
    let gateway = TestGateway::start_with(Options { gateway: gateway_options, ..Options::default() }).await;
    let client = |id: &str, secret: Option<&str>| TestClient {
        gateway: &gateway,
        http: http(),
        id: id.to_owned(),
        redirect_uri: REDIRECT.to_owned(),
        secret: secret.map(str::to_owned),
    };
    let bot = client("bot", Some("second-secret"));
    let tokens = bot.connect("one").await;
    let elsewhere = Browser::new().get(&bot.authorize_url("two", &[])).await;
    assert_eq!(elsewhere.param("error").as_deref(), Some("invalid_target"), "limited to its routes");
    let plain = Browser::new().get(&bot.authorize_url("one", &[("code_challenge", "")])).await;
    assert_eq!(plain.param("error").as_deref(), Some("invalid_request"), "PKCE for every client");
    let wrong = client("bot", Some("first-secret"));
    oauth_error(wrong.refresh(tokens["refresh_token"].as_str().unwrap()).await, 401, "invalid_client").await;
    let desk = client("desk", None);
    let desk_tokens = desk.connect("two").await;

    // A reload without the entry.
    let config = crate::support::gateway::load(&Options::default(), gateway.folder());
    let next = gateway.assembly.gateway(config);
    gateway.assembly.revoke_removed_clients(&next).await.unwrap();
    gateway.assembly.install(next);
    oauth_error(desk.refresh(desk_tokens["refresh_token"].as_str().unwrap()).await, 401, "invalid_client").await;
    let access = desk_tokens["access_token"].as_str().unwrap();
    assert_eq!(desk.call("two", access).await.status(), StatusCode::UNAUTHORIZED, "its grants are revoked");
}

/// Takes out everything that lies idle, the registrations among it.
async fn lose_idle_registrations(gateway: &TestGateway) {
    gateway.clock.advance(400 * 86_400);
    let now = doorward::domain::Clock::now(&*gateway.clock);
    while gateway.assembly.store.purge(now, Duration::from_secs(90 * 86_400), 500).await.unwrap().more {}
}

async fn is_stored(gateway: &TestGateway, id: &str) -> bool {
    gateway.assembly.store.registered_client(&ClientId::new(id)).await.unwrap().is_some()
}

// DCR-10, DCR-8, CODE-2
#[tokio::test]
async fn an_id_that_the_store_lost_costs_a_new_consent_only() {
    let gateway = TestGateway::start().await;
    let body = json!({ "client_name": "Visual Studio Code", "redirect_uris": [REDIRECT], "client_uri": "https://x.example",
                       "token_endpoint_auth_method": "client_secret_post", "application_type": "native" });
    let client = TestClient::register_with(&gateway, &body).await;
    assert!(client.id.len() < 800, "{}", client.id.len());
    let tokens = client.connect("one").await;
    lose_idle_registrations(&gateway).await;
    assert!(!is_stored(&gateway, &client.id).await);

    // Its grants are gone, it is not: the code that makes a client ask its person again.
    oauth_error(client.refresh(tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant").await;
    assert!(is_stored(&gateway, &client.id).await);
    client.connect("one").await;
    let wrong = TestClient {
        secret: Some("cs_wrong".to_owned()),
        http: client.http.clone(),
        id: client.id.clone(),
        redirect_uri: client.redirect_uri.clone(),
        gateway: &gateway,
    };
    oauth_error(wrong.refresh("rt_x").await, 401, "invalid_client").await;

    // Another store under the same key has never seen it; one under another key takes it for made up.
    let restored = TestGateway::start().await;
    let again = TestClient {
        gateway: &restored,
        http: http(),
        id: client.id.clone(),
        redirect_uri: REDIRECT.to_owned(),
        secret: client.secret.clone(),
    };
    again.connect("two").await;
    let settings = |settings: &mut doorward::runtime::Settings| settings.secret_keys = vec![KeyMaterial::new([8; 32])];
    let foreign = TestGateway::start_with(Options { settings: Box::new(settings), ..Options::default() }).await;
    let stranger = TestClient {
        gateway: &foreign,
        http: http(),
        id: client.id.clone(),
        redirect_uri: REDIRECT.to_owned(),
        secret: None,
    };
    let page = Browser::new().get(&stranger.authorize_url("one", &[])).await;
    assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None));
    assert!(!is_stored(&foreign, &client.id).await);
}

// DCR-10, DCR-11
#[tokio::test]
async fn a_registration_that_made_room_for_others_is_still_known() {
    let options = r#""maxClients": 3"#.to_owned();
    let gateway = TestGateway::start_with(Options { gateway: options, ..Options::default() }).await;
    let first = TestClient::register(&gateway).await;
    for _ in 0..5 {
        gateway.clock.advance(1);
        TestClient::register(&gateway).await;
    }
    assert!(!is_stored(&gateway, &first.id).await);
    first.connect("one").await;
}

// DCR-10, DCR-14
#[tokio::test]
async fn an_id_is_not_revived_once_its_registration_was_deleted_or_changed() {
    let gateway = TestGateway::start().await;
    let http = http();
    let body = json!({ "redirect_uris": [REDIRECT, "https://old.example/cb"], "token_endpoint_auth_method": "none" });
    let mut registered = Vec::new();
    for _ in 0..3 {
        let answer: Value = register(&gateway, &body).await.json().await.unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        registered.push((text("client_id"), text("registration_client_uri"), text("registration_access_token")));
    }
    let manage = |method: reqwest::Method, number: usize| {
        let (_, url, token) = &registered[number];
        http.request(method, url).bearer_auth(token)
    };
    // The first is deleted at once, the second after the store lost it, the third gives up a redirect.
    assert_eq!(manage(reqwest::Method::DELETE, 0).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let narrowed = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let changed = manage(reqwest::Method::PUT, 2).json(&narrowed).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    assert!(is_stored(&gateway, &registered[2].0).await);
    lose_idle_registrations(&gateway).await;
    assert_eq!(manage(reqwest::Method::DELETE, 1).send().await.unwrap().status(), StatusCode::NO_CONTENT);

    for (number, (id, _, _)) in registered.iter().enumerate() {
        let client = TestClient {
            gateway: &gateway,
            http: http.clone(),
            id: id.clone(),
            redirect_uri: REDIRECT.to_owned(),
            secret: None,
        };
        let page = Browser::new().get(&client.authorize_url("one", &[])).await;
        assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "{number}");
        oauth_error(client.refresh("rt_x").await, 401, "invalid_client").await;
        let read = manage(reqwest::Method::GET, number).send().await.unwrap();
        assert_eq!(read.status(), StatusCode::UNAUTHORIZED, "{number}");
    }
}

// DCR-10, DCR-12: what does not fit into an id of 2 KiB gets a plain one, and everything else works.
#[tokio::test]
async fn a_registration_too_large_for_its_id_gets_a_plain_one() {
    let gateway = TestGateway::start().await;
    let mut uris = vec![REDIRECT.to_owned()];
    uris.extend((0..10).map(|number| format!("https://a.example/{number}/{}", "x".repeat(300))));
    let client =
        TestClient::register_with(&gateway, &json!({ "redirect_uris": uris, "token_endpoint_auth_method": "none" }))
            .await;
    assert!(client.id.len() < 40);
    client.connect("one").await;
    lose_idle_registrations(&gateway).await;
    oauth_error(client.refresh("rt_x").await, 401, "invalid_client").await;
}

// DCR-7, SCOPE-3
#[tokio::test]
async fn no_scope_means_all_and_unknown_ones_are_dropped() {
    let scopes = r#""scopes": { "mcp:tools": [], "reports": [] }"#.to_owned();
    let gateway = TestGateway::start_with(Options { gateway: scopes, ..Options::default() }).await;
    for (asked, echoed) in [
        (Value::Null, None),
        (json!(""), None),
        (json!("openid email"), None),
        (json!("openid reports tools.read"), Some("reports")),
    ] {
        let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "scope": asked });
        let registered: Value = register(&gateway, &body).await.json().await.unwrap();
        assert_eq!(registered.get("scope").and_then(Value::as_str), echoed, "{asked}");
        let client = TestClient {
            gateway: &gateway,
            http: http(),
            id: registered["client_id"].as_str().unwrap().to_owned(),
            redirect_uri: REDIRECT.to_owned(),
            secret: None,
        };
        let browser = Browser::new();
        let url = client.authorize_url("one", &[("scope", "mcp:tools reports nobody:knows")]);
        let page = client.consent_page(&browser, &url, "admin").await;
        let code = client.decide(&browser, &page, "approve").await.param("code").unwrap();
        let tokens: Value = client.redeem(&code).await.json().await.unwrap();
        assert_eq!(tokens["scope"], "mcp:tools reports", "{asked}");
    }
}

// STAT-4, AUTHZ-2
#[tokio::test]
async fn a_configured_clients_redirects_and_secrets_change_at_reload() {
    let entry = |redirect: &str, secret: &str| Options {
        gateway: format!(
            r#""clients": [{{ "clientId": "bot", "redirectUris": ["{redirect}"], "clientSecret": "{secret}" }}]"#
        ),
        ..Options::default()
    };
    let gateway = TestGateway::start_with(entry(REDIRECT, "the-first-secret-0123456789")).await;
    let client = TestClient {
        gateway: &gateway,
        http: http(),
        id: "bot".to_owned(),
        redirect_uri: REDIRECT.to_owned(),
        secret: Some("the-first-secret-0123456789".to_owned()),
    };
    let tokens = client.connect("one").await;
    let config = crate::support::gateway::load(
        &entry("https://moved.example/cb", "the-second-secret-0123456789"),
        gateway.folder(),
    );
    let next = gateway.assembly.gateway(config);
    gateway.assembly.revoke_removed_clients(&next).await.unwrap();
    gateway.assembly.install(next);

    let page = Browser::new().get(&client.authorize_url("one", &[])).await;
    assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "the old redirect is nobody's");
    let moved = client.authorize_url("one", &[("redirect_uri", "https://moved.example/cb")]);
    assert_eq!(Browser::new().get(&moved).await.status, StatusCode::OK);
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    oauth_error(client.refresh(refresh_token).await, 401, "invalid_client").await;
    let with_new = TestClient { secret: Some("the-second-secret-0123456789".to_owned()), http: http(), ..client };
    assert_eq!(with_new.refresh(refresh_token).await.status(), StatusCode::OK, "its grant lives on");
}
