//! Consent that cannot be skipped, forged or stolen (CONS), and the callback before it (IDP-1).

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;

use crate::support::browser::{Browser, Page, param_of};
use crate::support::flow::{REDIRECT, TestClient};
use crate::support::gateway::{Options, TestGateway, load};

// CONS-1, CONS-2, CONS-5
#[tokio::test]
async fn consent_is_asked_every_time_also_of_somebody_signed_in() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let start = browser.get(&client.authorize_url("one", &[])).await;
    assert!(start.text.contains("Test client") && start.text.contains("127.0.0.1:7777"), "before the provider, a page");
    for _ in 0..2 {
        let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
        assert_eq!(page.status, StatusCode::OK);
        client.decide(&browser, &page, "approve").await.param("code").unwrap();
    }
}

// CONS-6, CONS-7, CONS-8, CONS-10
#[tokio::test]
async fn the_page_says_who_asks_for_what_and_cannot_be_framed_or_kept() {
    let gateway = TestGateway::start().await;
    let body = json!({
        "client_name": "<b>Evil</b> \" onload=x",
        "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "none",
    });
    let client = TestClient::register_with(&gateway, &body).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    for text in [
        "ada@example.com",
        "Server one",
        "/mcp/one",
        "127.0.0.1:7777",
        "nverified",
        "tools, prompts and resources",
        "another account",
    ] {
        assert!(page.text.contains(text), "{text} is missing");
    }
    assert!(!page.text.contains("<b>Evil") && !page.text.contains("<script"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
}

// CONS-9
#[tokio::test]
async fn a_decision_needs_the_hidden_value_of_this_browser_and_transaction() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let (browser, other) = (Browser::new(), Browser::new());
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let foreign = client.consent_page(&other, &client.authorize_url("one", &[]), "member").await;
    let second = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let consent = gateway.url("/oauth/consent");
    let transaction = page.field("transaction");
    let submit = async |browser: &Browser, csrf: &str, decision: &str| {
        browser.post(&consent, &[("transaction", &transaction), ("csrf", csrf), ("decision", decision)]).await
    };
    for csrf in ["", "x", &foreign.field("csrf"), &second.field("csrf")] {
        for decision in ["approve", "switch", "cancel", "nonsense"] {
            let refused = submit(&browser, csrf, decision).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{decision} with {csrf}");
        }
    }
    let csrf = page.field("csrf");
    for site in ["cross-site", "same-site", "none"] {
        let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("decision", "approve")];
        assert_eq!(browser.post_from(&consent, &fields, site).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(submit(&other, &csrf, "approve").await.status, StatusCode::FORBIDDEN);
    assert_eq!(submit(&Browser::new(), &csrf, "approve").await.status, StatusCode::FORBIDDEN);
    assert!(submit(&browser, &csrf, "approve").await.param("code").is_some(), "and the honest form still works");
}

// CONS-12
#[tokio::test]
async fn two_submissions_give_one_code_and_visits_change_nothing() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    for _ in 0..3 {
        assert_eq!(browser.get(&page.url).await.field("csrf"), page.field("csrf"));
    }
    let (first, second) =
        tokio::join!(client.decide(&browser, &page, "approve"), client.decide(&browser, &page, "approve"));
    assert_eq!(first.redirect(), second.redirect());
    let changed_mind = client.decide(&browser, &page, "cancel").await;
    assert_eq!(changed_mind.redirect(), first.redirect());
    assert!(browser.get(&page.url).await.text.contains("Already approved"));
    assert_eq!(client.redeem(&first.param("code").unwrap()).await.status(), StatusCode::OK);
}

// CONS-13, AUTHZ-12
#[tokio::test]
async fn cancelling_tells_the_client_with_state_and_iss() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let denied = client.decide(&browser, &page, "cancel").await;
    let start = Browser::new();
    let transaction = start.get(&client.authorize_url("one", &[])).await.field("transaction");
    let consent = gateway.url("/oauth/consent");
    let early = start.post(&consent, &[("transaction", &transaction), ("decision", "cancel")]).await;
    for page in [denied, early] {
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        assert_eq!(page.param("error").as_deref(), Some("access_denied"));
        assert_eq!(page.param("state").as_deref(), Some("st-1"));
        assert_eq!(page.param("iss").as_deref(), Some(gateway.origin.as_str()));
    }
}

