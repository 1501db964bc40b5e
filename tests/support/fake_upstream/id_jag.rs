//! A double of an identity provider that exchanges the ID token of a sign-in for an identity assertion (RFC 8693;
//! draft-ietf-oauth-identity-assertion-authz-grant §4.3), for clients that it knows.
//!
//! It takes ID tokens of the providers that the test names, and signs assertions for audiences that the test names.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use doorward::crypto::{base64url, base64url_decode};
use doorward::domain::random::random_id;
use doorward::domain::{Clock as _, SystemClock, SystemRandom};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::authorization::{error, form_of};
use super::clients::{Clients, verified};
use super::{Arrival, Fault, Form, TokenRequest, patch};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ID_JAG_TYPE: &str = "oauth-id-jag+jwt";
/// Seconds that an assertion lives.
const LIFE: i64 = 300;

struct Provider {
    base: String,
    pair: rcgen::KeyPair,
    kid: String,
    clients: Clients,
    /// Whose ID tokens it takes: issuer, and address of the keys.
    trusted: HashMap<String, String>,
    /// What each client is called where its assertions go: by client and audience.
    known_as: HashMap<(String, String), String>,
    claims: Option<Value>,
    typ: String,
    answer: Option<Value>,
    faults: VecDeque<Fault>,
    token_requests: Vec<TokenRequest>,
    assertions: Vec<String>,
}

struct Shared {
    provider: Mutex<Provider>,
    http: reqwest::Client,
}

/// A running double; stops when dropped.
pub struct FakeJagProvider {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for FakeJagProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeJagProvider {
    /// On a free loopback port.
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Provider {
            base: format!("http://{}", listener.local_addr().unwrap()),
            pair: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
            kid: random_id("key_", &SystemRandom),
            clients: Clients::default(),
            trusted: HashMap::new(),
            known_as: HashMap::new(),
            claims: None,
            typ: ID_JAG_TYPE.to_owned(),
            answer: None,
            faults: VecDeque::new(),
            token_requests: Vec::new(),
            assertions: Vec::new(),
        };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared { provider: Mutex::new(provider), http });
        let router =
            Router::new().route("/jwks", get(jwks)).route("/token", post(token)).with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    fn provider(&self) -> MutexGuard<'_, Provider> {
        self.shared.provider.lock().unwrap()
    }

    pub fn issuer(&self) -> String {
        self.provider().base.clone()
    }

    pub fn token_url(&self) -> String {
        format!("{}/token", self.provider().base)
    }

    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.provider().base)
    }

    /// A client with one of `client_secret_basic` and `client_secret_post`.
    pub fn add_client(&self, id: &str, method: &str, secret: &str) {
        self.provider().clients.add(id, "", method, Some(secret));
    }

    /// A client that proves itself with the key of this JWK.
    pub fn add_client_with_key(&self, id: &str, jwk: Value) {
        self.provider().clients.add_with_key(id, "", jwk);
    }

    /// `client` may have assertions for `audience`, where it is called `known_as`.
    pub fn allow(&self, client: &str, audience: &str, known_as: &str) {
        self.provider().known_as.insert((client.to_owned(), audience.to_owned()), known_as.to_owned());
    }

    /// Takes ID tokens of this issuer, signed with a key from `jwks_url`.
    pub fn trust_id_tokens_of(&self, issuer: &str, jwks_url: &str) {
        self.provider().trusted.insert(issuer.to_owned(), jwks_url.to_owned());
    }

    /// Members to set in the claims of assertions from now on; null takes one out.
    pub fn set_claims(&self, claims: Value) {
        self.provider().claims = Some(claims);
    }

    /// `typ` of assertions from now on.
    pub fn set_type(&self, typ: &str) {
        typ.clone_into(&mut self.provider().typ);
    }

    /// Members to set in the answers from now on; null takes one out.
    pub fn set_answer(&self, members: Value) {
        self.provider().answer = Some(members);
    }

    /// What becomes of the next exchange that has no fault yet: one that answers, or [`Fault::Dropped`].
    pub fn fail_next(&self, fault: Fault) {
        self.provider().faults.push_back(fault);
    }

    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.provider().token_requests.clone()
    }

    /// Every assertion that it ever signed: none may be seen anywhere.
    pub fn assertions(&self) -> Vec<String> {
        self.provider().assertions.clone()
    }
}

