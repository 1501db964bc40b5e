//! Real clients, real suites, a real browser, against the built binary.
//!
//! These tests are ignored by a plain `cargo test`: they need the clients that `./test` installs in
//! `DOORWARD_TEST_SCRATCH` (default `target/interop`), and `./test` runs them. Each test starts everything it needs
//! on free loopback ports and stops it, by its process id, when it ends.
//!
//! | file | owns |
//! |---|---|
//! | `process.rs` | children with bounded waits |
//! | `world.rs` | provider, upstreams and gateway of one test |
//! | `assertions.rs` | official clients that bring an identity assertion |
//! | `clients.rs` | official clients × login providers |
//! | `identity.rs` | the MCP servers of `examples/` that verify who calls |
//! | `keycloak.rs` | a Keycloak server, behind the generic policy and behind its own |
//! | `rmcp_client.rs` | the official Rust client, in process |
//! | `schemas.rs` | the printed JSON Schemas in somebody else's validator |
//! | `upstreams.rs` | servers behind that want OAuth themselves |
//! | `suites.rs` | conformance, the browser, documents as client ids |

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness outside the gateway: it reads the environment, waits for processes, and says what it expects by stopping"
)]

mod assertions;
mod clients;
mod filter;
mod identity;
mod keycloak;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/postgres.rs"]
mod postgres;
mod process;
mod rmcp_client;
mod schemas;
mod suites;
mod upstreams;
mod world;