// CONS-16 (a): the attacker's authorize URL, finished in the victim's browser, gives the attacker nothing: the
// code goes to the client's own redirect URI, and the attacker's browser cannot take it up.
#[tokio::test]
async fn a_transaction_claimed_in_one_browser_is_closed_to_every_other() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let (attacker, victim) = (Browser::new(), Browser::new());
    let transaction = attacker.get(&client.authorize_url("one", &[])).await.field("transaction");
    let consent = gateway.url("/oauth/consent");
    victim.get(&client.authorize_url("one", &[])).await;
    let leave = victim.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await;
    let back = client.log_in(&victim, leave.redirect(), "member").await;
    let page = victim.get(back.redirect()).await;
    assert_eq!(page.status, StatusCode::OK);
    // The attacker knows the transaction, and even the page.
    let url = format!("{consent}?transaction={transaction}");
    assert_eq!(attacker.get(&url).await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.decide(&attacker, &page, "approve").await.status, StatusCode::FORBIDDEN);
    let again = attacker.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

// CONS-16 (b), IDP-1
#[tokio::test]
async fn a_callback_is_good_in_the_browser_it_was_started_in_and_once() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let (attacker, victim) = (Browser::new(), Browser::new());
    let transaction = attacker.get(&client.authorize_url("one", &[])).await.field("transaction");
    let consent = gateway.url("/oauth/consent");
    let leave = attacker.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await;
    let state = param_of(leave.redirect(), "state").unwrap();
    let login = gateway.url("/oauth/dev-login");
    let callback = attacker.post(&login, &[("state", &state), ("person", "admin")]).await.redirect().to_owned();
    // The victim is led to the attacker's callback, with and without a session of their own.
    assert_eq!(victim.get(&callback).await.status, StatusCode::FORBIDDEN);
    client.consent_page(&victim, &client.authorize_url("one", &[]), "member").await;
    let refused = victim.get(&callback).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("another browser"));
    // Nothing was spent; then it works, once.
    assert_eq!(attacker.get(&callback).await.status, StatusCode::SEE_OTHER);
    assert_eq!(attacker.get(&callback).await.status, StatusCode::BAD_REQUEST);
    for broken in ["/oauth/callback", "/oauth/callback?state=x&code=y", "/oauth/callback?code=y"] {
        let page = attacker.get(&gateway.url(broken)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{broken}");
    }
    // WOS-11: a code without a state is a sign-in that nobody here has started.
    assert!(attacker.get(&gateway.url("/oauth/callback?code=y")).await.text.contains("not started here"));
}

// IDP-1
#[tokio::test]
async fn a_login_that_takes_longer_than_the_state_lives_starts_again() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let transaction = browser.get(&client.authorize_url("one", &[])).await.field("transaction");
    let consent = gateway.url("/oauth/consent");
    let leave = browser.post(&consent, &[("transaction", &transaction), ("decision", "continue")]).await;
    gateway.clock.advance(901);
    let back = client.log_in(&browser, leave.redirect(), "admin").await;
    assert_eq!(back.status, StatusCode::BAD_REQUEST);
    assert!(back.text.contains("expired"));
}

// CONS-14, CONS-15, IDP-16
#[tokio::test]
async fn the_one_cookie_is_small_hidden_from_scripts_and_changes_at_login() {
    let gateway = TestGateway::start_with(Options {
        public_urls: vec!["https://gw.example.com".to_owned()],
        ..Options::default()
    })
    .await;
    let client = TestClient::register(&gateway).await;
    let url = client.authorize_url("one", &[("resource", "https://gw.example.com/mcp/one")]);
    let request = client.http.get(url);
    let response = request.header("host", "gw.example.com").send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-doorward=") && cookie.len() <= 200, "{cookie}");
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));

    let browser = Browser::new();
    browser.get(&client.authorize_url("one", &[])).await;
    let before = browser.copy();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let (old, new) = (before.cookies.lock().unwrap().clone(), browser.cookies.lock().unwrap().clone());
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    assert_ne!(old, new);
    // The value from before the login shows and decides nothing.
    assert!(!before.get(&page.url).await.text.contains("ada@example.com"));
    assert_eq!(client.decide(&before, &page, "approve").await.status, StatusCode::FORBIDDEN);
    // The cookie opens no route and no token endpoint.
    let cookies = new.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let call = client.http.post(gateway.resource("one")).header("cookie", cookies).send().await.unwrap();
    assert_eq!(call.status(), StatusCode::UNAUTHORIZED);
}

