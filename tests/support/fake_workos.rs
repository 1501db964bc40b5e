//! A double of WorkOS user management, stricter than the real one: what it does not expect, it refuses.
//!
//! One environment with one client and a few people who sign in without a page. [`Behaviour`] makes it fail or
//! lie in all the ways the requirements name (WOS-1 … WOS-12).

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::result_large_err, reason = "a refusal is an answer, and speed is no matter")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a double stops where it cannot go on")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward::domain::random::random_id;
use doorward::domain::{Clock, SystemClock, SystemRandom};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;

pub const CLIENT_ID: &str = "client_01FAKE6057N3C66XJAXZ65YHAC";
pub const API_KEY: &str = "sk_test_fake_0123456789";
pub const ORGANIZATION: &str = "org_01FAKE";

/// What `authorize` takes; anything else came from somewhere it should not have (IDP-7).
const AUTHORIZE_PARAMETERS: &[&str] = &[
    "client_id",
    "redirect_uri",
    "response_type",
    "state",
    "provider",
    "connection_id",
    "organization_id",
    "code_challenge",
    "code_challenge_method",
    "scope",
    "screen_hint",
    "domain_hint",
    "login_hint",
    "prompt",
];
/// What `authenticate` takes with a code.
const CODE_MEMBERS: &[&str] =
    &["client_id", "client_secret", "grant_type", "code", "code_verifier", "ip_address", "user_agent"];
/// Lifetime of an access token, in seconds: WorkOS's shortest.
const TOKEN_LIFE: i64 = 300;
/// Bytes before the PKCS #1 key that jsonwebtoken wants, in the PKCS #8 form of a 2048-bit RSA key.
const PKCS8_HEADER: usize = 26;

/// How it answers. `Default` is how it should be.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    pub issuer: Issuer,
    /// `authenticate` answers with this status and body.
    pub fail: Option<(u16, String)>,
    /// `authorize` sends the browser back with this `error`.
    pub callback_error: Option<String>,
    /// `authenticate` takes this long.
    pub delay: Duration,
    /// The token names a key that is in no set, as one of another environment would.
    pub foreign_key: bool,
    /// Signs with this instead of RS256.
    pub algorithm: Option<Algorithm>,
    /// The key set answers 503.
    pub jwks_down: bool,
    /// The refresh grant answers with this status and body, before it looks at the token.
    pub fail_refresh: Option<(u16, String)>,
    /// The refresh grant does its work, and the connection breaks before the answer is through.
    pub lose_refresh_answer: bool,
    /// The management interface answers 503.
    pub management_down: bool,
    /// Slugs of the person's roles, as memberships and new tokens have them.
    pub roles: Option<Vec<String>>,
    /// Members to set in the token's claims; null takes one out.
    pub claims: Option<Value>,
    /// The same for the answer of `authenticate`.
    pub answer: Option<Value>,
}

/// The `iss` of access tokens.
#[derive(Debug, Clone, Default)]
pub enum Issuer {
    #[default]
    Derived,
    Base,
    BaseWithSlash,
    Other(String),
}

struct Environment {
    base: String,
    redirect_uris: Vec<String>,
    users: Vec<Value>,
    behaviour: Behaviour,
    key: SigningKey,
    codes: HashMap<String, IssuedCode>,
    refresh_tokens: HashMap<String, Session>,
    exchanges: Vec<Value>,
    jwks_fetches: usize,
    /// Reads of the management interface.
    management_reads: usize,
    ended_sessions: Vec<String>,
    clock: Arc<dyn Clock>,
}

struct IssuedCode {
    user: Value,
    challenge: Option<String>,
}

#[derive(Clone)]
struct Session {
    user: Value,
    id: String,
}

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

type Shared = Arc<Mutex<Environment>>;

/// A running double; stops when dropped.
pub struct FakeWorkOs {
    shared: Shared,
    task: JoinHandle<()>,
}

