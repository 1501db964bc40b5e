//! A double of AuthKit as an OAuth server (WorkOS Connect), stricter than the real one: what it does not expect, it
//! refuses.
//!
//! Does RFC 8414 metadata, dynamic registration, the code flow with PKCE and `resource`, refresh, keys, userinfo, and the
//! one call of the WorkOS API that describes a user. One person signs in, without a page.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::result_large_err, reason = "a refusal is an answer, and speed is no matter")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a double stops where it cannot go on")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use doorward::crypto::{base64url, sha256};
use doorward::domain::random::random_id;
use doorward::domain::{Clock as _, SystemClock, SystemRandom};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;

/// The client id of the environment, which tokens without a resource are for.
pub const ENVIRONMENT: &str = "client_01ENVIRONMENT";
/// The OAuth application that is known without registering, and its secret.
pub const APPLICATION: &str = "client_01APPLICATION";
pub const APPLICATION_SECRET: &str = "1eaaf7a47948398d89e2b07dce912b6a";
pub const API_KEY: &str = "sk_test_fake_authkit";
pub const USER: &str = "user_01ADA";
/// Seconds a token lives.
const TOKEN_LIFE: i64 = 300;
/// Bytes before the PKCS #1 key that jsonwebtoken wants, in the PKCS #8 form of a 2048-bit RSA key.
const PKCS8_HEADER: usize = 26;

/// What `authorize` takes; anything else came from somewhere it should not have (IDP-7).
const AUTHORIZE_PARAMETERS: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "prompt",
];

/// How it answers. `Default` is how it should be.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Members to set in the metadata; null takes one out.
    pub metadata: Option<Value>,
    pub metadata_status: Option<u16>,
    /// `Cache-Control` of the metadata.
    pub metadata_cache: Option<&'static str>,
    pub jwks_down: bool,
    /// Dynamic client registration is switched off in the dashboard.
    pub registration_off: bool,
    /// Members to set in the claims of access tokens; null takes one out.
    pub claims: Option<Value>,
    /// Members to set in the claims of ID tokens.
    pub id_token: Option<Value>,
    /// The redirect URI of [`APPLICATION`] is not listed.
    pub redirect_uri_unlisted: bool,
    /// [`APPLICATION`] was deleted.
    pub application_deleted: bool,
    /// Status of the user's description instead of 200.
    pub user_status: Option<u16>,
}

struct Provider {
    base: String,
    behaviour: Behaviour,
    key: SigningKey,
    /// MCP resource indicators of the dashboard; without any, `resource` is ignored.
    resources: HashSet<String>,
    clients: HashMap<String, Vec<String>>,
    codes: HashMap<String, Issued>,
    refresh_tokens: HashMap<String, Issued>,
    token_requests: Vec<HashMap<String, String>>,
    fetches: HashMap<&'static str, usize>,
}

#[derive(Clone)]
struct Issued {
    client: String,
    challenge: Option<String>,
    nonce: Option<String>,
    redirect_uri: String,
    resource: Option<String>,
    scope: String,
}

#[derive(Clone)]
struct SigningKey {
    kid: String,
    key: EncodingKey,
    jwk: Jwk,
}

impl SigningKey {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let key = EncodingKey::from_rsa_der(&pkcs8.as_ref()[PKCS8_HEADER..]);
        let kid = random_id("sso_oidc_key_pair_", &SystemRandom);
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Self { kid, key, jwk }
    }
}

type Shared = Arc<Mutex<Provider>>;

/// A running double; stops when dropped.
pub struct FakeAuthKit {
    shared: Shared,
    task: JoinHandle<()>,
}

