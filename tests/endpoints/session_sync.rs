//! Asking WorkOS again: `sessionSync` (IDP-11 … IDP-15, REV-8, WOS-16).

use std::sync::Arc;
use std::time::Duration;

use doorward::domain::{GrantId, LoginSession, Person, SubjectId};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::fake_workos::{API_KEY, Behaviour, CLIENT_ID, FakeWorkOs, ORGANIZATION};
use super::metrics::Metrics;
use super::postgres::Postgres;
use super::support::browser::Browser;
use super::support::flow::{TestClient, oauth_error};
use super::support::gateway::{Options, TestGateway};

/// `sessionSyncSeconds`, and a second.
const NEXT_SYNC: i64 = 301;
/// A failing provider is left alone for so long, and a second.
const NEXT_TRY: i64 = 31;

struct World {
    workos: FakeWorkOs,
    gateway: TestGateway,
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With further options of the login policy, each with a comma in front.
    async fn with(options: &str) -> Self {
        let workos = FakeWorkOs::start().await;
        let gateway = gateway(&workos, options, None).await;
        workos.follow(Arc::clone(&gateway.clock) as _);
        Self { workos, gateway }
    }

    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.workos.behave(change);
    }

    fn sync_is_due(&self) {
        self.gateway.clock.advance(NEXT_SYNC);
    }

    /// One client of a fresh login.
    async fn connected(&self) -> Connected<'_> {
        connect(&self.gateway, &Browser::new()).await
    }

    async fn session(&self, connected: &Connected<'_>) -> LoginSession {
        let grant = self.gateway.assembly.store.grant(&connected.grant()).await.unwrap().expect("a grant");
        let id = grant.login_session.expect("a login session");
        self.gateway.assembly.store.login_session(&id).await.unwrap().expect("a record")
    }
}

async fn gateway(workos: &FakeWorkOs, options: &str, database_url: Option<String>) -> TestGateway {
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{
            "clientId": "{CLIENT_ID}", "clientSecret": "{API_KEY}", "apiUrl": "{}",
            "browserLoginOverrides": {{"remoteTimeoutMs": 30000}} {options} }} }} }}]}}"#,
        workos.base()
    );
    TestGateway::start_with(Options { policies: Some(policies), database_url, ..Options::default() }).await
}

/// A client with its tokens.
struct Connected<'g> {
    client: TestClient<'g>,
    tokens: Value,
}

impl Connected<'_> {
    fn claims(&self) -> Value {
        let payload = self.tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
        serde_json::from_slice(&doorward::crypto::base64url_decode(payload).unwrap()).unwrap()
    }

    fn grant(&self) -> GrantId {
        GrantId::new(self.claims()["sid"].as_str().unwrap())
    }

    async fn person(&self) -> Person {
        let subject = SubjectId::new(self.claims()["sub"].as_str().unwrap());
        self.client.gateway.assembly.store.person(&subject).await.unwrap().expect("a person")
    }

    fn refresh_token(&self) -> String {
        self.tokens["refresh_token"].as_str().unwrap().to_owned()
    }

    async fn try_refresh(&self) -> reqwest::Response {
        self.client.refresh(&self.refresh_token()).await
    }

    async fn refresh(&mut self) {
        let response = self.try_refresh().await;
        let status = response.status();
        self.tokens = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{}", self.tokens);
    }

    async fn call(&self) -> StatusCode {
        self.client.call("one", self.tokens["access_token"].as_str().unwrap()).await.status()
    }
}

/// Signs in with WorkOS in `browser`, where that is needed, and up to the consent page of a new client.
async fn ask<'g>(gateway: &'g TestGateway, browser: &Browser) -> (TestClient<'g>, super::support::browser::Page) {
    let client = TestClient::register(gateway).await;
    let mut page = client.consent_page(browser, &client.authorize_url("one", &[]), "nobody").await;
    for _ in 0..3 {
        if page.location.is_some() {
            page = browser.get(page.redirect()).await;
        }
    }
    (client, page)
}

async fn connect<'g>(gateway: &'g TestGateway, browser: &Browser) -> Connected<'g> {
    let (client, page) = ask(gateway, browser).await;
    let code = client.decide(browser, &page, "approve").await.param("code").expect("a code");
    let response = client.redeem(&code).await;
    assert_eq!(response.status(), StatusCode::OK);
    let tokens = response.json().await.unwrap();
    Connected { client, tokens }
}

