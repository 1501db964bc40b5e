//! Each provider of gateway.md §6.3 under its real host names: the whole journey to a call, who is kept out, and the
//! ways out of the provider's own session.
//!
//! The URLs here are the contract's. The double answers on no others, and only under TLS.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::fake_oidc::{CLIENT_SECRET, FakeOidc, Likeness, Place};
use super::support::browser::{Browser, Page};
use super::support::flow::TestClient;
use super::support::gateway::{Options, TestGateway};

const UUID: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
const ORIGIN: &str = "ORIGIN";

/// How somebody is kept out whom the rule let in before.
enum Outsider {
    /// These claims of the ID token change; null takes one out.
    Claims(Value),
    /// So does the access token.
    AccessToken(Value),
    Userinfo(Value),
}

struct Journey {
    policy: &'static str,
    likeness: Likeness,
    /// Beside client id and secret.
    options: Value,
    /// Changes of the ID token's claims.
    claims: Value,
    userinfo: Option<Value>,
    /// Options of an access policy that lets the person in.
    rule: Value,
    outsider: Outsider,
    /// Where signing out leads; `ORIGIN` is the gateway.
    sign_out: Option<SignOut>,
    /// `prompt` for another account; without one, people are signed out first.
    prompt: Option<&'static str>,
}

