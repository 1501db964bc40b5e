//! What `serve` and `dev` refuse to start with (OPS-1, OPS-2, OPS-10), before they listen anywhere, and what they warn of.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::person::Person;
use crate::ports::free_port;
use crate::process::{Process, http};

const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn doorward(folder: &Path, args: &[&str]) -> (Output, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_doorward")).env_clear().current_dir(folder).args(args).output().unwrap();
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output, String::from_utf8(said).unwrap())
}

/// Three faults in two files: a misspelt key, a type that is none, a policy that is nowhere.
fn write_faults(folder: &Path) {
    let config = folder.join("config");
    std::fs::create_dir_all(&config).unwrap();
    let policies = r#"{ "policies": [{
  "name": "login",
  "policyType": "mcp-workos-oauth-inbound",
  "handler": { "options": {
    "clientId": "client_1", "clientSecret": "sk_1", "orgnizationId": "org_1",
    "gateway": { "cimdEnabled": "yes" }
  } }
}] }"#;
    let routes = r#"{ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": { "/mcp/one": { "post": {
  "operationId": "one",
  "x-zuplo-route": {
    "corsPolicy": "none",
    "handler": { "export": "McpProxyHandler", "options": { "rewritePattern": "https://mcp.example/mcp" } },
    "policies": { "inbound": ["logn"] }
  }
} } } }"#;
    std::fs::write(config.join("policies.json"), policies).unwrap();
    std::fs::write(config.join("routes.oas.json"), routes).unwrap();
}

// OPS-1
#[test]
fn check_and_serve_name_every_fault_with_its_place_and_the_nearest_spelling_and_fail() {
    let folder = tempfile::tempdir().unwrap();
    write_faults(folder.path());
    let serve = [
        "serve",
        "--secret-key",
        SECRET_KEY,
        "--listen",
        "127.0.0.1:0",
        "--public-url",
        "http://localhost:9000",
        "--metrics-listen",
        "off",
    ];
    for args in [&["check"][..], &serve] {
        let (output, said) = doorward(folder.path(), args);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for told in [
            "config/policies.json:5:",
            "did you mean `organizationId`?",
            "config/policies.json:6:",
            "cimdEnabled",
            "config/routes.oas.json:6:",
            "did you mean `login`?",
        ] {
            assert!(said.contains(told), "{args:?} does not say {told}:\n{said}");
        }
    }
}

// OPS-2
#[test]
fn plain_http_on_a_public_address_needs_the_word_that_something_in_front_ends_tls() {
    const REFUSAL: &str = "plain http on a public address";
    let folder = tempfile::tempdir().unwrap();
    // The start ends at the faults of the configuration, should it come that far.
    write_faults(folder.path());
    let serve = |listen: &[&str], more: &[&str]| {
        let mut args = vec!["serve", "--secret-key", SECRET_KEY, "--public-url", "https://gw.example"];
        args.extend(listen.iter().flat_map(|address| ["--listen", address]));
        args.extend(more);
        let (output, said) = doorward(folder.path(), &args);
        assert!(!output.status.success(), "{said}");
        said.contains(REFUSAL)
    };
    assert!(serve(&[], &[]), "the default address is a public one");
    assert!(serve(&["0.0.0.0:9000"], &[]));
    assert!(serve(&["[::]:9000"], &[]));
    assert!(serve(&["127.0.0.1:9000", "192.0.2.1:9000"], &[]), "one of them is enough");
    assert!(!serve(&["127.0.0.1:9000", "[::1]:9000"], &[]));
    assert!(!serve(&["0.0.0.0:9000"], &["--behind-proxy"]));
    assert!(!serve(&["0.0.0.0:9000"], &["--tls-cert", "cert.pem", "--tls-key", "key.pem"]));
}

// OPS-2
#[test]
fn a_public_url_of_plain_http_is_for_this_machine_only() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("policies.json"), r#"{ "policies": [] }"#).unwrap();
    let routes = r#"{ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": { "/mcp/one": { "post": {
        "operationId": "one", "x-zuplo-route": { "corsPolicy": "none", "handler": { "export": "McpProxyHandler",
        "options": { "rewritePattern": "https://mcp.example/mcp", "public": true } }, "policies": { "inbound": [] } } } } } }"#;
    std::fs::write(config.join("routes.oas.json"), routes).unwrap();
    for url in ["http://gw.example", "http://192.0.2.1:9000"] {
        let args = ["serve", "--secret-key", SECRET_KEY, "--listen", "127.0.0.1:0", "--public-url", url];
        let (output, said) = doorward(folder.path(), &args);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("must be https"), "{said}");
    }
}