// IDP-12
#[tokio::test]
async fn two_clients_of_one_login_refresh_ten_times_each_and_ask_workos_once_per_interval() {
    let world = World::new().await;
    let browser = Browser::new();
    let (mut first, mut second) = (connect(&world.gateway, &browser).await, connect(&world.gateway, &browser).await);
    assert_eq!(world.session(&first).await.id, world.session(&second).await.id);
    for round in 1..=10 {
        world.sync_is_due();
        tokio::join!(first.refresh(), second.refresh());
        assert_eq!(world.workos.refreshes(), round);
    }
    world.gateway.clock.advance(NEXT_SYNC - 120);
    tokio::join!(first.refresh(), second.refresh());
    assert_eq!(world.workos.refreshes(), 10, "an answer serves for the whole interval");
}

// IDP-12, REFR-6
#[tokio::test]
async fn twenty_refreshes_over_two_replicas_ask_workos_once() {
    let url = Postgres::shared().unwrap().new_database();
    let workos = FakeWorkOs::start().await;
    let one = gateway(&workos, "", Some(url.clone())).await;
    let two = gateway(&workos, "", Some(url)).await;
    workos.follow(Arc::clone(&one.clock) as _);
    let connected = connect(&one, &Browser::new()).await;
    for gateway in [&one, &two] {
        gateway.clock.advance(NEXT_SYNC);
    }
    let session = one.assembly.store.grant(&connected.grant()).await.unwrap().unwrap().login_session.unwrap();
    let asked = (0..20).map(|number| {
        let gateway = if number % 2 == 0 { &one } else { &two };
        let authorization = gateway.shared.load_full();
        let session = session.clone();
        async move { authorization.authorization.as_ref().unwrap().sessions.check(&session).await }
    });
    let answers = join_all(asked).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(workos.refreshes(), 1);
}

// IDP-12
#[tokio::test]
async fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    world.behave(|behaviour| behaviour.answer = Some(json!({ "refresh_token": null })));
    for round in 1..=3 {
        world.sync_is_due();
        connected.refresh().await;
        assert_eq!(world.workos.refreshes(), round);
    }
    assert_eq!(world.workos.management_reads(), 0);
}

// IDP-12: the new pair is saved before any later check.
#[tokio::test]
async fn the_next_token_is_kept_although_the_person_in_the_answer_cannot_be_verified() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    world.sync_is_due();
    world.workos.rotate_keys();
    world.behave(|behaviour| behaviour.jwks_down = true);
    connected.refresh().await;
    assert_eq!(world.workos.refreshes(), 1);
    world.behave(|behaviour| behaviour.jwks_down = false);
    world.gateway.clock.advance(NEXT_TRY + 60);
    connected.refresh().await;
    assert_eq!((world.workos.refreshes(), world.workos.management_reads()), (2, 0), "the second token was accepted");
    assert_eq!(world.session(&connected).await.failing_since, None);
}

// IDP-12: a client that hangs up does not make the answer be lost.
#[tokio::test]
async fn a_client_that_hangs_up_while_workos_is_asked_strands_nobody() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    world.sync_is_due();
    world.behave(|behaviour| behaviour.delay = Duration::from_millis(300));
    let hung_up = tokio::time::timeout(Duration::from_millis(100), connected.try_refresh()).await;
    assert!(hung_up.is_err(), "the answer came before the client could hang up");
    connected.refresh().await;
    assert_eq!((world.workos.refreshes(), world.workos.management_reads()), (1, 0));
}

// IDP-12: a gateway that died while it asked holds nobody up for ever, and IDP-13: what it may have lost is in doubt.
#[tokio::test]
async fn a_claim_left_by_a_dead_gateway_is_taken_over() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    world.sync_is_due();
    let session = world.session(&connected).await;
    let claimed = session.claimed(doorward::domain::Clock::now(&*world.gateway.clock));
    assert!(world.gateway.assembly.store.change_login_session(session.version, &claimed).await.unwrap());
    // Longer than anybody waits for WorkOS.
    world.gateway.clock.advance(200);
    connected.refresh().await;
    assert_eq!(world.workos.refreshes(), 1);
}

