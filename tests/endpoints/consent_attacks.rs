//! Two browsers, an attacker's and a victim's: whatever the attacker starts, sends or plants, no code comes of it
//! for the victim (CONS-16; the MCP security page on the confused deputy).

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::fake_workos::{API_KEY, CLIENT_ID, FakeWorkOs};
use crate::support::browser::{Browser, Page, client, param_of};
use crate::support::flow::TestClient;
use crate::support::gateway::{Options, TestGateway, load};

const SECRET: &str = "a-long-enough-secret-value-123456";
const ATTACKER: &str = "guest";
const VICTIM: &str = "admin";
/// How the pages name the victim.
const VICTIM_EMAIL: &str = "ada@example.com";

/// A gateway in front of `provider`, with the login policy's `gateway` options.
pub async fn behind(provider: &FakeWorkOs, gateway: &str) -> TestGateway {
    behind_with(provider, gateway, Options::default()).await
}

pub async fn behind_with(provider: &FakeWorkOs, gateway: &str, options: Options) -> TestGateway {
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{
            "clientId": "{CLIENT_ID}", "clientSecret": "{API_KEY}", "apiUrl": "{}", "gateway": {{ {gateway} }} }} }} }}]}}"#,
        provider.base()
    );
    TestGateway::start_with(Options { policies: Some(policies), ..options }).await
}

/// A code on its way to a client.
fn has_code(page: &Page) -> bool {
    page.location.as_deref().is_some_and(|location| location.contains("code="))
}

async fn post(gateway: &TestGateway, browser: &Browser, fields: &[(&str, &str)]) -> Page {
    browser.post(&gateway.url("/oauth/consent"), fields).await
}

/// Everything a browser can be made to do with a transaction, with `csrf` in hand.
async fn try_everything(gateway: &TestGateway, browser: &Browser, transaction: &str, csrf: &str) {
    let page = browser.get(&gateway.url(&format!("/oauth/consent?transaction={transaction}"))).await;
    assert!(!has_code(&page));
    for decision in ["approve", "switch", "cancel", "continue"] {
        let answer =
            post(gateway, browser, &[("transaction", transaction), ("csrf", csrf), ("decision", decision)]).await;
        assert!(answer.location.is_none(), "{decision}: {:?}", answer.location);
        assert!(answer.status.is_client_error(), "{decision}: {}", answer.status);
    }
}

/// Presses *continue* on the page before the login.
pub async fn leave(gateway: &TestGateway, browser: &Browser, page: &Page) -> Page {
    post(gateway, browser, &[("transaction", &page.field("transaction")), ("decision", "continue")]).await
}

/// From the client's request to the consent page, through WorkOS.
async fn signed_in_at_workos(gateway: &TestGateway, client: &TestClient<'_>, browser: &Browser) -> Page {
    let start = browser.get(&client.authorize_url("one", &[])).await;
    let away = leave(gateway, browser, &start).await;
    let back = browser.get(away.redirect()).await;
    let page = browser.get(back.redirect()).await;
    browser.get(page.redirect()).await
}

// CONS-16 (a), (c), CONS-9
#[tokio::test]
async fn a_link_to_somebody_elses_sign_in_opens_nothing_and_its_form_does_nothing() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let (attacker, victim) = (Browser::new(), Browser::new());
    let theirs = client.consent_page(&attacker, &client.authorize_url("one", &[]), ATTACKER).await;
    let own = client.consent_page(&victim, &client.authorize_url("one", &[]), VICTIM).await;
    let (transaction, csrf) = (theirs.field("transaction"), theirs.field("csrf"));
    for browser in [&victim, &Browser::new()] {
        try_everything(&gateway, browser, &transaction, &csrf).await;
    }
    try_everything(&gateway, &victim, &transaction, &own.field("csrf")).await;
    // Posted by a page of the attacker's, the victim's own form does nothing either.
    let fields = [("transaction", own.field("transaction")), ("csrf", own.field("csrf"))];
    let fields = [(fields[0].0, fields[0].1.as_str()), (fields[1].0, fields[1].1.as_str()), ("decision", "approve")];
    let forged = victim.post_from(&gateway.url("/oauth/consent"), &fields, "cross-site").await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    for form in [
        &[("transaction", own.field("transaction").as_str()), ("decision", "approve")][..],
        &[("transaction", own.field("transaction").as_str()), ("csrf", &csrf), ("decision", "approve")],
    ] {
        assert_eq!(post(&gateway, &victim, form).await.status, StatusCode::FORBIDDEN);
    }
    assert!(has_code(&client.decide(&victim, &own, "approve").await), "and the honest form still works");
    assert!(has_code(&client.decide(&attacker, &theirs, "approve").await), "and nothing was spent on the way");
}

