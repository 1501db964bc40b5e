//! The credential of a server that takes the identity provider's word: an ID token exchanged, an assertion redeemed, over
//! a real store, against doubles of all three servers (EXT-6).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use doorward::config::model::{
    ClientKey, IdJagEndpoint, OidcCredential, SecretWay, Upstream, UpstreamIdJag, UpstreamMode,
};
use doorward::crypto::{AssertionKey, KeyMaterial, Sealer};
use doorward::domain::connection::ConsentNeeded;
use doorward::domain::{Clock, SubjectId, SystemClock, SystemRandom, UnixTime};
use doorward::identity::IdentityProvider;
use doorward::outbound::{Outbound, OutboundSettings};
use doorward::store::Store;
use doorward::telemetry::metrics::UpstreamMetrics;
use doorward::upstream::{ConnectionStatus, Credential, CredentialError, UpstreamParts, Upstreams};
use futures_util::future::join_all;
use rstest::rstest;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;

use crate::fake_upstream::id_jag::FakeJagProvider;
use crate::fake_upstream::{Endpoint, FakeUpstream, Fault};
use crate::oidc::Bench;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const HOUR: i64 = 3600;

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

/// A gateway without web and proxy, before a server and its organisation.
struct World {
    sign_in: Bench,
    organisation: FakeJagProvider,
    server: FakeUpstream,
    folder: tempfile::TempDir,
    store: Store,
    clock: Arc<TestClock>,
    identity: Arc<dyn IdentityProvider>,
    upstream: Arc<Upstream>,
    upstreams: Arc<Upstreams>,
}

impl World {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut UpstreamIdJag)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (sign_in, organisation, server) =
            (Bench::new().await, FakeJagProvider::start().await, FakeUpstream::start().await);
        organisation.trust_id_tokens_of(&sign_in.fake.issuer(), &format!("{}/jwks", sign_in.fake.base()));
        organisation.add_client("gateway", "client_secret_post", "idp-secret");
        organisation.allow("gateway", &server.issuer(), "gateway-there");
        server.add_client("gateway-there", "", "client_secret_basic", Some("as-secret"));
        server.trust_assertions_of(&organisation.issuer(), &organisation.jwks_url());
        let mut options = UpstreamIdJag {
            scopes: vec![],
            scope_delimiter: " ".to_owned(),
            idp: endpoint(&organisation.token_url(), "gateway", "idp-secret", SecretWay::Post),
            resource_as: endpoint(&server.token_url(), "gateway-there", "as-secret", SecretWay::Basic),
            audience: server.issuer(),
            resource: None,
        };
        change(&mut options);
        let upstream = Arc::new(Upstream {
            id: "notes".to_owned(),
            display_name: "Notes".to_owned(),
            summary: None,
            server: Url::parse(&server.mcp_url()).unwrap(),
            mode: UpstreamMode::IdJag(options),
        });
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", folder.path().join("test.db").display())).await.unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(SystemClock.now().0)));
        sign_in.fake.follow(Arc::clone(&clock) as Arc<dyn Clock>);
        let identity: Arc<dyn IdentityProvider> = Arc::new(sign_in.provider());
        let upstreams = upstreams(&upstream, &store, &clock, &identity);
        Self { sign_in, organisation, server, folder, store, clock, identity, upstream, upstreams }
    }

    fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A person signs in, at the gateway's provider.
    async fn signs_in(&self, person: &str) -> SubjectId {
        self.sign_in.behave(|how| how.claims = Some(json!({ "sub": person })));
        let code = self.sign_in.authorize().await["code"].clone();
        let login = self.sign_in.exchange(&code, self.clock.now()).await.unwrap();
        self.upstreams.signed_in(&login).await.unwrap();
        login.person.id
    }

    /// The same where the provider gives no refresh token.
    async fn signs_in_for_once(&self, person: &str) -> SubjectId {
        self.sign_in.behave(|how| how.token_answer = Some(json!({ "refresh_token": null })));
        let subject = self.signs_in(person).await;
        self.sign_in.behave(|how| how.token_answer = None);
        subject
    }

    async fn credential(&self, subject: &SubjectId) -> Result<Credential, CredentialError> {
        credential(&self.upstreams, &self.upstream, subject, None).await
    }

    async fn instead_of(&self, subject: &SubjectId, refused: &Credential) -> Result<Credential, CredentialError> {
        credential(&self.upstreams, &self.upstream, subject, Some(refused)).await
    }

    /// Whether the server takes the credential, and for whom.
    async fn whose(&self, credential: &Credential) -> Option<String> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami", "arguments": {} } });
        let request = client.post(self.server.mcp_url()).bearer_auth(credential.token.expose_secret()).json(&call);
        let answer = request.header("accept", "application/json, text/event-stream").send().await.unwrap();
        assert!([200, 401].contains(&answer.status().as_u16()));
        self.server.requests().pop().and_then(|request| request.account)
    }

    fn exchanges(&self) -> usize {
        self.organisation.token_requests().len()
    }

    fn renewals(&self) -> usize {
        self.sign_in.fake.granted("refresh_token")
    }

    /// Another gateway over the same store.
    fn beside(&self) -> Arc<Upstreams> {
        upstreams(&self.upstream, &self.store, &self.clock, &self.identity)
    }

    async fn wants_sign_in(&self, subject: &SubjectId, since: Option<UnixTime>) -> bool {
        self.upstreams.wants_sign_in(&self.upstream, subject, since).await.unwrap()
    }
}

