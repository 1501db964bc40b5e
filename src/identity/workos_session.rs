//! Asking WorkOS again about people who signed in (gateway.md §6.1 `sessionSync`, IDP-12, IDP-13, IDP-15).
//!
//! The ordinary question is WorkOS's refresh grant: its answer is of the same form as a login's and is verified in the
//! same way. Where that grant tells nothing any more, the management interface is asked for the user, the session and
//! the membership.

use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bounded::{failure, read_body};
use super::workos::{WorkOs, endpoint};
use super::workos_error;
use super::workos_token::{Answer, User};
use super::{Login, LoginError, ProviderSessions, Renewal, RenewalError};
use crate::domain::{Person, UnixTime};

/// Pages of a list that are read at most, and entries on each.
const PAGES: usize = 10;
const PAGE_SIZE: &str = "100";

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    list_metadata: ListMetadata,
}

#[derive(Deserialize, Default)]
struct ListMetadata {
    #[serde(default)]
    after: Option<String>,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    /// Absent where only live sessions are listed.
    #[serde(default)]
    status: Option<String>,
}

impl Session {
    fn is_live(&self) -> bool {
        self.status.as_deref().is_none_or(|status| status == "active")
    }
}

#[derive(Deserialize)]
struct Membership {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Role {
    slug: String,
}

impl Membership {
    fn is_active(&self) -> bool {
        self.status.as_deref().is_none_or(|status| status == "active")
    }

    fn roles(&self) -> Vec<String> {
        let mut roles: Vec<String> = Vec::new();
        for role in self.role.iter().chain(&self.roles) {
            if !roles.contains(&role.slug) {
                roles.push(role.slug.clone());
            }
        }
        roles
    }
}

#[async_trait]
impl ProviderSessions for WorkOs {
    fn interval(&self) -> Duration {
        self.options.session_sync_interval
    }

    async fn renew(&self, refresh_token: &SecretString) -> Result<Renewal, RenewalError> {
        let request = self.client.post(self.authenticate_url()).json(&serde_json::json!({
            "client_id": self.options.client_id,
            "client_secret": self.options.client_secret.expose_secret(),
            "grant_type": "refresh_token",
            "refresh_token": refresh_token.expose_secret(),
        }));
        let response = request.timeout(self.deadline).send().await.map_err(|error| RenewalError::unanswered(&error))?;
        let status = response.status();
        let body = read_body(response).await.map_err(RenewalError::lost)?;
        if !status.is_success() {
            return Err(RenewalError::refusal(status, workos_error::of_answer(status, &body, "")));
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| RenewalError::lost("the answer is not what WorkOS sends"))?;
        Ok(Renewal { refresh_token: answer.refresh_token.map(SecretString::from), body })
    }

    async fn identify(&self, renewal: &Renewal, now: UnixTime) -> Result<Login, LoginError> {
        let answer = serde_json::from_slice(&renewal.body)
            .map_err(|_| LoginError::Untrusted("the answer is not what WorkOS sends".to_owned()))?;
        self.identify_answer(&answer, now).await
    }

    async fn confirm(&self, person: &Person, provider_session: Option<&str>) -> Result<Option<Person>, RenewalError> {
        let Some(user) = self.get::<User>(&["users", &person.subject], &[]).await? else { return Ok(None) };
        if user.id() != person.subject || !self.has_session(&person.subject, provider_session).await? {
            return Ok(None);
        }
        let mut confirmed = person.clone();
        user.describe(&mut confirmed);
        if let Some(organization) = &person.organization_id {
            let Some(membership) = self.membership(&person.subject, organization).await? else { return Ok(None) };
            let roles = membership.roles();
            if confirmed.roles.iter().any(|role| !roles.contains(role)) {
                // What a role was worth stands in no list: with a role lost, so are the permissions.
                confirmed.permissions.clear();
                confirmed.entitlements.clear();
            }
            confirmed.roles = roles;
        }
        Ok(Some(confirmed))
    }
}

impl WorkOs {
    /// Whether the session lives; for a session without a name, whether the person has any.
    async fn has_session(&self, user: &str, session: Option<&str>) -> Result<bool, RenewalError> {
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let mut query = vec![("limit", PAGE_SIZE)];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let Some(page) = self.get::<List<Session>>(&["users", user, "sessions"], &query).await? else {
                return Ok(false);
            };
            if page.data.iter().any(|entry| entry.is_live() && session.is_none_or(|wanted| entry.id == wanted)) {
                return Ok(true);
            }
            match page.list_metadata.after {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
        Err(RenewalError::unavailable("the list of sessions does not end"))
    }

    async fn membership(&self, user: &str, organization: &str) -> Result<Option<Membership>, RenewalError> {
        let query = [("user_id", user), ("organization_id", organization)];
        let list = self.get::<List<Membership>>(&["organization_memberships"], &query).await?;
        Ok(list.and_then(|list| list.data.into_iter().find(Membership::is_active)))
    }

    /// A record of the management interface; `None` when there is no such thing.
    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<T>, RenewalError> {
        let mut url = endpoint(&self.base, &[&["user_management"], path].concat());
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.get(url).bearer_auth(self.options.client_secret.expose_secret());
        let response =
            request.timeout(self.deadline).send().await.map_err(|error| RenewalError::unavailable(failure(&error)))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(RenewalError::unavailable(&format!("HTTP {} from the management interface", status.as_u16())));
        }
        let body = read_body(response).await.map_err(RenewalError::unavailable)?;
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|_| RenewalError::unavailable("the management interface's answer is not what WorkOS sends"))
    }
}
