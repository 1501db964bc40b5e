//! Links to connect a server behind, as calls are answered with, and the person's own page.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ADA, World, can_approve};
use crate::consent_attacks::behind_with;
use crate::fake_upstream::FakeUpstream;
use crate::fake_workos::FakeWorkOs;
use crate::pages::check_page;
use crate::support::browser::{Browser, Page};
use crate::support::flow::TestClient;

const ALICE: &str = "alice@example.com";

/// A browser in which `person` is signed in.
async fn signed_in(world: &World, person: &str) -> Browser {
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    client.consent_page(&browser, &client.authorize_url("two", &[]), person).await;
    browser
}

// CONS-9: fetching a link ahead, or previewing it, spends and stores nothing
#[tokio::test]
async fn a_link_opens_a_page_and_only_its_button_spends_it() {
    let world = World::per_person().await;
    let browser = signed_in(&world, "admin").await;
    let link = world.link(ADA).await;
    for ahead in [&[("sec-purpose", "prefetch")][..], &[("purpose", "preview")], &[]] {
        let page = browser.get_with(&link, ahead).await;
        assert_eq!(page.status, StatusCode::OK);
        check_page(&page);
        assert!(page.text.contains(ADA) && page.text.contains("Notes"), "{}", page.text);
    }
    assert!(world.double.authorizations().is_empty() && world.stored().await.is_empty());
    let page = browser.get(&link).await;
    let back = world.allow(&browser, &world.press_link(&browser, &page).await).await;
    let done = browser.get(&back).await;
    assert_eq!(done.status, StatusCode::OK);
    check_page(&done);
    assert!(done.text.contains("Go back to the application") && done.text.contains("is connected"), "{}", done.text);
    assert_eq!(world.stored().await[0].owner.subject(), Some(&world.person(ADA).await.id));
    // From now on the link says so, whatever is pressed.
    let again = browser.get(&link).await;
    assert!(again.text.contains("This was done before"), "{}", again.text);
    assert_eq!(world.press_link(&browser, &page).await.redirect(), link);
}

// SEC-2
#[tokio::test]
async fn a_link_pressed_twice_at_once_leaves_once_and_the_other_press_finds_a_way_on() {
    let world = World::per_person().await;
    let browser = signed_in(&world, "admin").await;
    let link = world.link(ADA).await;
    let page = browser.get(&link).await;
    let presses = futures_util::future::join_all((0..6).map(|_| world.press_link(&browser, &page))).await;
    let (left, stayed): (Vec<_>, Vec<_>) =
        presses.iter().partition(|press| press.redirect().starts_with(&world.double.base()));
    assert_eq!((left.len(), stayed.len()), (1, 5));
    assert!(stayed.iter().all(|press| press.redirect() == link));
    // The browser went where the last press led, so the first one's way is lost. The page has another.
    let used = browser.get(&link).await;
    assert_eq!(used.status, StatusCode::GONE);
    check_page(&used);
    let csrf = used.field("csrf");
    let fields = [("account", "yes"), ("csrf", csrf.as_str()), ("step", "connect")];
    let leaving = browser.post(&world.at("connect"), &fields).await;
    let back = browser.get(&world.allow(&browser, &leaving).await).await;
    assert_eq!(back.redirect(), world.gateway.url("/account"));
    assert_eq!(world.stored().await.len(), 1);
}

#[tokio::test]
async fn a_link_that_is_over_cut_off_or_made_up_says_how_to_get_another() {
    let world = World::per_person().await;
    let browser = signed_in(&world, "admin").await;
    let link = world.link(ADA).await;
    let page = browser.get(&link).await;
    let connect = world.at("connect");
    let elsewhere = link.replace("/one/", "/other/");
    world.gateway.clock.advance(901);
    let made_up = format!("{connect}?ticket={}", "A".repeat(400));
    for (url, status) in [
        (link.as_str(), StatusCode::GONE),
        (&link[..link.len() - 3], StatusCode::GONE),
        (&connect, StatusCode::GONE),
        (&made_up, StatusCode::GONE),
        (&format!("{connect}?ticket=%00%FF&ticket=x"), StatusCode::GONE),
        (&elsewhere, StatusCode::NOT_FOUND),
    ] {
        let answer = browser.get(url).await;
        assert_eq!(answer.status, status, "{url}");
        check_page(&answer);
        assert!(answer.text.contains("What to do next"));
    }
    let late = world.press_link(&browser, &page).await;
    assert_eq!(late.status, StatusCode::GONE);
    assert!(world.double.authorizations().is_empty());
}

