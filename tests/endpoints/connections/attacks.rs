//! Two people, one of them an attacker: whatever one starts, sends or plants, no account of the victim becomes the
//! attacker's, and none of the attacker's the victim's.

use futures_util::future::join_all;
use reqwest::StatusCode;

use super::{ADA, World, can_approve, has_token, own_csrf};
use crate::pages::check_page;
use crate::support::browser::{Browser, Page, client as http, param_of};
use crate::support::flow::TestClient;

const VICTIM: &str = "admin";
const ATTACKER: &str = "guest";
const ATTACKERS_EMAIL: &str = "gwen@example.com";

/// Victim and attacker, each with their consent page.
async fn two(world: &World) -> [(Browser, Page); 2] {
    let client = TestClient::register(&world.gateway).await;
    let (victim, attacker) = (Browser::new(), Browser::new());
    let of_victim = world.consent(&client, &victim, VICTIM).await;
    let of_attacker = world.consent(&client, &attacker, ATTACKER).await;
    [(victim, of_victim), (attacker, of_attacker)]
}

// SEC-2: the confused deputy: the victim would give the attacker their account
#[tokio::test]
async fn a_link_of_another_person_is_403_and_stores_nothing() {
    let world = World::per_person().await;
    let [(victim, _), (attacker, _)] = two(&world).await;
    let link = world.link(ATTACKERS_EMAIL).await;
    let page = victim.get(&link).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    check_page(&page);
    assert!(page.text.contains("for somebody else") && !page.text.contains("value=\"connect\""), "{}", page.text);
    assert!(!page.text.contains(ATTACKERS_EMAIL), "whose it is, is nobody else's business");
    // Neither with the value of that very page nor with the attacker's.
    let of_attacker = attacker.get(&link).await;
    for csrf in [page.field("csrf"), of_attacker.field("csrf"), String::new()] {
        let ticket = page.field("ticket");
        let fields = [("ticket", ticket.as_str()), ("csrf", &csrf), ("step", "connect")];
        assert_eq!(victim.post(&world.at("connect"), &fields).await.status, StatusCode::FORBIDDEN);
    }
    assert!(world.double.authorizations().is_empty() && world.stored().await.is_empty());
    // It was not spent by that.
    let leaving = world.press_link(&attacker, &of_attacker).await;
    assert_eq!(leaving.status, StatusCode::SEE_OTHER);
}

// SEC-2, IDP-1: the victim is sent to the server's sign-in by the attacker's address, or comes back by it
#[tokio::test]
async fn a_way_that_one_browser_began_is_finished_in_no_other() {
    let world = World::per_person().await;
    let [(victim, of_victim), (attacker, of_attacker)] = two(&world).await;
    // The attacker's account into the victim's gateway.
    world.double.sign_in("eve");
    let back = world.allow(&attacker, &world.press(&attacker, &of_attacker).await).await;
    for browser in [&victim, &Browser::new()] {
        let refused = browser.get(&back).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        check_page(&refused);
    }
    assert!(world.double.token_requests().is_empty() && world.stored().await.is_empty());
    // The victim's account into the attacker's: the victim follows the address that the attacker was sent to.
    world.double.sign_in("ada");
    let away = world.press(&attacker, &of_attacker).await;
    let through_victim = victim.get(away.redirect()).await;
    assert_eq!(victim.get(through_victim.redirect()).await.status, StatusCode::BAD_REQUEST);
    assert!(!can_approve(&victim.get(&of_victim.url).await));
    assert!(world.double.token_requests().is_empty() && !has_token(&world, "ada"));
    // The browser that began still can.
    assert_eq!(attacker.get(&back).await.redirect(), of_attacker.url);
}

