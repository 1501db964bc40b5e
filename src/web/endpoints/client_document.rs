//! `GET /.well-known/oauth-client/<upstream id>`: what the gateway says of itself to the authorization server of a server
//! behind (draft-ietf-oauth-client-id-metadata-document).

use axum::response::Response;

use super::discovery;
use crate::web::admission::Context;
use crate::web::extract::Named;
use crate::web::respond;

pub async fn get(context: Context, Named(id): Named) -> Response {
    let upstreams = &context.gateway.upstreams;
    let upstream = upstreams.get(&id).filter(|upstream| upstream.mode.oauth().is_some());
    match upstream.and_then(|upstream| upstreams.client_metadata(upstream)) {
        Some(document) => discovery::document(&document),
        None => respond::not_found(&context),
    }
}