// IDP-13, REV-8
#[tokio::test]
async fn a_session_that_workos_ended_ends_the_grants_of_that_login_and_no_other() {
    let world = World::new().await;
    let browser = Browser::new();
    let (first, second) = (connect(&world.gateway, &browser).await, connect(&world.gateway, &browser).await);
    world.workos.revoke_sessions();
    let mut other_login = world.connected().await;
    world.sync_is_due();

    oauth_error(first.try_refresh().await, 400, "invalid_grant").await;
    assert_eq!(first.call().await, StatusCode::UNAUTHORIZED);
    assert_eq!(second.call().await, StatusCode::UNAUTHORIZED, "the other client of the login");
    oauth_error(second.try_refresh().await, 400, "invalid_grant").await;
    other_login.refresh().await;
    assert_eq!(world.workos.refreshes(), 2, "once for each login");
    assert_eq!(world.workos.management_reads(), 0, "a plain refusal needs no confirmation");
    for ended in [&first, &second] {
        let events = world.gateway.assembly.store.audit_events_of(&ended.grant()).await.unwrap();
        assert_eq!(events.iter().filter(|event| *event == "mcp_auth_grant_revoked").count(), 1, "{events:?}");
    }
    let (_, page) = ask(&world.gateway, &browser).await;
    assert!(page.text.contains("name=\"csrf\""), "the browser signed in at WorkOS again");
    assert_eq!(world.workos.exchanges().iter().filter(|body| body["grant_type"] == "authorization_code").count(), 3);
}

// IDP-13, CONS-16: the browser session does not outlive the login at the provider.
#[tokio::test]
async fn a_person_who_was_deactivated_cannot_approve_another_client() {
    let world = World::new().await;
    let browser = Browser::new();
    connect(&world.gateway, &browser).await;
    world.workos.delete_user("alice@example.com");
    world.sync_is_due();
    let (client, page) = ask(&world.gateway, &browser).await;
    let answer = client.decide(&browser, &page, "approve").await;
    assert_eq!((answer.status, answer.location), (StatusCode::FORBIDDEN, None));
    assert!(answer.text.contains("no longer signed in"), "{}", answer.text);
}

// IDP-13: after an answer that may have been lost, only another source can end a login.
#[tokio::test]
async fn a_refusal_after_a_lost_answer_is_confirmed_before_anybody_loses_access() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    world.sync_is_due();
    world.behave(|behaviour| behaviour.lose_refresh_answer = true);
    connected.refresh().await;
    assert!(world.session(&connected).await.in_doubt);

    world.behave(|behaviour| {
        behaviour.lose_refresh_answer = false;
        behaviour.management_down = true;
    });
    world.gateway.clock.advance(NEXT_TRY);
    connected.refresh().await;
    assert_eq!(world.workos.refreshes(), 2, "the spent token was refused");

    world.behave(|behaviour| {
        behaviour.management_down = false;
        behaviour.roles = Some(vec!["viewer".to_owned()]);
    });
    world.workos.change_user("alice@example.com", &json!({ "first_name": "Alicia" }));
    world.gateway.clock.advance(NEXT_TRY);
    connected.refresh().await;
    let person = connected.person().await;
    assert_eq!((person.given_name.as_deref(), person.roles), (Some("Alicia"), vec!["viewer".to_owned()]));
    assert_eq!(person.permissions, Vec::<String>::new(), "what a lost role was worth is lost with it");

    let refreshes = world.workos.refreshes();
    world.sync_is_due();
    connected.refresh().await;
    assert_eq!(world.workos.refreshes(), refreshes, "a spent token is not presented again");

    world.workos.revoke_sessions();
    world.sync_is_due();
    oauth_error(connected.try_refresh().await, 400, "invalid_grant").await;
}

// IDP-13
#[tokio::test]
async fn an_answer_that_came_ends_the_doubt_about_one_that_did_not() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    world.sync_is_due();
    world.behave(|behaviour| behaviour.fail_refresh = Some((503, String::new())));
    connected.refresh().await;
    assert!(world.session(&connected).await.in_doubt, "the answer says nothing of what became of the token");
    world.behave(|behaviour| behaviour.fail_refresh = None);
    world.gateway.clock.advance(NEXT_TRY);
    connected.refresh().await;
    assert!(!world.session(&connected).await.in_doubt);

    world.workos.revoke_sessions();
    world.sync_is_due();
    oauth_error(connected.try_refresh().await, 400, "invalid_grant").await;
    assert_eq!(world.workos.management_reads(), 0, "a refusal is believed");
}

