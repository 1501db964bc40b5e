//! `GET|POST /oauth/logout`: ends the browser session here and at the provider.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::authorization::ConsentError;
use crate::domain::browser::KnownBrowser;
use crate::web::admission::Context;
use crate::web::cookie::BrowserCookie;
use crate::web::pages::{self, SignOutConfirmPage, SignedOutPage};
use crate::web::{extract, respond};

/// What the anti-forgery value of the sign-out form is bound to, in a transaction's place.
const PURPOSE: &str = "sign out";

/// Asks first: a link alone must not sign anybody out.
pub async fn get(context: Context, headers: HeaderMap) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let Some((known, subject)) = signed_in(cookie.known.as_ref(), server.now()) else { return signed_out() };
    let person = match server.store.person(&subject).await {
        Ok(person) => person,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let html = SignOutConfirmPage {
        action: format!("{}oauth/logout", context.gateway.base_path),
        csrf: server.derivation.csrf(PURPOSE, &known.record().id, &subject, server.now()),
        person: person.map(|person| person.email.unwrap_or(person.subject)).unwrap_or_default(),
    }
    .render();
    respond::page(StatusCode::OK, html, pages::FORM_LEADS_AWAY)
}

pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let form = match extract::page_form(&headers, body, &context).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let Some((known, subject)) = signed_in(cookie.known.as_ref(), server.now()) else { return signed_out() };
    let owner = &known.record().id;
    let csrf = form.get("csrf").ok().flatten().unwrap_or_default();
    if !extract::is_same_origin(&headers, &context.origin)
        || !server.derivation.csrf_matches(PURPOSE, owner, &subject, csrf)
    {
        return super::consent::refused(&ConsentError::Forged, &context);
    }
    if let Err(error) = server.store.sign_out(owner).await {
        return respond::unavailable_page(&error, &context);
    }
    let back = url::Url::parse(&format!("{}{}oauth/logout", context.origin, context.gateway.base_path)).ok();
    let session = known.login(server.now()).and_then(|login| login.provider_session.clone());
    let Some((session, back)) = session.zip(back) else { return signed_out() };
    match server.identity.logout_url(&session, &back).await {
        Some(url) => respond::see_other(url.as_str()),
        None => signed_out(),
    }
}

fn signed_in(
    known: Option<&KnownBrowser>,
    now: crate::domain::UnixTime,
) -> Option<(&KnownBrowser, crate::domain::SubjectId)> {
    let known = known?;
    known.login(now).map(|login| (known, login.subject.clone()))
}

fn signed_out() -> Response {
    respond::page(StatusCode::OK, SignedOutPage.render(), pages::NO_FORM)
}
