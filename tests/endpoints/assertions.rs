//! Identity assertions of a trusted provider at the token endpoint (EXT-2): what makes one good, and what it gives.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use doorward::crypto::{base64url, base64url_decode};
use doorward::domain::random::random_id;
use doorward::domain::{Clock as _, SubjectId, SystemRandom};

use crate::fake_asserting_idp::{FakeAssertingIdp, ID_TOKEN, IDP_CLIENT, Key};
use crate::postgres::Postgres;
use crate::support::browser::client as http;
use crate::support::document_host::{DOCUMENT_URL, HOST, Host, Reply};
use crate::support::flow::{REDIRECT, TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const AGENT: &str = "agent";
const SECRET: &str = "the agent's secret: 0123456789";
const INTROSPECTOR: (&str, &str) = ("files", "the secret of files");

/// A gateway that trusts a provider, and the provider.
pub struct World {
    pub idp: FakeAssertingIdp,
    pub gateway: TestGateway,
}

/// What a test changes.
#[derive(Default)]
pub struct SetUp {
    /// Members of the trusted issuer.
    pub issuer: Value,
    /// Further trusted issuers.
    pub more_issuers: Vec<Value>,
    /// Members of `gateway`.
    pub gateway: Value,
    /// Options of the access policy.
    pub access: Option<Value>,
    pub options: Options,
}

pub fn merge(into: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            into[name] = value.clone();
        }
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(SetUp::default()).await
    }

    pub async fn with(set_up: SetUp) -> Self {
        let idp = FakeAssertingIdp::start(AGENT).await;
        let gateway = TestGateway::start_with(options_of(&idp, set_up)).await;
        Self { idp, gateway }
    }

    /// The claims of an assertion with nothing wrong, which the agent may bring for `/mcp/one`.
    pub fn claims(&self) -> Value {
        let now = self.gateway.clock.now().0;
        json!({
            "iss": self.idp.issuer(), "sub": "u-1", "aud": self.gateway.origin, "client_id": AGENT,
            "jti": random_id("", &SystemRandom), "iat": now, "exp": now + 300,
            "resource": self.gateway.resource("one"), "scope": "mcp:tools",
            "email": "ada@example.com", "email_verified": true, "roles": ["engineer"], "org_id": "org_1",
        })
    }

    /// An assertion with these claims changed; null takes one out.
    pub fn assertion(&self, changes: &Value) -> String {
        let mut claims = self.claims();
        merge(&mut claims, changes);
        self.idp.assertion(&claims)
    }

    pub fn agent(&self) -> TestClient<'_> {
        TestClient {
            gateway: &self.gateway,
            http: http(),
            id: AGENT.to_owned(),
            redirect_uri: REDIRECT.to_owned(),
            secret: Some(SECRET.to_owned()),
        }
    }

    pub async fn bring(&self, assertion: &str) -> Response {
        bring(&self.agent(), assertion, &[]).await
    }

    /// The token answer for a good assertion with these claims changed.
    pub async fn tokens(&self, changes: &Value) -> Value {
        let response = self.bring(&self.assertion(changes)).await;
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    pub async fn call(&self, tokens: &Value) -> StatusCode {
        self.agent().call("one", tokens["access_token"].as_str().unwrap()).await.status()
    }
}

fn options_of(idp: &FakeAssertingIdp, set_up: SetUp) -> Options {
    let mut issuer = json!({ "issuer": idp.issuer() });
    merge(&mut issuer, &set_up.issuer);
    let issuers = [vec![issuer], set_up.more_issuers].concat();
    let mut gateway = json!({
        "clients": [{
            "clientId": AGENT, "clientSecret": SECRET, "redirectUris": [REDIRECT],
            "grantTypes": ["authorization_code", "refresh_token", JWT_BEARER],
        }],
        "resourceServers": [{ "id": INTROSPECTOR.0, "secret": INTROSPECTOR.1 }],
    });
    merge(&mut gateway, &set_up.gateway);
    let mut policies = vec![json!({
        "name": "login", "policyType": "mcp-workos-oauth-inbound",
        "handler": { "options": {
            "clientId": "$env(WORKOS_CLIENT_ID)", "clientSecret": "$env(WORKOS_CLIENT_SECRET)", "gateway": gateway,
            "idJag": { "enabled": true, "trustedIssuers": issuers },
        } },
    })];
    let access = set_up.access.map(|access| {
        policies.push(json!({
            "name": "access", "policyType": "mcp-access-inbound", "handler": { "options": access },
        }));
        ""
    });
    Options { policies: Some(json!({ "policies": policies }).to_string()), access, ..set_up.options }
}

/// Presents an assertion, with further parameters.
pub async fn bring(client: &TestClient<'_>, assertion: &str, more: &[(&str, &str)]) -> Response {
    let fields = [&[("grant_type", JWT_BEARER), ("assertion", assertion)], more].concat();
    client.token(&fields).await
}

pub fn claims_of(tokens: &Value) -> Value {
    let payload = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url_decode(payload).unwrap()).unwrap()
}

async fn described(response: Response, status: u16, code: &str) -> String {
    oauth_error(response, status, code).await["error_description"].as_str().unwrap().to_owned()
}

