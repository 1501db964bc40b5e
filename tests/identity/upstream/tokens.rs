//! Codes, refresh tokens and assertions for tokens, and what each failure means.

use std::time::Duration;

use doorward::config::model::{ClientKey, SecretWay};
use doorward::crypto::{AssertionKey, base64url};
use doorward::upstream::token_request::ID_TOKEN;
use rstest::rstest;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::fake_upstream::id_jag::FakeJagProvider;
use crate::fake_upstream::{Endpoint, Fault, Refreshing};

const REDIRECT: &str = "http://localhost:9000/auth/connections/notes/callback";
const SECRET: &str = "a secret/+%:";

#[tokio::test]
async fn a_code_and_then_each_refresh_token_becomes_a_pair() {
    let bench = Bench::new().await;
    let client = bench.register().await.unwrap().client();
    let first = bench.redeem(&client).await.unwrap();
    assert_eq!(first.expires_in, Some(Duration::from_hours(1)));
    assert_eq!(first.scope.as_deref(), Some("notes.read offline_access"));
    let second = bench.refresh(&client, &first).await.unwrap();
    assert_eq!(bench.double.access_tokens("ada").last().unwrap(), second.access_token.expose_secret());
    for request in bench.double.token_requests() {
        assert_eq!(request.form["resource"], bench.double.mcp_url());
        assert_eq!(request.headers["accept"], "application/json");
    }
    assert_eq!(bench.double.token_requests()[0].form["code_verifier"], VERIFIER);
}

#[rstest]
#[case(Refreshing::KeepsSilently, None)]
#[case(Refreshing::Keeps, Some(true))]
#[case(Refreshing::Rotates, Some(false))]
#[tokio::test]
async fn an_answer_without_a_refresh_token_says_so(#[case] refreshing: Refreshing, #[case] same: Option<bool>) {
    let bench = Bench::behaving(|how| how.refreshing = refreshing).await;
    let client = bench.register().await.unwrap().client();
    let first = bench.redeem(&client).await.unwrap();
    let second = bench.refresh(&client, &first).await.unwrap();
    let of = |answer: &TokenAnswer| answer.refresh_token.as_ref().map(|token| token.expose_secret().to_owned());
    assert_eq!(of(&second).map(|token| Some(token) == of(&first)), same);
}

#[tokio::test]
async fn the_gateway_proves_itself_as_it_is_configured_and_in_no_other_way() {
    let bench = Bench::new().await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = AssertionKey::from_pem(&pair.serialize_pem()).unwrap();
    let (x, y) = pair.public_key_raw()[1..].split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1", "x": base64url(x), "y": base64url(y)});
    bench.double.add_client("basic", REDIRECT, "client_secret_basic", Some(SECRET));
    bench.double.add_client("post", REDIRECT, "client_secret_post", Some(SECRET));
    bench.double.add_client("open", REDIRECT, "none", None);
    bench.double.add_client_with_key("signed", REDIRECT, jwk);
    let secret = |way| OidcCredential::Secret { secret: SECRET.into(), way: Some(way) };
    for (id, credential) in [
        ("basic", secret(SecretWay::Basic)),
        ("post", secret(SecretWay::Post)),
        ("open", OidcCredential::None),
        ("signed", OidcCredential::PrivateKey(ClientKey { key, id: Some("k1".to_owned()) })),
    ] {
        let client = UpstreamClient { credential, ..public(id) };
        let tokens = bench.redeem(&client).await.unwrap();
        bench.refresh(&client, &tokens).await.unwrap();
    }
    let wrong = UpstreamClient { credential: secret(SecretWay::Post), ..public("basic") };
    assert_eq!(bench.redeem(&wrong).await.unwrap_err(), TokenRequestError::InvalidClient);
}

/// Whether an error means what it should.
type Means<'a> = &'a dyn Fn(&TokenRequestError) -> bool;

fn unavailable(lost: bool) -> impl Fn(&TokenRequestError) -> bool {
    move |error| matches!(error, TokenRequestError::Unavailable { answer_may_be_lost, .. } if *answer_may_be_lost == lost)
}

