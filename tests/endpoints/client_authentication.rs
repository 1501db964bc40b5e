//! Client authentication at the token endpoint: every method against everything it must not let in (CODE-3, CODE-4).

use std::fmt::Write as _;

use base64::Engine as _;
use doorward::crypto::{base64url, sha256};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::documents::gateway_beside;
use crate::postgres::Postgres;
use crate::support::browser::client as http;
use crate::support::document_host::{DOCUMENT_URL, Host, Reply};
use crate::support::flow::{REDIRECT, TestClient, oauth_error, post_form};
use crate::support::gateway::{Options, TestGateway};

/// How far ahead an assertion may end, in seconds.
const LONGEST_LIFE: i64 = 300;
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A key pair of a client, as P-256.
struct Key {
    pair: rcgen::KeyPair,
    kid: &'static str,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        Self { pair: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(), kid }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key_raw()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256", "x": base64url(x), "y": base64url(y) })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}

/// Asks for a refresh: 400 `invalid_grant` from a client that was let in, 401 from one that was not.
async fn knock(gateway: &TestGateway, fields: &[(&str, &str)], basic: Option<&str>) -> Response {
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", "rt_nothing")];
    form.extend_from_slice(fields);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = http().post(gateway.url("/oauth/token")).header("content-type", "application/x-www-form-urlencoded");
    let request = basic.map_or_else(
        || request.try_clone().unwrap(),
        |basic| request.try_clone().unwrap().header("authorization", basic),
    );
    request.body(body).send().await.unwrap()
}

async fn knock_with(gateway: &TestGateway, assertion: &str) -> Response {
    knock(gateway, &[("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)], None).await
}

async fn let_in(response: Response) {
    oauth_error(response, 400, "invalid_grant").await;
}

async fn refused(response: Response) {
    oauth_error(response, 401, "invalid_client").await;
}

fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

// CODE-3, STAT-1, STAT-2
#[tokio::test]
async fn a_configured_client_proves_itself_by_either_of_two_secrets_however_they_are_given() {
    let hashes = [hex(&sha256(b"hashed-one-0123456789")), hex(&sha256(b"hashed-two-0123456789"))];
    let options = json!({ "clients": [
        // What form-encoding is for.
        { "clientId": "team:50%+bot", "redirectUris": [REDIRECT], "clientSecret": ["old+secret/0123456789=", "new secret&0123456789%"] },
        { "clientId": "hashed", "redirectUris": [REDIRECT], "clientSecretHash": [format!("sha256:{}", hashes[0]), format!("sha256:{}", hashes[1])] },
        { "clientId": "public", "redirectUris": [REDIRECT], "authMethod": "none" },
    ]})
    .to_string();
    let gateway = options.trim_start_matches('{').trim_end_matches('}').to_owned();
    let gateway = TestGateway::start_with(Options { gateway, ..Options::default() }).await;
    for (id, secrets) in [
        ("team:50%+bot", ["old+secret/0123456789=", "new secret&0123456789%"]),
        ("hashed", ["hashed-one-0123456789", "hashed-two-0123456789"]),
    ] {
        for secret in secrets {
            let_in(knock(&gateway, &[], Some(&basic(id, secret))).await).await;
            let_in(knock(&gateway, &[("client_id", id)], Some(&basic(id, secret))).await).await;
            let_in(knock(&gateway, &[("client_id", id), ("client_secret", secret)], None).await).await;
            // An empty member counts as absent: some libraries always send one.
            let_in(knock(&gateway, &[("client_id", id), ("client_secret", "")], Some(&basic(id, secret))).await).await;
            let both = knock(&gateway, &[("client_id", id), ("client_secret", secret)], Some(&basic(id, secret))).await;
            oauth_error(both, 400, "invalid_request").await;
            refused(knock(&gateway, &[("client_id", "hashed")], Some(&basic("public", secret))).await).await;
        }
        refused(knock(&gateway, &[("client_id", id)], None).await).await;
        refused(knock(&gateway, &[("client_id", id), ("client_secret", "wrong")], None).await).await;
        refused(knock(&gateway, &[("client_id", id), ("client_secret", &hashes[0])], None).await).await;
    }
    let_in(knock(&gateway, &[("client_id", "public")], None).await).await;
    let_in(knock(&gateway, &[("client_id", "public"), ("client_secret", "")], None).await).await;
    refused(knock(&gateway, &[("client_id", "public"), ("client_secret", "anything")], None).await).await;
    for broken in ["Basic", "Basic ???", "Basic YQ==", "Bearer abc", "Digest username=\"public\""] {
        let answer = knock(&gateway, &[("client_id", "public")], Some(broken)).await;
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "), "{broken}");
        refused(answer).await;
    }
}

// CODE-4, SEC-5: what is signed with something else than the client's own key.
#[tokio::test]
async fn an_assertion_counts_only_if_the_clients_own_key_signed_it() {
    let gateway = TestGateway::start().await;
    let (key, strangers) = (Key::new("k"), Key::new("k"));
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] } });
    let client = TestClient::register_with(&gateway, &body).await;
    let now = doorward::domain::Clock::now(&*gateway.clock).0;
    let claims =
        |jti: &str| json!({ "iss": client.id, "sub": client.id, "aud": gateway.origin, "exp": now + 60, "jti": jti });

