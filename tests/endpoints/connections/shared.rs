//! `shared-oauth`: one account for everyone, which an operator connects (gateway.md §8).

use doorward::crypto::{KeyMaterial, Sealer};
use doorward::domain::{Clock as _, SystemRandom};
use doorward::upstream::{TICKET_LIFE, Ticket, connect_link};
use reqwest::StatusCode;
use serde_json::json;

use super::{World, can_approve, has_token, own_csrf};
use crate::fake_authkit::FakeAuthKit;
use crate::fake_upstream::FakeUpstream;
use crate::pages::check_page;
use crate::support::browser::{Browser, client as http};
use crate::support::flow::TestClient;
use crate::support::gateway::{Options, TestGateway};

/// `admin` of the ready people is named, by address.
const OPERATORS: &str = r#""operators": { "emails": ["ada@example.com"] }"#;

/// A link as `doorward connections connect one` prints it.
fn operator_link(gateway: &TestGateway) -> String {
    let sealer = Sealer::new(&[KeyMaterial::new([7; 32])]).unwrap();
    let ticket = Ticket::new("one", None, TICKET_LIFE, &SystemRandom, gateway.clock.now());
    let base_path = &gateway.assembly.settings.base_path;
    connect_link(&gateway.origin, base_path, "one", &ticket.seal(&sealer, &SystemRandom))
}

// PROX-1
#[tokio::test]
async fn an_operator_connects_it_for_everyone_and_approve_waits_for_them_alone() {
    let world = World::with("shared-oauth", OPERATORS).await;
    let client = TestClient::register(&world.gateway).await;
    let (ada, mia) = (Browser::new(), Browser::new());
    let page_of_mia = world.consent(&client, &mia, "member").await;
    assert!(can_approve(&page_of_mia), "nothing that she could do");
    assert!(page_of_mia.text.contains("An administrator has yet to connect it"), "{}", page_of_mia.text);
    assert!(!page_of_mia.text.contains("/auth/connections/"));
    let page_of_ada = world.consent(&client, &ada, "admin").await;
    assert!(!can_approve(&page_of_ada) && page_of_ada.text.contains("for everyone"), "{}", page_of_ada.text);
    world.connect(&ada, &page_of_ada).await;
    assert!(can_approve(&ada.get(&page_of_ada.url).await));
    let page = mia.get(&page_of_mia.url).await;
    assert!(can_approve(&page) && page.text.contains("Connected by your organisation"), "{}", page.text);
    let stored = world.stored().await;
    assert_eq!((stored.len(), stored[0].owner.subject()), (1, None));
    // On the own page of an operator it stands, and of nobody else.
    let account = world.gateway.url("/account");
    assert!(!mia.get(&account).await.text.contains("Notes"));
    let shown = ada.get(&account).await;
    assert!(shown.text.contains("Everyone who may use this server"), "{}", shown.text);
    let (csrf, id) = (own_csrf(&client, &mia, "member").await, stored[0].id.to_string());
    mia.post(&account, &[("csrf", &csrf), ("disconnect", &id)]).await;
    assert_eq!(world.stored().await.len(), 1);
    ada.post(&account, &[("csrf", &shown.field("csrf")), ("disconnect", &id)]).await;
    assert!(world.stored().await.is_empty());
    assert!(ada.get(&account).await.text.contains("Not connected"));
}

// SEC-2
#[tokio::test]
async fn nobody_but_an_operator_connects_it_whatever_form_they_send() {
    let world = World::with("shared-oauth", OPERATORS).await;
    let client = TestClient::register(&world.gateway).await;
    let mia = Browser::new();
    let page = world.consent(&client, &mia, "member").await;
    let from_consent = world.press(&mia, &page).await;
    let csrf = own_csrf(&client, &mia, "member").await;
    let fields = [("account", "yes"), ("csrf", csrf.as_str()), ("step", "connect")];
    let from_account = mia.post(&world.at("connect"), &fields).await;
    let link = world.link("max@example.com").await;
    let by_link = mia.get(&link).await;
    for refused in [from_consent, from_account, by_link] {
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
        check_page(&refused);
        assert!(refused.text.contains("An administrator has to connect this server"), "{}", refused.text);
    }
    assert!(world.double.authorizations().is_empty() && world.stored().await.is_empty());
}

