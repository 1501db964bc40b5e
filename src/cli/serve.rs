//! `doorward serve`: production.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::process::{self, ProcessArgs};
use crate::config::{Mode, ProcessEnv};
use crate::runtime::{self, ConfigSource, Settings, TlsFiles};
use crate::telemetry::{self, LogFormat};

/// Serve in production: strict start-up checks, JSON logs; SIGTERM drains, SIGHUP reloads
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The folder with policies.json and the *.oas.json files
    #[arg(long, value_name = "DIR", env = "DOORWARD_CONFIG_DIR", default_value = "config")]
    pub config_dir: PathBuf,
    /// Address to listen on; repeatable
    #[arg(long, env = "DOORWARD_LISTEN", value_name = "ADDR", value_delimiter = ',', default_value = "0.0.0.0:9000")]
    pub listen: Vec<SocketAddr>,
    /// An origin that people and clients reach this gateway at; repeatable. The request's Host picks one
    #[arg(long, env = "DOORWARD_PUBLIC_URL", value_name = "URL", value_delimiter = ',', required = true)]
    pub public_url: Vec<String>,
    /// Certificate chain, as PEM
    #[arg(long, env = "DOORWARD_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, env = "DOORWARD_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Something in front ends TLS, so plain http is right on a public address
    #[arg(long, env = "DOORWARD_BEHIND_PROXY")]
    pub behind_proxy: bool,
    /// Connections begin with a header of the PROXY protocol, version 1 or 2, and are closed without one. When
    /// --trusted-proxies are given, only they may connect
    #[arg(long, env = "DOORWARD_PROXY_PROTOCOL")]
    pub proxy_protocol: bool,
    /// A SQLite file, or PostgreSQL (`postgres://…`) for several gateways
    #[arg(
        long,
        env = "DOORWARD_DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite://doorward.db",
        hide_env_values = true
    )]
    pub database_url: String,
    /// 32 random bytes in base64; repeatable: the first seals, all open
    #[arg(long, env = "DOORWARD_SECRET_KEY", value_name = "KEY", value_delimiter = ',', hide_env_values = true)]
    pub secret_key: Vec<String>,
    /// A file with such keys, one a line
    #[arg(long, env = "DOORWARD_SECRET_KEY_FILE", value_name = "FILE", value_delimiter = ',')]
    pub secret_key_file: Vec<PathBuf>,
    #[command(flatten)]
    pub process: ProcessArgs,
}

/// Runs until told to stop.
///
/// # Errors
/// With a text for people, before anything is served.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(args)?;
    let format = args.process.log_format.unwrap_or(LogFormat::Json);
    let _log = telemetry::start(format, &args.process.log_level).map_err(anyhow::Error::msg)?;
    let (folder, folderless) = (args.config_dir.clone(), args.process.folderless.clone());
    let load = move || process::load(&folder, &folderless, &ProcessEnv::default(), Mode::Serve);
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprint!("{}", diagnostics.to_text());
            return Ok(ExitCode::FAILURE);
        }
    };
    if args.behind_proxy && settings.trusted_proxies.is_empty() {
        tracing::warn!(
            event = "callers_unknown",
            "--behind-proxy without --trusted-proxies: everyone counts as one address, that of the proxy"
        );
    }
    let (values, files) = (args.secret_key.clone(), args.secret_key_file.clone());
    let secret_keys = move || process::secret_keys(&values, &files).map_err(|error| format!("{error:#}"));
    let source = ConfigSource { load: Box::new(load), secret_keys: Box::new(secret_keys), watch: Vec::new() };
    super::dev::block_on(runtime::run(settings, loaded, source, |addresses, config| {
        let listening = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::info!(event = "listening", addresses = listening, routes = config.routes.len());
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the flags against each other (OPS-2).
fn settings(args: &ServeArgs) -> anyhow::Result<Settings> {
    let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(certificate, key)| TlsFiles { certificate, key });
    let open = args.listen.iter().any(|address| !address.ip().is_loopback());
    if open && tls.is_none() && !args.behind_proxy {
        bail!(
            "plain http on a public address: give --tls-cert and --tls-key, or --behind-proxy when something in front \
             ends TLS, or listen on loopback only (--listen 127.0.0.1:9000)"
        );
    }
    let secret_keys = process::secret_keys(&args.secret_key, &args.secret_key_file)?;
    if secret_keys.is_empty() {
        bail!(
            "no --secret-key: give 32 random bytes in base64, as `openssl rand -base64 32` makes them, and keep them"
        );
    }
    Ok(Settings {
        listen: args.listen.clone(),
        public_urls: args.public_url.clone(),
        trusted_proxies: args.process.trusted_proxies.clone(),
        base_path: process::base_path(&args.process.base_path)?,
        database_url: args.database_url.clone(),
        secret_keys,
        cimd_allow: args.process.cimd_allow.clone(),
        upstream_allow: args.process.upstream_allow.clone(),
        outbound_ca_files: args.process.outbound_ca_file.clone(),
        outbound_resolve: args.process.outbound_resolve.clone(),
        tls,
        proxy_protocol: args.proxy_protocol,
        drain_timeout: process::drain_timeout(args.process.drain_timeout),
        max_connections: args.process.max_connections,
        max_streams: args.process.max_streams,
        max_body: args.process.max_body_bytes,
        metrics: args.process.metrics(),
        development: None,
    })
}
