//! The token endpoint: codes, and client authentication.

use base64::Engine as _;
use doorward::domain::UnixTime;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::flow::{REDIRECT, TestClient, VERIFIER, oauth_error, post_form};
use crate::support::gateway::TestGateway;

fn code_fields(code: &str) -> Vec<(&str, &str)> {
    vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)]
}

// CODE-1, CODE-14
#[tokio::test]
async fn the_token_endpoint_takes_posted_forms_only_and_answers_in_json() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let url = gateway.url("/oauth/token");
    oauth_error(client.http.get(&url).send().await.unwrap(), 405, "invalid_request").await;
    oauth_error(client.http.post(&url).json(&json!({})).send().await.unwrap(), 400, "invalid_request").await;
    oauth_error(client.token(&[]).await, 400, "invalid_request").await;
    oauth_error(client.token(&[("grant_type", "password")]).await, 400, "unsupported_grant_type").await;
    let twice = [("grant_type", "authorization_code"), ("grant_type", "authorization_code")];
    oauth_error(client.token(&twice).await, 400, "invalid_request").await;
    let huge = "x".repeat(70_000);
    oauth_error(client.token(&[("grant_type", "refresh_token"), ("x", &huge)]).await, 413, "invalid_request").await;
    // Unknown parameters are ignored, also once.
    let code = client.code("one").await;
    let mut fields = code_fields(&code);
    fields.push(("audience", "whatever"));
    assert_eq!(client.token(&fields).await.status(), StatusCode::OK);
}

// CODE-2
#[tokio::test]
async fn an_unknown_client_is_told_so_whatever_the_grant() {
    let gateway = TestGateway::start().await;
    let mut client = TestClient::register(&gateway).await;
    client.id = "dcr_unknown".to_owned();
    for grant in ["authorization_code", "refresh_token", "password", ""] {
        let body = oauth_error(client.token(&[("grant_type", grant)]).await, 401, "invalid_client").await;
        assert!(body["error_description"].as_str().unwrap().contains("reference"));
    }
}

// CODE-5, CODE-6, CODE-7, CODE-8, CODE-10
#[tokio::test]
async fn a_code_is_good_once_for_everything_it_was_issued_for() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let other = TestClient::register(&gateway).await;
    let code = client.code("one").await;
    let change = |name: &'static str, value: &'static str| {
        let mut fields = code_fields(&code);
        fields.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
        fields
    };
    oauth_error(other.token(&code_fields(&code)).await, 400, "invalid_grant").await;
    for (name, value, error) in [
        ("code_verifier", "", "invalid_grant"),
        ("code_verifier", "short", "invalid_grant"),
        ("code_verifier", "eBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "invalid_grant"),
        ("redirect_uri", "http://127.0.0.1:7777/callback?invalid=1", "invalid_grant"),
        ("redirect_uri", "http://127.0.0.1:7778/callback", "invalid_grant"),
        ("code", "ac_unknown", "invalid_grant"),
        ("code", "", "invalid_request"),
        ("resource", "https://evil.example/mcp/one", "invalid_target"),
    ] {
        oauth_error(client.token(&change(name, value)).await, 400, error).await;
    }
    // Nothing of that spent the code; the redirect URI may be left out, the resource be given in any spelling.
    let resource = format!("{}/", gateway.resource("one"));
    let mut fields = change("redirect_uri", "");
    fields.push(("resource", &resource));
    let tokens: Value = client.token(&fields).await.json().await.unwrap();
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        client.call("one", access).await.status(),
        StatusCode::BAD_GATEWAY,
        "accepted, the upstream is not there"
    );

    // A replay with a wrong verifier reveals nothing and ends nothing; one with the right verifier ends the grant.
    oauth_error(
        client.token(&change("code_verifier", "eBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")).await,
        400,
        "invalid_grant",
    )
    .await;
    assert_eq!(client.call("one", access).await.status(), StatusCode::BAD_GATEWAY);
    oauth_error(client.redeem(&code).await, 400, "invalid_grant").await;
    assert_eq!(client.call("one", access).await.status(), StatusCode::UNAUTHORIZED);
    oauth_error(client.refresh(tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant").await;
}

// CODE-5
#[tokio::test]
async fn a_code_lives_sixty_seconds() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let code = client.code("one").await;
    gateway.clock.advance(61);
    oauth_error(client.redeem(&code).await, 400, "invalid_grant").await;
}

// CODE-9
#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_redemptions_at_once_one_gets_tokens_and_they_die_with_the_replay() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let code = client.code("one").await;
    let tries = (0..20).map(|_| client.redeem(&code));
    let answers = futures_util::future::join_all(tries).await;
    let good = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    assert_eq!(good, 1);
}

