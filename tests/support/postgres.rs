//! A PostgreSQL server of this test process alone, and a fresh database for each test.
//!
//! Owns a server in a temporary folder on a loopback port, without durability. It runs under a shell that waits for
//! its standard input to end: when the test process is gone, however it went, the server is stopped and its folder
//! removed. PostgreSQL refuses to run as root, so root starts it as `nobody`.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support, used in part by each suite"
)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Starts the server, says `ready`, and ends with its input. `$1`: folder of the programs, `$2`: port.
const SCRIPT: &str = r#"
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/doorward-postgres.XXXXXX")
server=
trap '[ -z "$server" ] || { kill -INT "$server" && wait "$server" || true; }; rm -rf "$folder"' EXIT
cd "$folder"
"$1/initdb" --no-sync --auth=trust --username=doorward --encoding=UTF8 --locale=C.UTF-8 data >init.log 2>&1 ||
    { cat init.log >&2; exit 1; }
"$1/postgres" -D data -p "$2" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off >server.log 2>&1 &
server=$!
tries=0
until "$1/pg_isready" -q -h 127.0.0.1 -p "$2"; do
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] && kill -0 "$server" || { cat server.log >&2; exit 1; }
    sleep 0.1
done
echo ready
cat >/dev/null || true
"#;

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    programs: PathBuf,
    databases: AtomicU32,
    creating: Mutex<()>,
    /// Holds the pipe whose end stops the server.
    _shell: Child,
}

impl Postgres {
    /// The server of this test process, started at the first call.
    ///
    /// # Errors
    /// Says what is missing: the programs of PostgreSQL (`./test` installs them), or why they did not start.
    pub fn shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().map_err(Clone::clone)
    }

    /// The URL of a new, empty database.
    #[must_use]
    pub fn new_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let _one_at_a_time = self.creating.lock().expect("no panic while creating");
        let done = Command::new(self.programs.join("createdb"))
            .args(["-h", "127.0.0.1", "-U", "doorward", "-p"])
            .args([&self.port.to_string(), &name])
            .output()
            .expect("createdb runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "createdb {name}: {said}");
        format!("postgres://doorward@127.0.0.1:{}/{name}", self.port)
    }

    fn start() -> Result<Self, String> {
        let programs = programs()?;
        let port = super::ports::free_port();
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "nobody", "--", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        let mut shell = command
            .args(["-c", SCRIPT, "postgres"])
            .arg(&programs)
            .arg(port.to_string())
            .current_dir("/")
            .env_remove("TMPDIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start PostgreSQL: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = shell.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        if line.trim() != "ready" {
            return Err("PostgreSQL did not start; its log is above".to_owned());
        }
        Ok(Self { port, programs, databases: AtomicU32::new(0), creating: Mutex::new(()), _shell: shell })
    }
}

/// The newest installed `/usr/lib/postgresql/*/bin`, where Debian keeps the server's programs.
fn programs() -> Result<PathBuf, String> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let folder = entry.ok()?;
            let version = folder.file_name().to_str()?.parse().ok()?;
            Some((version, folder.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    found.sort();
    found
        .pop()
        .map(|(_, programs)| programs)
        .ok_or_else(|| "PostgreSQL is not installed: run ./test, or install `postgresql`".to_owned())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