// EXT-2, CODE-11, CODE-12, CODE-13
#[tokio::test]
async fn an_assertion_of_a_trusted_provider_gives_a_token_that_opens_its_server_and_no_other() {
    let world = World::new().await;
    let auth_time = world.gateway.clock.now().0 - 500;
    let tokens = world.tokens(&json!({ "auth_time": auth_time })).await;
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["scope"], "mcp:tools");
    assert_eq!(tokens["resource"], world.gateway.resource("one"));
    assert!((890..=900).contains(&tokens["expires_in"].as_i64().unwrap()), "{tokens}");
    assert!(tokens.get("refresh_token").is_none(), "{tokens}");
    let claims = claims_of(&tokens);
    assert_eq!(
        [&claims["iss"], &claims["aud"], &claims["client_id"]],
        [&json!(world.gateway.origin), &json!(world.gateway.resource("one")), &json!(AGENT)]
    );
    assert!(claims["sub"].as_str().unwrap().starts_with("usr_"));
    assert_eq!(world.call(&tokens).await, StatusCode::BAD_GATEWAY, "let in, and there is no server behind this route");
    let elsewhere = world.agent().call("two", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(elsewhere.status(), StatusCode::UNAUTHORIZED);
    let grant = doorward::domain::GrantId::new(claims["sid"].as_str().unwrap());
    let grant = world.gateway.assembly.store.grant(&grant).await;
    assert_eq!(grant.unwrap().unwrap().authenticated_at.0, auth_time);
}

/// One claim that is wrong or missing, and what the answer says of it.
fn wrong_claims() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"iss": "https://other.example"}), "no trusted identity provider"),
        (json!({"iss": "SLASH"}), "no trusted identity provider"),
        (json!({"iss": null}), "no trusted identity provider"),
        (json!({"iss": ["https://other.example"]}), "no trusted identity provider"),
        (json!({"aud": "https://other.example"}), "aud"),
        (json!({"aud": null}), "aud"),
        (json!({"aud": ["ORIGIN", "https://other.example"]}), "aud"),
        (json!({"aud": []}), "aud"),
        (json!({"aud": "ORIGIN/oauth/token"}), "aud"),
        (json!({"aud": "ORIGIN/mcp/two"}), "aud"),
        (json!({"aud": "ORIGIN//"}), "aud"),
        (json!({"client_id": "desk"}), "another client"),
        (json!({"client_id": null}), "client_id"),
        (json!({"client_id": ["agent"]}), "client_id"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": "u-1 "}), "sub"),
        (json!({"sub": "u\u{0}1"}), "sub"),
        (json!({"sub": 1}), "sub"),
        (json!({"sub": "s".repeat(256)}), "sub"),
        (json!({"jti": null}), "jti"),
        (json!({"jti": ""}), "jti"),
        (json!({"jti": "j".repeat(513)}), "jti"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "NOW-60"}), "expired"),
        (json!({"exp": "2100-01-01"}), "exp"),
        (json!({"iat": null}), "iat"),
        (json!({"iat": "NOW+70", "exp": "NOW+100"}), "not good yet"),
        (json!({"nbf": "NOW+70"}), "not good yet"),
        (json!({"nbf": "soon"}), "not good yet"),
        (json!({"exp": "NOW+3610"}), "longer than an hour"),
        (json!({"iat": "NOW-3600"}), "longer than an hour"),
        (json!({"exp": i64::MAX, "iat": i64::MIN}), "longer than an hour"),
        (json!({"resource": "https://other.example/mcp/one"}), "resource"),
        (json!({"resource": "ORIGIN/mcp/three"}), "resource"),
        (json!({"resource": "ORIGIN"}), "resource"),
        (json!({"resource": null}), "resource"),
        (json!({"resource": []}), "resource"),
        (json!({"resource": ["ORIGIN/mcp/one", 7]}), "resource"),
        (json!({"scope": "files:write"}), "scope"),
        (json!({"scope": ["mcp:tools"]}), "scope"),
        (json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), "cnf"),
        (json!({"authorization_details": [{"type": "read"}]}), "authorization_details"),
        (json!({"act": {"sub": "eve"}}), "act"),
        (json!({"tenant": "acme"}), "tenant"),
    ]
}

