//! What strangers try against the authorization server, each held shut. `docs/security.md` names these tests.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::browser::{Browser, client};
use crate::support::flow::{REDIRECT, TestClient, VERIFIER, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

const DOCUMENT: &str = "https://client.example:8443/app.json";

/// A gateway that knows one client by its metadata document, without fetching it.
async fn with_document() -> TestGateway {
    let document = json!({
        "client_id": DOCUMENT, "client_name": "Published", "redirect_uris": ["https://elsewhere.example/cb"],
        "token_endpoint_auth_method": "none",
    });
    let gateway = format!(r#""cimdDocuments": {}"#, json!({ DOCUMENT: document }));
    TestGateway::start_with(Options { gateway, ..Options::default() }).await
}

fn published(gateway: &TestGateway) -> TestClient<'_> {
    TestClient {
        gateway,
        http: client(),
        id: DOCUMENT.to_owned(),
        redirect_uri: "https://elsewhere.example/cb".to_owned(),
        secret: None,
    }
}

// AUTHZ-16
#[tokio::test]
async fn nobody_makes_the_gateway_an_open_redirector_by_publishing_a_document() {
    let gateway = with_document().await;
    let client = published(&gateway);
    let page = Browser::new().get(&client.authorize_url("one", &[("response_type", "token")])).await;
    assert_eq!((page.status, page.location.as_deref()), (StatusCode::BAD_REQUEST, None), "{}", page.text);
    assert!(page.text.contains("Return to elsewhere.example"), "{}", page.text);
}

// CONS-6
#[tokio::test]
async fn a_document_on_another_port_of_a_host_is_not_shown_as_the_hosts() {
    let gateway = with_document().await;
    let client = published(&gateway);
    let page = client.consent_page(&Browser::new(), &client.authorize_url("one", &[]), "admin").await;
    assert!(page.text.contains("client.example:8443"), "{}", page.text);
}

// LIM-4
#[tokio::test]
async fn another_site_that_opens_sign_ins_in_a_persons_browser_locks_nobody_out() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let url = client.authorize_url("one", &[]);
    let oldest = client.consent_page(&browser, &url, "admin").await;
    gateway.clock.advance(1);
    for number in 0..70 {
        let away = browser.get(&url).await;
        assert_eq!(away.status, StatusCode::SEE_OTHER, "{number}");
    }
    let page = browser.get(&url).await;
    let page = browser.get(page.redirect()).await;
    assert!(client.decide(&browser, &page, "approve").await.param("code").is_some());
    // They are bounded all the same: the oldest made room.
    assert_eq!(browser.get(&oldest.url).await.status, StatusCode::NOT_FOUND);
}

// AUTHZ-1, AUTHZ-2, AUTHZ-4
#[tokio::test]
async fn no_spelling_of_a_redirect_uri_leads_anywhere_but_where_the_client_registered() {
    let gateway = TestGateway::start().await;
    let registered = ["https://app.example/cb", "http://127.0.0.1/cb", "http://[::1]/cb", "cursor://app/cb"];
    let body = json!({ "redirect_uris": registered, "token_endpoint_auth_method": "none" });
    let client = TestClient::register_with(&gateway, &body).await;
    let browser = Browser::new();
    for presented in [
        "https://app.example\\@evil.example/cb",
        "https://app.example\t.evil.example/cb",
        "https://app.example%2f@evil.example/cb",
        "https://app.example@evil.example/cb",
        "https://app.example.evil.example/cb",
        "https://APP.example/cb",
        "https://app.example:443/cb",
        "https://app.example/cb/",
        "https://app.example/cb/../evil",
        "https://app.example/cb?next=evil",
        "https://app.example/cb#x",
        "https:app.example/cb",
        "https:///app.example/cb",
        "//app.example/cb",
        "https://\u{ff41}pp.example/cb",
        "http://app.example/cb",
        "http://127.1/cb",
        "http://0x7f000001/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.0.0.1:1:2/cb",
        "http://localhost/cb",
        "http://localhost.evil.example/cb",
        "http://[::1%25eth0]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://[::1]evil.example/cb",
        "cursor://evil/cb",
        "CURSOR://app/cb",
        "javascript:alert(1)//cursor://app/cb",
        " https://app.example/cb",
        "https://app.example/cb\0",
    ] {
        let page = browser.get(&client.authorize_url("one", &[("redirect_uri", presented)])).await;
        assert_eq!((page.status, &page.location), (StatusCode::BAD_REQUEST, &None), "{presented}");
        assert!(!page.text.contains("evil.example"), "{presented} is on the page");
    }
}

