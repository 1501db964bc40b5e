//! Connecting servers behind in a browser (gateway.md §8): from the consent page, by a link, from the person's own page.

mod attacks;
mod failures;
mod links;
mod shared;

use doorward::crypto::{base64url, sha256};
use doorward::domain::{Connection, Person};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::fake_upstream::FakeUpstream;
use crate::pages::check_page;
use crate::support::browser::{Browser, Page, param_of};
use crate::support::flow::TestClient;
use crate::support::gateway::{Options, TestGateway, load};

const ADA: &str = "ada@example.com";

/// A gateway with a server behind `/mcp/one` that wants OAuth.
struct World {
    double: FakeUpstream,
    gateway: TestGateway,
}

impl World {
    /// `user-oauth`
    async fn per_person() -> Self {
        Self::with("user-oauth", "").await
    }

    /// `gateway`: options of the login policy's `gateway`.
    async fn with(mode: &str, gateway: &str) -> Self {
        let double = FakeUpstream::start().await;
        let gateway = TestGateway::start_with(options(&double, &json!({ "authMode": mode }), gateway)).await;
        Self { double, gateway }
    }

    /// The address of an endpoint of the connection.
    fn at(&self, endpoint: &str) -> String {
        self.gateway.url(&format!("/auth/connections/one/{endpoint}"))
    }

    /// The consent page of `client`, for the ready person `person`.
    async fn consent(&self, client: &TestClient<'_>, browser: &Browser, person: &str) -> Page {
        client.consent_page(browser, &client.authorize_url("one", &[]), person).await
    }

    /// Presses *Connect* on a consent page.
    async fn press(&self, browser: &Browser, page: &Page) -> Page {
        let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
        let fields = [("transaction", transaction.as_str()), ("csrf", &csrf), ("step", "connect")];
        browser.post(&self.at("connect"), &fields).await
    }

    /// Presses *Connect* on the page of a link.
    async fn press_link(&self, browser: &Browser, page: &Page) -> Page {
        let (ticket, csrf) = (page.field("ticket"), field_or_none(page, "csrf"));
        let fields = [("ticket", ticket.as_str()), ("csrf", &csrf), ("step", "connect")];
        browser.post(&self.at("connect"), &fields).await
    }

    /// Through the server's own sign-in: the address of the way back.
    async fn allow(&self, browser: &Browser, leaving: &Page) -> String {
        assert_eq!(leaving.status, StatusCode::SEE_OTHER, "{}", leaving.text);
        let away = leaving.redirect();
        assert!(away.starts_with(&self.double.base()), "{away}");
        let back = browser.get(away).await;
        assert!(back.redirect().starts_with(&self.at("callback")), "{}", back.redirect());
        back.redirect().to_owned()
    }

    /// The whole way from a consent page; gives what the callback answers.
    async fn connect(&self, browser: &Browser, page: &Page) -> Page {
        let leaving = self.press(browser, page).await;
        browser.get(&self.allow(browser, &leaving).await).await
    }

    /// A person who has signed in, as the store knows them.
    async fn person(&self, email: &str) -> Person {
        let mut people = self.gateway.assembly.store.people_with_email(email).await.unwrap();
        people.pop().expect("somebody")
    }

    /// A link as a call is answered with, for whoever has this address.
    async fn link(&self, email: &str) -> String {
        let (gateway, person) = (self.gateway.shared.load(), self.person(email).await);
        let upstream = gateway.upstreams.get("one").expect("the server");
        gateway.upstreams.link(&self.gateway.origin, upstream, &person.id)
    }

    /// Every connection that is stored.
    async fn stored(&self) -> Vec<Connection> {
        self.gateway.assembly.store.connections(None, "").await.unwrap()
    }

    /// Goes on under another configuration.
    fn reconfigure(&self, credential: &Value) {
        self.go_on(&options(&self.double, credential, ""));
    }

    fn go_on(&self, options: &Options) {
        let folder = tempfile::tempdir().unwrap();
        let loaded = load(options, folder.path());
        self.gateway.assembly.install(self.gateway.assembly.gateway(loaded));
    }
}

fn options(double: &FakeUpstream, credential: &Value, gateway: &str) -> Options {
    let mut named = json!({ "id": "one", "displayName": "Notes", "summary": "Your notes." });
    for (name, value) in credential.as_object().expect("an object") {
        named[name] = value.clone();
    }
    Options {
        routes: vec![("one", double.mcp_url()), ("two", "http://127.0.0.1:9/mcp".to_owned())],
        credentials: vec![("one", named)],
        gateway: gateway.to_owned(),
        ..Options::default()
    }
}