// IDP-13, IDP-14
#[tokio::test]
async fn an_outage_of_workos_throws_nobody_out_for_the_configured_time_and_then_asks_to_wait() {
    for (status, body) in [(429, "{}"), (500, ""), (503, "<html>"), (401, r#"{"error": "invalid_client"}"#)] {
        let world = World::with(r#", "gateway": {"outageGraceSeconds": 600}"#).await;
        let mut connected = world.connected().await;
        // Idle for long before: the outage counts from when it was met.
        world.gateway.clock.advance(7200);
        world.behave(|behaviour| behaviour.fail_refresh = Some((status, body.to_owned())));
        connected.refresh().await;
        let asked = world.workos.refreshes();
        connected.refresh().await;
        assert_eq!(world.workos.refreshes(), asked, "{status}: a failing provider is left alone for a while");
        world.gateway.clock.advance(590);
        connected.refresh().await;
        assert_eq!(world.workos.refreshes(), asked + 1);

        world.gateway.clock.advance(NEXT_TRY);
        let waits = connected.try_refresh().await;
        assert!(waits.headers().contains_key("retry-after"), "{status}: {}", waits.status());
        oauth_error(waits, 503, "temporarily_unavailable").await;
        world.behave(|behaviour| behaviour.fail_refresh = None);
        world.gateway.clock.advance(NEXT_TRY);
        connected.refresh().await;
    }
}

// IDP-14, IDP-10
#[tokio::test]
async fn a_login_during_an_outage_ends_at_a_page_with_a_reference() {
    let world = World::new().await;
    world.behave(|behaviour| behaviour.fail = Some((503, String::new())));
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let back = client.consent_page(&browser, &client.authorize_url("one", &[]), "nobody").await;
    let page = browser.get(back.redirect()).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY, "{}", page.text);
    assert!(page.text.contains("Reference"), "{}", page.text);
}

// IDP-15
#[tokio::test]
async fn roles_and_names_follow_the_provider_without_a_new_login() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    assert_eq!(connected.person().await.roles, ["member", "auditor"]);
    world.behave(|behaviour| behaviour.roles = Some(vec!["admin".to_owned()]));
    world.workos.change_user("alice@example.com", &json!({ "first_name": "Alicia", "email_verified": false }));
    world.sync_is_due();
    connected.refresh().await;
    let person = connected.person().await;
    assert_eq!(person.roles, ["admin"]);
    assert_eq!((person.name.as_deref(), person.email_verified), (Some("Alicia Example"), false));
}

// IDP-13, WOS-10: an answer that is believed, and says that the person may not come in.
#[tokio::test]
async fn a_person_who_left_the_required_organisation_loses_access() {
    let world = World::with(&format!(r#", "organizationId": "{ORGANIZATION}""#)).await;
    let mut connected = world.connected().await;
    world.sync_is_due();
    connected.refresh().await;
    world.behave(|behaviour| {
        behaviour.answer = Some(json!({ "organization_id": "org_01OTHER" }));
        behaviour.claims = Some(json!({ "org_id": "org_01OTHER" }));
    });
    world.sync_is_due();
    oauth_error(connected.try_refresh().await, 400, "invalid_grant").await;
    assert_eq!(connected.call().await, StatusCode::UNAUTHORIZED);
}

// IDP-12: whoever writes does so over what they read.
#[tokio::test]
async fn every_change_of_a_login_session_counts() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    assert_eq!(world.session(&connected).await.version, 2, "begun, and its token kept");
    world.sync_is_due();
    connected.refresh().await;
    assert_eq!(world.session(&connected).await.version, 5, "claimed, the next token kept, settled");
    world.behave(|behaviour| behaviour.fail_refresh = Some((503, String::new())));
    world.sync_is_due();
    connected.refresh().await;
    assert_eq!(world.session(&connected).await.version, 7, "claimed, failed");
}

// IDP-13: the answer must be about the person who signed in.
#[tokio::test]
async fn an_answer_about_another_person_changes_nothing() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    let before = connected.person().await;
    world.behave(|behaviour| {
        behaviour.answer =
            Some(json!({ "user": { "object": "user", "id": "user_01BOB", "email": "bob@example.com" } }));
        behaviour.claims = Some(json!({ "sub": "user_01BOB" }));
    });
    world.sync_is_due();
    connected.refresh().await;
    assert_eq!(connected.person().await, before);
    assert!(world.session(&connected).await.failing_since.is_some());
}