// EXT-2, SEC-9
#[tokio::test]
async fn an_assertion_with_one_wrong_claim_is_an_invalid_grant() {
    let world = World::new().await;
    world.gateway.clock.stop();
    let now = world.gateway.clock.now().0;
    let fill = |value: &mut Value| {
        let Some(text) = value.as_str().map(|text| text.replace("ORIGIN", &world.gateway.origin)) else { return };
        *value = match text.strip_prefix("NOW").map(str::parse::<i64>) {
            Some(offset) => json!(now + offset.unwrap()),
            None if text == "SLASH" => json!(format!("{}/", world.idp.issuer())),
            None => json!(text),
        };
    };
    for (mut changes, said) in wrong_claims() {
        for value in changes.as_object_mut().unwrap().values_mut() {
            fill(value);
            value.as_array_mut().into_iter().flatten().for_each(fill);
        }
        let response = world.bring(&world.assertion(&changes)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{changes}");
        let description = described(response, 400, "invalid_grant").await;
        assert!(description.contains(said), "{changes}: {description}");
    }
    // With every claim as it should be, it counts.
    world.tokens(&json!({})).await;
}

// EXT-2
#[tokio::test]
async fn what_the_draft_leaves_open_is_taken() {
    let world = World::new().await;
    let [origin, one] = [world.gateway.origin.clone(), world.gateway.resource("one")];
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
    let now = world.gateway.clock.now().0 as f64;
    for changes in [
        json!({ "aud": [origin] }),
        // A URL's own spelling of the issuer.
        json!({ "aud": format!("{origin}/") }),
        json!({ "resource": ["https://other.example/", one] }),
        json!({ "resource": format!("{one}/") }),
        json!({ "iat": now - 0.5, "exp": now + 30.5 }),
        json!({ "scope": "openid files:read mcp:tools" }),
        json!({ "scope": null }),
        json!({ "authorization_details": [] }),
    ] {
        let tokens = world.tokens(&changes).await;
        assert_eq!(tokens["scope"], "mcp:tools");
        assert_eq!(claims_of(&tokens)["iss"], origin);
    }
}

// EXT-2, DISC-7, DISC-13
#[tokio::test]
async fn a_route_s_own_issuer_may_be_the_audience_and_is_then_the_token_s() {
    let world = World::new().await;
    let tokens = world.tokens(&json!({ "aud": world.gateway.resource("one") })).await;
    assert_eq!(claims_of(&tokens)["iss"], world.gateway.resource("one"));
    assert_eq!(world.call(&tokens).await, StatusCode::BAD_GATEWAY);
}

// EXT-2, DISC-13
#[tokio::test]
async fn an_assertion_for_one_public_origin_is_not_good_at_another() {
    let world = World::new().await;
    let other = format!("http://127.0.0.1:{}", world.gateway.address.port());
    let for_other = json!({ "aud": other, "resource": format!("{other}/mcp/one") });
    let mixed = [for_other.clone(), json!({ "aud": other }), json!({ "resource": format!("{other}/mcp/one") })];
    for changes in mixed {
        oauth_error(world.bring(&world.assertion(&changes)).await, 400, "invalid_grant").await;
    }
    let fields = [
        ("grant_type", JWT_BEARER),
        ("assertion", &world.assertion(&for_other)),
        ("client_id", AGENT),
        ("client_secret", SECRET),
    ];
    let there = post_form(&http(), &format!("{other}/oauth/token"), &fields).await;
    assert_eq!(there.status(), StatusCode::OK);
}

// EXT-2, SEC-9
#[tokio::test]
async fn only_a_key_of_the_issuer_signs_and_only_an_id_jag_counts() {
    let second = FakeAssertingIdp::start(AGENT).await;
    let world =
        World::with(SetUp { more_issuers: vec![json!({ "issuer": second.issuer() })], ..SetUp::default() }).await;
    let claims = world.claims();
    let own = world.idp.header();
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = own.clone();
        change(&mut header);
        header
    };
    let (foreign, unproven) = (Key::generate(), "no trusted identity provider");
    let forged = with(&|header| header.kid = Some(own.kid.clone().unwrap()));
    let symmetric = with(&|header| header.alg = Algorithm::HS256);
    let public = serde_json::to_vec(&world.idp.jwk()).unwrap();
    let by_secret = jsonwebtoken::encode(&symmetric, &claims, &EncodingKey::from_secret(&public)).unwrap();
    let unsigned = format!(
        "{}.{}.",
        base64url(json!({ "alg": "none", "typ": "oauth-id-jag+jwt" }).to_string().as_bytes()),
        base64url(claims.to_string().as_bytes())
    );
    let mut brought = serde_json::to_value(with(&|header| header.kid = None)).unwrap();
    brought["jwk"] = foreign.jwk();
    let brought: Header = serde_json::from_value(brought).unwrap();
    let cases = [
        ("a foreign key under the issuer's id", foreign.sign(&forged, &claims), unproven),
        ("a foreign key under its own id", foreign.sign(&foreign.header(), &claims), unproven),
        ("a foreign key that the header brings", foreign.sign(&brought, &claims), unproven),
        ("another trusted issuer", second.sign(&second.header(), &claims), unproven),
        ("the public key as a secret", by_secret, unproven),
        ("no signature", unsigned, unproven),
        ("not a token", "nothing".to_owned(), unproven),
        ("an ID token", world.idp.sign(&with(&|header| header.typ = Some("JWT".to_owned())), &claims), "typ"),
        ("an access token", world.idp.sign(&with(&|header| header.typ = Some("at+jwt".to_owned())), &claims), "typ"),
        ("no type", world.idp.sign(&with(&|header| header.typ = None), &claims), "typ"),
    ];
    for (what, assertion, said) in cases {
        let description = described(world.bring(&assertion).await, 400, "invalid_grant").await;
        assert!(description.contains(said), "{what}: {description}");
    }
    let media_type = with(&|header| header.typ = Some("application/OAuth-ID-JAG+jwt".to_owned()));
    assert_eq!(world.bring(&world.idp.sign(&media_type, &claims)).await.status(), StatusCode::OK);
}

