//! The access token for one call: the one at hand, or a renewed one.
//!
//! The store is asked at every call, so that what another replica renewed or somebody disconnected holds at once.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use secrecy::SecretString;

use super::{Upstreams, connects, is_for};
use crate::config::model::{Upstream, UpstreamMode};
use crate::domain::connection::{Connection, ConnectionId, ConsentNeeded, CredentialStep, Owner, covers};
use crate::domain::{SubjectId, UnixTime, claim};
use crate::oauth::challenge::scopes;
use crate::store::StoreError;

/// A claim older than this is abandoned: longer than a renewal can take.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often the use of a connection is written down.
const USE_NOTED_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long a server that refuses even a token that was just got for it costs no other one.
const IN_VAIN: Duration = Duration::from_secs(30);

/// What may be kept of scopes that calls lacked, in bytes.
const LONGEST_SCOPE: usize = 2048;

/// What a call shows the upstream.
#[derive(Debug, Clone)]
pub struct Credential {
    pub token: SecretString,
    /// Which of the connection's tokens it is.
    pub generation: i64,
    /// Whose it is; where nothing is connected, a name for it.
    pub(super) of: ConnectionId,
    /// `None` where nothing is connected.
    pub(super) connected_at: Option<UnixTime>,
    /// Whether it was got for this very call.
    pub(super) is_new: bool,
}

/// For whose calls a new token was refused, each with until when no other one is got at a 401 of theirs. It is forgotten
/// sooner if the server takes one. Of a shared connection each person counts alone: what is refused may be for what stands
/// in their call.
pub(super) struct InVain(Cache<(ConnectionId, SubjectId), UnixTime>);

impl Default for InVain {
    fn default() -> Self {
        Self(Cache::new(10_000))
    }
}

