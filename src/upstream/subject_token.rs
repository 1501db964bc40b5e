//! What the identity provider vouches for a person with: the ID token of their last sign-in, kept sealed and renewed
//! when it has ended (OpenID Connect Core §12; EXT-6).
//!
//! One for each person: whoever signs in again, wherever, makes it good again for all their clients.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::renewal::persistently;
use super::{CredentialError, Upstreams};
use crate::config::model::{Upstream, UpstreamMode};
use crate::domain::connection::ConsentNeeded;
use crate::domain::subject_token::SubjectTokenStep;
use crate::domain::{SubjectId, SubjectToken, UnixTime, claim};
use crate::identity::{IdTokens, Login, LoginError, RenewalError};
use crate::store::StoreError;

/// A claim older than this is abandoned: longer than a renewal can take until the next refresh token is saved.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the provider may take for it, whatever `remoteTimeoutMs` allows a login.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a failing provider is left alone.
const PAUSE: Duration = Duration::from_secs(30);
/// The same after an answer that may have been lost: providers that allow for it do so for a short time.
const PAUSE_IN_DOUBT: Duration = Duration::from_secs(2);

/// What is kept of a login, sealed as JSON.
#[derive(Serialize, Deserialize)]
struct Held {
    id_token: String,
    refresh_token: Option<String>,
}

/// An ID token that serves.
pub(super) struct AtHand {
    pub text: SecretString,
    pub generation: i64,
    pub obtained_at: UnixTime,
}

impl AtHand {
    fn new(held: Held, record: &SubjectToken) -> Self {
        Self { text: held.id_token.into(), generation: record.generation, obtained_at: record.obtained_at }
    }
}

