//! The properties that hold for every input, one module for each place where strangers' bytes come in.
//!
//! `fuzz_targets/` runs them under libFuzzer, `tests/endpoints/fuzz_replay.rs` over the corpora that are checked in.
//! A broken property panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken property stops the run")]

pub mod authorize_query;
pub mod bearer_header;
pub mod config_files;
pub mod filtered_answer;
pub mod metadata_document;
pub mod posted_message;
pub mod redirect_uri;
pub mod registration_body;
pub mod session_envelope;
pub mod token_form;
pub mod upstream_answer;
mod world;

/// Runs one input.
pub type Run = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Run); 11] = [
    ("authorize_query", authorize_query::run),
    ("bearer_header", bearer_header::run),
    ("config_files", config_files::run),
    ("filtered_answer", filtered_answer::run),
    ("metadata_document", metadata_document::run),
    ("posted_message", posted_message::run),
    ("redirect_uri", redirect_uri::run),
    ("registration_body", registration_body::run),
    ("session_envelope", session_envelope::run),
    ("token_form", token_form::run),
    ("upstream_answer", upstream_answer::run),
];
