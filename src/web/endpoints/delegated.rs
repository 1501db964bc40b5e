//! The gateway's own OAuth endpoints in direct mode: there is nothing at any of them, and the answer says where to go.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::authorization::DelegatedServer;
use crate::web::admission::Context;
use crate::web::respond::{self, Trouble};

/// Lets requests through to the endpoints of the gateway's own authorization server, if it is one.
pub async fn guard(context: Context, request: Request, next: Next) -> Response {
    let Some(server) = &context.gateway.direct else { return next.run(request).await };
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") { page(server, &context).await } else { refusal(server, &context).await }
}

/// For programs.
async fn refusal(server: &DelegatedServer, context: &Context) -> Response {
    let text = format!(
        "this gateway issues no tokens: its authorization server is {}, as the metadata of the protected resource say{}",
        server.issuer(),
        if server.takes_registrations().await { "" } else { "; there, dynamic client registration is switched off" },
    );
    respond::oauth_error(StatusCode::NOT_FOUND, "invalid_request", &text, context)
}

/// For people.
async fn page(server: &DelegatedServer, context: &Context) -> Response {
    let off: &[&str] = &[
        "Dynamic Client Registration is switched off at AuthKit, so new applications may not be able to connect.",
        "If you operate this gateway: switch it on in the WorkOS dashboard, under Connect, Configuration.",
    ];
    let on: &[&str] = &[
        "Remove this server from your application and add it again: it then signs in at AuthKit.",
        "If AuthKit says application_not_found, the application holds an id that AuthKit does not know: remove what it stored.",
    ];
    let trouble = Trouble {
        status: StatusCode::NOT_FOUND,
        title: "Sign-in is not here",
        message: format!("This gateway leaves sign-in to AuthKit, at {}.", server.issuer()),
        next_steps: if server.takes_registrations().await { on } else { off },
        link: None,
    };
    respond::trouble(trouble, context)
}