fn endpoint(token_url: &str, client_id: &str, secret: &str, way: SecretWay) -> IdJagEndpoint {
    IdJagEndpoint {
        token_url: Url::parse(token_url).unwrap(),
        client_id: client_id.to_owned(),
        credential: OidcCredential::Secret { secret: secret.into(), way: Some(way) },
        assertion_audience: None,
        assertion_life: Duration::from_secs(300),
    }
}

fn upstreams(
    upstream: &Arc<Upstream>,
    store: &Store,
    clock: &Arc<TestClock>,
    identity: &Arc<dyn IdentityProvider>,
) -> Arc<Upstreams> {
    let outbound = Outbound::new(&OutboundSettings::default()).unwrap();
    let parts = UpstreamParts {
        store: store.clone(),
        outbound,
        sealer: Sealer::new(&[KeyMaterial::new([7; 32])]).unwrap(),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        random: Arc::new(SystemRandom),
        origins: vec!["http://localhost:9000".to_owned()],
        base_path: "/".to_owned(),
        metrics: UpstreamMetrics::default(),
        identity: Some(Arc::clone(identity)),
    };
    Arc::new(Upstreams::new([upstream], parts))
}

async fn credential(
    upstreams: &Arc<Upstreams>,
    upstream: &Arc<Upstream>,
    subject: &SubjectId,
    refused: Option<&Credential>,
) -> Result<Credential, CredentialError> {
    upstreams.credential(upstream, subject, refused).await
}

fn sign_in_needed(found: &Result<Credential, CredentialError>) -> Option<ConsentNeeded> {
    match found {
        Err(CredentialError::NeedsConsent(reason)) => Some(*reason),
        _ => None,
    }
}

fn text(credential: &Credential) -> &str {
    credential.token.expose_secret()
}

// EXT-6, SEC-2
#[tokio::test]
async fn two_people_each_get_a_token_of_their_own_and_nothing_of_it_lies_in_the_open() {
    let world = World::start().await;
    let (ada, bob) = (world.signs_in("ada").await, world.signs_in("bob").await);
    for (person, subject) in [("ada", &ada), ("bob", &bob), ("ada", &ada)] {
        let found = world.credential(subject).await.unwrap();
        assert_eq!(world.whose(&found).await.as_deref(), Some(person));
    }
    assert_eq!(world.exchanges(), 2, "a token serves for many calls");
    assert_eq!(world.upstreams.status(&world.upstream, &ada).await.unwrap(), ConnectionStatus::ByAssertion);
    let nobody = SubjectId::new("usr_nobody");
    assert_eq!(sign_in_needed(&world.credential(&nobody).await), Some(ConsentNeeded::Expired));

    let database = std::fs::read(world.folder.path().join("test.db")).unwrap();
    let log = std::fs::read(world.folder.path().join("test.db-wal")).unwrap_or_default();
    let id_tokens =
        world.organisation.token_requests().into_iter().map(|request| request.form["subject_token"].clone());
    let secrets = [world.server.secrets(), world.organisation.assertions(), id_tokens.collect()].concat();
    assert!(secrets.len() >= 6);
    for secret in secrets.iter().map(String::as_str).chain(["provider-refresh-canary"]) {
        let found = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found(&database) && !found(&log), "a secret stands in the database");
    }
}

