//! The OAuth wire vocabulary: what the RFCs name, parsed and checked, without I/O or state.
//!
//! Each file follows one RFC, named in its head. Must not know where a value comes from or goes to.

pub mod authorization;
pub mod bearer;
pub mod challenge;
pub mod client_id_metadata;
pub mod client_metadata;
pub mod introspection;
pub mod metadata;
pub mod params;
pub mod pkce;
pub mod redirect_uri;
pub mod registration;
pub mod resource;
pub mod scope;
pub mod server_metadata;
pub mod token;
pub mod token_answer;
