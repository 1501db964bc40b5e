//! What the claims of an AuthKit access token say (RFC 9068 §2.2, OpenID Connect Core §5.1).

use serde_json::{Map, Value};

use super::{DirectRefusal, DirectToken, SKEW};
use crate::config::model::{PersonClaims, ProviderProfile};
use crate::crypto::base64url_decode;
use crate::domain::{ClientId, UnixTime};
use crate::identity::oidc::of_claims;
use crate::oauth::scope::ScopeSet;

/// Claims of ID tokens that no access token has (OpenID Connect Core §2, §3.3.2.11).
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];
/// Claims of access tokens, of which an ID token has none (RFC 9068 §2.2).
const OF_ACCESS_TOKENS: [&str; 2] = ["client_id", "jti"];
/// What a client without a name of its own is called. No client id, so no access rule lets it in by that.
const UNNAMED_CLIENT: &str = "unnamed";
/// The latest time that is taken for one, in seconds since 1970: the year 9999.
const LATEST: f64 = 253_402_300_799.0;

/// The claims as they stand there, proven by nothing.
pub(super) fn unverified(token: &str) -> Option<Map<String, Value>> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&base64url_decode(payload)?).ok()
}

/// Reads claims whose signature and issuer are good.
pub(super) fn read(claims: &Map<String, Value>, issuer: &str, now: UnixTime) -> Result<DirectToken, DirectRefusal> {
    // AuthKit signs ID tokens with the same key, and for a client id as the audience.
    let has = |name: &&str| claims.contains_key(*name);
    if OF_ID_TOKENS.iter().any(has) || !OF_ACCESS_TOKENS.iter().any(has) {
        return Err(DirectRefusal::WrongType);
    }
    let subject = text(claims, "sub").ok_or(DirectRefusal::Claims("`sub`"))?;
    let client = text(claims, "client_id").or_else(|| text(claims, "azp"));
    if client == Some(subject) || subject.starts_with("client_") {
        return Err(DirectRefusal::NoPerson);
    }
    if claims.get("act").is_some_and(|actor| !actor.is_null()) {
        return Err(DirectRefusal::Impersonated);
    }
    let expires_at = seconds(claims, "exp").ok_or(DirectRefusal::Claims("`exp`"))?;
    for name in ["iat", "nbf"] {
        if claims.contains_key(name)
            && seconds(claims, name).ok_or(DirectRefusal::Claims("`iat` or `nbf`"))?.since(now) > SKEW
        {
            return Err(DirectRefusal::NotYet);
        }
    }
    let mut person = of_claims(claims, issuer, &PersonClaims::default(), &ProviderProfile::STANDARD)
        .map_err(|_| DirectRefusal::Claims("`sub`"))?;
    if let Some(role) = text(claims, "role")
        && !person.roles.iter().any(|known| known == role)
    {
        person.roles.insert(0, role.to_owned());
    }
    Ok(DirectToken {
        person: person.into(),
        session: text(claims, "sid").unwrap_or_default().to_owned(),
        client: ClientId::new(client.unwrap_or(UNNAMED_CLIENT)),
        scope: ScopeSet::parse(text(claims, "scope").unwrap_or_default()),
        expires_at,
        audiences: texts(claims.get("aud")),
    })
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// One text, or several (RFC 7519 §4.1.3).
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// `NumericDate` may have a fraction (RFC 7519 §2).
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<UnixTime> {
    let seconds = claims.get(name)?.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds above")]
    Some(UnixTime(seconds as i64))
}
