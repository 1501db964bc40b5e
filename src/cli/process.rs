//! The flags that `serve` and `dev` share (gateway.md §1), and what they are as values.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use secrecy::SecretString;

use crate::config::{self, ClientCertificate, Diagnostics, Env, Flags, Loaded, Mode};
use crate::crypto::KeyMaterial;
use crate::runtime::MetricsListen;
use crate::telemetry::LogFormat;

/// Beside the default port of the gateway, for this machine only.
const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9001);

/// Settings of the process.
#[derive(Debug, Clone, Args)]
pub struct ProcessArgs {
    /// Where the endpoints hang; the well-known documents and the routes stay where they are
    #[arg(long, env = "DOORWARD_BASE_PATH", default_value = "/", value_name = "PATH")]
    pub base_path: String,
    /// Proxies whose Forwarded and X-Forwarded-* headers count
    #[arg(long, env = "DOORWARD_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// A host that a client-id metadata document may come from although it resolves to a special-use network
    #[arg(long, env = "DOORWARD_CIMD_ALLOW", value_name = "HOST[=CIDR]", value_delimiter = ',', value_parser = cimd_allow)]
    pub cimd_allow: Vec<(String, Option<IpNet>)>,
    /// A special-use network in which the authorization server of an upstream may stand
    #[arg(long, env = "DOORWARD_UPSTREAM_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    pub upstream_allow: Vec<IpNet>,
    /// Extra trust roots for outgoing TLS, as PEM
    #[arg(long, env = "DOORWARD_OUTBOUND_CA_FILE", value_name = "FILE", value_delimiter = ',')]
    pub outbound_ca_file: Vec<PathBuf>,
    /// A fixed address for a host of the control path (split DNS, tests)
    #[arg(long, env = "DOORWARD_OUTBOUND_RESOLVE", value_name = "HOST:PORT=ADDR", value_delimiter = ',', value_parser = outbound_resolve)]
    pub outbound_resolve: Vec<(String, u16, SocketAddr)>,
    /// How events are written
    #[arg(long, env = "DOORWARD_LOG_FORMAT", value_name = "FORMAT", value_parser = log_format())]
    pub log_format: Option<LogFormat>,
    /// A level, or a filter such as info,doorward=debug
    #[arg(long, env = "DOORWARD_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,
    /// Seconds that requests under way get to finish at shutdown
    #[arg(long, env = "DOORWARD_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 10)]
    pub drain_timeout: u64,
    /// Connections at once
    #[arg(long, env = "DOORWARD_MAX_CONNECTIONS", value_name = "N", default_value_t = 20_000)]
    pub max_connections: usize,
    /// Calls and event streams at once
    #[arg(long, env = "DOORWARD_MAX_STREAMS", value_name = "N", default_value_t = 10_000)]
    pub max_streams: usize,
    /// Address of `GET /metrics`, away from the public listener, or `off` [default: 127.0.0.1:9001]
    #[arg(long, env = "DOORWARD_METRICS_LISTEN", value_name = "ADDR|off", value_parser = metrics_address)]
    pub metrics_listen: Option<MetricsAddress>,
    /// Bytes of the largest request body; a route may take less
    #[arg(long, env = "DOORWARD_MAX_BODY_BYTES", value_name = "BYTES", default_value_t = 4 * 1024 * 1024)]
    pub max_body_bytes: u64,
    #[command(flatten)]
    pub folderless: FolderlessArgs,
}

/// Where metrics are served, as somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAddress {
    Off,
    At(SocketAddr),
}

impl ProcessArgs {
    /// By default on loopback, as long as nobody else is there.
    #[must_use]
    pub fn metrics(&self) -> Option<MetricsListen> {
        match self.metrics_listen {
            None => Some(MetricsListen { address: DEFAULT_METRICS, asked_for: false }),
            Some(MetricsAddress::Off) => None,
            Some(MetricsAddress::At(address)) => Some(MetricsListen { address, asked_for: true }),
        }
    }
}

