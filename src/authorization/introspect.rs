//! Token introspection (RFC 7662; REV-7): whether a token is good right now, for the resource servers that the
//! configuration names.
//!
//! The store is asked each time, so the answer is the same on every replica. Must not change anything: a refresh
//! token that was looked at was not used.

use super::AuthorizationServer;
use super::token::{TokenFailure, TokenRequest, check_single, required};
use crate::config::model::ResourceServer;
use crate::crypto::SecretHash;
use crate::domain::refresh::{Rotation, decide};
use crate::domain::{Grant, GrantId};
use crate::keys::AccessTokenClaims;
use crate::oauth::introspection::{ActiveToken, Introspection, REFRESH_TOKEN};
use crate::store::StoreError;

/// Why an introspection request was refused; a token that is not good is no reason (RFC 7662 §2.2).
pub type IntrospectError = TokenFailure;

impl AuthorizationServer {
    /// Tells a resource server of a token. `token_type_hint` is not needed: the two kinds of token cannot be
    /// mistaken for each other.
    ///
    /// # Errors
    /// [`IntrospectError`] when the request or the caller is wrong, or the store is away.
    pub async fn introspect(&self, request: &TokenRequest<'_>) -> Result<Introspection, IntrospectError> {
        check_single(request.form)?;
        let caller = self.authenticate_resource_server(request)?;
        let token = required(request.form, "token")?;
        let active = match self.issuer.claims_of_own_token(token, self.now()).await {
            Some(claims) => self.introspect_access_token(claims, caller, request.origin).await?,
            None => self.introspect_refresh_token(token, caller, request.origin).await?,
        };
        Ok(active.map_or_else(Introspection::inactive, Introspection::active))
    }

    async fn introspect_access_token(
        &self,
        claims: AccessTokenClaims,
        caller: &ResourceServer,
        origin: &str,
    ) -> Result<Option<ActiveToken>, StoreError> {
        if claims.exp <= self.now().0 {
            return Ok(None);
        }
        let Some(grant) = self.grant_shown_to(caller, &GrantId::new(claims.sid), origin).await? else {
            return Ok(None);
        };
        Ok(self.described(grant).await?.map(|token| ActiveToken {
            scope: claims.scope,
            aud: claims.aud,
            exp: claims.exp,
            iat: Some(claims.iat),
            jti: Some(claims.jti),
            auth_time: claims.auth_time,
            token_type: "Bearer",
            ..token
        }))
    }

    /// A refresh token is active while presenting it would give tokens.
    async fn introspect_refresh_token(
        &self,
        token: &str,
        caller: &ResourceServer,
        origin: &str,
    ) -> Result<Option<ActiveToken>, TokenFailure> {
        let Some(stored) = self.store.refresh_token(&SecretHash::of(token.as_bytes())).await? else {
            return Ok(None);
        };
        let Some(grant) = self.grant_shown_to(caller, &stored.grant, origin).await? else { return Ok(None) };
        let successor = if stored.superseded_at.is_some() {
            let (grant, generation, key) = (&stored.grant, stored.generation, &stored.derivation_key);
            let successor = self.derivation.successor(token, grant, generation, key).await;
            let successor = successor.map_err(|error| TokenFailure::derivation(&error))?;
            self.store.refresh_token(&successor.hash()).await?
        } else {
            None
        };
        match decide(&stored, successor.as_ref(), self.options().refresh_token_reuse, self.now()) {
            Rotation::Rotate | Rotation::Repeat => {
                let token = self.described(grant).await?;
                Ok(token.map(|token| ActiveToken { exp: stored.expires_at.0, ..token }))
            }
            Rotation::Replay | Rotation::Expired => Ok(None),
        }
    }

    /// The live grant, if the caller may know of it: of this origin, and of a route it is configured for.
    async fn grant_shown_to(
        &self,
        caller: &ResourceServer,
        id: &GrantId,
        origin: &str,
    ) -> Result<Option<Grant>, StoreError> {
        let shown = |grant: &Grant| {
            grant.is_live(self.now())
                && grant.origin == origin
                && self.route(&grant.route).is_some()
                && caller.routes.contains(&grant.route)
        };
        Ok(self.store.grant(id).await?.filter(shown))
    }

    /// What is said of any token of a grant, the rest as for its refresh tokens; nothing of a person whose calls
    /// would be refused (WOS-13).
    async fn described(&self, grant: Grant) -> Result<Option<ActiveToken>, StoreError> {
        let person = self.store.person_of_login(&grant.subject, grant.login_session.as_ref()).await?;
        let Some(person) = person else { return Ok(None) };
        if self.check_access(&grant.route, &person, &grant.client_id).is_err() {
            return Ok(None);
        }
        Ok(Some(ActiveToken {
            scope: grant.scope.to_string(),
            client_id: grant.client_id.to_string(),
            username: person.email.filter(|_| person.email_verified),
            sub: grant.subject.to_string(),
            aud: grant.origin,
            iss: grant.issuer,
            exp: grant.expires_at.0,
            iat: None,
            jti: None,
            auth_time: None,
            token_type: REFRESH_TOKEN,
            sid: grant.id.to_string(),
        }))
    }
}
