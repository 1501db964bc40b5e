//! Calls whose server wants a credential of its own (gateway.md §8; PROX-1, PROX-7).
//!
//! The body is read whole before anything is sent, because a server may answer 401 to a token that has just ended:
//! then the same bytes go there once more, with another one. After any other answer, or none, nothing is sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use secrecy::ExposeSecret as _;

use super::body::RequestBody;
use super::caller::CallerToken;
use super::error::{NoCredential, ProxyError};
use super::not_connected::{NotConnected, Obstacle};
use super::pool::Answer;
use super::upstream::{Answered, Way};
use super::{Call, Proxy, challenge};
use crate::access::is_operator;
use crate::config::model::{Operators, Upstream, UpstreamMode};
use crate::domain::connection::ConsentNeeded;
use crate::domain::random::random_id;
use crate::mcp;
use crate::mcp::elicitation::{Asked, Page, Reply};
use crate::oauth::bearer::BearerError;
use crate::oauth::challenge::UpstreamChallenge;
use crate::upstream::{Credential, CredentialError, Upstreams};

/// How long a call waits for a person who is on their way to connect the server: less than clients wait for an answer.
const CONNECTING: Duration = Duration::from_secs(20);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where credentials come from, and who may be sent to connect what.
pub struct Credentials {
    pub upstreams: Arc<Upstreams>,
    pub operators: Operators,
    /// Whether people can sign in at the gateway; in direct mode they cannot.
    pub has_pages: bool,
}

/// A call of a server that wants a credential.
struct Guarded<'a> {
    call: &'a Call<'a>,
    upstream: &'a Arc<Upstream>,
    token: &'a CallerToken,
    /// As the policies of the route have left it.
    parts: Parts,
    /// Kept, so that it can be sent again.
    body: Bytes,
}

impl Proxy {
    /// Sends a request with the caller's credential for the server. Beside the answer stand that credential, and when the
    /// request that it is for was sent.
    pub(super) async fn send_with_credential(
        &self,
        call: &Call<'_>,
        upstream: &Arc<Upstream>,
        way: Way,
        parts: Parts,
        body: RequestBody,
    ) -> Result<(Answered, Credential, Instant), ProxyError> {
        // Public routes have no credentials: the configuration sees to it.
        let token = call.token.as_ref().ok_or(ProxyError::UpstreamCredential)?;
        let body = body.collect().await.map_err(|_| ProxyError::BodyCut)?.to_bytes();
        let guarded = Guarded { call, upstream, token, parts, body };
        let upstreams = &self.credentials.upstreams;
        let mut credential = self.first_credential(&guarded).await?;
        let (mut answered, mut sent) = guarded.send(&credential, way).await?;
        if is_refused(&answered) {
            let again = Way::Only(answered.1);
            drop(answered);
            let next = self.credential(&guarded, Some(&credential)).await;
            credential = self.usable(&guarded, next).await?;
            (answered, sent) = guarded.send(&credential, again).await?;
        }
        upstreams.judged(&credential, token.subject(), is_refused(&answered));
        if let Some(scope) = lacking_scope(&answered.0)
            && self.can_be_widened(&guarded, &scope).await
        {
            let error = CredentialError::NeedsConsent(ConsentNeeded::Scope);
            return Err(self.without_credential(&guarded, error).await);
        }
        Ok((answered, credential, sent))
    }

    /// The credential of a call, which waits for it while its caller is on their way to connect the server.
    async fn first_credential(&self, guarded: &Guarded<'_>) -> Result<Credential, ProxyError> {
        let mut found = self.credential(guarded, None).await;
        if found.as_ref().is_err_and(can_be_connected) && guarded.asked().reply() == Some(Reply::Accepted) {
            let until = tokio::time::Instant::now() + CONNECTING;
            while found.as_ref().is_err_and(can_be_connected) && tokio::time::Instant::now() < until {
                tokio::time::sleep(LOOK_AGAIN).await;
                found = self.credential(guarded, None).await;
            }
        }
        self.usable(guarded, found).await
    }

    /// What was found, if the call may still be made with it.
    async fn usable(
        &self,
        guarded: &Guarded<'_>,
        found: Result<Credential, CredentialError>,
    ) -> Result<Credential, ProxyError> {
        let credential = match found {
            Ok(credential) => credential,
            Err(error) => return Err(self.without_credential(guarded, error).await),
        };
        // It may have taken a while.
        let revocations = self.verifier.revocations();
        if guarded.token.of_grant().is_some_and(|token| revocations.is_revoked(&token.grant)) {
            let challenge = challenge(guarded.call.to, guarded.call.origin, Some(BearerError::InvalidToken));
            return Err(ProxyError::Bearer(Box::new(challenge), "token_revoked"));
        }
        Ok(credential)
    }

    /// `refused`: the one that the server has just answered 401 to.
    async fn credential(
        &self,
        guarded: &Guarded<'_>,
        refused: Option<&Credential>,
    ) -> Result<Credential, CredentialError> {
        self.credentials.upstreams.credential(guarded.upstream, guarded.token.subject(), refused).await
    }

