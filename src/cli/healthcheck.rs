//! `doorward healthcheck`: for a container.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

/// Exit 0 when /readyz of the local gateway answers 200
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// Where the gateway listens; a wildcard address means this machine
    #[arg(long, env = "DOORWARD_LISTEN", value_name = "ADDR", value_delimiter = ',', default_value = "127.0.0.1:9000")]
    pub listen: Vec<SocketAddr>,
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks once.
///
/// # Errors
/// When nothing answers.
pub fn run(args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let mut address = *args.listen.first().context("no address to ask")?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let mut stream =
        TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("{address} does not answer"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0u8; 12];
    stream.read_exact(&mut head).with_context(|| format!("{address} does not speak http"))?;
    if &head[..] == b"HTTP/1.1 200" {
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("{address} is not ready");
        Ok(ExitCode::FAILURE)
    }
}
