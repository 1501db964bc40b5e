//! What makes an ID token good (IDP-3; OpenID Connect Core §3.1.3.7, RFC 8725).

use serde_json::{Map, Value};

use crate::crypto::ASYMMETRIC;
use crate::domain::UnixTime;
use crate::identity::jwks::{RemoteJwks, TokenFault};
use crate::identity::{LoginError, shown};

/// Clock skew granted to the provider, in seconds.
const SKEW: i64 = 60;

/// What the token must say.
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    /// In `aud` beside the client id.
    pub audience: Option<&'a str>,
    /// `None` for a token that no login asked for (OpenID Connect Core §12.2).
    pub nonce: Option<&'a str>,
    /// `token_use`, at a provider whose tokens have it.
    pub token_use: Option<&'a str>,
    /// Seconds since the person signed in, at most.
    pub max_age: Option<u64>,
    pub now: UnixTime,
}

/// The claims of a token that meets all of it.
pub(super) async fn verify(
    token: &str,
    expected: &Expected<'_>,
    jwks: &RemoteJwks,
) -> Result<Map<String, Value>, LoginError> {
    let claims: Map<String, Value> =
        jwks.verify(token, &ASYMMETRIC, expected.now).await.map_err(|fault| match fault {
            TokenFault::KeysUnavailable(cause) => {
                LoginError::Unavailable(format!("its key set cannot be had: {cause}"))
            }
            other => LoginError::Untrusted(format!("the ID token does not verify: {other}")),
        })?;
    check_issuer(&claims, expected)?;
    check_audience(&claims, expected)?;
    check_authorized_party(&claims, expected)?;
    check_times(&claims, expected.now)?;
    check_nonce(&claims, expected)?;
    check_age(&claims, expected)?;
    check_use(&claims, expected)?;
    Ok(claims)
}

fn check_issuer(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginError> {
    match text(claims, "iss") {
        Some(issuer) if issuer == expected.issuer => Ok(()),
        Some(other) => untrusted(format!(
            "the ID token is from {}, and the configured issuer is {:?}",
            shown::claim(other),
            expected.issuer
        )),
        None => untrusted("the ID token lacks `iss`"),
    }
}

pub(super) fn audiences(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn check_audience(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginError> {
    let audiences = audiences(claims);
    let holds = |wanted: &str| audiences.contains(&wanted);
    if !holds(expected.client_id) {
        return untrusted("`aud` of the ID token does not hold our client id");
    }
    if !expected.audience.is_none_or(holds) {
        return untrusted("`aud` of the ID token does not hold `oidc.audience`");
    }
    Ok(())
}

fn check_authorized_party(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginError> {
    match claims.get("azp") {
        Some(Value::String(party)) if party == expected.client_id => Ok(()),
        Some(_) => untrusted("`azp` of the ID token is not our client id"),
        None if audiences(claims).len() > 1 => untrusted("the ID token has several audiences and lacks `azp`"),
        None => Ok(()),
    }
}

pub(super) fn check_times(claims: &Map<String, Value>, now: UnixTime) -> Result<(), LoginError> {
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
    let (earliest, latest) = ((now.0 - SKEW) as f64, (now.0 + SKEW) as f64);
    let (Some(expires), Some(issued)) = (seconds("exp"), seconds("iat")) else {
        return untrusted("the ID token lacks `exp` or `iat`");
    };
    if expires <= earliest {
        return untrusted("the ID token has expired: compare the clocks");
    }
    if issued > latest {
        return untrusted("the ID token is from the future: compare the clocks");
    }
    if claims.contains_key("nbf") && seconds("nbf").is_none_or(|not_before| not_before > latest) {
        return untrusted("the ID token is not good yet: compare the clocks");
    }
    Ok(())
}

fn check_nonce(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginError> {
    let Some(expected) = expected.nonce else { return Ok(()) };
    match text(claims, "nonce") {
        Some(nonce) if nonce == expected => Ok(()),
        Some(_) => untrusted("`nonce` of the ID token belongs to another login"),
        None => untrusted("the ID token lacks `nonce`"),
    }
}

fn check_use(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginError> {
    match expected.token_use {
        Some(wanted) if text(claims, "token_use") != Some(wanted) => {
            untrusted("`token_use` says that it is no ID token")
        }
        _ => Ok(()),
    }
}

/// `auth_time`: the provider may remember the person for longer than was asked for (OpenID Connect Core §3.1.3.7, 13).
fn check_age(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), LoginError> {
    let Some(max_age) = expected.max_age else { return Ok(()) };
    let Some(at) = authenticated_at(claims) else {
        return untrusted("the ID token lacks `auth_time`, which was asked for with `max_age`");
    };
    let most = i64::try_from(max_age).unwrap_or(i64::MAX).saturating_add(SKEW);
    if expected.now.since(at) > most {
        return untrusted(
            "`auth_time` of the ID token is older than `max_age` allows: the provider asked nobody again",
        );
    }
    Ok(())
}

/// When a verified token expires.
pub(super) fn expires_at(claims: &Map<String, Value>) -> UnixTime {
    #[expect(clippy::cast_possible_truncation, reason = "a float becomes the nearest number of seconds there is")]
    UnixTime(claims.get("exp").and_then(Value::as_f64).unwrap_or_default() as i64)
}

/// When the person signed in at the provider.
pub(super) fn authenticated_at(claims: &Map<String, Value>) -> Option<UnixTime> {
    claims.get("auth_time").and_then(Value::as_i64).map(UnixTime)
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

fn untrusted<T>(cause: impl Into<String>) -> Result<T, LoginError> {
    Err(LoginError::Untrusted(cause.into()))
}