// EXT-2, SEC-9: our own tokens, and an assertion, in each other's place.
#[tokio::test]
async fn tokens_and_assertions_cannot_take_each_other_s_place() {
    let world = World::new().await;
    let tokens = world.tokens(&json!({})).await;
    let access_token = tokens["access_token"].as_str().unwrap();
    oauth_error(world.bring(access_token).await, 400, "invalid_grant").await;
    let assertion = world.assertion(&json!({}));
    assert_eq!(world.agent().call("one", &assertion).await.status(), StatusCode::UNAUTHORIZED);
    let fields = [
        ("grant_type", JWT_BEARER),
        ("assertion", assertion.as_str()),
        ("client_assertion", assertion.as_str()),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    ];
    oauth_error(post_form(&http(), &world.gateway.url("/oauth/token"), &fields).await, 401, "invalid_client").await;
    let fields = [("grant_type", "authorization_code"), ("code", assertion.as_str()), ("code_verifier", "v")];
    oauth_error(world.agent().token(&fields).await, 400, "invalid_grant").await;
}

// EXT-2: skew is granted to the second, and not one more.
#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let world = World::new().await;
    world.gateway.clock.stop();
    let now = world.gateway.clock.now().0;
    let at = |iat: i64, exp: i64| world.assertion(&json!({ "iat": now + iat, "exp": now + exp }));
    for (iat, exp) in [(60, 300), (-3000, -59), (-10, 3590)] {
        assert_eq!(world.bring(&at(iat, exp)).await.status(), StatusCode::OK, "{iat} {exp}");
    }
    for (iat, exp) in [(61, 300), (-3000, -60), (-10, 3591)] {
        oauth_error(world.bring(&at(iat, exp)).await, 400, "invalid_grant").await;
    }
}

// EXT-2, CODE-11
#[tokio::test]
async fn a_token_outlives_its_assertion_by_a_quarter_of_an_hour_at_most() {
    let set_up = SetUp { gateway: json!({ "accessTokenTtlSeconds": 7200 }), ..SetUp::default() };
    let world = World::with(set_up).await;
    world.gateway.clock.stop();
    let now = world.gateway.clock.now().0;
    assert_eq!(world.tokens(&json!({ "exp": now + 300 })).await["expires_in"], 1200);
    let tokens = world.tokens(&json!({ "exp": now - 30, "iat": now - 100 })).await;
    assert_eq!(tokens["expires_in"], 900);
    let grant = doorward::domain::GrantId::new(claims_of(&tokens)["sid"].as_str().unwrap());
    let grant = world.gateway.assembly.store.grant(&grant).await.unwrap().unwrap();
    assert_eq!(grant.expires_at.0, now + 900 + 3600, "calls under way may end");
    world.gateway.clock.advance(900);
    assert_eq!(world.call(&tokens).await, StatusCode::UNAUTHORIZED);
}

// EXT-2, CODE-4
#[tokio::test]
async fn an_assertion_counts_once_however_many_bring_it_at_once() {
    let world = World::new().await;
    let assertion = world.assertion(&json!({}));
    let agent = world.agent();
    let answers = futures_util::future::join_all((0..8).map(|_| bring(&agent, &assertion, &[]))).await;
    let mut refused = 0;
    for answer in answers {
        if answer.status() != StatusCode::OK {
            let description = described(answer, 400, "invalid_grant").await;
            assert!(description.contains("used before"), "{description}");
            refused += 1;
        }
    }
    assert_eq!(refused, 7);
    world.gateway.clock.advance(200);
    oauth_error(world.bring(&assertion).await, 400, "invalid_grant").await;
    // Until it has expired for every clock, its name is kept.
    world.gateway.clock.advance(159);
    let store = &world.gateway.assembly.store;
    store.purge(world.gateway.clock.now(), std::time::Duration::from_secs(86400), 100).await.unwrap();
    oauth_error(world.bring(&assertion).await, 400, "invalid_grant").await;
}

// EXT-2: names are the issuer's own, and no client can use up another's.
#[tokio::test]
async fn two_issuers_may_use_the_same_name_for_an_assertion() {
    let second = FakeAssertingIdp::start(AGENT).await;
    let world =
        World::with(SetUp { more_issuers: vec![json!({ "issuer": second.issuer() })], ..SetUp::default() }).await;
    let mut claims = world.claims();
    claims["jti"] = json!("1");
    assert_eq!(world.bring(&world.idp.assertion(&claims)).await.status(), StatusCode::OK);
    claims["iss"] = json!(second.issuer());
    assert_eq!(world.bring(&second.assertion(&claims)).await.status(), StatusCode::OK);
    oauth_error(world.bring(&second.assertion(&claims)).await, 400, "invalid_grant").await;
}