// CONS-16 (a), (b), IDP-1 (CVE-2026-27124: consent in one browser, the provider's login in another)
#[tokio::test]
async fn a_login_that_the_attacker_started_is_finished_by_no_other_browser_and_asks_the_provider_nothing() {
    let provider = FakeWorkOs::start().await;
    let gateway = behind(&provider, "").await;
    let client = TestClient::register(&gateway).await;
    let (attacker, victim) = (Browser::new(), Browser::new());
    let start = attacker.get(&client.authorize_url("one", &[])).await;
    let away = leave(&gateway, &attacker, &start).await;
    // The attacker sends the provider's address; the victim is signed in there and comes straight back.
    let back = victim.get(away.redirect()).await;
    for browser in [&Browser::new(), &victim] {
        let refused = browser.get(back.redirect()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(!refused.headers.contains_key("set-cookie"), "nobody is signed in");
    }
    // The same with a victim who has a session of their own.
    let page = signed_in_at_workos(&gateway, &client, &victim).await;
    assert!(page.text.contains("alice@example.com"));
    let spent = provider.exchanges().len();
    assert_eq!(victim.get(back.redirect()).await.status, StatusCode::FORBIDDEN);
    for callback in [
        gateway.url("/oauth/callback"),
        gateway.url("/oauth/callback?code=x"),
        gateway.url("/oauth/callback?code=x&state=unknown"),
        back.redirect().replace("state=", "state=x"),
    ] {
        assert_eq!(victim.get(&callback).await.status, StatusCode::BAD_REQUEST, "{callback}");
    }
    assert_eq!(provider.exchanges().len(), spent, "no upstream call for a foreign, unknown or missing state");
    // And the attacker is no further than before.
    let still = attacker.get(&gateway.url(&format!("/oauth/consent?transaction={}", start.field("transaction")))).await;
    assert!(still.text.contains("Continue to sign in"));
}

// CONS-6, CONS-16, IDP-1: login CSRF
#[tokio::test]
async fn a_victim_signed_in_as_the_attacker_reads_the_attackers_name_before_deciding() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let (attacker, victim) = (Browser::new(), Browser::new());
    let start = attacker.get(&client.authorize_url("one", &[])).await;
    let away = leave(&gateway, &attacker, &start).await;
    let state = param_of(away.redirect(), "state").unwrap();
    let back = attacker.post(&gateway.url("/oauth/dev-login"), &[("state", &state), ("person", ATTACKER)]).await;
    assert_eq!(victim.get(back.redirect()).await.status, StatusCode::FORBIDDEN, "by the attacker's callback, never");
    attacker.get(back.redirect()).await;
    // Not even a cookie planted in the victim's browser, by whatever means, makes the page lie.
    let planted = attacker.copy();
    let page = client.consent_page(&planted, &client.authorize_url("one", &[]), VICTIM).await;
    assert!(page.text.contains("gwen@example.com"), "{}", page.text);
    assert!(!page.text.contains(VICTIM_EMAIL));
}

