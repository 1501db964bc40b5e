//! HTTP: the URL table, one file per endpoint, pages, and the one place where errors become responses.
//!
//! Owns axum, cookies, headers and status codes. Decides nothing about OAuth or MCP: every endpoint calls one
//! use case of `authorization/` or `proxy/` and puts its outcome on the wire.

mod admission;
mod cookie;
mod counting;
mod endpoints;
mod extract;
mod gateway;
mod origin;
pub mod pages;
mod respond;
mod router;
mod service;

pub use admission::Context;
pub use gateway::{Development, Gateway, SharedGateway};
pub use origin::{OriginError, Origins};
pub use service::{Answer, MetricsWeb, Web};