// CONS-6: another account, and sign-out under an open consent page.
#[tokio::test]
async fn another_account_can_be_used_and_a_page_from_before_sign_out_decides_nothing() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let page = client.consent_page(&browser, &client.authorize_url("one", &[]), "admin").await;
    let switched = client.decide(&browser, &page, "switch").await;
    let back = client.log_in(&browser, switched.redirect(), "member").await;
    let other = browser.get(back.redirect()).await;
    assert!(other.text.contains("max@example.com"));
    assert!(client.decide(&browser, &other, "approve").await.param("code").is_some());

    let open = client.consent_page(&browser, &client.authorize_url("one", &[]), "member").await;
    let logout = gateway.url("/oauth/logout");
    let ask = browser.get(&logout).await;
    assert_eq!(browser.post(&logout, &[("csrf", "x")]).await.status, StatusCode::FORBIDDEN);
    let bye = browser.post(&logout, &[("csrf", &ask.field("csrf"))]).await;
    assert_eq!(bye.status, StatusCode::OK);
    let stale = client.decide(&browser, &open, "approve").await;
    assert_eq!(stale.status, StatusCode::FORBIDDEN);
    assert!(stale.text.contains("no longer signed in"));
}

// CONS-3, CONS-4
#[tokio::test]
async fn consent_is_remembered_only_for_a_confidential_web_client_and_never_for_cross_site_visits() {
    let client_json = |name: &str| {
        format!(
            r#""rememberConsent": true, "clients": [{{ "clientId": "web", "name": "{name}", "clientSecret": "a-long-enough-secret-value-123456",
            "redirectUris": ["https://app.example/cb"] }}]"#
        )
    };
    let gateway = TestGateway::start_with(Options { gateway: client_json("Web"), ..Options::default() }).await;
    let public = TestClient::register(&gateway).await;
    let web = TestClient {
        gateway: &gateway,
        http: crate::support::browser::client(),
        id: "web".to_owned(),
        redirect_uri: "https://app.example/cb".to_owned(),
        secret: Some("a-long-enough-secret-value-123456".to_owned()),
    };
    let browser = Browser::new();
    let page = web.consent_page(&browser, &web.authorize_url("one", &[]), "admin").await;
    let code = web.decide(&browser, &page, "approve").await.param("code").unwrap();
    assert_eq!(web.redeem(&code).await.status(), StatusCode::OK);

    let visit = async |client: &TestClient<'_>, slug: &str, site: &str| {
        let to_consent = browser.get(&client.authorize_url(slug, &[])).await;
        let cookies =
            browser.cookies.lock().unwrap().iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
        let request = client.http.get(to_consent.redirect()).header("cookie", cookies).header("sec-fetch-site", site);
        request.send().await.unwrap().status()
    };
    assert_eq!(visit(&web, "one", "none").await, StatusCode::SEE_OTHER, "remembered");
    assert_eq!(visit(&web, "one", "cross-site").await, StatusCode::OK, "asked");
    assert_eq!(visit(&web, "two", "none").await, StatusCode::OK, "another resource");
    let page = public.consent_page(&browser, &public.authorize_url("one", &[]), "admin").await;
    public.decide(&browser, &page, "approve").await.param("code").unwrap();
    assert_eq!(visit(&public, "one", "none").await, StatusCode::OK, "never for a public client");
    // Whoever revokes the grant is asked again.
    let page = web.consent_page(&browser, &web.authorize_url("two", &[]), "admin").await;
    let code = web.decide(&browser, &page, "approve").await.param("code").unwrap();
    let tokens: serde_json::Value = web.redeem(&code).await.json().await.unwrap();
    assert_eq!(visit(&web, "two", "none").await, StatusCode::SEE_OTHER);
    let fields = [
        ("client_id", "web"),
        ("client_secret", web.secret.as_deref().unwrap()),
        ("token", tokens["refresh_token"].as_str().unwrap()),
    ];
    crate::support::flow::post_form(&web.http, &gateway.url("/oauth/revoke"), &fields).await;
    assert_eq!(visit(&web, "two", "none").await, StatusCode::OK);
}

