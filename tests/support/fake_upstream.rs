//! A double of an MCP server that wants OAuth, with the authorization server it trusts, stricter than real ones: what it
//! does not expect, it refuses.
//!
//! RFC 9728, RFC 8414 and OpenID metadata, dynamic registration, client-id metadata documents, the code flow with PKCE
//! and `resource` for whom the test names (no page), refresh tokens that rotate with reuse detection, revocation, the
//! JWT bearer grant for identity assertions, and an MCP endpoint that tells each token's account. [`Behaviour`] changes
//! how it answers, a [`Fault`] what becomes of one request, and everything that came is there to be looked at.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::result_large_err, reason = "a refusal is an answer, and speed is no matter")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a double stops where it cannot go on")]

#[path = "fake_upstream/authorization.rs"]
mod authorization;
#[path = "fake_upstream/behaviour.rs"]
mod behaviour;
#[path = "fake_upstream/clients.rs"]
mod clients;
#[path = "fake_upstream/control.rs"]
pub mod control;
#[path = "fake_upstream/id_jag.rs"]
pub mod id_jag;
#[path = "fake_upstream/issued.rs"]
mod issued;
#[path = "fake_upstream/mcp.rs"]
mod mcp;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use behaviour::{Behaviour, Endpoint, Fault, Refreshing};
use clients::Clients;
use issued::Issued;
pub use mcp::McpRequest;

pub type Form = HashMap<String, String>;

/// One request of the token endpoint.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub headers: HeaderMap,
    pub form: Form,
}

/// What it holds.
struct Server {
    base: String,
    behaviour: Behaviour,
    person: String,
    clients: Clients,
    issued: Issued,
    /// Whose identity assertions it takes: issuer and address of the keys.
    asserting: HashMap<String, String>,
    /// Where to look for what an origin publishes.
    elsewhere: HashMap<String, String>,
    faults: HashMap<Endpoint, VecDeque<Fault>>,
    lasting: HashMap<Endpoint, Fault>,
    fetches: HashMap<Endpoint, usize>,
    registrations: Vec<Value>,
    documents: Vec<String>,
    authorizations: Vec<Form>,
    token_requests: Vec<TokenRequest>,
    revoked: Vec<String>,
    requests: Vec<McpRequest>,
}

struct Shared {
    server: Mutex<Server>,
    /// How many requests wait.
    held: watch::Sender<usize>,
    /// How often those that waited were let go.
    released: watch::Sender<usize>,
    http: reqwest::Client,
}

