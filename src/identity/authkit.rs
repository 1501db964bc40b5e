//! AuthKit as the authorization server of MCP clients (gateway.md §7): its access tokens, verified, and the people
//! behind them.
//!
//! Owns what makes a token of AuthKit's good for one route (RFC 9068 §4, RFC 8725) and what its claims say of a person.
//! Must not issue anything: in direct mode the gateway is a protected resource and nothing else.

mod claims;
mod login;
mod users;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, decode_header};
use moka::sync::Cache;
use serde_json::{Map, Value};

use super::jwks::{RemoteJwks, TokenFault};
use super::shown;
use crate::config::model::{AuthKitAudience, AuthKitOptions};
use crate::crypto::{SecretHash, sha256};
use crate::domain::{ClientId, Person, UnixTime};
use crate::oauth::scope::ScopeSet;
use users::Users;

pub use login::AuthKitApplication;

/// Verified tokens that are remembered.
const CACHED_TOKENS: u64 = 10_000;
/// More bytes than a token with a hundred permissions has.
const MAX_TOKEN: usize = 16 * 1024;
/// Clock skew granted to AuthKit, in seconds.
const SKEW: i64 = 30;
/// How long a signature is believed without another look at the key set, so that a withdrawn key takes its tokens along.
const RECHECK: Duration = Duration::from_mins(5);
/// For one fetch of the key set.
const DEADLINE: Duration = Duration::from_secs(10);

/// A token that is good now, for the route it was checked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectToken {
    /// As the token describes them.
    pub person: Arc<Person>,
    pub client: ClientId,
    /// `sid`: AuthKit's record of the person's consent; empty when the token has none.
    pub session: String,
    pub scope: ScopeSet,
    pub expires_at: UnixTime,
    audiences: Vec<String>,
}

/// Why a token is not good. `Display` is for the log and never holds any of the token but a claim that was compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectRefusal {
    #[error("not a token of AuthKit: {0}")]
    Foreign(TokenFault),
    #[error("longer than any token of AuthKit")]
    TooLong,
    #[error(
        "issued by {0}, and `authkitDomain` is another: where AuthKit moved to a domain of your own, configure that one"
    )]
    WrongIssuer(String),
    #[error("an ID token or another kind of token, not an access token")]
    WrongType,
    #[error("its claims are incomplete: {0}")]
    Claims(&'static str),
    #[error("from the future: compare the clocks")]
    NotYet,
    #[error("expired")]
    Expired,
    #[error("of an application, not of a person")]
    NoPerson,
    #[error("of a session in another person's name")]
    Impersonated,
    #[error("issued for the whole WorkOS environment ({0}), not for this server")]
    Environment(String),
    #[error("issued for another server")]
    WrongAudience,
    #[error("AuthKit's key set cannot be had: {0}")]
    KeysUnavailable(String),
}

impl DirectRefusal {
    #[must_use]
    pub fn reason_code(&self) -> &'static str {
        match self {
            Self::Foreign(_) | Self::TooLong => "token_foreign",
            Self::WrongIssuer(_) => "token_wrong_issuer",
            Self::WrongType => "token_wrong_type",
            Self::Claims(_) => "token_claims_incomplete",
            Self::NotYet => "token_not_yet_good",
            Self::Expired => "token_expired",
            Self::NoPerson => "token_of_application",
            Self::Impersonated => "token_impersonated",
            Self::Environment(_) => "token_for_environment",
            Self::WrongAudience => "token_wrong_audience",
            Self::KeysUnavailable(_) => "provider_keys_unavailable",
        }
    }
}

/// One AuthKit domain, as a verifier of its tokens.
pub struct AuthKit {
    issuer: String,
    client_id: Option<String>,
    audience: AuthKitAudience,
    jwks: RemoteJwks,
    users: Option<Users>,
    cache: Cache<SecretHash, Checked>,
}

#[derive(Clone)]
struct Checked {
    token: Arc<DirectToken>,
    at: UnixTime,
}

impl AuthKit {
    /// `client` reaches operator-configured endpoints and follows no redirects. Asks nothing yet.
    #[must_use]
    pub fn new(options: &AuthKitOptions, client: reqwest::Client) -> Self {
        Self {
            issuer: options.issuer.clone(),
            client_id: options.client_id.clone(),
            audience: options.audience,
            jwks: RemoteJwks::new(client.clone(), options.endpoint("jwks"), DEADLINE),
            users: options.api.clone().map(|api| Users::new(api, client)),
            cache: Cache::new(CACHED_TOKENS),
        }
    }

