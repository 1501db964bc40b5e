//! The WorkOS provider against its double: one test per requirement (WOS-1 … WOS-14, IDP-2, 5, 7, 10, 11).

use std::collections::HashMap;
use std::time::Duration;

use crate::fake_workos::{API_KEY, Behaviour, CLIENT_ID, FakeWorkOs, Issuer, ORGANIZATION};
use doorward::config::model::{BrowserLogin, WorkOsOptions, WorkOsSelector};
use doorward::crypto::{base64url, sha256};
use doorward::domain::{Clock as _, SubjectId, SystemClock, UnixTime};
use doorward::identity::workos::WorkOs;
use doorward::identity::{IdentityProvider, InteractiveStep, Login, LoginError, LoginReturn, LoginStart, SetUpFault};
use doorward::outbound::{Outbound, OutboundSettings};
use jsonwebtoken::Algorithm;
use rstest::rstest;
use serde_json::{Value, json};
use url::Url;

const REDIRECT_URI: &str = "https://gateway.example.com/oauth/callback";
const STATE: &str = "c3RhdGUtb2YtMTI4LXJhbmRvbS1iaXRz";
const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
const CANARY: &str = "canary-3f9a";
/// Far longer than an answer takes on any machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A double and the provider that is set up for it.
struct Bench {
    fake: FakeWorkOs,
    workos: WorkOs,
    client: reqwest::Client,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut WorkOsOptions)) -> Self {
        let fake = FakeWorkOs::start().await;
        fake.list_redirect_uri(REDIRECT_URI);
        let client = Outbound::new(&OutboundSettings::default()).unwrap().trusted_client().clone();
        let workos = provider(&fake.base(), &client, PATIENCE, change);
        Self { fake, workos, client }
    }

    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.fake.behave(change);
    }

    /// Where the authorize endpoint sends the browser: the callback's parameters, or its refusal.
    async fn authorize(&self) -> Result<HashMap<String, String>, Value> {
        let response = self.client.get(self.workos.authorization_url(&start()).await.unwrap()).send().await.unwrap();
        match response.headers().get("location") {
            Some(location) => {
                let url = Url::parse(location.to_str().unwrap()).unwrap();
                Ok(url.query_pairs().into_owned().collect())
            }
            None => Err(response.json().await.unwrap()),
        }
    }

    async fn code(&self) -> String {
        self.authorize().await.unwrap()["code"].clone()
    }

    async fn exchange(&self, code: &str, now: UnixTime) -> Result<Login, LoginError> {
        self.workos.exchange(&LoginReturn { now, ..come_back(code) }).await
    }

    /// The whole login.
    async fn login(&self) -> Result<Login, LoginError> {
        self.exchange(&self.code().await, SystemClock.now()).await
    }

    async fn login_with(&self, change: impl FnOnce(&mut Behaviour)) -> Result<Login, LoginError> {
        self.behave(change);
        self.login().await
    }
}

fn provider(
    base: &str,
    client: &reqwest::Client,
    remote_timeout: Duration,
    change: impl FnOnce(&mut WorkOsOptions),
) -> WorkOs {
    let mut options = WorkOsOptions {
        client_id: CLIENT_ID.to_owned(),
        client_secret: API_KEY.into(),
        api_url: Url::parse(base).unwrap(),
        issuers: Vec::new(),
        selector: WorkOsSelector::Provider("authkit".to_owned()),
        organization_id: None,
        screen_hint: None,
        domain_hint: None,
        allow_impersonation: false,
        session_sync: true,
        session_sync_interval: Duration::from_mins(5),
    };
    change(&mut options);
    let browser_login = BrowserLogin {
        remote_timeout,
        state_ttl: Duration::from_mins(15),
        session_ttl: Duration::from_hours(8),
        pkce: true,
    };
    WorkOs::new(options, "openid profile email".to_owned(), &browser_login, client.clone())
}

fn start() -> LoginStart<'static> {
    let challenge = base64url(&sha256(VERIFIER.as_bytes()));
    LoginStart {
        redirect_uri: REDIRECT_URI,
        state: STATE,
        code_challenge: Some(challenge.leak()),
        nonce: "nonce-that-must-not-be-sent",
        origin: "https://gateway.example.com",
        switch_account: false,
        max_age: None,
    }
}

