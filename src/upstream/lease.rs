//! Event streams that live on a connection's credential after the call that opened them was answered: they end when it is
//! disconnected, connected anew or lost for good (STRM-8).
//!
//! The store is asked while there are such streams, for what other gateways and operators do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Credential, Upstreams};
use crate::domain::{ConnectionId, UnixTime};

/// How often the store is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Since when a connection stands; `None` when it does no longer.
type Standing = Option<UnixTime>;

/// The connections that open streams live on.
#[derive(Default)]
pub(super) struct Leases(Mutex<Leased>);

#[derive(Default)]
struct Leased {
    standing: HashMap<ConnectionId, watch::Sender<Standing>>,
    /// Whether somebody asks the store.
    is_followed: bool,
}

/// What one open stream lives on.
#[derive(Clone)]
pub struct Lease {
    since: UnixTime,
    standing: watch::Receiver<Standing>,
}

impl Lease {
    #[must_use]
    pub fn is_over(&self) -> bool {
        *self.standing.borrow() != Some(self.since)
    }

    /// Completes once it is over; never otherwise.
    pub async fn over(mut self) {
        let since = Some(self.since);
        if self.standing.wait_for(|standing| *standing != since).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Leased> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection stands no longer.
    pub(super) fn end(&self, id: &ConnectionId) {
        if let Some(sender) = self.lock().standing.get(id) {
            sender.send_replace(None);
        }
    }

    /// The connections to ask about, and how they stand as far as is known. Without any, nobody needs to ask again.
    fn known(&self) -> Vec<(ConnectionId, Standing)> {
        let mut leased = self.lock();
        leased.standing.retain(|_, sender| sender.receiver_count() > 0);
        leased.is_followed = !leased.standing.is_empty();
        leased.standing.iter().map(|(id, sender)| (id.clone(), *sender.borrow())).collect()
    }

    /// Puts what the store says in the place of what was known before it was asked, and of nothing newer.
    fn learn(&self, id: &ConnectionId, known: Standing, standing: Standing) {
        if let Some(sender) = self.lock().standing.get(id) {
            sender.send_if_modified(|present| {
                let is_news = *present == known && known != standing;
                if is_news {
                    *present = standing;
                }
                is_news
            });
        }
    }
}

impl Upstreams {
    /// Lets an open stream end with the connection that its credential is of. `None` for one of no connection.
    #[must_use]
    pub fn lease(self: &Arc<Self>, credential: &Credential) -> Option<Lease> {
        let since = credential.connected_at?;
        let mut leased = self.leases.lock();
        let sender = leased.standing.entry(credential.of.clone()).or_insert_with(|| watch::Sender::new(Some(since)));
        sender.send_if_modified(|standing| {
            let is_newer = standing.is_none_or(|known| known < since);
            if is_newer {
                *standing = Some(since);
            }
            is_newer
        });
        let lease = Lease { since, standing: sender.subscribe() };
        if !std::mem::replace(&mut leased.is_followed, true) {
            tokio::spawn(Arc::clone(self).follow());
        }
        Some(lease)
    }

    async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let known = self.leases.known();
            if known.is_empty() {
                return;
            }
            let ids: Vec<ConnectionId> = known.iter().map(|(id, _)| id.clone()).collect();
            match self.store.standing_connections(&ids).await {
                Ok(standing) => {
                    for (id, known) in known {
                        self.leases.learn(&id, known, standing.get(&id).copied());
                    }
                }
                Err(error) => tracing::warn!(event = "connections_unknown", %error),
            }
        }
    }
}