async fn press_step(world: &World, browser: &Browser, page: &Page, step: &str) -> Page {
    let (ticket, csrf) = (page.field("ticket"), super::field_or_none(page, "csrf"));
    let fields = [("ticket", ticket.as_str()), ("csrf", &csrf), ("step", step)];
    browser.post(&world.at("connect"), &fields).await
}

/// Behind a provider with pages and sessions of its own.
async fn behind_workos(provider: &FakeWorkOs) -> World {
    let double = FakeUpstream::start().await;
    let options = super::options(&double, &json!({ "authMode": "user-oauth" }), "");
    let gateway = behind_with(provider, "", options).await;
    World { double, gateway }
}

/// Signs in at the provider, by way of the person's own page.
async fn sign_in(world: &World, browser: &Browser, email: &str) {
    browser.get(&world.gateway.url("/account")).await;
    let away = browser.post(&world.gateway.url("/account"), &[("sign-in", "yes")]).await;
    let back = browser.get(&format!("{}&login_hint={email}", away.redirect())).await;
    browser.get(back.redirect()).await;
}

// IDP-1: the place to come back to is no part of any address
#[tokio::test]
async fn whoever_is_not_signed_in_signs_in_first_and_comes_back_to_this_very_link() {
    let provider = FakeWorkOs::start().await;
    let world = behind_workos(&provider).await;
    sign_in(&world, &Browser::new(), ALICE).await;
    let link = world.link(ALICE).await;
    let browser = Browser::new();
    let page = browser.get(&link).await;
    check_page(&page);
    assert!(page.text.contains("Sign in") && !page.text.contains("value=\"connect\""), "{}", page.text);
    let away = press_step(&world, &browser, &page, "sign-in").await;
    assert!(away.redirect().starts_with(&provider.base()));
    assert!(!away.redirect().contains(&page.field("ticket")), "no provider sees the ticket");
    let back = browser.get(away.redirect()).await;
    // Nobody but this browser is led on.
    assert_eq!(Browser::new().get(back.redirect()).await.status, StatusCode::BAD_REQUEST);
    let signed_in = browser.get(back.redirect()).await;
    assert_eq!(signed_in.redirect(), link);
    let page = browser.get(&link).await;
    let done = browser.get(&world.allow(&browser, &world.press_link(&browser, &page).await).await).await;
    assert!(done.text.contains("is connected"), "{}", done.text);
    // A login from the own page leads there again.
    assert_eq!(browser.get(back.redirect()).await.status, StatusCode::BAD_REQUEST, "once");
    let fresh = Browser::new();
    fresh.get(&world.gateway.url("/account")).await;
    let away = fresh.post(&world.gateway.url("/account"), &[("sign-in", "yes")]).await;
    let back = fresh.get(away.redirect()).await;
    assert_eq!(fresh.get(back.redirect()).await.redirect(), world.gateway.url("/account"));
    // A login that fails offers the link again.
    provider.behave(|behaviour| behaviour.callback_error = Some("access_denied".to_owned()));
    let link = world.link(ALICE).await;
    let other = Browser::new();
    let page = other.get(&link).await;
    let away = press_step(&world, &other, &page, "sign-in").await;
    let back = other.get(away.redirect()).await;
    let refused = other.get(back.redirect()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("/auth/connections/one/connect?ticket="), "{}", refused.text);
}

// WOS-16
#[tokio::test]
async fn another_account_is_chosen_after_the_provider_has_ended_the_present_one() {
    let provider = FakeWorkOs::start().await;
    let world = behind_workos(&provider).await;
    sign_in(&world, &Browser::new(), ALICE).await;
    let link = world.link(ALICE).await;
    let browser = Browser::new();
    sign_in(&world, &browser, "bob@example.com").await;
    let page = browser.get(&link).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let forged = Page { text: page.text.replace(&page.field("csrf"), "x"), ..page };
    assert_eq!(press_step(&world, &browser, &forged, "switch").await.status, StatusCode::FORBIDDEN);
    let page = browser.get(&link).await;
    let out = press_step(&world, &browser, &page, "switch").await;
    assert!(out.redirect().starts_with(&provider.base()), "the provider's session ends too: {}", out.redirect());
    // The provider leads back to the address that it knows, and that one leads to the link.
    let back = browser.get(&world.gateway.url("/oauth/consent")).await;
    assert_eq!(back.redirect(), link);
    assert!(browser.get(&link).await.text.contains("value=\"sign-in\""));
}

