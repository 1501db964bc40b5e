//! The authorization endpoint: what is refused, how, and what is understood.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::browser::{Browser, param_of};
use crate::support::flow::{REDIRECT, TestClient};
use crate::support::gateway::{Options, TestGateway, load};

// AUTHZ-1, AUTHZ-2, AUTHZ-4
#[tokio::test]
async fn an_unproven_client_or_redirect_uri_gets_a_page_and_never_a_redirect() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    for (name, value, text) in [
        ("client_id", "dcr_unknown", "Unknown application"),
        ("client_id", "", "names no client"),
        ("redirect_uri", "", "no usable"),
        ("redirect_uri", "https://evil.example/cb", "not one it registered"),
        ("redirect_uri", "http://127.0.0.1:7777/callback?x=1", "not one it registered"),
        ("redirect_uri", "http://127.0.0.1:7777/Callback", "not one it registered"),
        ("redirect_uri", "http://127.0.0.1:7777/callback/", "not one it registered"),
        ("redirect_uri", "javascript:alert(1)", "no usable"),
    ] {
        let page = browser.get(&client.authorize_url("one", &[(name, value)])).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{name}={value}");
        assert!(page.location.is_none() && page.text.contains(text), "{name}={value}: {}", page.text);
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    }
    let unknown = browser.get(&client.authorize_url("one", &[("client_id", "dcr_unknown")])).await;
    assert!(unknown.text.contains("add it again"), "it tells how to re-add the server");
}

// AUTHZ-3
#[tokio::test]
async fn the_loopback_port_may_differ_from_the_registered_one() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let url = client.authorize_url("one", &[("redirect_uri", "http://127.0.0.1:51234/callback")]);
    let browser = Browser::new();
    let page = client.consent_page(&browser, &url, "admin").await;
    let done = client.decide(&browser, &page, "approve").await;
    assert!(done.redirect().starts_with("http://127.0.0.1:51234/callback?code="));
}

// AUTHZ-6, AUTHZ-7, AUTHZ-9, AUTHZ-12, AUTHZ-13, AUTHZ-16, AUTHZ-18, SCOPE-3
#[tokio::test]
async fn a_proven_client_is_told_what_is_wrong_with_state_and_iss() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    for (name, value, error) in [
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("resource", "https://evil.example/mcp/one", "invalid_target"),
        ("resource", "", "invalid_target"),
        ("scope", "everything", "invalid_scope"),
        ("request", "x", "request_not_supported"),
        ("request_uri", "https://x.example", "request_uri_not_supported"),
        ("prompt", "none", "login_required"),
    ] {
        let page = browser.get(&client.authorize_url("one", &[(name, value)])).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{name}={value}");
        assert!(page.redirect().starts_with(REDIRECT), "{name}={value}");
        let get = |name| page.param(name);
        assert_eq!(get("error").as_deref(), Some(error), "{name}={value}");
        assert_eq!(get("state").as_deref(), Some("st-1"));
        assert_eq!(get("iss").as_deref(), Some(gateway.origin.as_str()));
        assert!(get("code").is_none());
    }
    let repeated = format!("{}&scope=x", client.authorize_url("one", &[]));
    assert_eq!(browser.get(&repeated).await.param("error").as_deref(), Some("invalid_request"));
    let stateless = browser.get(&client.authorize_url("one", &[("state", ""), ("response_type", "token")])).await;
    assert_eq!(stateless.param("state"), None);
    let named = browser.get(&client.authorize_url("one", &[("resource", "https://evil.example/x")])).await;
    assert!(named.param("error_description").unwrap().contains(&gateway.resource("two")));
}

// AUTHZ-16
#[tokio::test]
async fn an_error_for_a_self_registered_web_client_is_a_link_until_somebody_is_signed_in() {
    let gateway = TestGateway::start().await;
    let body = json!({ "redirect_uris": ["https://app.example/cb?keep=1"], "token_endpoint_auth_method": "none" });
    let client = TestClient::register_with(&gateway, &body).await;
    let browser = Browser::new();
    let bad = client.authorize_url("one", &[("response_type", "token")]);
    let page = browser.get(&bad).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(
        page.location.is_none() && page.text.contains("https://app.example/cb?keep=1&amp;error=")
            || page.text.contains("error=unsupported_response_type")
    );
    client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let redirect = browser.get(&bad).await;
    assert!(redirect.redirect().starts_with("https://app.example/cb?keep=1&error="));
}

