//! The WorkOS double as a program, for trying the gateway without an account:
//! `cargo run --example fake_workos -- --port 4100`

#[path = "../tests/support/fake_workos.rs"]
mod fake_workos;

use std::net::SocketAddr;

use clap::Parser;

/// A double of WorkOS that signs in Alice, or whom `login_hint` names.
#[derive(Parser)]
struct Arguments {
    /// Loopback port; 0 takes a free one.
    #[arg(long, default_value_t = 4100)]
    port: u16,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let fake = fake_workos::FakeWorkOs::start_on(SocketAddr::from(([127, 0, 0, 1], arguments.port))).await;
    println!(
        "{}",
        serde_json::json!({ "url": fake.base(), "apiKey": fake_workos::API_KEY, "clientId": fake_workos::CLIENT_ID })
    );
    fake.run().await;
}
