//! The data path, over real sockets: a client, the proxy, and an upstream that behaves as the test wants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod addresses;
mod admission;
mod audit;
mod connections;
mod credential_answers;
mod credential_ends;
mod credentials;
mod demo;
mod failures;
#[path = "../support/fake_upstream.rs"]
mod fake_upstream;
mod faults;
mod filter;
mod filter_answers;
mod header_policies;
mod http2;
mod identity;
mod keep_alive;
mod leaks;
mod metrics;
mod passing;
mod rate_limits;
mod sessions;
mod streams;
mod tls;
mod upstream;
mod wire;
mod world;
