//! People as the WorkOS API describes them, for tokens that say little of them.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use moka::future::Cache;
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

use crate::config::model::WorkOsApi;
use crate::domain::{Person, UnixTime};
use crate::identity::bounded::{failure, read_body};
use crate::identity::workos::endpoint;
use crate::identity::workos_token::User;

/// People who are remembered.
const CACHED_USERS: u64 = 10_000;
/// A description of this age is asked for anew.
const FRESH: Duration = Duration::from_mins(5);
/// One of this age still serves while the API is down.
const STALE: Duration = Duration::from_hours(1);
/// Between two attempts for one person while the API is down.
const BACKOFF: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(5);

/// The WorkOS API, as far as it describes users.
pub(super) struct Users {
    api: WorkOsApi,
    client: reqwest::Client,
    /// By WorkOS's user id. The lock is what makes concurrent calls share one request.
    known: Cache<String, Arc<Mutex<Known>>>,
}

#[derive(Default)]
struct Known {
    /// `None` inside: WorkOS has no such user.
    user: Option<(Option<Arc<User>>, UnixTime)>,
    failure: Option<(String, UnixTime)>,
}

impl Users {
    pub(super) fn new(api: WorkOsApi, client: reqwest::Client) -> Self {
        Self { api, client, known: Cache::new(CACHED_USERS) }
    }

    /// `person`, completed; what the token said of them stays.
    pub(super) async fn complete(&self, person: &Arc<Person>, now: UnixTime) -> Result<Arc<Person>, String> {
        let Some(user) = self.find(&person.subject, now).await? else { return Ok(Arc::clone(person)) };
        let mut completed = Person::clone(person);
        user.describe(&mut completed);
        if person.email.is_some() {
            completed.email.clone_from(&person.email);
            completed.email_verified = person.email_verified;
        }
        for (completed, said) in [
            (&mut completed.name, &person.name),
            (&mut completed.given_name, &person.given_name),
            (&mut completed.family_name, &person.family_name),
            (&mut completed.picture, &person.picture),
        ] {
            if said.is_some() {
                completed.clone_from(said);
            }
        }
        Ok(Arc::new(completed))
    }

    async fn find(&self, id: &str, now: UnixTime) -> Result<Option<Arc<User>>, String> {
        let slot = self.known.get_with_by_ref(id, async { Arc::default() }).await;
        let mut known = slot.lock().await;
        let younger = |at: UnixTime, bound: Duration| now.since(at) < bound.as_secs().cast_signed();
        if let Some((user, at)) = &known.user
            && younger(*at, FRESH)
        {
            return Ok(user.clone());
        }
        let failed = known.failure.take().filter(|(_, at)| younger(*at, BACKOFF));
        let cause = match failed {
            Some(failed) => failed,
            None => match self.ask(id).await {
                Ok(user) => {
                    let user = user.map(Arc::new);
                    known.user = Some((user.clone(), now));
                    return Ok(user);
                }
                Err(cause) => {
                    tracing::warn!(event = "workos_user_unavailable", cause);
                    (cause, now)
                }
            },
        };
        known.failure = Some(cause.clone());
        match &known.user {
            Some((user, at)) if younger(*at, STALE) => Ok(user.clone()),
            _ => Err(cause.0),
        }
    }

    async fn ask(&self, id: &str) -> Result<Option<User>, String> {
        let url = endpoint(&self.api.url, &["user_management", "users", id]);
        let request = self.client.get(url).timeout(DEADLINE).bearer_auth(self.api.key.expose_secret());
        let response = request.send().await.map_err(|error| failure(&error).to_owned())?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err("WorkOS refuses the option `apiKey`: it must be a key of AuthKit's environment".to_owned());
            }
            status if !status.is_success() => return Err(format!("HTTP {}", status.as_u16())),
            _ => {}
        }
        let user: User = serde_json::from_slice(&read_body(response).await?)
            .map_err(|_| "the answer is not what WorkOS sends".to_owned())?;
        if user.id() == id { Ok(Some(user)) } else { Err("the answer is about another user".to_owned()) }
    }
}