/// Why there is no credential for a call.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("the person has not connected the server")]
    NotConnected,
    #[error("the person must connect the server again: {}", .0.as_str())]
    NeedsConsent(ConsentNeeded),
    /// Nothing that the person could do helps.
    #[error("the person is not let in: {0}")]
    NotAllowed(String),
    #[error("an operator must connect the server")]
    OperatorMustConnect,
    #[error("the server's authorization server does not answer as it should: {0}")]
    Unavailable(String),
    #[error("the server's authorization server does not take the gateway as a client: {0}")]
    WrongClient(String),
    /// Another token would not help.
    #[error("the server refuses tokens that were just got for it")]
    InVain,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Upstreams {
    /// The credential for a call of `subject`. `refused`: the one that the upstream has just answered 401 to; then
    /// another one is got, once.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub async fn credential(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        subject: &SubjectId,
        refused: Option<&Credential>,
    ) -> Result<Credential, CredentialError> {
        let found = match connects(upstream, subject) {
            Some((_, owner)) => {
                self.connected(upstream, &ConnectionId::of(&upstream.id, &owner), subject, refused).await
            }
            None => self.asserted(upstream, subject, refused).await,
        };
        match (&upstream.mode, found) {
            (UpstreamMode::Shared(_), Err(CredentialError::NotConnected | CredentialError::NeedsConsent(_))) => {
                Err(CredentialError::OperatorMustConnect)
            }
            (_, found) => found,
        }
    }

    /// Notes whether a server took a credential in a call of `subject` or answered 401 to it.
    pub fn judged(&self, credential: &Credential, subject: &SubjectId, is_refused: bool) {
        let key = (credential.of.clone(), subject.clone());
        if !is_refused {
            self.in_vain.0.invalidate(&key);
        } else if credential.is_new {
            self.in_vain.0.insert(key, self.clock.now().plus(IN_VAIN));
        }
    }

    /// Whether another token in the place of a refused one would be got in vain.
    pub(super) fn is_in_vain(&self, of: &ConnectionId, subject: &SubjectId) -> bool {
        self.in_vain.0.get(&(of.clone(), subject.clone())).is_some_and(|until| self.clock.now() < until)
    }

    async fn connected(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        id: &ConnectionId,
        subject: &SubjectId,
        refused: Option<&Credential>,
    ) -> Result<Credential, CredentialError> {
        let scopes = upstream.mode.oauth().map(super::scopes).unwrap_or_default();
        for _ in 0..claim::looks(PATIENCE) {
            let now = self.clock.now();
            let connection = self.store.connection(id).await?.filter(|connection| is_for(connection, upstream));
            let connection = connection.ok_or(CredentialError::NotConnected)?;
            match connection.next_step(refused.map(|refused| refused.generation), &scopes, PATIENCE, now) {
                CredentialStep::Usable => return self.use_up(&connection).await,
                CredentialStep::NeedsConsent(reason) => return Err(CredentialError::NeedsConsent(reason)),
                CredentialStep::Lost => {
                    // What a server refuses to one call may be for what stands in it, and must not end what all share.
                    let is_shared = connection.owner == Owner::Everyone;
                    if is_shared || self.lose(&connection, ConsentNeeded::Refused).await? {
                        return Err(CredentialError::NeedsConsent(ConsentNeeded::Refused));
                    }
                }
                CredentialStep::PutOff => {
                    return Err(CredentialError::Unavailable("it failed a moment ago".to_owned()));
                }
                CredentialStep::Due
                    if refused.is_some_and(|refused| refused.generation == connection.generation)
                        && self.is_in_vain(id, subject) =>
                {
                    return Err(CredentialError::InVain);
                }
                CredentialStep::UnderWay => tokio::time::sleep(claim::LOOK_AGAIN).await,
                CredentialStep::Due => {
                    let claimed = connection.claimed(now);
                    if !self.store.change_connection(connection.version, &claimed).await? {
                        continue;
                    }
                    match self.renew(upstream, claimed).await {
                        Ok(Some(renewed)) => return Ok(renewed),
                        Ok(None) => {}
                        // Trouble with the renewal is no matter while the present token serves.
                        Err(CredentialError::Unavailable(_) | CredentialError::WrongClient(_))
                            if refused.is_none() && connection.expires_at.is_some_and(|expires| now < expires) =>
                        {
                            return self.use_up(&connection).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Err(CredentialError::Unavailable("another gateway asks it and gets no answer".to_owned()))
    }

    /// Notes that a call was refused for the lack of scopes. True when connecting again can help: they were never asked
    /// for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lacks_scope(&self, upstream: &Upstream, subject: &SubjectId, scope: &str) -> Result<bool, StoreError> {
        let Some((_, owner)) = connects(upstream, subject) else { return Ok(false) };
        let scope = scopes([scope]).join(" ");
        for _ in 0..3 {
            let connection = self.store.connection(&ConnectionId::of(&upstream.id, &owner)).await?;
            let Some(connection) = connection.filter(|connection| !covers(&connection.scope, &scope)) else {
                return Ok(false);
            };
            if covers(&connection.missing_scope, &scope) {
                return Ok(true);
            }
            let missing = connection.wanted(&scope);
            if missing.len() > LONGEST_SCOPE {
                return Ok(false);
            }
            let next = Connection { missing_scope: missing, version: connection.version + 1, ..connection.clone() };
            if self.store.change_connection(connection.version, &next).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn use_up(&self, connection: &Connection) -> Result<Credential, CredentialError> {
        let now = self.clock.now();
        if now >= connection.used_at.plus(USE_NOTED_EVERY) {
            self.store.connection_used(&connection.id, now).await?;
        }
        // Sealed under a key that is gone: only connecting anew helps.
        let Some(held) = self.open(connection) else {
            return Err(CredentialError::NeedsConsent(ConsentNeeded::Refused));
        };
        Ok(Credential {
            token: held.access_token.into(),
            generation: connection.generation,
            of: connection.id.clone(),
            connected_at: Some(connection.connected_at),
            is_new: false,
        })
    }

    /// Notes that a connection serves no longer. False when it has changed meanwhile.
    pub(super) async fn lose(&self, connection: &Connection, reason: ConsentNeeded) -> Result<bool, StoreError> {
        if !self.store.change_connection(connection.version, &connection.without_consent(reason)).await? {
            return Ok(false);
        }
        self.leases.end(&connection.id);
        let (event, owner) = ("mcp_auth_upstream_consent_needed", connection.owner.subject());
        self.audit(event, &connection.upstream, owner, Some(reason.as_str())).await;
        Ok(true)
    }
}
