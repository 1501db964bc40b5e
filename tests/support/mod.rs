//! What the tests share.
#![allow(dead_code, reason = "each test target uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

pub mod browser;
pub mod document_host;
pub mod flow;
pub mod gateway;
pub mod ports;
