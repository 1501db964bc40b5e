//! `doorward`: a company's login in front of any MCP server.
//!
//! A map of the crate. `docs/architecture.md` walks through it; `tests/layering.rs` reads the two tables
//! below and holds every `use crate::…`, and every path, in `src/` against them.
//!
//! A room may use the rooms of every layer below its own, and of its own layer only those named beside it.
//! Layer 0 is the pure core: three vocabularies that speak of each other's plain values. Layers 0 and 1 have
//! no async and no I/O, but for `config`, which reads its files. Unit tests at the end of a module are free.
//!
//! | layer | room | beside | owns |
//! |---|---|---|---|
//! | 0 | `crypto` | `domain` | secrets, their hashes, sealing, derivation |
//! | 0 | `oauth` | `crypto` `domain` | the words of OAuth on the wire |
//! | 0 | `mcp` | | the words of MCP on the wire |
//! | 0 | `domain` | `crypto` `oauth` | what the gateway remembers and its legal transitions; clock, randomness |
//! | 1 | `config` | | the config folder or its flags, as one valid `GatewayConfig` |
//! | 2 | `store` | | every record and every line of SQL |
//! | 2 | `keys` | `store` `telemetry` | signing keys, JWKS, access tokens made and verified |
//! | 2 | `outbound` | | fetching URLs that strangers name |
//! | 2 | `identity` | | the conversation with the identity provider |
//! | 2 | `telemetry` | `store` | how events are written, the audit trail, what is counted |
//! | 3 | `access` | | who may use what |
//! | 3 | `upstream` | | the credentials that servers behind want |
//! | 3 | `authorization` | `access` `upstream` | the authorization server, free of HTTP |
//! | 3 | `proxy` | `access` `upstream` | the way to the MCP servers: authenticate, strip, forward |
//! | 3 | `demo` | | the MCP server that `dev` brings along |
//! | 4 | `web` | | the URL table, endpoints, pages |
//! | 5 | `runtime` | | listener, signals, background work |
//! | 5 | `cli` | `runtime` | one file per subcommand |
//!
//! | crate | stands only in |
//! |---|---|
//! | `sqlx` | `store` |
//! | `axum` | `web` `runtime` |
//! | `axum_extra` | `web` |
//! | `reqwest` | `outbound` `identity` |
//! | `hyper_rustls` | `proxy` |
//! | `hyper_util::client` | `proxy` |
//! | `rmcp` | `demo` |
//! | `askama` | `web` |
//! | `clap` | `cli` |

pub mod access;
pub mod authorization;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod demo;
pub mod domain;
pub mod identity;
pub mod keys;
pub mod mcp;
pub mod oauth;
pub mod outbound;
pub mod proxy;
pub mod runtime;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod web;
