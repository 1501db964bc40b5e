//! `/.well-known/…`: protected-resource metadata (RFC 9728), authorization-server metadata (RFC 8414) in all
//! its forms, and the keys. Answered from configuration alone: no provider and no upstream is asked (DISC-21).

use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, http::StatusCode};
use serde::Serialize;

use crate::authorization::AuthorizationServer;
use crate::config::model::Route;
use crate::oauth::metadata::{AuthorizationServerMetadata, Issuer, OpenIdConfiguration, ProtectedResourceMetadata};
use crate::web::admission::Context;
use crate::web::extract::Named;
use crate::web::respond;

/// Seconds a document may be kept.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The root form: answers when it is clear which route is meant (DISC-5).
pub async fn protected_resource(context: Context) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let mut routes = server.protected_routes();
    let route = match (routes.next(), routes.next(), &server.options().default_route) {
        (Some(only), None, _) => Some(only),
        (Some(_), Some(_), Some(default)) => server.route(default),
        _ => None,
    };
    match route {
        Some(route) => resource(&context, server, route),
        None => respond::not_found(&context),
    }
}

pub async fn protected_resource_at(context: Context, Named(route): Named) -> Response {
    protected_resource_of(&context, &format!("/{route}"))
}

/// The metadata of the route at a path (DISC-1, DISC-2, DISC-4).
pub fn protected_resource_of(context: &Context, path: &str) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(context) };
    match server.route(path) {
        Some(route) => resource(context, server, route),
        None => respond::not_found(context),
    }
}

fn resource(context: &Context, server: &AuthorizationServer, route: &Route) -> Response {
    let needed = server.needed_scopes(route);
    document(&ProtectedResourceMetadata::of(
        &context.origin,
        &route.path,
        route.display_name(),
        &context.origin,
        &needed,
    ))
}

pub async fn authorization_server(context: Context) -> Response {
    metadata(&context, None, |issuer| document(&AuthorizationServerMetadata::of(issuer)))
}

pub async fn authorization_server_at(context: Context, Named(route): Named) -> Response {
    metadata(&context, Some(&format!("/{route}")), |issuer| document(&AuthorizationServerMetadata::of(issuer)))
}

pub async fn openid_configuration(context: Context) -> Response {
    metadata(&context, None, |issuer| document(&OpenIdConfiguration::of(issuer)))
}

pub async fn openid_configuration_at(context: Context, Named(route): Named) -> Response {
    openid_configuration_of(&context, &format!("/{route}"))
}

/// The same document below a route's own path (DISC-8).
pub fn openid_configuration_of(context: &Context, path: &str) -> Response {
    metadata(context, Some(path), |issuer| document(&OpenIdConfiguration::of(issuer)))
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

fn document<T: Serialize>(body: &T) -> Response {
    // The same URL answers differently by Host, or what a trusted proxy says in its place; so a cache in between must
    // tell them apart.
    let vary = HeaderValue::from_static("Host, Forwarded, X-Forwarded-Host");
    let headers = [(header::CACHE_CONTROL, MAX_AGE), (header::VARY, vary)];
    (StatusCode::OK, headers, Json(body)).into_response()
}
