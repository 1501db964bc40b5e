//! The doubles of servers behind that want OAuth: what the tests of upstream credentials stand on must itself be strict.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::crypto::{base64url, sha256};
use doorward::domain::{Clock as _, SystemClock};
use reqwest::Client;
use serde_json::{Value, json};

use crate::fake_asserting_idp::Key;
use crate::fake_oidc::{self, FakeOidc};
use crate::fake_upstream::control::Order;
use crate::fake_upstream::id_jag::FakeJagProvider;
use crate::fake_upstream::{Endpoint, FakeUpstream, Fault, Refreshing};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// As long as 128 bits.
const STATE: &str = "a-state-of-a-good-length";
const REDIRECT: &str = "http://127.0.0.1:7777/callback";

type Fields<'a> = Vec<(&'a str, String)>;
/// Fields of a form, an `Authorization`, and the error that they bring.
type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, &'a str);

/// A client of the double that does everything by hand.
struct Direct<'d> {
    double: &'d FakeUpstream,
    http: Client,
    id: String,
}

impl<'d> Direct<'d> {
    async fn register(double: &'d FakeUpstream) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
        let answer = http.post(format!("{}/as/register", double.base())).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let told: Value = answer.json().await.unwrap();
        Self { double, http, id: told["client_id"].as_str().unwrap().to_owned() }
    }

    /// Parameters of the callback.
    async fn authorize(&self, changes: &[(&str, &str)]) -> HashMap<String, String> {
        let challenge = base64url(&sha256(VERIFIER.as_bytes()));
        let fields = vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.id.clone()),
            ("redirect_uri", REDIRECT.to_owned()),
            ("state", STATE.to_owned()),
            ("scope", "notes.read".to_owned()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
            ("resource", self.double.mcp_url()),
        ];
        let query = encoded(fields, changes);
        let answer = self.http.get(format!("{}/as/authorize?{query}", self.double.base())).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let back = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        back.query_pairs().into_owned().collect()
    }

    async fn token(&self, fields: Fields<'_>, changes: &[(&str, &str)]) -> Result<(u16, Value), reqwest::Error> {
        post_form(&self.http, &self.double.token_url(), &encoded(fields, changes)).await
    }

    async fn redeem(&self, changes: &[(&str, &str)]) -> (u16, Value) {
        let code = self.authorize(&[]).await["code"].clone();
        let fields = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", REDIRECT.to_owned()),
            ("client_id", self.id.clone()),
            ("code_verifier", VERIFIER.to_owned()),
            ("resource", self.double.mcp_url()),
        ];
        self.token(fields, changes).await.unwrap()
    }

    async fn refresh(&self, token: &Value, changes: &[(&str, &str)]) -> Result<(u16, Value), reqwest::Error> {
        let fields = vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", token.as_str().unwrap().to_owned()),
            ("client_id", self.id.clone()),
            ("resource", self.double.mcp_url()),
        ];
        self.token(fields, changes).await
    }

    async fn whoami(&self, token: &Value) -> (u16, Value, String) {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "whoami" } });
        let request = self.http.post(self.double.mcp_url()).bearer_auth(token.as_str().unwrap()).json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        (status, body["result"]["content"][0]["text"].clone(), challenge.unwrap_or_default())
    }
}

/// An empty value leaves a field out.
fn encoded(mut fields: Fields<'_>, changes: &[(&str, &str)]) -> String {
    for (name, value) in changes {
        fields.iter_mut().filter(|(own, _)| own == name).for_each(|(_, own)| (*value).clone_into(own));
    }
    let present = fields.into_iter().filter(|(_, value)| !value.is_empty());
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(present).finish()
}

