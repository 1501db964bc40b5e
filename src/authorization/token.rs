//! The token endpoint (OAuth 2.1 §3.2): client first, then the grant.
//!
//! One error enum for all grants, for revocation and for introspection; [`TokenFailure::code`] is the one place that names the
//! RFC's error for each.

use std::net::IpAddr;

use super::AuthorizationServer;
use super::clients::ClientError;
use crate::access::AccessRefusal;
use crate::domain::{Client, Grant, Throttled, UnixTime};
use crate::keys::{AccessTokenClaims, KeysError};
use crate::oauth::params::Params;
use crate::oauth::scope::ScopeSet;
use crate::oauth::token::{JWT_BEARER, TokenErrorCode, TokenResponse, sanitize_description};
use crate::outbound::ClientDocumentError;
use crate::store::StoreError;

/// A form posted to the token, revocation or introspection endpoint. It holds secrets, so it has no `Debug`.
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    pub form: &'a Params,
    /// The `Authorization` header, if there was one.
    pub authorization: Option<&'a str>,
    pub origin: &'a str,
    pub peer: Option<IpAddr>,
}

/// Why there is no token. `Display` is the `error_description`; it names no secret.
#[derive(Debug, thiserror::Error)]
pub enum TokenFailure {
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is repeated")]
    Repeated(String),
    #[error("more than one way of client authentication was used")]
    TwoAuthentications,
    /// Unknown client, wrong secret and wrong method look alike (SEC-7).
    #[error("unknown client, or client authentication failed")]
    ClientAuthentication { basic: bool },
    #[error("this grant_type is not supported")]
    UnsupportedGrantType,
    #[error("the client did not register this grant type")]
    UnauthorizedClient,
    #[error("the authorization code is unknown, expired, used, or was issued to another client or redirect URI")]
    InvalidCode,
    #[error("code_verifier does not fit the code_challenge")]
    WrongVerifier,
    #[error("the refresh token is unknown, expired, revoked, or was issued to another client")]
    InvalidRefreshToken,
    #[error("the refresh token was used before and its successor is in use; the grant was revoked")]
    RefreshReplayed,
    #[error("the sign-in behind this grant has ended at the identity provider; sign in again")]
    SessionEnded,
    #[error("the identity provider cannot be asked at the moment; try again")]
    ProviderUnavailable,
    #[error("the assertion was refused: {0}")]
    Assertion(&'static str),
    #[error("the person may not use this server: {0}")]
    AccessDenied(AccessRefusal),
    #[error("the resource is not the one this grant is for")]
    InvalidTarget,
    #[error("none of the requested scopes is part of the grant")]
    InvalidScope,
    /// The client's metadata document or keys cannot be had right now (CODE-2).
    #[error("the client's metadata cannot be fetched at the moment; try again")]
    ClientUnreachable,
    #[error(transparent)]
    Throttled(#[from] Throttled),
    #[error("temporarily unavailable; try again")]
    Store(#[from] StoreError),
    /// The key that a token hangs on is not at hand; the token itself may be good.
    #[error("temporarily unavailable; try again")]
    Keys,
    #[error("the token could not be signed")]
    Signing,
}

impl TokenFailure {
    pub(super) fn derivation(error: &KeysError) -> Self {
        tracing::error!(event = "mcp_auth_key_missing", %error);
        Self::Keys
    }

    #[must_use]
    pub fn code(&self) -> TokenErrorCode {
        match self {
            Self::Missing(_) | Self::Repeated(_) | Self::TwoAuthentications => TokenErrorCode::InvalidRequest,
            Self::ClientAuthentication { .. } => TokenErrorCode::InvalidClient,
            Self::UnsupportedGrantType => TokenErrorCode::UnsupportedGrantType,
            Self::UnauthorizedClient => TokenErrorCode::UnauthorizedClient,
            Self::InvalidCode
            | Self::WrongVerifier
            | Self::InvalidRefreshToken
            | Self::RefreshReplayed
            | Self::SessionEnded
            | Self::Assertion(_) => TokenErrorCode::InvalidGrant,
            Self::AccessDenied(_) => TokenErrorCode::AccessDenied,
            Self::InvalidTarget => TokenErrorCode::InvalidTarget,
            Self::InvalidScope => TokenErrorCode::InvalidScope,
            Self::ClientUnreachable | Self::ProviderUnavailable | Self::Keys | Self::Store(_) => {
                TokenErrorCode::TemporarilyUnavailable
            }
            Self::Throttled(_) => TokenErrorCode::TooManyRequests,
            Self::Signing => TokenErrorCode::ServerError,
        }
    }
}

impl From<ClientDocumentError> for TokenFailure {
    fn from(error: ClientDocumentError) -> Self {
        match error {
            ClientDocumentError::Throttled(throttled) => Self::Throttled(throttled),
            ClientDocumentError::Temporary(_) | ClientDocumentError::Refused(_) => Self::ClientUnreachable,
        }
    }
}

impl From<ClientError> for TokenFailure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unknown | ClientError::Refused(_) => Self::ClientAuthentication { basic: false },
            ClientError::Unreachable(_) => Self::ClientUnreachable,
            ClientError::Throttled(throttled) => Self::Throttled(throttled),
            ClientError::Store(error) => Self::Store(error),
        }
    }
}