// AUTHZ-13, AUTHZ-15
#[tokio::test]
async fn state_comes_back_unchanged_once_whatever_it_holds() {
    let gateway = TestGateway::start().await;
    let body = json!({ "redirect_uris": ["http://127.0.0.1:7777/cb?mine=1"], "token_endpoint_auth_method": "none" });
    let client = TestClient::register_with(&gateway, &body).await;
    let browser = Browser::new();
    let state = format!("ä&=+ %\"'<>{}", "x".repeat(2048));
    let page = client.consent_page(&browser, &client.authorize_url("one", &[("state", &state)]), "admin").await;
    let done = client.decide(&browser, &page, "approve").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert_eq!(done.param("state").as_deref(), Some(state.as_str()));
    let names: Vec<String> =
        url::Url::parse(done.redirect()).unwrap().query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["mine", "code", "state", "iss"]);
}

// AUTHZ-8, AUTHZ-10, AUTHZ-11, AUTHZ-12, DISC-7
#[tokio::test]
async fn the_route_bound_endpoint_implies_the_resource_and_names_its_own_issuer() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let bound = |changes: &[(&str, &str)]| {
        client.authorize_url("two", changes).replace("/oauth/authorize?", "/oauth/authorize/mcp/two?")
    };
    let page = client.consent_page(&browser, &bound(&[("resource", "")]), "admin").await;
    let done = client.decide(&browser, &page, "approve").await;
    assert_eq!(done.param("iss"), Some(gateway.resource("two")));
    let tokens: Value = client.redeem(&done.param("code").unwrap()).await.json().await.unwrap();
    assert_eq!(tokens["resource"], gateway.resource("two"));
    assert_eq!(client.call("two", tokens["access_token"].as_str().unwrap()).await.status(), StatusCode::BAD_GATEWAY);

    let other = gateway.resource("one");
    let wrong = browser.get(&bound(&[("resource", &other)])).await;
    assert_eq!(wrong.param("error").as_deref(), Some("invalid_target"));
    let nowhere = browser.get(&bound(&[]).replace("/mcp/two?", "/mcp/nine?")).await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
}

// OPS-16
#[tokio::test]
async fn the_issuer_of_a_route_that_moved_is_gone_for_those_who_know_it() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let url = client.authorize_url("two", &[]).replace("/oauth/authorize?", "/oauth/authorize/mcp/two?");
    let page = client.consent_page(&browser, &url, "admin").await;
    client.redeem(&client.decide(&browser, &page, "approve").await.param("code").unwrap()).await;
    client.connect("one").await;
    let gone = async |slugs: &[&'static str]| {
        let routes = slugs.iter().map(|slug| (*slug, "http://127.0.0.1:9/mcp".to_owned())).collect();
        let config = load(&Options { routes, ..Options::default() }, gateway.folder());
        gateway.assembly.issuers_gone(&config).await.unwrap()
    };
    assert_eq!(gone(&["one", "two"]).await, [""; 0]);
    assert_eq!(gone(&["two"]).await, [""; 0], "the issuer of the origin is there");
    assert_eq!(gone(&["one", "too"]).await, [gateway.resource("two")]);
    gateway.clock.advance(31_536_001);
    assert_eq!(gone(&["one"]).await, [""; 0], "nobody holds anything of it any more");
}

// AUTHZ-5, AUTHZ-10
#[tokio::test]
async fn the_operator_decides_on_redirects_and_on_the_default_route() {
    let options = Options {
        gateway: r#""redirectUriAllowList": ["https://app.example", "http://127.0.0.1/callback"], "defaultRoute": "/mcp/two""#
            .to_owned(),
        ..Options::default()
    };
    let gateway = TestGateway::start_with(options).await;
    let client = TestClient::register(&gateway).await;
    let refused = client
        .http
        .post(gateway.url("/oauth/register"))
        .json(&json!({ "redirect_uris": ["https://evil.example/cb"] }))
        .send()
        .await
        .unwrap();
    crate::support::flow::oauth_error(refused, 400, "invalid_redirect_uri").await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[("resource", "")]), "admin").await;
    assert!(page.text.contains("Server two"), "{}", page.text);
}

// AUTHZ-5: what a document names is not registered here, so the list is asked at authorize too.
#[tokio::test]
async fn a_redirect_that_the_operator_does_not_allow_is_never_gone_to() {
    let id = "https://app.example/client.json";
    let document = json!({ "client_id": id, "client_name": "App", "redirect_uris": ["https://elsewhere.example/cb"] });
    let gateway = TestGateway::start_with(Options {
        gateway: format!(
            r#""redirectUriAllowList": ["https://app.example"], "cimdDocuments": {}"#,
            json!({ id: document })
        ),
        ..Options::default()
    })
    .await;
    let client = TestClient {
        gateway: &gateway,
        http: crate::support::browser::client(),
        id: id.to_owned(),
        redirect_uri: "https://elsewhere.example/cb".to_owned(),
        secret: None,
    };
    let page = Browser::new().get(&client.authorize_url("one", &[])).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text.contains("does not allow the address"), "{}", page.text);
}

