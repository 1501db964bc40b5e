//! `doorward`: a company's login in front of any MCP server.

pub mod config;
pub mod crypto;
pub mod domain;
pub mod identity;
pub mod oauth;