    let_in(knock_with(&gateway, &key.sign(&claims("good"))).await).await;
    refused(knock_with(&gateway, &strangers.sign(&claims("1"))).await).await;
    // Symmetric signatures under everything public about the key.
    let point = key.pair.public_key_raw().to_vec();
    let pem = key.pair.public_key_pem();
    for public in [point.as_slice(), pem.as_bytes(), key.jwk()["x"].as_str().unwrap().as_bytes()] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k".to_owned());
        let forged = jsonwebtoken::encode(&header, &claims("2"), &EncodingKey::from_secret(public)).unwrap();
        refused(knock_with(&gateway, &forged).await).await;
    }
    // No signature at all, and one that is not for this header.
    let signed = key.sign(&claims("3"));
    let payload = signed.split('.').nth(1).unwrap();
    for header in [json!({ "alg": "none" }), json!({ "alg": "none", "kid": "k" }), json!({ "alg": "None" })] {
        let bare = format!("{}.{payload}.", base64url(header.to_string().as_bytes()));
        refused(knock_with(&gateway, &bare).await).await;
    }
    refused(knock_with(&gateway, &signed[..=signed.rfind('.').unwrap()]).await).await;
    // A key that comes along in the header is nobody's.
    let mut header = Header::new(Algorithm::ES256);
    header.jwk = Some(serde_json::from_value(strangers.jwk()).unwrap());
    let pair = EncodingKey::from_ec_der(&strangers.pair.serialize_der());
    refused(knock_with(&gateway, &jsonwebtoken::encode(&header, &claims("4"), &pair).unwrap()).await).await;
    // Another registered client cannot speak for this one, nor this one by another method.
    let other = TestClient::register_with(&gateway, &json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [strangers.jwk()] } })).await;
    refused(knock_with(&gateway, &strangers.sign(&claims("5"))).await).await;
    let assertion = key.sign(&claims("6"));
    let named =
        [("client_id", other.id.as_str()), ("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)];
    refused(knock(&gateway, &named, None).await).await;
    refused(knock(&gateway, &[("client_id", &client.id)], None).await).await;
    refused(knock(&gateway, &[("client_id", &client.id), ("client_secret", "cs_x")], None).await).await;
    for kind in ["", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"] {
        let fields = [("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
        oauth_error(knock(&gateway, &fields, None).await, 400, "invalid_request").await;
    }
    let two = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion.as_str()), ("client_secret", "x")];
    oauth_error(knock(&gateway, &two, None).await, 400, "invalid_request").await;
    let_in(knock_with(&gateway, &assertion).await).await;
}

// CODE-4, STORE-6
#[tokio::test]
async fn an_assertion_used_on_one_replica_is_used_up_on_the_other() {
    let database = Postgres::shared().unwrap().new_database();
    let start = || {
        TestGateway::start_with(Options {
            database_url: Some(database.clone()),
            public_urls: vec!["https://gw.example".to_owned()],
            ..Options::default()
        })
    };
    let (first, second) = (start().await, start().await);
    let key = Key::new("k");
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] } });
    let client = TestClient::register_with(&first, &body).await;
    let now = doorward::domain::Clock::now(&*first.clock).0;
    let knock_at = async |gateway: &TestGateway, jti: &str| {
        let claims =
            json!({ "iss": client.id, "sub": client.id, "aud": "https://gw.example", "exp": now + 60, "jti": jti });
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "rt_nothing"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &key.sign(&claims)),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http().post(gateway.url("/oauth/token")).header("host", "gw.example").body(body);
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    };
    let_in(knock_at(&first, "1").await).await;
    refused(knock_at(&second, "1").await).await;
    refused(knock_at(&first, "1").await).await;
    let_in(knock_at(&second, "2").await).await;
}