// EXT-6
#[rstest]
#[case(&[], " ", None)]
#[case(&["notes:read", "notes:write"], " ", Some("notes:read notes:write"))]
#[case(&["a", "b"], ",", Some("a,b"))]
#[tokio::test]
async fn both_requests_say_what_for_and_name_scopes_only_where_there_are_some(
    #[case] scopes: &[&str],
    #[case] delimiter: &str,
    #[case] scope: Option<&str>,
) {
    let world = World::with(|options| {
        options.scopes = scopes.iter().map(ToString::to_string).collect();
        options.scope_delimiter = delimiter.to_owned();
    })
    .await;
    let ada = world.signs_in("ada").await;
    world.credential(&ada).await.unwrap();
    let exchange = world.organisation.token_requests().pop().unwrap().form;
    let redemption = world.server.token_requests().pop().unwrap().form;
    assert_eq!(exchange["grant_type"], EXCHANGE);
    assert_eq!(exchange["requested_token_type"], "urn:ietf:params:oauth:token-type:id-jag");
    assert_eq!(exchange["subject_token_type"], "urn:ietf:params:oauth:token-type:id_token");
    assert_eq!(exchange["audience"], world.server.issuer());
    assert_eq!(redemption["grant_type"], JWT_BEARER);
    assert_eq!(Some(&redemption["assertion"]), world.organisation.assertions().last());
    for form in [&exchange, &redemption] {
        assert_eq!(form["resource"], world.server.mcp_url());
        assert_eq!(form.get("scope").map(String::as_str), scope);
    }
}

// EXT-6
#[tokio::test]
async fn the_resource_goes_by_the_name_that_is_configured() {
    let world = World::with(|options| options.resource = Some("urn:notes".to_owned())).await;
    let ada = world.signs_in("ada").await;
    let found = world.credential(&ada).await;
    assert!(matches!(found, Err(CredentialError::NotAllowed(_))), "the double does not go by that name");
    assert_eq!(world.organisation.token_requests()[0].form["resource"], "urn:notes");
}

// EXT-6, IDP-9
#[tokio::test]
async fn a_key_proves_the_gateway_at_both_servers_in_the_form_that_each_wants() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = || ClientKey { key: AssertionKey::from_pem(&pair.serialize_pem()).unwrap(), id: Some("k1".to_owned()) };
    let world = World::with(|options| {
        options.idp.client_id = "gateway-by-key".to_owned();
        options.idp.credential = OidcCredential::PrivateKey(key());
        options.resource_as.client_id = "gateway-there-by-key".to_owned();
        options.resource_as.credential = OidcCredential::PrivateKey(key());
        options.resource_as.assertion_audience = Some(options.audience.clone());
        options.resource_as.assertion_life = Duration::from_secs(7);
    })
    .await;
    let (x, y) = pair.public_key_raw()[1..].split_at(32);
    let encoded = doorward::crypto::base64url;
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "k1", "x": encoded(x), "y": encoded(y) });
    world.organisation.add_client_with_key("gateway-by-key", jwk.clone());
    world.organisation.allow("gateway-by-key", &world.server.issuer(), "gateway-there-by-key");
    world.server.add_client_with_key("gateway-there-by-key", "", jwk);
    let ada = world.signs_in("ada").await;
    let found = world.credential(&ada).await.unwrap();
    assert_eq!(world.whose(&found).await.as_deref(), Some("ada"));
    let claims = |form: &std::collections::HashMap<String, String>| -> Value {
        let payload = form["client_assertion"].split('.').nth(1).unwrap();
        serde_json::from_slice(&doorward::crypto::base64url_decode(payload).unwrap()).unwrap()
    };
    let there = claims(&world.server.token_requests()[0].form);
    assert_eq!(there["aud"], world.server.issuer());
    assert_eq!(there["exp"].as_i64().unwrap() - there["iat"].as_i64().unwrap(), 7);
    assert_eq!(claims(&world.organisation.token_requests()[0].form)["aud"], world.organisation.token_url());
}

