//! The code for an ID token, and how the gateway proves who asks (IDP-9; RFC 6749 §2.3.1, RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::Oidc;
use super::endpoints::Endpoints;
use crate::config::model::{ClientKey, OidcCredential, SecretWay};
use crate::domain::UnixTime;
use crate::domain::random::random_id;
use crate::identity::bounded::{failure, read_body};
use crate::identity::shown::error_code;
use crate::identity::{InteractiveStep, LoginError, LoginReturn, SetUpFault};

/// Seconds a client assertion is good for.
const ASSERTION_LIFE: i64 = 60;

/// What a login needs of the token answer. Refresh tokens are left where they are: nothing asks again (IDP-11).
#[derive(Deserialize)]
pub(super) struct Answer {
    pub id_token: String,
    #[serde(default)]
    pub access_token: Option<String>,
}

/// Redeems the code. The deadline is the caller's.
pub(super) async fn redeem(oidc: &Oidc, endpoints: &Endpoints, login: &LoginReturn<'_>) -> Result<Answer, LoginError> {
    let unavailable = |cause: &str| LoginError::Unavailable(cause.to_owned());
    let response = request(oidc, endpoints, login)?.send().await.map_err(|error| unavailable(failure(&error)))?;
    let status = response.status();
    let body = read_body(response).await.map_err(unavailable)?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).map_err(|_| LoginError::Untrusted("the token answer holds no ID token".to_owned()))
}

fn request(oidc: &Oidc, endpoints: &Endpoints, login: &LoginReturn<'_>) -> Result<reqwest::RequestBuilder, LoginError> {
    let client_id = oidc.options.client_id.as_str();
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", login.code)
        .append_pair("redirect_uri", login.redirect_uri);
    if let Some(verifier) = login.code_verifier {
        form.append_pair("code_verifier", verifier);
    }
    let mut request = oidc
        .client
        .post(endpoints.token.clone())
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded");
    match &oidc.options.credential {
        OidcCredential::Secret { secret, way } => match way.unwrap_or(endpoints.secret_way) {
            SecretWay::Basic => request = request.header("authorization", basic(client_id, secret.expose_secret())),
            SecretWay::Post => {
                form.append_pair("client_id", client_id).append_pair("client_secret", secret.expose_secret());
            }
        },
        OidcCredential::None => {
            form.append_pair("client_id", client_id);
        }
        OidcCredential::PrivateKey(key) => {
            let jti = random_id("", &*oidc.random);
            let assertion = assertion(key, client_id, endpoints.token.as_str(), &jti, login.now)?;
            form.append_pair("client_id", client_id)
                .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                .append_pair("client_assertion", &assertion);
        }
    }
    Ok(request.body(form.finish()))
}

/// RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret))))
}

/// OpenID Connect Core §9.
fn assertion(key: &ClientKey, client_id: &str, audience: &str, jti: &str, now: UnixTime) -> Result<String, LoginError> {
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": audience, "jti": jti, "iat": now.0, "exp": now.0 + ASSERTION_LIFE,
    });
    key.key
        .sign_jwt(key.id.as_deref(), &claims)
        .ok_or_else(|| LoginError::Untrusted("our client assertion could not be signed".to_owned()))
}

/// RFC 6749 §5.2. The description is free text and goes no further.
fn refusal(status: StatusCode, body: &[u8]) -> LoginError {
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return LoginError::Unavailable(format!("HTTP {}", status.as_u16()));
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match body.get("error").and_then(Value::as_str) {
        Some("invalid_grant") => LoginError::CodeRejected,
        Some("invalid_client") => LoginError::SetUp(SetUpFault::WrongSecret),
        Some("unauthorized_client") => LoginError::SetUp(SetUpFault::UnknownClient),
        Some("access_denied") => LoginError::AccessDenied,
        Some("interaction_required" | "login_required" | "consent_required") => {
            LoginError::Interactive(InteractiveStep::Other)
        }
        Some("temporarily_unavailable" | "server_error") => LoginError::Unavailable("it says so".to_owned()),
        None if status == StatusCode::UNAUTHORIZED => LoginError::SetUp(SetUpFault::WrongSecret),
        name => {
            let name = name.map_or_else(|| "no error code".to_owned(), error_code);
            LoginError::Untrusted(format!("HTTP {} from the token endpoint, {name}", status.as_u16()))
        }
    }
}