impl Drop for FakeAuthKit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeAuthKit {
    /// On a free loopback port.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared: Shared = Arc::new(Mutex::new(Provider {
            base,
            behaviour: Behaviour::default(),
            key: SigningKey::generate(),
            resources: HashSet::new(),
            clients: HashMap::new(),
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            token_requests: Vec::new(),
            fetches: HashMap::new(),
        }));
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/.well-known/openid-configuration", get(openid_configuration))
            .route("/oauth2/register", post(register))
            .route("/oauth2/authorize", get(authorize))
            .route("/oauth2/token", post(token))
            .route("/oauth2/jwks", get(jwks))
            .route("/oauth2/userinfo", get(userinfo))
            .route("/user_management/users/{id}", get(user))
            .with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    /// Runs until it is stopped.
    pub async fn run(mut self) {
        (&mut self.task).await.unwrap();
    }

    fn provider(&self) -> MutexGuard<'_, Provider> {
        self.shared.lock().unwrap()
    }

    /// `http://127.0.0.1:PORT`, its issuer.
    pub fn base(&self) -> String {
        self.provider().base.clone()
    }

    /// Changes how it answers from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.provider().behaviour);
    }

    /// Lists an MCP resource indicator in the dashboard.
    pub fn list_resource(&self, resource: &str) {
        self.provider().resources.insert(resource.to_owned());
    }

    /// Signs with a new key from now on, and forgets the old one.
    pub fn rotate_keys(&self) {
        self.provider().key = SigningKey::generate();
    }

    /// How often something was asked for: `metadata`, `openid`, `jwks`, `user` or `authorize`.
    pub fn fetches(&self, what: &'static str) -> usize {
        self.provider().fetches.get(what).copied().unwrap_or_default()
    }

    /// The form of each token request.
    pub fn token_requests(&self) -> Vec<HashMap<String, String>> {
        self.provider().token_requests.clone()
    }

    /// The claims of a good access token for `audience`.
    pub fn claims(&self, audience: &str) -> Value {
        self.provider().claims("client_01MCP", audience, "openid profile email")
    }

    /// Signs claims as AuthKit does.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&Header::new(Algorithm::RS256), claims)
    }

    /// Signs with another header; its `kid` is AuthKit's unless it names one.
    pub fn sign_as(&self, header: &Header, claims: &Value) -> String {
        let key = self.provider().key.clone();
        let mut header = header.clone();
        header.kid = header.kid.or(Some(key.kid));
        jsonwebtoken::encode(&header, claims, &key.key).unwrap()
    }

    /// A token whose signature is an HMAC with AuthKit's public key, which everybody has (RFC 8725 §2.1).
    pub fn sign_with_public_key(&self, claims: &Value) -> String {
        let key = self.provider().key.clone();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(key.kid);
        let public = serde_json::to_vec(&key.jwk).unwrap();
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&public)).unwrap()
    }

    /// A good-looking token, signed by somebody else under AuthKit's key id.
    pub fn forge(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.provider().key.kid.clone());
        jsonwebtoken::encode(&header, claims, &SigningKey::generate().key).unwrap()
    }
}

impl Provider {
    fn count(&mut self, what: &'static str) {
        *self.fetches.entry(what).or_default() += 1;
    }

    fn metadata(&self) -> Response {
        if let Some(status) = self.behaviour.metadata_status {
            return (StatusCode::from_u16(status).unwrap(), "no").into_response();
        }
        let endpoint = |name: &str| format!("{}/oauth2/{name}", self.base);
        let mut metadata = json!({
            "issuer": self.base,
            "authorization_endpoint": endpoint("authorize"),
            "token_endpoint": endpoint("token"),
            "introspection_endpoint": endpoint("introspection"),
            "registration_endpoint": endpoint("register"),
            "jwks_uri": endpoint("jwks"),
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "response_modes_supported": ["query"],
            "response_types_supported": ["code"],
            "scopes_supported": ["email", "offline_access", "openid", "profile"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
            "x_only_authkit_says_this": true,
        });
        if self.behaviour.registration_off {
            metadata.as_object_mut().unwrap().remove("registration_endpoint");
        }
        patch(&mut metadata, self.behaviour.metadata.as_ref());
        let mut response = axum::Json(metadata).into_response();
        if let Some(cache) = self.behaviour.metadata_cache {
            response.headers_mut().insert("cache-control", cache.parse().unwrap());
        }
        response
    }

    /// As documented under "Access token claims".
    fn claims(&self, client: &str, audience: &str, scope: &str) -> Value {
        let now = SystemClock.now().0;
        let mut claims = json!({
            "iss": self.base, "aud": audience, "sub": USER, "client_id": client, "org_id": "org_01ACME",
            "sid": "app_consent_01", "jti": random_id("", &SystemRandom), "scope": scope,
            "iat": now, "exp": now + TOKEN_LIFE,
        });
        patch(&mut claims, self.behaviour.claims.as_ref());
        claims
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.key.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key.key).unwrap()
    }

