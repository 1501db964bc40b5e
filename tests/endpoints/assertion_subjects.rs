//! Whom an identity assertion speaks of (EXT-2): no two people ever become one, and access rules see what the assertion
//! says (WOS-13).

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use doorward::domain::{Person, SubjectId};

use super::assertions::{JWT_BEARER, SetUp, World, bring, claims_of};
use crate::fake_asserting_idp::FakeAssertingIdp;
use crate::fake_oidc::{CLIENT_ID, CLIENT_SECRET, FakeOidc};
use crate::support::browser::Browser;
use crate::support::flow::{REDIRECT, TestClient, oauth_error};
use crate::support::gateway::{Options, TestGateway};

fn subject(tokens: &Value) -> String {
    claims_of(tokens)["sub"].as_str().unwrap().to_owned()
}

async fn person(gateway: &TestGateway, tokens: &Value) -> Person {
    gateway.assembly.store.person(&SubjectId::new(subject(tokens))).await.unwrap().unwrap()
}

// EXT-2, CODE-13
#[tokio::test]
async fn a_person_is_the_issuer_s_and_the_same_each_time() {
    let second = FakeAssertingIdp::start("agent").await;
    let world =
        World::with(SetUp { more_issuers: vec![json!({ "issuer": second.issuer() })], ..SetUp::default() }).await;
    let first = world.tokens(&json!({})).await;
    assert_eq!(subject(&first), subject(&world.tokens(&json!({ "email": null })).await));
    assert_ne!(subject(&first), subject(&world.tokens(&json!({ "sub": "u-2" })).await));
    let mut claims = world.claims();
    claims["iss"] = json!(second.issuer());
    let other: Value = world.bring(&second.assertion(&claims)).await.json().await.unwrap();
    assert_ne!(subject(&first), subject(&other), "the same `sub` of another issuer is somebody else");
    let described = person(&world.gateway, &first).await;
    assert_eq!(described.subject, format!("{}|u-1", world.idp.issuer()));
    assert_eq!(described.provider, world.idp.issuer());
}

// EXT-2: where issuer, tenant and name meet is part of the name.
#[tokio::test]
async fn tenants_of_one_issuer_are_told_apart() {
    let world =
        World::with(SetUp { issuer: json!({ "subjectMapping": "iss_tenant_prefix" }), ..SetUp::default() }).await;
    let mut seen = std::collections::BTreeSet::new();
    for (tenant, sub) in [("acme", "u-1"), ("initech", "u-1"), ("acme|u", "1"), ("acme", "u|1"), ("a", "cme|u|1")] {
        let tokens = world.tokens(&json!({ "tenant": tenant, "sub": sub, "org_id": null })).await;
        assert!(seen.insert(subject(&tokens)), "{tenant} {sub}");
        assert_eq!(person(&world.gateway, &tokens).await.organization_id.as_deref(), Some(tenant));
    }
    let named = world.tokens(&json!({ "tenant": "acme" })).await;
    assert_eq!(subject(&named), subject(&world.tokens(&json!({ "tid": "acme" })).await), "Entra's name for it");
    assert_eq!(person(&world.gateway, &named).await.organization_id.as_deref(), Some("org_1"));
    for changes in
        [json!({}), json!({ "tenant": "" }), json!({ "tenant": 1, "tid": "acme" }), json!({ "tenant": "a\u{0}b" })]
    {
        oauth_error(world.bring(&world.assertion(&changes)).await, 400, "invalid_grant").await;
    }
}

/// People sign in at an `OpenID` provider, whose assertions are trusted in this way; the key of the world's provider
/// signs them.
async fn with_login(mapping: &str) -> (FakeOidc, World) {
    let provider = FakeOidc::start().await;
    let idp = FakeAssertingIdp::start("agent").await;
    let policies = json!({ "policies": [{
        "name": "login", "policyType": "mcp-oauth-inbound",
        "handler": { "options": {
            "oidc": { "issuer": provider.issuer() },
            "browserLogin": { "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET },
            "roleClaim": "my\\.app.roles",
            "gateway": { "clients": [{
                "clientId": "agent", "clientSecret": "the agent's secret: 0123456789", "redirectUris": [REDIRECT],
                "grantTypes": [JWT_BEARER, "authorization_code"],
            }] },
            "idJag": { "enabled": true, "trustedIssuers": [{
                "issuer": provider.issuer(), "jwksUrl": idp.url("/jwks"), "subjectMapping": mapping,
            }] },
        } },
    }] });
    let options = Options { policies: Some(policies.to_string()), ..Options::default() };
    let gateway = TestGateway::start_with(options).await;
    (provider, World { idp, gateway })
}

/// The token answer after a browser login of `u-1`.
async fn sign_in(gateway: &TestGateway) -> Value {
    let client = TestClient::register(gateway).await;
    let browser = Browser::new();
    let start = browser.get(&client.authorize_url("one", &[])).await;
    let transaction = start.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "continue")];
    let left = browser.post(&gateway.url("/oauth/consent"), &fields).await;
    let back = browser.get(left.redirect()).await;
    let back = browser.get(back.redirect()).await;
    let consent = browser.get(back.redirect()).await;
    let code = client.decide(&browser, &consent, "approve").await.param("code").unwrap();
    client.redeem(&code).await.json().await.unwrap()
}

