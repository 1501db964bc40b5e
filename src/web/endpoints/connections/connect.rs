//! `GET|POST /auth/connections/<upstream id>/connect`: the page of a link, and the way to the server behind from there, from
//! the consent page and from a person's own page.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::super::{callback, consent};
use super::trouble::{forged, link_is_over, no_cookie, no_such_server, refused};
use super::{Link, connected, location, path, shown, signed_in};
use crate::authorization::{AccountError, AuthorizationServer, Begin, BeginError, LinkView, Onward};
use crate::config::model::UpstreamMode;
use crate::domain::{Person, SubjectId, TransactionId};
use crate::oauth::params::Params;
use crate::store::StoreError;
use crate::web::admission::Context;
use crate::web::cookie::BrowserCookie;
use crate::web::extract::{self, Named};
use crate::web::pages::{self, ConnectPage, ConnectStep};
use crate::web::respond;

/// What a link leads to. Nothing is spent: a browser may fetch it ahead.
pub async fn get(context: Context, Named(id): Named, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let Some(upstream) = context.gateway.upstreams.get(&id) else { return no_such_server(&context) };
    let params = Params::parse(&query.unwrap_or_default());
    let text = params.get("ticket").ok().flatten().unwrap_or_default();
    let Some(link) = Link::open(&context, upstream, text) else { return link_is_over(&context) };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let response = match (&link.ticket.subject, &context.gateway.authorization) {
        (None, _) => link.show_to_operator(&context, &cookie).await,
        (Some(subject), Some(server)) => link.show_to_person(&context, server, subject, &cookie).await,
        // Nobody signs in here in direct mode.
        (Some(_), None) => Ok(link_is_over(&context)),
    };
    response.unwrap_or_else(|error| respond::unavailable_page(&error, &context))
}

/// Takes a submitted form: `step=connect | sign-in | switch`, with the `ticket` of a link, or `connect` with the
/// `transaction` of a consent page, or with `account` from the person's own page.
pub async fn post(context: Context, Named(id): Named, headers: HeaderMap, body: Body) -> Response {
    let Some(upstream) = context.gateway.upstreams.get(&id) else { return no_such_server(&context) };
    if !extract::is_same_origin(&headers, &context.origin) {
        return forged(&context);
    }
    let form = match extract::page_form(&headers, body, &context).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let get = |name| form.get(name).ok().flatten();
    let begin = Begin {
        upstream,
        browser: cookie.known.as_ref(),
        csrf: get("csrf").unwrap_or_default(),
        origin: &context.origin,
        peer: context.client_ip,
    };
    let link = match get("ticket").map(|text| Link::open(&context, upstream, text)) {
        Some(Some(link)) => Some(link),
        Some(None) => return link_is_over(&context),
        None => None,
    };
    let started = match (&context.gateway.authorization, &link, get("step"), get("transaction")) {
        (server, Some(link), Some(step), _) => {
            return link.submitted(&context, server.as_ref(), step, &cookie, begin).await;
        }
        (Some(server), None, Some("connect"), Some(id)) => {
            server.connect_from_consent(begin, &TransactionId::new(id)).await
        }
        (Some(server), None, Some("connect"), None) if get("account").is_some() => {
            server.connect_from_account(begin).await
        }
        _ => return forged(&context),
    };
    match started {
        Ok(url) => respond::see_other(url.as_str()),
        Err(error) => refused(&error, &context, upstream, None),
    }
}