// SEC-2
#[tokio::test]
async fn the_link_of_an_operator_works_once_in_any_browser_with_a_cookie() {
    let world = World::with("shared-oauth", "").await;
    let link = operator_link(&world.gateway);
    let browser = Browser::new();
    let page = browser.get(&link).await;
    check_page(&page);
    assert!(page.text.contains("for everyone") && page.text.contains("Notes"), "{}", page.text);
    let blind = world.press_link(&Browser::new(), &page).await;
    assert_eq!(blind.status, StatusCode::BAD_REQUEST, "nothing ties it to that browser");
    for site in ["cross-site", "same-site", "none"] {
        let fields = [("ticket", page.field("ticket")), ("step", "connect".to_owned())];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            browser.post_from(&world.at("connect"), &fields, site).await.status,
            StatusCode::FORBIDDEN,
            "{site}"
        );
    }
    // A server that is away for a moment does not cost the link.
    let leaving = world.press_link(&browser, &browser.get(&link).await).await;
    let back = world.allow(&browser, &leaving).await;
    let over = world.press_link(&browser, &page).await;
    assert_eq!(over.status, StatusCode::GONE);
    assert_eq!(Browser::new().get(&link).await.status, StatusCode::GONE);
    assert_eq!(Browser::new().get(&back).await.status, StatusCode::BAD_REQUEST, "the browser that left comes back");
    let done = browser.get(&back).await;
    assert!(done.text.contains("Everyone who may use this server can use it now"), "{}", done.text);
    assert_eq!(world.stored().await[0].owner.subject(), None);
}

#[tokio::test]
async fn the_link_of_an_operator_connects_nothing_that_is_each_persons_own() {
    let world = World::per_person().await;
    let browser = Browser::new();
    let answer = browser.get(&operator_link(&world.gateway)).await;
    assert_eq!(answer.status, StatusCode::GONE);
    check_page(&answer);
    let ticket = operator_link(&world.gateway).split_once("ticket=").unwrap().1.to_owned();
    browser.get(&world.gateway.url("/account")).await;
    let pressed = browser.post(&world.at("connect"), &[("ticket", &ticket), ("step", "connect")]).await;
    assert_eq!(pressed.status, StatusCode::GONE);
    assert!(world.double.authorizations().is_empty());
}

// In direct mode nobody signs in here (gateway.md §7).
#[tokio::test]
async fn in_direct_mode_the_link_of_an_operator_works_and_no_other() {
    let (authkit, double) = (FakeAuthKit::start().await, FakeUpstream::start().await);
    let login = json!({ "authkitDomain": authkit.base(), "apiUrl": authkit.base() });
    let policies = json!({ "policies": [
        { "name": "login", "policyType": "mcp-authkit-inbound", "handler": { "options": login } },
    ] });
    let options = super::options(&double, &json!({ "authMode": "shared-oauth" }), "");
    let gateway = TestGateway::start_with(Options { policies: Some(policies.to_string()), ..options }).await;
    let world = World { double, gateway };
    let browser = Browser::new();
    let page = browser.get(&operator_link(&world.gateway)).await;
    check_page(&page);
    let back = world.allow(&browser, &world.press_link(&browser, &page).await).await;
    assert_eq!(Browser::new().get(&back).await.status, StatusCode::BAD_REQUEST);
    let done = browser.get(&back).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    assert_eq!(world.stored().await[0].owner.subject(), None);
    let gateway = world.gateway.shared.load();
    let subject = doorward::domain::SubjectId::new("usr_1");
    let personal = gateway.upstreams.link(&world.gateway.origin, gateway.upstreams.get("one").unwrap(), &subject);
    assert_eq!(browser.get(&personal).await.status, StatusCode::GONE);
    for fields in [[("account", "yes"), ("step", "connect")], [("transaction", "tx_1"), ("step", "connect")]] {
        let answer = browser.post(&world.at("connect"), &fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text);
    }
}

