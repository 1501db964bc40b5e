//! The double of an MCP server that wants OAuth as a program, for trying `mcp-token-exchange-inbound` without an account:
//! `cargo run --example fake_upstream -- --port 4200`

#[path = "../tests/support/fake_upstream.rs"]
mod fake_upstream;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Parser;

/// An MCP server with its own authorization server, which signs in Ada, or whom it is told to. Prints where it is, and
/// where it takes orders (`tests/support/fake_upstream/control.rs`).
#[derive(Parser)]
struct Arguments {
    /// Loopback port; 0 takes a free one.
    #[arg(long, default_value_t = 4200)]
    port: u16,
}

#[tokio::main]
async fn main() {
    let address = SocketAddr::from(([127, 0, 0, 1], Arguments::parse().port));
    let double = Arc::new(fake_upstream::FakeUpstream::start_on(address).await);
    let control = double.take_orders().await;
    println!("{}", serde_json::json!({ "url": double.mcp_url(), "issuer": double.issuer(), "control": control }));
    std::future::pending::<()>().await;
}
