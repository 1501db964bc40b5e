//! The conversation with an OpenID provider, against its double (IDP-2, IDP-4, IDP-6 … IDP-10).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use doorward::config::model::{
    BrowserLogin, ClientKey, OidcCredential, OidcEndpoints, OidcOptions, PersonClaims, ProviderProfile, SecretWay,
};
use doorward::crypto::{AssertionKey, base64url, sha256};
use doorward::domain::{Clock, SystemClock, SystemRandom, UnixTime};
use doorward::identity::{
    IdentityProvider, InteractiveStep, Login, LoginError, LoginReturn, LoginStart, Oidc, SetUpFault,
};
use doorward::outbound::{Outbound, OutboundSettings};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rstest::rstest;
use serde_json::{Value, json};
use url::Url;

use crate::fake_oidc::{Behaviour, CLIENT_ID, CLIENT_SECRET, FakeOidc};

const REDIRECT_URI: &str = "https://gateway.example.com/oauth/callback";
const STATE: &str = "c3RhdGUtb2YtMTI4LXJhbmRvbS1iaXRz";
const NONCE: &str = "bm9uY2Utb2YtMTI4LXJhbmRvbS1iaXRz";
const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
/// Far longer than an answer takes on any machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A double and the provider that is set up for it.
pub(crate) struct Bench {
    pub(crate) fake: FakeOidc,
    oidc: Oidc,
    client: reqwest::Client,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut OidcOptions)) -> Self {
        let fake = FakeOidc::start().await;
        let client = Outbound::new(&OutboundSettings::default()).unwrap().trusted_client().clone();
        let oidc = provider(&fake, &client, PATIENCE, change);
        Self { fake, oidc, client }
    }

    /// The provider once more, with nothing read yet.
    pub(crate) fn provider(&self) -> Oidc {
        provider(&self.fake, &self.client, PATIENCE, |_| {})
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.fake.behave(change);
    }

    async fn url(&self) -> HashMap<String, String> {
        let url = self.oidc.authorization_url(&start()).await.unwrap();
        url.query_pairs().into_owned().collect()
    }

    /// What the provider sends back with the browser.
    pub(crate) async fn authorize(&self) -> HashMap<String, String> {
        let url = self.oidc.authorization_url(&start()).await.unwrap();
        let response = self.client.get(url).send().await.unwrap();
        let Some(location) = response.headers().get("location").cloned() else {
            panic!("{}", response.text().await.unwrap())
        };
        Url::parse(location.to_str().unwrap()).unwrap().query_pairs().into_owned().collect()
    }

    pub(crate) async fn exchange(&self, code: &str, now: UnixTime) -> Result<Login, LoginError> {
        self.oidc.exchange(&LoginReturn { now, ..come_back(code) }).await
    }

    /// The whole login.
    pub(crate) async fn login(&self) -> Result<Login, LoginError> {
        let code = self.authorize().await["code"].clone();
        self.exchange(&code, SystemClock.now()).await
    }

    pub(crate) async fn login_with(&self, change: impl FnOnce(&mut Behaviour)) -> Result<Login, LoginError> {
        self.behave(change);
        self.login().await
    }

    pub(crate) async fn login_with_claims(&self, claims: Value) -> Result<Login, LoginError> {
        self.login_with(|how| how.claims = Some(claims)).await
    }
}

fn provider(
    fake: &FakeOidc,
    client: &reqwest::Client,
    remote_timeout: Duration,
    change: impl FnOnce(&mut OidcOptions),
) -> Oidc {
    let mut options = OidcOptions {
        display_name: "login.example.com".to_owned(),
        issuer: fake.issuer(),
        audience: None,
        endpoints: OidcEndpoints::default(),
        client_id: CLIENT_ID.to_owned(),
        credential: OidcCredential::Secret { secret: CLIENT_SECRET.into(), way: None },
        requested_audience: None,
        claims: PersonClaims::default(),
        profile: ProviderProfile::STANDARD,
    };
    change(&mut options);
    let browser_login = BrowserLogin {
        remote_timeout,
        state_ttl: Duration::from_mins(15),
        session_ttl: Duration::from_hours(8),
        pkce: true,
    };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Oidc::new(options, "openid profile email".to_owned(), &browser_login, client.clone(), clock, random)
}

