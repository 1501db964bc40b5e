//! The credential of a server that takes the identity provider's word (gateway.md §8 `id-jag`; MCP enterprise-managed
//! authorization, draft-ietf-oauth-identity-assertion-authz-grant).
//!
//! Two requests: the person's ID token for an assertion at the identity provider (RFC 8693), the assertion for an access
//! token at the server's authorization server (RFC 7523). The access token is kept in memory only, until shortly before its
//! end; there is no refresh token, so that the provider's policy is asked again each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Mutex;

use super::subject_token::AtHand;
use super::token_request::{ID_TOKEN, TokenAnswer, TokenEndpoint, TokenGrant, TokenRequestError};
use super::{Credential, CredentialError, Upstreams};
use crate::config::model::{IdJagEndpoint, Upstream, UpstreamIdJag, UpstreamMode};
use crate::domain::connection::ConsentNeeded;
use crate::domain::{ConnectionId, Owner, SubjectId, UnixTime};
use crate::identity::client_authentication::AssertionForm;
use crate::outbound::UpstreamFetcher;

/// People and servers whose tokens are kept.
const KEPT: u64 = 10_000;
/// How long a token serves whose end is not told.
const UNTOLD: Duration = Duration::from_secs(5 * 60);
/// No token serves longer, so that what the provider allows is asked anew.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long before its end a token is replaced; one of a short life later.
const EARLY: Duration = Duration::from_secs(60);
/// How long a failure is the answer to further calls.
const PAUSE: Duration = Duration::from_secs(5);
/// An ID token of that age is as good as one gets: if it does not count, signing in again does not help.
const FRESH: Duration = Duration::from_secs(120);

/// The access tokens of people at servers, each got by one call while others wait.
pub(super) struct Assertions {
    slots: Cache<(String, SubjectId), Arc<Mutex<Slot>>>,
    generations: AtomicI64,
}

impl Default for Assertions {
    fn default() -> Self {
        Self {
            slots: Cache::builder().max_capacity(KEPT).time_to_idle(LONGEST).build(),
            generations: AtomicI64::default(),
        }
    }
}

/// What is known of one person at one server.
#[derive(Default)]
struct Slot {
    kept: Option<(Credential, UnixTime)>,
    failed: Option<Failed>,
}

struct Failed {
    /// Of the ID token.
    generation: i64,
    until: UnixTime,
    failure: Failure,
}

/// Why there is no access token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("the identity provider wants the person to sign in again ({0})")]
    SignIn(String),
    #[error("{0}")]
    NotAllowed(String),
    #[error("{0}")]
    WrongClient(String),
    #[error("{0}")]
    Unavailable(String),
}

impl From<Failure> for CredentialError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::SignIn(_) => Self::NeedsConsent(ConsentNeeded::Refused),
            Failure::NotAllowed(cause) => Self::NotAllowed(cause),
            Failure::WrongClient(cause) => Self::WrongClient(cause),
            Failure::Unavailable(cause) => Self::Unavailable(cause),
        }
    }
}

impl Upstreams {
    /// The credential of a person at a server that takes identity assertions. `refused`: the one that the server has just
    /// answered 401 to.
    pub(super) async fn asserted(
        self: &Arc<Self>,
        upstream: &Upstream,
        subject: &SubjectId,
        refused: Option<&Credential>,
    ) -> Result<Credential, CredentialError> {
        let UpstreamMode::IdJag(options) = &upstream.mode else {
            return Err(CredentialError::NotConnected);
        };
        let key = (upstream.id.clone(), subject.clone());
        let slot = self.assertions.slots.get_with(key, Arc::default);
        let mut slot = slot.lock().await;
        if let Some((credential, ends_at)) = &slot.kept
            && self.clock.now() < *ends_at
        {
            if refused.is_none_or(|refused| refused.generation != credential.generation) {
                return Ok(credential.clone());
            }
            if self.is_in_vain(&credential.of, subject) {
                return Err(CredentialError::InVain);
            }
        }
        slot.kept = None;
        let mut id_token = self.subject_token(subject, None).await?;
        if let Some(failed) = &slot.failed
            && failed.generation == id_token.generation
            && self.clock.now() < failed.until
        {
            return Err(failed.failure.clone().into());
        }
        match self.vouched(upstream, options, subject, &mut id_token).await {
            Ok(answer) => {
                let generation = self.assertions.generations.fetch_add(1, Ordering::Relaxed);
                let of = ConnectionId::of(&upstream.id, &Owner::Person(subject.clone()));
                let credential =
                    Credential { token: answer.access_token, generation, of, connected_at: None, is_new: true };
                let kept = Credential { is_new: false, ..credential.clone() };
                slot.kept = Some((kept, self.clock.now().plus(service_life(answer.expires_in))));
                slot.failed = None;
                tracing::info!(
                    event = "mcp_auth_upstream_assertion_redeemed",
                    upstreamServerId = upstream.id,
                    subjectId = %subject,
                );
                Ok(credential)
            }
            Err(failure) => {
                tracing::warn!(
                    event = "mcp_auth_upstream_assertion_failed",
                    upstreamServerId = upstream.id,
                    subjectId = %subject,
                    cause = %failure,
                );
                let until = self.clock.now().plus(PAUSE);
                slot.failed = Some(Failed { generation: id_token.generation, until, failure: failure.clone() });
                Err(failure.into())
            }
        }
    }

