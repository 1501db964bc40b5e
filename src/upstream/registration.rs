//! How the gateway becomes a client of an upstream's authorization server (MCP authorization, "Client Registration
//! Approaches"): as configured, by its own metadata document, or by dynamic registration (RFC 7591).

use http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::client_metadata::GatewayAsClient;
use super::discovery::Discovered;
use crate::config::model::{OidcCredential, SecretWay};
use crate::domain::UnixTime;
use crate::oauth::token_answer::error_code;
use crate::outbound::{Post, UpstreamFetcher};

/// A secret that ends within so many seconds is replaced before it does.
const RENEWED_BEFORE: i64 = 3600;
const LONGEST_ID: usize = 2048;

/// What the gateway is at one authorization server.
#[derive(Debug, Clone)]
pub struct UpstreamClient {
    pub id: String,
    pub credential: OidcCredential,
}

/// How the gateway gets there.
#[derive(Debug)]
pub enum Approach<'d> {
    /// It is one already.
    Known(UpstreamClient),
    /// It has to register at this endpoint, once for all people.
    Register(&'d Url),
}

/// Why the gateway cannot become a client. `Display` is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    #[error(
        "{issuer} offers no registration that the gateway can use{detail}: register it there by hand, with the redirect URI \
         {redirect_uri}, and configure `clientRegistration` with mode `manual`"
    )]
    NoWay { issuer: String, detail: &'static str, redirect_uri: String },
    #[error(
        "{issuer} refuses the registration ({code}): register by hand and configure `clientRegistration` with mode `manual`"
    )]
    Refused { issuer: String, code: String },
    /// Trying again later may help.
    #[error("{issuer} cannot be asked to register: {cause}")]
    Unavailable { issuer: String, cause: String },
    #[error("the answer of {issuer} to the registration {problem}")]
    Unusable { issuer: String, problem: &'static str },
}

/// `configured` is the client that the operator registered by hand.
///
/// # Errors
/// [`RegistrationError::NoWay`].
pub fn approach<'d>(
    configured: Option<&UpstreamClient>,
    server: &'d Discovered,
    gateway: &GatewayAsClient<'_>,
) -> Result<Approach<'d>, RegistrationError> {
    if let Some(configured) = configured {
        let mut client = configured.clone();
        if let OidcCredential::Secret { way: way @ None, .. } = &mut client.credential {
            *way = Some(secret_way(&server.auth_methods));
        }
        return Ok(Approach::Known(client));
    }
    let document = gateway.document_url();
    match (document, &server.registration_endpoint) {
        (Some(id), _) if server.takes_metadata_documents => {
            Ok(Approach::Known(UpstreamClient { id, credential: OidcCredential::None }))
        }
        (_, Some(endpoint)) => Ok(Approach::Register(endpoint)),
        (_, None) => Err(RegistrationError::NoWay {
            issuer: server.issuer.clone(),
            detail: if server.takes_metadata_documents {
                " (it takes client metadata documents, but could not fetch one from this gateway)"
            } else {
                ""
            },
            redirect_uri: gateway.redirect_uris().into_iter().next().unwrap_or_default(),
        }),
    }
}

/// A client that registered itself, to be kept sealed. It holds a secret, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct RegisteredClient {
    pub issuer: String,
    pub id: String,
    secret: Option<String>,
    /// `None`: never.
    secret_ends: Option<UnixTime>,
    posts_secret: bool,
    redirect_uris: Vec<String>,
}

impl RegisteredClient {
    #[must_use]
    pub fn client(&self) -> UpstreamClient {
        let way = Some(if self.posts_secret { SecretWay::Post } else { SecretWay::Basic });
        let credential = match &self.secret {
            Some(secret) => OidcCredential::Secret { secret: SecretString::from(secret.as_str()), way },
            None => OidcCredential::None,
        };
        UpstreamClient { id: self.id.clone(), credential }
    }