impl Drop for FakeWorkOs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeWorkOs {
    /// On a free loopback port.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared: Shared = Arc::new(Mutex::new(Environment {
            base,
            redirect_uris: Vec::new(),
            users: vec![
                user("user_01ALICE", "alice@example.com", "Alice"),
                user("user_01BOB", "bob@example.com", "Bob"),
            ],
            behaviour: Behaviour::default(),
            key: SigningKey::generate(),
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            exchanges: Vec::new(),
            jwks_fetches: 0,
            management_reads: 0,
            ended_sessions: Vec::new(),
            clock: Arc::new(SystemClock),
        }));
        let router = Router::new()
            .route("/user_management/authorize", get(authorize))
            .route("/user_management/authenticate", post(authenticate))
            .route("/user_management/sessions/logout", get(logout))
            .route("/user_management/users/{id}", get(read_user))
            .route("/user_management/users/{id}/sessions", get(list_sessions))
            .route("/user_management/organization_memberships", get(list_memberships))
            .route("/sso/jwks/{client_id}", get(jwks))
            .with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    fn environment(&self) -> MutexGuard<'_, Environment> {
        self.shared.lock().unwrap()
    }

    /// `http://127.0.0.1:PORT`
    pub fn base(&self) -> String {
        self.environment().base.clone()
    }

    /// As the dashboard would. Loopback redirect URIs are always listed.
    pub fn list_redirect_uri(&self, uri: &str) {
        self.environment().redirect_uris.push(uri.to_owned());
    }

    /// Changes how it answers from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.environment().behaviour);
    }

    /// Dates its tokens by this clock from now on.
    pub fn follow(&self, clock: Arc<dyn Clock>) {
        self.environment().clock = clock;
    }

    /// Refresh grants that were asked for.
    pub fn refreshes(&self) -> usize {
        self.exchanges().iter().filter(|body| body["grant_type"] == "refresh_token").count()
    }

    pub fn management_reads(&self) -> usize {
        self.environment().management_reads
    }

    /// Ends every session, as an administrator would in the dashboard.
    pub fn revoke_sessions(&self) {
        self.environment().refresh_tokens.clear();
    }

    /// Takes a person out of the environment with everything that hangs on them.
    pub fn delete_user(&self, email: &str) {
        let mut environment = self.environment();
        environment.users.retain(|user| user["email"] != email);
        environment.refresh_tokens.retain(|_, session| session.user["email"] != email);
    }

    /// What the user record of a person says from now on.
    pub fn change_user(&self, email: &str, changes: &Value) {
        let mut environment = self.environment();
        for user in environment.users.iter_mut().filter(|user| user["email"] == email) {
            patch(user, Some(changes));
        }
    }

    /// Signs with a new key from now on, and forgets the old one.
    pub fn rotate_keys(&self) {
        self.environment().key = SigningKey::generate();
    }

    /// Bodies of `authenticate`, in their order.
    pub fn exchanges(&self) -> Vec<Value> {
        self.environment().exchanges.clone()
    }

    pub fn jwks_fetches(&self) -> usize {
        self.environment().jwks_fetches
    }

    pub fn ended_sessions(&self) -> Vec<String> {
        self.environment().ended_sessions.clone()
    }

    /// Waits until the server ends, which it does not.
    pub async fn run(mut self) {
        (&mut self.task).await.ok();
    }
}

fn user(id: &str, email: &str, first_name: &str) -> Value {
    json!({
        "object": "user", "id": id, "email": email, "email_verified": true, "first_name": first_name,
        "last_name": "Example", "profile_picture_url": "https://images.example/p.png", "external_id": null,
        "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z",
    })
}

/// The envelope of most failures.
fn coded(status: u16, code: &str, message: &str) -> Response {
    answer(status, &json!({ "code": code, "message": message }))
}

/// The envelope of failures in OAuth's words.
fn oauth_error(status: u16, error: &str, description: &str) -> Response {
    answer(status, &json!({ "error": error, "error_description": description }))
}

fn answer(status: u16, body: &Value) -> Response {
    raw(status, body.to_string())
}

