//! `GET|POST /account`: a person's own grants, seen and revoked (REV-4), their accounts at servers behind, seen and
//! disconnected, and the login that leads here.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{callback, connections, consent};
use crate::authorization::{Account, AccountError, AuthorizationServer, Onward, OwnConnection, OwnGrant, Revoke};
use crate::domain::UnixTime;
use crate::oauth::client_id_metadata::looks_like_url;
use crate::web::admission::Context;
use crate::web::cookie::BrowserCookie;
use crate::web::extract;
use crate::web::pages::{
    self, AccountConnection, AccountPage, AccountStartPage, ClientIdentity, ConnectionShown, ConnectionState,
    GrantShown, PageLink, ServerShown,
};
use crate::web::respond::{self, Trouble};

/// The page.
pub fn location(context: &Context) -> String {
    format!("{}account", context.gateway.base_path)
}

pub async fn get(context: Context, headers: HeaderMap) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    match server.account(cookie.known.as_ref()).await {
        Ok(Some(account)) => {
            respond::page(StatusCode::OK, shown(&context, server, account).render(), pages::FORM_LEADS_AWAY)
        }
        Ok(None) => start_page(&context, server, &cookie),
        Err(error) => respond::unavailable_page(&error, &context),
    }
}

/// Takes a submitted form: `sign-in`, or `revoke` = `all` or the id of a grant, or `disconnect` = the id of a connection.
pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
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
    let (known, csrf) = (cookie.known.as_ref(), get("csrf").unwrap_or_default());
    let done = match (get("revoke"), get("disconnect")) {
        (Some("all"), None) => server.revoke_own(known, csrf, Revoke::All).await,
        (Some(id), None) => server.revoke_own(known, csrf, Revoke::One(id)).await,
        (None, Some(id)) => server.disconnect_own(known, csrf, id).await,
        (None, None) if get("sign-in").is_some() => return sign_in(&context, server, &cookie).await,
        _ => return forged(&context),
    };
    match done {
        Ok(()) => respond::see_other(&location(&context)),
        Err(error) => refused(&error, &context),
    }
}

fn forged(context: &Context) -> Response {
    let trouble = Trouble {
        status: StatusCode::FORBIDDEN,
        title: "This form was not accepted",
        message: "It did not come from a page that you were shown in this browser. Nothing was changed.".to_owned(),
        next_steps: &["If another site or a message led you here, close this page.", "Otherwise open your page anew."],
        link: Some(PageLink { label: "Your access".to_owned(), href: location(context) }),
    };
    respond::trouble(trouble, context)
}

/// Off to the provider, in the browser whose cookie came with the form.
async fn sign_in(context: &Context, server: &AuthorizationServer, cookie: &BrowserCookie) -> Response {
    let Some(presented) = &cookie.presented else {
        let trouble = Trouble {
            status: StatusCode::BAD_REQUEST,
            title: "Cookies are needed to sign in",
            message: "Your browser did not send the cookie that ties this sign-in to it.".to_owned(),
            next_steps: &["Allow cookies for this site.", "Then try again."],
            link: Some(PageLink { label: "Try again".to_owned(), href: location(context) }),
        };
        return respond::trouble(trouble, context);
    };
    match server.start_account_login(presented, cookie.known.as_ref(), &context.origin, None, false).await {
        Ok(url) => respond::see_other(url.as_str()),
        Err(error) => refused(&error, context),
    }
}

fn refused(error: &AccountError, context: &Context) -> Response {
    match error {
        // The page offers the login.
        AccountError::SignedOut => respond::see_other(&location(context)),
        AccountError::Forged => forged(context),
        AccountError::Provider(error) => callback::login_failed(error, &Onward::Account, None, context),
        AccountError::Store(error) => respond::unavailable_page(error, context),
    }
}

/// Leaving for the provider takes a click, so that no visit makes a record of the browser.
fn start_page(context: &Context, server: &AuthorizationServer, cookie: &BrowserCookie) -> Response {
    let html =
        AccountStartPage { action: location(context), provider: server.identity.display_name().to_owned() }.render();
    cookie.given_with(context, respond::page(StatusCode::OK, html, pages::FORM_LEADS_AWAY))
}

fn shown(context: &Context, server: &AuthorizationServer, account: Account) -> AccountPage {
    AccountPage {
        action: location(context),
        sign_out: format!("{}oauth/logout", context.gateway.base_path),
        csrf: account.csrf,
        person: consent::signed_in(&account.person),
        grants: account.grants.iter().map(|own| grant_shown(server, own)).collect(),
        connections: account.connections.iter().map(|own| connection_shown(context, own)).collect(),
    }
}

fn connection_shown(context: &Context, own: &OwnConnection) -> AccountConnection {
    let shown = match &own.standing {
        Some(standing) => connections::standing_shown(context, standing),
        // The configuration has it no more.
        None => ConnectionShown {
            name: own.upstream_id.clone(),
            summary: None,
            host: String::new(),
            shared: false,
            state: ConnectionState::Again { why: "This gateway uses it no more" },
            connect: None,
        },
    };
    AccountConnection { shown, id: own.id.as_ref().map(ToString::to_string), since: own.since.map(day) }
}

fn grant_shown(server: &AuthorizationServer, own: &OwnGrant) -> GrantShown {
    let OwnGrant { grant, last_used_at, client } = own;
    let (client_name, client) = match client {
        Some(client) => (consent::client_name(client), consent::client_identity(client)),
        // Nothing is known of it any more but its id.
        None if looks_like_url(grant.client_id.as_str()) => {
            (grant.client_id.to_string(), ClientIdentity::Verified { host: consent::host_of(grant.client_id.as_str()) })
        }
        None => (grant.client_id.to_string(), ClientIdentity::SelfRegistered),
    };
    let route = server.route(&grant.route);
    GrantShown {
        id: grant.id.to_string(),
        client_name,
        client,
        redirect_host: grant.redirect_host.clone(),
        server: ServerShown {
            name: route.map_or_else(|| grant.route.clone(), |route| route.display_name().to_owned()),
            path: grant.route.clone(),
        },
        scopes: grant.scope.iter().map(|scope| server.scopes.describe(scope)).collect(),
        created: day(grant.created_at),
        last_used: last_used_at.map_or_else(|| "Never".to_owned(), day),
    }
}

/// A day as people write it, in UTC.
fn day(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at.0).map(|at| at.strftime("%-d %B %Y").to_string()).unwrap_or_default()
}
