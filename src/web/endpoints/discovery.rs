//! `/.well-known/…`: protected-resource metadata (RFC 9728), authorization-server metadata (RFC 8414) in all
//! its forms, and the keys. Answered from configuration alone: no provider and no upstream is asked (DISC-21), but in
//! direct mode, where AuthKit's own document is passed on, or what is known of it.

use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, http::StatusCode};
use serde::Serialize;

use crate::authorization::DelegatedServer;
use crate::config::model::Route;
use crate::oauth::metadata::{AuthorizationServerMetadata, Issuer, OpenIdConfiguration};
use crate::web::admission::Context;
use crate::web::extract::Named;
use crate::web::respond;

/// Seconds a document may be kept.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The root form: answers when it is clear which route is meant (DISC-5).
pub async fn protected_resource(context: Context) -> Response {
    let mut routes = context.gateway.config.protected_routes();
    let default = context.gateway.authorization.as_ref().and_then(|server| server.options().default_route.as_deref());
    let route = match (routes.next(), routes.next(), default) {
        (Some(only), None, _) => Some(only),
        (Some(_), Some(_), Some(default)) => context.gateway.config.protected_route(default),
        _ => None,
    };
    resource(&context, route)
}

pub async fn protected_resource_at(context: Context, Named(route): Named) -> Response {
    protected_resource_of(&context, &format!("/{route}"))
}

/// The metadata of the route at a path (DISC-1, DISC-2, DISC-4).
pub fn protected_resource_of(context: &Context, path: &str) -> Response {
    resource(context, context.gateway.config.protected_route(path))
}

fn resource(context: &Context, route: Option<&Route>) -> Response {
    match (route, &context.gateway.authorization, &context.gateway.direct) {
        (Some(route), Some(server), _) => document(&server.resource(&context.origin, route)),
        (Some(route), None, Some(server)) => document(&server.resource(&context.origin, route)),
        _ => respond::not_found(context),
    }
}

pub async fn authorization_server(context: Context) -> Response {
    authorization_server_of(&context, None).await
}

pub async fn authorization_server_at(context: Context, Named(route): Named) -> Response {
    authorization_server_of(&context, Some(&format!("/{route}"))).await
}

async fn authorization_server_of(context: &Context, route: Option<&str>) -> Response {
    match delegated(context, route) {
        Some(server) => document(&*server.metadata().await),
        None => metadata(context, route, |issuer| document(&AuthorizationServerMetadata::of(issuer))),
    }
}

pub async fn openid_configuration(context: Context) -> Response {
    openid_configuration_of(&context, None).await
}

pub async fn openid_configuration_at(context: Context, Named(route): Named) -> Response {
    openid_configuration_of(&context, Some(&format!("/{route}"))).await
}

/// The document of the origin, or of a route at its path, which may stand below that path too (DISC-8).
pub async fn openid_configuration_of(context: &Context, route: Option<&str>) -> Response {
    match delegated(context, route) {
        Some(server) => document(&*server.openid_configuration().await),
        None => metadata(context, route, |issuer| document(&OpenIdConfiguration::of(issuer))),
    }
}

/// AuthKit, in direct mode: what is told of it is the same for every route that there is.
fn delegated<'c>(context: &'c Context, route: Option<&str>) -> Option<&'c DelegatedServer> {
    let known = route.is_none_or(|path| context.gateway.config.protected_route(path).is_some());
    context.gateway.direct.as_ref().filter(|_| known)
}

fn metadata(context: &Context, route: Option<&str>, write: impl Fn(&Issuer<'_>) -> Response) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(context) };
    if route.is_some_and(|path| server.route(path).is_none()) {
        return respond::not_found(context);
    }
    let options = server.options();
    write(&Issuer {
        origin: &context.origin,
        route,
        base_path: &context.gateway.base_path,
        scopes: &server.scopes,
        signing_alg: context.gateway.keys.algorithm_name(),
        registration: options.dcr_enabled,
        client_id_metadata: options.cimd_enabled,
        introspection: server.may_be_introspected(),
        assertions: server.takes_assertions(),
    })
}

pub async fn jwks(context: Context) -> Response {
    document(&*context.gateway.keys.jwks())
}

/// A document of the gateway, as caches may keep it.
pub(super) fn document<T: Serialize>(body: &T) -> Response {
    // The same URL answers differently by Host, or what a trusted proxy says in its place; so a cache in between must
    // tell them apart.
    let vary = HeaderValue::from_static("Host, Forwarded, X-Forwarded-Host");
    let headers = [(header::CACHE_CONTROL, MAX_AGE), (header::VARY, vary)];
    (StatusCode::OK, headers, Json(body)).into_response()
}