// EXT-2, STORE-10
#[tokio::test]
async fn an_assertion_that_one_replica_took_is_refused_by_the_others() {
    let idp = FakeAssertingIdp::start(AGENT).await;
    let database_url = Postgres::shared().unwrap().new_database();
    let options = Options { database_url: Some(database_url.clone()), ..Options::default() };
    let first = TestGateway::start_with(options_of(&idp, SetUp { options, ..SetUp::default() })).await;
    let options =
        Options { database_url: Some(database_url), public_urls: vec![first.origin.clone()], ..Options::default() };
    let second = TestGateway::start_with(options_of(&idp, SetUp { options, ..SetUp::default() })).await;
    let world = World { idp, gateway: first };
    let host = world.gateway.origin.strip_prefix("http://").unwrap().to_owned();
    for _ in 0..4 {
        let assertion = world.assertion(&json!({}));
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("grant_type", JWT_BEARER), ("assertion", &assertion)])
            .extend_pairs([("client_id", AGENT), ("client_secret", SECRET)])
            .finish();
        let at = |address: std::net::SocketAddr| {
            http()
                .post(format!("http://{address}/oauth/token"))
                .header("host", &host)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone())
                .send()
        };
        let (one, other) = tokio::join!(at(world.gateway.address), at(second.address));
        let mut statuses = [one.unwrap().status().as_u16(), other.unwrap().status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400]);
    }
}

// EXT-2, CODE-10
#[tokio::test]
async fn the_request_may_name_the_resource_and_not_change_it() {
    let world = World::new().await;
    let agent = world.agent();
    let [one, two] = ["one", "two"].map(|slug| world.gateway.resource(slug));
    let elsewhere = bring(&agent, &world.assertion(&json!({})), &[("resource", &two)]).await;
    oauth_error(elsewhere, 400, "invalid_target").await;
    let both = world.assertion(&json!({ "resource": [one, two] }));
    oauth_error(bring(&agent, &both, &[]).await, 400, "invalid_target").await;
    let chosen: Value = bring(&agent, &both, &[("resource", &two)]).await.json().await.unwrap();
    assert_eq!((&chosen["resource"], &claims_of(&chosen)["aud"]), (&json!(two), &json!(two)));
    let same = bring(&agent, &world.assertion(&json!({})), &[("resource", &one)]).await;
    assert_eq!(same.status(), StatusCode::OK);
}

// EXT-2, SCOPE-3, SCOPE-5
#[tokio::test]
async fn the_scope_is_what_issuer_client_and_request_agree_on() {
    let scopes = json!({ "mcp:tools": [], "files:read": [], "files:write": ["files:read"], "mail": [] });
    let clients = json!([{
        "clientId": AGENT, "clientSecret": SECRET, "redirectUris": [REDIRECT], "grantTypes": ["authorization_code", JWT_BEARER],
        "scopes": ["mcp:tools", "files:write"],
    }]);
    let set_up = SetUp { gateway: json!({ "scopes": scopes, "clients": clients }), ..SetUp::default() };
    let world = World::with(set_up).await;
    let limited = json!({ "clients": [{
        "clientId": AGENT, "clientSecret": SECRET, "grantTypes": [JWT_BEARER], "scopes": ["files:write"],
    }], "scopes": scopes });
    let narrow = World::with(SetUp { gateway: limited, ..SetUp::default() }).await;
    let nothing =
        described(narrow.bring(&narrow.assertion(&json!({ "scope": null }))).await, 400, "invalid_grant").await;
    assert!(nothing.contains("scope"), "what else the client may have is not what the issuer grants: {nothing}");
    let granted = async |claimed: Value, asked: &str| {
        let more = [("scope", asked)];
        let more = if asked.is_empty() { &[][..] } else { &more[..] };
        let response = bring(&world.agent(), &world.assertion(&json!({ "scope": claimed })), more).await;
        let body: Value = response.json().await.unwrap();
        body["scope"].as_str().or(body["error"].as_str()).unwrap().to_owned()
    };
    assert_eq!(granted(json!("mcp:tools files:write mail"), "").await, "files:write mcp:tools");
    assert_eq!(granted(json!("mcp:tools files:write"), "files:read").await, "files:read");
    assert_eq!(granted(json!("mcp:tools"), "mcp:tools files:write").await, "mcp:tools");
    assert_eq!(granted(json!("mcp:tools"), "files:write").await, "invalid_scope");
    assert_eq!(granted(json!("mail"), "").await, "invalid_grant", "the client may not have it");
    assert_eq!(granted(Value::Null, "").await, "mcp:tools", "no word of the issuer is no licence");
    assert_eq!(granted(Value::Null, "files:write").await, "invalid_scope");
}