#[tokio::test]
async fn only_the_server_s_own_word_ends_a_grant() {
    let bench = Bench::new().await;
    let client = bench.register().await.unwrap().client();
    let tokens = bench.redeem(&client).await.unwrap();
    let ends = |error: &TokenRequestError| *error == TokenRequestError::InvalidGrant;
    let stranger = |error: &TokenRequestError| *error == TokenRequestError::InvalidClient;
    let refused = |error: &TokenRequestError| matches!(error, TokenRequestError::Refused(_));
    let (lost, unspent) = (unavailable(true), unavailable(false));
    let page = |status| Fault::Answer { status, body: "<html>canary-77</html>".to_owned(), retry_after: None };
    let table: [(Fault, Means<'_>); 17] = [
        (Fault::invalid_grant(), &ends),
        (Fault::error(401, "invalid_grant"), &ends),
        (Fault::error_in_200("bad_refresh_token"), &ends),
        (Fault::error(401, "invalid_client"), &stranger),
        (Fault::error(400, "unauthorized_client"), &stranger),
        (Fault::error_in_200("incorrect_client_credentials"), &stranger),
        (page(401), &stranger),
        (Fault::error(400, "invalid_scope"), &refused),
        (Fault::error_in_200("<b>canary-77</b>"), &refused),
        (page(403), &refused),
        (page(302), &refused),
        (Fault::too_many(5), &unspent),
        (Fault::error(429, "invalid_grant"), &unspent),
        (Fault::error(400, "temporarily_unavailable"), &unspent),
        (Fault::down(), &lost),
        (Fault::error(500, "invalid_grant"), &lost),
        (Fault::Dropped, &lost),
    ];
    for (fault, means) in table {
        bench.double.fail_next(Endpoint::Token, fault.clone());
        let error = bench.refresh(&client, &tokens).await.unwrap_err();
        assert!(means(&error), "{fault:?}: {error}");
        assert!(!error.to_string().contains("canary-77"), "{error}");
    }
    bench.refresh(&client, &tokens).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_was_lost_on_the_way_may_have_spent_the_token() {
    let bench = Bench::new().await;
    let client = bench.register().await.unwrap().client();
    let tokens = bench.redeem(&client).await.unwrap();
    bench.double.fail_next(Endpoint::Token, Fault::AnswerLost);
    assert!(unavailable(true)(&bench.refresh(&client, &tokens).await.unwrap_err()));
    assert_eq!(bench.refresh(&client, &tokens).await.unwrap_err(), TokenRequestError::InvalidGrant);
}

#[rstest]
#[case(json!({"token_type": "DPoP"}))]
#[case(json!({"access_token": null}))]
#[case(json!({"access_token": "a\r\nb"}))]
#[tokio::test]
async fn an_answer_that_holds_no_bearer_token_is_not_used(#[case] members: Value) {
    let bench = Bench::behaving(|how| how.token_answer = Some(members)).await;
    let client = bench.register().await.unwrap().client();
    assert!(matches!(bench.redeem(&client).await.unwrap_err(), TokenRequestError::Unusable(_)));
}

#[tokio::test]
async fn a_token_that_is_given_up_is_revoked_there_as_well() {
    let bench = Bench::new().await;
    let client = bench.register().await.unwrap().client();
    let tokens = bench.redeem(&client).await.unwrap();
    let server = bench.discovered().await;
    let url = server.revocation_endpoint.as_ref().unwrap();
    let endpoint = TokenEndpoint { fetcher: bench.discovery.fetcher(), url, client: &client };
    let refresh_token = tokens.refresh_token.as_ref().unwrap();
    endpoint.revoke(refresh_token, "refresh_token", &SystemRandom, UnixTime(NOON)).await.unwrap();
    assert_eq!(bench.double.revoked(), [refresh_token.expose_secret()]);
    assert_eq!(bench.refresh(&client, &tokens).await.unwrap_err(), TokenRequestError::InvalidGrant);
    bench.double.fail_next(Endpoint::Revocation, Fault::down());
    assert!(endpoint.revoke(refresh_token, "refresh_token", &SystemRandom, UnixTime(NOON)).await.is_err());
}

// EXT-6
#[tokio::test]
async fn an_id_token_becomes_an_assertion_and_that_a_token_of_the_resource_s_server() {
    let (bench, provider) = (Bench::new().await, FakeJagProvider::start().await);
    let login = crate::fake_oidc::FakeOidc::start().await;
    provider.add_client("gw-idp", "client_secret_post", SECRET);
    provider.allow("gw-idp", &bench.double.issuer(), "gw-as");
    provider.trust_id_tokens_of(&login.issuer(), &format!("{}/jwks", login.base()));
    bench.double.add_client("gw-as", REDIRECT, "client_secret_basic", Some(SECRET));
    bench.double.trust_assertions_of(&provider.issuer(), &provider.jwks_url());
    let secret = |way| OidcCredential::Secret { secret: SECRET.into(), way };
    let (at_idp, at_as) = (
        UpstreamClient { credential: secret(Some(SecretWay::Post)), ..public("gw-idp") },
        UpstreamClient { credential: secret(None), ..public("gw-as") },
    );
    let (idp_url, as_url) =
        (Url::parse(&provider.token_url()).unwrap(), Url::parse(&bench.double.token_url()).unwrap());
    let fetcher = UpstreamFetcher::new(Outbound::new(&OutboundSettings::default()).unwrap(), [&idp_url, &as_url]);
    let ask = async |url, client, grant: TokenGrant<'_>| {
        TokenEndpoint { fetcher: &fetcher, url, client }.request(&grant, &SystemRandom, UnixTime(NOON)).await
    };
    let subject_token = SecretString::from(crate::upstream_double::id_token(&browser(), &login).await);
    let (audience, resource) = (bench.double.issuer(), bench.double.mcp_url());
    let exchange = |audience| TokenGrant::Exchange {
        subject_token: &subject_token,
        subject_token_type: ID_TOKEN,
        audience,
        resource: Some(&resource),
        scope: Some("notes.read"),
    };
    let assertion = ask(&idp_url, &at_idp, exchange(&audience)).await.unwrap().access_token;
    let bearer = TokenGrant::JwtBearer { assertion: &assertion, resource: None, scope: None };
    let tokens = ask(&as_url, &at_as, bearer).await.unwrap();
    assert!(tokens.refresh_token.is_none());
    assert_eq!(ask(&as_url, &at_as, bearer).await.unwrap_err(), TokenRequestError::InvalidGrant, "used once");

    provider.set_answer(json!({"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}));
    assert!(matches!(ask(&idp_url, &at_idp, exchange(&audience)).await.unwrap_err(), TokenRequestError::Unusable(_)));
    let foreign = exchange("https://other.example");
    assert!(matches!(ask(&idp_url, &at_idp, foreign).await.unwrap_err(), TokenRequestError::Refused(_)));
}
