//! Connections to OAuth upstreams: made, kept alive and lost, over a real store, against a strict double.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use doorward::config::model::{
    OidcCredential, Upstream, UpstreamMode, UpstreamOAuth, UpstreamPrompt, UpstreamRegistration,
};
use doorward::crypto::{KeyMaterial, Sealer};
use doorward::domain::connection::{Connection, ConnectionId, ConsentNeeded, Owner};
use doorward::domain::{BrowserId, Clock, SubjectId, SystemRandom, UnixTime};
use doorward::outbound::{Outbound, OutboundSettings};
use doorward::store::Store;
use doorward::telemetry::metrics::UpstreamMetrics;
use doorward::upstream::{
    ConnectError, ConnectFailure, Connected, ConnectionStatus, Credential, CredentialError, ReturnTo, Returned, Start,
    UpstreamParts, Upstreams,
};
use futures_util::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::fake_upstream::{Endpoint, FakeUpstream, Fault, Refreshing};

const ORIGIN: &str = "http://localhost:9000";
const KEY: [u8; 32] = [7; 32];

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

/// A gateway without web and proxy, before one double.
struct World {
    double: FakeUpstream,
    folder: tempfile::TempDir,
    store: Store,
    clock: Arc<TestClock>,
    upstream: Arc<Upstream>,
    upstreams: Arc<Upstreams>,
}

impl World {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Upstream)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let double = FakeUpstream::start().await;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", folder.path().join("test.db").display())).await.unwrap();
        // The double's tokens live by the machine's clock, which is not asked here.
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000)));
        let mut upstream = Upstream {
            id: "notes".to_owned(),
            display_name: "Notes".to_owned(),
            summary: None,
            server: Url::parse(&double.mcp_url()).unwrap(),
            mode: UpstreamMode::PerPerson(oauth()),
        };
        change(&mut upstream);
        let upstream = Arc::new(upstream);
        let upstreams = upstreams(&upstream, &store, &clock, &[KEY]);
        Self { double, folder, store, clock, upstream, upstreams }
    }

    /// Another gateway over the same store, under another configuration perhaps.
    fn beside(&self, keys: &[[u8; 32]], change: impl FnOnce(&mut Upstream)) -> (Arc<Upstream>, Arc<Upstreams>) {
        let mut upstream = Upstream::clone(&self.upstream);
        change(&mut upstream);
        let upstream = Arc::new(upstream);
        let upstreams = upstreams(&upstream, &self.store, &self.clock, keys);
        (upstream, upstreams)
    }

    fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Parameters of the callback of a browser that went to the authorization server.
    async fn visit(&self, person: &str, browser: &BrowserId) -> Result<Vec<(String, String)>, ConnectError> {
        self.double.sign_in(person);
        let subject = subject(person);
        let start = Start {
            origin: ORIGIN,
            browser,
            owner: self.owner(person),
            by: Some(&subject),
            return_to: ReturnTo::Application,
        };
        let url = self.upstreams.start(&self.upstream, start).await?;
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap());
        let back = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        assert!(back.as_str().starts_with("http://localhost:9000/auth/connections/notes/callback?"), "{back}");
        Ok(back.query_pairs().into_owned().collect())
    }

    async fn finish(
        &self,
        person: Option<&str>,
        browser: &BrowserId,
        callback: &[(String, String)],
    ) -> Result<Connected, ConnectFailure> {
        let get = |name: &str| callback.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let subject = person.map(subject);
        let returned = Returned {
            upstream: "notes",
            browser,
            subject: subject.as_ref(),
            state: get("state").unwrap_or_default(),
            code: get("code"),
            error: get("error"),
            iss: get("iss"),
        };
        self.upstreams.finish(returned).await
    }

    async fn connect(&self, person: &str) {
        let browser = BrowserId::new(format!("br_{person}"));
        let callback = self.visit(person, &browser).await.unwrap();
        self.finish(Some(person), &browser, &callback).await.unwrap();
    }

    fn owner(&self, person: &str) -> Owner {
        match &self.upstream.mode {
            UpstreamMode::Shared(_) => Owner::Everyone,
            _ => Owner::Person(subject(person)),
        }
    }

    async fn credential(&self, person: &str) -> Result<Credential, CredentialError> {
        credential(&self.upstreams, &self.upstream, person, None).await
    }

    async fn instead_of(&self, person: &str, refused: &Credential) -> Result<Credential, CredentialError> {
        credential(&self.upstreams, &self.upstream, person, Some(refused)).await
    }

    async fn record(&self, person: &str) -> Connection {
        self.store.connection(&ConnectionId::of("notes", &self.owner(person))).await.unwrap().unwrap()
    }

    /// Every byte of the store.
    fn stored(&self) -> Vec<u8> {
        let file = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        [file("test.db"), file("test.db-wal")].concat()
    }

    /// Whether the double takes the credential, and for whom.
    async fn whose(&self, credential: &Credential) -> Option<String> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let call = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami", "arguments": {} } });
        let request = client.post(self.double.mcp_url()).bearer_auth(credential.token.expose_secret()).json(&call);
        let answer = request.header("accept", "application/json, text/event-stream").send().await.unwrap();
        assert!([200, 401].contains(&answer.status().as_u16()));
        self.double.requests().pop().and_then(|request| request.account)
    }

    /// How often the double was asked for a renewal, whatever it answered.
    fn refreshes(&self) -> usize {
        self.double.fetches(Endpoint::Token) - self.double.granted("authorization_code")
    }
}