// EXT-6
#[tokio::test]
async fn a_token_is_got_once_for_many_calls_and_anew_shortly_before_its_end_and_is_never_refreshed() {
    let world = World::start().await;
    world.server.behave(|how| how.token_answer = Some(json!({ "refresh_token": "not-to-be-used" })));
    let ada = world.signs_in("ada").await;
    let found = join_all((0..50).map(|_| world.credential(&ada))).await;
    let first = found.into_iter().map(Result::unwrap).next().unwrap();
    assert_eq!(world.exchanges(), 1);
    world.advance(HOUR - 61);
    assert_eq!(text(&world.credential(&ada).await.unwrap()), text(&first));
    world.advance(1);
    let second = world.credential(&ada).await.unwrap();
    assert_ne!(text(&second), text(&first));
    assert_eq!((world.exchanges(), world.server.granted("refresh_token")), (2, 0));
}

// EXT-6
#[tokio::test]
async fn a_token_that_the_server_refuses_is_replaced_once_however_many_calls_were_refused() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    let before = world.credential(&ada).await.unwrap();
    world.server.expire_access_tokens();
    for after in join_all((0..10).map(|_| world.instead_of(&ada, &before))).await {
        assert_eq!(world.whose(&after.unwrap()).await.as_deref(), Some("ada"));
    }
    assert_eq!(world.exchanges(), 2);
}

// EXT-6
#[tokio::test]
async fn an_id_token_that_has_ended_is_renewed_once_over_two_gateways_and_its_next_refresh_token_is_kept() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    let other = world.beside();
    for round in 1..=3 {
        world.advance(HOUR);
        let here = join_all((0..5).map(|_| world.credential(&ada)));
        let there = join_all((0..5).map(|_| credential(&other, &world.upstream, &ada, None)));
        let (here, there) = tokio::join!(here, there);
        for found in here.into_iter().chain(there) {
            assert_eq!(world.whose(&found.unwrap()).await.as_deref(), Some("ada"));
        }
        assert_eq!(world.renewals(), round, "each refresh token works once");
        assert_eq!(world.exchanges(), 2 * round, "each gateway has its own access token");
    }
}

// EXT-6
#[tokio::test]
async fn a_renewal_goes_on_when_its_caller_hangs_up() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.advance(HOUR);
    world.sign_in.behave(|how| how.delay = Duration::from_millis(300));
    let hung_up = tokio::time::timeout(Duration::from_millis(100), world.credential(&ada)).await;
    assert!(hung_up.is_err());
    assert!(world.credential(&ada).await.is_ok());
    assert_eq!(world.renewals(), 1);
}

// EXT-6
#[tokio::test]
async fn without_a_refresh_token_the_person_signs_in_again_once_the_id_token_has_ended() {
    let world = World::start().await;
    let ada = world.signs_in_for_once("ada").await;
    let told_at = world.clock.now();
    assert!(!world.wants_sign_in(&ada, None).await);
    world.advance(HOUR);
    assert!(world.wants_sign_in(&ada, None).await);
    assert_eq!(sign_in_needed(&world.credential(&ada).await), Some(ConsentNeeded::Expired));
    world.signs_in_for_once("ada").await;
    assert!(!world.wants_sign_in(&ada, Some(told_at.plus(Duration::from_secs(HOUR as u64)))).await);
    assert!(world.wants_sign_in(&ada, Some(world.clock.now().plus(Duration::from_secs(1)))).await);
    assert!(world.credential(&ada).await.is_ok());
    assert_eq!(world.renewals(), 0);
}

// EXT-6
#[tokio::test]
async fn a_refresh_token_that_came_at_the_first_sign_in_only_goes_on_serving() {
    let world = World::start().await;
    world.signs_in("ada").await;
    let ada = world.signs_in_for_once("ada").await;
    world.advance(HOUR);
    assert!(world.credential(&ada).await.is_ok());
    assert_eq!(world.renewals(), 1);
}

// EXT-6
#[tokio::test]
async fn a_renewal_that_the_provider_refuses_ends_with_signing_in_again() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.advance(HOUR);
    world.sign_in.fake.revoke();
    for _ in 0..3 {
        assert_eq!(sign_in_needed(&world.credential(&ada).await), Some(ConsentNeeded::Expired));
    }
    assert_eq!(world.renewals(), 1, "a refused token is not presented again");
    assert!(world.wants_sign_in(&ada, None).await);
    world.signs_in("ada").await;
    assert!(world.credential(&ada).await.is_ok());
}