    /// Whether it can still be used: at the same server, with every redirect URI of today, and a secret that lasts.
    #[must_use]
    pub fn serves(&self, server: &Discovered, gateway: &GatewayAsClient<'_>, now: UnixTime) -> bool {
        self.issuer == server.issuer
            && gateway.redirect_uris().iter().all(|uri| self.redirect_uris.contains(uri))
            && self.secret_ends.is_none_or(|ends| ends.since(now) > RENEWED_BEFORE)
    }
}

/// Registers the gateway (RFC 7591 §3).
///
/// # Errors
/// [`RegistrationError`].
pub async fn register(
    fetcher: &UpstreamFetcher,
    endpoint: &Url,
    server: &Discovered,
    gateway: &GatewayAsClient<'_>,
) -> Result<RegisteredClient, RegistrationError> {
    let issuer = || server.issuer.clone();
    let unavailable = |cause: String| RegistrationError::Unavailable { issuer: issuer(), cause };
    let mut grant_types = vec!["authorization_code"];
    if server.grants_refresh {
        grant_types.push("refresh_token");
    }
    let mut metadata = gateway.metadata(auth_method(&server.auth_methods), grant_types);
    metadata.scope = Some(server.scopes.join(" ")).filter(|scope| !scope.is_empty());
    let body = serde_json::to_string(&metadata).map_err(|error| unavailable(error.to_string()))?;
    let answer = fetcher.post(endpoint, Post::json(body)).await.map_err(|error| unavailable(error.to_string()))?;
    let status = answer.status;
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return Err(unavailable(format!("HTTP {}", status.as_u16())));
    }
    // RFC 7591 §3.2.1 says 201; some servers say 200.
    if !matches!(status, StatusCode::CREATED | StatusCode::OK) {
        let code = error_code(&answer.body).unwrap_or_else(|| format!("HTTP {}", status.as_u16()));
        return Err(RegistrationError::Refused { issuer: issuer(), code });
    }
    registered(&answer.body, metadata.token_endpoint_auth_method, issuer(), metadata.redirect_uris)
        .map_err(|problem| RegistrationError::Unusable { issuer: issuer(), problem })
}

/// RFC 7591 §3.2.1: what the server says of the client counts, not what was asked for.
fn registered(
    json: &[u8],
    asked_method: &str,
    issuer: String,
    redirect_uris: Vec<String>,
) -> Result<RegisteredClient, &'static str> {
    let answer: Value = serde_json::from_slice(json).map_err(|_| "is not JSON")?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let id = text("client_id").filter(|id| fits(id)).ok_or("holds no client id")?;
    let method = text("token_endpoint_auth_method").unwrap_or(asked_method);
    let secret = match method {
        "none" => None,
        "client_secret_basic" | "client_secret_post" => {
            Some(text("client_secret").filter(|secret| fits(secret)).ok_or("holds no client secret")?)
        }
        _ => return Err("wants a method of client authentication that the gateway did not ask for"),
    };
    let ends = answer.get("client_secret_expires_at").and_then(Value::as_i64).filter(|ends| *ends > 0);
    Ok(RegisteredClient {
        issuer,
        id: id.to_owned(),
        secret: secret.map(str::to_owned),
        secret_ends: ends.filter(|_| secret.is_some()).map(UnixTime),
        posts_secret: method == "client_secret_post",
        redirect_uris,
    })
}

/// RFC 6749 appendix A.1 and A.2, and not without bound.
fn fits(text: &str) -> bool {
    text.len() <= LONGEST_ID && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

/// The best method that the server offers. The gateway can keep a secret, so it asks for one where it may (OAuth 2.1 §2.4).
/// In the body, which servers agree on: of those that take a header, some want an id in the body beside it, and not all
/// decode it alike.
fn auth_method(offered: &[String]) -> &'static str {
    ["client_secret_post", "client_secret_basic", "none"]
        .into_iter()
        .find(|method| offered.iter().any(|offer| offer == method))
        .unwrap_or("client_secret_basic")
}

/// How a secret is sent that the configuration does not say it of.
fn secret_way(offered: &[String]) -> SecretWay {
    let offers = |method: &str| offered.iter().any(|offer| offer == method);
    if offers("client_secret_post") && !offers("client_secret_basic") { SecretWay::Post } else { SecretWay::Basic }
}
