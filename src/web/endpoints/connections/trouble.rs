//! What people read when a server behind is not connected: what happened, and what to do next. Nothing of it is that
//! server's own text but the code of its error.

use axum::http::StatusCode;
use axum::response::Response;

use super::super::{account, consent};
use super::location;
use crate::authorization::BeginError;
use crate::config::model::{Upstream, UpstreamMode};
use crate::domain::browser::ConnectLink;
use crate::upstream::{ConnectError, ReturnTo};
use crate::web::admission::Context;
use crate::web::pages::PageLink;
use crate::web::respond::{self, Trouble};

const TELL_THE_OPERATOR: &str =
    "Show this page to whoever operates this gateway: by its reference they find the cause in the log.";

pub(super) fn no_such_server(context: &Context) -> Response {
    let trouble = Trouble {
        status: StatusCode::NOT_FOUND,
        title: "There is no such server",
        message: "This gateway connects no server of that name.".to_owned(),
        next_steps: &["Go back to the application and use the server again."],
        link: None,
    };
    respond::trouble(trouble, context)
}

/// One page for what is expired, used, cut off or made up: it tells a stranger nothing.
pub(super) fn link_is_over(context: &Context) -> Response {
    let trouble = Trouble {
        status: StatusCode::GONE,
        title: "This link does not work any more",
        message: "Such a link works once, and for a short time. Nothing was connected by it now.".to_owned(),
        next_steps: &[
            "Go back to the application and use the server again: if it is not connected, you get a new link.",
            "If an operator gave you the link, ask for a new one.",
        ],
        link: None,
    };
    respond::trouble(trouble, context)
}

pub(super) fn forged(context: &Context) -> Response {
    let trouble = Trouble {
        status: StatusCode::FORBIDDEN,
        title: "This form was not accepted",
        message: "It did not come from a page that you were shown in this browser. Nothing was connected.".to_owned(),
        next_steps: &[
            "If another site or a message led you here, close this page.",
            "Otherwise go back to where you pressed Connect, reload that page and press it again.",
        ],
        link: None,
    };
    respond::trouble(trouble, context)
}

pub(super) fn no_cookie(context: &Context, again: String) -> Response {
    let trouble = Trouble {
        status: StatusCode::BAD_REQUEST,
        title: "Cookies are needed to connect",
        message: "Your browser did not send the cookie that ties this to it.".to_owned(),
        next_steps: &["Allow cookies for this site.", "Then try again."],
        link: Some(PageLink { label: "Try again".to_owned(), href: again }),
    };
    respond::trouble(trouble, context)
}

/// Why the browser does not leave for `upstream`. `link`: the one that led here.
pub(super) fn refused(
    error: &BeginError,
    context: &Context,
    upstream: &Upstream,
    link: Option<&ConnectLink>,
) -> Response {
    let name = &upstream.display_name;
    let (status, title, message, next_steps): (_, _, _, &[&str]) = match error {
        // The page offers the login.
        BeginError::SignedOut | BeginError::Used => {
            let place = link.map_or_else(|| account::location(context), |link| location(context, link));
            return respond::see_other(&place);
        }
        BeginError::Forged => return forged(context),
        BeginError::Throttled(throttled) => return respond::throttled_page(*throttled, context),
        BeginError::Consent(error) => return consent::refused(error, context),
        BeginError::Store(error) => return respond::unavailable_page(error, context),
        BeginError::Connect { error, return_to } => {
            let again = match return_to {
                ReturnTo::Consent(transaction) => Some(consent::location(context, transaction)),
                ReturnTo::Account => Some(account::location(context)),
                ReturnTo::Application => link.map(|link| location(context, link)),
            };
            return failed(error, context, upstream, again);
        }
        BeginError::AnotherPerson => (
            StatusCode::FORBIDDEN,
            "This link is for somebody else",
            format!("It connects {name} for another person than the one who is signed in. Nothing was connected."),
            &["If somebody sent you this link, close this page: it would connect your account for them."],
        ),
        BeginError::NotOperator => (
            StatusCode::FORBIDDEN,
            "An administrator has to connect this server",
            format!("Everyone shares one account at {name}, and you are not among those who may connect it."),
            &["Ask whoever operates this gateway to connect it; that is done once for everyone."],
        ),
        BeginError::NothingToConnect => (
            StatusCode::NOT_FOUND,
            "There is nothing to connect",
            format!("What led you here does not need an account at {name}. Nothing was connected."),
            &["Go back to the application and use the server again."],
        ),
        BeginError::NotAllowed(refusal) => (
            StatusCode::FORBIDDEN,
            "You cannot use this server",
            format!("For you: {refusal}. Nothing was connected."),
            &["Ask whoever operates this gateway, or use another account."],
        ),
    };
    respond::trouble(Trouble { status, title, message, next_steps, link: None }, context)
}