const SECRET: &str = "a-long-enough-secret-value-123456";

/// A gateway with two scopes and the client `web`, which has these redirect URIs and remembers as the option says.
async fn with_web_client(remember: bool, authentication: &str, redirect_uris: &[&str]) -> TestGateway {
    let redirect_uris = json!(redirect_uris);
    let gateway = format!(
        r#""rememberConsent": {remember}, "scopes": {{ "mcp:tools": [], "mcp:write": ["mcp:tools"] }},
        "clients": [{{ "clientId": "web", {authentication}, "redirectUris": {redirect_uris} }}]"#
    );
    TestGateway::start_with(Options { gateway, ..Options::default() }).await
}

fn web_client<'g>(gateway: &'g TestGateway, redirect_uri: &str) -> TestClient<'g> {
    TestClient {
        gateway,
        http: crate::support::browser::client(),
        id: "web".to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        secret: Some(SECRET.to_owned()),
    }
}

/// The consent page as a browser asks for it that nobody sent there.
async fn own_visit(browser: &Browser, url: &str) -> Page {
    browser.get_with(url, &[("sec-fetch-site", "none")]).await
}

// CONS-3, SCOPE-6
#[tokio::test]
async fn a_remembered_consent_covers_what_was_approved_and_no_more() {
    const HTTPS: &str = "https://app.example/cb";
    let gateway = with_web_client(true, &format!("\"clientSecret\": \"{SECRET}\""), &[HTTPS]).await;
    let web = web_client(&gateway, HTTPS);
    let browser = Browser::new();
    let visit = async |scope: &str| {
        let to_consent = browser.get(&web.authorize_url("one", &[("scope", scope)])).await;
        own_visit(&browser, to_consent.redirect()).await
    };
    let page = web.consent_page(&browser, &web.authorize_url("one", &[("scope", "mcp:tools")]), "admin").await;
    web.decide(&browser, &page, "approve").await.param("code").unwrap();
    assert!(visit("mcp:tools").await.param("code").is_some());
    for more in ["mcp:write", "mcp:tools mcp:write"] {
        let asked = visit(more).await;
        assert_eq!((asked.status, asked.location.as_deref()), (StatusCode::OK, None), "{more}");
    }
    web.decide(&browser, &visit("mcp:tools mcp:write").await, "approve").await.param("code").unwrap();
    // Less than was approved, and then all of it again.
    for no_more in ["mcp:tools mcp:write", "mcp:tools", "mcp:tools mcp:write"] {
        assert!(visit(no_more).await.param("code").is_some(), "{no_more}");
    }
}

// CONS-3, CONS-17
#[tokio::test]
async fn what_a_person_cleared_is_asked_again_although_it_had_been_approved_before() {
    const HTTPS: &str = "https://app.example/cb";
    let gateway = with_web_client(true, &format!("\"clientSecret\": \"{SECRET}\""), &[HTTPS]).await;
    let web = web_client(&gateway, HTTPS);
    let browser = Browser::new();
    let url = |scope: &str| web.authorize_url("one", &[("scope", scope)]);
    let visit = async |scope: &str| own_visit(&browser, browser.get(&url(scope)).await.redirect()).await;
    let whole = web.consent_page(&browser, &url("mcp:tools mcp:write"), "admin").await;
    web.decide(&browser, &whole, "approve").await.param("code").unwrap();
    assert!(visit("mcp:tools mcp:write").await.param("code").is_some());

    let shown = browser.get(browser.get(&url("mcp:tools mcp:write")).await.redirect()).await;
    web.decide_without(&browser, &shown, &["mcp:write"]).await.param("code").unwrap();
    for asked in ["mcp:tools mcp:write", "mcp:write"] {
        let page = visit(asked).await;
        assert_eq!((page.status, page.location.as_deref()), (StatusCode::OK, None), "{asked}");
    }
    assert!(visit("mcp:tools").await.param("code").is_some(), "what stayed is remembered");
}

