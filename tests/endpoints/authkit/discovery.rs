//! What clients are told of AuthKit, and what the gateway does not have beside it.

use doorward::crypto::{base64url, sha256};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::{World, refused};
use crate::logs::Log;
use crate::support::browser::param_of;
use crate::support::flow::{VERIFIER, post_form};

// DISC-1, DISC-2, DISC-3, DISC-4
#[tokio::test]
async fn the_metadata_of_a_route_name_authkit_as_its_authorization_server() {
    let more = json!({
        "requiredScopes": ["tools:use"], "resourceName": "Acme tools", "docsUrl": "https://docs.example.com/mcp",
    });
    let world = World::with(more, "", None).await;
    let expected = json!({
        "resource": world.gateway.resource("one"),
        "authorization_servers": [world.authkit.base()],
        "scopes_supported": ["email", "offline_access", "openid", "profile", "tools:use"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Acme tools",
        "resource_documentation": "https://docs.example.com/mcp",
    });
    for path in ["/.well-known/oauth-protected-resource/mcp/one", "/mcp/one/.well-known/oauth-protected-resource"] {
        assert_eq!(world.json(path).await, expected, "{path}");
    }
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp/three"] {
        assert_eq!(world.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let plain = World::new().await.json("/.well-known/oauth-protected-resource/mcp/one").await;
    assert_eq!(plain["resource_name"], "Server one");
    assert_eq!(plain["scopes_supported"], json!(["email", "offline_access", "openid", "profile"]));
}

// DISC-21
#[tokio::test]
async fn authkit_s_own_metadata_are_passed_on_and_kept_and_asked_for_again() {
    let world = World::new().await;
    world.behave(|how| how.metadata_cache = Some("max-age=600"));
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/mcp/one"] {
        let response = world.get(path).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert!(response.headers()["cache-control"].to_str().unwrap().contains("max-age"));
        let document: Value = response.json().await.unwrap();
        assert_eq!(document["x_only_authkit_says_this"], true, "{path}");
        assert_eq!(document["issuer"], world.authkit.base());
    }
    for path in ["/.well-known/openid-configuration", "/mcp/one/.well-known/openid-configuration"] {
        assert_eq!(world.json(path).await["token_endpoint"], format!("{}/oauth2/token", world.authkit.base()));
    }
    assert_eq!((world.authkit.fetches("metadata"), world.authkit.fetches("openid")), (1, 1));
    world.gateway.clock.advance(601);
    world.json("/.well-known/oauth-authorization-server").await;
    assert_eq!(world.authkit.fetches("metadata"), 2);
    let unknown = world.get("/.well-known/oauth-authorization-server/mcp/three").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

// DISC-21, IDP-14
#[tokio::test]
async fn an_outage_of_authkit_leaves_the_copy_at_hand_and_without_one_what_is_known_of_every_authkit() {
    let world = World::new().await;
    world.behave(|how| how.metadata_status = Some(503));
    let path = "/.well-known/oauth-authorization-server";
    let base = world.authkit.base();
    let fallback = world.json(path).await;
    assert_eq!(fallback["issuer"], base.as_str());
    for (member, endpoint) in [
        ("authorization_endpoint", "authorize"),
        ("token_endpoint", "token"),
        ("registration_endpoint", "register"),
        ("introspection_endpoint", "introspection"),
        ("jwks_uri", "jwks"),
    ] {
        assert_eq!(fallback[member], format!("{base}/oauth2/{endpoint}"));
    }
    assert_eq!(fallback["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(fallback["response_types_supported"], json!(["code"]));
    assert_eq!(fallback["grant_types_supported"], json!(["authorization_code", "refresh_token"]));
    assert!(fallback["token_endpoint_auth_methods_supported"].as_array().unwrap().contains(&json!("none")));
    world.json(path).await;
    assert_eq!(world.authkit.fetches("metadata"), 1, "not asked again at once");

    world.behave(|how| how.metadata_status = None);
    world.gateway.clock.advance(60);
    assert_eq!(world.json(path).await["x_only_authkit_says_this"], true);
    world.behave(|how| how.metadata_status = Some(500));
    world.gateway.clock.advance(24 * 3600);
    assert_eq!(world.json(path).await["x_only_authkit_says_this"], true, "the copy at hand");
    assert_eq!(world.authkit.fetches("metadata"), 3);
}

// DISC-10: a document that speaks of somebody else is not passed on
#[rstest]
#[case::issuer(json!({ "issuer": "https://auth.example.com" }))]
#[case::no_issuer(json!({ "issuer": null }))]
#[case::no_endpoint(json!({ "token_endpoint": null }))]
#[tokio::test]
async fn metadata_that_cannot_be_authkit_s_are_not_passed_on(#[case] changed: Value) {
    let world = World::new().await;
    world.behave(|how| how.metadata = Some(changed));
    let document = world.json("/.well-known/oauth-authorization-server").await;
    assert_eq!(document["issuer"], world.authkit.base());
    assert!(document.get("x_only_authkit_says_this").is_none() && document["token_endpoint"].is_string());
}

// DISC-18, CHAL-1, CODE-1: nothing half-works
#[tokio::test]
async fn there_are_no_oauth_endpoints_of_the_gateway_s_own() {
    let world = World::new().await;
    let http = &world.http;
    for (method, path) in [
        ("POST", "/oauth/register"),
        ("GET", "/oauth/register/x"),
        ("GET", "/oauth/authorize"),
        ("GET", "/oauth/authorize/mcp/one"),
        ("POST", "/oauth/token"),
        ("POST", "/oauth/revoke"),
        ("POST", "/oauth/introspect"),
        ("GET", "/oauth/callback?code=1&state=2"),
        ("GET", "/oauth/consent"),
        ("GET", "/oauth/logout"),
        ("GET", "/account"),
        ("GET", "/authorize"),
        ("POST", "/token"),
        ("POST", "/register"),
    ] {
        let request = http.request(method.parse().unwrap(), world.gateway.url(path));
        let response = request.header("content-type", "application/json").body("{}").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let body: Value = response.json().await.unwrap();
        let description = body["error_description"].as_str().unwrap();
        assert!(description.contains(&world.authkit.base()), "{path}: {description}");
    }
    let page = http.get(world.gateway.url("/oauth/authorize")).header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    let text = page.text().await.unwrap();
    assert!(text.contains("leaves sign-in to AuthKit") && text.contains("application_not_found"), "{text}");
}

#[tokio::test]
async fn registration_that_is_switched_off_in_the_dashboard_is_named_to_programs_and_people() {
    let world = World::new().await;
    world.behave(|how| how.registration_off = true);
    let (log, _guard) = Log::listen();
    let response = world.http.post(world.gateway.url("/oauth/register")).body("{}").send().await.unwrap();
    let body: Value = response.json().await.unwrap();
    assert!(body["error_description"].as_str().unwrap().contains("dynamic client registration is switched off"));
    let told = log.fields_of("authkit_registration_off");
    assert!(told["message"].as_str().unwrap().contains("switch on Dynamic Client Registration"), "{told}");
    let page =
        world.http.get(world.gateway.url("/oauth/authorize")).header("accept", "text/html").send().await.unwrap();
    let text = page.text().await.unwrap();
    assert!(text.contains("Dynamic Client Registration is switched off") && text.contains("Connect"), "{text}");
    let document = world.json("/.well-known/oauth-authorization-server").await;
    assert!(document.get("registration_endpoint").is_none(), "what AuthKit does not offer is not promised");
}

/// What a client does at AuthKit: registers, signs in, redeems. Gives the token answer.
async fn connect(world: &World, slug: &str) -> (String, Value) {
    let http = &world.http;
    let resource = world.json(&format!("/.well-known/oauth-protected-resource/mcp/{slug}")).await;
    let server = resource["authorization_servers"][0].as_str().unwrap();
    let metadata = format!("{server}/.well-known/oauth-authorization-server");
    let metadata: Value = http.get(metadata).send().await.unwrap().json().await.unwrap();
    let redirect = "http://127.0.0.1:7777/callback";
    let registration = json!({ "client_name": "Test", "redirect_uris": [redirect] });
    let endpoint = metadata["registration_endpoint"].as_str().unwrap();
    let registered: Value = http.post(endpoint).json(&registration).send().await.unwrap().json().await.unwrap();
    let client = registered["client_id"].as_str().unwrap().to_owned();
    let challenge = base64url(&sha256(VERIFIER.as_bytes()));
    let url = url::Url::parse_with_params(
        metadata["authorization_endpoint"].as_str().unwrap(),
        [
            ("response_type", "code"),
            ("client_id", &client),
            ("redirect_uri", redirect),
            ("state", "st-1"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", resource["resource"].as_str().unwrap()),
            ("scope", "openid profile email offline_access"),
        ],
    )
    .unwrap();
    let back = http.get(url).send().await.unwrap();
    let code = param_of(back.headers()["location"].to_str().unwrap(), "code").expect("a code");
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", &client),
        ("code", &code),
        ("redirect_uri", redirect),
        ("code_verifier", VERIFIER),
    ];
    let tokens = post_form(http, metadata["token_endpoint"].as_str().unwrap(), &fields).await;
    assert_eq!(tokens.status(), StatusCode::OK);
    (client, tokens.json().await.unwrap())
}

// DISC-3, CHAL-3
#[tokio::test]
async fn a_client_registers_and_signs_in_at_authkit_and_calls() {
    let world = World::new().await;
    let (id, tokens) = connect(&world, "one").await;
    let token = tokens["access_token"].as_str().unwrap();
    for _ in 0..3 {
        let response = world.call(token).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(world.authkit.fetches("jwks"), 1);
    assert!(!world.upstream.last().contains_key("authorization"), "the token goes no further");
    refused_at(&world, "two", token, "invalid_token").await;

    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", &id),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    let endpoint = format!("{}/oauth2/token", world.authkit.base());
    let refreshed: Value = post_form(&world.http, &endpoint, &fields).await.json().await.unwrap();
    let refreshed = refreshed["access_token"].as_str().unwrap();
    assert_ne!(refreshed, token);
    assert_eq!(world.call(refreshed).await.status(), StatusCode::OK);
    // An ID token is for the client to read, and opens nothing.
    let id_token = tokens["id_token"].as_str().unwrap();
    refused(&world, world.call(id_token).await, 401, "invalid_token").await;
}

async fn refused_at(world: &World, slug: &str, token: &str, error: &str) {
    let response = world.call_at(slug, token).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], error);
}

// PROX-10
#[tokio::test]
async fn public_routes_stay_public() {
    let world = World::with(json!({}), r#""public": true"#, None).await;
    let response = world.http.post(world.gateway.resource("one")).body("{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let metadata = world.get("/.well-known/oauth-protected-resource/mcp/one").await;
    assert_eq!(metadata.status(), StatusCode::NOT_FOUND);
}