// EXT-2: a name in an assertion is not a name at the login, even of one provider, unless the operator says so.
#[rstest]
#[case::apart("iss_prefix", false)]
#[case::the_same("sub_id_only", true)]
#[tokio::test]
async fn only_sub_id_only_makes_an_assertion_speak_of_who_signs_in_with_a_browser(
    #[case] mapping: &str,
    #[case] same: bool,
) {
    let (provider, world) = with_login(mapping).await;
    let signed_in = sign_in(&world.gateway).await;
    let described = person(&world.gateway, &signed_in).await;
    let changes = json!({
        "iss": provider.issuer(), "email": null, "roles": ["ignored"], "my.app": { "roles": ["auditor"] },
    });
    let tokens = world.tokens(&changes).await;
    assert_eq!(subject(&tokens) == subject(&signed_in), same);
    // What the login said of the person stays; what the assertion says is known for its own grant.
    assert_eq!(person(&world.gateway, &signed_in).await, described);
    let grant = doorward::domain::GrantId::new(claims_of(&tokens)["sid"].as_str().unwrap());
    let own = world.gateway.assembly.store.person_of_grant(&SubjectId::new(subject(&tokens)), &grant).await;
    let own = own.unwrap().unwrap();
    assert_eq!((own.email.as_deref(), own.roles.as_slice()), (None, &["auditor".to_owned()][..]));
    assert_eq!(own.subject, if same { "u-1".to_owned() } else { format!("{}|u-1", provider.issuer()) });
}

// EXT-2: a subject that looks like a mapped one belongs to nobody else.
#[tokio::test]
async fn no_login_can_take_the_name_of_an_asserted_person() {
    let (provider, world) = with_login("iss_prefix").await;
    let issuer = provider.issuer();
    let asserted = subject(&world.tokens(&json!({ "iss": issuer })).await);
    for sub in [format!("{issuer}|u-1"), format!("id-jag\0{issuer}\0u-1"), "u-1".to_owned()] {
        provider.behave(|how| how.claims = Some(json!({ "sub": sub })));
        assert_ne!(subject(&sign_in(&world.gateway).await), asserted);
    }
}

// EXT-2, WOS-13
#[rstest]
#[case::organization(json!({"organizations": ["org_2"]}), "organisations")]
#[case::role(json!({"roles": ["admin"]}), "roles")]
#[case::domain(json!({"emailDomains": ["example.org"]}), "domains")]
#[case::client(json!({"clients": ["dcr_x"]}), "applications")]
#[tokio::test]
async fn who_may_not_use_a_server_gets_no_token_for_it(#[case] access: Value, #[case] said: &str) {
    let world = World::with(SetUp { access: Some(access), ..SetUp::default() }).await;
    let body = oauth_error(world.bring(&world.assertion(&json!({}))).await, 400, "access_denied").await;
    assert!(body["error_description"].as_str().unwrap().contains(said), "{body}");
    let entries = world.gateway.assembly.store.audit_tail(100).await.unwrap();
    let refused = entries.iter().find(|entry| entry.event == "mcp_auth_assertion_refused").unwrap();
    assert!(refused.reason.as_deref().unwrap().starts_with("access_"), "{refused:?}");
    assert!(!entries.iter().any(|entry| entry.event == "mcp_auth_downstream_token_issued"));
}

// EXT-2, WOS-13
#[tokio::test]
async fn access_rules_see_what_each_assertion_says_and_nothing_else() {
    let access = json!({ "roles": ["engineer"], "emailDomains": ["example.com"] });
    let world = World::with(SetUp { access: Some(access), ..SetUp::default() }).await;
    let unverified = world.assertion(&json!({ "email_verified": false }));
    oauth_error(world.bring(&unverified).await, 400, "access_denied").await;
    let earlier = world.tokens(&json!({})).await;
    oauth_error(world.bring(&world.assertion(&json!({ "roles": ["guest"] }))).await, 400, "access_denied").await;
    assert_eq!(world.call(&earlier).await, StatusCode::BAD_GATEWAY, "a refused assertion changes nothing");
    let later = world.tokens(&json!({ "roles": ["engineer", "guest"] })).await;
    assert_eq!(world.call(&later).await, StatusCode::BAD_GATEWAY);
}

// EXT-2: what was not used up is not lost; a person whom the rules let in now gets in.
#[tokio::test]
async fn a_refusal_does_not_spend_the_assertion() {
    let world = World::new().await;
    let assertion = world.assertion(&json!({}));
    let two = world.gateway.resource("two");
    let wrong = bring(&world.agent(), &assertion, &[("resource", &two)]).await;
    oauth_error(wrong, 400, "invalid_target").await;
    assert_eq!(world.bring(&assertion).await.status(), StatusCode::OK);
}