impl Upstreams {
    /// Keeps what a login left for vouching for the person, where some server behind takes that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn signed_in(&self, login: &Login) -> Result<(), StoreError> {
        let takes_assertions = self.all.iter().any(|one| matches!(one.upstream.mode, UpstreamMode::IdJag(_)));
        let Some(tokens) = login.subject_tokens.as_ref().filter(|_| takes_assertions) else { return Ok(()) };
        let subject = &login.person.id;
        let refresh_token = if let Some(token) = &tokens.refresh_token {
            Some(token.expose_secret().to_owned())
        } else {
            // Some providers give it at the first sign-in only.
            let before = self.store.subject_token(subject).await?.filter(|before| before.renewable);
            before.and_then(|before| self.open_subject_token(&before)).and_then(|held| held.refresh_token)
        };
        let validity = (tokens.id_token.expires_at, refresh_token.is_some());
        let held = Held { id_token: tokens.id_token.text.expose_secret().to_owned(), refresh_token };
        let sealed = self.seal_subject_token(subject, &held);
        self.store.keep_subject_token(subject, &sealed, validity, self.clock.now()).await
    }

    /// Whether a person has to sign in again before the upstream serves them. `since`: when a call was told so, after which
    /// only a newer token will do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn wants_sign_in(
        &self,
        upstream: &Upstream,
        subject: &SubjectId,
        since: Option<UnixTime>,
    ) -> Result<bool, StoreError> {
        if !matches!(upstream.mode, UpstreamMode::IdJag(_)) || !self.has_id_tokens() {
            return Ok(false);
        }
        let serves = |record: &SubjectToken| {
            record.next_step(None, PATIENCE, self.clock.now()) != SubjectTokenStep::Over
                && since.is_none_or(|since| record.obtained_at >= since)
                && self.open_subject_token(record).is_some()
        };
        Ok(!self.store.subject_token(subject).await?.as_ref().is_some_and(serves))
    }

    /// The development login, for one, has none.
    fn has_id_tokens(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.id_tokens().is_some())
    }

    /// The ID token of a person, renewed if it has ended. `refused`: the generation that the provider has just refused.
    pub(super) async fn subject_token(
        self: &Arc<Self>,
        subject: &SubjectId,
        refused: Option<i64>,
    ) -> Result<AtHand, CredentialError> {
        let sign_in =
            || CredentialError::NeedsConsent(refused.map_or(ConsentNeeded::Expired, |_| ConsentNeeded::Refused));
        if !self.has_id_tokens() {
            let cause = "the sign-in of this gateway leaves no ID token to exchange";
            return Err(CredentialError::WrongClient(cause.to_owned()));
        }
        for _ in 0..claim::looks(PATIENCE) {
            let now = self.clock.now();
            let record = self.store.subject_token(subject).await?.ok_or_else(sign_in)?;
            match record.next_step(refused, PATIENCE, now) {
                SubjectTokenStep::Usable => {
                    let held = self.open_subject_token(&record).ok_or_else(sign_in)?;
                    return Ok(AtHand::new(held, &record));
                }
                SubjectTokenStep::Over => return Err(sign_in()),
                SubjectTokenStep::PutOff => {
                    return Err(CredentialError::Unavailable("the identity provider failed a moment ago".to_owned()));
                }
                SubjectTokenStep::UnderWay => tokio::time::sleep(claim::LOOK_AGAIN).await,
                SubjectTokenStep::Due => {
                    let claimed = record.claimed(now);
                    if self.store.change_subject_token(record.version, &claimed).await?
                        && let Some(renewed) = self.renew_in_peace(claimed).await?
                    {
                        return Ok(renewed);
                    }
                }
            }
        }
        Err(CredentialError::Unavailable("another gateway asks the identity provider and gets no answer".to_owned()))
    }

    /// Renews in a task of its own: a client that hangs up must not make the answer, with the next refresh token in it,
    /// be lost. `None` when the record is another by now.
    async fn renew_in_peace(self: &Arc<Self>, claimed: SubjectToken) -> Result<Option<AtHand>, CredentialError> {
        let this = Arc::clone(self);
        let renewing = tokio::spawn(async move { this.renew_subject_token(claimed).await });
        renewing.await.unwrap_or_else(|_| Err(CredentialError::Unavailable("the renewal broke off".to_owned())))
    }

    async fn renew_subject_token(&self, claimed: SubjectToken) -> Result<Option<AtHand>, CredentialError> {
        let provider = self.identity.as_ref().and_then(|identity| identity.id_tokens());
        let held = self.open_subject_token(&claimed);
        let (Some(provider), Some(mut held)) = (provider, held) else {
            return self.end_renewal(&claimed, &"nothing renews it").await;
        };
        let Some(refresh_token) = held.refresh_token.as_deref().map(SecretString::from) else {
            return self.end_renewal(&claimed, &"there is no refresh token").await;
        };
        let asking = tokio::time::timeout(DEADLINE, provider.renew(&refresh_token, self.clock.now()));
        let late = || RenewalError::Unavailable { cause: "no answer in time".to_owned(), answer_may_be_lost: true };
        let renewal = match asking.await.unwrap_or_else(|_| Err(late())) {
            Ok(renewal) => renewal,
            Err(error @ (RenewalError::Refused | RenewalError::Over(_))) => {
                return self.end_renewal(&claimed, &error).await;
            }
            Err(error @ RenewalError::Unavailable { answer_may_be_lost, .. }) => {
                let pause = if answer_may_be_lost { PAUSE_IN_DOUBT } else { PAUSE };
                return self.put_renewal_off(&claimed, pause, &error).await;
            }
        };
        // The next refresh token is saved before anything else is looked at.
        let mut saved = claimed;
        if let Some(next) = &renewal.refresh_token {
            held.refresh_token = Some(next.expose_secret().to_owned());
            let with_next = saved.with_refresh_token(self.seal_subject_token(&saved.subject, &held));
            if !persistently(|| self.store.change_subject_token(saved.version, &with_next)).await? {
                return Ok(None);
            }
            saved = with_next;
        }
        self.accept(provider, &renewal, saved, held).await
    }

    /// Verifies the ID token of an answer, and keeps it.
    async fn accept(
        &self,
        provider: &dyn IdTokens,
        renewal: &crate::identity::Renewal,
        saved: SubjectToken,
        mut held: Held,
    ) -> Result<Option<AtHand>, CredentialError> {
        let id_token = match provider.identify(renewal, self.clock.now()).await {
            Ok((subject, id_token)) if subject == saved.subject => id_token,
            Ok(_) => return self.end_renewal(&saved, &"the answer is about another person").await,
            Err(error @ LoginError::Unavailable(_)) => return self.put_renewal_off(&saved, PAUSE, &error).await,
            Err(error) => return self.end_renewal(&saved, &error).await,
        };
        id_token.text.expose_secret().clone_into(&mut held.id_token);
        let sealed = self.seal_subject_token(&saved.subject, &held);
        let renewed = saved.renewed(sealed, id_token.expires_at, self.clock.now());
        // Not so when somebody signed in again, or took the claim over.
        if !persistently(|| self.store.change_subject_token(saved.version, &renewed)).await? {
            return Ok(None);
        }
        tracing::info!(event = "mcp_auth_id_token_renewed", subjectId = %renewed.subject);
        Ok(Some(AtHand::new(held, &renewed)))
    }

    /// From now on only signing in again helps.
    async fn end_renewal(
        &self,
        claimed: &SubjectToken,
        cause: &(dyn std::fmt::Display + Sync),
    ) -> Result<Option<AtHand>, CredentialError> {
        tracing::warn!(event = "mcp_auth_id_token_not_renewable", subjectId = %claimed.subject, %cause);
        if self.store.change_subject_token(claimed.version, &claimed.without_renewal()).await? {
            return Err(CredentialError::NeedsConsent(ConsentNeeded::Expired));
        }
        Ok(None)
    }

    /// Gives the claim back after trouble that says nothing of the person.
    async fn put_renewal_off(
        &self,
        claimed: &SubjectToken,
        pause: Duration,
        cause: &(dyn std::fmt::Display + Sync),
    ) -> Result<Option<AtHand>, CredentialError> {
        tracing::warn!(event = "mcp_auth_id_token_renewal_failed", subjectId = %claimed.subject, %cause);
        let released = claimed.released(self.clock.now().plus(pause));
        self.store.change_subject_token(claimed.version, &released).await?;
        Err(CredentialError::Unavailable(format!("the ID token cannot be renewed: {cause}")))
    }

    fn seal_subject_token(&self, subject: &SubjectId, held: &Held) -> Vec<u8> {
        let plain = Zeroizing::new(serde_json::to_vec(held).unwrap_or_default());
        self.sealer.seal(&place(subject), &plain, &*self.random)
    }

    /// `None` when it was sealed under a key that is gone.
    fn open_subject_token(&self, record: &SubjectToken) -> Option<Held> {
        let plain = self.sealer.open(&place(&record.subject), &record.sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// Where a person's tokens are sealed to (SEC-2).
fn place(subject: &SubjectId) -> String {
    format!("subject token:{subject}")
}
