//! A double of a provider that issues identity assertions (ID-JAG) by token exchange, for one person who signed in there.
//!
//! A test may also have it sign whatever it likes (EXT-2).

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a double stops where it cannot go on")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use doorward::crypto::base64url;
use doorward::domain::random::random_id;
use doorward::domain::{Clock as _, SystemClock, SystemRandom};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What the person's sign-in at the client gave it.
pub const ID_TOKEN: &str = "the.id.token";
/// The client as the provider knows it, and its secret there.
pub const IDP_CLIENT: (&str, &str) = ("wiki", "the wiki's secret at the provider");

/// A P-256 key.
pub struct Key {
    pair: rcgen::KeyPair,
    pub kid: String,
}

impl Key {
    pub fn generate() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { pair, kid: random_id("key_", &SystemRandom) }
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key_raw()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.kid, "x": base64url(x), "y": base64url(y),
        })
    }

    /// The header of an ID-JAG.
    pub fn header(&self) -> Header {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("oauth-id-jag+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        header
    }

    pub fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}

struct Provider {
    base: String,
    key: Key,
    /// The gateway's id of [`IDP_CLIENT`].
    client_id: String,
    jwks_down: bool,
    metadata_down: bool,
    jwks_fetches: usize,
    metadata_fetches: usize,
}

type Shared = Arc<Mutex<Provider>>;

/// A running double; stops when dropped.
pub struct FakeAssertingIdp {
    shared: Shared,
    task: JoinHandle<()>,
}

impl Drop for FakeAssertingIdp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeAssertingIdp {
    /// On a free loopback port. At the gateway, its client is `client_id`.
    pub async fn start(client_id: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared: Shared = Arc::new(Mutex::new(Provider {
            base: format!("http://{}", listener.local_addr().unwrap()),
            key: Key::generate(),
            client_id: client_id.to_owned(),
            jwks_down: false,
            metadata_down: false,
            jwks_fetches: 0,
            metadata_fetches: 0,
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    fn provider(&self) -> MutexGuard<'_, Provider> {
        self.shared.lock().unwrap()
    }

    pub fn issuer(&self) -> String {
        self.provider().base.clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.provider().base)
    }

    /// The header it gives its assertions.
    pub fn header(&self) -> Header {
        self.provider().key.header()
    }

    pub fn sign(&self, header: &Header, claims: &Value) -> String {
        self.provider().key.sign(header, claims)
    }

    /// An assertion that says this.
    pub fn assertion(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// Signs with a new key from now on, and forgets the old one.
    pub fn rotate_keys(&self) {
        self.provider().key = Key::generate();
    }

    pub fn jwk(&self) -> Value {
        self.provider().key.jwk()
    }

    pub fn set_jwks_down(&self, down: bool) {
        self.provider().jwks_down = down;
    }

    pub fn set_metadata_down(&self, down: bool) {
        self.provider().metadata_down = down;
    }

    pub fn jwks_fetches(&self) -> usize {
        self.provider().jwks_fetches
    }

    pub fn metadata_fetches(&self) -> usize {
        self.provider().metadata_fetches
    }
}

impl Provider {
    /// RFC 8693, as the draft's §4.3 profiles it.
    fn exchange(&self, form: &HashMap<String, String>) -> Option<Value> {
        let get = |name: &str| form.get(name).map(String::as_str);
        let expected = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ("subject_token", ID_TOKEN),
            ("client_id", IDP_CLIENT.0),
            ("client_secret", IDP_CLIENT.1),
        ];
        if expected.iter().any(|(name, value)| get(name) != Some(value)) {
            return None;
        }
        let now = SystemClock.now().0;
        let mut claims = json!({
            "jti": random_id("", &SystemRandom), "iss": self.base, "sub": "u-1", "aud": get("audience")?,
            "client_id": self.client_id, "resource": get("resource")?, "iat": now, "exp": now + 300,
            "email": "ada@example.com", "email_verified": true,
        });
        if let Some(scope) = get("scope") {
            claims["scope"] = json!(scope);
        }
        Some(json!({
            "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A", "expires_in": 300,
            "access_token": self.key.sign(&self.key.header(), &claims),
        }))
    }
}

async fn metadata(State(shared): State<Shared>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.metadata_fetches += 1;
    if provider.metadata_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let base = &provider.base;
    axum::Json(json!({
        "issuer": base, "authorization_endpoint": format!("{base}/authorize"), "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/jwks"),
        "identity_chaining_requested_token_types_supported": ["urn:ietf:params:oauth:token-type:id-jag"],
    }))
    .into_response()
}

async fn jwks(State(shared): State<Shared>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.jwks_fetches += 1;
    if provider.jwks_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    axum::Json(json!({ "keys": [provider.key.jwk()] })).into_response()
}

async fn token(State(shared): State<Shared>, body: Bytes) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let answer = shared.lock().unwrap().exchange(&form);
    answer.map_or_else(
        || (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": "invalid_grant" }))).into_response(),
        |answer| axum::Json(answer).into_response(),
    )
}
