//! A double of an OpenID provider, stricter than a real one: what it does not expect, it refuses.
//!
//! One person who signs in without a page. [`Behaviour`] makes it fail or lie in all the ways the requirements name
//! (IDP-2 … IDP-11). With a [`Likeness`] it stands where a well-known provider does: over TLS, under that one's host names.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::result_large_err, reason = "a refusal is an answer, and speed is no matter")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a double stops where it cannot go on")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::crypto::{base64url, sha256};
use doorward::domain::random::random_id;
use doorward::domain::{Clock, SystemClock, SystemRandom};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

pub const CLIENT_ID: &str = "doorward:gateway";
pub const CLIENT_SECRET: &str = "a secret/with+signs%";

/// What the authorization endpoint takes; anything else came from somewhere it should not have (IDP-7).
const AUTHORIZE_PARAMETERS: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "audience",
    "max_age",
    "prompt",
];

/// How it answers. `Default` is how it should be.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Members to set in the metadata; null takes one out.
    pub metadata: Option<Value>,
    /// The metadata's status instead of 200.
    pub metadata_status: Option<u16>,
    /// The metadata stand where RFC 8414 puts them.
    pub only_rfc_8414: bool,
    /// The authorization endpoint sends the browser back with this `error`.
    pub callback_error: Option<String>,
    /// `iss` on the callback.
    pub callback_issuer: Option<String>,
    /// The token endpoint answers with this status and body.
    pub fail: Option<(u16, String)>,
    /// The token endpoint takes this long.
    pub delay: Duration,
    /// Members to set in the ID token's claims; null takes one out.
    pub claims: Option<Value>,
    /// Signs with the client secret, as HS256.
    pub symmetric: bool,
    /// Signs with a key that the set does not hold, under the id of one that it does.
    pub forged: bool,
    /// Names a key that the set does not hold.
    pub foreign_key: bool,
    /// Does not name its key.
    pub nameless_key: bool,
    pub jwks_down: bool,
    /// Answer of userinfo; `None`: 401.
    pub userinfo: Option<Value>,
    /// Members to set in the answers of the token endpoint; null takes one out.
    pub token_answer: Option<Value>,
}

/// A provider that it looks like.
#[derive(Debug, Clone)]
pub struct Likeness {
    pub issuer: &'static str,
    pub authorize: &'static str,
    pub token: &'static str,
    pub jwks: &'static str,
    pub userinfo: &'static str,
    pub client_id: &'static str,
    /// The secret is taken from the body only, and else from the header only.
    pub secret_in_body: bool,
    /// Claims of the person in a JWT as access token; without any, the token is no JWT.
    pub access_token: Option<Value>,
}

/// Where a [`Likeness`] can be found.
#[derive(Debug, Clone)]
pub struct Place {
    pub address: std::net::SocketAddr,
    /// The host names it answers to.
    pub hosts: Vec<String>,
    /// Its certificate, as PEM.
    pub root: Vec<u8>,
}

struct Provider {
    base: String,
    likeness: Option<Likeness>,
    behaviour: Behaviour,
    key: SigningKey,
    codes: HashMap<String, Issued>,
    /// The claims that each of them was given for.
    refresh_tokens: HashMap<String, Option<Value>>,
    clock: Arc<dyn Clock>,
    token_requests: Vec<(HeaderMap, HashMap<String, String>)>,
    metadata_fetches: usize,
    jwks_fetches: usize,
}

struct Issued {
    challenge: Option<String>,
    nonce: String,
    redirect_uri: String,
}

#[derive(Clone)]
struct SigningKey {
    kid: String,
    key: EncodingKey,
    jwk: Jwk,
}

impl SigningKey {
    fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let kid = random_id("key_", &SystemRandom);
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Self { kid, key, jwk }
    }
}

type Shared = Arc<Mutex<Provider>>;

/// A running double; stops when dropped.
pub struct FakeOidc {
    shared: Shared,
    task: JoinHandle<()>,
}

