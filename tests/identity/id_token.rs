//! What an ID token must be, and what is taken from it (IDP-3, IDP-5, IDP-11, IDP-17).

use std::time::Duration;

use doorward::config::model::{ClaimPath, PersonClaims};
use doorward::domain::{Clock as _, SubjectId, SystemClock};
use rstest::rstest;
use serde_json::{Value, json};

use crate::fake_oidc::CLIENT_ID;
use crate::oidc::{Bench, untrusted};

// IDP-3
#[tokio::test]
async fn a_shared_secret_is_no_signature() {
    let bench = Bench::new().await;
    let cause = untrusted(bench.login_with(|how| how.symmetric = true).await);
    assert!(cause.contains("algorithm"), "{cause}");
}

// IDP-3
#[tokio::test]
async fn a_signature_by_another_key_is_refused() {
    let bench = Bench::new().await;
    let cause = untrusted(bench.login_with(|how| how.forged = true).await);
    assert!(cause.contains("signature"), "{cause}");
}

// IDP-3
#[rstest]
#[case(json!({"iss": "https://other.example"}), "and the configured issuer is")]
#[case(json!({"iss": null}), "lacks `iss`")]
#[case(json!({"aud": "other"}), "does not hold our client id")]
#[case(json!({"aud": ["other", "another"], "azp": "doorward:gateway"}), "does not hold our client id")]
#[case(json!({"aud": null}), "does not hold our client id")]
#[case(json!({"aud": ["doorward:gateway", "other"]}), "several audiences and lacks `azp`")]
#[case(json!({"aud": ["doorward:gateway", "other"], "azp": "other"}), "`azp`")]
#[case(json!({"azp": "other"}), "`azp`")]
#[case(json!({"exp": null}), "lacks `exp`")]
#[case(json!({"iat": "now"}), "lacks `exp` or `iat`")]
#[case(json!({"nonce": "another-nonce-of-another-login"}), "another login")]
#[case(json!({"nonce": null}), "lacks `nonce`")]
#[case(json!({"sub": null}), "lacks `sub`")]
#[case(json!({"sub": " "}), "lacks `sub`")]
#[tokio::test]
async fn every_claim_of_the_id_token_is_checked(#[case] claims: Value, #[case] cause: &str) {
    let bench = Bench::new().await;
    let seen = untrusted(bench.login_with_claims(claims).await);
    assert!(seen.contains(cause), "{seen}");
}

// IDP-3
#[tokio::test]
async fn several_audiences_are_fine_with_us_as_the_authorized_party() {
    let bench = Bench::new().await;
    bench.login_with_claims(json!({ "aud": [CLIENT_ID, "other"], "azp": CLIENT_ID })).await.unwrap();
    let strict = Bench::with(|options| options.audience = Some("other".to_owned())).await;
    let cause = untrusted(strict.login().await);
    assert!(cause.contains("`oidc.audience`"), "{cause}");
    strict.login_with_claims(json!({ "aud": [CLIENT_ID, "other"], "azp": CLIENT_ID })).await.unwrap();
}

// IDP-3
#[rstest]
#[case(0, 300, true)]
#[case(-300, -50, true)]
#[case(-300, -61, false)]
#[case(50, 300, true)]
#[case(70, 300, false)]
#[tokio::test]
async fn clocks_may_differ_by_a_minute(#[case] iat: i64, #[case] exp: i64, #[case] accepted: bool) {
    let bench = Bench::new().await;
    let now = SystemClock.now();
    bench.behave(|how| how.claims = Some(json!({ "iat": now.0 + iat, "exp": now.0 + exp })));
    let code = bench.authorize().await["code"].clone();
    assert_eq!(bench.exchange(&code, now).await.is_ok(), accepted);
}

