//! Direct mode (gateway.md §7): callers bring tokens of AuthKit.

use std::sync::Arc;

use http::Method;
use http::request::Parts;

use super::caller::CallerToken;
use super::error::{Challenged, ProxyError};
use super::route::ProxyRoute;
use super::{Proxy, is_taken, presented};
use crate::access;
use crate::domain::Person;
use crate::identity::{AuthKit, DirectRefusal, DirectToken};
use crate::mcp::mirrored;
use crate::oauth::bearer::{BearerError, BearerProblem, Challenge};
use crate::oauth::metadata::protected_resource_url;
use crate::oauth::scope::ScopeSet;

impl Proxy {
    /// Method, credentials and scope of a call (CHAL-1 … CHAL-9, PROX-5). Nobody on public routes.
    pub(super) async fn admit_direct(
        &self,
        authkit: &AuthKit,
        to: &ProxyRoute,
        origin: &str,
        parts: &Parts,
    ) -> Result<Option<CallerToken>, ProxyError> {
        if !is_taken(&parts.method) {
            return Err(ProxyError::Method);
        }
        if to.route.proxy.public {
            return Ok(None);
        }
        let presented = presented(parts).map_err(|problem| refused(to, origin, Refused::Credentials(problem)))?;
        let resource = format!("{origin}{}", to.route.path);
        let token = authkit.verify(presented, &resource, self.clock.now()).await.map_err(|refusal| match refusal {
            DirectRefusal::KeysUnavailable(_) => ProxyError::ProviderUnavailable(refusal.to_string()),
            refusal => {
                diagnose(&refusal, &resource);
                refused(to, origin, Refused::Token(&refusal))
            }
        })?;
        if !to.needed.is_subset(&token.scope) {
            return Err(refused(to, origin, Refused::Scope));
        }
        Ok(Some(CallerToken::Direct(token)))
    }

    /// Whether the person may use the route. Rules only ever let in, so that who passes by the token alone need not be
    /// looked up.
    pub(super) async fn check_direct_access(&self, to: &ProxyRoute, token: &DirectToken) -> Result<(), ProxyError> {
        let rules = &to.route.access;
        if access::check(rules, &token.person, &token.client).is_ok() {
            return Ok(());
        }
        let person = match &self.authkit {
            Some(authkit) => authkit.complete(token, self.clock.now()).await.map_err(|cause| unavailable(&cause))?,
            None => Arc::clone(&token.person),
        };
        access::check(rules, &person, &token.client).map_err(ProxyError::AccessDenied)
    }

    /// The person as far as known: with the WorkOS API away, as the token has them.
    pub(super) async fn direct_person(&self, token: &DirectToken) -> Arc<Person> {
        match &self.authkit {
            Some(authkit) => authkit.complete(token, self.clock.now()).await.ok(),
            None => None,
        }
        .unwrap_or_else(|| Arc::clone(&token.person))
    }
}

/// Whether a request opens a stream to hear of whatever happens. In the stateless era the server sees to it that the
/// header agrees with the body.
pub(super) fn listens(parts: &Parts) -> bool {
    parts.method == Method::GET
        || parts.headers.get_all(mirrored::METHOD).iter().any(|method| method == "subscriptions/listen")
}

fn unavailable(cause: &str) -> ProxyError {
    ProxyError::ProviderUnavailable(format!("the WorkOS API cannot be asked who calls: {cause}"))
}

/// The classic fault of a set-up, by name. Only who has a token that AuthKit signed can bring it into the log.
fn diagnose(refusal: &DirectRefusal, resource: &str) {
    if let DirectRefusal::Environment(_) = refusal {
        tracing::warn!(
            event = "authkit_set_up_fault",
            reasonCode = refusal.reason_code(),
            resource,
            reason = %refusal,
            "add `resource` to the MCP resource indicators in the WorkOS dashboard (Connect, Configuration), and connect \
             again: without it AuthKit issues tokens for the whole environment"
        );
    }
}

#[derive(Clone, Copy)]
enum Refused<'a> {
    Credentials(BearerProblem),
    Token(&'a DirectRefusal),
    Scope,
}

fn refused(to: &ProxyRoute, origin: &str, why: Refused<'_>) -> ProxyError {
    let (error, name, description, reason) = match why {
        Refused::Credentials(problem) => match problem.error() {
            None => (None, "unauthorized", NO_TOKEN, "no_usable_credentials"),
            Some(BearerError::InvalidRequest) => {
                (Some(BearerError::InvalidRequest), "invalid_request", TWO_TOKENS, "no_usable_credentials")
            }
            Some(error) => (Some(error), error.as_str(), BAD_TOKEN, "no_usable_credentials"),
        },
        Refused::Token(refusal) => {
            let (name, description) = match refusal {
                DirectRefusal::Expired => ("token_expired", EXPIRED),
                DirectRefusal::Environment(_) => ("invalid_token", FOR_ENVIRONMENT),
                DirectRefusal::WrongAudience => ("invalid_token", FOR_ANOTHER),
                _ => ("invalid_token", BAD_TOKEN),
            };
            (Some(BearerError::InvalidToken), name, description, refusal.reason_code())
        }
        Refused::Scope => {
            let error = BearerError::InsufficientScope;
            (Some(error), error.as_str(), NARROW, "insufficient_scope")
        }
    };
    // Without a scope in the challenge a client asks for those of the metadata, which hold `offline_access`. A scope
    // here would cost it the refresh token.
    let none = ScopeSet::default();
    let scope = if error == Some(BearerError::InsufficientScope) { &to.needed } else { &none };
    let header = Challenge {
        resource_metadata: &protected_resource_url(origin, &to.route.path),
        scope,
        error,
        error_description: error.map(|_| description),
        max_age: None,
    }
    .to_string();
    let status = error.map_or(401, BearerError::http_status);
    ProxyError::Bearer(Box::new(Challenged { header, status, error: name, description }), reason)
}

const NO_TOKEN: &str =
    "missing or invalid bearer token: sign in at the authorization server that the metadata in WWW-Authenticate names";
const TWO_TOKENS: &str = "send one access token, in the Authorization header";
const BAD_TOKEN: &str = "the access token is not valid here: drop it and sign in again";
const EXPIRED: &str = "the access token has expired: refresh it at AuthKit, or sign in again";
const FOR_ANOTHER: &str =
    "the access token was issued for another server: ask for one whose `resource` is this server's URL";
const FOR_ENVIRONMENT: &str = "the access token was issued for the whole WorkOS environment: this server's operator must list its URL among the MCP resource indicators in the WorkOS dashboard, then sign in again";
const NARROW: &str = "the token does not carry the scope that this server needs: sign in again with all of `scope`";