impl Drop for FakeOidc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeOidc {
    /// On a free loopback port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Provider::shared(format!("http://{}", listener.local_addr().unwrap()), None);
        let router = Router::new()
            .route("/tenant/.well-known/openid-configuration", get(openid_configuration))
            .route("/.well-known/oauth-authorization-server/tenant", get(rfc_8414))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/jwks", get(jwks))
            .route("/userinfo", get(userinfo))
            .with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    /// In the place of a well-known provider, for whoever looks for its hosts at [`Place::address`].
    pub async fn start_as(likeness: Likeness) -> (Self, Place) {
        let urls = [likeness.issuer, likeness.authorize, likeness.token, likeness.jwks, likeness.userinfo];
        let mut hosts: Vec<String> =
            urls.iter().map(|url| Url::parse(url).unwrap().host_str().unwrap().to_owned()).collect();
        hosts.sort();
        hosts.dedup();
        let made = rcgen::generate_simple_self_signed(hosts.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place { address: listener.local_addr().unwrap(), hosts, root: made.cert.pem().into_bytes() };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let listener = TlsListener { tcp: listener, tls: Arc::new(config).into() };
        let shared = Provider::shared(String::new(), Some(likeness));
        let router = Router::new().fallback(in_its_place).with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (Self { shared, task }, place)
    }

    /// Changes the claims in access tokens from now on.
    pub fn set_access_token(&self, claims: Value) {
        self.provider().likeness.as_mut().expect("a likeness").access_token = Some(claims);
    }

    fn provider(&self) -> MutexGuard<'_, Provider> {
        self.shared.lock().unwrap()
    }

    /// `http://127.0.0.1:PORT`
    pub fn base(&self) -> String {
        self.provider().base.clone()
    }

    pub fn issuer(&self) -> String {
        self.provider().issuer()
    }

    /// Changes how it answers from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.provider().behaviour);
    }

    /// Tells the time by this clock from now on.
    pub fn follow(&self, clock: Arc<dyn Clock>) {
        self.provider().clock = clock;
    }

    /// Takes back every refresh token that is out.
    pub fn revoke(&self) {
        self.provider().refresh_tokens.clear();
    }

    /// How many token requests there were with this grant type.
    pub fn granted(&self, grant_type: &str) -> usize {
        let requests = &self.provider().token_requests;
        requests.iter().filter(|(_, form)| form.get("grant_type").is_some_and(|given| given == grant_type)).count()
    }

    /// Signs with a new key from now on, and forgets the old one.
    pub fn rotate_keys(&self) {
        self.provider().key = SigningKey::generate();
    }

    /// Headers and form of each token request.
    pub fn token_requests(&self) -> Vec<(HeaderMap, HashMap<String, String>)> {
        self.provider().token_requests.clone()
    }

    pub fn metadata_fetches(&self) -> usize {
        self.provider().metadata_fetches
    }

    pub fn jwks_fetches(&self) -> usize {
        self.provider().jwks_fetches
    }
}

/// Accepts TLS connections; those that do not get that far are dropped.
struct TlsListener {
    tcp: TcpListener,
    tls: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = tokio_rustls::server::TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

impl Provider {
    fn shared(base: String, likeness: Option<Likeness>) -> Shared {
        Arc::new(Mutex::new(Self {
            base,
            likeness,
            behaviour: Behaviour::default(),
            key: SigningKey::generate(),
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            clock: Arc::new(SystemClock),
            token_requests: Vec::new(),
            metadata_fetches: 0,
            jwks_fetches: 0,
        }))
    }

    fn issuer(&self) -> String {
        match &self.likeness {
            Some(likeness) => likeness.issuer.to_owned(),
            None => format!("{}/tenant", self.base),
        }
    }

    fn client_id(&self) -> &str {
        self.likeness.as_ref().map_or(CLIENT_ID, |likeness| likeness.client_id)
    }

    /// Whether the gateway proved itself in the way that the likeness takes (IDP-9).
    fn knows(&self, headers: &HeaderMap, form: &HashMap<String, String>) -> bool {
        let Some(likeness) = &self.likeness else { return true };
        let in_body = form.get("client_secret").map(String::as_str) == Some(CLIENT_SECRET)
            && form.get("client_id").map(String::as_str) == Some(likeness.client_id);
        let basic = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let in_header = basic.and_then(|text| STANDARD.decode(text).ok()).is_some_and(|pair| {
            let encoded = |text: &str| {
                let encoded = url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                encoded.replace('+', "%20")
            };
            pair == format!("{}:{}", encoded(likeness.client_id), encoded(CLIENT_SECRET)).into_bytes()
        });
        (in_body, in_header) == (likeness.secret_in_body, !likeness.secret_in_body)
    }