/// A running double; stops when dropped.
pub struct FakeUpstream {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeUpstream {
    /// On a free loopback port; signs in `ada`.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_on(address: SocketAddr) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind(address).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = Server {
            base,
            behaviour: Behaviour::default(),
            person: "ada".to_owned(),
            clients: Clients::default(),
            issued: Issued::default(),
            asserting: HashMap::new(),
            elsewhere: HashMap::new(),
            faults: HashMap::new(),
            lasting: HashMap::new(),
            fetches: HashMap::new(),
            registrations: Vec::new(),
            documents: Vec::new(),
            authorizations: Vec::new(),
            token_requests: Vec::new(),
            revoked: Vec::new(),
            requests: Vec::new(),
        };
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.timeout(Duration::from_secs(10)).build().unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            held: watch::Sender::new(0),
            released: watch::Sender::new(0),
            http,
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.shared.server.lock().unwrap()
    }

    /// `http://127.0.0.1:PORT`
    pub fn base(&self) -> String {
        self.server().base.clone()
    }

    /// Its MCP endpoint, for `rewritePattern`; its resource identifier as well.
    pub fn mcp_url(&self) -> String {
        self.server().mcp_url()
    }

    pub fn issuer(&self) -> String {
        self.server().issuer()
    }

    pub fn token_url(&self) -> String {
        format!("{}/as/token", self.server().base)
    }

    /// Where it publishes its protected resource metadata first.
    pub fn resource_metadata_url(&self) -> String {
        self.server().resource_metadata_url()
    }

    /// Changes how it answers from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.server().behaviour);
    }

    /// Whom the authorization endpoint signs in from now on.
    pub fn sign_in(&self, person: &str) {
        person.clone_into(&mut self.server().person);
    }

    /// A client that registered by hand, with one of `none`, `client_secret_basic` and `client_secret_post`.
    pub fn add_client(&self, id: &str, redirect_uri: &str, method: &str, secret: Option<&str>) {
        self.server().clients.add(id, redirect_uri, method, secret);
    }

    /// A client that registered by hand and proves itself with the key of this JWK.
    pub fn add_client_with_key(&self, id: &str, redirect_uri: &str, jwk: Value) {
        self.server().clients.add_with_key(id, redirect_uri, jwk);
    }

    /// Looks for what `origin` publishes at another one.
    pub fn look_for(&self, origin: &str, at: &str) {
        self.server().elsewhere.insert(origin.to_owned(), at.to_owned());
    }

    /// Forgets every client: what they hold is `invalid_client` from now on.
    pub fn forget_clients(&self) {
        self.server().clients = Clients::default();
    }

    /// Takes identity assertions of this issuer, signed with a key from `jwks_url`.
    pub fn trust_assertions_of(&self, issuer: &str, jwks_url: &str) {
        self.server().asserting.insert(issuer.to_owned(), jwks_url.to_owned());
    }

    /// What becomes of the next request that has no fault yet.
    pub fn fail_next(&self, endpoint: Endpoint, fault: Fault) {
        self.server().faults.entry(endpoint).or_default().push_back(fault);
    }

    /// What becomes of every request after those of [`FakeUpstream::fail_next`].
    pub fn fail_always(&self, endpoint: Endpoint, fault: Fault) {
        self.server().lasting.insert(endpoint, fault);
    }

    /// From now on nothing fails there.
    pub fn recover(&self, endpoint: Endpoint) {
        let mut server = self.server();
        server.lasting.remove(&endpoint);
        server.faults.remove(&endpoint);
    }

    /// Waits until so many requests are held; stops the test where they do not come.
    pub async fn wait_for_held(&self, count: usize) {
        let mut held = self.shared.held.subscribe();
        let waiting = held.wait_for(|now| *now >= count);
        tokio::time::timeout(Duration::from_mins(2), waiting).await.expect("a request to hold").unwrap();
    }

    /// Lets go what is held.
    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }

    /// Every access token that is out has expired; refresh tokens work.
    pub fn expire_access_tokens(&self) {
        self.server().issued.expire_access_tokens();
    }

    /// Takes back everything that the person's grants gave: 401 for calls, `invalid_grant` for refreshes.
    pub fn revoke(&self, person: &str) {
        self.server().issued.revoke_person(person);
    }

    /// How often an endpoint was asked.
    pub fn fetches(&self, endpoint: Endpoint) -> usize {
        self.server().fetches.get(&endpoint).copied().unwrap_or_default()
    }

    /// Bodies of the registrations.
    pub fn registrations(&self) -> Vec<Value> {
        self.server().registrations.clone()
    }

    /// URLs of the client-id metadata documents that it fetched.
    pub fn documents(&self) -> Vec<String> {
        self.server().documents.clone()
    }

    /// Parameters of each request of the authorization endpoint.
    pub fn authorizations(&self) -> Vec<Form> {
        self.server().authorizations.clone()
    }

    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.server().token_requests.clone()
    }

    /// How many token requests there were with this grant type.
    pub fn granted(&self, grant_type: &str) -> usize {
        let of_type = |request: &&TokenRequest| request.form.get("grant_type").is_some_and(|own| own == grant_type);
        self.server().token_requests.iter().filter(of_type).count()
    }

    /// Tokens that the revocation endpoint was given.
    pub fn revoked(&self) -> Vec<String> {
        self.server().revoked.clone()
    }

    /// What came to the MCP endpoint.
    pub fn requests(&self) -> Vec<McpRequest> {
        self.server().requests.clone()
    }

    /// What of it was carried out.
    pub fn carried_out(&self) -> Vec<McpRequest> {
        self.server().requests.iter().filter(|request| request.carried_out).cloned().collect()
    }

    /// Access tokens of the person that work, oldest first.
    pub fn access_tokens(&self, person: &str) -> Vec<String> {
        self.server().issued.access_tokens(person)
    }

    /// Refresh tokens of the person that work.
    pub fn refresh_tokens(&self, person: &str) -> Vec<String> {
        self.server().issued.refresh_tokens(person)
    }

    /// Every token, code and client secret that it ever gave out: none may be seen anywhere.
    pub fn secrets(&self) -> Vec<String> {
        let server = self.server();
        [server.issued.secrets(), server.clients.secrets()].concat()
    }
}