/// A URL, and what is added to it.
type SignOut = (&'static str, Vec<(&'static str, &'static str)>);

fn standard_sign_out(url: &'static str) -> SignOut {
    let parameters =
        [("client_id", "gateway"), ("logout_hint", "s-1"), ("post_logout_redirect_uri", "ORIGIN/oauth/logout")];
    (url, parameters.to_vec())
}

fn auth0() -> Journey {
    Journey {
        policy: "auth0",
        likeness: Likeness {
            issuer: "https://acme.eu.auth0.com/",
            authorize: "https://acme.eu.auth0.com/authorize",
            token: "https://acme.eu.auth0.com/oauth/token",
            jwks: "https://acme.eu.auth0.com/.well-known/jwks.json",
            userinfo: "https://acme.eu.auth0.com/userinfo",
            client_id: "gateway",
            secret_in_body: true,
            access_token: None,
        },
        options: json!({ "auth0Domain": "acme.eu.auth0.com" }),
        claims: json!({ "roles": null, "https://acme.example/roles": ["admin"], "org_id": "org_1" }),
        userinfo: None,
        rule: json!({ "roles": ["admin"], "organizations": ["org_1"], "emails": ["ada@example.com"] }),
        // Which of two is meant, nobody can know.
        outsider: Outsider::Claims(json!({ "https://other.example/roles": ["admin"] })),
        sign_out: Some(standard_sign_out("https://acme.eu.auth0.com/oidc/logout")),
        prompt: Some("login"),
    }
}

fn auth0_with_an_api() -> Journey {
    let api = "https://gateway.example.com";
    let mut journey = auth0();
    journey.options["audience"] = json!(api);
    let audiences = json!([api, "https://acme.eu.auth0.com/userinfo"]);
    journey.likeness.access_token = Some(json!({ "aud": audiences, "permissions": ["tools:call"] }));
    journey.rule = json!({ "permissions": ["tools:call"] });
    journey.outsider =
        Outsider::AccessToken(json!({ "aud": ["https://other.example"], "permissions": ["tools:call"] }));
    journey
}

fn cognito() -> Journey {
    Journey {
        policy: "cognito",
        likeness: Likeness {
            issuer: "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123",
            authorize: "https://my-pool.auth.us-east-1.amazoncognito.com/oauth2/authorize",
            token: "https://my-pool.auth.us-east-1.amazoncognito.com/oauth2/token",
            jwks: "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123/.well-known/jwks.json",
            userinfo: "https://my-pool.auth.us-east-1.amazoncognito.com/oauth2/userInfo",
            client_id: "gateway",
            secret_in_body: false,
            access_token: None,
        },
        options: json!({
            "awsRegion": "us-east-1", "userPoolId": "us-east-1_AbCdEf123",
            "userPoolDomain": "my-pool.auth.us-east-1.amazoncognito.com",
        }),
        claims: json!({ "token_use": "id", "groups": null, "cognito:groups": ["staff"], "email_verified": "true" }),
        userinfo: None,
        rule: json!({ "groups": ["staff"], "emails": ["ada@example.com"] }),
        outsider: Outsider::Claims(json!({ "cognito:groups": null, "groups": ["staff"] })),
        sign_out: Some((
            "https://my-pool.auth.us-east-1.amazoncognito.com/logout",
            vec![("client_id", "gateway"), ("logout_uri", "ORIGIN/oauth/logout")],
        )),
        prompt: None,
    }
}

fn clerk() -> Journey {
    Journey {
        policy: "clerk",
        likeness: Likeness {
            issuer: "https://verb-noun-00.clerk.accounts.dev",
            authorize: "https://verb-noun-00.clerk.accounts.dev/oauth/authorize",
            token: "https://verb-noun-00.clerk.accounts.dev/oauth/token",
            jwks: "https://verb-noun-00.clerk.accounts.dev/.well-known/jwks.json",
            userinfo: "https://verb-noun-00.clerk.accounts.dev/oauth/userinfo",
            client_id: "gateway",
            secret_in_body: false,
            access_token: None,
        },
        options: json!({ "frontendApiUrl": "https://verb-noun-00.clerk.accounts.dev" }),
        claims: json!({}),
        userinfo: None,
        rule: json!({ "emailDomains": ["example.com"] }),
        outsider: Outsider::Claims(json!({ "email_verified": false })),
        sign_out: None,
        prompt: Some("login"),
    }
}

fn entra() -> Journey {
    Journey {
        policy: "entra",
        likeness: Likeness {
            issuer: "https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/v2.0",
            authorize: "https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/oauth2/v2.0/authorize",
            token: "https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/oauth2/v2.0/token",
            jwks: "https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/discovery/v2.0/keys",
            userinfo: "https://login.microsoftonline.com/no-such-place",
            client_id: "11111111-1111-4111-8111-111111111111",
            secret_in_body: false,
            access_token: None,
        },
        options: json!({ "tenantId": UUID }),
        claims: json!({ "email_verified": null, "xms_edov": "1", "tid": UUID }),
        userinfo: None,
        rule: json!({ "roles": ["engineer"], "groups": ["staff"], "organizations": [UUID], "emails": ["ada@example.com"] }),
        // What anybody can write into a directory of theirs is not verified, whatever else the token says.
        outsider: Outsider::Claims(json!({ "xms_edov": null, "email_verified": true })),
        sign_out: Some((
            "https://login.microsoftonline.com/3fa85f64-5717-4562-b3fc-2c963f66afa6/oauth2/v2.0/logout",
            vec![
                ("client_id", "11111111-1111-4111-8111-111111111111"),
                ("post_logout_redirect_uri", "ORIGIN/oauth/logout"),
            ],
        )),
        prompt: Some("select_account"),
    }
}

fn google() -> Journey {
    Journey {
        policy: "google",
        likeness: Likeness {
            issuer: "https://accounts.google.com",
            authorize: "https://accounts.google.com/o/oauth2/v2/auth",
            token: "https://oauth2.googleapis.com/token",
            jwks: "https://www.googleapis.com/oauth2/v3/certs",
            userinfo: "https://openidconnect.googleapis.com/v1/userinfo",
            client_id: "123456789012-abc123def456.apps.googleusercontent.com",
            secret_in_body: false,
            access_token: None,
        },
        options: json!({}),
        claims: json!({ "hd": "example.com" }),
        userinfo: None,
        rule: json!({ "organizations": ["example.com"], "emailDomains": ["example.com"] }),
        outsider: Outsider::Claims(json!({ "hd": null, "org_id": "example.com" })),
        sign_out: None,
        prompt: Some("select_account"),
    }
}

fn keycloak() -> Journey {
    Journey {
        policy: "keycloak",
        likeness: Likeness {
            issuer: "https://sso.example.com/realms/main",
            authorize: "https://sso.example.com/realms/main/protocol/openid-connect/auth",
            token: "https://sso.example.com/realms/main/protocol/openid-connect/token",
            jwks: "https://sso.example.com/realms/main/protocol/openid-connect/certs",
            userinfo: "https://sso.example.com/realms/main/protocol/openid-connect/userinfo",
            client_id: "gateway",
            secret_in_body: false,
            access_token: Some(json!({ "realm_access": { "roles": ["engineer"] } })),
        },
        options: json!({ "keycloakBaseUrl": "https://sso.example.com/", "realm": "main" }),
        claims: json!({ "roles": null }),
        userinfo: None,
        rule: json!({ "roles": ["engineer"] }),
        outsider: Outsider::AccessToken(json!({ "azp": "other", "realm_access": { "roles": ["engineer"] } })),
        sign_out: Some(standard_sign_out("https://sso.example.com/realms/main/protocol/openid-connect/logout")),
        prompt: None,
    }
}

fn logto() -> Journey {
    Journey {
        policy: "logto",
        likeness: Likeness {
            issuer: "https://acme.logto.app/oidc",
            authorize: "https://acme.logto.app/oidc/auth",
            token: "https://acme.logto.app/oidc/token",
            jwks: "https://acme.logto.app/oidc/jwks",
            userinfo: "https://acme.logto.app/oidc/me",
            client_id: "gateway",
            secret_in_body: false,
            access_token: None,
        },
        options: json!({ "logtoEndpoint": "https://acme.logto.app", "scope": "openid profile email roles" }),
        // It leaves to userinfo what it can.
        claims: json!({ "email": null, "email_verified": null, "name": null, "roles": null }),
        userinfo: Some(
            json!({ "sub": "u-1", "email": "ada@example.com", "email_verified": true, "roles": ["engineer"] }),
        ),
        rule: json!({ "roles": ["engineer"], "emails": ["ada@example.com"] }),
        outsider: Outsider::Userinfo(json!({ "sub": "u-1", "email": "ada@example.com", "email_verified": true })),
        sign_out: Some(standard_sign_out("https://acme.logto.app/oidc/session/end")),
        prompt: Some("login"),
    }
}

fn okta() -> Journey {
    Journey {
        policy: "okta",
        likeness: Likeness {
            issuer: "https://acme.okta.com",
            authorize: "https://acme.okta.com/oauth2/v1/authorize",
            token: "https://acme.okta.com/oauth2/v1/token",
            jwks: "https://acme.okta.com/oauth2/v1/keys",
            userinfo: "https://acme.okta.com/oauth2/v1/userinfo",
            client_id: "gateway",
            secret_in_body: false,
            access_token: None,
        },
        options: json!({ "oktaDomain": "acme.okta.com" }),
        claims: json!({}),
        userinfo: None,
        rule: json!({ "groups": ["staff"] }),
        outsider: Outsider::Claims(json!({ "groups": ["guests"] })),
        sign_out: None,
        prompt: Some("login"),
    }
}

fn okta_with_a_server() -> Journey {
    let mut journey = okta();
    journey.likeness = Likeness {
        issuer: "https://acme.okta.com/oauth2/default",
        authorize: "https://acme.okta.com/oauth2/default/v1/authorize",
        token: "https://acme.okta.com/oauth2/default/v1/token",
        jwks: "https://acme.okta.com/oauth2/default/v1/keys",
        userinfo: "https://acme.okta.com/oauth2/default/v1/userinfo",
        ..journey.likeness
    };
    journey.options =
        json!({ "oktaDomain": "acme.okta.com", "authorizationServerId": "default", "groupClaim": "groups" });
    // A thin ID token: what is configured is looked for in userinfo.
    journey.claims = json!({ "groups": null });
    journey.userinfo = Some(json!({ "sub": "u-1", "groups": ["staff"] }));
    journey.outsider = Outsider::Userinfo(json!({ "sub": "u-1", "groups": [] }));
    journey
}

fn onelogin() -> Journey {
    Journey {
        policy: "onelogin",
        likeness: Likeness {
            issuer: "https://acme.onelogin.com/oidc/2",
            authorize: "https://acme.onelogin.com/oidc/2/auth",
            token: "https://acme.onelogin.com/oidc/2/token",
            jwks: "https://acme.onelogin.com/oidc/2/certs",
            userinfo: "https://acme.onelogin.com/oidc/2/me",
            client_id: "gateway",
            secret_in_body: true,
            access_token: None,
        },
        options: json!({ "oneLoginSubdomain": "acme", "scope": "openid profile email groups" }),
        claims: json!({}),
        userinfo: None,
        rule: json!({ "groups": ["staff"] }),
        outsider: Outsider::Claims(json!({ "groups": [] })),
        sign_out: Some(("https://acme.onelogin.com/oidc/2/logout", Vec::new())),
        prompt: Some("login"),
    }
}

fn ping() -> Journey {
    Journey {
        policy: "ping",
        likeness: Likeness {
            issuer: "https://auth.pingone.eu/3fa85f64-5717-4562-b3fc-2c963f66afa6/as",
            authorize: "https://auth.pingone.eu/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/authorize",
            token: "https://auth.pingone.eu/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/token",
            jwks: "https://auth.pingone.eu/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/jwks",
            userinfo: "https://auth.pingone.eu/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/userinfo",
            client_id: "gateway",
            secret_in_body: false,
            access_token: None,
        },
        options: json!({ "environmentId": UUID, "region": "europe" }),
        claims: json!({}),
        userinfo: None,
        rule: json!({ "groups": ["staff"] }),
        outsider: Outsider::Claims(json!({ "groups": null })),
        sign_out: Some((
            "https://auth.pingone.eu/3fa85f64-5717-4562-b3fc-2c963f66afa6/as/signoff",
            vec![("client_id", "gateway"), ("post_logout_redirect_uri", "ORIGIN/oauth/logout")],
        )),
        prompt: Some("login"),
    }
}

fn ping_with_a_domain() -> Journey {
    let mut journey = ping();
    journey.likeness = Likeness {
        issuer: "https://login.example.com/as",
        authorize: "https://login.example.com/as/authorize",
        token: "https://login.example.com/as/token",
        jwks: "https://login.example.com/as/jwks",
        userinfo: "https://login.example.com/as/userinfo",
        ..journey.likeness
    };
    journey.options = json!({ "customDomain": "login.example.com" });
    journey.sign_out = Some((
        "https://login.example.com/as/signoff",
        vec![("client_id", "gateway"), ("post_logout_redirect_uri", "ORIGIN/oauth/logout")],
    ));
    journey
}

/// A server that answers every call with what it was told of the caller.
async fn upstream() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let answer = async |headers: axum::http::HeaderMap| {
        let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let text = format!("{} of {}", told("x-forwarded-email"), told("x-forwarded-organization"));
        axum::Json(json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [{ "type": "text", "text": text }] } }))
    };
    let router = axum::Router::new().route("/mcp", axum::routing::post(answer));
    #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

