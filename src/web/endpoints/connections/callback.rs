//! `GET /auth/connections/<upstream id>/callback`: the way back from the authorization server of a server behind.

use std::sync::Arc;

use axum::extract::RawQuery;
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::{account, consent};
use super::connected;
use super::trouble::{failed, no_such_server};
use crate::config::model::{Upstream, UpstreamMode};
use crate::domain::SubjectId;
use crate::oauth::params::Params;
use crate::upstream::{ConnectError, ConnectFailure, ReturnTo, Returned};
use crate::web::admission::Context;
use crate::web::cookie::BrowserCookie;
use crate::web::extract::Named;
use crate::web::respond;

pub async fn get(context: Context, Named(id): Named, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let upstreams = &context.gateway.upstreams;
    let Some(upstream) = upstreams.get(&id) else { return no_such_server(&context) };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let login = cookie.known.as_ref().and_then(|known| known.login(context.gateway.clock.now()));
    let subject = login.map(|login| &login.subject);
    let params = Params::parse(&query.unwrap_or_default());
    // What says something twice has two readings: an `iss` that is overlooked is one that was not compared.
    let told = ["state", "code", "error", "iss"].map(|name| params.get(name));
    let finished = match (told, &cookie.known) {
        ([Ok(Some(state)), Ok(code), Ok(error), Ok(iss)], Some(known)) => {
            let browser = &known.record().id;
            upstreams.finish(Returned { upstream: &id, browser, subject, state, code, error, iss }).await
        }
        _ => Err(ConnectFailure { error: ConnectError::Gone, return_to: None }),
    };
    match finished {
        Ok(done) => match done.return_to {
            ReturnTo::Consent(transaction) => respond::see_other(&consent::location(&context, &transaction)),
            ReturnTo::Account => respond::see_other(&account::location(&context)),
            ReturnTo::Application => connected(&done.upstream, false),
        },
        Err(failure) => not_finished(&failure, &context, upstream, subject).await,
    }
}

async fn not_finished(
    failure: &ConnectFailure,
    context: &Context,
    upstream: &Arc<Upstream>,
    subject: Option<&SubjectId>,
) -> Response {
    if let (ConnectError::Gone, Some(server), Some(subject)) = (&failure.error, &context.gateway.authorization, subject)
    {
        // The page of a connection that was made is shown again, or its address was called twice.
        match server.is_connected(upstream, subject).await {
            Ok(true) => return connected(upstream, true),
            Ok(false) => {}
            Err(error) => return respond::unavailable_page(&error, context),
        }
    }
    let again = match (&failure.return_to, &upstream.mode, subject) {
        (Some(ReturnTo::Consent(transaction)), _, _) => Some(consent::location(context, transaction)),
        (Some(ReturnTo::Account), _, _) => Some(account::location(context)),
        (Some(ReturnTo::Application), UpstreamMode::PerPerson(_), Some(subject)) => {
            Some(context.gateway.upstreams.link(&context.origin, upstream, subject))
        }
        _ => None,
    };
    failed(&failure.error, context, upstream, again)
}
