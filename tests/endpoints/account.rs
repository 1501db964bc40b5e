//! A person's own page (REV-4), and the login that leads there (IDP-1, IDP-16).

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::consent_attacks::{behind, leave};
use crate::fake_workos::FakeWorkOs;
use crate::pages::check_page;
use crate::support::browser::{Browser, Page, client, param_of};
use crate::support::flow::{TestClient, oauth_error};
use crate::support::gateway::TestGateway;

const DAY: i64 = 24 * 3600;

/// A client by another name.
async fn named<'g>(gateway: &'g TestGateway, name: &str, redirect: &str) -> TestClient<'g> {
    let body = json!({ "client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": "none" });
    TestClient::register_with(gateway, &body).await
}

/// The whole journey of a client, as `person`, in `browser`: the token answer.
async fn connect(client: &TestClient<'_>, browser: &Browser, slug: &str, person: &str) -> Value {
    let page = client.consent_page(browser, &client.authorize_url(slug, &[]), person).await;
    let code = client.decide(browser, &page, "approve").await.param("code").unwrap();
    client.redeem(&code).await.json().await.unwrap()
}

async fn served(client: &TestClient<'_>, slug: &str, tokens: &Value) -> bool {
    client.call(slug, tokens["access_token"].as_str().unwrap()).await.status() != StatusCode::UNAUTHORIZED
}

