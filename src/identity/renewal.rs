//! Asking the provider again after a login: what a spent refresh token is answered with.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use secrecy::SecretString;

use super::bounded::failure;
use super::{Login, LoginError};
use crate::domain::{Person, SubjectId, UnixTime};

/// A login's ID token, and with what a newer one is got. `Debug` shows neither.
#[derive(Debug, Clone)]
pub struct SubjectTokens {
    pub id_token: IdToken,
    pub refresh_token: Option<SecretString>,
}

/// A verified ID token. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct IdToken {
    pub text: SecretString,
    pub expires_at: UnixTime,
}

/// A provider that can be asked, after a login, whether it still stands by the person.
///
/// [`renew`](Self::renew) and [`identify`](Self::identify) are two steps, because the answer of the first holds the
/// provider's next refresh token, which must be saved before anything else is looked at (IDP-12).
#[async_trait]
pub trait ProviderSessions: Send + Sync {
    /// How long an answer serves.
    fn interval(&self) -> Duration;

    /// Spends the refresh token.
    async fn renew(&self, refresh_token: &SecretString) -> Result<Renewal, RenewalError>;

    /// Verifies whom the answer of [`renew`](Self::renew) names.
    async fn identify(&self, renewal: &Renewal, now: UnixTime) -> Result<Login, LoginError>;

    /// Asks the provider's management interface about a person as last known, for when the refresh token tells
    /// nothing any more. `None`: the person, or the session, is gone.
    async fn confirm(&self, person: &Person, provider_session: Option<&str>) -> Result<Option<Person>, RenewalError>;
}

/// A provider whose ID tokens can be had anew, for vouching for a person to others.
///
/// Two steps for the reason that [`ProviderSessions`] has two.
#[async_trait]
pub trait IdTokens: Send + Sync {
    /// Spends the refresh token.
    async fn renew(&self, refresh_token: &SecretString, now: UnixTime) -> Result<Renewal, RenewalError>;

    /// Verifies the ID token in the answer of [`renew`](Self::renew), and whom it names.
    async fn identify(&self, renewal: &Renewal, now: UnixTime) -> Result<(SubjectId, IdToken), LoginError>;
}

/// The answer to a spent refresh token, not verified yet. It holds tokens, so it has no `Debug`.
pub struct Renewal {
    /// Absent: the spent one goes on serving.
    pub refresh_token: Option<SecretString>,
    pub(super) body: Bytes,
}

/// Why a provider did not stand by a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenewalError {
    /// The refresh token was not accepted.
    #[error("the provider did not accept the refresh token")]
    Refused,
    /// The person may no longer come in this way, whatever became of the token.
    #[error("the login cannot go on: {0}")]
    Over(LoginError),
    /// Network trouble, a deadline, 429, 5xx, or our own credentials. Says nothing of the person.
    #[error("the provider cannot be asked: {cause}")]
    Unavailable {
        cause: String,
        /// The provider may have spent the token and its answer did not arrive.
        answer_may_be_lost: bool,
    },
}

impl RenewalError {
    /// What a failed answer to the refresh grant says of the person.
    pub(super) fn refusal(status: StatusCode, error: LoginError) -> Self {
        match error {
            LoginError::CodeRejected => Self::Refused,
            LoginError::AccessDenied | LoginError::Interactive(_) => Self::Over(error),
            error => Self::Unavailable {
                cause: error.to_string(),
                answer_may_be_lost: status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT,
            },
        }
    }

    pub(super) fn unanswered(error: &reqwest::Error) -> Self {
        if error.is_connect() { Self::unavailable(failure(error)) } else { Self::lost(failure(error)) }
    }

    pub(super) fn lost(cause: &str) -> Self {
        Self::Unavailable { cause: cause.to_owned(), answer_may_be_lost: true }
    }

    pub(super) fn unavailable(cause: &str) -> Self {
        Self::Unavailable { cause: cause.to_owned(), answer_may_be_lost: false }
    }
}