// CODE-11, CODE-12, CODE-13, DISC-19
#[tokio::test]
async fn an_access_token_says_who_what_for_and_how_long() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    let token = tokens["access_token"].as_str().unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), Algorithm::ES256));
    let jwks: Value =
        client.http.get(gateway.url("/.well-known/jwks.json")).send().await.unwrap().json().await.unwrap();
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header.kid.clone().unwrap()).unwrap();
    let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.clone()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(Algorithm::ES256);
    validation.set_audience(&[gateway.resource("one")]);
    validation.set_issuer(&[&gateway.origin]);
    let claims: Value =
        jsonwebtoken::decode(token, &jsonwebtoken::DecodingKey::from_jwk(&key).unwrap(), &validation).unwrap().claims;
    assert_eq!(claims["client_id"], client.id);
    assert_eq!(claims["scope"], "mcp:tools");
    assert!(claims["sub"].as_str().unwrap().starts_with("usr_") && claims["sid"].as_str().unwrap().starts_with("grt_"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert_eq!(tokens["expires_in"], 900);
    assert!(tokens.as_object().unwrap().values().all(|value| !value.is_null()));
    // The same person is the same subject to every client.
    let again = TestClient::register(&gateway).await.connect("two").await;
    let payload = again["access_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let payload: Value = serde_json::from_slice(&doorward::crypto::base64url_decode(&payload).unwrap()).unwrap();
    assert_eq!(payload["sub"], claims["sub"]);
}

// CODE-3, SEC-7
#[tokio::test]
async fn a_client_with_a_secret_must_use_it_by_post_or_basic() {
    let gateway = TestGateway::start().await;
    let body = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_basic" });
    let client = TestClient::register_with(&gateway, &body).await;
    let secret = client.secret.clone().unwrap();
    let url = gateway.url("/oauth/token");
    let basic = |id: &str, secret: &str| {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(id), encode(secret));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let send = async |authorization: String, fields: &[(&str, &str)]| {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = client.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(body);
        request.header("authorization", authorization).send().await.unwrap()
    };

    let code = client.code("one").await;
    let fields = code_fields(&code);
    let no_secret: Vec<_> = [("client_id", client.id.as_str())].into_iter().chain(fields.clone()).collect();
    oauth_error(post_form(&client.http, &url, &no_secret).await, 401, "invalid_client").await;
    let wrong = send(basic(&client.id, "wrong"), &fields).await;
    assert!(wrong.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    let wrong = oauth_error(wrong, 401, "invalid_client").await;
    let unknown = oauth_error(send(basic("dcr_nobody", "wrong"), &fields).await, 401, "invalid_client").await;
    let text =
        |body: &Value| body["error_description"].as_str().unwrap().split(" (reference").next().unwrap().to_owned();
    assert_eq!(text(&wrong), text(&unknown));
    let both: Vec<_> = [("client_secret", secret.as_str())].into_iter().chain(fields.clone()).collect();
    oauth_error(send(basic(&client.id, &secret), &both).await, 400, "invalid_request").await;

    let tokens: Value = send(basic(&client.id, &secret), &fields).await.json().await.unwrap();
    let response = client.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK, "the same secret by post");
}

// CODE-4
#[tokio::test]
async fn a_client_with_a_key_proves_itself_by_an_assertion_for_our_issuer_once() {
    let gateway = TestGateway::start().await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let point = pair.public_key_raw();
    let (x, y) = point[1..].split_at(32);
    let encode = doorward::crypto::base64url;
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "x": encode(x), "y": encode(y) });
    let body = json!({
        "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [jwk] },
    });
    let client = TestClient::register_with(&gateway, &body).await;
    let code = client.code("one").await;
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    let now = doorward::domain::Clock::now(&*gateway.clock).0;
    let sign = |changes: Value, alg: Algorithm| {
        let mut claims =
            json!({ "iss": client.id, "sub": client.id, "aud": gateway.origin, "exp": now + 60, "jti": "1" });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let mut header = Header::new(alg);
        header.kid = Some("k".to_owned());
        let hmac = EncodingKey::from_secret(b"public knowledge");
        jsonwebtoken::encode(&header, &claims, if alg == Algorithm::HS256 { &hmac } else { &key }).unwrap()
    };
    let redeem = async |assertion: &str| {
        let mut fields = code_fields(&code);
        fields.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        fields.push(("client_assertion", assertion));
        post_form(&client.http, &gateway.url("/oauth/token"), &fields).await
    };

    oauth_error(client.redeem(&code).await, 401, "invalid_client").await;
    for changes in [
        json!({ "aud": format!("{}/oauth/token", gateway.origin) }),
        json!({ "aud": [gateway.origin, "https://other.example"] }),
        json!({ "aud": "https://other.example" }),
        json!({ "iss": "someone" }),
        json!({ "exp": now - 61 }),
        json!({ "exp": now + 3600 }),
        json!({ "nbf": now + 120 }),
        json!({ "jti": "" }),
    ] {
        let assertion = sign(changes.clone(), Algorithm::ES256);
        assert_eq!(redeem(&assertion).await.status(), StatusCode::UNAUTHORIZED, "{changes}");
    }
    oauth_error(redeem(&sign(json!({}), Algorithm::HS256)).await, 401, "invalid_client").await;
    // RFC 7515 §4.1.11: what must be understood and is not.
    let mut header = Header::new(Algorithm::ES256);
    header.crit = Some(vec!["b64".to_owned()]);
    let claims = json!({ "iss": client.id, "sub": client.id, "aud": gateway.origin, "exp": now + 60, "jti": "c" });
    let critical = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    oauth_error(redeem(&critical).await, 401, "invalid_client").await;
    let good = sign(json!({ "aud": [gateway.origin] }), Algorithm::ES256);
    assert_eq!(redeem(&good).await.status(), StatusCode::OK);
    oauth_error(redeem(&good).await, 401, "invalid_client").await;
    // The path issuer is ours as well; the code is spent by now, which is a matter of the grant.
    let path = sign(json!({ "aud": gateway.resource("one"), "jti": "2" }), Algorithm::ES256);
    oauth_error(redeem(&path).await, 400, "invalid_grant").await;
    // A client's clock may be a minute ahead, and behind; its assertion is remembered for that long as well.
    let ahead = sign(json!({ "nbf": now + 30, "exp": now + 330, "jti": "3" }), Algorithm::ES256);
    oauth_error(redeem(&ahead).await, 400, "invalid_grant").await;
    let behind = sign(json!({ "exp": now - 30, "jti": "4" }), Algorithm::ES256);
    oauth_error(redeem(&behind).await, 400, "invalid_grant").await;
    let present = doorward::domain::Clock::now(&*gateway.clock);
    gateway.assembly.store.purge(present, std::time::Duration::from_secs(86_400), 100).await.unwrap();
    oauth_error(redeem(&behind).await, 401, "invalid_client").await;
}

