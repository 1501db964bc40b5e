//! The endpoints, over HTTP, one file for each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "../support/fake_asserting_idp.rs"]
mod fake_asserting_idp;
#[path = "../support/fake_authkit.rs"]
mod fake_authkit;
#[path = "../support/fake_oidc.rs"]
mod fake_oidc;
#[path = "../support/fake_upstream.rs"]
mod fake_upstream;
#[path = "../support/fake_workos.rs"]
mod fake_workos;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;

use support::ports;

mod access;
mod account;
mod assertion_subjects;
mod assertions;
mod attacks;
mod audit;
mod authkit;
mod authorize;
mod challenge;
mod client_authentication;
mod connections;
mod consent;
mod consent_attacks;
mod consent_scopes;
mod discovery;
mod documents;
mod fuzz_replay;
mod introspect;
mod journey;
mod keys;
mod limits;
mod logs;
mod metrics;
mod oidc_login;
mod options;
mod pages;
mod pages_elsewhere;
mod provider_journeys;
mod real_clients;
mod refresh;
mod register;
mod replicas;
mod request_ids;
mod revocation;
mod scopes;
mod session_sync;
mod step_up;
mod storage;
mod token;
mod uniform;
mod upstream_assertions;
mod upstream_tls;