    /// Whether connecting the server again would bring a scope that it has just asked for.
    async fn can_be_widened(&self, guarded: &Guarded<'_>, scope: &str) -> bool {
        let subject = guarded.token.subject();
        let noted = self.credentials.upstreams.lacks_scope(guarded.upstream, subject, scope).await;
        noted.unwrap_or_else(|error| {
            tracing::error!(event = "store_unavailable", %error);
            false
        })
    }

    /// What a caller is told for whom there is no credential.
    async fn without_credential(&self, guarded: &Guarded<'_>, error: CredentialError) -> ProxyError {
        let obstacle = match error {
            CredentialError::Unavailable(cause) => return unavailable(cause),
            CredentialError::NotAllowed(cause) => return ProxyError::NoCredential(NoCredential::NotAllowed(cause)),
            CredentialError::InVain => return ProxyError::UpstreamCredential,
            CredentialError::WrongClient(cause) => return ProxyError::NoCredential(NoCredential::WrongClient(cause)),
            CredentialError::Store(error) => {
                tracing::error!(event = "store_unavailable", %error);
                return unavailable("the store is away".to_owned());
            }
            CredentialError::OperatorMustConnect => Obstacle::Unshared,
            error @ (CredentialError::NotConnected | CredentialError::NeedsConsent(_)) => {
                match (&guarded.upstream.mode, error) {
                    (UpstreamMode::IdJag(_), _) => Obstacle::SignIn,
                    (UpstreamMode::Shared(_), CredentialError::NeedsConsent(ConsentNeeded::Scope)) => {
                        Obstacle::TooNarrow
                    }
                    (UpstreamMode::Shared(_), _) => Obstacle::Unshared,
                    (UpstreamMode::PerPerson(_), CredentialError::NeedsConsent(reason)) => Obstacle::Ended(reason),
                    (UpstreamMode::PerPerson(_), _) => Obstacle::NotConnected,
                }
            }
        };
        let page = self.page(guarded, obstacle).await;
        let (upstream, route) = (guarded.upstream, &guarded.call.to.route);
        let told = NotConnected::new(obstacle, page.as_ref(), upstream, &route.operation_id, &guarded.asked());
        ProxyError::NoCredential(NoCredential::NotConnected(Box::new(told)))
    }

    /// Where the caller can do something about it, if they can.
    async fn page(&self, guarded: &Guarded<'_>, obstacle: Obstacle) -> Option<Page> {
        if !self.credentials.has_pages {
            return None;
        }
        if matches!(obstacle, Obstacle::Unshared | Obstacle::TooNarrow) {
            let person = self.person(guarded.token).await.ok()?;
            is_operator(&self.credentials.operators, &person).then_some(())?;
        }
        let subject = guarded.token.subject();
        let url = self.credentials.upstreams.link(guarded.call.origin, guarded.upstream, subject);
        Some(Page { url, id: random_id("elc_", &*self.random) })
    }
}

impl Guarded<'_> {
    /// Sends the request with a credential, and gives the time of it beside the answer.
    async fn send(&self, credential: &Credential, way: Way) -> Result<(Answered, Instant), ProxyError> {
        let mut parts = self.parts.clone();
        parts.headers.insert(header::AUTHORIZATION, bearer(credential)?);
        let body = RequestBody::Held(Full::new(self.body.clone()));
        let sent = Instant::now();
        Ok((self.call.to.upstream.send(way, parts, body).await?, sent))
    }

    /// The requests in the body.
    fn asked(&self) -> Asked {
        let version = self.parts.headers.get(mcp::PROTOCOL_VERSION).and_then(|version| version.to_str().ok());
        Asked::read(&self.body, version)
    }
}

fn unavailable(cause: String) -> ProxyError {
    ProxyError::NoCredential(NoCredential::Unavailable(cause))
}

/// RFC 6750 §2.1
fn bearer(credential: &Credential) -> Result<HeaderValue, ProxyError> {
    let value = zeroize::Zeroizing::new(format!("Bearer {}", credential.token.expose_secret()));
    let mut value =
        HeaderValue::from_str(&value).map_err(|_| unavailable("its token cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_refused(answered: &Answered) -> bool {
    answered.0.status() == StatusCode::UNAUTHORIZED
}

/// Whether a person can do something about it.
fn can_be_connected(error: &CredentialError) -> bool {
    use CredentialError::{NeedsConsent, NotConnected, OperatorMustConnect};
    matches!(error, NotConnected | NeedsConsent(_) | OperatorMustConnect)
}

/// The scope that a call was refused for the lack of (RFC 6750 §3.1).
fn lacking_scope(response: &Response<Answer>) -> Option<String> {
    if response.status() != StatusCode::FORBIDDEN {
        return None;
    }
    let values = response.headers().get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenge = UpstreamChallenge::parse(values);
    challenge.scope.filter(|_| challenge.error.as_deref() == Some("insufficient_scope"))
}
