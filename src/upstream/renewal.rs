//! Renewing a connection's tokens (RFC 6749 §6): the new pair is saved before anybody looks at it.
//!
//! Whoever comes here holds the claim. The work goes on when the caller hangs up: the answer holds the only copy of
//! the next refresh token.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::clients::KeptClient;
use super::token_request::{TokenAnswer, TokenGrant, TokenRequestError};
use super::{Credential, CredentialError, Held, Upstreams};
use crate::config::model::Upstream;
use crate::domain::Connection;
use crate::domain::connection::ConsentNeeded;
use crate::store::StoreError;

/// How long a failing authorization server is left alone.
const PAUSE: Duration = Duration::from_secs(30);
/// The same after an answer that may have been lost: servers that allow for it do so for a short time.
const PAUSE_IN_DOUBT: Duration = Duration::from_secs(2);
/// How often saving is tried, and how long apart, while the store is away.
const SAVE_TRIES: u32 = 100;
const SAVE_AGAIN: Duration = Duration::from_millis(200);

impl Upstreams {
    /// Renews a claimed connection. `None` when it is another by now, or none.
    pub(super) async fn renew(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        claimed: Connection,
    ) -> Result<Option<Credential>, CredentialError> {
        let (this, upstream) = (Arc::clone(self), Arc::clone(upstream));
        let renewing = tokio::spawn(async move {
            let renewed = this.ask(&upstream, claimed).await;
            this.metrics.renewals.count([outcome(&renewed)]);
            renewed
        });
        renewing.await.unwrap_or_else(|_| Err(CredentialError::Unavailable("the renewal broke off".to_owned())))
    }

    async fn ask(&self, upstream: &Upstream, claimed: Connection) -> Result<Option<Credential>, CredentialError> {
        let Some(held) = self.open(&claimed) else { return self.refused(&claimed, ConsentNeeded::Refused).await };
        let Some(refresh_token) = &held.refresh_token else {
            return self.refused(&claimed, ConsentNeeded::Expired).await;
        };
        let Some(client) = held.client.client(upstream) else {
            return self.refused(&claimed, ConsentNeeded::Refused).await;
        };
        let refresh_token = SecretString::from(refresh_token.as_str());
        let grant = TokenGrant::Refresh { refresh_token: &refresh_token, resource: &held.resource, scope: None };
        match self.ask_for_token(upstream, &held.token_endpoint, &client, &grant).await {
            Ok(answer) => self.save(upstream, claimed, held, &answer).await,
            Err(TokenRequestError::InvalidGrant) => self.refused(&claimed, ConsentNeeded::Refused).await,
            Err(error @ TokenRequestError::InvalidClient) => {
                self.put_off(&claimed, PAUSE, &error).await?;
                self.client_refused(upstream, &held, &claimed).await
            }
            Err(error @ TokenRequestError::Unavailable { answer_may_be_lost: true, .. }) => {
                self.put_off(&claimed, PAUSE_IN_DOUBT, &error).await?;
                Err(CredentialError::Unavailable(error.to_string()))
            }
            Err(error) => {
                self.put_off(&claimed, PAUSE, &error).await?;
                Err(CredentialError::Unavailable(error.to_string()))
            }
        }
    }

    /// Saves the new pair. Whoever took the claim over meanwhile knows the old one only, so this one is the latest.
    async fn save(
        &self,
        upstream: &Upstream,
        claimed: Connection,
        held: Held,
        answer: &TokenAnswer,
    ) -> Result<Option<Credential>, CredentialError> {
        let held = held.renewed(answer);
        let sealed = self.seal(&claimed.id, &held);
        let life = answer.expires_in;
        let mut read = claimed.clone();
        for _ in 0..SAVE_TRIES {
            let next = read.renewed(sealed.clone(), held.refresh_token.is_some(), life, self.clock.now());
            if persistently(|| self.store.change_connection(read.version, &next)).await? {
                tracing::info!(
                    event = "mcp_auth_upstream_token_refreshed",
                    upstreamServerId = claimed.upstream,
                    subjectId = claimed.owner.subject().map(tracing::field::display),
                );
                return Ok(Some(Credential {
                    token: held.access_token.into(),
                    generation: next.generation,
                    of: next.id,
                    connected_at: Some(next.connected_at),
                    is_new: true,
                }));
            }
            match persistently(|| self.store.connection(&claimed.id)).await? {
                Some(other) if other.generation == claimed.generation => read = other,
                // Connected anew: that is what counts.
                Some(_) => return Ok(None),
                // Disconnected, and that revoked the old pair only.
                None => {
                    self.revoke(upstream, &next).await;
                    return Ok(None);
                }
            }
        }
        Err(CredentialError::Unavailable("the new token could not be saved".to_owned()))
    }

    async fn refused(
        &self,
        claimed: &Connection,
        reason: ConsentNeeded,
    ) -> Result<Option<Credential>, CredentialError> {
        if self.lose(claimed, reason).await? { Err(CredentialError::NeedsConsent(reason)) } else { Ok(None) }
    }

    /// The authorization server has forgotten the client. One that the gateway registered by itself it registers anew
    /// when somebody connects; any other is the operator's.
    async fn client_refused(
        &self,
        upstream: &Upstream,
        held: &Held,
        claimed: &Connection,
    ) -> Result<Option<Credential>, CredentialError> {
        if !matches!(held.client, KeptClient::Registered(_)) {
            return Err(CredentialError::WrongClient("it answers invalid_client".to_owned()));
        }
        self.forget_registration(upstream, &held.issuer).await?;
        let latest = self.store.connection(&claimed.id).await?;
        if let Some(latest) = latest.filter(|latest| latest.generation == claimed.generation) {
            self.lose(&latest, ConsentNeeded::Refused).await?;
        }
        Err(CredentialError::NeedsConsent(ConsentNeeded::Refused))
    }

    /// Gives the claim back after trouble that says nothing of the connection.
    async fn put_off(
        &self,
        claimed: &Connection,
        pause: Duration,
        cause: &TokenRequestError,
    ) -> Result<(), CredentialError> {
        let retry_at = self.clock.now().plus(pause);
        self.store.change_connection(claimed.version, &claimed.released(retry_at)).await?;
        tracing::warn!(
            event = "mcp_auth_upstream_refresh_failed",
            upstreamServerId = claimed.upstream,
            subjectId = claimed.owner.subject().map(tracing::field::display),
            %cause,
        );
        Ok(())
    }
}

/// Asks the store until it answers: what is to be saved is the only copy.
pub(super) async fn persistently<T, F>(ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..SAVE_TRIES {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => tracing::error!(event = "store_unavailable", %error),
        }
        tokio::time::sleep(SAVE_AGAIN).await;
    }
    ask().await
}

/// In the words of the metrics.
fn outcome(renewed: &Result<Option<Credential>, CredentialError>) -> &'static str {
    match renewed {
        Ok(Some(_)) => "renewed",
        Ok(None) => "overtaken",
        Err(CredentialError::NeedsConsent(_)) => "refused",
        Err(CredentialError::WrongClient(_)) => "client_refused",
        Err(_) => "failed",
    }
}

impl Held {
    /// With what an answer brought; a refresh token that it leaves out stays (RFC 6749 §6).
    fn renewed(self, answer: &TokenAnswer) -> Self {
        Self {
            access_token: answer.access_token.expose_secret().to_owned(),
            refresh_token: match &answer.refresh_token {
                Some(next) => Some(next.expose_secret().to_owned()),
                None => self.refresh_token,
            },
            ..self
        }
    }
}
