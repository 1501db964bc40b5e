//! `doorward dev`: the whole thing on one's own machine.

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use clap::Args;

use super::process::{self, ProcessArgs};
use crate::config::model::{GatewayConfig, LoginProvider};
use crate::config::{Mode, ProcessEnv};
use crate::crypto::KeyMaterial;
use crate::domain::SystemRandom;
use crate::runtime::{self, ConfigSource, DevelopmentSettings, Settings};
use crate::telemetry::{self, LogFormat};
use crate::web::Origins;

/// Run everything on this machine: loopback only, a development login, a demo server, no set-up
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// The project folder: its config/, .env and .doorward/
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// The config folder, when it is not DIR/config
    #[arg(long, value_name = "DIR", env = "DOORWARD_CONFIG_DIR")]
    pub config_dir: Option<PathBuf>,
    /// Loopback address to listen on; repeatable
    #[arg(long, env = "DOORWARD_LISTEN", value_name = "ADDR", value_delimiter = ',', default_values = ["127.0.0.1:9000", "[::1]:9000"])]
    pub listen: Vec<SocketAddr>,
    /// A loopback origin that it is reached at beside those of its addresses, such as the near end of a tunnel; repeatable
    #[arg(long, env = "DOORWARD_PUBLIC_URL", value_name = "URL", value_delimiter = ',')]
    pub public_url: Vec<String>,
    /// Pass login and consent without a page, for test suites that cannot click
    #[arg(long)]
    pub auto_approve: bool,
    /// Another database than DIR/.doorward/doorward.db
    #[arg(long, env = "DOORWARD_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    #[command(flatten)]
    pub process: ProcessArgs,
}

/// Runs until told to stop.
///
/// # Errors
/// With a text for people, before anything is served.
pub fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    if let Some(open) = args.listen.iter().find(|address| !address.ip().is_loopback()) {
        bail!("dev is for this machine only: --listen {open} is not a loopback address; use `doorward serve`");
    }
    if let Some(open) = args.process.metrics().filter(|listen| !listen.address.ip().is_loopback()) {
        bail!("dev is for this machine only: --metrics-listen {} is not a loopback address", open.address);
    }
    if let Some(open) = args.public_url.iter().find(|url| !is_loopback(url)) {
        bail!(
            "dev is for this machine only: --public-url {open} is not a loopback origin such as http://localhost:9000; \
             leave it out (DOORWARD_PUBLIC_URL counts too), or use `doorward serve`"
        );
    }
    let format = args.process.log_format.unwrap_or(LogFormat::Pretty);
    let _log = telemetry::start(format, &args.process.log_level).map_err(anyhow::Error::msg)?;
    let home = home(&args.dir)?;
    let folder = args.config_dir.clone().unwrap_or_else(|| args.dir.join("config"));
    let load = {
        let (folder, folderless, dotenv) = (folder.clone(), args.process.folderless.clone(), args.dir.join(".env"));
        process::warn_if_others_can_read(&dotenv);
        move || {
            let env = ProcessEnv::with_dotenv(&std::fs::read_to_string(&dotenv).unwrap_or_default());
            process::load(&folder, &folderless, &env, Mode::Dev)
        }
    };
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprint!("{}", diagnostics.to_text());
            return Ok(ExitCode::FAILURE);
        }
    };
    let stand_in =
        loaded.config.login.as_ref().is_some_and(|login| matches!(login.provider, LoginProvider::Development));
    if args.auto_approve && !stand_in {
        bail!("--auto-approve stands in for the development login; unset the WorkOS credentials to use it");
    }
    let settings = settings(args, &home)?;
    let secret_keys = settings.secret_keys.clone();
    let source = ConfigSource {
        load: Box::new(load),
        secret_keys: Box::new(move || Ok(secret_keys.clone())),
        watch: vec![folder, args.dir.join(".env")],
    };
    let auto_approve = args.auto_approve;
    block_on(runtime::run(settings, loaded, source, |addresses, config| greet(addresses, config, auto_approve)))?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &DevArgs, home: &Path) -> anyhow::Result<Settings> {
    let database =
        args.database_url.clone().unwrap_or_else(|| format!("sqlite://{}", home.join("doorward.db").display()));
    Ok(Settings {
        listen: args.listen.clone(),
        public_urls: [public_urls(&args.listen), args.public_url.clone()].concat(),
        trusted_proxies: args.process.trusted_proxies.clone(),
        base_path: process::base_path(&args.process.base_path)?,
        database_url: database,
        secret_keys: vec![secret_key(home)?],
        cimd_allow: args.process.cimd_allow.clone(),
        upstream_allow: args.process.upstream_allow.clone(),
        outbound_ca_files: args.process.outbound_ca_file.clone(),
        outbound_resolve: args.process.outbound_resolve.clone(),
        tls: None,
        proxy_protocol: false,
        drain_timeout: process::drain_timeout(args.process.drain_timeout.min(2)),
        max_connections: args.process.max_connections,
        max_streams: args.process.max_streams,
        max_body: args.process.max_body_bytes,
        metrics: args.process.metrics(),
        development: Some(DevelopmentSettings { auto_approve: args.auto_approve }),
    })
}