// OPS-1
#[test]
fn what_keeps_a_gateway_from_starting_is_named_once_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("policies.json"), r#"{ "policies": [] }"#).unwrap();
    std::fs::write(config.join("routes.oas.json"), r#"{ "openapi": "3.1.0", "paths": {} }"#).unwrap();
    std::fs::write(folder.path().join("text.db"), "this is no database, although it is long enough to be one").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (more, complaint) in [
        (&["--listen", &address][..], format!("cannot listen on {address}: Address already in use")),
        (
            &["--database-url", "sqlite://none/doorward.db"],
            "--database-url: cannot open none/doorward.db.lock, or its folder is not there: No such file".to_owned(),
        ),
        (&["--database-url", "sqlite://text.db"], "the database of --database-url: ".to_owned()),
        (&["--database-url", "mysql://db"], "must start with sqlite:// or postgres://".to_owned()),
        (&["--outbound-ca-file", "none.pem"], "--outbound-ca-file none.pem: No such file".to_owned()),
        (&["--public-url", "gateway.example"], "--public-url `gateway.example` is not a URL such as".to_owned()),
        (&["--base-path", "/a b"], "--base-path /a b: letters, digits".to_owned()),
        (&["--metrics-listen", &address], format!("--metrics-listen {address}: Address already in use")),
    ] {
        let mut args = vec!["serve", "--secret-key", SECRET_KEY];
        for (flag, value) in
            [("--public-url", "https://gw.example"), ("--listen", "127.0.0.1:0"), ("--metrics-listen", "off")]
        {
            if !more.contains(&flag) {
                args.extend([flag, value]);
            }
        }
        args.extend(more);
        let (output, said) = doorward(folder.path(), &args);
        assert_eq!(output.status.code(), Some(1), "{more:?}: {said}");
        assert_eq!(said.matches(&complaint).count(), 1, "{more:?}: {said}");
        let causes = ["(os error 2)", "(os error 98)", "not a database", "is not a URL"];
        assert!(causes.iter().all(|cause| said.matches(cause).count() <= 1), "{more:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{more:?}: {said}");
    }
    // Nobody is at this port.
    let away = "postgres://doorward:hunter2@127.0.0.1:9/doorward";
    let args = ["serve", "--secret-key", SECRET_KEY, "--public-url", "https://gw.example", "--listen", "127.0.0.1:0"];
    let (output, said) = doorward(folder.path(), &[&args[..], &["--database-url", away]].concat());
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("of --database-url: ") && said.contains("Connection refused"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

// OPS-3
#[tokio::test]
async fn the_health_check_of_a_container_tells_a_ready_gateway_from_none() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    let listen = process.origin.replace("http://localhost", "127.0.0.1");
    let port = listen.rsplit_once(':').unwrap().1;
    for address in [&listen, &format!("0.0.0.0:{port}")] {
        let (output, said) = doorward(folder.path(), &["healthcheck", "--listen", address]);
        assert_eq!(output.status.code(), Some(0), "{address}: {said}");
    }
    drop(process);
    let (output, said) = doorward(folder.path(), &["healthcheck", "--listen", &listen]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{listen} does not answer")), "{said}");
}

// OPS-10, OPS-11
#[test]
fn dev_is_for_this_machine_only_and_nothing_else_approves_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    // The start ends at the faults of the configuration, should it come that far.
    write_faults(folder.path());
    for (args, complaint) in [
        (&["dev", "--listen", "0.0.0.0:0"][..], "not a loopback address"),
        (&["dev", "--listen", "127.0.0.1:0", "--listen", "192.0.2.1:9000"], "not a loopback address"),
        (&["dev", "--public-url", "https://gw.example"], "--public-url https://gw.example is not a loopback origin"),
        (
            &["dev", "--public-url", "http://localhost:9000,http://192.0.2.1:9000"],
            "--public-url http://192.0.2.1:9000 is",
        ),
        (&["dev", "--public-url", "http://localhost.gw.example"], "use `doorward serve`"),
        (&["dev", "--public-url", "http://localhost:9000/mcp"], "not a loopback origin such as http://localhost:9000"),
        (&["serve", "--auto-approve", "--public-url", "http://localhost:9000"], "--auto-approve"),
    ] {
        let (output, said) = doorward(folder.path(), args);
        assert!(!output.status.success() && said.contains(complaint), "{args:?}: {said}");
    }
    assert!(!folder.path().join(".doorward").exists(), "it did not come so far as to make a store");
}

// OPS-10
#[test]
fn dev_does_not_overlook_a_public_url_in_its_environment() {
    let folder = tempfile::tempdir().unwrap();
    write_faults(folder.path());
    let mut dev = Command::new(env!("CARGO_BIN_EXE_doorward"));
    dev.env_clear().env("DOORWARD_PUBLIC_URL", "https://gw.example").current_dir(folder.path()).arg("dev");
    let output = dev.args(["--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("DOORWARD_PUBLIC_URL counts too"), "{said}");
}

/// What `dev` says until it is ready and has said `expected`.
async fn said_at_start(folder: &Path, port: u16, more: &[&str], expected: &str) -> String {
    let log = folder.join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .current_dir(folder)
        .args(["dev", "--log-level", "warn", "--log-format", "json", "--metrics-listen", "off"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(more)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut ready = false;
    for _ in 0..2_400 {
        let answer = http().get(format!("http://localhost:{port}/readyz")).send().await;
        let said = std::fs::read_to_string(&log).unwrap();
        // What is logged is written by a thread of its own.
        ready = answer.is_ok_and(|answer| answer.status() == 200) && said.contains(expected);
        if ready || child.try_wait().unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It ends in peace: what is logged is written by a thread of its own, which is given the time for it.
    let told = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
    assert!(told.success() || !ready);
    child.wait().unwrap();
    let said = std::fs::read_to_string(log).unwrap();
    assert!(ready, "{said}");
    said
}

// OPS-16
#[tokio::test]
async fn a_changed_public_url_is_told_at_start_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    let former = process.origin.clone();
    let person = Person::new(&former).await;
    person.approve(&person.consent_page("demo").await).await;
    drop(process);

    let port = free_port();
    let said = said_at_start(folder.path(), port, &[], "issuer_changed").await;
    let warning =
        said.lines().find(|line| line.contains("issuer_changed")).unwrap_or_else(|| panic!("no word: {said}"));
    for told in [former.as_str(), "register again", "--public-url"] {
        assert!(warning.contains(told), "{warning}");
    }
    let kept = said_at_start(folder.path(), port, &["--public-url", &former], "").await;
    assert!(!kept.contains("issuer_changed"), "{kept}");
}