// CONS-15: a cookie from before the login, planted by the attacker
#[tokio::test]
async fn whoever_knows_the_cookie_from_before_the_login_shares_nothing_of_it() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let attacker = Browser::new();
    attacker.get(&client.authorize_url("one", &[])).await;
    let victim = attacker.copy();
    let page = client.consent_page(&victim, &client.authorize_url("one", &[]), VICTIM).await;
    assert!(page.text.contains(VICTIM_EMAIL));
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let shown = attacker.get(&page.url).await;
    assert!(!shown.text.contains(VICTIM_EMAIL) && !shown.text.contains("csrf"));
    for decision in ["approve", "cancel", "switch"] {
        let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", decision)];
        assert_eq!(post(&gateway, &attacker, &fields).await.status, StatusCode::FORBIDDEN, "{decision}");
    }
    let logout = attacker.post(&gateway.url("/oauth/logout"), &[("csrf", &csrf)]).await;
    assert!(logout.text.contains("signed out"));
    // The old value can start a login, as itself only; the victim's page is not approved by it.
    let own = client.consent_page(&attacker, &client.authorize_url("one", &[]), ATTACKER).await;
    assert!(own.text.contains("gwen@example.com"));
    let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", "approve")];
    assert_eq!(post(&gateway, &attacker, &fields).await.status, StatusCode::FORBIDDEN);
    let stolen = attacker.get(&page.url).await;
    assert!(!has_code(&stolen) && !stolen.text.contains(VICTIM_EMAIL));
}

// CONS-9, CONS-16: the page names the first person, the browser by now belongs to the second
#[tokio::test]
async fn a_page_shown_to_one_person_decides_nothing_for_the_next_one_in_the_same_browser() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let first = client.consent_page(&browser, &client.authorize_url("one", &[]), ATTACKER).await;
    let second = client.consent_page(&browser, &client.authorize_url("one", &[]), ATTACKER).await;
    let switched = client.decide(&browser, &second, "switch").await;
    let back = client.log_in(&browser, switched.redirect(), VICTIM).await;
    browser.get(back.redirect()).await;
    for page in [&first, &second] {
        let answer = client.decide(&browser, page, "approve").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    // Also once the same transaction waits for the second person.
    let start = browser.get(&first.url).await;
    let again = leave(&gateway, &browser, &start).await;
    let shown = browser.get(again.redirect()).await;
    assert!(shown.text.contains(VICTIM_EMAIL));
    for decision in ["approve", "cancel", "switch"] {
        assert_eq!(client.decide(&browser, &first, decision).await.status, StatusCode::FORBIDDEN, "{decision}");
    }
    assert!(has_code(&client.decide(&browser, &shown, "approve").await));
}

// IDP-16, CONS-9
#[tokio::test]
async fn after_signing_out_the_old_cookie_identifies_nobody_and_no_open_page_can_be_approved() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), VICTIM).await;
    let other = client.consent_page(&browser, &client.authorize_url("two", &[]), VICTIM).await;
    let thief = browser.copy();
    let logout = gateway.url("/oauth/logout");
    let ask = browser.get(&logout).await;
    assert!(ask.text.contains(VICTIM_EMAIL));
    assert!(browser.get(&page.url).await.text.contains("Approve"), "a GET signs nobody out");
    let csrf = ask.field("csrf");
    for (form, site) in
        [(&[("csrf", csrf.as_str())][..], "cross-site"), (&[], "same-origin"), (&[("csrf", "x")], "same-origin")]
    {
        assert_eq!(browser.post_from(&logout, form, site).await.status, StatusCode::FORBIDDEN, "{site}");
    }
    assert!(browser.post(&logout, &[("csrf", &csrf)]).await.text.contains("signed out"));
    for browser in [&browser, &thief] {
        for page in [&page, &other] {
            assert_eq!(client.decide(browser, page, "approve").await.status, StatusCode::FORBIDDEN);
            assert!(!browser.get(&page.url).await.text.contains(VICTIM_EMAIL));
        }
        assert!(!browser.get(&logout).await.text.contains(VICTIM_EMAIL));
        let next = browser.get(&client.authorize_url("one", &[])).await;
        assert!(next.text.contains("Continue to sign in"));
    }
}

