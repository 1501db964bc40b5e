//! The real binary: what survives a crash, and what operators do to a running gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![allow(clippy::disallowed_methods, reason = "a test drives processes and waits for them")]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/fake_upstream.rs"]
mod fake_upstream;
#[path = "../support/fake_workos.rs"]
mod fake_workos;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../proxy/upstream.rs"]
#[allow(dead_code, reason = "each test target uses its own part")]
mod upstream;

mod crashes;
mod examples;
mod metrics;
mod operators;
mod person;
mod process;
mod starting;
mod stopping;
mod tls;
mod upstream_credentials;
mod zuplo;
