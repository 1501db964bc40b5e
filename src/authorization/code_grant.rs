//! Redeeming an authorization code (OAuth 2.1 §4.1.3, RFC 7636 §4.6; CODE-5 … CODE-10).

use super::AuthorizationServer;
use super::token::{TokenFailure, TokenRequest, check_granted_resource, optional, required};
use crate::crypto::SecretHash;
use crate::domain::client::GrantType;
use crate::domain::{AuthorizationCode, Client, Grant, RefreshToken};
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::token::TokenResponse;
use crate::store::{AuditRecord, NewRefreshToken, RevocationReason};

impl AuthorizationServer {
    pub(super) async fn code_grant(
        &self,
        request: &TokenRequest<'_>,
        client: &Client,
    ) -> Result<TokenResponse, TokenFailure> {
        if !client.may_use(GrantType::AuthorizationCode) {
            return Err(TokenFailure::UnauthorizedClient);
        }
        let hash = SecretHash::of(required(request.form, "code")?.as_bytes());
        let (code, mut grant) = self.find_code(&hash, client, request.origin).await?;
        check_redirect_uri(request, &code)?;
        if !self.redirect_allowed(&code.redirect_uri) {
            return Err(TokenFailure::InvalidCode);
        }
        check_verifier(request, &code)?;
        check_granted_resource(request.form, &grant)?;
        if code.consumed_at.is_some() {
            return Err(self.code_replayed(&grant).await?);
        }

        let now = self.now();
        grant.expires_at = now.plus(self.options().grant_ttl);
        let refresh = client.may_use(GrantType::RefreshToken).then(|| self.first_refresh_token(&grant));
        let new = refresh.as_ref().map(|(_, new)| new);
        if !self.store.redeem_code(&hash, &grant.id, grant.expires_at, new, now).await? {
            return Err(self.lost_redemption(&hash, &grant).await?);
        }
        self.metrics.steps.count(["connected"]);
        self.audit(AuditRecord::new("mcp_auth_downstream_token_issued", now).grant(&grant)).await;
        let refresh_token = refresh.map(|(secret, _)| secret.expose().to_owned());
        self.token_response(&grant, &grant.scope.clone(), refresh_token)
    }

    /// The code and its grant, if both are this client's on this origin and neither has expired.
    async fn find_code(
        &self,
        hash: &SecretHash,
        client: &Client,
        origin: &str,
    ) -> Result<(AuthorizationCode, Grant), TokenFailure> {
        let code = self.store.code(hash).await?.ok_or(TokenFailure::InvalidCode)?;
        let grant = self.store.grant(&code.grant).await?.ok_or(TokenFailure::InvalidCode)?;
        let in_time = code.consumed_at.is_some() || code.expires_at > self.now();
        if !in_time || code.client_id != client.id || !self.grant_is_usable(&grant, client, origin) {
            return Err(TokenFailure::InvalidCode);
        }
        Ok((code, grant))
    }

    fn first_refresh_token(&self, grant: &Grant) -> (crate::crypto::Secret, NewRefreshToken) {
        let now = self.now();
        let secret = self.secret("rt_");
        let token = RefreshToken {
            grant: grant.id.clone(),
            generation: 0,
            expires_at: now.plus(self.options().refresh_token_ttl).min(grant.expires_at),
            superseded_at: None,
            derivation_key: self.derivation.current_id(now),
        };
        let new = NewRefreshToken { hash: secret.hash(), token, issued_at: now };
        (secret, new)
    }

    /// Somebody else redeemed the code between our look and our claim (CODE-9), or it expired meanwhile.
    async fn lost_redemption(&self, hash: &SecretHash, grant: &Grant) -> Result<TokenFailure, TokenFailure> {
        match self.store.code(hash).await? {
            Some(code) if code.consumed_at.is_some() => self.code_replayed(grant).await,
            _ => Ok(TokenFailure::InvalidCode),
        }
    }

    /// CODE-8: a used code came again with everything right. Whoever brings it, the grant is not safe.
    async fn code_replayed(&self, grant: &Grant) -> Result<TokenFailure, TokenFailure> {
        self.end_grant(grant, RevocationReason::CodeReplayed).await?;
        Ok(TokenFailure::InvalidCode)
    }
}

/// CODE-7: may be absent; sent, it is the one of the authorization request.
fn check_redirect_uri(request: &TokenRequest<'_>, code: &AuthorizationCode) -> Result<(), TokenFailure> {
    match optional(request.form, "redirect_uri")? {
        None => Ok(()),
        Some(sent) => match RedirectUri::parse(sent) {
            Ok(sent) if sent == code.redirect_uri => Ok(()),
            _ => Err(TokenFailure::InvalidCode),
        },
    }
}

/// CODE-6.
fn check_verifier(request: &TokenRequest<'_>, code: &AuthorizationCode) -> Result<(), TokenFailure> {
    let verifier = optional(request.form, "code_verifier")?.ok_or(TokenFailure::WrongVerifier)?;
    let challenge = CodeChallenge::parse(Some(&code.code_challenge), Some("S256"));
    match challenge {
        Ok(challenge) if challenge.verify(verifier) => Ok(()),
        _ => Err(TokenFailure::WrongVerifier),
    }
}
