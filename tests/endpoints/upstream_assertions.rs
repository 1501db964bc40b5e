//! Servers behind that take the identity provider's word (gateway.md §8 `id-jag`; EXT-6): whole journeys.

use std::sync::Arc;

use doorward::domain::{Clock, GrantId, SubjectId};
use doorward::store::RevocationReason;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::fake_oidc::{CLIENT_ID, CLIENT_SECRET, FakeOidc};
use super::fake_upstream::id_jag::FakeJagProvider;
use super::fake_upstream::{Endpoint, FakeUpstream, Fault};
use super::logs::Log;
use super::support::browser::{Browser, Page};
use super::support::flow::TestClient;
use super::support::gateway::{Options, TestGateway};

const HOUR: i64 = 3600;

/// A gateway before a server and its organisation. People sign in at `sign_in`; the organisation takes its ID tokens.
struct World {
    sign_in: FakeOidc,
    organisation: FakeJagProvider,
    server: FakeUpstream,
    gateway: TestGateway,
}

impl World {
    async fn new() -> Self {
        let (sign_in, organisation, server) =
            (FakeOidc::start().await, FakeJagProvider::start().await, FakeUpstream::start().await);
        organisation.trust_id_tokens_of(&sign_in.issuer(), &format!("{}/jwks", sign_in.base()));
        organisation.add_client("gateway", "client_secret_post", "idp-secret");
        organisation.allow("gateway", &server.issuer(), "gateway-there");
        server.add_client("gateway-there", "", "client_secret_basic", Some("as-secret"));
        server.trust_assertions_of(&organisation.issuer(), &organisation.jwks_url());
        let policies = json!({ "policies": [{
            "name": "login",
            "policyType": "mcp-oauth-inbound",
            "handler": { "export": "McpOAuthInboundPolicy", "options": {
                "oidc": { "issuer": sign_in.issuer() },
                "browserLogin": { "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET, "remoteTimeoutMs": 60_000 },
            } },
        }] });
        let credential = json!({
            "displayName": "Notes",
            "authMode": "id-jag",
            "idJag": {
                "idp": {
                    "tokenUrl": organisation.token_url(),
                    "clientAuth": { "method": "client_secret_post", "clientId": "gateway", "clientSecret": "idp-secret" },
                },
                "resourceAs": {
                    "tokenUrl": server.token_url(),
                    "audience": server.issuer(),
                    "clientAuth": {
                        "method": "client_secret_basic", "clientId": "gateway-there", "clientSecret": "as-secret",
                    },
                },
            },
        });
        let options = Options {
            policies: Some(policies.to_string()),
            routes: vec![("one", server.mcp_url()), ("two", "http://127.0.0.1:9/mcp".to_owned())],
            credentials: vec![("one", credential)],
            ..Options::default()
        };
        let gateway = TestGateway::start_with(options).await;
        sign_in.follow(Arc::clone(&gateway.clock) as Arc<dyn Clock>);
        Self { sign_in, organisation, server, gateway }
    }

    /// From now on this person signs in at the provider, and gets a refresh token there or not.
    fn person(&self, person: &str, lasting: bool) {
        self.sign_in.behave(|how| {
            how.claims =
                Some(json!({ "sub": person, "sid": format!("s-{person}"), "email": format!("{person}@example.com") }));
            how.token_answer = (!lasting).then(|| json!({ "refresh_token": null }));
        });
    }

    /// Up to the consent page of a new client.
    async fn ask(&self, browser: &Browser) -> (TestClient<'_>, Page) {
        let client = TestClient::register(&self.gateway).await;
        let mut page = client.consent_page(browser, &client.authorize_url("one", &[]), "nobody").await;
        for _ in 0..3 {
            if page.location.is_some() {
                page = browser.get(page.redirect()).await;
            }
        }
        (client, page)
    }

    async fn connect(&self, browser: &Browser) -> Connected<'_> {
        let (client, page) = self.ask(browser).await;
        let code = client.decide(browser, &page, "approve").await.param("code").expect("a code");
        let response = client.redeem(&code).await;
        assert_eq!(response.status(), StatusCode::OK);
        Connected { client, tokens: response.json().await.unwrap() }
    }

    /// A client that acts for a person who has just signed in for it.
    async fn connected(&self, person: &str, lasting: bool) -> Connected<'_> {
        self.person(person, lasting);
        self.connect(&Browser::new()).await
    }
}