    /// Whether a client may send browsers back to a URI; the error page says why not.
    fn check_client(&self, id: &str, redirect_uri: &str) -> Result<(), &'static str> {
        if id == APPLICATION && !self.behaviour.application_deleted {
            return if self.behaviour.redirect_uri_unlisted { Err("invalid_redirect_uri") } else { Ok(()) };
        }
        let uris = self.clients.get(id).ok_or("application_not_found")?;
        if uris.iter().any(|uri| uri == redirect_uri) { Ok(()) } else { Err("invalid_redirect_uri") }
    }

    /// RFC 8707 §2, as WorkOS documents it: without indicators, or without a parameter, the environment.
    fn audience(&self, resource: Option<&str>) -> Result<String, &'static str> {
        match resource {
            Some(resource) if !self.resources.is_empty() => {
                if self.resources.contains(resource) {
                    Ok(resource.to_owned())
                } else {
                    Err("invalid_target")
                }
            }
            _ => Ok(ENVIRONMENT.to_owned()),
        }
    }

    fn redeem(&mut self, form: &HashMap<String, String>) -> Result<Value, Response> {
        let refuse = |error: &str| (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": error }))).into_response();
        let field = |name: &str| form.get(name).map(String::as_str);
        let client = field("client_id").unwrap_or_default().to_owned();
        let secret = field("client_secret");
        if secret.is_some_and(|secret| client != APPLICATION || secret != APPLICATION_SECRET) {
            return Err(refuse("invalid_client"));
        }
        let issued = match field("grant_type") {
            Some("authorization_code") => {
                let issued = self.codes.remove(field("code").unwrap_or_default());
                let issued = issued.ok_or_else(|| refuse("invalid_grant"))?;
                let challenge = field("code_verifier").map(|verifier| base64url(&sha256(verifier.as_bytes())));
                let proven = challenge == issued.challenge && (challenge.is_some() || secret.is_some());
                if !proven || field("redirect_uri") != Some(&issued.redirect_uri) {
                    return Err(refuse("invalid_grant"));
                }
                issued
            }
            Some("refresh_token") => {
                let issued = self.refresh_tokens.remove(field("refresh_token").unwrap_or_default());
                issued.ok_or_else(|| refuse("invalid_grant"))?
            }
            _ => return Err(refuse("unsupported_grant_type")),
        };
        if issued.client != client {
            return Err(refuse("invalid_grant"));
        }
        let audience = self.audience(issued.resource.as_deref()).map_err(refuse)?;
        let mut answer = json!({
            "access_token": self.sign(&self.claims(&client, &audience, &issued.scope)),
            "token_type": "bearer", "expires_in": TOKEN_LIFE, "scope": issued.scope,
        });
        let has = |scope: &str| issued.scope.split(' ').any(|granted| granted == scope);
        if has("openid") {
            let now = SystemClock.now().0;
            let mut claims = json!({
                "iss": self.base, "sub": USER, "aud": client, "iat": now, "exp": now + TOKEN_LIFE,
                "email": "ada@example.com", "email_verified": true, "name": "Ada Byron",
            });
            if let Some(nonce) = &issued.nonce {
                claims["nonce"] = nonce.clone().into();
            }
            patch(&mut claims, self.behaviour.id_token.as_ref());
            answer["id_token"] = self.sign(&claims).into();
        }
        if has("offline_access") {
            let token = random_id("refresh_", &SystemRandom);
            answer["refresh_token"] = token.clone().into();
            self.refresh_tokens.insert(token, issued);
        }
        Ok(answer)
    }
}