/// The ids on the page's buttons, and `all`.
fn revocable(page: &Page) -> Vec<&str> {
    page.text.split("name=\"revoke\" value=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

async fn revoke(gateway: &TestGateway, browser: &Browser, csrf: &str, id: &str) -> Page {
    browser.post(&gateway.url("/account"), &[("csrf", csrf), ("revoke", id)]).await
}

/// The grant id that an access token carries.
fn grant_id(tokens: &Value) -> String {
    let payload = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(payload).unwrap()).unwrap();
    claims["sid"].as_str().unwrap().to_owned()
}

// REV-4, REV-3
#[tokio::test]
async fn a_person_sees_what_acts_in_their_name_and_takes_back_one_or_all_of_it() {
    let gateway = TestGateway::start().await;
    let browser = Browser::new();
    let editor = named(&gateway, "<i>Editor", "cursor://anysphere.cursor-mcp/cb").await;
    let desk = named(&gateway, "Desk", "http://127.0.0.1:7777/cb").await;
    let first = connect(&editor, &browser, "one", "admin").await;
    let second = connect(&desk, &browser, "one", "admin").await;
    let third = connect(&desk, &browser, "two", "admin").await;
    let account = gateway.url("/account");
    let page = browser.get(&account).await;
    check_page(&page);
    for text in [
        "ada@example.com",
        "&#60;i&#62;Editor",
        "cursor://anysphere.cursor-mcp",
        "127.0.0.1:7777",
        "Server one",
        "/mcp/two",
        "tools, prompts and resources",
        "self-registered",
    ] {
        assert!(page.text.contains(text), "{text} is missing");
    }
    assert_eq!(revocable(&page).len(), 4, "three grants, and all");
    let done = revoke(&gateway, &browser, &page.field("csrf"), &grant_id(&first)).await;
    assert_eq!((done.status, done.redirect()), (StatusCode::SEE_OTHER, account.as_str()));
    assert!(!served(&editor, "one", &first).await, "at once");
    oauth_error(editor.refresh(first["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant").await;
    assert!(served(&desk, "one", &second).await && served(&desk, "two", &third).await);
    let page = browser.get(&account).await;
    assert!(!page.text.contains("Editor") && revocable(&page).len() == 3);
    revoke(&gateway, &browser, &page.field("csrf"), "all").await;
    assert!(!served(&desk, "one", &second).await && !served(&desk, "two", &third).await);
    assert!(browser.get(&account).await.text.contains("No application has access"));
    let id = doorward::domain::GrantId::new(grant_id(&second));
    let events = gateway.assembly.store.audit_events_of(&id).await.unwrap();
    assert!(events.iter().any(|event| event == "mcp_auth_grant_revoked"), "{events:?}");
}

// REV-4 (QuackbackIO/quackback#310, Altinity/altinity-mcp#108)
#[tokio::test]
async fn another_persons_grant_is_neither_seen_nor_taken_back_nor_told_from_one_that_is_not_there() {
    let gateway = TestGateway::start().await;
    let (ours, theirs) = (Browser::new(), Browser::new());
    let client = named(&gateway, "Ours", "http://127.0.0.1:7777/cb").await;
    let foreign = named(&gateway, "Theirs", "http://127.0.0.1:7777/cb").await;
    connect(&client, &ours, "one", "admin").await;
    let tokens = connect(&foreign, &theirs, "one", "member").await;
    let page = ours.get(&gateway.url("/account")).await;
    assert!(!page.text.contains("Theirs") && !page.text.contains(&grant_id(&tokens)));
    let csrf = page.field("csrf");
    let mut answers = Vec::new();
    for id in [grant_id(&tokens).as_str(), "grt_unknown", "\u{0}' OR 1=1"] {
        let answer = revoke(&gateway, &ours, &csrf, id).await;
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        headers.remove("date");
        answers.push((answer.status, answer.location, headers, answer.text));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, StatusCode::SEE_OTHER);
    revoke(&gateway, &ours, &csrf, "all").await;
    assert!(served(&foreign, "one", &tokens).await);
    assert!(theirs.get(&gateway.url("/account")).await.text.contains("Theirs"));
}

// REV-4, CONS-9
#[tokio::test]
async fn nothing_is_revoked_by_a_form_that_this_person_was_not_shown_in_this_browser() {
    let gateway = TestGateway::start().await;
    let (browser, attacker) = (Browser::new(), Browser::new());
    let client = TestClient::register(&gateway).await;
    let before = browser.copy();
    let tokens = connect(&client, &browser, "one", "admin").await;
    connect(&client, &attacker, "one", "guest").await;
    let account = gateway.url("/account");
    let csrf = browser.get(&account).await.field("csrf");
    let theirs = attacker.get(&account).await.field("csrf");
    let consent = client.consent_page(&browser, &client.authorize_url("two", &[]), "admin").await.field("csrf");
    let logout = browser.get(&gateway.url("/oauth/logout")).await.field("csrf");
    for forged in ["", "x", &theirs, &consent, &logout] {
        assert_eq!(revoke(&gateway, &browser, forged, "all").await.status, StatusCode::FORBIDDEN, "{forged}");
    }
    let fields = [("csrf", csrf.as_str()), ("revoke", "all")];
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(browser.post_from(&account, &fields, site).await.status, StatusCode::FORBIDDEN, "{site}");
    }
    assert_eq!(browser.post(&account, &[("csrf", &csrf)]).await.status, StatusCode::FORBIDDEN);
    for stranger in [&attacker, &before, &Browser::new()] {
        revoke(&gateway, stranger, &csrf, "all").await;
        revoke(&gateway, stranger, &csrf, &grant_id(&tokens)).await;
    }
    assert!(served(&client, "one", &tokens).await);
    // After signing out the page shows nothing and its form does nothing.
    browser.post(&gateway.url("/oauth/logout"), &[("csrf", &logout)]).await;
    revoke(&gateway, &browser, &csrf, "all").await;
    assert!(served(&client, "one", &tokens).await);
    assert!(!browser.get(&account).await.text.contains("ada@example.com"));
}

/// From the page of a browser where nobody is signed in to the provider.
async fn leave_from_account(gateway: &TestGateway, browser: &Browser) -> Page {
    let page = browser.get(&gateway.url("/account")).await;
    assert!(page.text.contains("Sign in") && !page.text.contains("csrf"));
    browser.post(&gateway.url("/account"), &[("sign-in", "yes")]).await
}

// REV-4, IDP-1, CONS-15
#[tokio::test]
async fn whoever_is_not_signed_in_signs_in_first_and_comes_back() {
    let provider = FakeWorkOs::start().await;
    let gateway = behind(&provider, "").await;
    let (browser, other) = (Browser::new(), Browser::new());
    let account = gateway.url("/account");
    let away = leave_from_account(&gateway, &browser).await;
    assert!(away.redirect().starts_with(&provider.base()));
    assert!(param_of(away.redirect(), "code_challenge").is_some());
    let back = browser.get(away.redirect()).await;
    // Another browser, with and without a login of its own under way, finishes nothing and asks the provider nothing.
    assert_eq!(other.get(back.redirect()).await.status, StatusCode::BAD_REQUEST);
    leave_from_account(&gateway, &other).await;
    assert_eq!(other.get(back.redirect()).await.status, StatusCode::BAD_REQUEST);
    assert!(provider.exchanges().is_empty());
    let before = browser.copy();
    let signed_in = browser.get(back.redirect()).await;
    assert_eq!(signed_in.redirect(), account);
    assert!(browser.get(&account).await.text.contains("alice@example.com"));
    assert!(!before.get(&account).await.text.contains("alice@example.com"), "the cookie has changed");
    assert_eq!(browser.get(back.redirect()).await.status, StatusCode::BAD_REQUEST, "once");
    assert_eq!(provider.exchanges().len(), 1);
    // The session is the browser's, so a client's request goes straight to consent.
    let client = TestClient::register(&gateway).await;
    let to_consent = browser.get(&client.authorize_url("one", &[])).await;
    assert!(browser.get(to_consent.redirect()).await.text.contains("alice@example.com"));
}

// IDP-1, REV-4
#[tokio::test]
async fn the_login_to_the_own_page_needs_a_cookie_a_click_and_to_come_back_in_time() {
    let provider = FakeWorkOs::start().await;
    let gateway = behind(&provider, "").await;
    let account = gateway.url("/account");
    let answer = client().get(&account).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "a visit goes nowhere by itself");
    assert!(answer.headers().contains_key("set-cookie"));
    let no_cookie = Browser::new().post(&account, &[("sign-in", "yes")]).await;
    assert_eq!(no_cookie.status, StatusCode::BAD_REQUEST);
    check_page(&no_cookie);
    let browser = Browser::new();
    check_page(&browser.get(&account).await);
    let forced = browser.post_from(&account, &[("sign-in", "yes")], "cross-site").await;
    assert_eq!(forced.status, StatusCode::FORBIDDEN);
    let away = leave_from_account(&gateway, &browser).await;
    let back = browser.get(away.redirect()).await;
    gateway.clock.advance(901);
    assert_eq!(browser.get(back.redirect()).await.status, StatusCode::BAD_REQUEST);
    assert!(provider.exchanges().is_empty());
    // What the provider refuses is said here: there is no client to tell.
    provider.behave(|behaviour| behaviour.callback_error = Some("access_denied".to_owned()));
    let away = leave_from_account(&gateway, &browser).await;
    let back = browser.get(away.redirect()).await;
    let refused = browser.get(back.redirect()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("href=\"/account\""), "{}", refused.text);
    assert!(!refused.text.contains("secret of WorkOS"));
}

// REV-4: with a client's sign-in open in the same browser, each login ends where it began
#[tokio::test]
async fn the_login_to_the_own_page_leaves_a_clients_sign_in_as_it_was() {
    let provider = FakeWorkOs::start().await;
    let gateway = behind(&provider, "").await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let start = browser.get(&client.authorize_url("one", &[])).await;
    let to_consent = leave(&gateway, &browser, &start).await;
    let to_account = leave_from_account(&gateway, &browser).await;
    let back = browser.get(to_account.redirect()).await;
    assert_eq!(browser.get(back.redirect()).await.redirect(), gateway.url("/account"));
    let back = browser.get(to_consent.redirect()).await;
    let page = browser.get(back.redirect()).await;
    let page = browser.get(page.redirect()).await;
    assert!(client.decide(&browser, &page, "approve").await.param("code").is_some());
}

// REV-4
#[tokio::test]
async fn a_grant_is_shown_with_the_day_it_was_made_and_the_day_it_was_last_used() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let day = || {
        let now = doorward::domain::Clock::now(&*gateway.clock).0;
        jiff::Timestamp::from_second(now).unwrap().strftime("%-d %B %Y").to_string()
    };
    let made = day();
    let tokens = connect(&client, &Browser::new(), "one", "admin").await;
    gateway.clock.advance(3 * DAY);
    assert_eq!(client.refresh(tokens["refresh_token"].as_str().unwrap()).await.status(), StatusCode::OK);
    let used = day();
    gateway.clock.advance(2 * DAY);
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("two", &[]), "admin").await;
    let shown = browser.get(&gateway.url("/account")).await;
    assert!(shown.text.contains(&format!("<dt>Since</dt><dd>{made}</dd>")), "{}", shown.text);
    assert!(shown.text.contains(&format!("<dt>Last used</dt><dd>{used}</dd>")), "{}", shown.text);
    // Approved, but its code not redeemed.
    client.decide(&browser, &page, "approve").await;
    assert!(browser.get(&gateway.url("/account")).await.text.contains("<dt>Last used</dt><dd>Never</dd>"));
}