// EXT-2, CODE-14
#[tokio::test]
async fn a_client_without_the_grant_type_or_without_credentials_brings_none() {
    let clients = json!([
        { "clientId": "desk", "clientSecret": SECRET, "redirectUris": [REDIRECT] },
        { "clientId": "robot", "clientSecret": SECRET, "grantTypes": [JWT_BEARER] },
        { "clientId": "tied", "clientSecret": SECRET, "grantTypes": [JWT_BEARER], "routes": ["one"] },
    ]);
    let world = World::with(SetUp { gateway: json!({ "clients": clients }), ..SetUp::default() }).await;
    let client = |id: &str, secret: Option<&str>| TestClient {
        id: id.to_owned(),
        secret: secret.map(str::to_owned),
        ..world.agent()
    };
    let assertion = |id: &str| world.assertion(&json!({ "client_id": id }));
    let desk = bring(&client("desk", Some(SECRET)), &assertion("desk"), &[]).await;
    oauth_error(desk, 400, "unauthorized_client").await;
    let robot = client("robot", Some(SECRET));
    assert_eq!(bring(&robot, &assertion("robot"), &[]).await.status(), StatusCode::OK, "it has no redirect URI");
    for secret in [None, Some("a guess")] {
        oauth_error(bring(&client("robot", secret), &assertion("robot"), &[]).await, 401, "invalid_client").await;
    }
    let two = world.gateway.resource("two");
    let elsewhere = world.assertion(&json!({ "client_id": "tied", "resource": two }));
    oauth_error(bring(&client("tied", Some(SECRET)), &elsewhere, &[]).await, 400, "invalid_target").await;
    assert_eq!(bring(&client("tied", Some(SECRET)), &assertion("tied"), &[]).await.status(), StatusCode::OK);
    // A public client that registers the grant type does not get it.
    let register = async |method: &str| {
        let body = json!({
            "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", JWT_BEARER],
        });
        let response = http().post(world.gateway.url("/oauth/register")).json(&body).send().await.unwrap();
        response.json::<Value>().await.unwrap()
    };
    let public = register("none").await;
    assert_eq!(public["grant_types"], json!(["authorization_code"]));
    let id = public["client_id"].as_str().unwrap();
    oauth_error(bring(&client(id, None), &assertion(id), &[]).await, 400, "unauthorized_client").await;
    let confidential = register("client_secret_post").await;
    assert_eq!(confidential["grant_types"], json!(["authorization_code", JWT_BEARER]));
    let id = confidential["client_id"].as_str().unwrap();
    let registered = client(id, confidential["client_secret"].as_str());
    assert_eq!(bring(&registered, &assertion(id), &[]).await.status(), StatusCode::OK);
}

/// A world in which a client's metadata document, with these members, is to be had, and the host that has it.
async fn with_document(members: &Value) -> (World, Host) {
    let mut document = json!({
        "client_id": DOCUMENT_URL, "client_name": "Agent", "redirect_uris": ["https://client.example/callback"],
        "grant_types": ["authorization_code", JWT_BEARER],
    });
    merge(&mut document, members);
    let host = Host::start(Reply::json(document.to_string()));
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &host.root).unwrap();
    let (address, path) = (host.address, ca.path().to_owned());
    let options = Options {
        settings: Box::new(move |settings| {
            settings.outbound_ca_files = vec![path];
            settings.outbound_resolve = vec![(HOST.to_owned(), 443, address)];
            settings.cimd_allow = vec![(HOST.to_owned(), None)];
        }),
        ..Options::default()
    };
    let issuer = json!({ "expectedClientIds": [DOCUMENT_URL] });
    (World::with(SetUp { issuer, options, ..SetUp::default() }).await, host)
}

// EXT-2: whoever says only who they are is asked through a browser.
#[tokio::test]
async fn a_public_client_known_by_its_document_brings_none() {
    let (world, _host) = with_document(&json!({ "token_endpoint_auth_method": "none" })).await;
    let client = TestClient { id: DOCUMENT_URL.to_owned(), secret: None, ..world.agent() };
    let assertion = world.assertion(&json!({ "client_id": DOCUMENT_URL }));
    oauth_error(bring(&client, &assertion, &[]).await, 400, "unauthorized_client").await;
}

// EXT-2, CIMD-5
#[tokio::test]
async fn a_client_known_by_its_document_brings_one_with_its_own_key() {
    let key = Key::generate();
    let proving = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] } });
    let (world, _host) = with_document(&proving).await;
    let now = world.gateway.clock.now().0;
    let mut header = key.header();
    header.typ = None;
    let proof = json!({
        "iss": DOCUMENT_URL, "sub": DOCUMENT_URL, "aud": world.gateway.origin, "exp": now + 60, "jti": "proof-1",
    });
    let proof = key.sign(&header, &proof);
    let assertion = world.assertion(&json!({ "client_id": DOCUMENT_URL }));
    let fields = [
        ("grant_type", JWT_BEARER),
        ("assertion", assertion.as_str()),
        ("client_assertion", proof.as_str()),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    ];
    let response = post_form(&http(), &world.gateway.url("/oauth/token"), &fields).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
    // The same issuer is not trusted to speak for another client.
    let description = described(world.bring(&world.assertion(&json!({}))).await, 400, "invalid_grant").await;
    assert!(description.contains("not trusted to speak for this client"), "{description}");
}

// EXT-2, CODE-14, DISC-18
#[tokio::test]
async fn where_nobody_is_trusted_the_grant_type_does_not_exist() {
    let gateway = TestGateway::start().await;
    let body = json!({
        "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code", JWT_BEARER],
    });
    let response = http().post(gateway.url("/oauth/register")).json(&body).send().await.unwrap();
    let registered: Value = response.json().await.unwrap();
    assert_eq!(registered["grant_types"], json!(["authorization_code"]));
    let client = TestClient::register_with(&gateway, &body).await;
    oauth_error(bring(&client, "a.b.c", &[]).await, 400, "unsupported_grant_type").await;
}

