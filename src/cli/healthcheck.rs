//! `doorward healthcheck`: for a container.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Exit 0 when /readyz of the local gateway answers 200
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// Where the gateway listens; a wildcard address means this machine
    #[arg(long, env = "DOORWARD_LISTEN", value_name = "ADDR", value_delimiter = ',', default_value = "127.0.0.1:9000")]
    pub listen: Vec<SocketAddr>,
    /// As the gateway's own
    #[arg(long, env = "DOORWARD_PROXY_PROTOCOL")]
    pub proxy_protocol: bool,
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks once; a gateway with a certificate of its own does not answer without TLS, and is asked again with it.
///
/// # Errors
/// When nothing answers.
pub fn run(args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let mut address = *args.listen.first().context("no address to ask")?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let connect = || -> anyhow::Result<TcpStream> {
        let mut stream =
            TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("{address} does not answer"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        if args.proxy_protocol {
            stream.write_all(b"PROXY UNKNOWN\r\n")?;
        }
        Ok(stream)
    };
    let ready = match is_ready(connect()?) {
        Some(ready) => ready,
        None => is_ready(StreamOwned::new(tls()?, connect()?))
            .with_context(|| format!("{address} speaks neither http nor https"))?,
    };
    if !ready {
        eprintln!("{address} is not ready");
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `None` when what answers is no HTTP.
fn is_ready(mut stream: impl Read + Write) -> Option<bool> {
    let mut head = [0u8; 12];
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    stream.read_exact(&mut head).ok()?;
    head.starts_with(b"HTTP/1.1 ").then(|| head.ends_with(b"200"))
}

fn tls() -> anyhow::Result<ClientConnection> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?)
}

/// The certificate is for other names than this machine's, and nothing is told to whoever shows it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
