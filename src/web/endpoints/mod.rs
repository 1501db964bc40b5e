//! One file per endpoint of the URL table.

pub mod account;
pub mod authorize;
pub mod callback;
pub mod client_document;
pub mod connections;
pub mod consent;
pub mod delegated;
pub mod dev_login;
pub mod discovery;
pub mod health;
pub mod introspect;
pub mod landing;
pub mod logout;
pub mod mcp;
pub mod metrics;
pub mod register;
pub mod revoke;
pub mod token;
