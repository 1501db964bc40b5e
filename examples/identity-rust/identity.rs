//! Who calls, according to the gateway: verifies the header `X-Doorward-Assertion`.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

/// What the assertion tells of the person; docs/identity-for-servers.md lists all claims.
#[derive(Debug, Clone, Deserialize)]
pub struct Person {
    /// The gateway's id of the person: what to keep data by.
    pub sub: String,
    /// The identity provider's.
    pub user_id: String,
    pub name: Option<String>,
    pub email: Option<String>,
    #[serde(default)]
    pub email_verified: bool,
    pub picture: Option<String>,
    pub organization_id: Option<String>,
    pub roles: Vec<String>,
    pub groups: Vec<String>,
    pub permissions: Vec<String>,
}

/// Verifies assertions by the gateway's published keys.
pub struct Assertions {
    /// The gateway's origin: what `iss` holds.
    issuer: String,
    /// This server's URL as `rewritePattern` has it, without a query: what `aud` holds.
    pub audience: String,
    jwks_url: String,
    client: reqwest::Client,
    keys: Mutex<Keys>,
}

/// The gateway's keys, as last fetched.
struct Keys {
    set: JwkSet,
    asked: Option<Instant>,
}

/// How long keys are used before they are fetched again.
const KEPT: Duration = Duration::from_secs(300);
/// How long to wait before asking again for a key that is not there, whatever strangers send.
const PAUSE: Duration = Duration::from_secs(10);

impl Assertions {
    pub fn from_env() -> Self {
        let issuer = env::var("DOORWARD_ISSUER").unwrap_or_else(|_| "http://localhost:9000".to_owned());
        let jwks_url = env::var("DOORWARD_JWKS_URL").unwrap_or_else(|_| format!("{issuer}/.well-known/jwks.json"));
        Self {
            issuer,
            audience: env::var("MCP_URL").unwrap_or_else(|_| "http://127.0.0.1:3003/mcp".to_owned()),
            jwks_url,
            client: reqwest::Client::new(),
            keys: Mutex::new(Keys { set: JwkSet { keys: Vec::new() }, asked: None }),
        }
    }

    /// The person, if the assertion is a good one.
    pub async fn verify(&self, assertion: &str) -> Result<Person, Error> {
        let header = decode_header(assertion)?;
        // An access token is signed by the same keys, and is none.
        if header.typ.as_deref() != Some("doorward-assertion+jwt") {
            return Err(ErrorKind::InvalidToken.into());
        }
        if !matches!(header.alg, Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        let key = self.key(&header.kid.unwrap_or_default()).await.ok_or(ErrorKind::InvalidToken)?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.leeway = 5; // Seconds. An assertion lives for 60.
        Ok(decode(assertion, &DecodingKey::from_jwk(&key)?, &validation)?.claims)
    }

    /// A key of the gateway. One that is not known may be new, so they are fetched again: that is how a rotation arrives.
    async fn key(&self, kid: &str) -> Option<Jwk> {
        let mut keys = self.keys.lock().await;
        let patience = if keys.set.find(kid).is_some() { KEPT } else { PAUSE };
        if keys.asked.is_none_or(|asked| asked.elapsed() > patience) {
            keys.asked = Some(Instant::now());
            match self.fetch().await {
                Ok(set) => keys.set = set,
                // What is known stays good while the gateway cannot be asked.
                Err(error) => eprintln!("the gateway's keys cannot be had: {error}"),
            }
        }
        keys.set.find(kid).cloned()
    }

    async fn fetch(&self) -> reqwest::Result<JwkSet> {
        let request = self.client.get(&self.jwks_url).timeout(Duration::from_secs(10));
        request.send().await?.error_for_status()?.json().await
    }
}

/// axum middleware: a request has a [`Person`] among its extensions, or gets 401.
pub async fn require_person(State(assertions): State<Arc<Assertions>>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get("x-doorward-assertion");
    let assertion = header.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    match assertions.verify(&assertion).await {
        Ok(person) => {
            request.extensions_mut().insert(person);
            next.run(request).await
        }
        Err(error) => {
            eprintln!("refused an assertion: {error}");
            (StatusCode::UNAUTHORIZED, Json(json!({ "error": "a valid X-Doorward-Assertion is needed" })))
                .into_response()
        }
    }
}