// PROX-1, SEC-2: from the answer of a call to a call that works, and the page of it to another person
#[tokio::test]
async fn a_call_that_is_answered_with_a_link_works_once_its_person_has_followed_it() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    world.connect(&browser, &page).await;
    let approved = client.decide(&browser, &page, "approve").await;
    let tokens: Value = client.redeem(&approved.param("code").unwrap()).await.json().await.unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    let account = world.gateway.url("/account");
    let (csrf, id) = (browser.get(&account).await.field("csrf"), world.stored().await[0].id.to_string());
    browser.post(&account, &[("csrf", &csrf), ("disconnect", &id)]).await;

    let answer: Value = client.call("one", token).await.json().await.unwrap();
    let data = &answer["error"]["data"];
    assert_eq!((&answer["error"]["code"], &data["state"]), (&json!(-32042), &json!("authenticating")), "{answer}");
    let link = data["authUrl"].as_str().expect("a link");
    let other = signed_in(&world, "member").await;
    assert_eq!(other.get(link).await.status, StatusCode::FORBIDDEN);
    let leaving = world.press_link(&browser, &browser.get(link).await).await;
    let done = browser.get(&world.allow(&browser, &leaving).await).await;
    assert!(done.text.contains("is connected"), "{}", done.text);
    let answer: Value = client.call("one", token).await.json().await.unwrap();
    assert!(answer["result"].is_object(), "{answer}");
    let seen = world.double.carried_out();
    assert_eq!(seen.last().unwrap().account.as_deref(), Some("ada"));
    assert!(seen.iter().all(|request| !format!("{:?}", request.headers).contains(token)), "ours stays here");
}

// REV-4
#[tokio::test]
async fn the_own_page_shows_own_connections_which_can_be_disconnected_and_made_again() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let (ada, mia) = (Browser::new(), Browser::new());
    let page = world.consent(&client, &ada, "admin").await;
    world.connect(&ada, &page).await;
    let page_of_mia = world.consent(&client, &mia, "member").await;
    world.double.sign_in("mia");
    world.connect(&mia, &page_of_mia).await;
    let account = world.gateway.url("/account");
    let shown = ada.get(&account).await;
    check_page(&shown);
    assert!(shown.text.contains("Notes") && shown.text.contains("Connected"), "{}", shown.text);
    let ids = |page: &Page| -> Vec<String> {
        let values = page.text.split("name=\"disconnect\" value=\"").skip(1);
        values.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    let (own, theirs) = (ids(&shown), ids(&mia.get(&account).await));
    assert_eq!((own.len(), theirs.len()), (1, 1));
    let csrf = shown.field("csrf");
    let disconnect = async |browser: &Browser, csrf: &str, id: &str| {
        browser.post(&account, &[("csrf", csrf), ("account", "yes"), ("disconnect", id)]).await.status
    };
    // Another person's is answered like one that is not there, and stays.
    for foreign in [theirs[0].as_str(), "con_unknown", "' OR 1=1"] {
        assert_eq!(disconnect(&ada, &csrf, foreign).await, StatusCode::SEE_OTHER);
    }
    assert_eq!(disconnect(&ada, "x", &own[0]).await, StatusCode::FORBIDDEN);
    assert_eq!(world.stored().await.len(), 2);
    let fields = [("csrf", csrf.as_str()), ("account", "yes"), ("step", "connect")];
    let leaving = ada.post(&world.at("connect"), &fields).await;
    world.double.sign_in("ada");
    assert_eq!(ada.get(&world.allow(&ada, &leaving).await).await.redirect(), account, "connected again");
    assert_eq!(disconnect(&ada, &csrf, &own[0]).await, StatusCode::SEE_OTHER);
    let left = world.stored().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id.to_string(), theirs[0]);
    assert!(!ada.get(&account).await.text.contains("Notes"));
    assert!(!can_approve(&ada.get(&page.url).await));
    assert!(can_approve(&mia.get(&page_of_mia.url).await));
}