    /// `id_token` is left with the last one that was tried.
    async fn vouched(
        self: &Arc<Self>,
        upstream: &Upstream,
        options: &UpstreamIdJag,
        subject: &SubjectId,
        id_token: &mut AtHand,
    ) -> Result<TokenAnswer, Failure> {
        let request = Request::of(upstream, options);
        let mut answer = self.exchange(&request, id_token).await;
        if answer.as_ref().is_err_and(is_about_the_subject)
            && let Ok(newer) = self.subject_token(subject, Some(id_token.generation)).await
        {
            *id_token = newer;
            answer = self.exchange(&request, id_token).await;
        }
        let is_fresh = self.clock.now() < id_token.obtained_at.plus(FRESH);
        let assertion = answer.map_err(|error| of_exchange(&error, is_fresh))?;
        let grant = TokenGrant::JwtBearer {
            assertion: &assertion.access_token,
            resource: Some(request.resource),
            scope: request.scope.as_deref(),
        };
        self.ask_at(&options.resource_as, &grant).await.map_err(of_redemption)
    }

    async fn exchange(&self, request: &Request<'_>, id_token: &AtHand) -> Result<TokenAnswer, TokenRequestError> {
        let grant = TokenGrant::Exchange {
            subject_token: &id_token.text,
            subject_token_type: ID_TOKEN,
            audience: &request.options.audience,
            resource: Some(request.resource),
            scope: request.scope.as_deref(),
        };
        self.ask_at(&request.options.idp, &grant).await
    }

    async fn ask_at(&self, endpoint: &IdJagEndpoint, grant: &TokenGrant<'_>) -> Result<TokenAnswer, TokenRequestError> {
        // Only what the operator configured is asked.
        let fetcher = UpstreamFetcher::new(self.outbound.clone(), [&endpoint.token_url]);
        let client = super::UpstreamClient { id: endpoint.client_id.clone(), credential: endpoint.credential.clone() };
        let form =
            AssertionForm { audience: endpoint.assertion_audience.as_deref(), life: Some(endpoint.assertion_life) };
        let at = TokenEndpoint { fetcher: &fetcher, url: &endpoint.token_url, client: &client };
        at.request_in(form, grant, &*self.random, self.clock.now()).await
    }
}

/// What both requests have in common.
struct Request<'a> {
    options: &'a UpstreamIdJag,
    resource: &'a str,
    scope: Option<String>,
}

impl<'a> Request<'a> {
    fn of(upstream: &'a Upstream, options: &'a UpstreamIdJag) -> Self {
        Self {
            options,
            resource: options.resource.as_deref().unwrap_or(upstream.server.as_str()),
            scope: Some(options.scopes.join(&options.scope_delimiter)).filter(|scope| !scope.is_empty()),
        }
    }
}

/// How long a token of a life is used.
fn service_life(life: Option<Duration>) -> Duration {
    let life = life.unwrap_or(UNTOLD);
    life.saturating_sub(EARLY.min(life / 4)).min(LONGEST)
}