fn endpoint(fake: &FakeOidc, path: &str) -> Url {
    Url::parse(&format!("{}{path}", fake.base())).unwrap()
}

fn start() -> LoginStart<'static> {
    let challenge = base64url(&sha256(VERIFIER.as_bytes()));
    LoginStart {
        redirect_uri: REDIRECT_URI,
        state: STATE,
        code_challenge: Some(challenge.leak()),
        nonce: NONCE,
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
        nonce: NONCE,
        browser_ip: None,
        user_agent: None,
        max_age: None,
        now: SystemClock.now(),
    }
}

pub(crate) fn untrusted<T: std::fmt::Debug>(result: Result<T, LoginError>) -> String {
    match result {
        Err(LoginError::Untrusted(cause)) => cause,
        other => panic!("not refused: {other:?}"),
    }
}

// IDP-2, IDP-7, IDP-8
#[tokio::test]
async fn the_issuer_alone_is_enough_to_ask_with_s256_nonce_and_nothing_else() {
    let bench = Bench::new().await;
    let query = bench.url().await;
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!((query["nonce"].as_str(), query["state"].as_str()), (NONCE, STATE));
    let mut names: Vec<_> = query.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "nonce",
            "redirect_uri",
            "response_type",
            "scope",
            "state"
        ]
    );
    bench.login().await.unwrap();
    assert_eq!(bench.fake.metadata_fetches(), 1, "the metadata are kept");
}

// IDP-7
#[tokio::test]
async fn an_audience_and_the_login_form_are_asked_for_where_they_are_wanted() {
    let bench = Bench::with(|options| options.requested_audience = Some("api://one".to_owned())).await;
    let url = bench.oidc.authorization_url(&LoginStart { switch_account: true, ..start() }).await.unwrap();
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!((query["audience"].as_str(), query["prompt"].as_str()), ("api://one", "login"));
}

// IDP-8
#[tokio::test]
async fn without_discovery_all_endpoints_can_be_given() {
    let fake = FakeOidc::start().await;
    let client = Outbound::new(&OutboundSettings::default()).unwrap().trusted_client().clone();
    let oidc = provider(&fake, &client, PATIENCE, |options| {
        options.endpoints = OidcEndpoints {
            authorization: Some(endpoint(&fake, "/authorize")),
            token: Some(endpoint(&fake, "/token")),
            jwks: Some(endpoint(&fake, "/jwks")),
            userinfo: None,
            end_session: Some(endpoint(&fake, "/elsewhere?a=b")),
        };
    });
    let bench = Bench { fake, oidc, client };
    bench.login().await.unwrap();
    assert_eq!(bench.fake.metadata_fetches(), 0);
    let back = Url::parse("https://gateway.example.com/oauth/logout").unwrap();
    let logout = bench.oidc.logout_url("s-1", &back).await.unwrap();
    assert_eq!(
        logout.as_str(),
        format!(
            "{}/elsewhere?a=b&client_id=doorward%3Agateway&logout_hint=s-1&post_logout_redirect_uri=https%3A%2F%2Fgateway.example.com%2Foauth%2Flogout",
            bench.fake.base()
        )
    );
}

// IDP-8
#[rstest]
#[case("authorization_endpoint", "/authorize", |endpoints: &mut OidcEndpoints, url| endpoints.authorization = url)]
#[case("token_endpoint", "/token", |endpoints: &mut OidcEndpoints, url| endpoints.token = url)]
#[case("jwks_uri", "/jwks", |endpoints: &mut OidcEndpoints, url| endpoints.jwks = url)]
#[case("userinfo_endpoint", "/userinfo", |endpoints: &mut OidcEndpoints, url| endpoints.userinfo = url)]
#[case("end_session_endpoint", "/logout", |endpoints: &mut OidcEndpoints, url| endpoints.end_session = url)]
#[tokio::test]
async fn each_endpoint_can_be_overridden(
    #[case] name: &str,
    #[case] path: &str,
    #[case] set: fn(&mut OidcEndpoints, Option<Url>),
) {
    let fake = FakeOidc::start().await;
    let client = Outbound::new(&OutboundSettings::default()).unwrap().trusted_client().clone();
    let own = Some(endpoint(&fake, path));
    let oidc = provider(&fake, &client, PATIENCE, |options| set(&mut options.endpoints, own));
    let bench = Bench { fake, oidc, client };
    bench.behave(|how| {
        how.metadata = Some(json!({ name: "https://wrong.invalid/" }));
        how.claims = Some(json!({ "email": null }));
        how.userinfo = Some(json!({ "sub": "u-1", "email": "from@userinfo.example" }));
    });
    let login = bench.login().await.unwrap();
    assert_eq!(login.person.email.as_deref(), Some("from@userinfo.example"));
    let logout = bench.oidc.logout_url("s", &Url::parse(REDIRECT_URI).unwrap()).await.unwrap();
    assert_eq!(logout.path(), "/logout");
}