async fn post_form(http: &Client, url: &str, body: &str) -> Result<(u16, Value), reqwest::Error> {
    let request = http.post(url).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(body.to_owned()).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn an_upstream_tells_each_person_their_own_account_and_a_stranger_where_to_ask() {
    let double = FakeUpstream::start().await;
    let direct = Direct::register(&double).await;
    let (status, _, challenge) = direct.whoami(&json!("upstream-access-forged")).await;
    assert_eq!(status, 401);
    assert!(challenge.contains(&format!("resource_metadata=\"{}\"", double.resource_metadata_url())), "{challenge}");
    for person in ["ada", "grace"] {
        double.sign_in(person);
        let (status, tokens) = direct.redeem(&[]).await;
        assert_eq!(status, 200, "{tokens}");
        assert_eq!(direct.whoami(&tokens["access_token"]).await.1, person);
    }
    let seen: Vec<_> = double.carried_out().into_iter().map(|request| request.token.unwrap()).collect();
    assert_eq!(seen, ["ada.1.1", "grace.2.1"]);
}

#[tokio::test]
async fn an_upstream_refuses_every_token_request_that_is_not_as_it_should_be() {
    let double = FakeUpstream::start().await;
    let direct = Direct::register(&double).await;
    for (name, value, error) in [
        ("code_verifier", "another", "invalid_grant"),
        ("code_verifier", "", "invalid_grant"),
        ("redirect_uri", "http://127.0.0.1:7777/other", "invalid_grant"),
        ("resource", "", "invalid_target"),
        ("resource", "http://127.0.0.1:1/mcp", "invalid_target"),
        ("client_id", "another", "invalid_client"),
        ("code", "another", "invalid_grant"),
        ("grant_type", "password", "unsupported_grant_type"),
    ] {
        let (_, answer) = direct.redeem(&[(name, value)]).await;
        assert_eq!(answer["error"], error, "{name}={value}");
    }
    for (name, value) in [("resource", ""), ("code_challenge", ""), ("state", ""), ("scope", "everything")] {
        let back = format!("{:?}", direct.authorize(&[(name, value)]).await);
        assert!(back.contains("error") && !back.contains("upstream-code-"), "{name}: {back}");
    }
}

#[tokio::test]
async fn a_client_proves_itself_in_its_own_way_and_in_no_other() {
    let double = FakeUpstream::start().await;
    let http = Direct::register(&double).await.http;
    let key = Key::generate();
    double.add_client("public", REDIRECT, "none", None);
    double.add_client("basic", REDIRECT, "client_secret_basic", Some("a secret/+%:"));
    double.add_client("post", REDIRECT, "client_secret_post", Some("a secret"));
    double.add_client_with_key("key", REDIRECT, key.jwk());
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = format!("Basic {}", STANDARD.encode(format!("basic:{}", encode("a secret/+%:"))));
    let now = SystemClock.now().0;
    let claims = json!({ "iss": "key", "sub": "key", "aud": double.issuer(), "jti": "1", "exp": now + 60 });
    let mut header = key.header();
    header.typ = None;
    let assertion = key.sign(&header, &claims);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let with_key = [("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
    let cases: [Case<'_>; 9] = [
        (&[("client_id", "public")], None, "invalid_grant"),
        (&[("client_id", "public"), ("client_secret", "any")], None, "invalid_client"),
        (&[], Some(&basic), "invalid_grant"),
        (&[("client_id", "basic"), ("client_secret", "a secret/+%:")], None, "invalid_client"),
        (&[("client_id", "post"), ("client_secret", "a secret")], None, "invalid_grant"),
        (&[("client_id", "post"), ("client_secret", "another")], None, "invalid_client"),
        (&[("client_id", "post")], None, "invalid_client"),
        (&with_key, None, "invalid_grant"),
        (&with_key, None, "invalid_client"),
    ];
    for (fields, authorization, error) in cases {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", "unknown")];
        form.extend_from_slice(fields);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = http.post(double.token_url()).header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer: Value = request.body(body).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["error"], error, "{fields:?}");
    }
}

#[tokio::test]
async fn a_refresh_token_that_was_used_ends_its_family_and_a_lost_answer_does_not_undo_it() {
    let double = FakeUpstream::start().await;
    let direct = Direct::register(&double).await;
    let first = direct.redeem(&[]).await.1;
    let second = direct.refresh(&first["refresh_token"], &[]).await.unwrap().1;
    assert_eq!(direct.whoami(&second["access_token"]).await.1, "ada");
    let (status, answer) = direct.refresh(&first["refresh_token"], &[]).await.unwrap();
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(direct.whoami(&second["access_token"]).await.0, 401);
    assert_eq!(direct.refresh(&second["refresh_token"], &[]).await.unwrap().1["error"], "invalid_grant");

    let other = direct.redeem(&[]).await.1;
    double.fail_next(Endpoint::Token, Fault::AnswerLost);
    direct.refresh(&other["refresh_token"], &[]).await.unwrap_err();
    assert_eq!(direct.refresh(&other["refresh_token"], &[]).await.unwrap().1["error"], "invalid_grant");

    double.behave(|behaviour| behaviour.superseded_works = true);
    let kind = direct.redeem(&[]).await.1;
    double.fail_next(Endpoint::Token, Fault::AnswerLost);
    direct.refresh(&kind["refresh_token"], &[]).await.unwrap_err();
    assert_eq!(direct.refresh(&kind["refresh_token"], &[]).await.unwrap().0, 200);

    double.behave(|behaviour| behaviour.refreshing = Refreshing::KeepsSilently);
    let kept = direct.redeem(&[]).await.1;
    for _ in 0..2 {
        let answer = direct.refresh(&kept["refresh_token"], &[]).await.unwrap().1;
        assert!(answer["access_token"].is_string() && answer["refresh_token"].is_null(), "{answer}");
    }
}

#[tokio::test]
async fn an_upstream_fails_as_it_is_told_and_remembers_what_it_did() {
    let double = FakeUpstream::start().await;
    let direct = Direct::register(&double).await;
    let tokens = direct.redeem(&[]).await.1;
    let access = &tokens["access_token"];
    double.fail_next(Endpoint::Mcp, Fault::Unauthorized);
    double.fail_next(Endpoint::Mcp, Fault::DoneAndUnauthorized);
    assert_eq!(
        (direct.whoami(access).await.0, direct.whoami(access).await.0, direct.whoami(access).await.0),
        (401, 401, 200)
    );
    let done: Vec<_> = double.requests().iter().map(|request| request.carried_out).collect();
    assert_eq!(done, [false, true, true]);

    let order = r#"{"order": "behave", "behaviour": {"requiredScope": "notes.write"}}"#;
    double.obey(serde_json::from_str::<Order>(order).unwrap());
    let (status, _, challenge) = direct.whoami(access).await;
    assert!(status == 403 && challenge.contains(r#"error="insufficient_scope", scope="notes.write""#), "{challenge}");
    double.obey(Order::Behave { behaviour: Box::default() });
    double.expire_access_tokens();
    assert_eq!(direct.whoami(access).await.0, 401);

    double.fail_next(Endpoint::Token, Fault::HeldAfter);
    let held = direct.refresh(&tokens["refresh_token"], &[]);
    let (answer, ()) = tokio::join!(held, async {
        double.wait_for_held(1).await;
        assert_eq!(double.access_tokens("ada").len(), 1, "it is done before its answer is let go");
        double.release();
    });
    let fresh = answer.unwrap().1;
    double.fail_next(Endpoint::Token, Fault::error_in_200("bad_refresh_token"));
    let (status, answer) = direct.refresh(&fresh["refresh_token"], &[]).await.unwrap();
    assert_eq!((status, answer["error"].as_str()), (200, Some("bad_refresh_token")));
    double.revoke("ada");
    assert_eq!(direct.whoami(&fresh["access_token"]).await.0, 401);
    assert_eq!(direct.refresh(&fresh["refresh_token"], &[]).await.unwrap().1["error"], "invalid_grant");
}

#[tokio::test]
async fn an_id_token_becomes_an_assertion_and_that_an_access_token_of_the_same_person() {
    let (login, provider, double) =
        (FakeOidc::start().await, FakeJagProvider::start().await, FakeUpstream::start().await);
    provider.trust_id_tokens_of(&login.issuer(), &format!("{}/jwks", login.base()));
    provider.add_client("gateway", "client_secret_post", "its secret");
    provider.allow("gateway", &double.issuer(), "gateway-there");
    double.trust_assertions_of(&provider.issuer(), &provider.jwks_url());
    double.add_client("gateway-there", "", "client_secret_post", Some("another secret"));
    let http = Direct::register(&double).await.http;
    let id_token = id_token(&http, &login).await;

    let exchange = |subject: &str, audience: &str, secret: &str| {
        let kind = |name: &str| format!("urn:ietf:params:oauth:token-type:{name}");
        let fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("requested_token_type", kind("id-jag")),
            ("subject_token_type", kind("id_token")),
            ("subject_token", subject.to_owned()),
            ("audience", audience.to_owned()),
            ("resource", double.mcp_url()),
            ("scope", "notes.read".to_owned()),
            ("client_id", "gateway".to_owned()),
            ("client_secret", secret.to_owned()),
        ];
        let (http, url) = (http.clone(), provider.token_url());
        async move { post_form(&http, &url, &encoded(fields, &[])).await.unwrap().1 }
    };
    assert_eq!(exchange(&id_token, &double.issuer(), "wrong").await["error"], "invalid_client");
    assert_eq!(exchange(&format!("{id_token}x"), &double.issuer(), "its secret").await["error"], "invalid_grant");
    assert_eq!(exchange(&id_token, "http://elsewhere", "its secret").await["error"], "invalid_target");
    let answer = exchange(&id_token, &double.issuer(), "its secret").await;
    assert_eq!(answer["token_type"], "N_A");

    let bearer = |assertion: &Value| {
        let fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
            ("assertion", assertion.as_str().unwrap().to_owned()),
            ("client_id", "gateway-there".to_owned()),
            ("client_secret", "another secret".to_owned()),
        ];
        let (http, url) = (http.clone(), double.token_url());
        async move { post_form(&http, &url, &encoded(fields, &[])).await.unwrap().1 }
    };
    let tokens = bearer(&answer["access_token"]).await;
    let direct = Direct { double: &double, http: http.clone(), id: String::new() };
    assert_eq!(direct.whoami(&tokens["access_token"]).await.1, "u-1");
    assert_eq!(bearer(&answer["access_token"]).await["error"], "invalid_grant", "an assertion works once");
    for wrong in [
        json!({ "aud": "http://elsewhere" }),
        json!({ "client_id": "another" }),
        json!({ "exp": 1 }),
        json!({ "sub": null }),
        json!({ "resource": "http://elsewhere/mcp" }),
    ] {
        provider.set_claims(wrong.clone());
        let answer = exchange(&id_token, &double.issuer(), "its secret").await;
        assert_eq!(bearer(&answer["access_token"]).await["error"], "invalid_grant", "{wrong}");
    }
}

/// What a sign-in gives.
pub(crate) async fn id_token(http: &Client, login: &FakeOidc) -> String {
    let fields = vec![
        ("response_type", "code".to_owned()),
        ("client_id", fake_oidc::CLIENT_ID.to_owned()),
        ("redirect_uri", REDIRECT.to_owned()),
        ("scope", "openid".to_owned()),
        ("state", STATE.to_owned()),
        ("nonce", STATE.to_owned()),
        ("code_challenge", base64url(&sha256(VERIFIER.as_bytes()))),
        ("code_challenge_method", "S256".to_owned()),
    ];
    let answer = http.get(format!("{}/authorize?{}", login.base(), encoded(fields, &[]))).send().await.unwrap();
    let back = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let fields = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code),
        ("redirect_uri", REDIRECT.to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
    ];
    let answer = post_form(http, &format!("{}/token", login.base()), &encoded(fields, &[])).await.unwrap().1;
    answer["id_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}
