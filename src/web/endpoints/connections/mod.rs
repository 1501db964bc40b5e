//! `/auth/connections/<upstream id>/…`: people on their way to a server behind, and back (gateway.md §8).

pub mod callback;
pub mod connect;
mod operator_link;
pub(super) mod trouble;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;

use crate::authorization::Standing;
use crate::config::model::{Upstream, UpstreamMode};
use crate::domain::browser::ConnectLink;
use crate::domain::connection::ConsentNeeded;
use crate::upstream::{ConnectionStatus, Ticket};
use crate::web::admission::Context;
use crate::web::pages::{self, ConnectedPage, ConnectionShown, ConnectionState};
use crate::web::respond;

/// A link whose ticket is one of ours, and has not expired.
struct Link {
    upstream: Arc<Upstream>,
    ticket: Ticket,
    /// The ticket as it stands in the link.
    text: String,
}

impl Link {
    fn open(context: &Context, upstream: &Arc<Upstream>, text: &str) -> Option<Self> {
        let ticket = context.gateway.upstreams.open_ticket(text, upstream)?;
        Some(Self { upstream: Arc::clone(upstream), ticket, text: text.to_owned() })
    }

    fn link(&self) -> ConnectLink {
        ConnectLink { upstream: self.upstream.id.clone(), ticket: self.text.clone() }
    }
}

/// Where an upstream is connected.
fn path(context: &Context, upstream: &str) -> String {
    format!("{}auth/connections/{upstream}/connect", context.gateway.base_path)
}

/// The page of a link.
pub(super) fn location(context: &Context, link: &ConnectLink) -> String {
    let ticket: String = url::form_urlencoded::byte_serialize(link.ticket.as_bytes()).collect();
    format!("{}?ticket={ticket}", path(context, &link.upstream))
}

/// A server behind, as it stands for a person, for a page.
pub(super) fn standing_shown(context: &Context, standing: &Standing) -> ConnectionShown {
    let state = match standing.status {
        ConnectionStatus::Connected { .. } | ConnectionStatus::ByAssertion => ConnectionState::Connected,
        ConnectionStatus::NotConnected => ConnectionState::Missing,
        ConnectionStatus::NeedsConsent(reason) => ConnectionState::Again { why: why_again(reason) },
    };
    let connect = standing.may_connect.then(|| path(context, &standing.upstream.id));
    ConnectionShown { state, connect, ..shown(&standing.upstream) }
}

fn shown(upstream: &Upstream) -> ConnectionShown {
    let port = upstream.server.port().map_or_else(String::new, |port| format!(":{port}"));
    ConnectionShown {
        name: upstream.display_name.clone(),
        summary: upstream.summary.clone(),
        host: format!("{}{port}", upstream.server.host_str().unwrap_or_default()),
        shared: matches!(upstream.mode, UpstreamMode::Shared(_)),
        state: ConnectionState::Missing,
        connect: None,
    }
}

fn why_again(reason: ConsentNeeded) -> &'static str {
    match reason {
        ConsentNeeded::Refused => "The server no longer takes the connection from before",
        ConsentNeeded::Expired => "The connection from before has expired",
        ConsentNeeded::Scope => "More is needed there than was allowed before",
    }
}

/// The page that says that it is done, `already` when that was before.
fn connected(upstream: &Upstream, already: bool) -> Response {
    let connection = ConnectionShown { state: ConnectionState::Connected, ..shown(upstream) };
    respond::page(StatusCode::OK, ConnectedPage { connection, already, by_sign_in: false }.render(), pages::NO_FORM)
}

/// The same for a server that relies on the person's sign-in.
fn signed_in(upstream: &Upstream) -> Response {
    let connection = ConnectionShown { state: ConnectionState::Connected, ..shown(upstream) };
    let page = ConnectedPage { connection, already: false, by_sign_in: true };
    respond::page(StatusCode::OK, page.render(), pages::NO_FORM)
}