/// One request that waits. Who gives up waiting counts no more.
struct Held<'a>(&'a watch::Sender<usize>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A request, read.
struct Arrival {
    method: Method,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Server {
    fn issuer(&self) -> String {
        if self.behaviour.root_issuer { self.base.clone() } else { format!("{}/as", self.base) }
    }

    /// Its resource identifier, as its metadata say it.
    fn resource(&self) -> String {
        let said = self.behaviour.resource_metadata.as_ref().and_then(|members| members["resource"].as_str());
        said.map_or_else(|| self.mcp_url(), str::to_owned)
    }

    fn mcp_url(&self) -> String {
        if self.behaviour.at_root { self.base.clone() } else { format!("{}/mcp", self.base) }
    }

    /// Where the challenge says that the metadata are.
    fn resource_metadata_url(&self) -> String {
        let path = if self.behaviour.at_root { "" } else { "/mcp" };
        format!("{}/.well-known/oauth-protected-resource{path}", self.base)
    }

    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let issuer = if self.behaviour.root_issuer { "" } else { "/as" };
        Some(match path {
            "/.well-known/oauth-protected-resource/mcp" if !self.behaviour.at_root => Endpoint::PathMetadata,
            "/.well-known/oauth-protected-resource" => Endpoint::RootMetadata,
            "/as/register" => Endpoint::Registration,
            "/as/authorize" => Endpoint::Authorize,
            "/as/token" => Endpoint::Token,
            "/as/revoke" => Endpoint::Revocation,
            "/mcp" if !self.behaviour.at_root => Endpoint::Mcp,
            "/" if self.behaviour.at_root => Endpoint::Mcp,
            _ if path == format!("/.well-known/oauth-authorization-server{issuer}") => Endpoint::Rfc8414,
            _ if path == format!("{issuer}/.well-known/openid-configuration") => Endpoint::OpenId,
            _ if path == format!("/.well-known/openid-configuration{issuer}") => Endpoint::OpenId,
            _ => return None,
        })
    }

    /// Counts the request, and says what becomes of it.
    fn fate(&mut self, endpoint: Endpoint) -> Option<Fault> {
        *self.fetches.entry(endpoint).or_default() += 1;
        let next = self.faults.get_mut(&endpoint).and_then(VecDeque::pop_front);
        next.or_else(|| self.lasting.get(&endpoint).cloned())
    }
}

impl Shared {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    async fn hold(&self) {
        let mut released = self.released.subscribe();
        self.held.send_modify(|count| *count += 1);
        let _one = Held(&self.held);
        let _ = released.changed().await;
    }

    /// JSON from somewhere else.
    async fn fetch(&self, url: &str) -> Option<Value> {
        let moved = {
            let server = self.server();
            server.elsewhere.iter().find_map(|(origin, at)| Some(format!("{at}{}", url.strip_prefix(origin.as_str())?)))
        };
        let answer =
            self.http.get(moved.as_deref().unwrap_or(url)).header("accept", "application/json").send().await.ok()?;
        if answer.status() != 200 {
            return None;
        }
        answer.json().await.ok()
    }

    async fn answer(&self, endpoint: Endpoint, arrival: &Arrival, fault: Option<&Fault>) -> Response {
        match endpoint {
            Endpoint::Authorize => self.authorize(arrival).await,
            Endpoint::Token => self.token(arrival).await,
            Endpoint::Mcp => self.server().mcp(arrival, fault),
            Endpoint::PathMetadata | Endpoint::RootMetadata => self.server().resource_metadata(endpoint),
            Endpoint::Rfc8414 | Endpoint::OpenId => self.server().metadata(endpoint),
            Endpoint::Registration => self.server().register(arrival),
            Endpoint::Revocation => self.server().revoke(arrival),
        }
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let arrival = Arrival { method, query, headers, body };
    let (endpoint, fault) = {
        let mut server = shared.server();
        let Some(endpoint) = server.endpoint(uri.path()) else { return StatusCode::NOT_FOUND.into_response() };
        (endpoint, server.fate(endpoint))
    };
    match &fault {
        Some(Fault::Answer { status, body, retry_after }) => {
            let content_type = if body.starts_with('{') { "application/json" } else { "text/html" };
            let mut answer = (StatusCode::from_u16(*status).unwrap(), body.clone()).into_response();
            answer.headers_mut().insert("content-type", content_type.parse().unwrap());
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert("retry-after", (*seconds).into());
            }
            return answer;
        }
        Some(Fault::Dropped) => drop_connection(),
        Some(Fault::HeldBefore) => shared.hold().await,
        _ => {}
    }
    let answer = shared.answer(endpoint, &arrival, fault.as_ref()).await;
    match fault {
        Some(Fault::AnswerLost) => drop_connection(),
        Some(Fault::HeldAfter) => shared.hold().await,
        _ => {}
    }
    answer
}

/// Unwinds the task of the connection, which closes it; nothing is printed.
fn drop_connection() -> ! {
    std::panic::resume_unwind(Box::new("the connection is dropped"))
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
