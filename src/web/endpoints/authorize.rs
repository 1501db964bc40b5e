//! `GET|POST /oauth/authorize` and `/oauth/authorize/<route path>`.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::consent;
use crate::authorization::{AuthorizationServer, AuthorizeError, Authorized, ClientAnswer, Incoming, LocalError};
use crate::domain::Person;
use crate::web::admission::Context;
use crate::web::cookie::BrowserCookie;
use crate::web::extract::{self, Named};
use crate::web::pages::PageLink;
use crate::web::respond::{self, Trouble};

/// `GET /oauth/authorize`
pub async fn get(context: Context, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    authorize(&context, &headers, &query.unwrap_or_default(), None).await
}

/// `POST /oauth/authorize`
pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    match extract::bytes(body).await {
        Ok(bytes) => authorize(&context, &headers, &String::from_utf8_lossy(&bytes), None).await,
        Err(_) => too_large(&context),
    }
}

/// `GET /oauth/authorize/<route path>`: implies `resource` (DISC-7).
pub async fn get_bound(
    context: Context,
    Named(route): Named,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    authorize(&context, &headers, &query.unwrap_or_default(), Some(&format!("/{route}"))).await
}

/// `POST /oauth/authorize/<route path>`
pub async fn post_bound(context: Context, Named(route): Named, headers: HeaderMap, body: Body) -> Response {
    match extract::bytes(body).await {
        Ok(bytes) => authorize(&context, &headers, &String::from_utf8_lossy(&bytes), Some(&format!("/{route}"))).await,
        Err(_) => too_large(&context),
    }
}

async fn authorize(context: &Context, headers: &HeaderMap, query: &str, bound: Option<&str>) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(context) };
    if bound.is_some_and(|path| server.route(path).is_none()) {
        return respond::not_found(context);
    }
    let cookie = match BrowserCookie::read(context, headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, context),
    };
    let incoming = Incoming {
        query,
        origin: &context.origin,
        bound_route: bound,
        browser: cookie.known.as_ref(),
        peer: context.client_ip,
    };
    if let Some(person) = auto_approver(context, headers) {
        // Boxed: what only development does must not make every request's future larger.
        return match Box::pin(server.authorize_without_asking(&incoming, &person)).await {
            Ok(location) => respond::see_other(&location),
            Err(error) => refused(&error, context),
        };
    }
    match server.authorize(&incoming).await {
        Ok(Authorized::Consent(id)) => respond::see_other(&consent::location(context, &id)),
        Ok(Authorized::ConfirmStart(id)) => start_page(context, server, &id, &cookie).await,
        Err(error) => refused(&error, context),
    }
}

/// The page before the provider (CONS-5), with a cookie for a browser that has none.
async fn start_page(
    context: &Context,
    server: &AuthorizationServer,
    id: &crate::domain::TransactionId,
    cookie: &BrowserCookie,
) -> Response {
    match server.view(id, cookie.known.as_ref()).await {
        Ok(view) => consent::show(context, server, view, cookie),
        Err(error) => consent::refused(&error, context),
    }
}

/// The person that `dev --auto-approve` signs in, for a caller at this very machine only. A request that a page of
/// another site caused is shown the pages: any site could register a client and help itself to a token.
fn auto_approver(context: &Context, headers: &HeaderMap) -> Option<Person> {
    let development = context.gateway.development.as_ref()?;
    let cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if !development.auto_approve || cross_site || !context.is_direct_loopback(headers) {
        return None;
    }
    development.login.as_ref().map(|login| login.first_person())
}

fn refused(error: &AuthorizeError, context: &Context) -> Response {
    match error {
        AuthorizeError::Local(error) => local(error, context),
        AuthorizeError::Client(answer) => to_client(answer, context),
        AuthorizeError::Store(error) => respond::unavailable_page(error, context),
    }
}

/// An error answer to the client: a redirect, or a link on a page (AUTHZ-16).
pub(super) fn to_client(answer: &ClientAnswer, context: &Context) -> Response {
    tracing::info!(
        event = "mcp_auth_authorization_refused",
        reasonCode = answer.code.as_str(),
        redirectHost = answer.redirect_host,
    );
    if !answer.as_link {
        return respond::see_other(&answer.location);
    }
    respond::trouble(
        Trouble {
            status: StatusCode::BAD_REQUEST,
            title: "The application's request was not accepted",
            message: format!("{} ({}).", capitalised(&answer.description), answer.code.as_str()),
            next_steps: &[
                "Go back to the application and connect again.",
                "If it happens again, tell its maker what this page says.",
            ],
            link: Some(PageLink {
                label: format!("Return to {}", answer.redirect_host),
                href: answer.location.clone(),
            }),
        },
        context,
    )
}

fn local(error: &LocalError, context: &Context) -> Response {
    const RE_ADD: &[&str] = &[
        "Remove this server from the application and add it again, so that it registers anew.",
        "If that does not help, clear the application's stored sign-in for this server.",
    ];
    const ASK: &[&str] =
        &["Start again from the application.", "If it happens again, tell its maker what this page says."];
    let (status, title, next_steps) = match error {
        LocalError::UnknownClient => (StatusCode::BAD_REQUEST, "Unknown application", RE_ADD),
        LocalError::ClientRefused(_) => (StatusCode::BAD_REQUEST, "The application could not be verified", ASK),
        LocalError::ClientUnreachable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "The application could not be verified right now", ASK)
        }
        LocalError::RedirectUriMismatch | LocalError::RedirectUriNotAllowed | LocalError::NoRedirectUri => {
            (StatusCode::BAD_REQUEST, "The way back to the application is not right", RE_ADD)
        }
        LocalError::NoClient => (StatusCode::BAD_REQUEST, "The application's request is incomplete", ASK),
        LocalError::Throttled(throttled) => return respond::throttled_page(*throttled, context),
    };
    let message = format!("{}.", capitalised(&error.to_string()));
    respond::trouble(Trouble { status, title, message, next_steps, link: None }, context)
}

fn too_large(context: &Context) -> Response {
    let trouble = Trouble {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        title: "The application's request is too large",
        message: "An authorization request may have 64 KiB.".to_owned(),
        next_steps: &[],
        link: None,
    };
    respond::trouble(trouble, context)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