// IDP-8
#[tokio::test]
async fn metadata_where_rfc_8414_puts_them_serve_too() {
    let bench = Bench::new().await;
    bench.login_with(|how| how.only_rfc_8414 = true).await.unwrap();
}

// IDP-8
#[rstest]
#[case(json!({"issuer": "https://other.example"}), "other.example")]
#[case(json!({"issuer": null}), "issuer")]
#[case(json!({"token_endpoint": null}), "`token_endpoint`")]
#[case(json!({"token_endpoint": "http://login.example.com/token"}), "not https")]
#[tokio::test]
async fn metadata_of_another_issuer_or_without_an_endpoint_are_a_named_fault(
    #[case] metadata: Value,
    #[case] named: &str,
) {
    let bench = Bench::new().await;
    bench.behave(|how| how.metadata = Some(metadata));
    let error = bench.oidc.authorization_url(&start()).await.unwrap_err();
    assert!(matches!(&error, LoginError::SetUp(SetUpFault::Metadata(cause)) if cause.contains(named)), "{error}");
}

// IDP-8, IDP-10
#[tokio::test]
async fn a_provider_that_was_down_is_asked_again_by_the_next_login() {
    let bench = Bench::new().await;
    for (status, down) in [(503, true), (404, false)] {
        bench.behave(|how| how.metadata_status = Some(status));
        let error = bench.oidc.authorization_url(&start()).await.unwrap_err();
        assert_eq!(matches!(error, LoginError::Unavailable(_)), down, "{error}");
    }
    bench.login_with(|how| how.metadata_status = None).await.unwrap();
}

// IDP-4
#[tokio::test]
async fn the_callback_s_iss_is_checked_when_present_and_demanded_when_promised() {
    let bench = Bench::new().await;
    let issuer = bench.fake.issuer();
    bench.oidc.check_callback_issuer(None).await.unwrap();
    bench.oidc.check_callback_issuer(Some(&issuer)).await.unwrap();
    for other in ["https://other.example", &format!("{issuer}/"), ""] {
        untrusted(bench.oidc.check_callback_issuer(Some(other)).await);
    }
    let promising = Bench::new().await;
    promising.behave(|how| how.metadata = Some(json!({ "authorization_response_iss_parameter_supported": true })));
    untrusted(promising.oidc.check_callback_issuer(None).await);
    promising.oidc.check_callback_issuer(Some(&promising.fake.issuer())).await.unwrap();
}

// IDP-9
#[rstest]
#[case(None, json!(null), true)]
#[case(None, json!(["client_secret_post", "client_secret_basic"]), true)]
#[case(None, json!(["client_secret_post"]), false)]
#[case(Some(SecretWay::Basic), json!(["client_secret_post"]), true)]
#[case(Some(SecretWay::Post), json!(null), false)]
#[tokio::test]
async fn the_secret_is_sent_in_the_way_that_is_configured_or_offered(
    #[case] way: Option<SecretWay>,
    #[case] offered: Value,
    #[case] basic: bool,
) {
    let bench =
        Bench::with(|options| options.credential = OidcCredential::Secret { secret: CLIENT_SECRET.into(), way }).await;
    bench.behave(|how| how.metadata = Some(json!({ "token_endpoint_auth_methods_supported": offered })));
    bench.login().await.unwrap();
    let (headers, form) = bench.fake.token_requests().remove(0);
    if basic {
        // RFC 6749 §2.3.1: both halves are form-encoded first.
        let sent = base64("doorward%3Agateway:a%20secret%2Fwith%2Bsigns%25");
        assert_eq!(headers["authorization"], format!("Basic {sent}"));
        assert!(!form.contains_key("client_secret"));
    } else {
        assert!(!headers.contains_key("authorization"));
        assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), (CLIENT_ID, CLIENT_SECRET));
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