/// A start without a config folder.
#[derive(Debug, Clone, Args)]
pub struct FolderlessArgs {
    /// WorkOS client id, client_…
    #[arg(long, env = "WORKOS_CLIENT_ID", value_name = "ID", hide_env_values = true)]
    pub workos_client_id: Option<String>,
    /// WorkOS API key, sk_…; read from `WORKOS_API_KEY` as well
    #[arg(long, env = "WORKOS_CLIENT_SECRET", value_name = "KEY", hide_env_values = true)]
    pub workos_client_secret: Option<String>,
    /// Another WorkOS API host
    #[arg(long, env = "WORKOS_API_URL", value_name = "URL")]
    pub workos_api_url: Option<String>,
    /// Leave sign-in to this AuthKit domain, such as name.authkit.app: clients register and sign in there
    #[arg(long, env = "DOORWARD_AUTHKIT_DOMAIN", value_name = "DOMAIN")]
    pub authkit_domain: Option<String>,
    /// Put this MCP server behind /mcp/SLUG; repeatable (in the environment: with blanks between), and stands in for
    /// the config folder
    #[arg(long = "server", env = "DOORWARD_SERVER", value_name = "SLUG=URL", value_delimiter = ' ')]
    pub servers: Vec<String>,
}

impl FolderlessArgs {
    /// The flags, completed from the environment (and `.env`, in `dev`).
    #[must_use]
    pub fn flags(&self, env: &dyn Env) -> Flags {
        let secret = self
            .workos_client_secret
            .clone()
            .or_else(|| env.get("WORKOS_CLIENT_SECRET"))
            .or_else(|| env.get("WORKOS_API_KEY"));
        Flags {
            workos_client_id: self.workos_client_id.clone().or_else(|| env.get("WORKOS_CLIENT_ID")),
            workos_client_secret: secret.map(SecretString::from),
            workos_api_url: self.workos_api_url.clone().filter(|url| !url.is_empty()),
            authkit_domain: self
                .authkit_domain
                .clone()
                .or_else(|| env.get("DOORWARD_AUTHKIT_DOMAIN"))
                .filter(|domain| !domain.is_empty()),
            servers: self.servers.iter().filter(|server| !server.is_empty()).cloned().collect(),
        }
    }
}

/// The configuration: from the flags when `--server` is given or there is no folder to read in `dev`, else
/// from the folder.
///
/// # Errors
/// Every problem at once.
pub fn load(
    folder: &std::path::Path,
    folderless: &FolderlessArgs,
    env: &dyn Env,
    mode: Mode,
) -> Result<Loaded, Diagnostics> {
    let flags = folderless.flags(env);
    let empty = mode == Mode::Dev && !folder.is_dir();
    if flags.replace_folder() || empty {
        return config::from_flags(&flags, mode);
    }
    let loaded = config::load(folder, env, mode)?;
    let certificates = loaded.config.routes.iter().filter_map(|route| route.proxy.client_certificate.as_ref());
    certificates.filter_map(ClientCertificate::file).for_each(warn_if_others_can_read);
    Ok(loaded)
}

/// The keys of `--secret-key` and `--secret-key-file`, in that order.
///
/// # Errors
/// When one is not 32 bytes in base64, or a file cannot be read.
pub fn secret_keys(values: &[String], files: &[PathBuf]) -> anyhow::Result<Vec<KeyMaterial>> {
    let mut keys = Vec::new();
    for value in values {
        keys.push(key_material(value).context("--secret-key")?);
    }
    for file in files {
        warn_if_others_can_read(file);
        let text = std::fs::read_to_string(file).with_context(|| format!("--secret-key-file {}", file.display()))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            keys.push(key_material(line).with_context(|| format!("--secret-key-file {}", file.display()))?);
        }
    }
    Ok(keys)
}

/// SEC-8: says so when a file with secrets in it is open to other accounts of the machine.
pub fn warn_if_others_can_read(file: &Path) {
    if others_can_read(file) {
        tracing::warn!(
            event = "secret_file_open",
            file = %file.display(),
            "other accounts of this machine can read a file with secrets in it: chmod 600"
        );
    }
}

