//! What people read when a server behind is not connected: each page says what to do next.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::{ADA, World, can_approve};
use crate::fake_upstream::{Behaviour, Endpoint, Fault};
use crate::pages::check_page;
use crate::support::browser::{Browser, Page};
use crate::support::flow::TestClient;

/// Checks the page of a failure, whose cause it must not tell in the server's own words.
fn check_failure(page: &Page, status: StatusCode, title: &str, again: Option<&str>) {
    assert_eq!(page.status, status, "{}", page.text);
    check_page(page);
    assert!(page.text.contains(title), "{title} is not in {}", page.text);
    assert!(page.text.contains("What to do next") && page.text.contains("Reference for your administrator"));
    assert!(!page.text.contains("canary-77") && !page.text.contains("html&#62;down"), "{}", page.text);
    if let Some(again) = again {
        let href = url::Url::parse(again).unwrap();
        let href = format!("{}?{}", href.path(), href.query().unwrap_or_default()).replace('&', "&#38;");
        assert!(page.text.contains(&format!("href=\"{href}\"")), "{href} is not in {}", page.text);
    }
}

// SEC-2
#[rstest]
#[case::denied_there(json!({ "callbackError": "access_denied" }), StatusCode::FORBIDDEN, "was not allowed")]
#[case::refused_there(json!({ "callbackError": "server_error" }), StatusCode::BAD_GATEWAY, "server_error")]
#[case::from_another_server(json!({ "callbackIssuer": "https://evil.example" }), StatusCode::BAD_GATEWAY, "be verified")]
#[case::without_the_promised_issuer(json!({ "brokenPromise": true }), StatusCode::BAD_GATEWAY, "be verified")]
#[tokio::test]
async fn what_comes_back_without_a_code_leads_back_to_the_page_it_began_on(
    #[case] behaviour: Value,
    #[case] status: StatusCode,
    #[case] title: &str,
) {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    world.double.behave(|it| *it = serde_json::from_value(behaviour).unwrap());
    let failed = world.connect(&browser, &page).await;
    check_failure(&failed, status, title, Some(&page.url));
    assert!(world.stored().await.is_empty() && world.double.token_requests().is_empty());
    // The page is as it was, and works once the server does.
    world.double.behave(|it| *it = Behaviour::default());
    let page = browser.get(&page.url).await;
    assert!(!can_approve(&page));
    world.connect(&browser, &page).await;
    assert!(can_approve(&browser.get(&page.url).await));
}

#[rstest]
#[case::down(Fault::down(), "does not answer")]
#[case::gone(Fault::Dropped, "does not answer")]
#[case::busy(Fault::too_many(7), "does not answer")]
#[case::the_code_is_refused(Fault::invalid_grant(), "invalid_grant")]
#[case::the_client_is_refused(Fault::error(401, "invalid_client"), "does not take this gateway")]
#[tokio::test]
async fn a_token_endpoint_that_gives_none_is_told_apart_from_one_that_is_away(
    #[case] fault: Fault,
    #[case] title: &str,
) {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    world.double.fail_next(Endpoint::Token, fault);
    let failed = world.connect(&browser, &page).await;
    check_failure(&failed, StatusCode::BAD_GATEWAY, title, Some(&page.url));
    assert!(world.stored().await.is_empty());
    world.connect(&browser, &browser.get(&page.url).await).await;
    assert!(can_approve(&browser.get(&page.url).await), "it works the next time, as a new client if need be");
}

#[rstest]
#[case::metadata_away(&[Endpoint::PathMetadata, Endpoint::RootMetadata], Fault::down(), "does not answer")]
#[case::registration_away(&[Endpoint::Registration], Fault::down(), "does not answer")]
#[case::registration_refused(
    &[Endpoint::Registration], Fault::error(403, "access_denied"), "does not take this gateway"
)]
#[tokio::test]
async fn a_server_that_cannot_be_left_for_says_why_and_a_link_is_not_spent_by_it(
    #[case] endpoints: &[Endpoint],
    #[case] fault: Fault,
    #[case] title: &str,
) {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    let link = world.link(ADA).await;
    for endpoint in endpoints {
        world.double.fail_always(*endpoint, fault.clone());
    }
    let failed = world.press(&browser, &page).await;
    check_failure(&failed, StatusCode::BAD_GATEWAY, title, Some(&page.url));
    let by_link = world.press_link(&browser, &browser.get(&link).await).await;
    check_failure(&by_link, StatusCode::BAD_GATEWAY, title, Some(&link));
    for endpoint in endpoints {
        world.double.recover(*endpoint);
    }
    // What was learned of the failure is forgotten after a while.
    world.gateway.clock.advance(120);
    let leaving = world.press_link(&browser, &browser.get(&link).await).await;
    let done = browser.get(&world.allow(&browser, &leaving).await).await;
    assert!(done.text.contains("is connected"), "{}", done.text);
}

#[tokio::test]
async fn a_link_that_was_used_in_vain_is_followed_by_a_new_one() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    world.consent(&client, &browser, "admin").await;
    let link = world.link(ADA).await;
    world.double.behave(|it| it.callback_error = Some("access_denied".to_owned()));
    let leaving = world.press_link(&browser, &browser.get(&link).await).await;
    let failed = browser.get(&world.allow(&browser, &leaving).await).await;
    check_failure(&failed, StatusCode::FORBIDDEN, "was not allowed", None);
    world.double.behave(|it| *it = Behaviour::default());
    let again =
        failed.text.split("href=\"").find_map(|rest| rest.split('"').next().filter(|it| it.contains("ticket=")));
    let again = again.expect("a new link").to_owned();
    assert_ne!(again, link);
    let done = world.press_link(&browser, &browser.get(&again).await).await;
    assert!(browser.get(&world.allow(&browser, &done).await).await.text.contains("is connected"));
}

#[tokio::test]
async fn a_stored_client_that_the_server_has_forgotten_is_registered_anew() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    world.connect(&browser, &page).await;
    assert_eq!(world.double.registrations().len(), 1);
    let csrf = browser.get(&world.gateway.url("/account")).await.field("csrf");
    let fields = [("account", "yes"), ("csrf", csrf.as_str()), ("step", "connect")];
    let leaving = browser.post(&world.at("connect"), &fields).await;
    let back = world.allow(&browser, &leaving).await;
    assert_eq!(world.double.registrations().len(), 1, "one client for all");
    world.double.forget_clients();
    let failed = browser.get(&back).await;
    check_failure(&failed, StatusCode::BAD_GATEWAY, "does not take this gateway", None);
    assert!(failed.text.contains("href=\"/account\""));
    let leaving = browser.post(&world.at("connect"), &fields).await;
    assert_eq!(browser.get(&world.allow(&browser, &leaving).await).await.redirect(), world.gateway.url("/account"));
    assert_eq!(world.double.registrations().len(), 2);
}
