//! The clients that the double knows, and how each proves itself at the token endpoint (RFC 6749 §2.3, RFC 7523 §2.2).

use std::collections::HashMap;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::domain::random::random_id;
use doorward::domain::{Clock as _, SystemClock, SystemRandom};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::Form;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Ways to prove oneself that registration gives out.
pub const METHODS: [&str; 4] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];

#[derive(Debug, Clone)]
pub struct Client {
    pub redirect_uris: Vec<String>,
    pub method: String,
    pub secret: Option<String>,
    pub keys: Vec<Value>,
}

#[derive(Default)]
pub struct Clients {
    known: HashMap<String, Client>,
    /// Ids of client assertions that were used.
    used: Vec<String>,
    secrets: Vec<String>,
}

impl Clients {
    pub fn add(&mut self, id: &str, redirect_uri: &str, method: &str, secret: Option<&str>) {
        assert_eq!(secret.is_some(), method.starts_with("client_secret"), "a secret belongs to {method} or not");
        let client = Client {
            redirect_uris: vec![redirect_uri.to_owned()],
            method: method.to_owned(),
            secret: secret.map(str::to_owned),
            keys: Vec::new(),
        };
        self.secrets.extend(client.secret.clone());
        self.known.insert(id.to_owned(), client);
    }

    pub fn add_with_key(&mut self, id: &str, redirect_uri: &str, jwk: Value) {
        let redirect_uris = vec![redirect_uri.to_owned()];
        let client = Client { redirect_uris, method: "private_key_jwt".to_owned(), secret: None, keys: vec![jwk] };
        self.known.insert(id.to_owned(), client);
    }

    /// RFC 7591: what was asked for, with an id and perhaps a secret; or what is wrong with it.
    pub fn register(&mut self, asked: &Value) -> Result<Value, &'static str> {
        let redirect_uris = strings(&asked["redirect_uris"]).filter(|uris| !uris.is_empty());
        let redirect_uris = redirect_uris.ok_or("invalid_redirect_uri")?;
        let method = asked["token_endpoint_auth_method"].as_str().unwrap_or("client_secret_basic").to_owned();
        if !METHODS.contains(&method.as_str()) || (method == "private_key_jwt" && asked["jwks"].is_null()) {
            return Err("invalid_client_metadata");
        }
        let id = random_id("upstream-client-", &SystemRandom);
        let mut told = asked.clone();
        told["client_id"] = json!(id);
        told["client_id_issued_at"] = json!(SystemClock.now().0);
        told["token_endpoint_auth_method"] = json!(method);
        // With what a header by RFC 6749 §2.3.1 must encode.
        let secret = method.starts_with("client_secret").then(|| random_id("upstream secret/+%:", &SystemRandom));
        if let Some(secret) = &secret {
            told["client_secret"] = json!(secret);
            told["client_secret_expires_at"] = json!(0);
        }
        self.secrets.extend(secret.clone());
        let keys = asked["jwks"]["keys"].as_array().cloned().unwrap_or_default();
        self.known.insert(id, Client { redirect_uris, method, secret, keys });
        Ok(told)
    }

    /// A client by its metadata document, with its keys if it has any.
    pub fn learn(&mut self, url: &str, document: &Value, keys: Vec<Value>) -> Result<(), &'static str> {
        if document["client_id"].as_str() != Some(url) || document["client_name"].as_str().is_none() {
            return Err("the document is not about itself");
        }
        let redirect_uris = strings(&document["redirect_uris"]).ok_or("the document has no redirect URIs")?;
        let method = document["token_endpoint_auth_method"].as_str().unwrap_or("none").to_owned();
        if !["none", "private_key_jwt"].contains(&method.as_str()) {
            return Err("a document cannot hold a secret");
        }
        self.known.insert(url.to_owned(), Client { redirect_uris, method, secret: None, keys });
        Ok(())
    }

    pub fn get(&self, id: &str) -> Option<&Client> {
        self.known.get(id)
    }

    pub fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    /// Whether an assertion of this id comes for the first time.
    pub fn first_use(&mut self, jti: &str) -> bool {
        let is_new = !self.used.iter().any(|used| used == jti);
        self.used.push(jti.to_owned());
        is_new
    }

    /// The client that proved itself in its own way and in no other.
    pub fn authenticate(&mut self, headers: &HeaderMap, form: &Form, audiences: &[String]) -> Option<String> {
        let get = |name: &str| form.get(name).map(String::as_str);
        let basic = match headers.get("authorization") {
            Some(value) => Some(basic_pair(value.to_str().ok()?)?),
            None => None,
        };
        let assertion = get("client_assertion");
        let by_assertion = assertion.and_then(subject);
        let id = basic
            .as_ref()
            .map(|(id, _)| id.clone())
            .or(by_assertion)
            .or_else(|| get("client_id").map(str::to_owned))?;
        let client = self.known.get(&id)?;
        let agrees = get("client_id").is_none_or(|said| said == id);
        let (secret, in_body) = (client.secret.as_deref(), get("client_secret"));
        let proven = match client.method.as_str() {
            "none" => basic.is_none() && in_body.is_none() && assertion.is_none() && get("client_id").is_some(),
            "client_secret_basic" => {
                in_body.is_none() && assertion.is_none() && basic.is_some_and(|(_, own)| Some(own.as_str()) == secret)
            }
            "client_secret_post" => basic.is_none() && assertion.is_none() && in_body.is_some() && in_body == secret,
            "private_key_jwt" => {
                let keys = client.keys.clone();
                basic.is_none()
                    && in_body.is_none()
                    && get("client_assertion_type") == Some(JWT_BEARER)
                    && self.assertion_holds(assertion?, &id, &keys, audiences)
            }
            _ => false,
        };
        (proven && agrees).then_some(id)
    }

    fn assertion_holds(&mut self, assertion: &str, id: &str, keys: &[Value], audiences: &[String]) -> bool {
        let Some(claims) = keys.iter().find_map(|key| verified(assertion, key)) else { return false };
        let audience = claims["aud"].as_str().or_else(|| claims["aud"].as_array()?.first()?.as_str());
        let jti = claims["jti"].as_str().unwrap_or_default().to_owned();
        let holds = claims["iss"] == id
            && claims["sub"] == id
            && audience.is_some_and(|said| audiences.iter().any(|own| own == said))
            && !jti.is_empty();
        holds && self.first_use(&jti)
    }
}

/// The claims of a JWT that this JWK signed and that has not expired.
pub fn verified(jwt: &str, jwk: &Value) -> Option<Value> {
    let header = jsonwebtoken::decode_header(jwt).ok()?;
    let key: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    if header.kid.is_some() && key.common.key_id.is_some() && header.kid != key.common.key_id {
        return None;
    }
    let asymmetric = [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::ES384];
    if !asymmetric.contains(&header.alg) {
        return None;
    }
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    validation.leeway = 5;
    jsonwebtoken::decode::<Value>(jwt, &DecodingKey::from_jwk(&key).ok()?, &validation).ok().map(|token| token.claims)
}

/// `sub` of a JWT that nobody has looked at yet.
pub fn subject(jwt: &str) -> Option<String> {
    let claims = doorward::crypto::base64url_decode(jwt.split('.').nth(1)?)?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

/// Id and secret, each decoded (RFC 6749 §2.3.1).
fn basic_pair(header: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let pairs = format!("v={part}");
        url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

fn strings(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}