fn others_can_read(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// 32 bytes in base64, of either alphabet, padded or not.
///
/// # Errors
/// For anything else; the text is not repeated.
pub fn key_material(text: &str) -> anyhow::Result<KeyMaterial> {
    let plain = text.trim().trim_end_matches('=').replace('-', "+").replace('_', "/");
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(plain).ok();
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(KeyMaterial::new).context("must be 32 bytes in base64, as `openssl rand -base64 32` makes them")
}

/// `/` or `/prefix/`.
///
/// # Errors
/// For a path that could not stand in a URL as it is.
pub fn base_path(text: &str) -> anyhow::Result<String> {
    let trimmed = text.trim_matches('/');
    let plain = trimmed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/.~".contains(&byte));
    if !plain || trimmed.split('/').any(|segment| matches!(segment, "." | "..")) || trimmed.contains("//") {
        bail!("--base-path {text}: letters, digits, `-`, `_`, `.`, `~` and single slashes only, such as /__zuplo");
    }
    Ok(if trimmed.is_empty() { "/".to_owned() } else { format!("/{trimmed}/") })
}

#[must_use]
pub fn drain_timeout(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(3600))
}

/// `pretty` or `json`.
fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["pretty", "json"]).map(|name| match name.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Pretty,
    })
}

fn metrics_address(text: &str) -> Result<MetricsAddress, String> {
    match text {
        "off" => Ok(MetricsAddress::Off),
        address => address
            .parse()
            .map(MetricsAddress::At)
            .map_err(|_| "must be an address such as 127.0.0.1:9001, or `off`".to_owned()),
    }
}

fn cimd_allow(text: &str) -> Result<(String, Option<IpNet>), String> {
    match text.split_once('=') {
        None if !text.is_empty() => Ok((text.to_owned(), None)),
        Some((host, network)) if !host.is_empty() => {
            let network = network.parse().map_err(|_| format!("{network} is not a network such as 10.0.0.0/8"))?;
            Ok((host.to_owned(), Some(network)))
        }
        _ => Err("must be HOST or HOST=CIDR".to_owned()),
    }
}

fn outbound_resolve(text: &str) -> Result<(String, u16, SocketAddr), String> {
    const FORM: &str = "must be HOST:PORT=ADDR, such as api.example.com:443=10.0.0.5:8443";
    let (target, address) = text.split_once('=').ok_or(FORM)?;
    let (host, port) = target.rsplit_once(':').ok_or(FORM)?;
    let port: u16 = port.parse().map_err(|_| FORM)?;
    let address = match address.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => SocketAddr::new(address.parse().map_err(|_| FORM)?, port),
    };
    Ok((host.to_owned(), port, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_brought_into_one_form() {
        for (text, path) in [("/", "/"), ("", "/"), ("/__zuplo", "/__zuplo/"), ("a/b/", "/a/b/")] {
            assert_eq!(base_path(text).unwrap(), path);
        }
        for bad in ["/a b", "/a/../b", "/a%2f", "/{x}", "/a//b"] {
            assert!(base_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_key_is_32_bytes_in_base64() {
        let key = base64::engine::general_purpose::STANDARD.encode([7u8; 32]);
        assert_eq!(key_material(&key).unwrap().as_bytes(), &[7; 32]);
        assert_eq!(key_material(&format!("{key}\n")).unwrap().as_bytes(), &[7; 32]);
        for bad in ["", "abc", &key[4..], "not base64!"] {
            let error = key_material(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad));
        }
    }

    #[test]
    fn fixed_addresses_and_allowed_hosts_are_parsed() {
        assert_eq!(
            outbound_resolve("a.example:443=127.0.0.1:8443").unwrap(),
            ("a.example".to_owned(), 443, "127.0.0.1:8443".parse().unwrap())
        );
        assert_eq!(outbound_resolve("a.example:443=127.0.0.1").unwrap().2, "127.0.0.1:443".parse().unwrap());
        assert!(outbound_resolve("a.example=127.0.0.1").is_err());
        assert_eq!(cimd_allow("a.example").unwrap(), ("a.example".to_owned(), None));
        assert!(cimd_allow("a.example=10.0.0.0/8").unwrap().1.is_some());
        assert!(cimd_allow("a.example=ten").is_err());
    }

    // SEC-8
    #[test]
    fn a_file_that_other_accounts_can_read_is_told_from_one_that_only_its_owner_and_group_can() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o604, true), (0o644, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(others_can_read(file.path()), open, "{mode:o}");
        }
        assert!(!others_can_read(Path::new("/there/is/no/such/file")));
    }
}
