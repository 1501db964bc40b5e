//! What an upstream is told of its caller, and that nobody else can tell it.

use std::sync::Arc;

use doorward::config::SigningAlg;
use doorward::keys::Keys;
use http::HeaderMap;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rstest::rstest;
use serde_json::{Value, json};

use crate::upstream::Upstream;
use crate::world::{START, World};

/// Every value of a header, in order.
fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// What upstreams read from the header: in this order, split at commas, then decode.
fn read(value: &str) -> Vec<String> {
    let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned();
    value.split(',').map(|part| decode(part.trim())).collect()
}

// PROX-2, PROX-14
#[tokio::test]
async fn identity_headers_tell_the_upstream_who_calls() {
    let upstream = Upstream::ok().await;
    let world = World::with(&upstream.url(), &json!({ "forwardIdentity": "headers" }), &json!({})).await;
    world.introduce().await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    let headers = upstream.last().headers;
    assert_eq!(all(&headers, "x-forwarded-user"), ["usr_1"]);
    assert_eq!(all(&headers, "x-forwarded-email"), ["ada@example.com"]);
    assert_eq!(all(&headers, "x-forwarded-name"), ["Ada Lovelace"]);
    // A group whose name holds the separator would pass for another.
    assert_eq!(all(&headers, "x-forwarded-groups"), ["staff"]);
    assert_eq!(all(&headers, "x-forwarded-organization"), ["org_1"]);
    assert!(!headers.contains_key("x-forwarded-impersonator") && !headers.contains_key("x-doorward-assertion"));
}

/// Everything that a caller could try to be taken for somebody else.
const SPOOFED: [(&str, &str); 17] = [
    ("X-Forwarded-User", "root"),
    ("x-forwarded-user", "root2"),
    ("x_forwarded_user", "root"),
    ("X_Forwarded-User", "root"),
    ("x.forwarded.user", "root"),
    ("x-forwarded-email", "root@example.com"),
    ("x_forwarded_groups", "root"),
    ("X-FORWARDED-GROUPS", "root"),
    ("x-forwarded-organization", "org_root"),
    ("x-forwarded-impersonator", "root"),
    ("x-forwarded-preferred-username", "root"),
    ("X-Doorward-Assertion", "forged"),
    ("x_doorward_assertion", "forged"),
    ("x.doorward-assertion", "forged"),
    ("x-doorward-anything", "root"),
    // What the gateway adds cannot be named away either.
    ("connection", "x-forwarded-user, x-doorward-assertion, x-forwarded-email"),
    ("connection", "X-Forwarded-Groups"),
];

// PROX-2, PROX-14
#[rstest]
#[tokio::test]
async fn nobody_but_the_gateway_says_who_calls(#[values("none", "headers", "assertion", "public")] form: &str) {
    let upstream = Upstream::ok().await;
    let options = if form == "public" { json!({ "public": true }) } else { json!({ "forwardIdentity": form }) };
    let world = World::with(&upstream.url(), &options, &json!({})).await;
    world.introduce().await;
    let mut request = world.post("{}");
    for (name, value) in SPOOFED {
        request = request.header(name, value);
    }
    assert_eq!(request.send().await.unwrap().status(), 200);
    let headers = upstream.last().headers;
    let mut told: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.contains("forwarded") || name.contains("doorward"))
        .collect();
    told.sort_unstable();
    let expected: &[&str] = match form {
        "headers" => &[
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-forwarded-name",
            "x-forwarded-organization",
            "x-forwarded-user",
        ],
        "assertion" => &["x-doorward-assertion"],
        _ => &[],
    };
    assert_eq!(told, expected);
    assert!(
        headers.values().all(|value| !value.to_str().unwrap().contains("root") && value != "forged"),
        "{headers:?}"
    );
    assert!(expected.iter().all(|name| all(&headers, name).len() == 1), "{headers:?}");
}

// PROX-14
#[tokio::test]
async fn what_a_header_cannot_hold_is_percent_encoded_and_decodes_to_itself() {
    let upstream = Upstream::ok().await;
    let world = World::with(&upstream.url(), &json!({ "forwardIdentity": "headers" }), &json!({})).await;
    let groups =
        ["staff", "\u{c4}rzte", " admins", "100%", "a%2Cadmins", "b\r\nX-Forwarded-User: root", "c,admins", ""];
    world
        .introduce_as(|person| {
            person.name = Some("\u{141}ukasz Gr\u{fc}n \u{1f642}".to_owned());
            person.groups = groups.map(str::to_owned).to_vec();
            person.organization_id = Some(String::new());
            person.email_verified = false;
        })
        .await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    let headers = upstream.last().headers;
    assert_eq!(all(&headers, "x-forwarded-name"), ["%C5%81ukasz%20Gr%C3%BCn%20%F0%9F%99%82"]);
    assert_eq!(read(all(&headers, "x-forwarded-name")[0]), ["\u{141}ukasz Gr\u{fc}n \u{1f642}"]);
    let [listed] = all(&headers, "x-forwarded-groups")[..] else { panic!("one list") };
    assert_eq!(read(listed), ["staff", "\u{c4}rzte", " admins", "100%", "a%2Cadmins", "b\r\nX-Forwarded-User: root"]);
    // A reader that does not decode sees no group that the person is not in, nor does one that decodes before it splits.
    assert!(listed.split(',').all(|group| group.trim() != "admins"), "{listed}");
    let decoded = percent_encoding::percent_decode_str(listed).decode_utf8().unwrap();
    assert!(decoded.split(',').all(|group| group != "admins"), "{decoded}");
    assert_eq!(all(&headers, "x-forwarded-user"), ["usr_1"]);
    assert!(!headers.contains_key("x-forwarded-organization"), "none is empty");
    // Anybody can sign up with another's address.
    assert!(!headers.contains_key("x-forwarded-email"));
}