// EXT-6
#[rstest]
#[case(503, "temporarily_unavailable", 3)]
#[case(429, "slow_down", 31)]
#[case(401, "invalid_client", 31)]
#[tokio::test]
async fn a_provider_that_fails_is_left_alone_for_a_while_and_nobody_is_asked_to_sign_in(
    #[case] status: u16,
    #[case] code: &str,
    #[case] pause: i64,
) {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.advance(HOUR);
    world.sign_in.behave(|how| how.fail = Some((status, json!({ "error": code }).to_string())));
    for _ in 0..3 {
        assert!(matches!(world.credential(&ada).await, Err(CredentialError::Unavailable(_))));
    }
    assert_eq!(world.renewals(), 1);
    assert!(!world.wants_sign_in(&ada, None).await);
    world.sign_in.behave(|how| how.fail = None);
    world.advance(pause);
    assert!(world.credential(&ada).await.is_ok());
}

// EXT-6
#[rstest]
#[case::no_id_token(json!({ "id_token": null }))]
#[case::no_jwt(json!({ "id_token": "x.y.z" }))]
#[tokio::test]
async fn an_answer_without_a_good_id_token_renews_nothing(#[case] answer: Value) {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.advance(HOUR);
    world.sign_in.behave(|how| how.token_answer = Some(answer));
    assert_eq!(sign_in_needed(&world.credential(&ada).await), Some(ConsentNeeded::Expired));
    assert_eq!(world.exchanges(), 0);
}

// EXT-6
#[tokio::test]
async fn an_id_token_of_another_person_is_not_used() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.advance(HOUR);
    let stolen = {
        world.sign_in.behave(|how| how.claims = Some(json!({ "sub": "bob" })));
        let code = world.sign_in.authorize().await["code"].clone();
        let login = world.sign_in.exchange(&code, world.clock.now()).await.unwrap();
        login.subject_tokens.unwrap().id_token.text.expose_secret().to_owned()
    };
    world.sign_in.behave(|how| how.token_answer = Some(json!({ "id_token": stolen })));
    assert_eq!(sign_in_needed(&world.credential(&ada).await), Some(ConsentNeeded::Expired));
    assert_eq!(world.exchanges(), 0);
}

// EXT-6
#[rstest]
#[case("access_denied")]
#[case("invalid_target")]
#[case("invalid_scope")]
#[tokio::test]
async fn what_the_organisation_does_not_allow_is_told_as_that(#[case] code: &str) {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.organisation.fail_next(Fault::error(400, code));
    for _ in 0..3 {
        let Err(CredentialError::NotAllowed(cause)) = world.credential(&ada).await else { panic!("let in") };
        assert!(cause.contains(code) && !cause.contains("canary"), "{cause}");
    }
    assert_eq!((world.exchanges(), world.server.fetches(Endpoint::Token)), (1, 0), "it is asked now and then");
    world.advance(6);
    assert!(world.credential(&ada).await.is_ok(), "an administrator has changed it");
}

// EXT-6
#[tokio::test]
async fn a_client_that_the_organisation_never_allowed_gets_nothing() {
    let world = World::with(|options| options.audience = "https://elsewhere.example".to_owned()).await;
    let ada = world.signs_in("ada").await;
    assert!(matches!(world.credential(&ada).await, Err(CredentialError::NotAllowed(_))));
}

// EXT-6: the profile, §4.4: what a resource's authorization server must not take.
#[rstest]
#[case::type_("JWT", json!({}))]
#[case::audience("oauth-id-jag+jwt", json!({ "aud": "https://elsewhere.example" }))]
#[case::client("oauth-id-jag+jwt", json!({ "client_id": "somebody" }))]
#[case::expired("oauth-id-jag+jwt", json!({ "exp": 1 }))]
#[case::resource("oauth-id-jag+jwt", json!({ "resource": "https://elsewhere.example" }))]
#[tokio::test]
async fn an_assertion_that_is_not_for_the_server_is_no_matter_of_signing_in(#[case] typ: &str, #[case] claims: Value) {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.organisation.set_type(typ);
    world.organisation.set_claims(claims);
    let Err(CredentialError::NotAllowed(cause)) = world.credential(&ada).await else { panic!("let in") };
    assert!(cause.contains("invalid_grant"), "{cause}");
    assert!(world.server.access_tokens("ada").is_empty());
}