// CODE-5, CODE-6, CODE-7
#[tokio::test]
async fn a_stolen_code_is_of_no_use_to_another_client_or_without_the_verifier() {
    let gateway = TestGateway::start().await;
    let (victim, thief) = (TestClient::register(&gateway).await, TestClient::register(&gateway).await);
    let code = victim.code("one").await;
    oauth_error(thief.redeem(&code).await, 400, "invalid_grant").await;
    let redeem = async |fields: &[(&str, &str)]| {
        let mut form = vec![("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT)];
        form.extend_from_slice(fields);
        victim.token(&form).await
    };
    for fields in [
        &[][..],
        &[("code_verifier", "")],
        &[("code_verifier", "plain")],
        // The challenge in the verifier's place: what `plain` would take.
        &[("code_verifier", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), ("code_challenge_method", "plain")],
    ] {
        oauth_error(redeem(fields).await, 400, "invalid_grant").await;
    }
    // None of that cost the victim anything.
    assert_eq!(redeem(&[("code_verifier", VERIFIER)]).await.status(), StatusCode::OK);
}

// REFR-5, REFR-6, REV-1
#[tokio::test]
async fn a_stranger_without_the_client_id_or_with_another_ends_nobodys_grant() {
    let gateway = TestGateway::start().await;
    let (victim, thief) = (TestClient::register(&gateway).await, TestClient::register(&gateway).await);
    let tokens = victim.connect("one").await;
    let first = tokens["refresh_token"].as_str().unwrap().to_owned();
    let mut newest = first.clone();
    for _ in 0..2 {
        let next: Value = victim.refresh(&newest).await.json().await.unwrap();
        newest = next["refresh_token"].as_str().unwrap().to_owned();
    }
    // A replay by the victim's client would end the grant; one by another client does nothing.
    oauth_error(thief.refresh(&first).await, 400, "invalid_grant").await;
    let url = gateway.url("/oauth/revoke");
    for token in [&first, &newest, tokens["access_token"].as_str().unwrap()] {
        let answer = post_form(&thief.http, &url, &[("client_id", &thief.id), ("token", token)]).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let nobody = post_form(&thief.http, &url, &[("token", token)]).await;
        oauth_error(nobody, 400, "invalid_request").await;
    }
    assert_eq!(victim.refresh(&newest).await.status(), StatusCode::OK);
}

// DCR-14, SEC-7
#[tokio::test]
async fn one_registrations_token_manages_no_other() {
    let gateway = TestGateway::start().await;
    let http = client();
    let register = async || {
        let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
        let answer = http.post(gateway.url("/oauth/register")).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let (mine, theirs) = (register().await, register().await);
    let url = theirs["registration_client_uri"].as_str().unwrap();
    let token = mine["registration_access_token"].as_str().unwrap();
    let changed = json!({ "redirect_uris": ["https://evil.example/cb"] });
    for request in [http.get(url), http.put(url).json(&changed), http.delete(url)] {
        let answer = request.bearer_auth(token).send().await.unwrap();
        oauth_error(answer, 401, "invalid_token").await;
    }
    let own = http.get(url).bearer_auth(theirs["registration_access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(own.json::<Value>().await.unwrap()["redirect_uris"], json!([REDIRECT]));
}

// CODE-11, CHAL-2, REV-7
#[tokio::test]
async fn no_kind_of_token_passes_for_another() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let code = client.code("one").await;
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    for token in [&refresh, &code] {
        assert_eq!(client.call("one", token).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(client.call("two", &access).await.status(), StatusCode::UNAUTHORIZED);
    for token in [&access, &code] {
        oauth_error(client.refresh(token).await, 400, "invalid_grant").await;
    }
    oauth_error(client.redeem(&refresh).await, 400, "invalid_grant").await;
    assert_eq!(client.refresh(&refresh).await.status(), StatusCode::OK);
}
