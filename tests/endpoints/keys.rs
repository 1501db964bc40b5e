//! Keys that change under a gateway that goes on serving (SEC-2, SEC-3, DISC-19).

use std::collections::BTreeSet;
use std::sync::Arc;

use doorward::config::SigningAlg;
use doorward::crypto::{KeyMaterial, Sealer, base64url_decode};
use doorward::domain::{ClientId, Clock as _, Person, SystemClock, SystemRandom};
use doorward::keys::rotation::{self, Rotated};
use doorward::keys::{AccessTokenClaims, AccessTokenIssuer, AssertedCall, AssertionIssuer, KeysError, reseal};
use doorward::oauth::scope::ScopeSet;
use doorward::store::{KeyKind, KeyState, Store};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::postgres::Postgres;
use crate::support::browser::{Browser, client as http};
use crate::support::flow::{TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

async fn published(gateway: &TestGateway) -> Vec<String> {
    let response = http().get(gateway.url("/.well-known/jwks.json")).send().await.unwrap();
    let jwks: Value = response.json().await.unwrap();
    for key in jwks["keys"].as_array().unwrap() {
        assert!(key["alg"].is_string() && key["use"] == "sig" && key.get("d").is_none(), "{key}");
    }
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// What an operator does from another process, and the gateway learning of it.
async fn rotate(gateway: &TestGateway) -> Result<Vec<Rotated>, KeysError> {
    let assembly = &gateway.assembly;
    let done = rotation::rotate(&assembly.store, &assembly.sealer, &SystemRandom, gateway.clock.now()).await;
    assembly.catch_up().await.unwrap();
    done
}

fn signed_by(tokens: &Value) -> String {
    kid(tokens["access_token"].as_str().unwrap())
}

fn kid(token: &str) -> String {
    let header = token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&base64url_decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn refreshed(client: &TestClient<'_>, tokens: &Value) -> Value {
    let response = client.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

/// Whether the gateway takes an access token; nothing is behind it.
async fn is_taken(client: &TestClient<'_>, tokens: &Value) -> bool {
    let status = client.call("one", tokens["access_token"].as_str().unwrap()).await.status();
    assert!([StatusCode::BAD_GATEWAY, StatusCode::UNAUTHORIZED].contains(&status), "{status}");
    status == StatusCode::BAD_GATEWAY
}

// SEC-3, DISC-19
#[tokio::test]
async fn a_key_is_published_before_it_signs_and_until_its_last_token_has_expired() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let first = client.connect("one").await;
    let start = published(&gateway).await;
    assert_eq!(start.len(), 2);
    assert!(start.contains(&signed_by(&first)));

    gateway.clock.advance(600);
    let rotated = rotate(&gateway).await.unwrap();
    let promoted = rotated.iter().find(|key| key.kind == KeyKind::Signing).unwrap().id.clone();
    assert!(start.contains(&promoted) && promoted != signed_by(&first));
    let announced = published(&gateway).await;
    assert_eq!(announced.len(), 3);
    assert!(start.iter().all(|kid| announced.contains(kid)));
    // Every gateway is told before any of them changes over.
    let second = refreshed(&client, &first).await;
    assert_eq!(signed_by(&second), signed_by(&first));

    gateway.clock.advance(10);
    let third = refreshed(&client, &second).await;
    assert_eq!(signed_by(&third), promoted);
    assert!(is_taken(&client, &first).await && is_taken(&client, &second).await && is_taken(&client, &third).await);

    gateway.clock.advance(100_000);
    let gone = gateway.assembly.store.purge_keys(gateway.clock.now().minus(gateway.assembly.key_afterlife())).await;
    assert!(gone.unwrap() >= 1);
    gateway.assembly.catch_up().await.unwrap();
    let end = published(&gateway).await;
    assert_eq!(end.len(), 2);
    assert!(!end.contains(&signed_by(&first)) && end.contains(&promoted));
    let fourth = refreshed(&client, &third).await;
    assert!(is_taken(&client, &fourth).await);
}

// DISC-19: verifiers may keep their copy of the key set for five minutes.
#[tokio::test]
async fn a_rotation_waits_until_the_next_key_was_published_long_enough_and_for_the_one_before_it() {
    let before = SystemClock.now();
    let gateway = TestGateway::start().await;
    let rotated = rotate(&gateway).await.unwrap();
    let signing = rotated.iter().find(|key| key.kind == KeyKind::Signing).unwrap();
    assert!(signing.in_force_at.as_second() >= before.0 + 300);
    assert!(matches!(rotate(&gateway).await, Err(KeysError::UnderWay(..))));
    gateway.clock.advance(301);
    rotate(&gateway).await.unwrap();
    gateway.clock.advance(301);
    let listed = rotation::list(&gateway.assembly.store, gateway.clock.now()).await.unwrap();
    let states: Vec<_> = listed.iter().filter(|key| key.kind == KeyKind::Signing).map(|key| key.state).collect();
    assert_eq!(states, [KeyState::Next, KeyState::Current, KeyState::Retired, KeyState::Retired]);
}

// PROX-14, DISC-19: servers verify assertions by a copy of the key set that they keep for five minutes.
#[tokio::test]
async fn a_copy_of_the_keys_that_is_five_minutes_old_verifies_every_assertion() {
    let gateway = TestGateway::start().await;
    let issuer = AssertionIssuer::new(Arc::clone(&gateway.assembly.keys));
    let person = json!({ "id": "usr_1", "provider": "https://idp.example", "subject": "user_1" });
    let person: Person = serde_json::from_value(person).unwrap();
    let (client, scope) = (ClientId::new("dcr_1"), ScopeSet::default());
    let call = AssertedCall { issuer: "i", audience: "a", client: &client, scope: &scope, session: "grt_1", jti: "1" };
    let (mut copies, mut signers) = (Vec::new(), BTreeSet::new());
    for _ in 0..30 {
        // An operator in a hurry, whom the gateway holds back.
        let rotated = rotate(&gateway).await;
        assert!(matches!(rotated, Ok(_) | Err(KeysError::UnderWay(..))));
        let now = gateway.clock.now();
        copies.push((now.0, published(&gateway).await));
        copies.retain(|(at, _)| now.0 - at <= 300);
        let signer = kid(&issuer.issue(&person, call, now).unwrap());
        assert!(copies.iter().all(|(_, known)| known.contains(&signer)), "{signer} is not in {copies:?}");
        signers.insert(signer);
        gateway.clock.advance(70);
    }
    assert!(signers.len() >= 5, "{signers:?}");
}

// SEC-3, REFR-4, REFR-7: a lost answer is given again after the rotation, byte for byte.
#[tokio::test]
async fn refresh_tokens_outlive_the_key_they_are_derived_with() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let lost = refreshed(&client, &tokens).await;
    rotate(&gateway).await.unwrap();
    gateway.clock.advance(11);
    let again = refreshed(&client, &tokens).await;
    assert_eq!(lost["refresh_token"], again["refresh_token"]);

    // Months later the old key is still there, because a token hangs on it, and goes when none does.
    let derivation_keys = async || gateway.assembly.store.keys(KeyKind::Derivation).await.unwrap().len();
    gateway.clock.advance(20 * 86_400);
    gateway.assembly.store.purge_keys(gateway.clock.now()).await.unwrap();
    assert_eq!(derivation_keys().await, 3);
    let after = refreshed(&client, &again).await;
    assert!(is_taken(&client, &after).await);
    gateway.clock.advance(32 * 86_400);
    gateway.assembly.store.purge(gateway.clock.now(), std::time::Duration::from_secs(1), 100).await.unwrap();
    gateway.assembly.store.purge_keys(gateway.clock.now()).await.unwrap();
    assert_eq!(derivation_keys().await, 2);
}

// SEC-3, CONS-9, CONS-12, IDP-2: every value of a journey under way that is derived.
#[tokio::test]
async fn a_journey_goes_on_through_a_rotation_at_any_of_its_steps() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let turn = async || {
        gateway.clock.advance(11);
        rotate(&gateway).await.unwrap();
        gateway.clock.advance(11);
    };
    // The first next key has to be published for a while; the derivation keys turn over at each step all the same.
    gateway.clock.advance(400);
    let browser = Browser::new();
    let start = browser.get(&client.authorize_url("one", &[])).await;
    let fields = [("transaction", start.field("transaction")), ("decision", "continue".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let leave = browser.post(&gateway.url("/oauth/consent"), &fields).await;
    turn().await;
    let back = client.log_in(&browser, leave.redirect(), "member").await;
    let page = browser.get(back.redirect()).await;
    gateway.clock.advance(301);
    turn().await;
    let approved = client.decide(&browser, &page, "approve").await;
    gateway.clock.advance(1);
    let tokens = client.redeem(&approved.param("code").unwrap()).await;
    assert_eq!(tokens.status(), StatusCode::OK);
    let again = client.decide(&browser, &page, "approve").await;
    assert_eq!(again.location, approved.location, "the same code");
}

// SEC-2
#[tokio::test]
async fn a_sealed_key_does_not_open_in_another_keys_place() {
    let gateway = TestGateway::start().await;
    let url = format!("sqlite://{}", gateway.folder().join("test.db").display());
    let store = Store::open_beside(&url).await.unwrap();
    let sealer = Sealer::new(&[KeyMaterial::new([7; 32])]).unwrap();
    let column = doorward::store::SEALED.iter().find(|column| column.table == "keys").unwrap();
    let rows = store.sealed_values(column, "", 10).await.unwrap();
    let ((one, sealed), (_, other)) = (&rows[0], &rows[1]);
    assert!(sealer.open(&format!("key:{one}"), sealed).is_ok());
    assert!(store.reseal_value(column, one, sealed, other).await.unwrap());
    assert!(matches!(rotation_after_restart(&store, &sealer).await, Err(KeysError::Sealed(_))));
}

async fn rotation_after_restart(store: &Store, sealer: &Sealer) -> Result<(), KeysError> {
    let now = doorward::domain::UnixTime(0);
    let signing = doorward::keys::Keys::load(store, sealer, SigningAlg::Es256, &SystemRandom, now).await.map(drop);
    let derivation = doorward::authorization::DerivationKeys::load(store, sealer, &SystemRandom, now).await.map(drop);
    signing.and(derivation)
}

// SEC-3
#[rstest]
#[tokio::test]
async fn the_secret_key_changes_beside_a_gateway_that_has_both(#[values(false, true)] on_postgres: bool) {
    let database_url = on_postgres.then(|| Postgres::shared().unwrap().new_database());
    let gateway = TestGateway::start_with(Options { database_url: database_url.clone(), ..Options::default() }).await;
    let url = database_url.unwrap_or_else(|| format!("sqlite://{}", gateway.folder().join("test.db").display()));
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;

    let (old, new) = (KeyMaterial::new([7; 32]), KeyMaterial::new([8; 32]));
    let beside = Store::open_beside(&url).await.unwrap();
    assert!(gateway.assembly.sealer.replace(&[new.clone(), old.clone()]));
    let both = Sealer::new(&[new.clone(), old]).unwrap();
    let stranger = Sealer::new(&[KeyMaterial::new([9; 32])]).unwrap();
    let refused = reseal(&beside, &stranger, &SystemRandom).await.unwrap();
    assert!(refused.iter().all(|table| table.resealed == 0));
    assert_eq!(refused.iter().map(|table| table.unreadable).sum::<u64>(), 4);
    let done = reseal(&beside, &both, &SystemRandom).await.unwrap();
    assert_eq!(done.iter().map(|table| (table.resealed, table.unreadable)).collect::<Vec<_>>()[0], (4, 0));
    assert!(reseal(&beside, &both, &SystemRandom).await.unwrap().iter().all(|table| table.resealed == 0));
    let listed = rotation::list(&beside, gateway.clock.now()).await.unwrap();
    assert!(listed.iter().all(|key| key.sealed_with.as_deref() == Some(new.id().as_str())));

    // The old secret key is not needed any more, by the running gateway nor by the next.
    assert!(gateway.assembly.sealer.replace(std::slice::from_ref(&new)));
    gateway.assembly.catch_up().await.unwrap();
    let next = refreshed(&client, &tokens).await;
    assert!(is_taken(&client, &tokens).await && is_taken(&client, &next).await);
    rotation_after_restart(&beside, &Sealer::new(&[new]).unwrap()).await.unwrap();
}

// SEC-3: a second replica with another signingAlg, beside a first one that has not looked at the store since.
#[tokio::test]
async fn a_token_by_a_key_that_another_replica_has_just_made_is_taken_at_once() {
    let url = Postgres::shared().unwrap().new_database();
    let first = TestGateway::start_with(Options { database_url: Some(url.clone()), ..Options::default() }).await;
    let client = TestClient::register(&first).await;
    let options =
        Options { database_url: Some(url), gateway: "\"signingAlg\": \"EdDSA\"".to_owned(), ..Options::default() };
    let second = TestGateway::start_with(options).await;
    let now = second.clock.now();
    let claims = AccessTokenClaims {
        iss: first.origin.clone(),
        sub: "usr_1".into(),
        aud: first.resource("one"),
        client_id: client.id.clone(),
        exp: now.0 + 900,
        iat: now.0,
        jti: "1".into(),
        scope: "mcp:tools".into(),
        sid: "grt_1".into(),
        auth_time: None,
    };
    let token = AccessTokenIssuer::new(second.assembly.keys.clone()).issue(&claims).unwrap();
    assert_eq!(published(&first).await.len(), 2);
    assert!(is_taken(&client, &serde_json::json!({ "access_token": token })).await);
    assert_eq!(published(&first).await.len(), 4);
}

// SEC-3, REV-2: the same for whoever revokes a token there.
#[tokio::test]
async fn a_token_by_a_key_that_another_replica_has_just_made_can_be_revoked_at_once() {
    let url = Postgres::shared().unwrap().new_database();
    let first = TestGateway::start_with(Options { database_url: Some(url.clone()), ..Options::default() }).await;
    let client = TestClient::register(&first).await;
    let tokens = client.connect("one").await;
    let payload = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&base64url_decode(payload).unwrap()).unwrap();
    let options =
        Options { database_url: Some(url), gateway: "\"signingAlg\": \"EdDSA\"".to_owned(), ..Options::default() };
    let second = TestGateway::start_with(options).await;
    let claims: AccessTokenClaims = serde_json::from_value(claims).unwrap();
    let token = AccessTokenIssuer::new(second.assembly.keys.clone()).issue(&claims).unwrap();
    let form = [("token", token.as_str()), ("client_id", client.id.as_str())];
    let revoked = post_form(&client.http, &first.url("/oauth/revoke"), &form).await;
    assert_eq!(revoked.status(), StatusCode::OK);
    oauth_error(client.refresh(tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant").await;
}

// SEC-3: strangers cannot make the gateway read its store at will.
#[tokio::test]
async fn unknown_keys_make_the_gateway_look_at_most_once_a_second() {
    let gateway = TestGateway::start().await;
    let keys = &gateway.assembly.keys;
    let now = gateway.clock.now();
    assert!(!keys.look_up("made-up", now).await);
    gateway.clock.advance(600);
    let rotated =
        rotation::rotate(&gateway.assembly.store, &gateway.assembly.sealer, &SystemRandom, now).await.unwrap();
    assert!(rotated.iter().any(|key| key.kind == KeyKind::Signing));
    let next = rotation::list(&gateway.assembly.store, now).await.unwrap().remove(0).id;
    assert!(!keys.look_up(&next, now).await, "asked in this second already");
    assert!(keys.look_up(&next, doorward::domain::UnixTime(now.0 + 1)).await);
}

// SEC-3: whoever adds a sealed column adds it to what is sealed anew.
#[tokio::test]
async fn sealing_anew_reaches_every_sealed_column_there_is() {
    const SQL: &str = "SELECT tables.name FROM sqlite_master tables JOIN pragma_table_info(tables.name) columns \
                       WHERE columns.name LIKE 'sealed%' ORDER BY tables.name";
    let gateway = TestGateway::start().await;
    let url = format!("sqlite://{}", gateway.folder().join("test.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(SQL).fetch_all(&mut database).await.unwrap();
    let reached: Vec<&str> = doorward::store::SEALED.iter().map(|column| column.table).collect();
    assert_eq!(tables, reached);
}

// SEC-3
#[tokio::test]
async fn sealing_anew_counts_what_was_done_already_and_what_somebody_else_does_meanwhile() {
    const OTHER_WRITER: &str =
        "CREATE TRIGGER other_writer BEFORE UPDATE OF sealed ON keys BEGIN SELECT RAISE(IGNORE); END";
    let gateway = TestGateway::start().await;
    let url = format!("sqlite://{}", gateway.folder().join("test.db").display());
    let beside = Store::open_beside(&url).await.unwrap();
    let counts = async |keys: &[KeyMaterial]| {
        let tables = reseal(&beside, &Sealer::new(keys).unwrap(), &SystemRandom).await.unwrap();
        let keys = tables.into_iter().find(|table| table.table == "keys").unwrap();
        (keys.resealed, keys.untouched, keys.unreadable)
    };
    let (old, new, stranger) = (KeyMaterial::new([7; 32]), KeyMaterial::new([8; 32]), KeyMaterial::new([9; 32]));
    assert_eq!(counts(std::slice::from_ref(&stranger)).await, (0, 0, 4));
    assert_eq!(counts(std::slice::from_ref(&old)).await, (0, 4, 0));
    assert_eq!(counts(&[new.clone(), old.clone()]).await, (4, 0, 0));
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(OTHER_WRITER).execute(&mut database).await.unwrap();
    assert_eq!(counts(&[stranger, new]).await, (0, 4, 0));
}

// SEC-3
#[tokio::test]
async fn a_store_that_lost_its_current_key_gets_one_beside_the_next() {
    let gateway = TestGateway::start().await;
    let (store, sealer) = (&gateway.assembly.store, &gateway.assembly.sealer);
    let url = format!("sqlite://{}", gateway.folder().join("test.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("DELETE FROM keys WHERE in_force_at IS NOT NULL").execute(&mut database).await.unwrap();
    let now = gateway.clock.now();
    rotation::ensure(store, sealer, (KeyKind::Signing, "ES256"), &SystemRandom, now).await.unwrap();
    let states: Vec<_> = store.keys(KeyKind::Signing).await.unwrap().iter().map(|key| key.state(now)).collect();
    assert_eq!(states, [KeyState::Current, KeyState::Next]);
}

// SEC-3
#[tokio::test]
async fn keys_of_two_algorithms_are_listed_by_algorithm_and_each_is_followed_by_its_own() {
    let gateway = TestGateway::start().await;
    let (store, sealer, now) = (&gateway.assembly.store, &gateway.assembly.sealer, gateway.clock.now());
    rotation::ensure(store, sealer, (KeyKind::Signing, "EdDSA"), &SystemRandom, now).await.unwrap();
    let listed = async || {
        let listed = rotation::list(store, gateway.clock.now()).await.unwrap();
        listed.into_iter().filter(|key| key.kind == KeyKind::Signing).map(|key| (key.algorithm, key.state, key.id))
    };
    let next: Vec<_> = listed().await.filter(|(_, state, _)| *state == KeyState::Next).map(|key| key.2).collect();
    gateway.clock.advance(600);
    rotate(&gateway).await.unwrap();
    gateway.clock.advance(60);
    let current: Vec<_> = listed().await.filter(|(_, state, _)| *state == KeyState::Current).map(|key| key.2).collect();
    assert_eq!(current, next);
    let shown: Vec<_> = listed().await.map(|(algorithm, state, _)| (algorithm, state)).collect();
    let states = [KeyState::Next, KeyState::Current, KeyState::Retired];
    let expected: Vec<_> =
        ["ES256", "EdDSA"].iter().flat_map(|name| states.map(|state| ((*name).to_owned(), state))).collect();
    assert_eq!(shown, expected);
}