fn oauth() -> UpstreamOAuth {
    UpstreamOAuth {
        resource_metadata: None,
        scopes: None,
        scope_delimiter: " ".to_owned(),
        prompt: UpstreamPrompt::ForOfflineAccess,
        registration: UpstreamRegistration::Auto,
    }
}

fn upstreams(upstream: &Arc<Upstream>, store: &Store, clock: &Arc<TestClock>, keys: &[[u8; 32]]) -> Arc<Upstreams> {
    upstreams_of(&[upstream], store, clock, keys)
}

fn upstreams_of(
    upstreams: &[&Arc<Upstream>],
    store: &Store,
    clock: &Arc<TestClock>,
    keys: &[[u8; 32]],
) -> Arc<Upstreams> {
    let keys: Vec<KeyMaterial> = keys.iter().map(|key| KeyMaterial::new(*key)).collect();
    let outbound = Outbound::new(&OutboundSettings { allow_loopback: true, ..OutboundSettings::default() }).unwrap();
    let parts = UpstreamParts {
        store: store.clone(),
        outbound,
        sealer: Sealer::new(&keys).unwrap(),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        random: Arc::new(SystemRandom),
        origins: vec![ORIGIN.to_owned()],
        base_path: "/".to_owned(),
        metrics: UpstreamMetrics::default(),
        identity: None,
    };
    Arc::new(Upstreams::new(upstreams.iter().copied(), parts))
}

fn subject(person: &str) -> SubjectId {
    SubjectId::new(format!("usr_{person}"))
}

async fn credential(
    upstreams: &Arc<Upstreams>,
    upstream: &Arc<Upstream>,
    person: &str,
    refused: Option<&Credential>,
) -> Result<Credential, CredentialError> {
    let subject = subject(person);
    upstreams.credential(upstream, &subject, refused).await
}

fn consent_needed(found: &Result<Credential, CredentialError>) -> Option<ConsentNeeded> {
    match found {
        Err(CredentialError::NeedsConsent(reason)) => Some(*reason),
        _ => None,
    }
}

// SEC-2
#[tokio::test]
async fn two_people_connect_and_each_has_a_credential_of_their_own() {
    let world = World::start().await;
    assert!(matches!(world.credential("ada").await, Err(CredentialError::NotConnected)));
    world.connect("ada").await;
    assert!(matches!(world.credential("bob").await, Err(CredentialError::NotConnected)));
    world.connect("bob").await;
    for person in ["ada", "bob", "ada"] {
        let found = world.credential(person).await.unwrap();
        assert_eq!(world.whose(&found).await.as_deref(), Some(person));
    }
    assert_eq!(world.double.registrations().len(), 1, "the gateway registers once for all people");
    assert!(world.upstreams.disconnect("notes", &world.owner("ada"), None).await.unwrap());
    assert!(matches!(world.credential("ada").await, Err(CredentialError::NotConnected)));
    assert!(world.credential("bob").await.is_ok());

    // Nothing of it lies in the open.
    let stored = world.stored();
    for secret in world.double.secrets() {
        assert!(!holds(&stored, &secret), "a secret stands in the database");
    }
}

