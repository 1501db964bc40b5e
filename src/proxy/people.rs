//! People as the provider describes them in the login behind a grant, from the store, kept for a moment.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::domain::{GrantId, Person, SubjectId, UnixTime};
use crate::keys::VerifiedToken;
use crate::store::{Store, StoreError};

/// How old what is told of a person may be. Roles that change take effect on every replica within it.
const FRESH: Duration = Duration::from_secs(5);

pub struct People {
    store: Store,
    by_grant: Cache<(SubjectId, GrantId), Known>,
    /// As any of their logins described them last, for grants that were not asked about before the store went away.
    last: Cache<SubjectId, Known>,
    /// How old it may be while the store is away.
    outage_grace: Duration,
}

#[derive(Clone)]
struct Known {
    person: Arc<Person>,
    at: UnixTime,
}

impl Known {
    fn within(&self, bound: Duration, now: UnixTime) -> bool {
        now <= self.at.plus(bound)
    }
}

impl People {
    pub fn new(store: Store, outage_grace: Duration) -> Self {
        Self { store, by_grant: Cache::new(10_000), last: Cache::new(10_000), outage_grace }
    }

    /// The person, as the store knew them a moment ago.
    pub async fn find(&self, token: &VerifiedToken, now: UnixTime) -> Result<Option<Arc<Person>>, StoreError> {
        let known = self.by_grant.get(&key(token));
        if let Some(known) = known.as_ref().filter(|known| known.within(FRESH, now)) {
            return Ok(Some(Arc::clone(&known.person)));
        }
        let found = self.look_up(token, now).await;
        let Err(error) = &found else { return found };
        let last = known.or_else(|| self.last.get(&token.subject)).filter(|known| known.within(self.outage_grace, now));
        let Some(last) = last else { return found };
        tracing::warn!(event = "store_unavailable", %error);
        Ok(Some(last.person))
    }

    /// The person, as the store knows them now.
    pub async fn look_up(&self, token: &VerifiedToken, now: UnixTime) -> Result<Option<Arc<Person>>, StoreError> {
        let person = self.store.person_of_grant(&token.subject, &token.grant).await?.map(Arc::new);
        match &person {
            Some(person) => {
                let known = Known { person: Arc::clone(person), at: now };
                self.last.insert(token.subject.clone(), known.clone());
                self.by_grant.insert(key(token), known);
            }
            None => self.by_grant.invalidate(&key(token)),
        }
        Ok(person)
    }
}

fn key(token: &VerifiedToken) -> (SubjectId, GrantId) {
    (token.subject.clone(), token.grant.clone())
}