struct World {
    provider: FakeOidc,
    place: Place,
    gateway: TestGateway,
}

impl World {
    async fn new(journey: &Journey) -> Self {
        let (provider, place) = FakeOidc::start_as(journey.likeness.clone()).await;
        provider.behave(|how| {
            how.claims = Some(journey.claims.clone());
            how.userinfo.clone_from(&journey.userinfo);
        });
        let mut login = journey.options.clone();
        login["clientId"] = json!(journey.likeness.client_id);
        login["clientSecret"] = json!(CLIENT_SECRET);
        login["browserLoginOverrides"] = json!({ "remoteTimeoutMs": 60_000 });
        let policy_type = format!("mcp-{}-oauth-inbound", journey.policy);
        let policies = json!({ "policies": [
            { "name": "login", "policyType": policy_type, "handler": { "options": login } },
            { "name": "access", "policyType": "mcp-access-inbound", "handler": { "options": journey.rule } },
        ] });
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, &place.root).unwrap();
        let resolve: Vec<_> = place.hosts.iter().map(|host| (host.clone(), 443, place.address)).collect();
        let options = Options {
            policies: Some(policies.to_string()),
            routes: vec![("one", upstream().await)],
            handler: r#""forwardIdentity": "headers""#.to_owned(),
            access: Some(""),
            settings: Box::new(move |settings| {
                settings.outbound_ca_files = vec![ca_file];
                settings.outbound_resolve = resolve;
            }),
            ..Options::default()
        };
        let gateway = TestGateway::start_with(options).await;
        Self { provider, place, gateway }
    }

    fn browser(&self) -> Browser {
        Browser::resolving(&self.place.hosts, self.place.address, &self.place.root)
    }

    /// From the client's authorization URL through the provider to the consent page.
    async fn sign_in(&self, client: &TestClient<'_>, browser: &Browser, authorize: &str) -> Page {
        let start = browser.get(&client.authorize_url("one", &[])).await;
        let fields = [("transaction", start.field("transaction")), ("decision", "continue".to_owned())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let left = browser.post(&self.gateway.url("/oauth/consent"), &fields).await;
        assert!(left.redirect().starts_with(&format!("{authorize}?")), "{}", left.redirect());
        assert_eq!(left.param("code_challenge_method").as_deref(), Some("S256"));
        let provider = browser.get(left.redirect()).await;
        let back = browser.get(provider.redirect()).await;
        browser.get(back.redirect()).await
    }
}