// IDP-5
#[tokio::test]
async fn an_unknown_key_is_looked_for_once_and_then_there_is_a_pause() {
    let bench = Bench::new().await;
    bench.login().await.unwrap();
    bench.login().await.unwrap();
    assert_eq!(bench.fake.jwks_fetches(), 1, "the set is cached");
    bench.fake.rotate_keys();
    bench.login().await.expect("a new key is found by one fetch");
    for _ in 0..3 {
        let cause = untrusted(bench.login_with(|how| how.foreign_key = true).await);
        assert!(cause.contains("does not hold"), "{cause}");
    }
    assert_eq!(bench.fake.jwks_fetches(), 2);
}

// IDP-5
#[tokio::test]
async fn the_keys_at_hand_serve_while_the_provider_s_are_away() {
    let bench = Bench::new().await;
    bench.login().await.unwrap();
    let later = SystemClock.now().plus(Duration::from_hours(2));
    bench.behave(|how| {
        how.jwks_down = true;
        how.claims = Some(json!({ "exp": later.0 + 60 }));
    });
    let code = bench.authorize().await["code"].clone();
    bench.exchange(&code, later).await.unwrap();
    assert_eq!(bench.fake.jwks_fetches(), 2);
}

// IDP-5
#[tokio::test]
async fn the_only_key_of_a_set_needs_no_name() {
    let bench = Bench::new().await;
    bench.login_with(|how| how.nameless_key = true).await.unwrap();
}

// IDP-11, IDP-17
#[tokio::test]
async fn the_person_comes_from_the_claims_and_no_token_is_kept() {
    let bench = Bench::with(|options| {
        options.claims = PersonClaims {
            roles: ClaimPath::parse("realm_access.roles").ok(),
            groups: None,
            permissions: ClaimPath::parse("https://example.com/permissions").ok(),
        };
    })
    .await;
    bench.behave(|how| {
        how.claims = Some(json!({
            "realm_access": { "roles": ["admin"] }, "https://example.com/permissions": ["read"], "org_id": "org_1",
            "email_verified": "true", "name": null, "given_name": "Ada", "family_name": "Byron",
        }));
    });
    let login = bench.login().await.unwrap();
    let person = &login.person;
    assert_eq!(person.id, SubjectId::derive(&bench.fake.issuer(), "u-1"));
    assert_eq!((person.provider.as_str(), person.subject.as_str()), (bench.fake.issuer().as_str(), "u-1"));
    assert_eq!((person.email.as_deref(), person.email_verified), (Some("ada@example.com"), true));
    assert_eq!(person.name.as_deref(), Some("Ada Byron"));
    assert_eq!(person.organization_id.as_deref(), Some("org_1"));
    assert_eq!(
        (person.roles[0].as_str(), person.groups[0].as_str(), person.permissions[0].as_str()),
        ("admin", "staff", "read")
    );
    assert_eq!(login.provider_session.as_deref(), Some("s-1"));
    assert!(login.refresh_token.is_none());
    assert!(!format!("{login:?}").contains("canary"), "no token of the provider is kept");
}

// IDP-3, IDP-8
#[tokio::test]
async fn userinfo_adds_what_the_id_token_lacks_and_changes_nothing() {
    let bench = Bench::new().await;
    bench.behave(|how| {
        how.claims = Some(json!({ "email": null, "email_verified": null }));
        how.userinfo =
            Some(json!({ "sub": "u-1", "email": "ada@home.example", "name": "Mallory", "roles": ["admin"] }));
    });
    let person = bench.login().await.unwrap().person;
    assert_eq!((person.email.as_deref(), person.email_verified), (Some("ada@home.example"), false));
    assert_eq!((person.name.as_deref(), person.roles[0].as_str()), (Some("Ada Byron"), "engineer"));
    let cause = untrusted(bench.login_with(|how| how.userinfo = Some(json!({ "sub": "u-2" }))).await);
    assert!(cause.contains("another person"), "{cause}");
    let without = bench.login_with(|how| how.userinfo = None).await.expect("who it is was proven before");
    assert_eq!(without.person.email, None);
}
