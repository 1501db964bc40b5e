//! The identity providers, each against a double that can fail and lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it cannot go on")]

#[path = "../support/fake_asserting_idp.rs"]
mod fake_asserting_idp;
#[path = "../support/fake_oidc.rs"]
mod fake_oidc;
#[path = "../support/fake_upstream.rs"]
mod fake_upstream;
#[path = "../support/fake_workos.rs"]
mod fake_workos;
mod id_token;
mod oidc;
mod upstream;
mod upstream_assertions;
mod upstream_connections;
mod upstream_double;
mod workos;