// WOS-13, IDP-15: a person of two organisations, which ask for different proofs.
#[tokio::test]
async fn a_login_to_one_organisation_opens_and_closes_nothing_of_a_login_to_another() {
    let workos = FakeWorkOs::start().await;
    let policies = format!(
        r#"{{"policies": [{{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{
            "clientId": "{CLIENT_ID}", "clientSecret": "{API_KEY}", "apiUrl": "{}" }} }} }},
            {{"name": "access", "policyType": "mcp-access-inbound",
              "handler": {{"options": {{ "organizations": ["{ORGANIZATION}"] }} }} }}]}}"#,
        workos.base()
    );
    let options = Options { policies: Some(policies), access: Some(""), ..Options::default() };
    let gateway = TestGateway::start_with(options).await;
    workos.follow(Arc::clone(&gateway.clock) as _);
    let mut home = connect(&gateway, &Browser::new()).await;
    assert_eq!(home.call().await, StatusCode::BAD_GATEWAY, "let through, to nobody");

    workos.behave(|behaviour| {
        behaviour.claims = Some(json!({ "org_id": "org_01AWAY" }));
        behaviour.answer = Some(json!({ "organization_id": "org_01AWAY" }));
    });
    let away = Browser::new();
    let (_, page) = ask(&gateway, &away).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
    gateway.clock.advance(6);
    assert_eq!(home.call().await, StatusCode::BAD_GATEWAY);

    workos.behave(|behaviour| (behaviour.claims, behaviour.answer) = (None, None));
    gateway.clock.advance(NEXT_SYNC);
    home.refresh().await;
    assert_eq!(away.get(&page.url).await.status, StatusCode::FORBIDDEN);
}

