//! A link that an operator was given (`doorward connections connect`): for whoever holds it, signed in or not, and for what
//! everyone shares. Works in direct mode too, where nobody signs in here.

use axum::http::StatusCode;
use axum::response::Response;

use super::trouble::{failed, link_is_over, no_cookie};
use super::{Link, location};
use crate::config::model::UpstreamMode;
use crate::crypto::Secret;
use crate::domain::browser::KnownBrowser;
use crate::domain::random::random_id;
use crate::domain::{BrowserId, Owner, UnixTime};
use crate::store::StoreError;
use crate::upstream::{ReturnTo, Start};
use crate::web::admission::Context;
use crate::web::cookie::{BrowserCookie, LIFE_WITHOUT_LOGIN};
use crate::web::pages::{self, ConnectStep};
use crate::web::respond;

impl Link {
    pub(super) async fn show_to_operator(
        &self,
        context: &Context,
        cookie: &BrowserCookie,
    ) -> Result<Response, StoreError> {
        if self.is_over(context).await? {
            return Ok(link_is_over(context));
        }
        let person = match &context.gateway.authorization {
            Some(server) => server.person_of(cookie.known.as_ref()).await?,
            None => None,
        };
        let html = self.page(context, ConnectStep::Connect, person.as_ref(), String::new()).render();
        Ok(cookie.given_with(context, respond::page(StatusCode::OK, html, pages::FORM_LEADS_AWAY)))
    }

    /// Leaves for the upstream. The ticket is what no forged form has; it is spent once everything is ready.
    pub(super) async fn leave_as_operator(&self, context: &Context, cookie: &BrowserCookie) -> Response {
        let again = location(context, &self.link());
        let Some(presented) = &cookie.presented else { return no_cookie(context, again) };
        let left = self.leave(context, presented, cookie.known.as_ref(), again).await;
        left.unwrap_or_else(|error| respond::unavailable_page(&error, context))
    }

    async fn leave(
        &self,
        context: &Context,
        presented: &Secret,
        known: Option<&KnownBrowser>,
        again: String,
    ) -> Result<Response, StoreError> {
        if self.is_over(context).await? {
            return Ok(link_is_over(context));
        }
        let upstreams = &context.gateway.upstreams;
        let browser = browser_of(context, presented, known).await?;
        let login = known.and_then(|known| known.login(context.gateway.clock.now()));
        let start = Start {
            origin: &context.origin,
            browser: &browser,
            owner: Owner::Everyone,
            by: login.map(|login| &login.subject),
            return_to: ReturnTo::Application,
        };
        match upstreams.start(&self.upstream, start).await {
            Ok(url) if upstreams.spend_ticket(&self.ticket).await? => Ok(respond::see_other(url.as_str())),
            Ok(_) => Ok(link_is_over(context)),
            Err(error) => Ok(failed(&error, context, &self.upstream, Some(again))),
        }
    }

    /// Whether it has been used, or never was for this server.
    async fn is_over(&self, context: &Context) -> Result<bool, StoreError> {
        let shared = matches!(self.upstream.mode, UpstreamMode::Shared(_));
        Ok(!shared || context.gateway.upstreams.is_spent(&self.ticket).await?)
    }
}

/// The record of a browser, whether somebody is signed in on it or not.
async fn browser_of(
    context: &Context,
    presented: &Secret,
    known: Option<&KnownBrowser>,
) -> Result<BrowserId, StoreError> {
    let gateway = &context.gateway;
    let now = gateway.clock.now();
    let until = UnixTime(now.0 + LIFE_WITHOUT_LOGIN);
    if let Some(known) = known {
        gateway.store.keep_browser(&known.record().id, until).await?;
        return Ok(known.record().id.clone());
    }
    let fresh = BrowserId::new(random_id("br_", &*gateway.random));
    gateway.store.adopt_browser(&fresh, &presented.hash(), until, now).await
}