// DISC-13
#[tokio::test]
async fn a_code_and_a_grant_are_good_on_the_origin_that_made_them_only() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let other_origin = format!("http://127.0.0.1:{}", gateway.address.port());
    let code = client.code("one").await;
    let mut fields = vec![("client_id", client.id.as_str())];
    fields.extend(code_fields(&code));
    let foreign = post_form(&client.http, &format!("{other_origin}/oauth/token"), &fields).await;
    oauth_error(foreign, 400, "invalid_grant").await;
    let tokens: Value = client.redeem(&code).await.json().await.unwrap();
    let call =
        client.http.post(format!("{other_origin}/mcp/one")).bearer_auth(tokens["access_token"].as_str().unwrap());
    assert_eq!(call.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let fields = [
        ("client_id", client.id.as_str()),
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    oauth_error(post_form(&client.http, &format!("{other_origin}/oauth/token"), &fields).await, 400, "invalid_grant")
        .await;
    assert_eq!(client.refresh(tokens["refresh_token"].as_str().unwrap()).await.status(), StatusCode::OK);
    assert!(UnixTime(0) < doorward::domain::Clock::now(&*gateway.clock));
}

// CODE-15, SEC-6
#[tokio::test]
async fn whatever_is_sent_a_description_keeps_to_its_characters_and_ends_with_a_reference() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let hostile = "\"quoted\" \\ back\nline\u{7f}\u{fc}\u{1f6aa}s3cr3t";
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/register"] {
        for fields in [
            vec![("grant_type", hostile)],
            vec![("client_id", hostile), ("grant_type", "refresh_token"), ("refresh_token", hostile)],
            vec![("client_id", &client.id), ("grant_type", "refresh_token"), ("refresh_token", hostile)],
            vec![("client_id", &client.id), ("grant_type", "authorization_code"), ("code", hostile)],
            vec![("client_id", &client.id), ("client_secret", hostile), ("token", hostile)],
            vec![(&hostile[..12], "s3cr3t"), (&hostile[..12], "s3cr3t")],
        ] {
            let answer = post_form(&client.http, &gateway.url(path), &fields).await;
            if answer.status() == StatusCode::OK {
                continue; // A revocation of nothing.
            }
            let body: Value = answer.json().await.unwrap();
            let description = body["error_description"].as_str().unwrap();
            let legal = |char: char| matches!(char, ' '..='!' | '#'..='[' | ']'..='~');
            assert!(description.chars().all(legal), "{description:?}");
            assert!(description.contains("reference") && !description.contains("s3cr3t"), "{description:?}");
        }
    }
    let names_it = json!({ "redirect_uris": [hostile] });
    let answer = client.http.post(gateway.url("/oauth/register")).json(&names_it).send().await.unwrap();
    let body = oauth_error(answer, 400, "invalid_redirect_uri").await;
    let description = body["error_description"].as_str().unwrap();
    assert!(description.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{description:?}");
}

// CODE-5
#[tokio::test]
async fn a_code_is_over_in_its_sixtieth_second() {
    let gateway = TestGateway::start().await;
    gateway.clock.stop();
    let client = TestClient::register(&gateway).await;
    let (in_time, too_late) = (client.code("one").await, client.code("one").await);
    gateway.clock.advance(59);
    assert_eq!(client.redeem(&in_time).await.status(), StatusCode::OK);
    gateway.clock.advance(1);
    oauth_error(client.redeem(&too_late).await, 400, "invalid_grant").await;
}