    fn access_token(&self) -> String {
        let Some(claims) = self.likeness.as_ref().and_then(|likeness| likeness.access_token.as_ref()) else {
            return "provider-access-canary".to_owned();
        };
        let now = self.clock.now().0;
        let mut all = json!({
            "iss": self.issuer(), "sub": "u-1", "aud": "account", "azp": self.client_id(), "iat": now, "exp": now + 300,
        });
        patch(&mut all, Some(claims));
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key.kid.clone());
        jsonwebtoken::encode(&header, &all, &self.key.key).unwrap()
    }

    fn metadata(&self) -> Response {
        if let Some(status) = self.behaviour.metadata_status {
            return (StatusCode::from_u16(status).unwrap(), "no").into_response();
        }
        let base = &self.base;
        let mut metadata = json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "jwks_uri": format!("{base}/jwks"),
            "userinfo_endpoint": format!("{base}/userinfo"),
            "end_session_endpoint": format!("{base}/logout"),
        });
        patch(&mut metadata, self.behaviour.metadata.as_ref());
        axum::Json(metadata).into_response()
    }

    /// `nonce` is that of a login.
    fn id_token(&self, nonce: Option<&str>, changes: Option<&Value>) -> String {
        let now = self.clock.now().0;
        let mut claims = json!({
            "iss": self.issuer(), "sub": "u-1", "aud": self.client_id(), "iat": now, "exp": now + 300,
            "email": "ada@example.com", "email_verified": true, "name": "Ada Byron", "sid": "s-1",
            "roles": ["engineer"], "groups": ["staff"],
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        patch(&mut claims, changes);
        if self.behaviour.symmetric {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = Some(self.key.kid.clone());
            return jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(CLIENT_SECRET.as_bytes()))
                .unwrap();
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(if self.behaviour.foreign_key { "foreign".into() } else { self.key.kid.clone() })
            .filter(|_| !self.behaviour.nameless_key);
        let key = if self.behaviour.forged { SigningKey::generate().key } else { self.key.key.clone() };
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }

    fn redeem(&mut self, form: &HashMap<String, String>) -> Result<Value, Response> {
        let refuse = |error: &str| {
            (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": error, "error_description": "canary-77" })))
                .into_response()
        };
        let get = |name: &str| form.get(name).map(String::as_str);
        match get("grant_type") {
            Some("authorization_code") => {
                let issued =
                    self.codes.remove(get("code").unwrap_or_default()).ok_or_else(|| refuse("invalid_grant"))?;
                let challenge = get("code_verifier").map(|verifier| base64url(&sha256(verifier.as_bytes())));
                if challenge != issued.challenge || get("redirect_uri") != Some(&issued.redirect_uri) {
                    return Err(refuse("invalid_grant"));
                }
                let claims = self.behaviour.claims.clone();
                Ok(self.answer(Some(&issued.nonce), claims))
            }
            // Each refresh token works once.
            Some("refresh_token") => {
                let claims = self.refresh_tokens.remove(get("refresh_token").unwrap_or_default());
                Ok(self.answer(None, claims.ok_or_else(|| refuse("invalid_grant"))?))
            }
            _ => Err(refuse("unsupported_grant_type")),
        }
    }

    fn answer(&mut self, nonce: Option<&str>, claims: Option<Value>) -> Value {
        let refresh_token = random_id("provider-refresh-canary-", &SystemRandom);
        let mut answer = json!({
            "token_type": "Bearer", "expires_in": 300, "access_token": self.access_token(),
            "refresh_token": refresh_token, "id_token": self.id_token(nonce, claims.as_ref()),
        });
        self.refresh_tokens.insert(refresh_token, claims);
        patch(&mut answer, self.behaviour.token_answer.as_ref());
        answer
    }
}

/// Sets the members of `changes` in `object`; null takes one out.
fn patch(object: &mut Value, changes: Option<&Value>) {
    for (name, value) in changes.and_then(Value::as_object).into_iter().flatten() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
}

async fn openid_configuration(State(shared): State<Shared>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.metadata_fetches += 1;
    if provider.behaviour.only_rfc_8414 { StatusCode::NOT_FOUND.into_response() } else { provider.metadata() }
}

async fn rfc_8414(State(shared): State<Shared>) -> Response {
    let provider = shared.lock().unwrap();
    if provider.behaviour.only_rfc_8414 { provider.metadata() } else { StatusCode::NOT_FOUND.into_response() }
}

async fn authorize(State(shared): State<Shared>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let mut provider = shared.lock().unwrap();
    let get = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let known = query.iter().all(|(name, _)| AUTHORIZE_PARAMETERS.contains(&name.as_str()));
    let complete = get("response_type").as_deref() == Some("code")
        && get("client_id").as_deref() == Some(provider.client_id())
        && get("scope").is_some_and(|scope| scope.split(' ').any(|scope| scope == "openid"))
        && get("nonce").is_some_and(|nonce| nonce.len() >= 22)
        && get("state").is_some_and(|state| state.len() >= 22);
    if !known || !complete {
        return (StatusCode::BAD_REQUEST, format!("not expected: {query:?}")).into_response();
    }
    let redirect_uri = get("redirect_uri").unwrap();
    let mut back = Url::parse(&redirect_uri).unwrap();
    back.query_pairs_mut().append_pair("state", &get("state").unwrap());
    if let Some(issuer) = &provider.behaviour.callback_issuer {
        back.query_pairs_mut().append_pair("iss", issuer);
    }
    if let Some(error) = &provider.behaviour.callback_error {
        back.query_pairs_mut().append_pair("error", error).append_pair("error_description", "canary-77");
    } else {
        let code = random_id("code_", &SystemRandom);
        let issued = Issued { challenge: get("code_challenge"), nonce: get("nonce").unwrap(), redirect_uri };
        provider.codes.insert(code.clone(), issued);
        back.query_pairs_mut().append_pair("code", &code);
    }
    Redirect::to(back.as_str()).into_response()
}

async fn token(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let delay = shared.lock().unwrap().behaviour.delay;
    tokio::time::sleep(delay).await;
    let mut provider = shared.lock().unwrap();
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let known = provider.knows(&headers, &form);
    provider.token_requests.push((headers, form.clone()));
    if !known {
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({ "error": "invalid_client" }))).into_response();
    }
    if let Some((status, body)) = provider.behaviour.fail.clone() {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    provider.redeem(&form).map_or_else(|refusal| refusal, |answer| axum::Json(answer).into_response())
}

/// Only the URLs of the likeness exist, on their own hosts.
async fn in_its_place(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).or(uri.host()).unwrap_or_default().to_owned();
    let asked = format!("https://{host}{}", uri.path());
    let likeness = shared.lock().unwrap().likeness.clone().unwrap();
    match (method, asked.as_str()) {
        (Method::GET, url) if url == likeness.authorize => {
            let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
            authorize(State(shared), Query(query)).await
        }
        (Method::POST, url) if url == likeness.token => token(State(shared), headers, body).await,
        (Method::GET, url) if url == likeness.jwks => jwks(State(shared)).await,
        (Method::GET, url) if url == likeness.userinfo => userinfo(State(shared), headers).await,
        (_, url) => (StatusCode::NOT_FOUND, format!("nothing at {url}")).into_response(),
    }
}

async fn jwks(State(shared): State<Shared>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.jwks_fetches += 1;
    if provider.behaviour.jwks_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    axum::Json(JwkSet { keys: vec![provider.key.jwk.clone()] }).into_response()
}

async fn userinfo(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let provider = shared.lock().unwrap();
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let authorized = bearer.is_some_and(|token| token == "provider-access-canary" || token.split('.').count() == 3);
    match &provider.behaviour.userinfo {
        Some(answer) if authorized => axum::Json(answer.clone()).into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}
