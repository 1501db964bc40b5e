//! Whether the identity provider still stands by a login (gateway.md §6.1 `sessionSync`; IDP-11 … IDP-15, REV-8).
//!
//! Owns the question to the provider, the one sealed copy of its refresh token, and what follows from the answer: the
//! person is described anew, or the login's grants end. One gateway asks at a time, by a claim in the store; what it
//! learns serves every grant of the login. Trouble at the provider ends nothing: for a while everybody goes on, then
//! they wait.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::revocation_record;
use crate::crypto::Sealer;
use crate::domain::login_session::{LoginSession, LoginSessionId, SyncStep};
use crate::domain::{Clock, Person, Random, UnixTime, claim};
use crate::identity::{IdentityProvider, Login, LoginError, ProviderSessions, RenewalError};
use crate::keys::{REMEMBERED, Revocations};
use crate::store::{NewLoginSession, RevocationReason, Store, StoreError};
use crate::telemetry::audit;
use crate::telemetry::metrics::SignInMetrics;

/// How long a failing provider is left alone, in seconds.
const PAUSE: Duration = Duration::from_secs(30);

/// Why a grant of a login cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the login has ended at the identity provider")]
    Ended,
    /// For longer than `outageGraceSeconds`.
    #[error("the identity provider cannot be asked")]
    ProviderUnavailable,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the login sessions need. Cheap to clone: a question to the provider outlives the request that caused it.
#[derive(Clone)]
pub struct LoginSessions {
    pub store: Store,
    pub identity: Arc<dyn IdentityProvider>,
    pub sealer: Sealer,
    pub revocations: Arc<Revocations>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// `remoteTimeoutMs`: how long one conversation with the provider may take.
    pub remote_timeout: Duration,
    /// `outageGraceSeconds`.
    pub outage_grace: Duration,
    pub metrics: SignInMetrics,
}

impl LoginSessions {
    /// Keeps what a login brought. `None` when people are not asked about again.
    pub(super) async fn begin(&self, login: &Login) -> Result<Option<LoginSessionId>, StoreError> {
        let Some(token) = &login.refresh_token else { return Ok(None) };
        let fresh = LoginSessionId::new(crate::domain::random::random_id("ls_", &*self.random));
        let new =
            NewLoginSession { id: &fresh, person: &login.person, provider_session: login.provider_session.as_deref() };
        let session = self.store.begin_login_session(&new, self.clock.now()).await?;
        let with_token = LoginSession {
            sealed_token: Some(self.seal(&session.id, token)),
            in_doubt: false,
            version: session.version + 1,
            ..session.clone()
        };
        // Lost to another login of the same session: that one's token is as good.
        self.store.change_login_session(session.version, &with_token).await?;
        Ok(Some(session.id))
    }