// CIMD-5, CODE-4, CODE-2: ChatGPT's way of being known.
#[tokio::test]
async fn a_client_whose_document_names_its_keys_may_rotate_them_and_must_use_them() {
    let document = json!({
        "client_id": DOCUMENT_URL,
        "client_name": "ChatGPT",
        "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "jwks_uri": "https://client.example/jwks.json",
    });
    let (old, new) = (Key::new("2026-01"), Key::new("2026-02"));
    let keys = |keys: &[&Key]| {
        Reply::json(json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string())
    };
    let host = Host::start(Reply::json(document.to_string()));
    host.say_at("/jwks.json", keys(&[&old]));
    let gateway = gateway_beside(&host).await;
    let client = TestClient {
        gateway: &gateway,
        http: http(),
        id: DOCUMENT_URL.to_owned(),
        redirect_uri: REDIRECT.to_owned(),
        secret: None,
    };
    let assertion = |key: &Key, jti: &str| {
        let now = doorward::domain::Clock::now(&*gateway.clock).0;
        key.sign(
            &json!({ "iss": DOCUMENT_URL, "sub": DOCUMENT_URL, "aud": gateway.origin, "exp": now + 60, "jti": jti }),
        )
    };
    let fetches = || host.requests().iter().filter(|request| request.starts_with("get /jwks.json")).count();

    // The whole journey with the old key.
    let code = client.code("one").await;
    oauth_error(client.redeem(&code).await, 401, "invalid_client").await;
    let proof = assertion(&old, "1");
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", crate::support::flow::VERIFIER),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", &proof),
    ];
    let answer = post_form(&client.http, &gateway.url("/oauth/token"), &fields).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(fetches(), 1);

    // A key not seen before is looked for once more; one that is nowhere is not asked for again and again.
    host.say_at("/jwks.json", keys(&[&old, &new]));
    gateway.clock.advance(61);
    let_in(knock_with(&gateway, &assertion(&new, "2")).await).await;
    assert_eq!(fetches(), 2);
    let unknown = Key::new("2026-03");
    for jti in ["3", "4", "5"] {
        refused(knock_with(&gateway, &assertion(&unknown, jti)).await).await;
    }
    assert_eq!(fetches(), 2, "once a minute at most");

    // A retired key ends with the next look.
    host.say_at("/jwks.json", keys(&[&new]));
    gateway.clock.advance(86_400);
    refused(knock_with(&gateway, &assertion(&old, "6")).await).await;
    let_in(knock_with(&gateway, &assertion(&new, "7")).await).await;

    // Keys that cannot be had are no reason to throw tokens away.
    let elsewhere = Host::start(Reply::json(document.to_string()));
    elsewhere.say_at("/jwks.json", Reply::new(503, "text/plain", ""));
    let gateway = gateway_beside(&elsewhere).await;
    let now = doorward::domain::Clock::now(&*gateway.clock).0;
    let claims =
        json!({ "iss": DOCUMENT_URL, "sub": DOCUMENT_URL, "aud": gateway.origin, "exp": now + 60, "jti": "1" });
    oauth_error(knock_with(&gateway, &new.sign(&claims)).await, 503, "temporarily_unavailable").await;
}

// CODE-4: every bound at its second, and at its byte.
#[tokio::test]
async fn an_assertion_is_good_from_a_minute_before_to_a_minute_after_its_time_and_lives_for_so_long_at_most() {
    let gateway = TestGateway::start().await;
    gateway.clock.stop();
    let key = Key::new("k");
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] } });
    let client = TestClient::register_with(&gateway, &body).await;
    let now = doorward::domain::Clock::now(&*gateway.clock).0;
    let good = json!({ "iss": client.id, "sub": client.id, "aud": gateway.origin, "exp": now + 60 });
    for (name, last_good, first_bad) in [
        ("exp", json!(now - 59), json!(now - 60)),
        ("exp", json!(now + LONGEST_LIFE + 60), json!(now + LONGEST_LIFE + 61)),
        ("nbf", json!(now + 60), json!(now + 61)),
        ("jti", json!("j".repeat(512)), json!("j".repeat(513))),
        ("jti", json!("j"), json!("")),
        ("aud", json!(gateway.resource("one")), json!(gateway.resource("three"))),
        ("aud", json!([gateway.origin]), json!([gateway.origin, "https://elsewhere.example"])),
        ("sub", json!(client.id), json!("somebody")),
        ("iss", json!(client.id), json!("somebody")),
    ] {
        let knock = async |value: &Value| {
            let mut claims = good.clone();
            claims["jti"] = base64url(&sha256(format!("{name} {value}").as_bytes())).into();
            claims[name] = value.clone();
            knock_with(&gateway, &key.sign(&claims)).await
        };
        let_in(knock(&last_good).await).await;
        refused(knock(&first_bad).await).await;
    }
}

// CODE-4: it is forgotten when it can come back no more, and not before.
#[tokio::test]
async fn a_spent_assertion_is_remembered_for_as_long_as_it_could_come_back() {
    let gateway = TestGateway::start().await;
    gateway.clock.stop();
    let key = Key::new("k");
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] } });
    let client = TestClient::register_with(&gateway, &body).await;
    let now = doorward::domain::Clock::now(&*gateway.clock).0;
    let claims = json!({ "iss": client.id, "sub": client.id, "aud": gateway.origin, "exp": now + 60, "jti": "1" });
    let assertion = key.sign(&claims);
    let_in(knock_with(&gateway, &assertion).await).await;
    for later in [60, 59] {
        gateway.clock.advance(later);
        let store = &gateway.assembly.store;
        let now = doorward::domain::Clock::now(&*gateway.clock);
        store.purge(now, std::time::Duration::from_secs(3600), 100).await.unwrap();
        refused(knock_with(&gateway, &assertion).await).await;
    }
    let url = format!("sqlite://{}", gateway.folder().join("test.db").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    gateway.clock.advance(2);
    let now = doorward::domain::Clock::now(&*gateway.clock);
    gateway.assembly.store.purge(now, std::time::Duration::from_secs(3600), 100).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM assertion_ids").fetch_one(&mut database).await.unwrap();
    assert_eq!(kept, 0);
}