// IDP-9
#[tokio::test]
async fn a_private_key_signs_an_assertion_for_the_token_endpoint() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = AssertionKey::from_pem(&pair.serialize_pem()).unwrap();
    let bench = Bench::with(|options| {
        options.credential = OidcCredential::PrivateKey(ClientKey { key, id: Some("k1".to_owned()) });
    })
    .await;
    bench.login().await.unwrap();
    bench.login().await.unwrap();
    let requests = bench.fake.token_requests();
    let form = &requests[0].1;
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(!requests[0].0.contains_key("authorization") && !form.contains_key("client_secret"));
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[format!("{}/token", bench.fake.base())]);
    validation.set_issuer(&[CLIENT_ID]);
    let public = DecodingKey::from_ec_der(pair.public_key_raw());
    let read = |form: &HashMap<String, String>| {
        jsonwebtoken::decode::<Value>(&form["client_assertion"], &public, &validation).unwrap()
    };
    let (one, two) = (read(form), read(&requests[1].1));
    assert_eq!(one.header.kid.as_deref(), Some("k1"));
    assert_eq!(one.claims["sub"], CLIENT_ID);
    assert_eq!(one.claims["exp"].as_i64().unwrap() - one.claims["iat"].as_i64().unwrap(), 60);
    assert_ne!(one.claims["jti"], two.claims["jti"]);
}

// IDP-6
#[rstest]
#[case(400, json!({"error": "invalid_grant", "error_description": "canary-77"}), LoginError::CodeRejected)]
#[case(401, json!({"error": "invalid_client"}), LoginError::SetUp(SetUpFault::WrongSecret))]
#[case(401, json!("canary-77"), LoginError::SetUp(SetUpFault::WrongSecret))]
#[case(400, json!({"error": "unauthorized_client"}), LoginError::SetUp(SetUpFault::UnknownClient))]
#[case(400, json!({"error": "interaction_required"}), LoginError::Interactive(InteractiveStep::Other))]
#[case(403, json!({"error": "access_denied"}), LoginError::AccessDenied)]
#[case(429, json!({}), LoginError::Unavailable("HTTP 429".into()))]
#[case(503, json!("canary-77"), LoginError::Unavailable("HTTP 503".into()))]
#[case(400, json!({"error": "invalid_target"}), LoginError::Untrusted("HTTP 400 from the token endpoint, invalid_target".into()))]
#[case(400, json!({"error": "canary-77 <b>"}), LoginError::Untrusted("HTTP 400 from the token endpoint, an unreadable error code".into()))]
#[case(200, json!({"access_token": "canary-77"}), LoginError::Untrusted("the token answer holds no ID token".into()))]
#[tokio::test]
async fn what_the_token_endpoint_says_is_understood_and_its_text_dropped(
    #[case] status: u16,
    #[case] body: Value,
    #[case] expected: LoginError,
) {
    let bench = Bench::new().await;
    let error = bench.login_with(|how| how.fail = Some((status, body.to_string()))).await.unwrap_err();
    assert_eq!(error, expected);
    assert!(!format!("{error} {error:?}").contains("canary-77"));
}

// IDP-10
#[tokio::test]
async fn a_slow_token_endpoint_is_unavailable_in_time() {
    let bench = Bench::new().await;
    let code = bench.authorize().await["code"].clone();
    bench.behave(|how| how.delay = Duration::from_hours(1));
    let hurried = provider(&bench.fake, &bench.client, Duration::from_secs(2), |_| {});
    let error = hurried.exchange(&come_back(&code)).await.unwrap_err();
    assert_eq!(error, LoginError::Unavailable("no answer in time".into()));
}
