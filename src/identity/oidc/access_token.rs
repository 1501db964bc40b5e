//! What a provider's access token says of the person beside the ID token, where a provider is known to write it there:
//! Keycloak the roles of a realm, Auth0 the permissions of an API.
//!
//! Such a token is meant for others to read, so it proves nothing by itself: it must be by the same issuer, of the same
//! person, and made for us. One that is not costs its claims only; who signed in is proven without it.

use serde_json::{Map, Value};

use super::id_token;
use crate::config::model::OidcOptions;
use crate::crypto::ASYMMETRIC;
use crate::domain::UnixTime;
use crate::identity::jwks::RemoteJwks;

/// Adds what the token says to the ID token's claims, which win.
pub(super) async fn complete(
    claims: &mut Map<String, Value>,
    token: &str,
    options: &OidcOptions,
    jwks: &RemoteJwks,
    now: UnixTime,
) {
    match read(claims, token, options, jwks, now).await {
        Ok(more) => {
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Err(cause) => tracing::warn!(event = "provider_access_token_unread", issuer = options.issuer, cause),
    }
}

async fn read(
    claims: &Map<String, Value>,
    token: &str,
    options: &OidcOptions,
    jwks: &RemoteJwks,
    now: UnixTime,
) -> Result<Map<String, Value>, String> {
    let more: Map<String, Value> = jwks.verify(token, &ASYMMETRIC, now).await.map_err(|fault| fault.to_string())?;
    for name in ["iss", "sub"] {
        if more.get(name).is_none() || more.get(name) != claims.get(name) {
            return Err(format!("its `{name}` is not that of the ID token"));
        }
    }
    // RFC 9068 §2.2 calls it `client_id`.
    if more.get("azp").or(more.get("client_id")).and_then(Value::as_str) != Some(&options.client_id) {
        return Err("its `azp` or `client_id` is not our client id".to_owned());
    }
    if !options.requested_audience.as_deref().is_none_or(|audience| id_token::audiences(&more).contains(&audience)) {
        return Err("its `aud` does not hold `audience`".to_owned());
    }
    id_token::check_times(&more, now).map_err(|_| "it is not good at this time".to_owned())?;
    Ok(more)
}