// IDP-16, WOS-16
#[tokio::test]
async fn signing_out_ends_the_session_at_workos_too_and_so_does_another_account() {
    let provider = FakeWorkOs::start().await;
    let gateway = behind(&provider, "").await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = signed_in_at_workos(&gateway, &client, &browser).await;
    let logout = gateway.url("/oauth/logout");
    let ask = browser.get(&logout).await;
    let away = browser.post(&logout, &[("csrf", &ask.field("csrf"))]).await;
    assert!(away.redirect().starts_with(&format!("{}/user_management/sessions/logout?", provider.base())));
    assert_eq!(away.param("return_to").as_deref(), Some(logout.as_str()));
    let first = away.param("session_id").unwrap();
    let back = browser.get(away.redirect()).await;
    assert!(browser.get(back.redirect()).await.text.contains("You are signed out"));
    assert_eq!(client.decide(&browser, &page, "approve").await.status, StatusCode::FORBIDDEN);

    // Several sign-ins are open; the one that asked for another account is the one to come back to.
    let page = signed_in_at_workos(&gateway, &client, &browser).await;
    for _ in 0..3 {
        let other = browser.get(&client.authorize_url("two", &[])).await;
        browser.get(other.redirect()).await;
    }
    let away = client.decide(&browser, &page, "switch").await;
    assert!(away.redirect().starts_with(&format!("{}/user_management/sessions/logout?", provider.base())));
    let second = away.param("session_id").unwrap();
    let back = browser.get(away.redirect()).await;
    assert_eq!(back.redirect(), gateway.url("/oauth/consent"));
    let same = browser.get(back.redirect()).await;
    let start = browser.get(same.redirect()).await;
    assert!(start.text.contains("Continue to sign in"), "{}", start.text);
    assert_eq!(start.field("transaction"), page.field("transaction"));
    assert_eq!(provider.ended_sessions(), [first.clone(), second.clone()]);
    assert_ne!(first, second);
    assert_eq!(client.decide(&browser, &page, "approve").await.status, StatusCode::FORBIDDEN);
    // The provider is asked again, and whoever signs in there decides.
    let away = leave(&gateway, &browser, &start).await;
    let back = browser.get(&format!("{}&login_hint=bob@example.com", away.redirect())).await;
    let page = browser.get(back.redirect()).await;
    assert!(browser.get(page.redirect()).await.text.contains("bob@example.com"));
}

/// A client that consent can be remembered for.
fn web<'g>(gateway: &'g TestGateway, id: &str) -> TestClient<'g> {
    TestClient {
        gateway,
        http: client(),
        id: id.to_owned(),
        redirect_uri: "https://app.example/cb".to_owned(),
        secret: Some(SECRET.to_owned()),
    }
}

/// A visit to the consent page with the headers of a navigation of the browser's own, and further ones.
async fn visit(browser: &Browser, url: &str, headers: &[(&str, &str)]) -> Page {
    let location = browser.get(url).await.redirect().to_owned();
    let all = [&[("sec-fetch-site", "none")], headers].concat();
    browser.get_with(&location, &all).await
}

async fn approve(client: &TestClient<'_>, browser: &Browser) {
    let page = client.consent_page(browser, &client.authorize_url("one", &[]), VICTIM).await;
    assert!(has_code(&client.decide(browser, &page, "approve").await));
}

// CONS-3, CONS-4 (GHSA-6x8h-498w-gv8c)
#[tokio::test]
async fn an_approval_remembered_for_one_client_serves_no_other_of_the_same_name() {
    let gateway = TestGateway::start_with(Options {
        gateway: format!(
            r#""rememberConsent": true, "clients": [
                {{"clientId": "web", "name": "Web", "clientSecret": "{SECRET}", "redirectUris": ["https://app.example/cb"]}},
                {{"clientId": "twin", "name": "Web", "clientSecret": "{SECRET}", "redirectUris": ["https://app.example/cb"]}}]"#
        ),
        ..Options::default()
    })
    .await;
    let browser = Browser::new();
    let client = web(&gateway, "web");
    approve(&client, &browser).await;
    assert!(has_code(&visit(&browser, &client.authorize_url("one", &[]), &[]).await), "remembered");
    let twin = web(&gateway, "twin");
    let registered = json!({ "client_name": "Web", "redirect_uris": ["https://app.example/cb"],
        "token_endpoint_auth_method": "client_secret_basic" });
    let registered = TestClient::register_with(&gateway, &registered).await;
    for impostor in [&twin, &registered] {
        let page = visit(&browser, &impostor.authorize_url("one", &[]), &[]).await;
        assert_eq!(page.status, StatusCode::OK, "asked");
        assert!(page.text.contains("wants to use"));
    }
    // Nor does it serve another person in the same browser.
    let page = browser.get(&client.authorize_url("two", &[])).await;
    let page = browser.get(page.redirect()).await;
    let switched = client.decide(&browser, &page, "switch").await;
    let back = client.log_in(&browser, switched.redirect(), "member").await;
    browser.get(back.redirect()).await;
    assert_eq!(visit(&browser, &client.authorize_url("one", &[]), &[]).await.status, StatusCode::OK);
}