impl AuthorizationServer {
    /// Answers a token request.
    ///
    /// # Errors
    /// [`TokenFailure`].
    pub async fn token(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, TokenFailure> {
        let answer = match self.grant_token(request).await {
            Err(failure) => match self.count_refused_assertion(request, &failure) {
                Ok(()) => Err(failure),
                Err(throttled) => Err(TokenFailure::Throttled(throttled)),
            },
            answer => answer,
        };
        if let Err(failure) = &answer {
            self.metrics.tokens_refused.count([failure.code().as_str()]);
        }
        answer
    }

    async fn grant_token(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, TokenFailure> {
        check_single(request.form)?;
        let client = self.authenticate_client(request).await?;
        let (grant_type, response) = match required(request.form, "grant_type")? {
            "authorization_code" => ("authorization_code", self.code_grant(request, &client).await?),
            "refresh_token" => ("refresh_token", self.refresh_grant(request, &client).await?),
            JWT_BEARER if self.takes_assertions() => ("jwt_bearer", self.assertion_grant(request, &client).await?),
            _ => return Err(TokenFailure::UnsupportedGrantType),
        };
        self.metrics.tokens_issued.count([grant_type]);
        Ok(response)
    }

    /// The access token of a grant, and the answer around it (CODE-11, CODE-12).
    pub(super) fn token_response(
        &self,
        grant: &Grant,
        scope: &ScopeSet,
        refresh_token: Option<String>,
    ) -> Result<TokenResponse, TokenFailure> {
        let expires_at = self.now().plus(self.options().access_token_ttl).min(grant.expires_at);
        self.token_until(grant, scope, expires_at, refresh_token)
    }

    pub(super) fn token_until(
        &self,
        grant: &Grant,
        scope: &ScopeSet,
        expires_at: UnixTime,
        refresh_token: Option<String>,
    ) -> Result<TokenResponse, TokenFailure> {
        let now = self.now();
        let access_token = self
            .issuer
            .issue(&AccessTokenClaims {
                iss: grant.issuer.clone(),
                sub: grant.subject.as_str().to_owned(),
                aud: grant.resource.clone(),
                client_id: grant.client_id.as_str().to_owned(),
                exp: expires_at.0,
                iat: now.0,
                jti: self.new_id(""),
                scope: scope.to_string(),
                sid: grant.id.as_str().to_owned(),
                auth_time: Some(grant.authenticated_at.0),
            })
            .map_err(|error| {
                tracing::error!(event = "mcp_auth_signing_failed", %error);
                TokenFailure::Signing
            })?;
        Ok(TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in: expires_at.since(now),
            refresh_token,
            scope: scope.to_string(),
            resource: Some(grant.resource.clone()),
        })
    }

    /// DISC-13: a grant is good on the origin that made it, for the client that got it, while it lives and the
    /// configuration still lets that client use the route.
    pub(super) fn grant_is_usable(&self, grant: &Grant, client: &Client, origin: &str) -> bool {
        grant.client_id == client.id
            && grant.origin == origin
            && grant.is_live(self.now())
            && self.route(&grant.route).is_some()
            && client.routes.as_ref().is_none_or(|limit| limit.contains(&grant.route))
    }
}

/// CODE-10, REFR-2: `resource` may be absent; sent, it is the granted one.
pub(super) fn check_granted_resource(form: &Params, grant: &Grant) -> Result<(), TokenFailure> {
    let fits = form.all("resource").iter().all(|sent| crate::oauth::resource::same(&grant.resource, sent));
    if fits { Ok(()) } else { Err(TokenFailure::InvalidTarget) }
}

/// CODE-1: no parameter but `resource` may be repeated.
pub(super) fn check_single(form: &Params) -> Result<(), TokenFailure> {
    match form.first_repeated(&["resource"]) {
        // It goes to the log, where a line break would begin a line of the sender's own.
        Some(name) => Err(TokenFailure::Repeated(sanitize_description(name).chars().take(40).collect())),
        None => Ok(()),
    }
}

pub(super) fn required<'p>(form: &'p Params, name: &'static str) -> Result<&'p str, TokenFailure> {
    optional(form, name)?.ok_or(TokenFailure::Missing(name))
}

pub(super) fn optional<'p>(form: &'p Params, name: &'static str) -> Result<Option<&'p str>, TokenFailure> {
    form.get(name).map_err(|_| TokenFailure::Repeated(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // CODE-1, SEC-6
    #[test]
    fn a_repeated_name_brings_no_line_of_its_own_into_the_log() {
        let form = Params::parse("a%0Aevent%3Dforged%1b=1&a%0Aevent%3Dforged%1b=2");
        let refused = check_single(&form).unwrap_err().to_string();
        assert!(refused.chars().all(|char| !char.is_control()), "{refused:?}");
    }
}