fn field_or_none(page: &Page, name: &str) -> String {
    if page.text.contains(&format!("name=\"{name}\"")) { page.field(name) } else { String::new() }
}

/// The anti-forgery value of the own page of whoever is signed in in `browser`. It has forms once a client was let in.
async fn own_csrf(client: &TestClient<'_>, browser: &Browser, person: &str) -> String {
    let page = client.consent_page(browser, &client.authorize_url("two", &[]), person).await;
    client.decide(browser, &page, "approve").await;
    browser.get(&client.gateway.url("/account")).await.field("csrf")
}

/// Whether the page has *Approve*, and it can be pressed.
fn can_approve(page: &Page) -> bool {
    assert!(page.text.contains("value=\"approve\""), "{}", page.text);
    !page.text.contains("value=\"approve\" disabled")
}

/// Whether what `person` holds at the double is what is stored for anybody.
fn has_token(world: &World, person: &str) -> bool {
    !world.double.access_tokens(person).is_empty()
}

// CONS-9, PROX-1, IDP-1: Approve waits, also for a form that is sent without the page's leave
#[tokio::test]
async fn a_person_connects_from_the_consent_page_and_approves_after_that() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    check_page(&page);
    for text in ["needs your account at", "Notes", "Your notes.", "127.0.0.1:", "Connect"] {
        assert!(page.text.contains(text), "{text} is missing: {}", page.text);
    }
    assert!(!can_approve(&page));
    let early = client.decide(&browser, &page, "approve").await;
    assert_eq!((early.status, early.redirect()), (StatusCode::SEE_OTHER, page.url.as_str()), "back to the page");

    let leaving = world.press(&browser, &page).await;
    let away = leaving.redirect().to_owned();
    for name in ["code_challenge", "state", "resource"] {
        assert!(param_of(&away, name).is_some(), "{name} is missing");
    }
    assert_eq!(leaving.headers["referrer-policy"], "no-referrer");
    let back = browser.get(&world.allow(&browser, &leaving).await).await;
    assert_eq!((back.status, back.redirect()), (StatusCode::SEE_OTHER, page.url.as_str()));
    let page = browser.get(&page.url).await;
    assert!(can_approve(&page) && page.text.contains("<span>Connected</span>"), "{}", page.text);
    let approved = client.decide(&browser, &page, "approve").await;
    let tokens: Value = client.redeem(&approved.param("code").unwrap()).await.json().await.unwrap();
    assert!(tokens["access_token"].is_string());
    let stored = world.stored().await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].owner.subject(), Some(&world.person(ADA).await.id));
    // Another client of the same person need not connect again.
    let second = TestClient::register(&world.gateway).await;
    assert!(can_approve(&world.consent(&second, &browser, "admin").await));
}

// PROX-1
#[tokio::test]
async fn two_people_each_connect_their_own_account_and_a_route_without_one_asks_for_none() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let (ada, mia) = (Browser::new(), Browser::new());
    let (page_of_ada, page_of_mia) =
        (world.consent(&client, &ada, "admin").await, world.consent(&client, &mia, "member").await);
    // Both are on their way at once.
    world.double.sign_in("ada");
    let back_of_ada = world.allow(&ada, &world.press(&ada, &page_of_ada).await).await;
    world.double.sign_in("mia");
    let back_of_mia = world.allow(&mia, &world.press(&mia, &page_of_mia).await).await;
    assert_eq!(mia.get(&back_of_mia).await.redirect(), page_of_mia.url);
    assert!(can_approve(&mia.get(&page_of_mia.url).await));
    assert!(!can_approve(&ada.get(&page_of_ada.url).await), "what one connected is the other's no more than before");
    assert_eq!(ada.get(&back_of_ada).await.redirect(), page_of_ada.url);
    assert!(can_approve(&ada.get(&page_of_ada.url).await));
    assert_eq!(world.stored().await.len(), 2);
    let other = client.consent_page(&ada, &client.authorize_url("two", &[]), "admin").await;
    assert!(can_approve(&other) && !other.text.contains("Notes"));
}

// AUTHZ-17: several tabs
#[tokio::test]
async fn each_tab_has_an_attempt_of_its_own_and_a_closed_one_leaves_nothing() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let first = world.consent(&client, &browser, "admin").await;
    let second = world.consent(&client, &browser, "admin").await;
    // Left, and never came back.
    world.press(&browser, &first).await;
    let back_of_first = world.allow(&browser, &world.press(&browser, &first).await).await;
    let back_of_second = world.allow(&browser, &world.press(&browser, &second).await).await;
    assert_eq!(browser.get(&back_of_second).await.redirect(), second.url);
    assert_eq!(browser.get(&back_of_first).await.redirect(), first.url);
    assert_eq!(world.stored().await.len(), 1);
    for page in [&first, &second] {
        let page = browser.get(&page.url).await;
        assert!(client.decide(&browser, &page, "approve").await.param("code").is_some());
    }
    // A page that was decided meanwhile has nothing to connect any more.
    let late = world.press(&browser, &first).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
    check_page(&late);
}

