//! The config folder: `policies.json`, a line of `=` signs, `routes.oas.json`, and the whole way that `doorward check`
//! takes with them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use doorward::config::{self, Diagnostics, Loaded, Mode};

const SECRET: &str = "sk_live_never_shown";
const BETWEEN: &[u8] = b"\n====\n";

/// One folder for the life of the process; the lock keeps the tests of one process from sharing it at once.
static FOLDER: LazyLock<Mutex<(tempfile::TempDir, PathBuf)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir(&config).unwrap();
    Mutex::new((folder, config))
});

pub fn run(data: &[u8]) {
    let at = data.windows(BETWEEN.len()).position(|window| window == BETWEEN).unwrap_or(data.len());
    let routes = data.get(at + BETWEEN.len()..).unwrap_or_default();
    let folder = FOLDER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::fs::write(folder.1.join("policies.json"), &data[..at]).unwrap();
    std::fs::write(folder.1.join("routes.oas.json"), routes).unwrap();
    let env = BTreeMap::from([
        ("ID".to_owned(), "client_01".to_owned()),
        ("SECRET".to_owned(), SECRET.to_owned()),
        ("EMPTY".to_owned(), String::new()),
    ]);
    for mode in [Mode::Check, Mode::Dev] {
        match config::load(&folder.1, &env, mode) {
            Ok(loaded) => is_usable(&loaded),
            Err(problems) => is_explained(&problems, &[&data[..at], routes]),
        }
    }
}

fn is_usable(loaded: &Loaded) {
    let mut seen = HashSet::new();
    for route in &loaded.config.routes {
        assert!(route.path.starts_with('/') && !route.path.contains(['{', '}', '%', '?', '#']), "{}", route.path);
        assert!(seen.insert(route.path.as_str()) & seen.insert(route.operation_id.as_str()), "{}", route.path);
        assert!(["http", "https"].contains(&route.proxy.upstream.scheme()) && route.proxy.upstream.has_host());
        assert!(loaded.config.login.is_some() || route.proxy.public, "{} is open to everyone", route.path);
    }
    if let Some(login) = &loaded.config.login {
        let gateway = &login.gateway;
        assert!(gateway.scopes.contains_key("mcp:tools"));
        assert!(gateway.scopes.values().flatten().all(|implied| gateway.scopes.contains_key(implied)));
        assert!(gateway.default_route.iter().all(|path| seen.contains(path.as_str())));
        let ids: HashSet<_> = gateway.clients.iter().map(|client| &client.id).collect();
        assert_eq!(ids.len(), gateway.clients.len());
        assert!(
            gateway
                .clients
                .iter()
                .all(|client| client.is_public() || client.keys.is_some() || !client.secret_hashes.is_empty())
        );
        assert!(gateway.refresh_token_reuse.as_secs() <= 120);
    }
    assert!(!format!("{loaded:?}").contains(SECRET), "a configuration can be logged");
}

/// Every problem says where it is, in a place that exists, and shows no secret.
fn is_explained(diagnostics: &Diagnostics, files: &[&[u8]; 2]) {
    assert!(!diagnostics.problems.is_empty());
    for problem in &diagnostics.problems {
        assert!(!problem.message.is_empty());
        let Some(position) = &problem.position else { continue };
        let file = String::from_utf8_lossy(files[usize::from(problem.origin.ends_with("routes.oas.json"))]);
        let lines = file.split('\n').count();
        assert!((1..=lines).contains(&position.line), "{}: {position:?} of {lines} lines", problem.origin);
        assert!(position.column >= 1);
    }
    let sarif = diagnostics.to_sarif();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), diagnostics.problems.len());
    for report in [diagnostics.to_text(), diagnostics.to_json().to_string(), sarif.to_string()] {
        assert!(!report.contains(SECRET), "{report}");
    }
}
