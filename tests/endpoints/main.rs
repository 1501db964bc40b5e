//! The endpoints, over HTTP, one file for each.

#[path = "../support/mod.rs"]
mod support;

mod authorize;
mod consent;
mod discovery;
mod journey;
mod refresh;
mod register;
mod token;