// CONS-2, CONS-3
#[rstest]
#[case::that_is_not_to_be_remembered(false, "\"clientSecret\": \"a-long-enough-secret-value-123456\"", &["https://app.example/cb"])]
#[case::that_is_public(true, "\"authMethod\": \"none\"", &["https://app.example/cb"])]
#[case::that_has_one_redirect_that_is_not_https(
    true,
    "\"clientSecret\": \"a-long-enough-secret-value-123456\"",
    &["https://app.example/cb", "http://127.0.0.1:7777/cb"]
)]
#[tokio::test]
async fn consent_is_asked_each_time_of_a_client(
    #[case] remember: bool,
    #[case] authentication: &str,
    #[case] redirect_uris: &[&str],
) {
    let gateway = with_web_client(remember, authentication, redirect_uris).await;
    let web = web_client(&gateway, redirect_uris[0]);
    let browser = Browser::new();
    let page = web.consent_page(&browser, &web.authorize_url("one", &[]), "admin").await;
    web.decide(&browser, &page, "approve").await.param("code").unwrap();
    let to_consent = browser.get(&web.authorize_url("one", &[])).await;
    let asked = own_visit(&browser, to_consent.redirect()).await;
    assert_eq!((asked.status, asked.location.as_deref()), (StatusCode::OK, None));
}

// CONS-3, CONS-9: the page was opened for one person, and another has signed in since.
#[tokio::test]
async fn what_one_person_approved_is_not_approved_for_the_next_one_in_their_browser() {
    const HTTPS: &str = "https://app.example/cb";
    let gateway = with_web_client(true, &format!("\"clientSecret\": \"{SECRET}\""), &[HTTPS]).await;
    let web = web_client(&gateway, HTTPS);
    let browser = Browser::new();
    let page = web.consent_page(&browser, &web.authorize_url("one", &[]), "admin").await;
    web.decide(&browser, &page, "approve").await.param("code").unwrap();
    let waiting = browser.get(&web.authorize_url("one", &[])).await;
    let other = web.consent_page(&browser, &web.authorize_url("two", &[]), "admin").await;
    let switched = web.decide(&browser, &other, "switch").await;
    web.log_in(&browser, switched.redirect(), "member").await;
    let asked = own_visit(&browser, waiting.redirect()).await;
    assert_eq!((asked.status, asked.location.as_deref()), (StatusCode::OK, None));
}

// CONS-3
#[tokio::test]
async fn consent_that_was_remembered_is_asked_again_once_the_option_is_off() {
    const HTTPS: &str = "https://app.example/cb";
    let gateway = with_web_client(true, &format!("\"clientSecret\": \"{SECRET}\""), &[HTTPS]).await;
    let web = web_client(&gateway, HTTPS);
    let browser = Browser::new();
    let page = web.consent_page(&browser, &web.authorize_url("one", &[]), "admin").await;
    web.decide(&browser, &page, "approve").await.param("code").unwrap();
    let file = gateway.folder().join("config/policies.json");
    let policies = std::fs::read_to_string(&file).unwrap();
    assert!(policies.contains("\"rememberConsent\": true"));
    let policies = policies.replace("\"rememberConsent\": true", "\"rememberConsent\": false");
    let off = load(&Options { policies: Some(policies), ..Options::default() }, gateway.folder());
    gateway.assembly.install(gateway.assembly.gateway(off));
    let to_consent = browser.get(&web.authorize_url("one", &[])).await;
    let asked = own_visit(&browser, to_consent.redirect()).await;
    assert_eq!((asked.status, asked.location.as_deref()), (StatusCode::OK, None));
}

// CONS-16
#[tokio::test]
async fn a_claimed_transaction_is_closed_to_another_browser_of_the_same_person() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let (owner, other) = (Browser::new(), Browser::new());
    let page = client.consent_page(&owner, &client.authorize_url("one", &[]), "admin").await;
    client.consent_page(&other, &client.authorize_url("one", &[]), "admin").await;
    assert_eq!(other.get(&page.url).await.status, StatusCode::NOT_FOUND);
    let before_login = owner.get(&client.authorize_url("two", &[])).await;
    assert_eq!(other.get(before_login.redirect()).await.status, StatusCode::NOT_FOUND);
    assert_eq!(owner.get(&page.url).await.status, StatusCode::OK);
}