// PROX-14, WOS-12
#[tokio::test]
async fn an_upstream_learns_that_somebody_acts_in_the_persons_place() {
    for (form, name) in [("headers", "x-forwarded-impersonator"), ("assertion", "x-doorward-assertion")] {
        let upstream = Upstream::ok().await;
        let world = World::with(&upstream.url(), &json!({ "forwardIdentity": form }), &json!({})).await;
        world.introduce_as(|person| person.impersonator = Some("support@example.com".to_owned())).await;
        assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
        let value = upstream.last().headers[name].to_str().unwrap().to_owned();
        if form == "headers" {
            assert_eq!(value, "support@example.com");
        } else {
            let (_, claims) = verified(&value, &world.keys, &upstream.url(), &world.origin);
            assert_eq!(claims["act"], json!({ "sub": "support@example.com" }));
        }
    }
}

/// As an upstream does it, with no more than the published keys and a JWT library.
fn verified(assertion: &str, keys: &Keys, audience: &str, issuer: &str) -> (jsonwebtoken::Header, Value) {
    let published: JwkSet = serde_json::from_value((*keys.jwks()).clone()).unwrap();
    let header = jsonwebtoken::decode_header(assertion).unwrap();
    let key = published.find(header.kid.as_deref().unwrap()).expect("the key is published");
    let mut validation = Validation::new(header.alg);
    validation.algorithms = vec![header.alg];
    validation.set_audience(&[audience]);
    validation.set_issuer(&[issuer]);
    // The test's clock stands elsewhere.
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(key).unwrap();
    (header, jsonwebtoken::decode(assertion, &key, &validation).unwrap().claims)
}

// PROX-14, DISC-19
#[rstest]
#[case(SigningAlg::Es256, Algorithm::ES256)]
#[case(SigningAlg::EdDsa, Algorithm::EdDSA)]
#[tokio::test]
async fn an_assertion_says_all_that_is_known_and_verifies_by_the_published_keys(
    #[case] signing: SigningAlg,
    #[case] algorithm: Algorithm,
) {
    let upstream = Upstream::ok().await;
    let keys = Arc::new(Keys::ephemeral(signing).unwrap());
    let options = json!({ "forwardIdentity": "assertion" });
    let world = World::with_keys(&format!("{}?key=1", upstream.url()), &options, &json!({}), keys).await;
    world
        .introduce_as(|person| {
            person.name = Some("\u{141}ukasz Gr\u{fc}n".to_owned());
            person.picture = Some("https://img.example/1.png".to_owned());
            person.entitlements = vec!["audit-logs".to_owned()];
            person.external_id = Some("crm-7".to_owned());
        })
        .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
        let headers = upstream.last().headers;
        let [assertion] = all(&headers, "x-doorward-assertion")[..] else { panic!("one assertion") };
        let (header, mut claims) = verified(assertion, &world.keys, &upstream.url(), &world.origin);
        assert_eq!((header.typ.as_deref(), header.alg), (Some("doorward-assertion+jwt"), algorithm));
        let Value::String(jti) = claims["jti"].take() else { panic!("an id") };
        ids.push(jti);
        assert_eq!(
            claims,
            json!({
                "iss": world.origin,
                "aud": upstream.url(),
                "sub": "usr_1",
                "client_id": "dcr_1",
                "scope": "mcp:tools",
                "sid": "grt_1",
                "jti": null,
                "iat": START,
                "exp": START + 60,
                "provider": "https://idp.example",
                "user_id": "user_01",
                "email": "ada@example.com",
                "email_verified": true,
                "name": "\u{141}ukasz Gr\u{fc}n",
                "given_name": "Ada",
                "family_name": "Lovelace",
                "picture": "https://img.example/1.png",
                "organization_id": "org_1",
                "roles": ["admin"],
                "groups": ["staff", "a,admins"],
                "permissions": ["tools:use"],
                "entitlements": ["audit-logs"],
                "external_id": "crm-7",
            })
        );
        assert!(!headers.keys().any(|name| name.as_str().starts_with("x-forwarded-")));
    }
    assert_ne!(ids[0], ids[1], "each call has its own, or nobody could tell a replay");
}

// PROX-14, CHAL-2
#[tokio::test]
async fn an_assertion_is_for_one_upstream_and_no_access_token() {
    let upstream = Upstream::ok().await;
    let url = format!("{}?key=1", upstream.url());
    let world = World::with(&url, &json!({ "forwardIdentity": "assertion" }), &json!({})).await;
    let person = world.introduce().await;
    assert_eq!(world.post("{}").send().await.unwrap().status(), 200);
    let assertion = upstream.last().headers["x-doorward-assertion"].to_str().unwrap().to_owned();
    let verifier = doorward::keys::AssertionVerifier::new(world.keys.clone());
    let now = doorward::domain::UnixTime(START);
    let claims = verifier.verify(&assertion, &upstream.url(), now).expect("it is for the URL without its query");
    assert_eq!((claims.iss.as_str(), claims.sub.as_str()), (world.origin.as_str(), "usr_1"));
    assert_eq!((claims.client_id.as_str(), claims.email), ("dcr_1", person.email));
    assert!(claims.exp - START <= 60);
    assert!(verifier.verify(&assertion, "http://other.example/mcp", now).is_none());
    let presented = world.client.post(world.url("one")).bearer_auth(&assertion).send().await.unwrap();
    assert_eq!(presented.status(), 401);
    let body: Value = presented.json().await.unwrap();
    assert_eq!(body["error"], "invalid_token");
}
