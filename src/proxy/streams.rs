//! How many calls and event streams are open at once (LIM-5).
//!
//! A call takes its place before the upstream hears of it: an answer that turns out to be a stream too many could no
//! longer be refused without losing what the call did. The place is kept for as long as the body of the answer.

use std::net::IpAddr;
use std::sync::Arc;

use super::caller::CallerToken;
use super::error::ProxyError;
use crate::domain::{Caller, ClientId, GrantId, NoPlace, Place, Places, SubjectId};

/// Whom an open call belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StreamHolder {
    Grant(GrantId),
    /// In direct mode, where there are no grants.
    Person(SubjectId, ClientId),
    /// On public routes.
    Caller(Caller),
}

/// All places of the process; they outlive a configuration.
pub type OpenStreams = Places<StreamHolder>;
pub(super) type StreamPlace = Place<StreamHolder>;

/// The places under one configuration.
pub(super) struct Streams {
    open: Arc<OpenStreams>,
    /// `None` when nobody's share is limited.
    shares: Option<Shares>,
}

struct Shares {
    grant: usize,
    caller: usize,
}

impl Streams {
    /// Each grant may have `per_grant`; `None` when no share is limited.
    pub(super) fn new(open: Arc<OpenStreams>, per_grant: Option<u32>) -> Self {
        let caller = open.quarter();
        let shares = per_grant.map(|grant| Shares { grant: usize::try_from(grant).unwrap_or(usize::MAX), caller });
        Self { open, shares }
    }

    pub(super) fn take(&self, token: Option<&CallerToken>, peer: Option<IpAddr>) -> Result<StreamPlace, ProxyError> {
        let holder = self.shares.as_ref().and_then(|shares| match (token, peer) {
            (Some(token), _) => Some((token.holder(), shares.grant)),
            (None, Some(peer)) => Some((StreamHolder::Caller(peer.into()), shares.caller)),
            (None, None) => None,
        });
        self.open.take(holder).map_err(|none| match none {
            NoPlace::OfHolder => ProxyError::TooManyStreams,
            NoPlace::InAll => ProxyError::Busy,
        })
    }
}
