//! The endpoints, over HTTP, one file for each.

#[path = "../support/mod.rs"]
mod support;

mod journey;
mod refresh;
mod token;