fn is_loopback(url: &str) -> bool {
    Origins::new(&[url]).is_ok_and(|origins| origins.all_loopback())
}

/// `localhost` and the loopback addresses, on every port that is listened on.
fn public_urls(listen: &[SocketAddr]) -> Vec<String> {
    let mut ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let hosts = ["localhost", "127.0.0.1", "[::1]"];
    ports.iter().flat_map(|port| hosts.iter().map(move |host| format!("http://{host}:{port}"))).collect()
}

/// `DIR/.doorward/`, for this user only and out of version control.
fn home(dir: &Path) -> anyhow::Result<PathBuf> {
    let home = dir.join(".doorward");
    std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot protect {}", home.display()))?;
    }
    let ignore = home.join(".gitignore");
    if !ignore.exists() {
        write_private(&ignore, "*\n")?;
    }
    Ok(home)
}

/// The sealing key of the project's own store, made at the first start.
fn secret_key(home: &Path) -> anyhow::Result<KeyMaterial> {
    let path = home.join("secret.key");
    match std::fs::read_to_string(&path) {
        Ok(text) => process::key_material(&text).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyMaterial::generate(&SystemRandom);
            let text = base64::engine::general_purpose::STANDARD.encode(key.as_bytes());
            write_private(&path, &format!("{text}\n"))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// What a person needs next: the URL to paste, and the line for Claude Code.
fn greet(addresses: &[SocketAddr], config: &GatewayConfig, auto_approve: bool) {
    let port = addresses.first().map_or(9000, SocketAddr::port);
    let origin = format!("http://localhost:{port}");
    let login = match config.login.as_ref().map(|login| &login.provider) {
        Some(LoginProvider::WorkOs(_)) => "WorkOS",
        Some(LoginProvider::Oidc(options) | LoginProvider::AuthKit(options)) => &options.display_name,
        Some(LoginProvider::Development) => "the development login (no credentials are set)",
        None if config.direct.is_some() => "AuthKit (clients sign in there)",
        None => "none, every route is public",
    };
    let mut text = format!("\n  doorward is at {origin}\n  login: {login}\n");
    if auto_approve {
        text.push_str("  --auto-approve: everybody on this machine is let in as the admin, without a page\n");
    }
    for route in &config.routes {
        let slug = route.path.rsplit('/').next().unwrap_or_default();
        let (name, url) = (route.display_name(), format!("{origin}{}", route.path));
        text.extend([format!("\n  {name}\n    {url}\n    claude mcp add --transport http {slug} {url}\n")]);
    }
    println!("{text}");
}

/// Runs a future on a runtime of its own.
///
/// # Errors
/// The future's own, or that the system gives no threads.
pub fn block_on<E>(future: impl Future<Output = Result<(), E>>) -> anyhow::Result<()>
where
    E: Into<anyhow::Error>,
{
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(future).map_err(Into::into)
}
