//! Token revocation (RFC 7009): any generation of a refresh token, or an access token, ends its grant.

use super::AuthorizationServer;
use super::token::{TokenFailure, TokenRequest, check_single, required};
use crate::crypto::SecretHash;
use crate::domain::{Client, Grant, GrantId};
use crate::store::RevocationReason;

/// Why a revocation request was refused; an unknown token is no reason (RFC 7009 §2.2).
pub type RevokeError = TokenFailure;

impl AuthorizationServer {
    /// Revokes. Succeeds as well for tokens that are unknown, expired or another client's, and does nothing
    /// then (REV-1).
    ///
    /// # Errors
    /// [`RevokeError`] when the request or the client is wrong, or the store is away.
    pub async fn revoke(&self, request: &TokenRequest<'_>) -> Result<(), RevokeError> {
        check_single(request.form)?;
        let client = self.authenticate_client(request).await?;
        let token = required(request.form, "token")?;
        if let Some(grant) = self.grant_of(token, &client, request.origin).await? {
            self.end_grant(&grant, RevocationReason::Client).await?;
        }
        Ok(())
    }

    /// The client's own live grant that `token` belongs to. `token_type_hint` is only a hint, and the two
    /// kinds of token cannot be mistaken for each other, so it is not needed (REV-2).
    async fn grant_of(&self, token: &str, client: &Client, origin: &str) -> Result<Option<Grant>, TokenFailure> {
        let id = if let Some(refresh) = self.store.refresh_token(&SecretHash::of(token.as_bytes())).await? {
            Some(refresh.grant)
        } else {
            let claims = self.issuer.claims_of_own_token(token, self.now()).await;
            claims.map(|claims| GrantId::new(claims.sid))
        };
        let Some(id) = id else { return Ok(None) };
        let grant = self.store.grant(&id).await?;
        Ok(grant.filter(|grant| grant.client_id == client.id && grant.origin == origin && grant.revoked_at.is_none()))
    }
}