// EXT-6
#[tokio::test]
async fn an_answer_that_is_no_assertion_is_not_taken_to_the_server() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    let other = "urn:ietf:params:oauth:token-type:access_token";
    world.organisation.set_answer(json!({ "issued_token_type": other }));
    assert!(matches!(world.credential(&ada).await, Err(CredentialError::Unavailable(_))));
    assert_eq!(world.server.fetches(Endpoint::Token), 0);
}

// EXT-6
#[tokio::test]
async fn an_id_token_that_does_not_count_any_more_is_renewed_and_tried_once_more() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.advance(121);
    world.organisation.fail_next(Fault::invalid_grant());
    assert!(world.credential(&ada).await.is_ok());
    assert_eq!((world.renewals(), world.exchanges()), (1, 2));
}

// EXT-6
#[tokio::test]
async fn an_id_token_that_does_not_count_and_cannot_be_renewed_leads_to_signing_in() {
    let world = World::start().await;
    let ada = world.signs_in_for_once("ada").await;
    world.advance(121);
    world.organisation.fail_next(Fault::invalid_grant());
    assert_eq!(sign_in_needed(&world.credential(&ada).await), Some(ConsentNeeded::Refused));
    assert_eq!(sign_in_needed(&world.credential(&ada).await), Some(ConsentNeeded::Refused));
    assert_eq!(world.exchanges(), 1);
    world.signs_in_for_once("ada").await;
    assert!(world.credential(&ada).await.is_ok(), "a new sign-in is tried at once");
}

// EXT-6
#[tokio::test]
async fn somebody_who_has_just_signed_in_is_not_sent_round_again() {
    let world = World::start().await;
    let ada = world.signs_in_for_once("ada").await;
    world.organisation.fail_next(Fault::error(400, "invalid_request"));
    let Err(CredentialError::WrongClient(cause)) = world.credential(&ada).await else { panic!("sent round") };
    assert!(cause.contains("invalid_request"), "{cause}");
}

// EXT-6
#[tokio::test]
async fn a_server_that_is_down_or_does_not_know_the_gateway_is_told_from_a_policy() {
    let world = World::start().await;
    let ada = world.signs_in("ada").await;
    world.organisation.fail_next(Fault::down());
    assert!(matches!(world.credential(&ada).await, Err(CredentialError::Unavailable(_))));
    world.advance(6);
    world.organisation.fail_next(Fault::Dropped);
    assert!(matches!(world.credential(&ada).await, Err(CredentialError::Unavailable(_))));
    world.advance(6);
    world.organisation.fail_next(Fault::error(401, "invalid_client"));
    assert!(matches!(world.credential(&ada).await, Err(CredentialError::WrongClient(_))));
    world.advance(6);
    world.server.fail_next(Endpoint::Token, Fault::down());
    assert!(matches!(world.credential(&ada).await, Err(CredentialError::Unavailable(_))));
    world.advance(6);
    world.server.forget_clients();
    assert!(matches!(world.credential(&ada).await, Err(CredentialError::WrongClient(_))));
}

// EXT-6
#[tokio::test]
async fn nothing_is_kept_of_a_login_where_no_server_takes_assertions() {
    let world = World::start().await;
    let mut plain = Upstream::clone(&world.upstream);
    plain.mode = UpstreamMode::PerPerson(doorward::config::model::UpstreamOAuth {
        resource_metadata: None,
        scopes: None,
        scope_delimiter: " ".to_owned(),
        prompt: doorward::config::model::UpstreamPrompt::Never,
        registration: doorward::config::model::UpstreamRegistration::Auto,
    });
    let plain = upstreams(&Arc::new(plain), &world.store, &world.clock, &world.identity);
    let login = world.sign_in.login().await.unwrap();
    plain.signed_in(&login).await.unwrap();
    assert_eq!(world.store.subject_token(&login.person.id).await.unwrap(), None);
    world.upstreams.signed_in(&login).await.unwrap();
    assert!(world.store.subject_token(&login.person.id).await.unwrap().is_some());
}
