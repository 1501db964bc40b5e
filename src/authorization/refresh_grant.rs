//! Redeeming a refresh token (OAuth 2.1 §4.3; REFR-1 … REFR-11). The decision is [`crate::domain::refresh`];
//! here it meets the store.

use super::login_sessions::SessionError;
use super::token::{TokenFailure, TokenRequest, check_granted_resource, optional, required};
use super::{AuthorizationServer, revocation_record};
use crate::crypto::{Secret, SecretHash};
use crate::domain::client::GrantType;
use crate::domain::refresh::{Rotation, decide};
use crate::domain::{Client, Grant, RefreshToken};
use crate::oauth::scope::ScopeSet;
use crate::oauth::token::TokenResponse;
use crate::store::{AuditRecord, NewRefreshToken, RevocationReason, StoreError};

/// A presented token can be found superseded by a racer at most once per attempt; a second look settles it.
const ATTEMPTS: usize = 3;

impl AuthorizationServer {
    pub(super) async fn refresh_grant(
        &self,
        request: &TokenRequest<'_>,
        client: &Client,
    ) -> Result<TokenResponse, TokenFailure> {
        if !client.may_use(GrantType::RefreshToken) {
            return Err(TokenFailure::UnauthorizedClient);
        }
        let presented = required(request.form, "refresh_token")?;
        let hash = SecretHash::of(presented.as_bytes());
        let token = self.store.refresh_token(&hash).await?.ok_or(TokenFailure::InvalidRefreshToken)?;
        let grant = self.store.grant(&token.grant).await?.ok_or(TokenFailure::InvalidRefreshToken)?;
        if !self.grant_is_usable(&grant, client, request.origin) {
            return Err(TokenFailure::InvalidRefreshToken);
        }
        check_granted_resource(request.form, &grant)?;
        let scope = self.narrowed_scope(request, &grant)?;
        self.confirm_login(&grant).await?;

        let successor = self.rotate(presented, &hash, token, &grant).await?;
        let record = AuditRecord::new("mcp_auth_downstream_token_issued", self.now()).grant(&grant);
        self.audit_soon(AuditRecord { reason: Some("refresh"), ..record }).await;
        self.token_response(&grant, &scope, Some(successor.expose().to_owned()))
    }

    /// The identity provider still stands by the person (IDP-12 … IDP-15).
    async fn confirm_login(&self, grant: &Grant) -> Result<(), TokenFailure> {
        let Some(session) = &grant.login_session else { return Ok(()) };
        match self.sessions.check(session).await {
            Ok(()) => Ok(()),
            Err(SessionError::Ended) => {
                // Also a grant that was approved while the session ended.
                self.end_grant(grant, RevocationReason::ProviderSessionEnded).await?;
                Err(TokenFailure::SessionEnded)
            }
            Err(SessionError::ProviderUnavailable) => Err(TokenFailure::ProviderUnavailable),
            Err(SessionError::Store(error)) => Err(error.into()),
        }
    }

    /// REFR-8: `scope` narrows the access token; the grant keeps what it has.
    fn narrowed_scope(&self, request: &TokenRequest<'_>, grant: &Grant) -> Result<ScopeSet, TokenFailure> {
        match optional(request.form, "scope")? {
            None => Ok(grant.scope.clone()),
            Some(asked) => self.scopes.narrow(&grant.scope, asked).map_err(|_| TokenFailure::InvalidScope),
        }
    }

    /// Brings the successor of the presented token into being, or finds it there already.
    async fn rotate(
        &self,
        presented: &str,
        hash: &SecretHash,
        mut token: RefreshToken,
        grant: &Grant,
    ) -> Result<Secret, TokenFailure> {
        let successor = self
            .derivation
            .successor(presented, &grant.id, token.generation, &token.derivation_key)
            .await
            .map_err(|error| TokenFailure::derivation(&error))?;
        for _ in 0..ATTEMPTS {
            let stored = match token.superseded_at {
                Some(_) => self.store.refresh_token(&successor.hash()).await?,
                None => None,
            };
            match decide(&token, stored.as_ref(), self.options().refresh_token_reuse, self.now()) {
                Rotation::Repeat => {
                    self.metrics.refreshes.count(["repeated"]);
                    return Ok(successor);
                }
                Rotation::Expired => {
                    self.metrics.refreshes.count(["expired"]);
                    return Err(TokenFailure::InvalidRefreshToken);
                }
                Rotation::Replay => {
                    self.metrics.refreshes.count(["replayed"]);
                    self.end_grant(grant, RevocationReason::RefreshReplayed).await?;
                    return Err(TokenFailure::RefreshReplayed);
                }
                Rotation::Rotate => {
                    let next = self.next_generation(&successor, &token, grant);
                    if self.store.rotate_refresh_token(hash, &next, self.now()).await? {
                        self.metrics.refreshes.count(["rotated"]);
                        return Ok(successor);
                    }
                    // A racer was faster, or the grant ended: look again.
                    token = self.store.refresh_token(hash).await?.ok_or(TokenFailure::InvalidRefreshToken)?;
                }
            }
        }
        Err(TokenFailure::InvalidRefreshToken)
    }

    fn next_generation(&self, successor: &Secret, token: &RefreshToken, grant: &Grant) -> NewRefreshToken {
        let now = self.now();
        NewRefreshToken {
            hash: successor.hash(),
            token: RefreshToken {
                grant: grant.id.clone(),
                generation: token.generation + 1,
                expires_at: now.plus(self.options().refresh_token_ttl).min(grant.expires_at),
                superseded_at: None,
                derivation_key: self.derivation.current_id(now),
            },
            issued_at: now,
        }
    }

    /// Revokes a grant, here at once and elsewhere soon, and writes the one audit record of it (REFR-5).
    pub(super) async fn end_grant(&self, grant: &Grant, reason: RevocationReason) -> Result<(), StoreError> {
        let now = self.now();
        let ended = self.store.revoke_grant(&grant.id, reason, now).await?;
        // Only now: with the store away, nothing is revoked (REFR-10).
        self.forget_grant(&grant.id);
        if ended {
            self.metrics.grants_ended.count([reason.as_str()]);
            self.audit(revocation_record(grant, reason, now)).await;
        }
        Ok(())
    }
}