    /// Makes sure that the provider stands by the login, asking it when the last answer is too old.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn check(&self, id: &LoginSessionId) -> Result<(), SessionError> {
        let Some(interval) = self.identity.sessions().map(ProviderSessions::interval) else { return Ok(()) };
        let patience = self.patience();
        for _ in 0..claim::looks(patience) {
            let now = self.clock.now();
            let session = self.store.login_session(id).await?.ok_or(SessionError::Ended)?;
            match session.next_step(interval, patience, now) {
                SyncStep::Ended => return Err(SessionError::Ended),
                SyncStep::Recent => return Ok(()),
                SyncStep::PutOff => return self.forgive(&session),
                SyncStep::UnderWay => tokio::time::sleep(claim::LOOK_AGAIN).await,
                SyncStep::Due => {
                    let claimed = session.claimed(now);
                    if self.store.change_login_session(session.version, &claimed).await? {
                        return self.ask_in_peace(claimed).await;
                    }
                }
            }
        }
        Err(SessionError::ProviderUnavailable)
    }

    /// A claim older than this is abandoned: the conversation takes at most two calls of `remote_timeout` each with
    /// the refresh grant, and four with the management interface.
    fn patience(&self) -> Duration {
        self.remote_timeout.saturating_mul(6) + Duration::from_secs(5)
    }

    /// IDP-14: for how long grants go on while the provider does not answer.
    fn forgive(&self, session: &LoginSession) -> Result<(), SessionError> {
        if session.is_in_grace(self.outage_grace, self.clock.now()) {
            Ok(())
        } else {
            Err(SessionError::ProviderUnavailable)
        }
    }

    /// Asks in a task of its own: a client that hangs up must not make the answer, with the next token in it, be lost.
    async fn ask_in_peace(&self, claimed: LoginSession) -> Result<(), SessionError> {
        let this = self.clone();
        let asking = tokio::spawn(async move { this.ask(claimed).await });
        asking.await.unwrap_or(Err(SessionError::ProviderUnavailable))
    }

    async fn ask(&self, claimed: LoginSession) -> Result<(), SessionError> {
        let Some(provider) = self.identity.sessions() else { return Ok(()) };
        let Some(token) = self.open(&claimed) else { return self.confirm(provider, claimed).await };
        match provider.renew(&token).await {
            Ok(renewal) => {
                let renewed = self.save_token(claimed, renewal.refresh_token.as_ref()).await?;
                match provider.identify(&renewal, self.clock.now()).await {
                    Ok(login) => self.stands(renewed, &login).await,
                    Err(error) if is_final(&error) => self.end(&renewed, &error).await,
                    Err(error) => self.failed(renewed, &error, false).await,
                }
            }
            Err(RenewalError::Refused) if claimed.in_doubt => self.confirm(provider, claimed).await,
            Err(error @ (RenewalError::Refused | RenewalError::Over(_))) => self.end(&claimed, &error).await,
            Err(RenewalError::Unavailable { cause, answer_may_be_lost }) => {
                self.failed(claimed, &cause, answer_may_be_lost).await
            }
        }
    }

    /// Saves the provider's next token before anything else is looked at (IDP-12).
    async fn save_token(
        &self,
        claimed: LoginSession,
        next: Option<&SecretString>,
    ) -> Result<LoginSession, SessionError> {
        let renewed = LoginSession {
            sealed_token: next.map_or_else(|| claimed.sealed_token.clone(), |next| Some(self.seal(&claimed.id, next))),
            in_doubt: false,
            version: claimed.version + 1,
            ..claimed.clone()
        };
        if self.store.change_login_session(claimed.version, &renewed).await? {
            return Ok(renewed);
        }
        // Somebody signed in again, or took the claim over: the token they hold may be the one just spent.
        self.store.doubt_login_session(&claimed.id).await?;
        Err(SessionError::ProviderUnavailable)
    }

    /// The refresh token tells nothing: the management interface decides (IDP-13).
    async fn confirm(&self, provider: &dyn ProviderSessions, claimed: LoginSession) -> Result<(), SessionError> {
        let person = self.store.person_of_login(&claimed.subject, Some(&claimed.id)).await?;
        let person = person.ok_or(StoreError::Unreadable("person"))?;
        match provider.confirm(&person, claimed.provider_session.as_deref()).await {
            Ok(Some(person)) => {
                self.describe(&claimed, &person).await?;
                // A spent token is not presented again: providers take that for theft.
                let confirmed = LoginSession { sealed_token: None, ..claimed };
                self.settle(confirmed).await
            }
            Ok(None) => self.end(&claimed, &"the provider knows the session no more").await,
            Err(error) => self.failed(claimed, &error, false).await,
        }
    }

    /// The provider stands by the login, and describes the person anew (IDP-15).
    async fn stands(&self, renewed: LoginSession, login: &Login) -> Result<(), SessionError> {
        if login.person.id != renewed.subject {
            return self.failed(renewed, &"the answer is about another person", false).await;
        }
        self.describe(&renewed, &login.person).await?;
        let provider_session = login.provider_session.clone().or_else(|| renewed.provider_session.clone());
        self.settle(LoginSession { provider_session, ..renewed }).await
    }

    /// Keeps what the provider says of the person: in this login, and last.
    async fn describe(&self, session: &LoginSession, person: &Person) -> Result<(), StoreError> {
        self.store.describe_login_session(&session.id, person).await?;
        self.store.save_person(person, self.clock.now()).await
    }

    async fn settle(&self, session: LoginSession) -> Result<(), SessionError> {
        let settled = LoginSession {
            synced_at: self.clock.now(),
            claimed_at: None,
            failing_since: None,
            retry_at: UnixTime(0),
            version: session.version + 1,
            ..session.clone()
        };
        self.store.change_login_session(session.version, &settled).await?;
        self.metrics.session_checks.count(["confirmed"]);
        tracing::info!(event = "mcp_auth_session_confirmed", subjectId = %session.subject);
        Ok(())
    }

    /// Trouble that says nothing of the person: nobody loses anything by it (IDP-13).
    async fn failed(
        &self,
        claimed: LoginSession,
        cause: &(dyn Display + Sync),
        answer_may_be_lost: bool,
    ) -> Result<(), SessionError> {
        let now = self.clock.now();
        let failing = LoginSession {
            claimed_at: None,
            in_doubt: claimed.in_doubt || answer_may_be_lost,
            failing_since: claimed.failing_since.or(Some(now)),
            retry_at: now.plus(PAUSE),
            version: claimed.version + 1,
            ..claimed.clone()
        };
        self.store.change_login_session(claimed.version, &failing).await?;
        let standing = self.forgive(&failing);
        self.metrics.session_checks.count(["failed"]);
        tracing::warn!(
            event = "mcp_auth_session_sync_failed",
            subjectId = %claimed.subject,
            provider = self.identity.display_name(),
            failingSince = failing.failing_since.map(|since| since.0),
            graceOver = standing.is_err(),
            %cause,
        );
        standing
    }

    /// The provider ended the login: its grants end, once, here at once and elsewhere soon.
    async fn end(&self, claimed: &LoginSession, cause: &(dyn Display + Sync)) -> Result<(), SessionError> {
        let now = self.clock.now();
        let Some(grants) = self.store.end_login_session(&claimed.id, claimed.version, now).await? else {
            // Somebody signed in again meanwhile: that login is another matter.
            return Err(SessionError::ProviderUnavailable);
        };
        self.metrics.session_checks.count(["ended"]);
        tracing::info!(event = "mcp_auth_session_ended", subjectId = %claimed.subject, grants = grants.len(), %cause);
        for grant in &grants {
            self.revocations.revoke(grant.id.clone(), now.plus(REMEMBERED));
            let reason = RevocationReason::ProviderSessionEnded;
            self.metrics.grants_ended.count([reason.as_str()]);
            let record = revocation_record(grant, reason, now);
            audit::record(&self.store, record).await;
        }
        Err(SessionError::Ended)
    }

    fn seal(&self, id: &LoginSessionId, token: &SecretString) -> Vec<u8> {
        self.sealer.seal(&place(id), token.expose_secret().as_bytes(), &*self.random)
    }

    /// The token, unless it is lost or sealed under a key that is gone; then the provider is asked in another way.
    fn open(&self, session: &LoginSession) -> Option<SecretString> {
        let plain = self.sealer.open(&place(&session.id), session.sealed_token.as_deref()?).ok()?;
        std::str::from_utf8(&plain).ok().map(SecretString::from)
    }
}

/// Where a session's token is sealed to (SEC-2).
fn place(id: &LoginSessionId) -> String {
    format!("login session:{id}")
}

/// Whether an answer that is believed says that this person may not come in.
fn is_final(error: &LoginError) -> bool {
    matches!(
        error,
        LoginError::AccessDenied
            | LoginError::Interactive(_)
            | LoginError::ImpersonationRefused
            | LoginError::WrongOrganization
    )
}