#[tokio::test]
async fn a_way_back_that_is_loaded_again_says_that_it_is_done() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    let back = world.allow(&browser, &world.press(&browser, &page).await).await;
    browser.get(&back).await;
    let again = browser.get(&back).await;
    assert_eq!(again.status, StatusCode::OK);
    check_page(&again);
    assert!(again.text.contains("This was done before"), "{}", again.text);
    assert_eq!(world.double.token_requests().len(), 1, "the code is presented once");
    // Whoever is not signed in learns nothing.
    let stranger = Browser::new().get(&back).await;
    assert_eq!(stranger.status, StatusCode::BAD_REQUEST);
    assert!(!stranger.text.contains("done before"));
}

#[tokio::test]
async fn when_more_is_needed_at_the_server_the_page_says_so_and_waits_again() {
    let world = World::per_person().await;
    world.reconfigure(&json!({ "authMode": "user-oauth", "scopes": ["notes.read"] }));
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    world.connect(&browser, &page).await;
    assert!(can_approve(&browser.get(&page.url).await));
    world.reconfigure(&json!({ "authMode": "user-oauth", "scopes": ["notes.read", "notes.write"] }));
    let page = browser.get(&page.url).await;
    assert!(!can_approve(&page) && page.text.contains("Connect again"), "{}", page.text);
    assert!(page.text.contains("More is needed there"), "{}", page.text);
    let leaving = world.press(&browser, &page).await;
    assert_eq!(leaving.param("scope").as_deref(), Some("notes.read notes.write"));
    browser.get(&world.allow(&browser, &leaving).await).await;
    assert!(can_approve(&browser.get(&page.url).await));
}

// CONS-3
#[tokio::test]
async fn a_remembered_approval_is_not_used_while_the_server_is_not_connected() {
    let hash = base64url(&sha256(b"unused"));
    let web = format!(
        r#""rememberConsent": true, "clients": [{{ "clientId": "web", "name": "Web {hash}",
            "clientSecret": "a-long-enough-secret-value-123456", "redirectUris": ["https://app.example/cb"] }}]"#
    );
    let world = World::with("user-oauth", &web).await;
    let registered = TestClient::register(&world.gateway).await;
    let client = TestClient { id: "web".to_owned(), redirect_uri: "https://app.example/cb".to_owned(), ..registered };
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    world.connect(&browser, &page).await;
    client.decide(&browser, &browser.get(&page.url).await, "approve").await;
    let visit = async || {
        let to_consent = browser.get(&client.authorize_url("one", &[])).await;
        browser.get_with(to_consent.redirect(), &[("sec-fetch-site", "none")]).await
    };
    assert!(visit().await.param("code").is_some(), "remembered");
    let account = browser.get(&world.gateway.url("/account")).await;
    let id = world.stored().await[0].id.to_string();
    let fields = [("csrf", account.field("csrf")), ("disconnect", id)];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.post(&world.gateway.url("/account"), &fields).await;
    assert!(world.stored().await.is_empty());
    let page = visit().await;
    assert_eq!(page.status, StatusCode::OK, "the person is asked");
    assert!(!can_approve(&page));
}

// WOS-13
#[tokio::test]
async fn whoever_may_no_longer_use_a_server_is_not_sent_away_to_connect_it() {
    let world = World::per_person().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let page = world.consent(&client, &browser, "admin").await;
    let user_oauth = json!({ "authMode": "user-oauth" });
    let access = Some(r#""emailDomains": ["example.org"]"#);
    world.go_on(&Options { access, ..options(&world.double, &user_oauth, "") });
    let refused = world.press(&browser, &page).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    assert!(world.double.authorizations().is_empty());
    world.reconfigure(&user_oauth);
    assert_eq!(world.press(&browser, &page).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn who_is_never_asked_is_not_kept_waiting() {
    let double = FakeUpstream::start().await;
    let options = options(&double, &json!({ "authMode": "user-oauth" }), "");
    let gateway = TestGateway::start_with(Options { auto_approve: true, ..options }).await;
    let client = TestClient::register(&gateway).await;
    let approved = Browser::new().get(&client.authorize_url("one", &[])).await;
    assert!(approved.param("code").is_some());
}