// WOS-16, IDP-11
#[tokio::test]
async fn without_session_sync_workos_is_not_asked_again_and_nothing_of_it_is_kept() {
    let world = World::with(r#", "sessionSync": false"#).await;
    let mut connected = world.connected().await;
    let grant = world.gateway.assembly.store.grant(&connected.grant()).await.unwrap().unwrap();
    assert_eq!(grant.login_session, None);
    world.workos.revoke_sessions();
    world.sync_is_due();
    connected.refresh().await;
    assert_eq!(world.workos.refreshes(), 0);
}

// IDP-11, SEC-2
#[tokio::test]
async fn the_providers_token_is_sealed_to_its_row() {
    let world = World::new().await;
    let connected = world.connected().await;
    let session = world.session(&connected).await;
    let sealed = session.sealed_token.clone().expect("a token");
    assert!(!sealed.windows(4).any(|window| window == b"ref_"));
    let sealer = &world.gateway.assembly.sealer;
    assert!(sealer.open(&format!("login session:{}", session.id), &sealed).unwrap().starts_with(b"ref_"));
    assert!(sealer.open("login session:ls_another", &sealed).is_err());
}

// IDP-12, IDP-13: one record for the login session, and the newest token in it.
#[tokio::test]
async fn a_new_login_of_the_same_session_ends_the_doubt_about_the_token_before() {
    let world = World::new().await;
    world.behave(|behaviour| behaviour.claims = Some(json!({ "sid": "session_01SAME" })));
    let first = world.connected().await;
    world.sync_is_due();
    world.behave(|behaviour| behaviour.lose_refresh_answer = true);
    assert_eq!(first.try_refresh().await.status(), StatusCode::OK);
    assert!(world.session(&first).await.in_doubt);
    world.behave(|behaviour| behaviour.lose_refresh_answer = false);

    let second = world.connected().await;
    let session = world.session(&second).await;
    assert_eq!(session.id, world.session(&first).await.id);
    assert!(!session.in_doubt);
    world.workos.revoke_sessions();
    world.sync_is_due();
    oauth_error(second.try_refresh().await, 400, "invalid_grant").await;
    assert_eq!(world.workos.management_reads(), 0, "the refusal of a fresh token needs no confirmation");
}

// WOS-16: an answer that names no session leaves the name that is known.
#[tokio::test]
async fn the_name_of_the_providers_session_is_kept_when_an_answer_has_none() {
    let world = World::new().await;
    let mut connected = world.connected().await;
    let named = world.session(&connected).await.provider_session;
    assert!(named.is_some());
    world.behave(|behaviour| behaviour.claims = Some(json!({ "sid": null })));
    world.sync_is_due();
    connected.refresh().await;
    let synced = world.session(&connected).await;
    assert_eq!((synced.provider_session, synced.claimed_at), (named, None));
    world.behave(|behaviour| behaviour.claims = Some(json!({ "sid": "session_01NEXT" })));
    world.sync_is_due();
    connected.refresh().await;
    assert_eq!(world.session(&connected).await.provider_session.as_deref(), Some("session_01NEXT"));
}

// WOS-12, REV-6
#[tokio::test]
async fn an_impersonated_login_is_recorded_as_one() {
    for impersonated in [false, true] {
        let world = World::with(r#", "allowImpersonation": true"#).await;
        let impersonator = json!({ "email": "support@example.com", "reason": "a ticket" });
        let answer = if impersonated { json!({ "impersonator": impersonator }) } else { json!({}) };
        world.behave(|behaviour| behaviour.answer = Some(answer));
        world.connected().await;
        let store = &world.gateway.assembly.store;
        store.settle_audit().await;
        let entries = store.audit_tail(100).await.unwrap();
        let login = entries.iter().find(|entry| entry.event == "mcp_auth_login_succeeded").expect("a record");
        assert_eq!(login.reason.as_deref(), impersonated.then_some("impersonated"));
    }
}

// IDP-1, DISC-13: a login that was begun on one origin does not end on another.
#[tokio::test]
async fn a_callback_on_another_origin_signs_nobody_in() {
    let world = World::new().await;
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let back = client.consent_page(&browser, &client.authorize_url("one", &[]), "nobody").await;
    let elsewhere = back.redirect().replace("//localhost:", "//127.0.0.1:");
    assert_ne!(elsewhere, back.redirect());
    let page = browser.get(&elsewhere).await;
    assert_eq!((page.location, page.status), (None, StatusCode::BAD_REQUEST), "{}", page.text);
    assert_eq!(world.workos.exchanges().len(), 0, "WorkOS was not asked");
}

// OPS-4, IDP-14
#[tokio::test]
async fn what_workos_says_of_logins_is_counted() {
    let world = World::new().await;
    let metrics = Metrics::of(&world.gateway).await;
    let mut connected = world.connected().await;
    world.sync_is_due();
    connected.refresh().await;
    world.behave(|behaviour| behaviour.fail_refresh = Some((503, String::new())));
    world.sync_is_due();
    connected.refresh().await;
    world.behave(|behaviour| behaviour.fail_refresh = None);
    world.workos.revoke_sessions();
    world.gateway.clock.advance(NEXT_TRY);
    oauth_error(connected.try_refresh().await, 400, "invalid_grant").await;
    let scrape = metrics.scrape().await;
    for (sample, value) in [
        (r#"doorward_session_checks_total{outcome="confirmed"}"#, 1),
        (r#"doorward_session_checks_total{outcome="failed"}"#, 1),
        (r#"doorward_session_checks_total{outcome="ended"}"#, 1),
        (r#"doorward_grants_ended_total{reason="provider_session_ended"}"#, 1),
    ] {
        assert_eq!(scrape.value(sample), value, "{sample}\n{}", scrape.text);
    }
}

// OPS-4, IDP-14
#[tokio::test]
async fn a_login_that_failed_is_counted_by_what_went_wrong() {
    let world = World::new().await;
    let metrics = Metrics::of(&world.gateway).await;
    world.behave(|behaviour| behaviour.fail = Some((503, String::new())));
    let client = TestClient::register(&world.gateway).await;
    let browser = Browser::new();
    let back = client.consent_page(&browser, &client.authorize_url("one", &[]), "nobody").await;
    browser.get(back.redirect()).await;
    let scrape = metrics.scrape().await;
    assert!(scrape.value(r#"doorward_logins_total{outcome="provider_unavailable"}"#) >= 1, "{}", scrape.text);
}