// IDP-1
#[tokio::test]
async fn a_state_is_good_once_in_time_and_at_its_own_server() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, VICTIM).await;
    let back = world.allow(&browser, &world.press(&browser, &page).await).await;
    let answers = join_all((0..6).map(|_| browser.get(&back))).await;
    let done = answers.iter().filter(|answer| answer.location.is_some()).count();
    assert_eq!((done, world.double.token_requests().len()), (1, 1));
    // Another's code behind one's own state, and the other way round.
    let first = world.allow(&browser, &world.press(&browser, &page).await).await;
    let second = world.allow(&browser, &world.press(&browser, &page).await).await;
    let (state, code) = (param_of(&first, "state").unwrap(), param_of(&second, "code").unwrap());
    let issuer = param_of(&first, "iss").unwrap();
    let mixed = format!("{}?state={state}&code={code}&iss={issuer}", world.at("callback"));
    assert_eq!(browser.get(&mixed).await.status, StatusCode::BAD_GATEWAY, "the verifier does not fit");
    for (name, url) in [
        ("twice the state", format!("{second}&state=x")),
        ("no state", second.replace("state=", "status=")),
        ("no code", second.replace("code=", "kode=")),
        ("at another server", second.replace("/one/", "/two/")),
    ] {
        let answer = browser.get(&url).await;
        assert!(answer.location.is_none(), "{name}");
    }
    let late = world.allow(&browser, &world.press(&browser, &page).await).await;
    world.gateway.clock.advance(901);
    assert!(browser.get(&late).await.location.is_none());
    assert_eq!(world.double.granted("authorization_code"), 2);
}

// RFC 9207 §2.4: the `iss` of an honest server must not be overlooked because a dishonest one brought in another
#[tokio::test]
async fn a_way_back_that_says_something_twice_is_not_read() {
    let world = World::per_person().await;
    world.double.behave(|behaviour| behaviour.no_issuer = true);
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, VICTIM).await;
    let back = world.allow(&browser, &world.press(&browser, &page).await).await;
    for twice in ["iss=https://one.example&iss=https://two.example", "code=x", "state=x", "error=x&error=y"] {
        let refused = browser.get(&format!("{back}&{twice}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{twice}");
        check_page(&refused);
    }
    assert!(world.double.token_requests().is_empty() && world.stored().await.is_empty());
    assert_eq!(browser.get(&back).await.redirect(), page.url, "and costs the person nothing");
}

// SEC-2: whose account it becomes was settled when the way began
#[tokio::test]
async fn somebody_who_signed_in_on_the_way_gets_nothing_and_loses_nothing() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, VICTIM).await;
    let back = world.allow(&browser, &world.press(&browser, &page).await).await;
    let switched = client.decide(&browser, &page, "switch").await;
    client.log_in(&browser, switched.redirect(), ATTACKER).await;
    let refused = browser.get(&back).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    check_page(&refused);
    assert!(refused.text.contains("Somebody else is signed in by now"), "{}", refused.text);
    assert!(world.stored().await.is_empty() && world.double.token_requests().is_empty());
    // Nor whoever has signed out.
    let page = browser.get(&page.url).await;
    let back = world.allow(&browser, &world.press(&browser, &page).await).await;
    let logout = world.gateway.url("/oauth/logout");
    let csrf = browser.get(&logout).await.field("csrf");
    browser.post(&logout, &[("csrf", &csrf)]).await;
    assert_eq!(browser.get(&back).await.status, StatusCode::FORBIDDEN);
    assert!(world.stored().await.is_empty());
}

