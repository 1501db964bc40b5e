//! `GET /oauth/callback`: the identity provider's way back.

use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::{account, authorize, connections, consent};
use crate::authorization::{Callback, CallbackError, ClientAnswer, Onward};
use crate::identity::{InteractiveStep, LoginError};
use crate::oauth::params::Params;
use crate::web::admission::Context;
use crate::web::cookie::{self, BrowserCookie};
use crate::web::pages::PageLink;
use crate::web::respond::{self, Trouble};

pub async fn get(context: Context, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let params = Params::parse(&query.unwrap_or_default());
    let get = |name| params.get(name).ok().flatten();
    let callback = Callback {
        state: get("state"),
        code: get("code"),
        error: get("error"),
        error_description: get("error_description"),
        issuer: get("iss"),
        browser: cookie.known.as_ref(),
        browser_ip: context.client_ip,
        user_agent: headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()),
        origin: &context.origin,
    };
    match server.callback(&callback).await {
        Ok(signed_in) => {
            let mut response = respond::see_other(&place(&signed_in.onward, &context));
            let life = server.policy.browser_login.session_ttl.as_secs();
            if let Some(value) =
                cookie::set(&context.origin, &signed_in.cookie, i64::try_from(life).unwrap_or(i64::MAX))
            {
                response.headers_mut().insert(header::SET_COOKIE, value);
            }
            response
        }
        Err(error) => refused(&error, &context),
    }
}

fn place(onward: &Onward, context: &Context) -> String {
    match onward {
        Onward::Consent(transaction) => consent::location(context, transaction),
        Onward::Account => account::location(context),
        Onward::Connect(link) => connections::location(context, link),
    }
}

fn refused(error: &CallbackError, context: &Context) -> Response {
    const RESTART: &[&str] = &["Go back to the application and connect again."];
    match error {
        CallbackError::NotStartedHere => respond::trouble(
            Trouble {
                status: StatusCode::BAD_REQUEST,
                title: "This sign-in was not started here",
                message: "The identity provider sent you here without a sign-in that this gateway had begun, as it does for \
                          impersonation from its dashboard. Nothing was granted."
                    .to_owned(),
                next_steps: &["Start from your application: add or reconnect this server there."],
                link: None,
            },
            context,
        ),
        CallbackError::UnknownState => respond::trouble(
            Trouble {
                status: StatusCode::BAD_REQUEST,
                title: "This sign-in has expired",
                message: "It was finished before, or took too long.".to_owned(),
                next_steps: RESTART,
                link: None,
            },
            context,
        ),
        CallbackError::OtherBrowser => respond::trouble(
            Trouble {
                status: StatusCode::FORBIDDEN,
                title: "This sign-in belongs to another browser",
                message: "It can only be finished in the browser it was started in, with cookies allowed. Nothing was granted."
                    .to_owned(),
                next_steps: &["If somebody sent you this link, close this page.", "Otherwise go back to the application and connect again."],
                link: None,
            },
            context,
        ),
        CallbackError::Denied(answer) => authorize::to_client(answer, context),
        CallbackError::Store(error) => respond::unavailable_page(error, context),
        CallbackError::Login { error, onward, to_client } => {
            login_failed(error, onward, to_client.as_deref(), context)
        }
    }
}

/// A failed login, with the two ways on: again, or back to the client if one waits for it.
pub(super) fn login_failed(
    error: &LoginError,
    onward: &Onward,
    to_client: Option<&ClientAnswer>,
    context: &Context,
) -> Response {
    let retry = matches!(
        error,
        LoginError::Unavailable(_)
            | LoginError::CodeRejected
            | LoginError::Interactive(_)
            | LoginError::WrongOrganization
    );
    let link = match to_client {
        Some(client) if !retry => {
            PageLink { label: format!("Return to {}", client.redirect_host), href: client.location.clone() }
        }
        _ => PageLink { label: "Try again".to_owned(), href: place(onward, context) },
    };
    login_trouble(error, link, context)
}

/// What people read of a failed login. Nothing of it is the provider's own text (IDP-6).
fn login_trouble(error: &LoginError, link: PageLink, context: &Context) -> Response {
    let (status, title, message, next_steps): (_, _, String, &[&str]) = match error {
        LoginError::Unavailable(_) => (
            StatusCode::BAD_GATEWAY,
            "The identity provider does not answer",
            "You could not be signed in because the identity provider is unavailable right now.".to_owned(),
            &["Wait a moment and try again."],
        ),
        LoginError::SetUp(fault) => (
            StatusCode::BAD_GATEWAY,
            "The gateway is not set up correctly",
            format!("{}.", uppercase_first(&fault.to_string())),
            &["Show this page to whoever operates this gateway; the fault is also in its log."],
        ),
        LoginError::Untrusted(_) => (
            StatusCode::BAD_GATEWAY,
            "The sign-in could not be verified",
            "The identity provider's answer failed a check, so nobody was signed in. The log says which.".to_owned(),
            &["Show this page to whoever operates this gateway."],
        ),
        LoginError::CodeRejected => (
            StatusCode::BAD_REQUEST,
            "The sign-in took too long",
            "The identity provider no longer accepts this sign-in.".to_owned(),
            &["Try again."],
        ),
        LoginError::Interactive(step) => {
            (StatusCode::FORBIDDEN, "One more step is needed", interactive(*step).to_owned(), &["Then try again."])
        }
        LoginError::ImpersonationRefused => (
            StatusCode::FORBIDDEN,
            "Impersonated sessions are not let in",
            "This sign-in was made in another person's name, which this gateway does not allow.".to_owned(),
            &["Sign in as yourself."],
        ),
        LoginError::WrongOrganization => (
            StatusCode::FORBIDDEN,
            "Another organisation is needed",
            "You signed in to another organisation than the one this gateway is for.".to_owned(),
            &["Try again and choose the right organisation."],
        ),
        LoginError::AccessDenied => (
            StatusCode::FORBIDDEN,
            "Access was refused",
            "The identity provider did not let you in.".to_owned(),
            &["Ask your administrator for access."],
        ),
    };
    respond::trouble(Trouble { status, title, message, next_steps, link: Some(link) }, context)
}

fn interactive(step: InteractiveStep) -> &'static str {
    match step {
        InteractiveStep::SelectOrganization => {
            "You belong to several organisations, and the identity provider needs to know which one to use. The operator can fix one with the option `organizationId`."
        }
        InteractiveStep::Mfa => {
            "The identity provider asks for multi-factor authentication. Set it up, or finish it, at your identity provider."
        }
        InteractiveStep::VerifyEmail => {
            "Your e-mail address is not verified yet. Open the message that the identity provider sent you."
        }
        InteractiveStep::Sso => {
            "Your organisation requires single sign-on. Choose the single sign-on way of signing in."
        }
        InteractiveStep::Other => "The identity provider asks for another step before it lets you in.",
    }
}

fn uppercase_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
