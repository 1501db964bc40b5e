//! What every page owes the person who reads it (CONS-7, CONS-8, CONS-10).

use reqwest::StatusCode;
use serde_json::json;

use crate::support::browser::{Browser, Page, client};
use crate::support::flow::{REDIRECT, TestClient};
use crate::support::gateway::TestGateway;

/// What every page owes (CONS-10).
pub fn check_page(page: &Page) {
    let header = |name: &str| {
        let value = page.headers.get(name).unwrap_or_else(|| panic!("{} lacks {name}", page.url));
        value.to_str().unwrap().to_owned()
    };
    assert_eq!(header("content-type"), "text/html; charset=utf-8", "{}", page.url);
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let policy = header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{}: {policy}", page.url);
    }
    assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
    let text = page.text.to_lowercase();
    assert!(!text.contains("<script") && !text.contains("javascript:") && !text.contains("<iframe"), "{}", page.url);
}

// CONS-10, CONS-11, AUTHZ-16
#[tokio::test]
async fn no_page_can_be_framed_kept_or_needs_a_script_and_that_goes_for_errors_too() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let browser = Browser::new();
    let consent = gateway.url("/oauth/consent");
    let url = client.authorize_url("one", &[]);
    let mut pages = vec![
        browser.get(&gateway.url("/")).await,
        browser.get(&url).await,
        browser.get(&gateway.url("/oauth/authorize")).await,
        browser.get(&client.authorize_url("one", &[("client_id", "dcr_unknown")])).await,
        browser.get(&client.authorize_url("one", &[("redirect_uri", "https://evil.example/cb")])).await,
        browser.post(&gateway.url("/oauth/authorize"), &[("x", &"x".repeat(70_000))]).await,
        browser.get(&gateway.url("/oauth/callback")).await,
        browser.get(&gateway.url("/oauth/callback?state=x&code=y")).await,
        browser.get(&gateway.url("/oauth/dev-login?state=x")).await,
        browser.post(&gateway.url("/oauth/dev-login"), &[]).await,
        browser.get(&consent).await,
        browser.get(&format!("{consent}?transaction=unknown")).await,
        browser.post(&consent, &[]).await,
        browser.post(&consent, &[("transaction", &"x".repeat(70_000))]).await,
        browser.post_from(&consent, &[], "cross-site").await,
        browser.get(&gateway.url("/oauth/logout")).await,
        browser.post(&gateway.url("/oauth/logout"), &[]).await,
    ];
    let page = client.consent_page(&browser, &url, "admin").await;
    pages.push(browser.get(&gateway.url("/oauth/logout")).await);
    pages.push(browser.post(&gateway.url("/oauth/logout"), &[]).await);
    let approved = client.decide(&browser, &page, "approve").await;
    assert_eq!(approved.headers["cache-control"], "no-store");
    assert_eq!(approved.headers["referrer-policy"], "no-referrer");
    pages.push(browser.get(&page.url).await);
    pages.push(page);
    for page in &pages {
        check_page(page);
    }
}

// CONS-10: a body of another kind is answered to the person who sees it
#[tokio::test]
async fn a_form_of_the_wrong_kind_gets_a_page() {
    let gateway = TestGateway::start().await;
    for path in ["/oauth/consent", "/oauth/logout", "/oauth/dev-login"] {
        let url = gateway.url(path);
        for (content_type, body) in
            [("application/json", r#"{"decision":"approve"}"#), ("text/plain", "decision=approve")]
        {
            let request = client().post(&url).header("content-type", content_type).body(body);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
            let (status, headers) = (response.status(), response.headers().clone());
            let text = response.text().await.unwrap();
            assert!(text.contains("Nothing was changed"));
            check_page(&Page { status, location: None, headers, text, url: url.clone() });
        }
    }
}

// CONS-7, CONS-8
#[tokio::test]
async fn what_a_client_says_of_itself_can_hide_turn_around_or_outgrow_nothing() {
    let gateway = TestGateway::start().await;
    let shown = async |name: &str, redirect: &str| {
        let body = json!({ "client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": "none" });
        let client = TestClient::register_with(&gateway, &body).await;
        let browser = Browser::new();
        let url = client.authorize_url("one", &[]);
        let start = browser.get(&url).await;
        let page = client.consent_page(&browser, &url, "admin").await;
        for page in [&start, &page] {
            check_page(page);
            assert!(page.text.len() < 40_000, "{name}");
            assert!(!page.text.contains("<a "), "no link before the decision");
        }
        page.text
    };
    let page = shown("</h1><form action=//evil><button>Approve</form><svg onload=x>", REDIRECT).await;
    assert!(!page.contains("<form action=//evil") && !page.contains("<svg onload"));
    let page = shown("Claude\u{202E}\u{2066}exe\u{200B}\u{FEFF}\u{E0041} \n\r\t by\u{0}\u{7} Bank", REDIRECT).await;
    assert!(page.contains("Claudeexe by Bank"), "{page}");
    assert!(!page.contains(['\u{202E}', '\u{2066}', '\u{200B}', '\u{FEFF}', '\u{E0041}']));
    let long = shown(&"W".repeat(200), REDIRECT).await;
    assert!(long.contains(&format!("{}…", "W".repeat(99))) && !long.contains(&"W".repeat(100)));
    // An "a" of another alphabet: the address is written out, and warned of.
    let page = shown("Apple", "https://xn--pple-43d.com/cb").await;
    assert!(page.contains("xn--pple-43d.com") && !page.contains("аpple"));
    assert!(page.contains("made to look like another"));
    let page = shown("App", "app://xn--pple-43d.com/cb").await;
    assert!(page.contains("app://xn--pple-43d.com") && page.contains("made to look like another"));
    assert!(page.contains("Another installed app"));
    assert!(!shown("Honest", "https://apple.com/cb").await.contains("made to look like another"));
    assert!(shown("Local", REDIRECT).await.contains("Any program here could use this name"));
}