fn raw(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn authorize(State(shared): State<Shared>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let mut environment = shared.lock().unwrap();
    match checked_authorize(&environment, &query) {
        Ok(back) => environment.sign_in(&query, back),
        Err(refusal) => *refusal,
    }
}

fn parameter<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The redirect URI, with `state`, when the request is what WOS-1 says.
fn checked_authorize(environment: &Environment, query: &[(String, String)]) -> Result<Url, Box<Response>> {
    let refuse = |code: &str, message: &str| Err(Box::new(coded(400, code, message)));
    let get = |name| parameter(query, name);
    if get("client_id") != Some(CLIENT_ID) {
        return Err(Box::new(coded(404, "application_not_found", "Application not found")));
    }
    let redirect_uri = get("redirect_uri").unwrap_or_default();
    let loopback =
        Url::parse(redirect_uri).is_ok_and(|uri| matches!(uri.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")));
    if !loopback && !environment.redirect_uris.iter().any(|listed| listed == redirect_uri) {
        return refuse("invalid_redirect_uri", "redirect_uri is not among the redirect URIs of this environment");
    }
    if let Some((unexpected, _)) = query.iter().find(|(name, _)| !AUTHORIZE_PARAMETERS.contains(&name.as_str())) {
        return refuse("unexpected_parameter", unexpected);
    }
    if query.iter().any(|(name, _)| query.iter().filter(|(other, _)| other == name).count() > 1) {
        return refuse("invalid_request", "a parameter is repeated");
    }
    let selectors = ["provider", "connection_id", "organization_id"].into_iter().filter(|name| get(name).is_some());
    if selectors.count() != 1 {
        return refuse("ambiguous_connection_selector", "exactly one connection selector is needed");
    }
    if get("response_type") != Some("code") {
        return refuse("invalid_request", "response_type must be code");
    }
    let state = get("state").filter(|state| state.len() >= 22);
    let Some(state) = state else { return refuse("invalid_request", "state has fewer than 128 bits") };
    let method = get("code_challenge_method");
    let challenge_fits = get("code_challenge").is_some_and(|challenge| challenge.len() == 43);
    if !(method == Some("S256") && challenge_fits) && (method.is_some() || get("code_challenge").is_some()) {
        return refuse("invalid_request", "code_challenge must be S256");
    }
    let mut back = Url::parse(redirect_uri).map_err(|_| Box::new(coded(400, "invalid_redirect_uri", "not a URL")))?;
    back.query_pairs_mut().append_pair("state", state);
    Ok(back)
}

impl Environment {
    fn sign_in(&mut self, query: &[(String, String)], mut back: Url) -> Response {
        if let Some(error) = &self.behaviour.callback_error {
            back.query_pairs_mut().append_pair("error", error).append_pair("error_description", "a secret of WorkOS");
            return Redirect::to(back.as_str()).into_response();
        }
        let hint = parameter(query, "login_hint");
        let user = self.users.iter().find(|user| hint.is_none_or(|hint| user["email"] == hint)).cloned();
        let Some(user) = user else {
            back.query_pairs_mut().append_pair("error", "user_not_found");
            return Redirect::to(back.as_str()).into_response();
        };
        let code = random_id("auth_code_", &SystemRandom);
        let challenge = parameter(query, "code_challenge").map(str::to_owned);
        self.codes.insert(code.clone(), IssuedCode { user, challenge });
        back.query_pairs_mut().append_pair("code", &code);
        Redirect::to(back.as_str()).into_response()
    }

    fn redeem(&mut self, body: &Value) -> Result<Session, Response> {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        if text("client_id") != CLIENT_ID {
            return Err(coded(404, "application_not_found", "Application not found"));
        }
        if text("client_secret") != API_KEY {
            return Err(oauth_error(401, "invalid_client", "Invalid client secret."));
        }
        match text("grant_type") {
            "authorization_code" => self.redeem_code(body),
            "refresh_token" => {
                if let Some((status, body)) = self.behaviour.fail_refresh.clone() {
                    return Err(raw(status, body));
                }
                let token = text("refresh_token");
                let mut spent = self
                    .refresh_tokens
                    .get(token)
                    .cloned()
                    .ok_or_else(|| coded(400, "invalid_grant", "Invalid refresh token"))?;
                let keeps = self.behaviour.answer.as_ref().is_some_and(|answer| answer["refresh_token"].is_null());
                if !keeps {
                    self.refresh_tokens.remove(token);
                }
                if let Some(user) = self.users.iter().find(|user| user["id"] == spent.user["id"]) {
                    spent.user = user.clone();
                }
                Ok(spent)
            }
            _ => Err(oauth_error(400, "unsupported_grant_type", "This grant type is not known.")),
        }
    }

    fn redeem_code(&mut self, body: &Value) -> Result<Session, Response> {
        let members = body.as_object().into_iter().flatten();
        if let Some((unexpected, _)) = members.into_iter().find(|(name, _)| !CODE_MEMBERS.contains(&name.as_str())) {
            return Err(coded(422, "invalid_request_parameters", unexpected));
        }
        let code = body["code"].as_str().unwrap_or_default();
        let echo = format!("The code '{code}' has expired or is invalid.");
        let issued = self.codes.remove(code).ok_or_else(|| oauth_error(400, "invalid_grant", &echo))?;
        let challenge = body["code_verifier"]
            .as_str()
            .map(|verifier| doorward::crypto::base64url(&doorward::crypto::sha256(verifier.as_bytes())));
        if challenge != issued.challenge {
            return Err(oauth_error(400, "invalid_grant", &echo));
        }
        Ok(Session { user: issued.user, id: random_id("session_", &SystemRandom) })
    }

    fn issue(&mut self, session: Session) -> Response {
        let mut body = json!({
            "user": session.user,
            "organization_id": ORGANIZATION,
            "access_token": self.access_token(&session),
            "refresh_token": random_id("ref_", &SystemRandom),
            "authentication_method": "SSO",
        });
        patch(&mut body, self.behaviour.answer.as_ref());
        if let Some(refresh_token) = body["refresh_token"].as_str() {
            self.refresh_tokens.insert(refresh_token.to_owned(), session);
        }
        answer(200, &body)
    }

    fn access_token(&self, session: &Session) -> String {
        let now = self.clock.now().0;
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": session.user["id"],
            "sid": session.id,
            "jti": random_id("", &SystemRandom),
            "org_id": ORGANIZATION,
            "role": "member",
            "roles": ["member", "auditor"],
            "permissions": ["tools:read"],
            "entitlements": ["audit-logs"],
            "iat": now,
            "exp": now + TOKEN_LIFE,
        });
        if let Some(roles) = &self.behaviour.roles {
            claims["role"] = json!(roles.first());
            claims["roles"] = json!(roles);
        }
        patch(&mut claims, self.behaviour.claims.as_ref());
        let mut header = Header::new(self.behaviour.algorithm.unwrap_or(Algorithm::RS256));
        header.kid =
            Some(if self.behaviour.foreign_key { "sso_oidc_key_pair_foreign".into() } else { self.key.kid.clone() });
        jsonwebtoken::encode(&header, &claims, &self.key.key).unwrap()
    }

    fn issuer(&self) -> String {
        match &self.behaviour.issuer {
            Issuer::Derived => format!("{}/user_management/{CLIENT_ID}", self.base),
            Issuer::Base => self.base.clone(),
            Issuer::BaseWithSlash => format!("{}/", self.base),
            Issuer::Other(other) => other.clone(),
        }
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

async fn authenticate(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let delay = shared.lock().unwrap().behaviour.delay;
    tokio::time::sleep(delay).await;
    let mut environment = shared.lock().unwrap();
    let is_json =
        headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let parsed = serde_json::from_slice::<Value>(&body).ok().filter(|body| is_json && body.is_object());
    let Some(body) = parsed else {
        return coded(400, "invalid_request_body", "Problems parsing JSON");
    };
    if headers.contains_key(header::AUTHORIZATION) {
        return answer(400, &json!({ "message": "credentials belong in the body" }));
    }
    environment.exchanges.push(body.clone());
    if let Some((status, body)) = environment.behaviour.fail.clone() {
        return raw(status, body);
    }
    let answer = match environment.redeem(&body) {
        Ok(session) => environment.issue(session),
        Err(refusal) => refusal,
    };
    if environment.behaviour.lose_refresh_answer && body["grant_type"] == "refresh_token" {
        return cut(answer);
    }
    answer
}

/// The head of an answer, and a connection that breaks where its body should come.
fn cut(answer: Response) -> Response {
    let (head, _) = answer.into_parts();
    let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
    Response::from_parts(head, axum::body::Body::from_stream(broken))
}

/// The management interface: the API key as a bearer token, and `found` as what there is.
fn managed(shared: &Shared, headers: &HeaderMap, found: impl FnOnce(&Environment) -> Option<Value>) -> Response {
    let mut environment = shared.lock().unwrap();
    environment.management_reads += 1;
    let key = format!("Bearer {API_KEY}");
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value.as_bytes() != key.as_bytes()) {
        return answer(401, &json!({ "message": "Unauthorized" }));
    }
    if environment.behaviour.management_down {
        return answer(503, &json!({ "message": "Service Unavailable" }));
    }
    match found(&environment) {
        Some(body) => answer(200, &body),
        None => coded(404, "entity_not_found", "Not Found"),
    }
}

async fn read_user(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    managed(&shared, &headers, |environment| environment.users.iter().find(|user| user["id"] == id.as_str()).cloned())
}

async fn list_sessions(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    managed(&shared, &headers, |environment| {
        environment.users.iter().find(|user| user["id"] == id.as_str())?;
        let live = environment.refresh_tokens.values().filter(|session| session.user["id"] == id.as_str());
        let data: Vec<Value> = live
            .map(|session| json!({ "object": "session", "id": session.id, "user_id": id, "status": "active" }))
            .collect();
        Some(json!({ "object": "list", "data": data, "list_metadata": { "before": null, "after": null } }))
    })
}

async fn list_memberships(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    managed(&shared, &headers, |environment| {
        let roles = environment.behaviour.roles.clone().unwrap_or_else(|| vec!["member".into(), "auditor".into()]);
        let roles: Vec<Value> = roles.iter().map(|slug| json!({ "slug": slug })).collect();
        let membership = json!({
            "object": "organization_membership", "user_id": query.get("user_id"), "organization_id": ORGANIZATION,
            "status": "active", "role": roles.first(), "roles": roles,
        });
        let known = query.get("organization_id").is_some_and(|organization| organization == ORGANIZATION);
        let data = if known { vec![membership] } else { Vec::new() };
        Some(json!({ "object": "list", "data": data, "list_metadata": { "before": null, "after": null } }))
    })
}

async fn jwks(State(shared): State<Shared>, Path(client_id): Path<String>) -> Response {
    let mut environment = shared.lock().unwrap();
    environment.jwks_fetches += 1;
    if client_id != CLIENT_ID {
        return answer(404, &json!({ "message": "Not Found" }));
    }
    if environment.behaviour.jwks_down {
        return answer(503, &json!({ "message": "Service Unavailable" }));
    }
    let set = JwkSet { keys: vec![environment.key.jwk.clone()] };
    answer(200, &serde_json::to_value(set).unwrap())
}

async fn logout(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let (Some(session), Some(return_to)) = (query.get("session_id"), query.get("return_to")) else {
        return coded(400, "invalid_request", "session_id and return_to are needed");
    };
    let mut environment = shared.lock().unwrap();
    environment.refresh_tokens.retain(|_, live| live.id != *session);
    environment.ended_sessions.push(session.clone());
    Redirect::to(return_to).into_response()
}