/// Sets the members of `changes` in `object`; null takes one out.
pub fn patch(object: &mut Value, changes: Option<&Value>) {
    for (name, value) in changes.and_then(Value::as_object).into_iter().flatten() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
}

async fn metadata(State(shared): State<Shared>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.count("metadata");
    provider.metadata()
}

async fn openid_configuration(State(shared): State<Shared>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.count("openid");
    provider.metadata()
}

async fn register(State(shared): State<Shared>, body: Bytes) -> Response {
    let mut provider = shared.lock().unwrap();
    if provider.behaviour.registration_off {
        return (StatusCode::NOT_FOUND, axum::Json(json!({ "message": "Not Found" }))).into_response();
    }
    let mut client: Value = serde_json::from_slice(&body).unwrap();
    let uris: Vec<String> = serde_json::from_value(client["redirect_uris"].clone()).unwrap();
    let id = random_id("client_", &SystemRandom);
    provider.clients.insert(id.clone(), uris);
    client["client_id"] = id.into();
    client["token_endpoint_auth_method"] = "none".into();
    (StatusCode::CREATED, axum::Json(client)).into_response()
}

async fn authorize(State(shared): State<Shared>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.count("authorize");
    let get = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let error_page = |error: &str| Redirect::to(&format!("/oauth2/error?error={error}")).into_response();
    let (client, redirect_uri) = (get("client_id").unwrap_or_default(), get("redirect_uri").unwrap_or_default());
    if let Err(error) = provider.check_client(&client, &redirect_uri) {
        return error_page(error);
    }
    let known = query.iter().all(|(name, _)| AUTHORIZE_PARAMETERS.contains(&name.as_str()));
    let pkce = get("code_challenge").is_none() || get("code_challenge_method").as_deref() == Some("S256");
    if !known || !pkce || get("response_type").as_deref() != Some("code") || get("state").is_none() {
        return (StatusCode::BAD_REQUEST, format!("not expected: {query:?}")).into_response();
    }
    let mut back = Url::parse(&redirect_uri).unwrap();
    back.query_pairs_mut().append_pair("state", &get("state").unwrap());
    if let Err(error) = provider.audience(get("resource").as_deref()) {
        back.query_pairs_mut().append_pair("error", error);
        return Redirect::to(back.as_str()).into_response();
    }
    let code = random_id("code_", &SystemRandom);
    let issued = Issued {
        client,
        challenge: get("code_challenge"),
        nonce: get("nonce"),
        redirect_uri,
        resource: get("resource"),
        scope: get("scope").unwrap_or_default(),
    };
    provider.codes.insert(code.clone(), issued);
    back.query_pairs_mut().append_pair("code", &code);
    Redirect::to(back.as_str()).into_response()
}

async fn token(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut provider = shared.lock().unwrap();
    assert!(!headers.contains_key("authorization"), "credentials go in the body");
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    provider.token_requests.push(form.clone());
    provider.redeem(&form).map_or_else(|refusal| refusal, |answer| axum::Json(answer).into_response())
}

async fn jwks(State(shared): State<Shared>) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.count("jwks");
    if provider.behaviour.jwks_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    axum::Json(JwkSet { keys: vec![provider.key.jwk.clone()] }).into_response()
}

async fn userinfo() -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}

async fn user(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut provider = shared.lock().unwrap();
    provider.count("user");
    if headers.get("authorization").is_none_or(|value| value != format!("Bearer {API_KEY}").as_str()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match provider.behaviour.user_status {
        Some(status) => StatusCode::from_u16(status).unwrap().into_response(),
        None if id != USER => StatusCode::NOT_FOUND.into_response(),
        None => axum::Json(json!({
            "object": "user", "id": id, "email": "ada@example.com", "email_verified": true, "first_name": "Ada",
            "last_name": "Byron", "profile_picture_url": "https://images.example/ada.png",
        }))
        .into_response(),
    }
}