impl Link {
    async fn show_to_person(
        &self,
        context: &Context,
        server: &AuthorizationServer,
        subject: &SubjectId,
        cookie: &BrowserCookie,
    ) -> Result<Response, StoreError> {
        let show = |status, step, person: Option<&Person>, csrf| {
            respond::page(status, self.page(context, step, person, csrf).render(), pages::FORM_LEADS_AWAY)
        };
        Ok(match server.view_link(&self.upstream, &self.ticket, subject, cookie.known.as_ref()).await? {
            LinkView::SignIn => {
                let provider = server.identity.display_name().to_owned();
                let step = if matches!(self.upstream.mode, UpstreamMode::IdJag(_)) {
                    ConnectStep::SignInAgain { provider }
                } else {
                    ConnectStep::SignIn { provider }
                };
                cookie.given_with(context, show(StatusCode::OK, step, None, String::new()))
            }
            LinkView::SignedIn => signed_in(&self.upstream),
            LinkView::OtherPerson { person, csrf } => {
                show(StatusCode::FORBIDDEN, ConnectStep::OtherPerson, Some(&person), csrf)
            }
            LinkView::Connect { person, csrf } => show(StatusCode::OK, ConnectStep::Connect, Some(&person), csrf),
            LinkView::Used { standing, .. } if standing.is_connected() => connected(&self.upstream, true),
            LinkView::Used { person, csrf, .. } => show(StatusCode::GONE, ConnectStep::Used, Some(&person), csrf),
            LinkView::NotOperator => refused(&BeginError::NotOperator, context, &self.upstream, None),
        })
    }

    pub(super) fn page(
        &self,
        context: &Context,
        step: ConnectStep,
        person: Option<&Person>,
        csrf: String,
    ) -> ConnectPage {
        ConnectPage {
            action: path(context, &self.upstream.id),
            ticket: self.text.clone(),
            csrf,
            connection: shown(&self.upstream),
            person: person.map(consent::signed_in),
            step,
        }
    }

    async fn submitted(
        &self,
        context: &Context,
        server: Option<&AuthorizationServer>,
        step: &str,
        cookie: &BrowserCookie,
        begin: Begin<'_>,
    ) -> Response {
        match (&self.ticket.subject, server, step) {
            (None, _, "connect") => self.leave_as_operator(context, cookie).await,
            (Some(subject), Some(server), "connect") => {
                match server.connect_by_link(begin, &self.ticket, subject).await {
                    Ok(url) => respond::see_other(url.as_str()),
                    Err(error) => refused(&error, context, &self.upstream, Some(&self.link())),
                }
            }
            (Some(_), Some(server), "sign-in") => self.sign_in(context, server, cookie, false).await,
            (Some(_), Some(server), "switch") => self.switch(context, server, cookie, begin.csrf).await,
            (Some(_), None, _) => link_is_over(context),
            _ => forged(context),
        }
    }

    /// Off to the provider, and back to this very link.
    async fn sign_in(
        &self,
        context: &Context,
        server: &AuthorizationServer,
        cookie: &BrowserCookie,
        switch_account: bool,
    ) -> Response {
        let link = self.link();
        let Some(presented) = &cookie.presented else { return no_cookie(context, location(context, &link)) };
        let known = cookie.known.as_ref();
        match server.start_account_login(presented, known, &context.origin, Some(&link), switch_account).await {
            Ok(url) => respond::see_other(url.as_str()),
            Err(AccountError::Provider(error)) => callback::login_failed(&error, &Onward::Connect(link), None, context),
            Err(AccountError::Store(error)) => respond::unavailable_page(&error, context),
            Err(AccountError::SignedOut | AccountError::Forged) => forged(context),
        }
    }

    /// Ends the login here and at the provider, then comes back to this very link.
    async fn switch(
        &self,
        context: &Context,
        server: &AuthorizationServer,
        cookie: &BrowserCookie,
        csrf: &str,
    ) -> Response {
        let link = self.link();
        let session = match server.switch_account_for_link(cookie.known.as_ref(), csrf, &link).await {
            Ok(session) => session,
            Err(error) => return refused(&error, context, &self.upstream, Some(&link)),
        };
        match consent::end_session_first(context, server, session.as_deref()).await {
            Some(response) => response,
            None => self.sign_in(context, server, cookie, true).await,
        }
    }
}
