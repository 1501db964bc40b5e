//! One behaviour suite for the store, run on SQLite and on PostgreSQL (STORE-4).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/postgres.rs"]
mod postgres;

mod accounts;
mod asserted;
mod audit;
mod behaviour;
mod connections;
mod floods;
mod login_sessions;
mod refreshing;
mod schema;
mod subject_tokens;
mod world;