// EXT-2, DISC-14, DISC-18
#[tokio::test]
async fn metadata_name_grant_type_and_profile_and_never_who_is_trusted() {
    let world = World::new().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp/one",
        "/.well-known/openid-configuration",
        "/mcp/one/.well-known/openid-configuration",
    ] {
        let text = http().get(world.gateway.url(path)).send().await.unwrap().text().await.unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert!(document["grant_types_supported"].as_array().unwrap().contains(&json!(JWT_BEARER)), "{path}");
        let profiles = json!(["urn:ietf:params:oauth:grant-profile:id-jag"]);
        assert_eq!(document["authorization_grant_profiles_supported"], profiles, "{path}");
        assert!(!text.contains(&world.idp.issuer()), "{path}");
    }
}

// EXT-2, IDP-5
#[tokio::test]
async fn keys_are_discovered_once_kept_and_fetched_again_for_an_unknown_one() {
    let world = World::new().await;
    let agent = world.agent();
    let assertions: Vec<String> = (0..10).map(|_| world.assertion(&json!({}))).collect();
    let answers =
        futures_util::future::join_all(assertions.iter().map(|assertion| bring(&agent, assertion, &[]))).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
    assert_eq!((world.idp.metadata_fetches(), world.idp.jwks_fetches()), (1, 1));
    world.idp.rotate_keys();
    world.tokens(&json!({})).await;
    assert_eq!((world.idp.metadata_fetches(), world.idp.jwks_fetches()), (1, 2));
    for _ in 0..5 {
        let foreign = Key::generate();
        let refused = world.bring(&foreign.sign(&foreign.header(), &world.claims())).await;
        oauth_error(refused, 400, "invalid_grant").await;
    }
    assert_eq!(world.idp.jwks_fetches(), 2, "strangers' key ids do not make it fetch");
}

// EXT-2, CODE-2
#[rstest]
#[tokio::test]
async fn a_provider_that_is_away_costs_a_try_and_not_the_assertion(#[values(false, true)] configured: bool) {
    let mut world = World::new().await;
    if configured {
        let issuer = json!({ "jwksUrl": world.idp.url("/jwks") });
        world.gateway = TestGateway::start_with(options_of(&world.idp, SetUp { issuer, ..SetUp::default() })).await;
    }
    world.idp.set_jwks_down(true);
    world.idp.set_metadata_down(true);
    let assertion = world.assertion(&json!({}));
    let response = world.bring(&assertion).await;
    assert!(response.headers().contains_key("retry-after"));
    oauth_error(response, 503, "temporarily_unavailable").await;
    world.idp.set_jwks_down(false);
    world.idp.set_metadata_down(configured);
    assert_eq!(world.bring(&assertion).await.status(), StatusCode::OK);
    assert_eq!(world.idp.metadata_fetches(), if configured { 0 } else { 2 });
}

// EXT-2, CODE-2, REFR-10
#[tokio::test]
async fn a_store_that_is_away_spends_no_assertion() {
    let mut world = World::new().await;
    // What is fetched is fetched before.
    world.tokens(&json!({})).await;
    let assertion = world.assertion(&json!({}));
    world.gateway.assembly.store.close().await;
    let response = world.bring(&assertion).await;
    assert!(response.headers().contains_key("retry-after"));
    oauth_error(response, 503, "temporarily_unavailable").await;
    world.gateway = world.gateway.restarted().await;
    assert_eq!(world.bring(&assertion).await.status(), StatusCode::OK);
    oauth_error(world.bring(&assertion).await, 400, "invalid_grant").await;
}

// EXT-2, LIM-1, LIM-3
#[tokio::test]
async fn assertions_that_are_refused_are_limited_and_good_ones_are_not() {
    let limits = json!({ "limits": { "failedTokenRequestsPerMinute": 3, "grantTokenRequestsPerMinute": 6 } });
    let world = World::with(SetUp { gateway: limits, ..SetUp::default() }).await;
    world.gateway.clock.stop();
    for number in 0..10 {
        world.tokens(&json!({ "sub": format!("p-{number}") })).await;
    }
    for _ in 0..6 {
        world.tokens(&json!({})).await;
    }
    oauth_error(world.bring(&world.assertion(&json!({}))).await, 429, "too_many_requests").await;
    for _ in 0..3 {
        oauth_error(world.bring(&world.assertion(&json!({ "aud": "x" }))).await, 400, "invalid_grant").await;
    }
    let refused = world.bring(&world.assertion(&json!({ "sub": "u-11" }))).await;
    assert!(refused.headers().contains_key("retry-after"));
    oauth_error(refused, 429, "too_many_requests").await;
    world.gateway.clock.advance(60);
    world.tokens(&json!({ "sub": "u-11" })).await;
}