// IDP-3, IDP-8, IDP-9, WOS-13
#[rstest]
#[case::auth0(auth0())]
#[case::auth0_with_an_api(auth0_with_an_api())]
#[case::cognito(cognito())]
#[case::clerk(clerk())]
#[case::entra(entra())]
#[case::google(google())]
#[case::keycloak(keycloak())]
#[case::logto(logto())]
#[case::okta(okta())]
#[case::okta_with_a_server(okta_with_a_server())]
#[case::onelogin(onelogin())]
#[case::ping(ping())]
#[case::ping_with_a_domain(ping_with_a_domain())]
#[tokio::test]
async fn a_person_comes_in_through_each_provider_and_another_is_kept_out(#[case] journey: Journey) {
    let world = World::new(&journey).await;
    let client = TestClient::register(&world.gateway).await;
    let browser = world.browser();
    let consent = world.sign_in(&client, &browser, journey.likeness.authorize).await;
    assert!(consent.text.contains("ada@example.com"), "{}", consent.text);
    let code = client.decide(&browser, &consent, "approve").await.param("code").expect("a code");
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let called = client.call("one", tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(called.status(), StatusCode::OK);
    let answer = called.text().await.unwrap();
    assert!(answer.contains("ada@example.com of "), "{answer}");
    if let Some(organization) = journey.rule["organizations"][0].as_str() {
        assert!(answer.contains(&format!(" of {organization}")), "{answer}");
    }
    assert_eq!(world.provider.metadata_fetches(), 0, "nothing is discovered");

    match journey.outsider {
        Outsider::AccessToken(claims) => world.provider.set_access_token(claims),
        Outsider::Userinfo(answer) => world.provider.behave(|how| how.userinfo = Some(answer)),
        Outsider::Claims(changes) => world.provider.behave(|how| {
            let claims = how.claims.as_mut().unwrap();
            for (name, value) in changes.as_object().unwrap() {
                claims[name] = value.clone();
            }
        }),
    }
    let kept_out = world.sign_in(&client, &world.browser(), journey.likeness.authorize).await;
    assert_eq!(kept_out.status, StatusCode::FORBIDDEN);
    assert!(kept_out.text.contains("You cannot use this server"), "{}", kept_out.text);
}

#[rstest]
#[case::auth0(auth0())]
#[case::cognito(cognito())]
#[case::clerk(clerk())]
#[case::entra(entra())]
#[case::google(google())]
#[case::keycloak(keycloak())]
#[case::logto(logto())]
#[case::okta(okta())]
#[case::onelogin(onelogin())]
#[case::ping(ping())]
#[case::ping_with_a_domain(ping_with_a_domain())]
#[tokio::test]
async fn both_ways_out_are_those_that_the_provider_has(#[case] journey: Journey) {
    let world = World::new(&journey).await;
    let client = TestClient::register(&world.gateway).await;
    let browser = world.browser();
    let consent = world.sign_in(&client, &browser, journey.likeness.authorize).await;
    let switched = client.decide(&browser, &consent, "switch").await;
    // Where people end who are to come back to this path.
    let expected = |back: &str| {
        journey.sign_out.as_ref().map(|(url, parameters)| {
            let mut url = url::Url::parse(url).unwrap();
            for (name, value) in parameters {
                let value = value.replace("/oauth/logout", back).replace(ORIGIN, &world.gateway.origin);
                url.query_pairs_mut().append_pair(name, &value);
            }
            url.to_string()
        })
    };
    match journey.prompt {
        Some(prompt) => {
            assert!(
                switched.redirect().starts_with(&format!("{}?", journey.likeness.authorize)),
                "{}",
                switched.redirect()
            );
            assert_eq!(switched.param("prompt").as_deref(), Some(prompt));
        }
        None => assert_eq!(Some(switched.redirect().to_owned()), expected("/oauth/consent")),
    }
    let browser = world.browser();
    world.sign_in(&client, &browser, journey.likeness.authorize).await;
    let form = browser.get(&world.gateway.url("/oauth/logout")).await;
    let csrf = form.field("csrf");
    let out = browser.post(&world.gateway.url("/oauth/logout"), &[("csrf", &csrf)]).await;
    assert_eq!(out.location, expected("/oauth/logout"));
}

// IDP-3
#[tokio::test]
async fn another_token_of_cognito_is_no_id_token() {
    let world = World::new(&cognito()).await;
    let client = TestClient::register(&world.gateway).await;
    for token_use in [json!("access"), Value::Null] {
        world.provider.behave(|how| how.claims.as_mut().unwrap()["token_use"] = token_use);
        let browser = world.browser();
        let start = browser.get(&client.authorize_url("one", &[])).await;
        let transaction = start.field("transaction");
        let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
        let left = browser.post(&world.gateway.url("/oauth/consent"), &fields).await;
        let provider = browser.get(left.redirect()).await;
        let back = browser.get(provider.redirect()).await;
        assert_eq!(back.status, StatusCode::BAD_GATEWAY);
        assert!(back.text.contains("could not be verified"), "{}", back.text);
    }
}

/// What stands in a token for others, or of another person, is not this person's.
#[rstest]
#[case::ours(json!({}), "org_1")]
#[case::another_person(json!({ "sub": "u-2" }), "")]
#[case::another_issuer(json!({ "iss": "https://sso.example.com/realms/other" }), "")]
#[case::another_client(json!({ "azp": "other" }), "")]
#[case::no_client(json!({ "azp": null }), "")]
#[case::expired(json!({ "exp": 1_000_000_000 }), "")]
#[tokio::test]
async fn an_access_token_that_is_not_ours_tells_nothing(#[case] changes: Value, #[case] organization: &str) {
    let mut journey = keycloak();
    journey.rule = json!({ "emails": ["ada@example.com"] });
    let world = World::new(&journey).await;
    let mut claims = json!({ "org_id": "org_1" });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    world.provider.set_access_token(claims);
    let client = TestClient::register(&world.gateway).await;
    let browser = world.browser();
    let consent = world.sign_in(&client, &browser, journey.likeness.authorize).await;
    let code = client.decide(&browser, &consent, "approve").await.param("code").expect("a code");
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let called = client.call("one", tokens["access_token"].as_str().unwrap()).await.text().await.unwrap();
    assert!(called.contains(&format!("\"ada@example.com of {organization}\"")), "{called}");
}