#[tokio::test]
async fn with_a_base_path_the_pages_and_the_way_back_hang_below_it() {
    let double = FakeUpstream::start().await;
    let options = super::options(&double, &json!({ "authMode": "shared-oauth" }), "");
    let settings = Box::new(|settings: &mut doorward::runtime::Settings| settings.base_path = "/__zuplo/".to_owned());
    let gateway = TestGateway::start_with(Options { settings, ..options }).await;
    let (link, browser) = (operator_link(&gateway), Browser::new());
    let connect = gateway.url("/__zuplo/auth/connections/one/connect");
    assert!(link.starts_with(&connect), "{link}");
    let page = browser.get(&link).await;
    assert!(page.text.contains("action=\"/__zuplo/auth/connections/one/connect\""), "{}", page.text);
    let ticket = page.field("ticket");
    let leaving = browser.post(&connect, &[("ticket", &ticket), ("step", "connect")]).await;
    let back = browser.get(leaving.redirect()).await;
    assert!(
        back.redirect().starts_with(&gateway.url("/__zuplo/auth/connections/one/callback?")),
        "{}",
        back.redirect()
    );
    assert!(browser.get(back.redirect()).await.text.contains("is connected"));
    let above = browser.get(&link.replace("/__zuplo/", "/")).await;
    assert_eq!(above.status, StatusCode::NOT_FOUND);
}

// CORS-1, DISC-21
#[tokio::test]
async fn the_gateway_says_what_it_is_at_the_servers_behind_to_anybody_who_asks() {
    let double = FakeUpstream::start().await;
    let options = super::options(&double, &json!({ "authMode": "user-oauth" }), "");
    let first = "https://gw.example.com".to_owned();
    let settings = Box::new(move |settings: &mut doorward::runtime::Settings| settings.public_urls.insert(0, first));
    let gateway = TestGateway::start_with(Options { settings, ..options }).await;
    let url = gateway.url("/.well-known/oauth-client/one");
    let answer = http().get(&url).header("origin", "https://as.example").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
    let document: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(document["client_id"], "https://gw.example.com/.well-known/oauth-client/one");
    let back = document["redirect_uris"].as_array().unwrap();
    assert!(back.contains(&json!("https://gw.example.com/auth/connections/one/callback")), "{back:?}");
    assert!(!document.to_string().contains("secret"));
    for unknown in ["two", "one/", "..", "%00"] {
        let answer = http().get(gateway.url(&format!("/.well-known/oauth-client/{unknown}"))).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{unknown}");
    }
    // A gateway that nobody else reaches has none.
    let world = World::per_person().await;
    let answer = http().get(world.gateway.url("/.well-known/oauth-client/one")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

// EXT-6: where the authorization server reads documents, nobody registers anything.
#[tokio::test]
async fn a_server_that_reads_documents_knows_the_gateway_by_the_one_it_publishes() {
    let double = FakeUpstream::start().await;
    double.behave(|behaviour| behaviour.takes_documents = true);
    let options = super::options(&double, &json!({ "authMode": "user-oauth" }), "");
    let first = "https://gw.example.com";
    let settings =
        Box::new(move |settings: &mut doorward::runtime::Settings| settings.public_urls.insert(0, first.to_owned()));
    let gateway = TestGateway::start_with(Options { settings, ..options }).await;
    double.look_for(first, &gateway.origin);
    let world = World { double, gateway };
    let (client, browser) = (TestClient::register(&world.gateway).await, Browser::new());
    let page = world.consent(&client, &browser, "member").await;
    let back = world.connect(&browser, &page).await;
    assert!(can_approve(&browser.get(back.redirect()).await));
    let document = "https://gw.example.com/.well-known/oauth-client/one";
    assert!(world.double.documents().iter().all(|url| url == document) && !world.double.documents().is_empty());
    assert_eq!(world.double.registrations().len(), 0);
    let redeemed = &world.double.token_requests()[0];
    assert_eq!(redeemed.form["client_id"], document);
    assert!(has_token(&world, "ada"));
}