// CONS-9
#[tokio::test]
async fn no_form_but_our_own_page_of_this_person_in_this_browser_leads_away() {
    let world = World::per_person().await;
    let [(victim, of_victim), (attacker, of_attacker)] = two(&world).await;
    let connect = world.at("connect");
    let transaction = of_victim.field("transaction");
    let client = TestClient::register(&world.gateway).await;
    let (own, theirs) = (own_csrf(&client, &victim, VICTIM).await, own_csrf(&client, &attacker, ATTACKER).await);
    let mut tried = Vec::new();
    for csrf in ["", "x", &own, &of_attacker.field("csrf"), &theirs] {
        let fields = [("transaction", transaction.as_str()), ("csrf", csrf), ("step", "connect")];
        tried.push(victim.post(&connect, &fields).await);
    }
    for csrf in ["", "x", &theirs, &of_victim.field("csrf")] {
        tried.push(victim.post(&connect, &[("account", "yes"), ("csrf", csrf), ("step", "connect")]).await);
    }
    let csrf = of_victim.field("csrf");
    let good = [("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("step", "connect")];
    for site in ["cross-site", "same-site", "none"] {
        tried.push(victim.post_from(&connect, &good, site).await);
    }
    let link = victim.get(&world.link(ADA).await).await;
    for csrf in ["", "x", &own, &of_victim.field("csrf"), &theirs] {
        let fields = [("ticket", link.field("ticket")), ("csrf", csrf.to_owned()), ("step", "connect".to_owned())];
        tried.push(victim.post(&connect, &fields.each_ref().map(|(name, value)| (*name, value.as_str()))).await);
    }
    tried.push(attacker.post(&connect, &good).await);
    tried.push(victim.post(&connect, &good[..2]).await);
    tried.push(victim.post(&connect, &[("step", "connect")]).await);
    for (index, answer) in tried.iter().enumerate() {
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{index}: {}", answer.text);
        check_page(answer);
    }
    for browser in [Browser::new(), Browser::new()] {
        let answer = browser.post(&connect, &good).await;
        assert!(answer.status == StatusCode::FORBIDDEN || answer.status == StatusCode::NOT_FOUND, "{}", answer.status);
    }
    let json = http().post(&connect).header("sec-fetch-site", "same-origin").body("{}").send().await.unwrap();
    assert_eq!(json.status(), StatusCode::BAD_REQUEST);
    assert!(world.double.authorizations().is_empty());
    // A transaction for another route connects nothing.
    let other = client.consent_page(&victim, &client.authorize_url("two", &[]), VICTIM).await;
    assert_eq!(world.press(&victim, &other).await.status, StatusCode::NOT_FOUND);
    assert_eq!(victim.post(&connect, &good).await.status, StatusCode::SEE_OTHER, "the right one does");
}

// AUTHZ-16: where a browser is led on to is never in an address
#[tokio::test]
async fn nothing_in_an_address_or_a_form_says_where_a_browser_is_led() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, VICTIM).await;
    let evil = "https://evil.example/";
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let names = ["return_to", "redirect_uri", "next", "url", "authUrl", "origin"];
    let mut fields = vec![("transaction", transaction.as_str()), ("csrf", &csrf), ("step", "connect")];
    fields.extend(names.map(|name| (name, evil)));
    let leaving = browser.post(&world.at("connect"), &fields).await;
    let back = world.allow(&browser, &leaving).await;
    assert!(!leaving.redirect().contains("evil.example"));
    let more: String = names.iter().flat_map(|name| ["&", name, "=", evil]).collect();
    let done = browser.get(&format!("{back}{more}")).await;
    assert_eq!(done.redirect(), page.url);
    let link = format!("{}&return_to={evil}", world.link(ADA).await);
    let shown = browser.get(&link).await;
    assert!(!shown.text.contains("evil.example"));
    for path in ["/auth/connections//evil.example/connect", "/auth/connections/%2F%2Fevil.example/connect?ticket=x"] {
        let answer = browser.get(&world.gateway.url(path)).await;
        assert!(answer.location.is_none(), "{path}");
    }
}

// LIM-1: what a browser has under way is bounded
#[tokio::test]
async fn one_browser_has_so_many_ways_open_and_the_newest_of_them_work() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, VICTIM).await;
    let first = world.allow(&browser, &world.press(&browser, &page).await).await;
    for _ in 0..20 {
        world.gateway.clock.advance(1);
        world.press(&browser, &page).await;
    }
    let last = world.allow(&browser, &world.press(&browser, &page).await).await;
    assert!(browser.get(&first).await.location.is_none(), "the oldest has made room");
    assert_eq!(browser.get(&last).await.redirect(), page.url);
}

// LIM-1, LIM-2: leaving for a server makes the gateway ask it
#[tokio::test]
async fn leaving_for_servers_is_counted_by_address_as_signing_in_is() {
    let world = World::with("user-oauth", r#""limits": { "authorizationsPerMinute": 3 }"#).await;
    world.gateway.clock.stop();
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, VICTIM).await;
    let presses = [world.press(&browser, &page).await, world.press(&browser, &page).await];
    assert!(presses.iter().all(|press| press.status == StatusCode::SEE_OTHER));
    let refused = world.press(&browser, &page).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    check_page(&refused);
    assert!(refused.headers.contains_key("retry-after"));
    // Whoever is on the way comes back all the same.
    let back = world.allow(&browser, &presses[1]).await;
    assert_eq!(browser.get(&back).await.redirect(), page.url);
}

// SEC-4: nothing of a credential is in what anybody gets to see
#[tokio::test]
async fn no_page_shows_a_token_a_code_a_verifier_or_a_secret() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, VICTIM).await;
    let back = world.connect(&browser, &page).await;
    let mut seen = vec![back.text, browser.get(&page.url).await.text];
    seen.push(browser.get(&world.gateway.url("/account")).await.text);
    let secrets = world.double.secrets();
    assert!(!secrets.is_empty());
    for text in seen {
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{text}");
    }
}