// EXT-2, REV-3, REV-5, REV-6, REV-7
#[tokio::test]
async fn the_grant_is_listed_introspected_audited_and_revoked_like_any_other() {
    let world = World::new().await;
    let tokens = world.tokens(&json!({})).await;
    let claims = claims_of(&tokens);
    let store = &world.gateway.assembly.store;
    let people = store.people_with_email("ada@example.com").await.unwrap();
    assert_eq!(people.len(), 1);
    assert_eq!(claims["sub"], people[0].id.as_str());
    let filter = doorward::store::GrantFilter {
        subject: Some(SubjectId::new(claims["sub"].as_str().unwrap())),
        live_at: Some(world.gateway.clock.now()),
        ..Default::default()
    };
    let listed = store.list_grants(&filter, "").await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id.as_str(), listed[0].client_id.as_str()), (claims["sid"].as_str().unwrap(), AGENT));
    assert!(listed[0].issued_at.is_some());

    let ask = async || {
        let (id, secret) = INTROSPECTOR;
        let fields =
            [("client_id", id), ("client_secret", secret), ("token", tokens["access_token"].as_str().unwrap())];
        let told = post_form(&http(), &world.gateway.url("/oauth/introspect"), &fields).await;
        told.json::<Value>().await.unwrap()
    };
    let told = ask().await;
    assert_eq!((&told["active"], &told["username"]), (&json!(true), &json!("ada@example.com")));
    assert_eq!((&told["sub"], &told["exp"]), (&claims["sub"], &claims["exp"]));

    oauth_error(world.bring(&world.assertion(&json!({ "aud": "x" }))).await, 400, "invalid_grant").await;
    let entries = store.audit_tail(100).await.unwrap();
    let entry = |event: &str| entries.iter().find(|entry| entry.event == event).unwrap();
    let issued = entry("mcp_auth_downstream_token_issued");
    assert_eq!((issued.reason.as_deref(), issued.grant_id.as_deref()), (Some("id_jag"), claims["sid"].as_str()));
    assert_eq!((issued.client_id.as_deref(), issued.route.as_deref()), (Some(AGENT), Some("/mcp/one")));
    let refused = entry("mcp_auth_assertion_refused");
    assert_eq!(refused.subject_id.as_deref(), claims["sub"].as_str());
    assert_eq!(refused.reason.as_deref(), Some("its `aud` is not this authorization server"));

    let fields = [("token", tokens["access_token"].as_str().unwrap())];
    let form = [&[("client_id", AGENT), ("client_secret", SECRET)], &fields[..]].concat();
    assert_eq!(post_form(&http(), &world.gateway.url("/oauth/revoke"), &form).await.status(), StatusCode::OK);
    assert_eq!(world.call(&tokens).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask().await, json!({ "active": false }));
}

/// An MCP server that answers a tool call with who it is told calls.
async fn upstream() -> String {
    use axum::http::HeaderMap;
    let answer = async |headers: HeaderMap, axum::Json(call): axum::Json<Value>| {
        let caller = headers.get("x-forwarded-email").and_then(|value| value.to_str().ok()).unwrap_or("nobody");
        axum::Json(json!({
            "jsonrpc": "2.0", "id": call["id"], "result": { "content": [{ "type": "text", "text": caller }] },
        }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/mcp", axum::routing::post(answer));
    #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/mcp")
}

// EXT-2: from the person's sign-in at the client's provider to a tool call, without a browser.
#[tokio::test]
async fn an_id_token_becomes_an_assertion_a_token_and_a_tool_call() {
    let options = Options {
        routes: vec![("one", upstream().await), ("two", "http://127.0.0.1:9/mcp".to_owned())],
        handler: r#""forwardIdentity": "headers""#.to_owned(),
        ..Options::default()
    };
    let world = World::with(SetUp { options, ..SetUp::default() }).await;
    let json_of = async |url: String| http().get(url).send().await.unwrap().json::<Value>().await.unwrap();
    let refused = world.agent().call("one", "nothing").await;
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let start = challenge.find("resource_metadata=\"").unwrap() + "resource_metadata=\"".len();
    let resource = json_of(challenge[start..].split('"').next().unwrap().to_owned()).await;
    let issuer = resource["authorization_servers"][0].as_str().unwrap();
    let metadata = json_of(format!("{issuer}/.well-known/oauth-authorization-server")).await;
    let idp = json_of(world.idp.url("/.well-known/openid-configuration")).await;

    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token", ID_TOKEN),
        ("audience", metadata["issuer"].as_str().unwrap()),
        ("resource", resource["resource"].as_str().unwrap()),
        ("scope", "mcp:tools"),
        ("client_id", IDP_CLIENT.0),
        ("client_secret", IDP_CLIENT.1),
    ];
    let exchanged: Value =
        post_form(&http(), idp["token_endpoint"].as_str().unwrap(), &fields).await.json().await.unwrap();
    let assertion = exchanged["access_token"].as_str().unwrap();
    let fields =
        [("grant_type", JWT_BEARER), ("assertion", assertion), ("client_id", AGENT), ("client_secret", SECRET)];
    let tokens: Value =
        post_form(&http(), metadata["token_endpoint"].as_str().unwrap(), &fields).await.json().await.unwrap();
    let called = world.agent().call("one", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(called.status(), StatusCode::OK);
    let result: Value = called.json().await.unwrap();
    assert_eq!(result["result"]["content"][0]["text"], "ada@example.com");
}