// AUTHZ-17, CONS-15: tabs opened before the browser holds any cookie, each with a cookie of its own on the way.
#[tokio::test]
async fn tabs_opened_at_once_in_a_fresh_browser_all_finish() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let mut starts = Vec::new();
    for tab in 0..4 {
        // Each request leaves before the answer to the one before has set its cookie.
        let fresh = Browser::new();
        let page = fresh.get(&client.authorize_url("one", &[("state", &tab.to_string())])).await;
        browser.cookies.lock().unwrap().extend(fresh.cookies.lock().unwrap().clone());
        starts.push(page.field("transaction"));
    }
    let consent = gateway.url("/oauth/consent");
    let mut providers = Vec::new();
    for transaction in &starts {
        let page = browser.post(&consent, &[("transaction", transaction), ("decision", "continue")]).await;
        providers.push(page.redirect().to_owned());
    }
    // They come back from the provider in another order than they left.
    for (tab, provider) in providers.iter().enumerate().rev() {
        let back = client.log_in(&browser, provider, "member").await;
        let page = browser.get(back.redirect()).await;
        let done = client.decide(&browser, &page, "approve").await;
        assert_eq!(done.param("state"), Some(tab.to_string()));
        assert_eq!(client.redeem(&done.param("code").unwrap()).await.status(), StatusCode::OK);
    }
}

// AUTHZ-14, CORS-2
#[tokio::test]
async fn authorize_works_by_post_as_well_and_has_no_cors_headers() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let url = client.authorize_url("one", &[]);
    let (endpoint, query) = url.split_once('?').unwrap();
    let request = client.http.post(endpoint).header("content-type", "application/x-www-form-urlencoded");
    let response = request.header("origin", "https://evil.example").body(query.to_owned()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().keys().any(|name| name.as_str().starts_with("access-control-")));
    let preflight = client
        .http
        .request(reqwest::Method::OPTIONS, endpoint)
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "GET")
        .send()
        .await
        .unwrap();
    assert!(!preflight.headers().contains_key("access-control-allow-origin"));
}

// IDP-7
#[tokio::test]
async fn nothing_of_the_clients_request_reaches_the_provider() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let url =
        client.authorize_url("one", &[("login_hint", "victim@example.com"), ("prompt", "login"), ("state", "mine")]);
    let transaction = browser.get(&url).await.field("transaction");
    let consent = gateway.url("/oauth/consent");
    let page = browser.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await;
    let state = param_of(page.redirect(), "state").unwrap();
    assert!(state.len() >= 43 && state != "mine");
    assert!(!page.redirect().contains("victim") && !page.redirect().contains("prompt"));
}

// AUTHZ-13
#[tokio::test]
async fn state_may_have_4096_bytes_and_not_one_more() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let (longest, too_long) = ("s".repeat(4096), "s".repeat(4097));
    let page = client.consent_page(&browser, &client.authorize_url("one", &[("state", &longest)]), "admin").await;
    assert_eq!(client.decide(&browser, &page, "approve").await.param("state"), Some(longest.clone()));
    let refused = browser.get(&client.authorize_url("one", &[("state", &too_long)])).await;
    assert_eq!((refused.param("error").as_deref(), refused.param("state")), (Some("invalid_request"), None));
    let otherwise = [("state", longest.as_str()), ("response_type", "token")];
    assert_eq!(browser.get(&client.authorize_url("one", &otherwise)).await.param("state"), Some(longest.clone()));
}

// LIM-4: another site can open any number of authorizations in a person's browser.
#[tokio::test]
async fn a_browser_has_sixty_four_authorizations_open_and_the_oldest_makes_room() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    client.decide(&browser, &page, "approve").await;
    let mut asked = Vec::new();
    for _ in 0..65 {
        gateway.clock.advance(1);
        asked.push(browser.get(&client.authorize_url("one", &[])).await.redirect().to_owned());
    }
    assert_eq!(browser.get(&asked[0]).await.status, StatusCode::NOT_FOUND, "the oldest is gone");
    for open in [&asked[1], &asked[64]] {
        assert_eq!(browser.get(open).await.status, StatusCode::OK);
    }
}