/// Whether another ID token may fare better. RFC 8693 §2.2.2 has `invalid_request` for a subject token that does not count;
/// most servers answer `invalid_grant`.
fn is_about_the_subject(error: &TokenRequestError) -> bool {
    match error {
        TokenRequestError::InvalidGrant => true,
        TokenRequestError::Refused(code) => code == "invalid_request",
        _ => false,
    }
}

/// What the identity provider's refusal means. `is_fresh`: the ID token was new.
fn of_exchange(error: &TokenRequestError, is_fresh: bool) -> Failure {
    let code = match error {
        TokenRequestError::InvalidGrant => "invalid_grant",
        TokenRequestError::InvalidClient => {
            return Failure::WrongClient("the identity provider does not accept `idp.clientAuth`".to_owned());
        }
        TokenRequestError::Refused(code) => code.as_str(),
        TokenRequestError::Unavailable { .. } | TokenRequestError::Unusable(_) => {
            return Failure::Unavailable(format!("at the identity provider: {error}"));
        }
    };
    match code {
        "access_denied" | "invalid_target" | "invalid_scope" => {
            Failure::NotAllowed(format!("the identity provider refuses an assertion ({code})"))
        }
        "invalid_grant" | "invalid_request" if is_fresh => Failure::WrongClient(format!(
            "the identity provider does not accept a fresh ID token ({code}): compare `idp` with the login policy"
        )),
        "interaction_required" | "login_required" | "consent_required" if is_fresh => {
            Failure::NotAllowed(format!("the identity provider wants more than a sign-in ({code})"))
        }
        "invalid_grant" | "invalid_request" | "interaction_required" | "login_required" | "consent_required" => {
            Failure::SignIn(code.to_owned())
        }
        code => Failure::WrongClient(format!("the identity provider refuses the exchange ({code})")),
    }
}

/// What the refusal of the server's authorization server means. The assertion is as new as can be.
fn of_redemption(error: TokenRequestError) -> Failure {
    match error {
        TokenRequestError::InvalidGrant => Failure::NotAllowed(
            "the server's authorization server does not accept the assertion (invalid_grant)".to_owned(),
        ),
        TokenRequestError::Refused(code)
            if ["access_denied", "invalid_target", "invalid_scope"].contains(&code.as_str()) =>
        {
            Failure::NotAllowed(format!("the server's authorization server refuses ({code})"))
        }
        TokenRequestError::InvalidClient => {
            Failure::WrongClient("it does not accept `resourceAs.clientAuth`".to_owned())
        }
        TokenRequestError::Refused(code) => Failure::WrongClient(format!("it refuses the assertion ({code})")),
        TokenRequestError::Unavailable { .. } | TokenRequestError::Unusable(_) => {
            Failure::Unavailable(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // EXT-6
    #[rstest]
    #[case(Some(3600), 3540)]
    #[case(Some(20), 15)]
    #[case(Some(999_999), 3600)]
    #[case(None, 240)]
    fn a_token_serves_until_shortly_before_its_end(#[case] life: Option<u64>, #[case] serves: u64) {
        assert_eq!(service_life(life.map(Duration::from_secs)), Duration::from_secs(serves));
    }

    fn refused(code: &str) -> TokenRequestError {
        TokenRequestError::Refused(code.to_owned())
    }

    // EXT-6
    #[rstest]
    #[case(TokenRequestError::InvalidGrant)]
    #[case(refused("invalid_request"))]
    #[case(refused("login_required"))]
    fn nobody_who_has_just_signed_in_is_asked_to_sign_in_again(#[case] error: TokenRequestError) {
        assert!(matches!(of_exchange(&error, false), Failure::SignIn(_)));
        assert!(!matches!(of_exchange(&error, true), Failure::SignIn(_)));
    }

    // EXT-6
    #[rstest]
    #[case("access_denied")]
    #[case("invalid_target")]
    #[case("invalid_scope")]
    fn a_policy_is_told_from_a_fault(#[case] code: &str) {
        assert!(matches!(of_exchange(&refused(code), true), Failure::NotAllowed(_)));
        assert!(matches!(of_redemption(refused(code)), Failure::NotAllowed(_)));
        assert!(matches!(of_exchange(&refused("unsupported_grant_type"), false), Failure::WrongClient(_)));
        assert!(matches!(of_redemption(refused("unsupported_grant_type")), Failure::WrongClient(_)));
    }
}
