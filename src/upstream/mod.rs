//! The credentials that servers behind want (gateway.md §8): how the gateway comes to hold an access token for an
//! upstream, for each person or for all, and keeps it alive.
//!
//! Owns the conversation with the authorization servers of upstreams (MCP authorization, client side; RFC 9728, 8414,
//! 7591, 6749) and the sealed tokens. Must not know pages or the requests of MCP.

pub mod authorization_request;
pub mod client_metadata;
pub mod discovery;
pub mod registration;
pub mod token_request;