fn come_back(code: &str) -> LoginReturn<'_> {
    LoginReturn {
        code,
        state: STATE,
        redirect_uri: REDIRECT_URI,
        code_verifier: Some(VERIFIER),
        nonce: "",
        browser_ip: Some("203.0.113.9".parse().unwrap()),
        user_agent: Some("Browser/1.0"),
        max_age: None,
        now: SystemClock.now(),
    }
}

fn untrusted(result: Result<Login, LoginError>) -> String {
    match result {
        Err(LoginError::Untrusted(cause)) => cause,
        other => panic!("the answer was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn authorize_asks_with_one_selector_and_s256_and_without_a_nonce_wos_1_idp_2() {
    let bench = Bench::new().await;
    let url = bench.workos.authorization_url(&start()).await.unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(url.path(), "/user_management/authorize");
    assert_eq!(query["provider"], "authkit");
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["scope"], "openid profile email");
    assert_eq!(query["code_challenge_method"], "S256");
    assert!(!query.contains_key("nonce"));
    let callback = bench.authorize().await.expect("the strict double takes it");
    assert_eq!(callback["state"], STATE);
}

#[rstest]
#[case(WorkOsSelector::Connection("conn_1".into()), "connection_id")]
#[case(WorkOsSelector::Organization(ORGANIZATION.into()), "organization_id")]
#[tokio::test]
async fn a_connection_or_an_organisation_takes_the_selector_s_place_wos_1(
    #[case] selector: WorkOsSelector,
    #[case] name: &str,
) {
    let bench = Bench::with(|options| options.selector = selector).await;
    let url = bench.workos.authorization_url(&start()).await.unwrap();
    assert!(url.query_pairs().any(|(key, _)| key == name));
    assert!(!url.query_pairs().any(|(key, _)| key == "provider"));
    bench.login().await.unwrap();
}

#[tokio::test]
async fn only_another_account_or_a_fresh_login_asks_for_the_login_form() {
    let bench = Bench::new().await;
    let plain = bench.workos.authorization_url(&start()).await.unwrap();
    let switching = bench.workos.authorization_url(&LoginStart { switch_account: true, ..start() }).await.unwrap();
    assert!(!plain.query_pairs().any(|(name, _)| name == "prompt"), "IDP-7");
    let anew = bench.workos.authorization_url(&LoginStart { max_age: Some(60), ..start() }).await.unwrap();
    for url in [switching, anew] {
        assert!(url.query_pairs().any(|pair| pair == ("prompt".into(), "login".into())));
    }
}

#[tokio::test]
async fn the_code_is_exchanged_once_by_json_with_the_browser_s_address_wos_2() {
    let bench = Bench::new().await;
    let code = bench.code().await;
    bench.exchange(&code, SystemClock.now()).await.unwrap();
    let sent = bench.fake.exchanges();
    assert_eq!(
        sent,
        [json!({
            "client_id": CLIENT_ID, "client_secret": API_KEY, "grant_type": "authorization_code", "code": code,
            "code_verifier": VERIFIER, "ip_address": "203.0.113.9", "user_agent": "Browser/1.0",
        })]
    );
    let again = bench.exchange(&code, SystemClock.now()).await;
    assert_eq!(again.unwrap_err(), LoginError::CodeRejected);
}

#[tokio::test]
async fn a_wrong_verifier_is_a_rejected_code_idp_2() {
    let bench = Bench::new().await;
    let code = bench.code().await;
    let login = LoginReturn { code_verifier: Some("another-verifier"), ..come_back(&code) };
    assert_eq!(bench.workos.exchange(&login).await.unwrap_err(), LoginError::CodeRejected);
}

#[rstest]
#[case(400, json!({"error": "invalid_grant", "error_description": CANARY}), LoginError::CodeRejected)]
#[case(400, json!({"code": "invalid_code", "message": CANARY}), LoginError::CodeRejected)]
#[case(403, json!({"error": "access_denied", "error_description": CANARY}), LoginError::AccessDenied)]
#[case(403, json!({"message": CANARY}), LoginError::AccessDenied)]
#[case(403, json!({"code": "organization_selection_required", "message": CANARY}), LoginError::Interactive(InteractiveStep::SelectOrganization))]
#[case(403, json!({"code": "mfa_enrollment", "message": CANARY}), LoginError::Interactive(InteractiveStep::Mfa))]
#[case(403, json!({"code": "mfa_challenge", "message": CANARY}), LoginError::Interactive(InteractiveStep::Mfa))]
#[case(403, json!({"code": "email_verification_required", "message": CANARY}), LoginError::Interactive(InteractiveStep::VerifyEmail))]
#[case(403, json!({"error": "sso_required", "error_description": CANARY}), LoginError::Interactive(InteractiveStep::Sso))]
#[case(429, json!({"message": CANARY}), LoginError::Unavailable("HTTP 429".into()))]
#[case(500, json!({"message": CANARY}), LoginError::Unavailable("HTTP 500".into()))]
#[case(503, json!(CANARY), LoginError::Unavailable("HTTP 503".into()))]
#[case(400, json!({"error": "invalid_client", "error_description": CANARY}), LoginError::SetUp(SetUpFault::WrongSecret))]
#[case(401, json!({"message": "Unauthorized"}), LoginError::SetUp(SetUpFault::WrongSecret))]
#[case(404, json!({"message": "Not Found"}), LoginError::SetUp(SetUpFault::UnknownClient))]
#[case(400, json!({"code": "invalid_redirect_uri", "message": CANARY}), LoginError::SetUp(SetUpFault::RedirectUriNotListed { redirect_uri: REDIRECT_URI.into() }))]
#[case(422, json!({"code": "invalid_request_parameters", "message": CANARY}), LoginError::Untrusted("HTTP 422 from the code exchange, invalid_request_parameters".into()))]
#[case(400, json!({"message": CANARY}), LoginError::Untrusted("HTTP 400 from the code exchange, no error code".into()))]
#[case(400, json!({"code": format!("{CANARY} <b>")}), LoginError::Untrusted("HTTP 400 from the code exchange, an unreadable error code".into()))]
#[tokio::test]
async fn both_error_envelopes_are_understood_and_no_description_is_kept_wos_3_wos_4_wos_5(
    #[case] status: u16,
    #[case] body: Value,
    #[case] expected: LoginError,
) {
    let bench = Bench::new().await;
    let error = bench.login_with(|how| how.fail = Some((status, body.to_string()))).await.unwrap_err();
    assert_eq!(error, expected);
    assert!(!format!("{error} {error:?}").contains(CANARY), "WOS-5");
}

#[tokio::test]
async fn the_person_comes_from_user_and_the_verified_token_wos_6_wos_16_idp_11() {
    let bench = Bench::new().await;
    let login = bench.login().await.unwrap();
    let person = &login.person;
    let issuer = format!("{}/user_management/{CLIENT_ID}", bench.fake.base());
    assert_eq!(bench.workos.issuer(), issuer);
    assert_eq!(person.id, SubjectId::derive(&issuer, "user_01ALICE"));
    assert_eq!(person.subject, "user_01ALICE");
    assert_eq!(person.name.as_deref(), Some("Alice Example"));
    assert_eq!((person.email.as_deref(), person.email_verified), (Some("alice@example.com"), true));
    assert_eq!(person.organization_id.as_deref(), Some(ORGANIZATION));
    assert_eq!(person.roles, ["member", "auditor"]);
    assert_eq!(person.permissions, ["tools:read"]);
    assert_eq!(person.entitlements, ["audit-logs"]);
    assert!(login.provider_session.as_deref().is_some_and(|session| session.starts_with("session_")));
    let kept = format!("{login:?}");
    assert!(!kept.contains("eyJ") && !kept.contains("ref_"), "no token of the provider is kept: {kept}");
}

#[rstest]
#[case(Algorithm::RS384)]
#[case(Algorithm::PS256)]
#[tokio::test]
async fn nothing_but_rs256_is_accepted_wos_6(#[case] algorithm: Algorithm) {
    let bench = Bench::new().await;
    let cause = untrusted(bench.login_with(|how| how.algorithm = Some(algorithm)).await);
    assert!(cause.contains("algorithm"), "{cause}");
}

#[tokio::test]
async fn an_altered_token_is_refused_wos_6_sec_9() {
    let bench = Bench::new().await;
    bench.login().await.unwrap();
    for token in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"] {
        let cause = untrusted(bench.login_with(|how| how.answer = Some(json!({ "access_token": token }))).await);
        assert!(cause.starts_with("the access token does not verify"), "{cause}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_and_then_named_as_a_set_up_fault_wos_6_idp_5() {
    let bench = Bench::new().await;
    bench.login().await.unwrap();
    assert_eq!(bench.fake.jwks_fetches(), 1, "the set is cached");
    bench.fake.rotate_keys();
    bench.login().await.expect("a rotated key is found by one forced fetch");
    assert_eq!(bench.fake.jwks_fetches(), 2);
    for _ in 0..3 {
        let error = bench.login_with(|how| how.foreign_key = true).await.unwrap_err();
        assert_eq!(error, LoginError::SetUp(SetUpFault::EnvironmentMismatch));
    }
    assert_eq!(bench.fake.jwks_fetches(), 2, "a cooldown follows");
}

#[tokio::test]
async fn the_set_at_hand_is_used_while_the_provider_s_is_down_idp_5() {
    let bench = Bench::new().await;
    let error = bench.login_with(|how| how.jwks_down = true).await.unwrap_err();
    assert!(matches!(error, LoginError::Unavailable(_)), "{error:?}");
    bench.login_with(|how| how.jwks_down = false).await.unwrap();
    bench.behave(|how| {
        how.jwks_down = true;
        how.claims = Some(json!({ "exp": SystemClock.now().0 + 8000 }));
    });
    let later = SystemClock.now().plus(Duration::from_hours(2));
    bench.exchange(&bench.code().await, later).await.expect("two hours later, the cached set still serves");
    assert_eq!(bench.fake.jwks_fetches(), 3);
}

#[tokio::test]
async fn many_logins_at_once_fetch_the_key_set_once_idp_5() {
    let bench = Bench::new().await;
    let codes = futures_util::future::join_all((0..8).map(|_| bench.code())).await;
    let logins = codes.iter().map(|code| bench.exchange(code, SystemClock.now()));
    assert!(futures_util::future::join_all(logins).await.iter().all(Result::is_ok));
    assert_eq!(bench.fake.jwks_fetches(), 1);
}

#[tokio::test]
async fn the_issuer_is_one_of_a_list_and_a_foreign_one_is_named_wos_7() {
    let bench = Bench::with(|options| options.issuers = vec!["https://auth.example.com".into()]).await;
    let workos = "https://api.workos.com";
    for issuer in [
        Issuer::Derived,
        Issuer::Base,
        Issuer::BaseWithSlash,
        Issuer::Other(workos.to_owned()),
        Issuer::Other(format!("{workos}/")),
        Issuer::Other(format!("{workos}/user_management/{CLIENT_ID}")),
        Issuer::Other("https://auth.example.com".to_owned()),
    ] {
        bench.login_with(|how| how.issuer = issuer).await.unwrap();
    }
    for issuer in
        ["https://evil.example", "https://api.workos.com/user_management/client_other", "https://auth.example.com/"]
    {
        let cause = untrusted(bench.login_with(|how| how.issuer = Issuer::Other(issuer.to_owned())).await);
        assert!(cause.contains(issuer) && cause.contains("`issuers`"), "{cause}");
    }
}

#[rstest]
#[case(json!({"sub": "user_01MALLORY"}), false)]
#[case(json!({"client_id": CLIENT_ID}), true)]
#[case(json!({"client_id": "client_other"}), false)]
#[case(json!({"aud": CLIENT_ID}), true)]
#[case(json!({"aud": ["other", CLIENT_ID]}), true)]
#[case(json!({"aud": "other"}), false)]
#[case(json!({"aud": []}), false)]
#[case(json!({"iss": null}), false)]
#[case(json!({"sub": null}), false)]
#[case(json!({"exp": null}), false)]
#[case(json!({"iat": "soon"}), false)]
#[tokio::test]
async fn subject_client_and_audience_must_be_ours_wos_8(#[case] claims: Value, #[case] accepted: bool) {
    let bench = Bench::new().await;
    let login = bench.login_with(|how| how.claims = Some(claims)).await;
    if accepted {
        login.unwrap();
    } else {
        untrusted(login);
    }
}

#[rstest]
#[case(0, 300, true)]
#[case(-300, -50, true)]
#[case(-300, -61, false)]
#[case(50, 300, true)]
#[case(70, 300, false)]
#[tokio::test]
async fn times_are_checked_with_a_minute_s_skew_wos_9(#[case] iat: i64, #[case] exp: i64, #[case] accepted: bool) {
    let bench = Bench::new().await;
    let now = SystemClock.now();
    bench.behave(|how| how.claims = Some(json!({ "iat": now.0 + iat, "exp": now.0 + exp })));
    assert_eq!(bench.exchange(&bench.code().await, now).await.is_ok(), accepted);
}

#[tokio::test]
async fn token_and_answer_agree_on_the_organisation_wos_10() {
    let bench = Bench::new().await;
    untrusted(bench.login_with(|how| how.claims = Some(json!({ "org_id": "org_other" }))).await);
    untrusted(bench.login_with(|how| how.claims = Some(json!({ "org_id": null }))).await);
    bench.behave(|how| how.claims = None);
    untrusted(bench.login_with(|how| how.answer = Some(json!({ "organization_id": null }))).await);
    bench.behave(|how| how.claims = Some(json!({ "org_id": null })));
    let login = bench.login().await.expect("a person without any organisation");
    assert_eq!(login.person.organization_id, None);
}

#[tokio::test]
async fn a_required_organisation_lets_in_no_other_wos_10() {
    let other = Bench::with(|options| options.organization_id = Some("org_required".into())).await;
    assert_eq!(other.login().await.unwrap_err(), LoginError::WrongOrganization);
    let right = Bench::with(|options| options.organization_id = Some(ORGANIZATION.into())).await;
    right.login().await.unwrap();
}

#[rstest]
#[case(Some(json!({"impersonator": {"email": "support@workos.example", "reason": "help"}})), None, "support@workos.example")]
#[case(None, Some(json!({"act": {"sub": "admin@example.com"}})), "admin@example.com")]
#[tokio::test]
async fn impersonation_is_refused_unless_allowed_and_then_flagged_wos_12(
    #[case] answer: Option<Value>,
    #[case] claims: Option<Value>,
    #[case] who: &str,
) {
    let change = |how: &mut Behaviour| {
        how.answer.clone_from(&answer);
        how.claims.clone_from(&claims);
    };
    let refusing = Bench::new().await;
    assert_eq!(refusing.login_with(change).await.unwrap_err(), LoginError::ImpersonationRefused);
    let allowing = Bench::with(|options| options.allow_impersonation = true).await;
    let login = allowing.login_with(change).await.unwrap();
    assert_eq!(login.person.impersonator.as_deref(), Some(who));
}

#[rstest]
#[case(json!({"user": null}))]
#[case(json!({"access_token": null}))]
#[case(json!({"user": {"email": "x@example.com"}}))]
#[tokio::test]
async fn an_answer_without_its_proof_is_refused_wos_6(#[case] answer: Value) {
    let bench = Bench::new().await;
    untrusted(bench.login_with(|how| how.answer = Some(answer)).await);
}

#[tokio::test]
async fn a_200_that_is_not_json_is_refused() {
    let bench = Bench::new().await;
    untrusted(bench.login_with(|how| how.fail = Some((200, "<html>".into()))).await);
}

#[tokio::test]
async fn the_classic_set_up_faults_are_diagnosed_by_name() {
    let bench = Bench::new().await;
    let base = bench.fake.base();
    let wrong_secret =
        provider(&base, &bench.client, PATIENCE, |options| options.client_secret = "sk_test_wrong".into());
    let error = wrong_secret.exchange(&come_back(&bench.code().await)).await.unwrap_err();
    assert_eq!(error, LoginError::SetUp(SetUpFault::WrongSecret));
    assert!(error.to_string().contains("`clientSecret`"), "WOS-4 names the setting");
    let unknown = provider(&base, &bench.client, PATIENCE, |options| options.client_id = "client_other".into());
    let error = unknown.exchange(&come_back("code")).await.unwrap_err();
    assert_eq!(error, LoginError::SetUp(SetUpFault::UnknownClient));
    let unlisted = LoginStart { redirect_uri: "https://other.example/oauth/callback", ..start() };
    let response = bench.client.get(bench.workos.authorization_url(&unlisted).await.unwrap()).send().await.unwrap();
    let body: Value = response.json().await.unwrap();
    let error = bench.workos.callback_error(body["code"].as_str().unwrap(), None, unlisted.redirect_uri);
    assert!(error.to_string().contains("add https://other.example/oauth/callback"), "{error}");
}

#[rstest]
#[case("access_denied", LoginError::AccessDenied)]
#[case("user_not_found", LoginError::AccessDenied)]
#[case("temporarily_unavailable", LoginError::Unavailable("it says temporarily_unavailable".into()))]
#[case("sso_required", LoginError::Interactive(InteractiveStep::Sso))]
#[case("what_is_this", LoginError::Untrusted("the error what_is_this on the callback".into()))]
#[case("<script>", LoginError::Untrusted("the error an unreadable error code on the callback".into()))]
#[tokio::test]
async fn an_error_on_the_callback_has_its_meaning_and_loses_its_text_idp_6(
    #[case] error: &str,
    #[case] expected: LoginError,
) {
    let bench = Bench::new().await;
    bench.behave(|how| how.callback_error = Some(error.to_owned()));
    let callback = bench.authorize().await.unwrap();
    let understood =
        bench.workos.callback_error(&callback["error"], Some(&callback["error_description"]), REDIRECT_URI);
    assert_eq!(understood, expected);
}

#[tokio::test]
async fn a_slow_provider_is_unavailable_in_time_idp_10() {
    let bench = Bench::new().await;
    let code = bench.code().await;
    bench.behave(|how| how.delay = Duration::from_hours(1));
    let hurried = provider(&bench.fake.base(), &bench.client, Duration::from_secs(2), |_| {});
    let error = hurried.exchange(&come_back(&code)).await.unwrap_err();
    assert_eq!(error, LoginError::Unavailable("no answer in time".into()));
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unavailable_idp_10() {
    let bench = Bench::new().await;
    let gone = provider("http://127.0.0.1:9", &bench.client, PATIENCE, |_| {});
    let error = gone.exchange(&come_back("code")).await.unwrap_err();
    assert_eq!(error, LoginError::Unavailable("no connection".into()));
}

#[tokio::test]
async fn signing_out_ends_the_session_at_workos_and_comes_back() {
    let bench = Bench::new().await;
    let session = bench.login().await.unwrap().provider_session.unwrap();
    let home = Url::parse("https://gateway.example.com/signed-out").unwrap();
    let url = bench.workos.logout_url(&session, &home).await.unwrap();
    let response = bench.client.get(url).send().await.unwrap();
    assert_eq!(response.headers()["location"], home.as_str());
    assert_eq!(bench.fake.ended_sessions(), [session]);
}

#[tokio::test]
async fn every_endpoint_follows_the_configured_host_wos_14() {
    let client = Outbound::new(&OutboundSettings::default()).unwrap().trusted_client().clone();
    for base in ["https://auth.example.com", "https://auth.example.com/"] {
        let workos = provider(base, &client, PATIENCE, |_| {});
        assert_eq!(workos.issuer(), format!("https://auth.example.com/user_management/{CLIENT_ID}"));
        let authorize = workos.authorization_url(&start()).await.unwrap();
        assert!(authorize.as_str().starts_with("https://auth.example.com/user_management/authorize?"));
        let logout = workos.logout_url("s", &authorize).await.unwrap();
        assert!(logout.as_str().starts_with("https://auth.example.com/user_management/sessions/logout?"));
    }
}
