//! The AuthKit double as a program, for trying direct mode without an account:
//! `cargo run --example fake_authkit -- --resource http://localhost:9000/mcp/linear`

#[path = "../tests/support/fake_authkit.rs"]
mod fake_authkit;

use clap::Parser;

/// A double of AuthKit at which clients register, and which signs in Ada.
#[derive(Parser)]
struct Arguments {
    /// An MCP resource indicator; repeatable
    #[arg(long)]
    resource: Vec<String>,
}

#[tokio::main]
async fn main() {
    let fake = fake_authkit::FakeAuthKit::start().await;
    Arguments::parse().resource.iter().for_each(|resource| fake.list_resource(resource));
    println!(
        "{}",
        serde_json::json!({
            "url": fake.base(), "apiKey": fake_authkit::API_KEY, "clientId": fake_authkit::ENVIRONMENT,
        })
    );
    fake.run().await;
}
