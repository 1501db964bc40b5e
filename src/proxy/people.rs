//! People by subject, from the store, kept for a moment.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::domain::{Person, SubjectId, UnixTime};
use crate::store::{Store, StoreError};

/// How old what is told of a person may be. Roles that change take effect on every replica within it.
const FRESH: Duration = Duration::from_secs(5);

pub struct People {
    store: Store,
    cache: Cache<SubjectId, Known>,
    /// How old it may be while the store is away.
    outage_grace: Duration,
}

#[derive(Clone)]
struct Known {
    person: Arc<Person>,
    at: UnixTime,
}

impl People {
    pub fn new(store: Store, outage_grace: Duration) -> Self {
        Self { store, cache: Cache::new(10_000), outage_grace }
    }

    /// The person, as the store knew them a moment ago.
    pub async fn find(&self, subject: &SubjectId, now: UnixTime) -> Result<Option<Arc<Person>>, StoreError> {
        let known = self.cache.get(subject);
        let not_older_than = |bound: Duration| known.as_ref().filter(|known| now <= known.at.plus(bound));
        if let Some(known) = not_older_than(FRESH) {
            return Ok(Some(Arc::clone(&known.person)));
        }
        match (self.look_up(subject, now).await, not_older_than(self.outage_grace)) {
            (Err(error), Some(known)) => {
                tracing::warn!(event = "store_unavailable", %error);
                Ok(Some(Arc::clone(&known.person)))
            }
            (found, _) => found,
        }
    }

    /// The person, as the store knows them now.
    pub async fn look_up(&self, subject: &SubjectId, now: UnixTime) -> Result<Option<Arc<Person>>, StoreError> {
        let person = self.store.person(subject).await?.map(Arc::new);
        match &person {
            Some(person) => {
                self.cache.insert(subject.clone(), Known { person: Arc::clone(person), at: now });
            }
            None => self.cache.invalidate(subject),
        }
        Ok(person)
    }
}