// CONS-3, CONS-12
#[tokio::test]
async fn what_a_browser_fetches_ahead_of_the_person_approves_nothing() {
    let gateway = TestGateway::start_with(Options {
        gateway: format!(
            r#""rememberConsent": true, "clients": [
                {{"clientId": "web", "name": "Web", "clientSecret": "{SECRET}", "redirectUris": ["https://app.example/cb"]}}]"#
        ),
        ..Options::default()
    })
    .await;
    let browser = Browser::new();
    let client = web(&gateway, "web");
    approve(&client, &browser).await;
    let url = client.authorize_url("one", &[]);
    for ahead in [("sec-purpose", "prefetch"), ("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch")] {
        let page = visit(&browser, &url, &[ahead]).await;
        assert_eq!(page.status, StatusCode::OK, "{ahead:?}");
        // The same page again, by the person: any number of visits is harmless.
        for _ in 0..2 {
            assert_eq!(browser.get(&page.url).await.field("csrf"), page.field("csrf"));
        }
        assert!(has_code(&client.decide(&browser, &page, "approve").await));
    }
    // Fetched twice, the first page is for a login of its own, and both can be finished.
    let fresh = Browser::new();
    let (first, second) = (fresh.get(&url).await, fresh.get(&url).await);
    for start in [first, second] {
        let mut page = leave(&gateway, &fresh, &start).await;
        if page.redirect().contains("dev-login") {
            page = client.log_in(&fresh, page.redirect(), VICTIM).await;
        }
        let page = fresh.get(page.redirect()).await;
        assert!(has_code(&client.decide(&fresh, &page, "approve").await));
    }
}

const DOCUMENT: &str = "https://app.example/client.json";

fn document_options(change: &Value) -> String {
    let key = |x: &str| {
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "x": x, "alg": "ES256",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" }] })
    };
    let mut document = json!({
        "client_id": DOCUMENT, "client_name": "Web", "redirect_uris": ["https://app.example/cb"],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": key("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"),
    });
    for (name, value) in change.as_object().unwrap() {
        document[name] = value.clone();
    }
    if change.get("other_key").is_some() {
        document["jwks"] = key("WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis");
        document["jwks"]["keys"][0]["y"] = json!("y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE");
    }
    document.as_object_mut().unwrap().remove("other_key");
    format!(r#""rememberConsent": true, "cimdDocuments": {{ "{DOCUMENT}": {document} }}"#)
}

// CONS-4, CIMD-6
#[tokio::test]
async fn a_metadata_document_with_other_redirects_keys_or_name_is_asked_about_again() {
    let options = |change: &Value| Options { gateway: document_options(change), ..Options::default() };
    let gateway = TestGateway::start_with(options(&json!({}))).await;
    let browser = Browser::new();
    let client = TestClient { secret: None, ..web(&gateway, DOCUMENT) };
    let url = client.authorize_url("one", &[]);
    approve(&client, &browser).await;
    assert!(has_code(&visit(&browser, &url, &[]).await), "remembered");
    let folder = tempfile::tempdir().unwrap();
    let install = |change: &Value| {
        let changed = gateway.assembly.gateway(load(&options(change), folder.path()));
        gateway.assembly.install(changed);
    };
    for change in [
        json!({ "redirect_uris": ["https://app.example/cb", "https://app.example/other"] }),
        json!({ "client_name": "web" }),
        json!({ "client_name": "Payroll" }),
        json!({ "other_key": true }),
    ] {
        install(&change);
        let page = visit(&browser, &url, &[]).await;
        assert_eq!(page.status, StatusCode::OK, "{change}");
        install(&json!({}));
        assert!(has_code(&visit(&browser, &url, &[]).await), "the one that was approved still is");
    }
}