/// Why `upstream` was not connected. `again`: where it can be tried again.
pub(super) fn failed(error: &ConnectError, context: &Context, upstream: &Upstream, again: Option<String>) -> Response {
    if let ConnectError::Store(error) = error {
        return respond::unavailable_page(error, context);
    }
    tracing::warn!(
        event = "mcp_auth_upstream_not_connected",
        upstreamServerId = upstream.id,
        reference = %context.request_id,
        cause = %error,
    );
    let (status, title, message, next_steps) = words(error, upstream);
    let label = if matches!(error, ConnectError::SetUp(_)) { "Go back" } else { "Try again" };
    let link = again.map(|href| PageLink { label: label.to_owned(), href });
    respond::trouble(Trouble { status, title, message, next_steps, link }, context)
}

fn words(error: &ConnectError, upstream: &Upstream) -> (StatusCode, &'static str, String, &'static [&'static str]) {
    let name = &upstream.display_name;
    let shared = matches!(upstream.mode, UpstreamMode::Shared(_));
    match error {
        ConnectError::Gone => (
            StatusCode::BAD_REQUEST,
            "This was finished before, or took too long",
            format!(
                "Nothing was connected by this page now. Connecting {name} can only be finished in the browser it was begun in, once, and within a quarter of an hour."
            ),
            &[
                "If it was connected before, go back to the application; you can close this page.",
                "Otherwise begin again from the application.",
                "If somebody sent you this link, close this page.",
            ],
        ),
        ConnectError::AnotherPerson => (
            StatusCode::FORBIDDEN,
            "Somebody else is signed in by now",
            format!("When you left for {name}, another person was signed in in this browser. Nothing was connected."),
            &[
                "Sign in as the person who began, and connect again.",
                "If somebody sent you this link, close this page.",
            ],
        ),
        ConnectError::Refused(code) if code == "access_denied" => (
            StatusCode::FORBIDDEN,
            "The connection was not allowed",
            format!(
                "You, or the rules there, did not allow this gateway to use the account at {name}. Nothing was connected."
            ),
            &[
                "If you meant to allow it, try again.",
                "If you are not asked there at all, ask whoever administers that server.",
            ],
        ),
        ConnectError::Refused(code) => (
            StatusCode::BAD_GATEWAY,
            "The server refused the connection",
            format!("{name} answered `{code}`. Nothing was connected."),
            &["Try again.", TELL_THE_OPERATOR],
        ),
        ConnectError::Untrusted(_) => (
            StatusCode::BAD_GATEWAY,
            "The answer could not be verified",
            format!("What came back from {name} failed a check, so nothing was connected."),
            &["Try again.", TELL_THE_OPERATOR],
        ),
        ConnectError::WrongClient(_) => (
            StatusCode::BAD_GATEWAY,
            "The server does not take this gateway",
            format!(
                "{name} does not know this gateway as a client, or does not want it as one. Nothing was connected."
            ),
            &["Try again: where it can, the gateway registers anew.", TELL_THE_OPERATOR],
        ),
        ConnectError::Unavailable(_) | ConnectError::Store(_) => (
            StatusCode::BAD_GATEWAY,
            "The server does not answer",
            format!(
                "{name}, or the server that signs people in there, is unavailable right now. Nothing was connected."
            ),
            if shared {
                &["Wait a moment and try again.", TELL_THE_OPERATOR]
            } else {
                &["Wait a moment and try again."]
            },
        ),
        ConnectError::SetUp(_) => (
            StatusCode::BAD_GATEWAY,
            "This server cannot be connected yet",
            format!("The gateway and {name} do not fit together as they are set up. Nothing was connected."),
            &[TELL_THE_OPERATOR],
        ),
    }
}
