//! Who calls: the one that the token of a request names, whoever issued it.

use std::sync::Arc;

use super::streams::StreamHolder;
use crate::domain::{ClientId, SubjectId, UnixTime};
use crate::identity::DirectToken;
use crate::keys::VerifiedToken;
use crate::oauth::scope::ScopeSet;

/// A verified token. What it says of the caller is the same for both; what it hangs on is not.
#[derive(Debug, Clone)]
pub enum CallerToken {
    /// Ours: it hangs on a grant, which the store knows and can end.
    Own(Arc<VerifiedToken>),
    /// AuthKit's, in direct mode (gateway.md §7): it stands for itself until it expires.
    Direct(Arc<DirectToken>),
}

impl CallerToken {
    pub(super) fn subject(&self) -> &SubjectId {
        match self {
            Self::Own(token) => &token.subject,
            Self::Direct(token) => &token.person.id,
        }
    }

    pub(super) fn client(&self) -> &ClientId {
        match self {
            Self::Own(token) => &token.client,
            Self::Direct(token) => &token.client,
        }
    }

    pub(super) fn scope(&self) -> &ScopeSet {
        match self {
            Self::Own(token) => &token.scope,
            Self::Direct(token) => &token.scope,
        }
    }

    /// What ties this call to others of one consent.
    pub(super) fn session(&self) -> &str {
        match self {
            Self::Own(token) => token.grant.as_str(),
            Self::Direct(token) => &token.session,
        }
    }

    pub(super) fn expires_at(&self) -> UnixTime {
        match self {
            Self::Own(token) => token.expires_at,
            Self::Direct(token) => token.expires_at,
        }
    }

    /// When the person signed in; AuthKit's tokens do not say.
    pub(super) fn authenticated_at(&self) -> Option<UnixTime> {
        match self {
            Self::Own(token) => token.authenticated_at,
            Self::Direct(_) => None,
        }
    }

    /// The token of a grant that may end before it expires.
    pub(super) fn of_grant(&self) -> Option<&Arc<VerifiedToken>> {
        match self {
            Self::Own(token) => Some(token),
            Self::Direct(_) => None,
        }
    }

    /// Whose share of the open calls and streams this is (LIM-5). Tokens of AuthKit change with each refresh, so they
    /// count for the person and the client.
    pub(super) fn holder(&self) -> StreamHolder {
        match self {
            Self::Own(token) => StreamHolder::Grant(token.grant.clone()),
            Self::Direct(token) => StreamHolder::Person(token.person.id.clone(), token.client.clone()),
        }
    }
}