/// A client with its tokens.
struct Connected<'w> {
    client: TestClient<'w>,
    tokens: Value,
}

impl Connected<'_> {
    fn claim(&self, name: &str) -> String {
        let payload = self.tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(payload).unwrap()).unwrap();
        claims[name].as_str().unwrap().to_owned()
    }

    async fn refresh(&mut self) {
        let response = self.client.refresh(self.tokens["refresh_token"].as_str().unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        self.tokens = response.json().await.unwrap();
    }

    async fn call(&self) -> (StatusCode, Value) {
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami", "arguments": {} },
        });
        let request = self.client.http.post(self.client.gateway.resource("one"));
        let request = request.bearer_auth(self.tokens["access_token"].as_str().unwrap()).json(&call);
        let response = request.header("accept", "application/json, text/event-stream").send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Whom the server takes the caller for.
    async fn whoami(&self) -> String {
        let (status, answer) = self.call().await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The link of an answer that sends the person to sign in.
    async fn link(&self) -> String {
        let (_, answer) = self.call().await;
        let error = &answer["error"];
        assert_eq!(error["code"], -32042, "{answer}");
        assert_eq!(error["data"]["state"], "reconsent_required", "{answer}");
        assert_eq!(error["data"]["upstreamServerId"], "one");
        error["data"]["authUrl"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

// EXT-6, SEC-2
#[tokio::test]
async fn two_people_call_a_server_each_as_themselves_and_connect_nothing() {
    let world = World::new().await;
    let (ada, bob) = (world.connected("ada", true).await, world.connected("bob", true).await);
    for (who, person) in [(&ada, "ada"), (&bob, "bob"), (&ada, "ada")] {
        assert!(who.whoami().await.contains(person));
    }
    assert_eq!(world.organisation.token_requests().len(), 2);
    let own = [ada.tokens["access_token"].as_str().unwrap(), bob.tokens["access_token"].as_str().unwrap()];
    for request in world.server.requests() {
        let shown = format!("{:?}", request.headers);
        assert!(own.iter().all(|token| !shown.contains(token)), "the client's own token went to the server");
    }
}

// EXT-6
#[tokio::test]
async fn the_consent_page_waits_for_no_connection() {
    let world = World::new().await;
    world.person("ada", true);
    let (_, page) = world.ask(&Browser::new()).await;
    assert!(page.text.contains("ada@example.com"), "{}", page.text);
    assert!(page.text.contains(r#"value="approve""#), "{}", page.text);
}

// EXT-6
#[tokio::test]
async fn an_id_token_that_has_ended_is_renewed_in_the_middle_of_it_all() {
    let world = World::new().await;
    let mut ada = world.connected("ada", true).await;
    assert!(ada.whoami().await.contains("ada"));
    for round in 1..=2 {
        world.gateway.clock.advance(HOUR);
        ada.refresh().await;
        assert!(ada.whoami().await.contains("ada"));
        assert_eq!(world.sign_in.granted("refresh_token"), round);
    }
}

// EXT-6, PROX-7
#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_it_all_is_replaced_and_the_call_is_carried_out_once() {
    let world = World::new().await;
    let ada = world.connected("ada", true).await;
    assert!(ada.whoami().await.contains("ada"));
    world.server.expire_access_tokens();
    let before = world.server.carried_out().len();
    assert!(ada.whoami().await.contains("ada"));
    assert_eq!(world.server.carried_out().len(), before + 1);
    assert_eq!(world.organisation.token_requests().len(), 2);
    // The organisation stops it while the server refuses the token.
    world.server.expire_access_tokens();
    world.organisation.fail_next(Fault::error(400, "access_denied"));
    let (status, answer) = ada.call().await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    assert!(answer.to_string().contains("your organisation does not let you use this server"), "{answer}");
    assert!(!answer.to_string().contains("canary"), "{answer}");
}

// EXT-6, LIM-7
#[tokio::test]
async fn a_server_that_refuses_every_token_costs_the_organisation_no_assertion_a_call() {
    let world = World::new().await;
    let ada = world.connected("ada", true).await;
    world.server.fail_always(Endpoint::Mcp, Fault::Unauthorized);
    for _ in 0..4 {
        assert_eq!(ada.call().await.0, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(world.organisation.token_requests().len(), 2, "the first one, and another in its place");
    world.server.recover(Endpoint::Mcp);
    assert!(ada.whoami().await.contains("ada"));
    assert_eq!(world.organisation.token_requests().len(), 2);
}

// EXT-6
#[tokio::test]
async fn trouble_at_the_organisation_is_told_as_trouble() {
    let world = World::new().await;
    let ada = world.connected("ada", true).await;
    world.organisation.fail_next(Fault::down());
    assert_eq!(ada.call().await.0, StatusCode::SERVICE_UNAVAILABLE);
    world.gateway.clock.advance(6);
    world.organisation.fail_next(Fault::error(401, "invalid_client"));
    assert_eq!(ada.call().await.0, StatusCode::BAD_GATEWAY);
    world.gateway.clock.advance(6);
    world.server.fail_next(Endpoint::Token, Fault::down());
    assert_eq!(ada.call().await.0, StatusCode::SERVICE_UNAVAILABLE);
    world.gateway.clock.advance(6);
    assert!(ada.whoami().await.contains("ada"));
}

// EXT-6
#[tokio::test]
async fn somebody_whose_sign_in_is_too_long_ago_is_told_where_to_sign_in_again() {
    let world = World::new().await;
    let mut ada = world.connected("ada", false).await;
    assert!(ada.whoami().await.contains("ada"));
    world.gateway.clock.advance(HOUR);
    ada.refresh().await;
    let (_, answer) = ada.call().await;
    let said = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(said.contains("Notes relies on your sign-in at your organisation"), "{said}");
    assert!(ada.link().await.starts_with(&world.gateway.url("/auth/connections/one/connect?ticket=")));
    assert_eq!(world.server.requests().len(), 1, "nothing is sent without a credential");
}

// EXT-6
#[tokio::test]
async fn the_link_leads_through_a_sign_in_back_to_the_application() {
    let world = World::new().await;
    world.person("ada", false);
    let browser = Browser::new();
    let mut ada = world.connect(&browser).await;
    world.gateway.clock.advance(HOUR);
    ada.refresh().await;
    let link = ada.link().await;
    // The browser is signed in at the gateway all along: what counts is the sign-in at the provider.
    let page = browser.get(&link).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("Sign in again for"), "{}", page.text);
    let step = [("ticket", page.field("ticket")), ("step", "sign-in".to_owned())];
    let step: Vec<(&str, &str)> = step.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let submit = world.gateway.url("/auth/connections/one/connect");
    let left = browser.post(&submit, &step).await;
    let provider = browser.get(left.redirect()).await;
    let back = browser.get(provider.redirect()).await;
    let done = browser.get(back.redirect()).await;
    assert!(done.text.contains("You are signed in"), "{}", done.text);
    assert!(ada.whoami().await.contains("ada"));
    assert_eq!(world.sign_in.granted("authorization_code"), 2);
    // The link does nothing more, and nobody connects what wants no connecting.
    assert!(browser.get(&link).await.text.contains("You are signed in"));
    let connect: Vec<(&str, &str)> =
        step.iter().map(|(name, value)| (*name, if *name == "step" { "connect" } else { *value })).collect();
    assert!(browser.post(&submit, &connect).await.status.is_client_error());
}

// EXT-6, SEC-5
#[tokio::test]
async fn a_link_for_one_person_signs_nobody_else_in() {
    let world = World::new().await;
    let mut ada = world.connected("ada", false).await;
    world.person("bob", false);
    let bob = Browser::new();
    world.connect(&bob).await;
    world.gateway.clock.advance(HOUR);
    ada.refresh().await;
    let link = ada.link().await;
    assert_eq!(bob.get(&link).await.status, StatusCode::FORBIDDEN);
    // Somebody who is not signed in yet turns out to be another person.
    let stranger = Browser::new();
    let page = stranger.get(&link).await;
    let submit = world.gateway.url("/auth/connections/one/connect");
    let left = stranger.post(&submit, &[("ticket", &page.field("ticket")), ("step", "sign-in")]).await;
    let provider = stranger.get(left.redirect()).await;
    let back = stranger.get(provider.redirect()).await;
    assert_eq!(stranger.get(back.redirect()).await.status, StatusCode::FORBIDDEN);
    ada.link().await;
}

// EXT-6
#[tokio::test]
async fn the_development_login_has_nothing_to_exchange_and_nobody_is_sent_round() {
    let login = json!({ "clientId": "$env(UNSET_CLIENT_ID)", "clientSecret": "$env(UNSET_CLIENT_SECRET)" });
    let policies = json!({ "policies": [{
        "name": "login",
        "policyType": "mcp-oauth-inbound",
        "handler": { "export": "McpOAuthInboundPolicy", "options": {
            "oidc": { "issuer": "https://login.example.com/" }, "browserLogin": login,
        } },
    }] });
    let client = json!({ "method": "client_secret_post", "clientId": "gateway", "clientSecret": "secret" });
    let token_url = "https://login.example.com/token";
    let id_jag = json!({
        "idp": { "tokenUrl": token_url, "clientAuth": client },
        "resourceAs": { "tokenUrl": token_url, "audience": "https://login.example.com", "clientAuth": client },
    });
    let options = Options {
        policies: Some(policies.to_string()),
        credentials: vec![("one", json!({ "authMode": "id-jag", "idJag": id_jag }))],
        ..Options::default()
    };
    let gateway = TestGateway::start_with(options).await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let ada = Connected { client, tokens };
    let (status, answer) = ada.call().await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
    assert!(answer.to_string().contains("its operator must mend that"), "{answer}");
}

// EXT-6, REV-3
#[tokio::test]
async fn a_grant_that_was_taken_back_gets_nothing_more() {
    let world = World::new().await;
    let ada = world.connected("ada", true).await;
    assert!(ada.whoami().await.contains("ada"));
    let (store, now) = (&world.gateway.assembly.store, world.gateway.clock.now());
    let grant = GrantId::new(ada.claim("sid"));
    assert!(store.revoke_grant(&grant, RevocationReason::Person, now).await.unwrap());
    world.gateway.assembly.catch_up().await.unwrap();
    assert_eq!(ada.call().await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.server.requests().len(), 1);
}

// EXT-6
#[tokio::test]
async fn a_new_client_of_somebody_whose_sign_in_is_too_long_ago_makes_them_sign_in_again() {
    let world = World::new().await;
    world.person("ada", false);
    let browser = Browser::new();
    world.connect(&browser).await;
    // While the ID token lasts, the browser's login is enough.
    world.connect(&browser).await;
    assert_eq!(world.sign_in.granted("authorization_code"), 1);
    world.gateway.clock.advance(600);
    let again = world.connect(&browser).await;
    assert_eq!(world.sign_in.granted("authorization_code"), 2);
    assert!(again.whoami().await.contains("ada"));
}

// EXT-6, IDP-11, SEC-8
#[tokio::test]
async fn the_id_token_is_kept_for_this_alone_and_nothing_of_it_lies_in_the_open() {
    let (log, _listening) = Log::listen();
    let world = World::new().await;
    let mut ada = world.connected("ada", true).await;
    assert!(ada.whoami().await.contains("ada"));
    // Whatever goes wrong is told in the log, too.
    for fault in [Fault::error(400, "access_denied"), Fault::error(401, "invalid_client"), Fault::down()] {
        world.gateway.clock.advance(HOUR);
        world.organisation.fail_next(fault);
        ada.refresh().await;
        assert!(!ada.call().await.0.is_success());
    }
    let told = log.text();
    for event in ["assertion_redeemed", "assertion_failed"] {
        assert!(told.contains(&format!("mcp_auth_upstream_{event}")), "{told}");
    }
    assert!(told.contains("mcp_auth_id_token_renewed"), "{told}");
    let id_token = world.organisation.token_requests()[0].form["subject_token"].clone();
    let subject = SubjectId::new(ada.claim("sub"));
    assert!(world.gateway.assembly.store.subject_token(&subject).await.unwrap().is_some());
    assert!(!ada.tokens.to_string().contains(&id_token));
    let file = |name: &str| std::fs::read(world.gateway.folder().join(name)).unwrap_or_default();
    let stored = [file("test.db"), file("test.db-wal")].concat();
    let secrets =
        [vec![id_token, "provider-refresh-canary".to_owned()], world.organisation.assertions(), world.server.secrets()];
    for secret in secrets.concat() {
        assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()), "in the database");
        assert!(!told.contains(&secret), "in the log");
    }
}