impl Provider {
    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key_raw()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.kid, "x": base64url(x), "y": base64url(y),
        })
    }

    /// The assertion for `audience`, about whom the ID token names.
    fn exchange(&mut self, form: &Form, client: &str, keys: &[Value]) -> Result<Value, &'static str> {
        let get = |name: &str| form.get(name).map(String::as_str);
        let expected = [("grant_type", EXCHANGE), ("requested_token_type", ID_JAG), ("subject_token_type", ID_TOKEN)];
        if expected.iter().any(|(name, value)| get(name) != Some(value)) {
            return Err("invalid_request");
        }
        let subject = get("subject_token").and_then(|token| keys.iter().find_map(|key| verified(token, key)));
        let subject = subject.ok_or("invalid_grant")?;
        let audience = get("audience").ok_or("invalid_request")?;
        let known_as = self.known_as.get(&(client.to_owned(), audience.to_owned())).ok_or("invalid_target")?;
        let now = SystemClock.now().0;
        let mut claims = json!({
            "jti": random_id("", &SystemRandom), "iss": self.base, "sub": subject["sub"], "aud": audience,
            "client_id": known_as, "iat": now, "exp": now + LIFE, "email": subject["email"],
        });
        for name in ["resource", "scope"] {
            if let Some(value) = get(name) {
                claims[name] = json!(value);
            }
        }
        patch(&mut claims, self.claims.as_ref());
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(self.typ.clone());
        header.kid = Some(self.kid.clone());
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        let assertion = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        self.assertions.push(assertion.clone());
        let mut answer = json!({
            "issued_token_type": ID_JAG, "access_token": assertion, "token_type": "N_A", "expires_in": LIFE,
        });
        patch(&mut answer, self.answer.as_ref());
        Ok(answer)
    }
}

impl Shared {
    /// Keys of the provider that an ID token names, if it is one that we trust.
    async fn keys_of(&self, id_token: &str) -> Option<Vec<Value>> {
        let claims: Value = serde_json::from_slice(&base64url_decode(id_token.split('.').nth(1)?)?).ok()?;
        let url = self.provider.lock().unwrap().trusted.get(claims["iss"].as_str()?)?.clone();
        let set: Value = self.http.get(url).send().await.ok()?.json().await.ok()?;
        set["keys"].as_array().cloned()
    }
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    axum::Json(json!({ "keys": [shared.provider.lock().unwrap().jwk()] })).into_response()
}

async fn token(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let arrival = Arrival { method, query, headers, body };
    let Some(form) = form_of(&arrival) else { return error(400, "invalid_request", "the form") };
    let keys = shared.keys_of(form.get("subject_token").map_or("", String::as_str)).await.unwrap_or_default();
    let fault = {
        let mut provider = shared.provider.lock().unwrap();
        provider.token_requests.push(TokenRequest { headers: arrival.headers.clone(), form: form.clone() });
        provider.faults.pop_front()
    };
    match fault {
        Some(Fault::Answer { status, body, .. }) => {
            let json = [("content-type", "application/json")];
            return (StatusCode::from_u16(status).unwrap(), json, body).into_response();
        }
        Some(Fault::Dropped) => super::drop_connection(),
        _ => {}
    }
    let mut provider = shared.provider.lock().unwrap();
    let audiences = [provider.base.clone(), format!("{}/token", provider.base)];
    let Some(client) = provider.clients.authenticate(&arrival.headers, &form, &audiences) else {
        return error(401, "invalid_client", "the client");
    };
    match provider.exchange(&form, &client, &keys) {
        Ok(answer) => ([("cache-control", "no-store")], axum::Json(answer)).into_response(),
        Err(code) => error(400, code, "the exchange"),
    }
}