// SEC-1, SEC-2: whoever reads the store finishes nobody's way, and learns no verifier
#[tokio::test]
async fn nothing_of_a_way_that_is_under_way_lies_in_the_open() {
    let world = World::start().await;
    let browser = BrowserId::new("br_ada");
    let callback = world.visit("ada", &browser).await.unwrap();
    let stored = world.stored();
    assert!(holds(&stored, "br_ada"), "it is the store that is looked at");
    world.finish(Some("ada"), &browser, &callback).await.unwrap();
    let request = world.double.token_requests().pop().unwrap().form;
    let state = callback.iter().find(|(name, _)| name == "state").unwrap();
    for secret in [&state.1, &request["code_verifier"], &request["code"]] {
        assert!(!holds(&stored, secret));
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

// SEC-2: a route that is pointed elsewhere while somebody is on the way gets no credential for the old server
#[tokio::test]
async fn a_way_that_began_to_one_server_ends_at_no_other() {
    let world = World::start().await;
    let browser = BrowserId::new("br_ada");
    let callback = world.visit("ada", &browser).await.unwrap();
    let (_, moved) = world.beside(&[KEY], |upstream| upstream.server = Url::parse("http://127.0.0.1:9/mcp").unwrap());
    let there = World { upstreams: moved, ..world };
    let failed = there.finish(Some("ada"), &browser, &callback).await.unwrap_err();
    assert!(matches!(failed.error, ConnectError::Gone));
    assert!(there.double.token_requests().is_empty(), "the code stays where it is");
}

// SEC-2: a sealed value opens only in the row it was made for.
#[tokio::test]
async fn the_credential_of_another_row_does_not_open() {
    let world = World::start().await;
    world.connect("ada").await;
    world.connect("bob").await;
    let (ada, bob) = (world.record("ada").await, world.record("bob").await);
    let swapped = Connection { sealed: bob.sealed, version: ada.version + 1, ..ada.clone() };
    assert!(world.store.change_connection(ada.version, &swapped).await.unwrap());
    assert_eq!(consent_needed(&world.credential("ada").await), Some(ConsentNeeded::Refused));
}

#[tokio::test]
async fn many_calls_renew_a_token_once_and_over_two_gateways_too() {
    let world = World::start().await;
    world.connect("ada").await;
    let before = world.credential("ada").await.unwrap();
    world.advance(3541);
    let (upstream, other) = world.beside(&[KEY], |_| {});
    let here = join_all((0..20).map(|_| world.credential("ada")));
    let there = join_all((0..20).map(|_| credential(&other, &upstream, "ada", None)));
    let (here, there) = tokio::join!(here, there);
    assert!(here.into_iter().chain(there).all(|found| found.is_ok()));
    let after = world.credential("ada").await.unwrap();
    assert_ne!(before.token.expose_secret(), after.token.expose_secret());
    assert_eq!(world.whose(&after).await.as_deref(), Some("ada"));
    assert_eq!(world.refreshes(), 1);
}

#[tokio::test]
async fn an_expired_token_makes_calls_wait_for_the_one_renewal() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_next(Endpoint::Token, Fault::HeldAfter);
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let (upstreams, upstream) = (Arc::clone(&world.upstreams), Arc::clone(&world.upstream));
            tokio::spawn(async move { credential(&upstreams, &upstream, "ada", None).await })
        })
        .collect();
    world.double.wait_for_held(1).await;
    world.double.release();
    let found = join_all(waiting).await;
    let tokens: Vec<String> =
        found.into_iter().map(|found| found.unwrap().unwrap().token.expose_secret().to_owned()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(world.refreshes(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_however_many_calls_were_refused() {
    let world = World::start().await;
    world.connect("ada").await;
    let before = world.credential("ada").await.unwrap();
    world.double.expire_access_tokens();
    let found = join_all((0..10).map(|_| world.instead_of("ada", &before))).await;
    for after in found {
        assert_eq!(world.whose(&after.unwrap()).await.as_deref(), Some("ada"));
    }
    assert_eq!(world.refreshes(), 1);
}

#[tokio::test]
async fn the_old_token_serves_while_the_authorization_server_fails() {
    let world = World::start().await;
    world.connect("ada").await;
    let before = world.credential("ada").await.unwrap();
    for fault in [Fault::too_many(5), Fault::down(), Fault::error(503, "temporarily_unavailable"), Fault::Dropped] {
        world.advance(if world.refreshes() == 0 { 3541 } else { 0 });
        world.double.fail_next(Endpoint::Token, fault);
        let record = world.record("ada").await;
        let due = Connection { retry_at: UnixTime(0), version: record.version + 1, ..record.clone() };
        assert!(world.store.change_connection(record.version, &due).await.unwrap());
        let found = world.credential("ada").await.unwrap();
        assert_eq!(found.token.expose_secret(), before.token.expose_secret());
        let again = world.credential("ada").await.unwrap();
        assert_eq!(again.token.expose_secret(), before.token.expose_secret());
    }
    assert_eq!(world.refreshes(), 4, "each failure is followed by a pause");
    world.advance(31);
    let found = world.credential("ada").await.unwrap();
    assert_ne!(found.token.expose_secret(), before.token.expose_secret());
}

#[tokio::test]
async fn trouble_of_the_authorization_server_is_no_lost_consent() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_always(Endpoint::Token, Fault::down());
    assert!(matches!(world.credential("ada").await, Err(CredentialError::Unavailable(_))));
    assert!(matches!(world.credential("ada").await, Err(CredentialError::Unavailable(_))));
    assert_eq!(world.refreshes(), 1);
    world.double.recover(Endpoint::Token);
    world.advance(31);
    assert!(world.credential("ada").await.is_ok());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_soon() {
    let world = World::start().await;
    world.double.behave(|behaviour| behaviour.superseded_works = true);
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_next(Endpoint::Token, Fault::AnswerLost);
    assert!(matches!(world.credential("ada").await, Err(CredentialError::Unavailable(_))));
    world.advance(3);
    let found = world.credential("ada").await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn where_a_lost_answer_cannot_be_had_again_the_person_connects_anew() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_next(Endpoint::Token, Fault::AnswerLost);
    assert!(matches!(world.credential("ada").await, Err(CredentialError::Unavailable(_))));
    world.advance(3);
    assert_eq!(consent_needed(&world.credential("ada").await), Some(ConsentNeeded::Refused));
    assert_eq!(consent_needed(&world.credential("ada").await), Some(ConsentNeeded::Refused));
    assert_eq!(world.refreshes(), 2, "what was refused is not presented again");
    world.connect("ada").await;
    let found = world.credential("ada").await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn an_absent_refresh_token_keeps_the_old_one() {
    let world = World::start().await;
    world.double.behave(|behaviour| behaviour.refreshing = Refreshing::KeepsSilently);
    world.connect("ada").await;
    for _ in 0..3 {
        world.advance(3601);
        let found = world.credential("ada").await.unwrap();
        assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
    }
    assert_eq!(world.refreshes(), 3);
}

#[tokio::test]
async fn without_refresh_tokens_the_person_connects_again_when_the_token_is_over() {
    let world = World::start().await;
    world.double.behave(|behaviour| behaviour.refreshing = Refreshing::Never);
    world.connect("ada").await;
    world.advance(3599);
    assert!(world.credential("ada").await.is_ok());
    world.advance(1);
    assert_eq!(consent_needed(&world.credential("ada").await), Some(ConsentNeeded::Expired));
    let status = world.upstreams.status(&world.upstream, &subject("ada")).await.unwrap();
    assert_eq!(status, ConnectionStatus::NeedsConsent(ConsentNeeded::Expired));
    world.connect("ada").await;
    let found = world.credential("ada").await.unwrap();
    world.double.expire_access_tokens();
    assert_eq!(consent_needed(&world.instead_of("ada", &found).await), Some(ConsentNeeded::Refused));
    assert_eq!(consent_needed(&world.credential("ada").await), Some(ConsentNeeded::Refused));
}

#[tokio::test]
async fn what_the_person_revoked_at_the_upstream_needs_their_consent() {
    let world = World::start().await;
    world.connect("ada").await;
    let found = world.credential("ada").await.unwrap();
    world.double.revoke("ada");
    assert_eq!(world.whose(&found).await, None);
    assert_eq!(consent_needed(&world.instead_of("ada", &found).await), Some(ConsentNeeded::Refused));
    world.connect("ada").await;
    let found = world.credential("ada").await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn disconnecting_revokes_what_the_upstream_gave() {
    let world = World::start().await;
    world.connect("ada").await;
    let refresh_tokens = world.double.refresh_tokens("ada");
    assert!(world.upstreams.disconnect("notes", &world.owner("ada"), Some(&subject("ada"))).await.unwrap());
    for _ in 0..2_400 {
        if !world.double.revoked().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(world.double.revoked(), refresh_tokens);
    assert!(!world.upstreams.disconnect("notes", &world.owner("ada"), None).await.unwrap());
}

#[tokio::test]
async fn a_forgotten_client_is_registered_anew() {
    let world = World::start().await;
    world.connect("ada").await;
    world.double.forget_clients();
    world.advance(3601);
    assert_eq!(consent_needed(&world.credential("ada").await), Some(ConsentNeeded::Refused));
    let browser = BrowserId::new("br_ada");
    world.double.sign_in("ada");
    // The registration was dropped with the refusal, so the person does not end at an error page of the upstream.
    let callback = world.visit("ada", &browser).await.unwrap();
    world.finish(Some("ada"), &browser, &callback).await.unwrap();
    assert_eq!(world.double.registrations().len(), 2);
    assert!(world.credential("ada").await.is_ok());
}

#[tokio::test]
async fn a_connection_outlives_a_change_of_the_secret_key() {
    const NEW: [u8; 32] = [8; 32];
    let world = World::start().await;
    world.connect("ada").await;
    let (upstream, both) = world.beside(&[NEW, KEY], |_| {});
    assert!(credential(&both, &upstream, "ada", None).await.is_ok());
    let keys = [KeyMaterial::new(NEW), KeyMaterial::new(KEY)];
    doorward::keys::reseal(&world.store, &Sealer::new(&keys).unwrap(), &SystemRandom).await.unwrap();
    let (upstream, new) = world.beside(&[NEW], |_| {});
    let found = credential(&new, &upstream, "ada", None).await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
    assert_eq!(
        consent_needed(&world.credential("ada").await),
        Some(ConsentNeeded::Refused),
        "the old key opens nothing"
    );
}

#[tokio::test]
async fn a_credential_goes_to_no_other_server_than_it_was_made_for() {
    let world = World::start().await;
    world.connect("ada").await;
    let (moved, upstreams) = world.beside(&[KEY], |upstream| {
        upstream.server = Url::parse("http://127.0.0.1:9/mcp").unwrap();
    });
    assert!(matches!(credential(&upstreams, &moved, "ada", None).await, Err(CredentialError::NotConnected)));
    assert_eq!(upstreams.status(&moved, &subject("ada")).await.unwrap(), ConnectionStatus::NotConnected);
}

#[tokio::test]
async fn more_scopes_in_the_configuration_or_in_a_refusal_need_consent() {
    let world = World::start().await;
    world.connect("ada").await;
    let found = world.credential("ada").await.unwrap();
    assert!(world.upstreams.lacks_scope(&world.upstream, &subject("ada"), "notes.write").await.unwrap());
    assert_eq!(consent_needed(&world.credential("ada").await), Some(ConsentNeeded::Scope));
    world.connect("ada").await;
    let asked = world.double.authorizations().pop().unwrap();
    assert!(asked["scope"].split(' ').any(|scope| scope == "notes.write"), "{asked:?}");
    let after = world.credential("ada").await.unwrap();
    assert_ne!(found.token.expose_secret(), after.token.expose_secret());
    // It was asked for by now: connecting again would not help.
    assert!(!world.upstreams.lacks_scope(&world.upstream, &subject("ada"), "notes.write").await.unwrap());
    assert!(!world.upstreams.lacks_scope(&world.upstream, &subject("ada"), "bad\u{7f}scope").await.unwrap());
    assert!(world.credential("ada").await.is_ok());

    let (wider, upstreams) = world.beside(&[KEY], |upstream| {
        let scopes = Some(vec!["notes.read".to_owned(), "admin".to_owned()]);
        upstream.mode = UpstreamMode::PerPerson(UpstreamOAuth { scopes, ..oauth() });
    });
    assert_eq!(consent_needed(&credential(&upstreams, &wider, "ada", None).await), Some(ConsentNeeded::Scope));
}

#[tokio::test]
async fn a_shared_connection_serves_everyone_and_only_operators_are_told_to_connect_it() {
    let world = World::with(|upstream| upstream.mode = UpstreamMode::Shared(oauth())).await;
    assert!(matches!(world.credential("bob").await, Err(CredentialError::OperatorMustConnect)));
    world.connect("ada").await;
    for person in ["bob", "eve"] {
        let found = world.credential(person).await.unwrap();
        assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
    }
    world.double.revoke("ada");
    let found = world.credential("bob").await.unwrap();
    assert!(matches!(world.instead_of("bob", &found).await, Err(CredentialError::OperatorMustConnect)));
}

// LIM-1: what a server refuses to one call may be for what stands in it
#[tokio::test]
async fn nobody_ends_by_a_call_of_theirs_what_everyone_shares() {
    let world = World::with(|upstream| upstream.mode = UpstreamMode::Shared(oauth())).await;
    world.double.behave(|behaviour| behaviour.refreshing = Refreshing::Never);
    world.connect("ada").await;
    let found = world.credential("eve").await.unwrap();
    assert!(matches!(world.instead_of("eve", &found).await, Err(CredentialError::OperatorMustConnect)));
    assert!(world.credential("bob").await.is_ok(), "a 401 to one is no word on the token");
    assert!(world.upstreams.lacks_scope(&world.upstream, &subject("eve"), "notes.admin").await.unwrap());
    assert!(world.credential("bob").await.is_ok(), "nor is a call that wants more than all others");
    let status = world.upstreams.status(&world.upstream, &subject("bob")).await.unwrap();
    assert!(matches!(status, ConnectionStatus::Connected { .. }));
    // The operator who connects it again is asked for more.
    world.connect("ada").await;
    let asked = world.double.authorizations().pop().unwrap();
    assert!(asked["scope"].split(' ').any(|scope| scope == "notes.admin"), "{asked:?}");
    assert!(!world.upstreams.lacks_scope(&world.upstream, &subject("eve"), "notes.admin").await.unwrap());
}

#[tokio::test]
async fn a_declared_client_uses_the_secret_of_today() {
    let manual = |secret: &str| UpstreamRegistration::Manual {
        client_id: "doorward".to_owned(),
        credential: OidcCredential::Secret { secret: SecretString::from(secret), way: None },
    };
    let mode = |secret: &str| UpstreamMode::PerPerson(UpstreamOAuth { registration: manual(secret), ..oauth() });
    let world = World::with(|upstream| upstream.mode = mode("first-secret")).await;
    let callback = "http://localhost:9000/auth/connections/notes/callback";
    world.double.add_client("doorward", callback, "client_secret_basic", Some("first-secret"));
    world.connect("ada").await;
    assert!(world.double.registrations().is_empty());
    world.double.add_client("doorward", callback, "client_secret_basic", Some("second-secret"));
    world.advance(3601);
    assert!(matches!(world.credential("ada").await, Err(CredentialError::WrongClient(_))));
    world.advance(31);
    let (upstream, upstreams) = world.beside(&[KEY], |upstream| upstream.mode = mode("second-secret"));
    let found = credential(&upstreams, &upstream, "ada", None).await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn an_attempt_belongs_to_its_browser_and_person_and_counts_once() {
    let world = World::start().await;
    let (own, other) = (BrowserId::new("br_own"), BrowserId::new("br_other"));
    let callback = world.visit("ada", &own).await.unwrap();
    let elsewhere = world.finish(Some("ada"), &other, &callback).await.unwrap_err();
    assert!(matches!(elsewhere.error, ConnectError::Gone) && elsewhere.return_to.is_none());
    world.finish(Some("ada"), &own, &callback).await.unwrap();
    assert!(matches!(world.finish(Some("ada"), &own, &callback).await.unwrap_err().error, ConnectError::Gone));

    let callback = world.visit("bob", &own).await.unwrap();
    let failure = world.finish(Some("eve"), &own, &callback).await.unwrap_err();
    assert!(matches!(failure.error, ConnectError::AnotherPerson));
    assert!(matches!(world.credential("bob").await, Err(CredentialError::NotConnected)));
    let callback = world.visit("bob", &own).await.unwrap();
    assert!(matches!(world.finish(None, &own, &callback).await.unwrap_err().error, ConnectError::AnotherPerson));

    let callback = world.visit("bob", &own).await.unwrap();
    world.advance(901);
    assert!(matches!(world.finish(Some("bob"), &own, &callback).await.unwrap_err().error, ConnectError::Gone));
}

#[tokio::test]
async fn a_refusal_and_a_foreign_answer_connect_nothing() {
    let world = World::start().await;
    let browser = BrowserId::new("br_own");
    world.double.behave(|behaviour| behaviour.callback_error = Some("access_denied".to_owned()));
    let callback = world.visit("ada", &browser).await.unwrap();
    let failure = world.finish(Some("ada"), &browser, &callback).await.unwrap_err();
    assert!(matches!(&failure.error, ConnectError::Refused(code) if code == "access_denied"));
    assert_eq!(failure.return_to, Some(ReturnTo::Application));
    world.double.behave(|behaviour| {
        behaviour.callback_error = None;
        behaviour.callback_issuer = Some("https://evil.example".to_owned());
    });
    let callback = world.visit("ada", &browser).await.unwrap();
    let failure = world.finish(Some("ada"), &browser, &callback).await.unwrap_err();
    assert!(matches!(failure.error, ConnectError::Untrusted(_)));
    assert_eq!(world.double.granted("authorization_code"), 0, "no code is given away");
    world.double.behave(|behaviour| {
        behaviour.callback_issuer = None;
        behaviour.broken_promise = true;
    });
    let callback = world.visit("ada", &browser).await.unwrap();
    let failure = world.finish(Some("ada"), &browser, &callback).await.unwrap_err();
    assert!(matches!(failure.error, ConnectError::Untrusted(_)));
    assert!(matches!(world.credential("ada").await, Err(CredentialError::NotConnected)));
}

#[tokio::test]
async fn an_upstream_that_is_down_or_takes_no_clients_is_told_apart() {
    let world = World::start().await;
    let browser = BrowserId::new("br_own");
    world.double.behave(|behaviour| behaviour.no_registration = true);
    assert!(matches!(world.visit("ada", &browser).await, Err(ConnectError::SetUp(_))));
    let (upstream, upstreams) = world.beside(&[KEY], |upstream| {
        upstream.server = Url::parse("http://127.0.0.1:9/mcp").unwrap();
    });
    let by = subject("ada");
    let start = Start {
        origin: ORIGIN,
        browser: &browser,
        owner: Owner::Person(by.clone()),
        by: Some(&by),
        return_to: ReturnTo::Account,
    };
    assert!(matches!(upstreams.start(&upstream, start).await, Err(ConnectError::Unavailable(_))));
}

#[tokio::test]
async fn connecting_anew_during_a_renewal_is_what_counts() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_next(Endpoint::Token, Fault::HeldAfter);
    let (upstreams, upstream) = (Arc::clone(&world.upstreams), Arc::clone(&world.upstream));
    let renewing = tokio::spawn(async move { credential(&upstreams, &upstream, "ada", None).await });
    world.double.wait_for_held(1).await;
    world.connect("ada").await;
    let fresh = world.credential("ada").await.unwrap();
    world.double.release();
    for found in [renewing.await.unwrap(), world.credential("ada").await] {
        assert_eq!(found.unwrap().token.expose_secret(), fresh.token.expose_secret());
    }
}

// SEC-2: nobody would hold it, and it would be good all the same
#[tokio::test]
async fn a_pair_that_comes_after_its_connection_was_removed_is_given_back() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_next(Endpoint::Token, Fault::HeldAfter);
    let (upstreams, upstream) = (Arc::clone(&world.upstreams), Arc::clone(&world.upstream));
    let renewing = tokio::spawn(async move { credential(&upstreams, &upstream, "ada", None).await });
    world.double.wait_for_held(1).await;
    let gone = world.record("ada").await;
    assert_eq!(world.store.disconnect(&gone.id).await.unwrap(), Some(gone));
    world.double.release();
    assert!(matches!(renewing.await.unwrap(), Err(CredentialError::NotConnected)));
    assert_eq!(world.double.revoked().len(), 1);
    assert!(world.double.refresh_tokens("ada").is_empty() && world.double.access_tokens("ada").is_empty());
}

// SEC-2: the account that was removed must not come back in the place of the one that was connected after it
#[tokio::test]
async fn a_renewal_of_a_removed_connection_changes_nothing_of_the_next_one() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    let old = world.record("ada").await.claimed(world.clock.now());
    assert!(world.store.change_connection(old.version - 1, &old).await.unwrap());
    world.upstreams.disconnect("notes", &world.owner("ada"), None).await.unwrap();
    world.advance(1);
    world.connect("ada").await;
    let new = world.record("ada").await.claimed(world.clock.now());
    assert!(world.store.change_connection(new.version - 1, &new).await.unwrap());
    let late = old.renewed(old.sealed.clone(), true, None, world.clock.now());
    assert!(!world.store.change_connection(old.version, &late).await.unwrap());
    assert_eq!(world.record("ada").await, new);
}

#[tokio::test]
async fn a_caller_that_hangs_up_loses_no_token() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_next(Endpoint::Token, Fault::HeldAfter);
    let (upstreams, upstream) = (Arc::clone(&world.upstreams), Arc::clone(&world.upstream));
    let renewing = tokio::spawn(async move { credential(&upstreams, &upstream, "ada", None).await });
    world.double.wait_for_held(1).await;
    renewing.abort();
    world.double.release();
    let found = world.credential("ada").await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
    assert_eq!(world.refreshes(), 1);
}

#[tokio::test]
async fn people_who_connect_at_once_make_the_gateway_register_once() {
    let world = World::start().await;
    let browsers: Vec<BrowserId> = (0..10).map(|number| BrowserId::new(format!("br_{number}"))).collect();
    for visited in join_all(browsers.iter().map(|browser| world.visit("ada", browser))).await {
        visited.unwrap();
    }
    assert_eq!(world.double.registrations().len(), 1);
}

// LIM-1: one server that is slow to register clients holds up nobody on their way to another
#[tokio::test]
async fn a_registration_that_hangs_holds_up_no_other_server() {
    let (world, slow) = (World::start().await, FakeUpstream::start().await);
    let other = Upstream {
        id: "slow".to_owned(),
        server: Url::parse(&slow.mcp_url()).unwrap(),
        ..Upstream::clone(&world.upstream)
    };
    let other = Arc::new(other);
    let upstreams = upstreams_of(&[&world.upstream, &other], &world.store, &world.clock, &[KEY]);
    slow.fail_next(Endpoint::Registration, Fault::HeldBefore);
    let start = async |upstreams: Arc<Upstreams>, upstream: Arc<Upstream>| {
        let (browser, owner) = (BrowserId::new("br_1"), Owner::Person(subject("ada")));
        let start = Start { origin: ORIGIN, browser: &browser, owner, by: None, return_to: ReturnTo::Application };
        upstreams.start(&upstream, start).await
    };
    let hanging = tokio::spawn(start(Arc::clone(&upstreams), other));
    slow.wait_for_held(1).await;
    start(Arc::clone(&upstreams), Arc::clone(&world.upstream)).await.unwrap();
    assert!(!hanging.is_finished());
    slow.release();
    hanging.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_killed_gateway_had_claimed_is_taken_over() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    let record = world.record("ada").await;
    let left = record.claimed(world.clock.now());
    assert!(world.store.change_connection(record.version, &left).await.unwrap());
    world.advance(41);
    let found = world.credential("ada").await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
    assert_eq!(world.refreshes(), 1);
}

/// The new pair was saved although somebody else had taken the claim over meanwhile.
#[tokio::test]
async fn a_renewal_that_was_taken_for_dead_still_saves_the_latest_pair() {
    let world = World::start().await;
    world.connect("ada").await;
    world.advance(3601);
    world.double.fail_next(Endpoint::Token, Fault::HeldAfter);
    let (upstreams, upstream) = (Arc::clone(&world.upstreams), Arc::clone(&world.upstream));
    let renewing = tokio::spawn(async move { credential(&upstreams, &upstream, "ada", None).await });
    world.double.wait_for_held(1).await;
    let record = world.record("ada").await;
    assert!(world.store.change_connection(record.version, &record.claimed(world.clock.now())).await.unwrap());
    world.double.release();
    let renewed = renewing.await.unwrap().unwrap();
    let found = world.credential("ada").await.unwrap();
    assert_eq!(found.token.expose_secret(), renewed.token.expose_secret());
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
}
