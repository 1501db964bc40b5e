//! The code for an ID token (RFC 6749 §4.1.3, OpenID Connect Core §3.1.3), and a refresh token for a newer one (§12).

use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::Oidc;
use super::endpoints::Endpoints;
use crate::domain::UnixTime;
use crate::identity::bounded::{failure, read_body};
use crate::identity::client_authentication::{AssertionForm, ClientProof};
use crate::identity::shown::error_code;
use crate::identity::{InteractiveStep, LoginError, LoginReturn, Renewal, RenewalError, SetUpFault};

/// What is needed of the token answer. It holds tokens, so it has no `Debug`.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
pub(super) struct Answer {
    pub id_token: String,
    #[serde(default)]
    pub access_token: Option<String>,
    #[serde(default)]
    pub refresh_token: Option<String>,
}

/// Redeems the code. The deadline is the caller's.
pub(super) async fn redeem(oidc: &Oidc, endpoints: &Endpoints, login: &LoginReturn<'_>) -> Result<Answer, LoginError> {
    let unavailable = |cause: &str| LoginError::Unavailable(cause.to_owned());
    let request = request(oidc, endpoints, code_form(login), login.now)?;
    let response = request.send().await.map_err(|error| unavailable(failure(&error)))?;
    let status = response.status();
    let body = read_body(response).await.map_err(unavailable)?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).map_err(|_| LoginError::Untrusted("the token answer holds no ID token".to_owned()))
}

fn code_form(login: &LoginReturn<'_>) -> Serializer<'static, String> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", login.code)
        .append_pair("redirect_uri", login.redirect_uri);
    if let Some(verifier) = login.code_verifier {
        form.append_pair("code_verifier", verifier);
    }
    form
}

/// Spends a refresh token (OpenID Connect Core §12). The deadline is the caller's.
pub(super) async fn refresh(
    oidc: &Oidc,
    endpoints: &Endpoints,
    refresh_token: &SecretString,
    now: UnixTime,
) -> Result<Renewal, RenewalError> {
    let request = request(oidc, endpoints, refresh_form(refresh_token), now);
    let request = request.map_err(|error| RenewalError::unavailable(&error.to_string()))?;
    let response = request.send().await.map_err(|error| RenewalError::unanswered(&error))?;
    let status = response.status();
    let body = read_body(response).await.map_err(RenewalError::lost)?;
    if !status.is_success() {
        return Err(RenewalError::refusal(status, refusal(status, &body)));
    }
    let answer: Renewed =
        serde_json::from_slice(&body).map_err(|_| RenewalError::lost("the token answer cannot be read"))?;
    Ok(Renewal { refresh_token: answer.refresh_token.map(SecretString::from), body })
}

fn refresh_form(refresh_token: &SecretString) -> Serializer<'static, String> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh_token.expose_secret());
    form
}

/// What has to be saved of the answer to a refresh token before the rest is looked at.
#[derive(Deserialize)]
struct Renewed {
    #[serde(default)]
    refresh_token: Option<String>,
}

fn request(
    oidc: &Oidc,
    endpoints: &Endpoints,
    mut form: Serializer<'_, String>,
    now: UnixTime,
) -> Result<reqwest::RequestBuilder, LoginError> {
    let proof = ClientProof {
        client_id: &oidc.options.client_id,
        credential: &oidc.options.credential,
        secret_way: endpoints.secret_way,
        token_endpoint: &endpoints.token,
        assertion: AssertionForm::default(),
    };
    let authorization = proof
        .add_to(&mut form, &*oidc.random, now)
        .map_err(|not_signed| LoginError::Untrusted(not_signed.to_string()))?;
    let mut request = oidc
        .client
        .post(endpoints.token.clone())
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    Ok(request.body(form.finish()))
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