    /// Checks a token for `resource`, a route's URL. The signature once in a while, everything else every time.
    ///
    /// # Errors
    /// [`DirectRefusal`].
    pub async fn verify(&self, token: &str, resource: &str, now: UnixTime) -> Result<Arc<DirectToken>, DirectRefusal> {
        let verified = self.known(token, now).await?;
        if verified.expires_at.0.saturating_add(SKEW) <= now.0 {
            return Err(DirectRefusal::Expired);
        }
        self.check_audience(&verified, resource)?;
        Ok(verified)
    }

    /// The person behind a token, with what the WorkOS API knows where the token lacks name or address and there is an
    /// `apiKey`.
    ///
    /// # Errors
    /// In words, when the API has to be asked and cannot be.
    pub async fn complete(&self, token: &DirectToken, now: UnixTime) -> Result<Arc<Person>, String> {
        match &self.users {
            Some(users) if token.person.email.is_none() || token.person.name.is_none() => {
                users.complete(&token.person, now).await
            }
            _ => Ok(Arc::clone(&token.person)),
        }
    }

    async fn known(&self, token: &str, now: UnixTime) -> Result<Arc<DirectToken>, DirectRefusal> {
        if token.len() > MAX_TOKEN {
            return Err(DirectRefusal::TooLong);
        }
        let hash = SecretHash::from_digest(sha256(token.as_bytes()));
        if let Some(known) = self.cache.get(&hash)
            && now.since(known.at) < RECHECK.as_secs().cast_signed()
        {
            return Ok(known.token);
        }
        self.cache.invalidate(&hash);
        check_type(token)?;
        // Before any key is looked for: what others issued must not make the gateway fetch.
        let presented = claims::unverified(token).ok_or(DirectRefusal::Foreign(TokenFault::Malformed))?;
        self.check_issuer(&presented)?;
        let claims: Map<String, Value> =
            self.jwks.verify(token, &[Algorithm::RS256], now).await.map_err(|fault| match fault {
                TokenFault::KeysUnavailable(cause) => DirectRefusal::KeysUnavailable(cause),
                other => DirectRefusal::Foreign(other),
            })?;
        self.check_issuer(&claims)?;
        let verified = Arc::new(claims::read(&claims, &self.issuer, now)?);
        self.cache.insert(hash, Checked { token: Arc::clone(&verified), at: now });
        Ok(verified)
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), DirectRefusal> {
        match claims.get("iss").and_then(Value::as_str) {
            Some(issuer) if issuer == self.issuer => Ok(()),
            Some(other) => Err(DirectRefusal::WrongIssuer(shown::claim(other))),
            None => Err(DirectRefusal::Claims("`iss`")),
        }
    }

    /// RFC 8707 §2: the token is for this route, or, where that was configured, for the environment.
    fn check_audience(&self, token: &DirectToken, resource: &str) -> Result<(), DirectRefusal> {
        let audiences = || token.audiences.iter().map(String::as_str);
        if audiences().any(|audience| audience.strip_suffix('/').unwrap_or(audience) == resource) {
            return Ok(());
        }
        let environment = audiences()
            .find(|audience| Some(*audience) == self.client_id.as_deref() || audience.starts_with("client_"));
        match environment {
            Some(id) if self.audience == AuthKitAudience::ClientId && Some(id) == self.client_id.as_deref() => Ok(()),
            Some(id) => Err(DirectRefusal::Environment(shown::claim(id))),
            None => Err(DirectRefusal::WrongAudience),
        }
    }
}

/// RFC 8725 §3.11. AuthKit writes no `typ`; a token that says it is something else is.
fn check_type(token: &str) -> Result<(), DirectRefusal> {
    let header = decode_header(token).map_err(|_| DirectRefusal::Foreign(TokenFault::Malformed))?;
    let good = ["JWT", "at+jwt", "application/at+jwt"];
    match &header.typ {
        Some(typ) if !good.iter().any(|good| good.eq_ignore_ascii_case(typ)) => Err(DirectRefusal::WrongType),
        _ => Ok(()),
    }
}
