//! `mtlsCertificate` (gateway.md §10).

use doorward::config::{Diagnostics, Loaded, Mode};
use insta::assert_snapshot;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

use crate::{Folder, SECRET, env, policies_with, routes_with};

/// A project whose one route goes to `scheme` and has this certificate, in a line of its own.
fn project(scheme: &str, certificate: &str) -> Folder {
    let item = format!(
        r##""/mcp/a": {{"get,post": {{"operationId": "a", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "{scheme}://up.example.com/mcp",
"mtlsCertificate": {certificate}
}}}}, "policies": {{"inbound": ["workos"]}}}}}}}}"##
    );
    Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(&item))])
}

/// A project that names `gateway.pem`, which holds this.
fn with_file(pem: &str) -> Folder {
    let folder = project("https", r#""gateway.pem""#);
    std::fs::write(folder.project().join("config/gateway.pem"), pem).unwrap();
    folder
}

fn made() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["gateway.example".to_owned()]).unwrap()
}

fn pem(made: &CertifiedKey<KeyPair>) -> String {
    made.cert.pem() + &made.signing_key.serialize_pem()
}

fn has_certificate(loaded: Result<Loaded, Diagnostics>) -> bool {
    let config = loaded.unwrap_or_else(|problems| panic!("{}", problems.to_text())).config;
    config.routes[0].proxy.client_certificate.is_some()
}

// SEC-8
#[test]
fn certificate_and_key_come_from_a_file_or_a_variable_and_are_never_shown() {
    let made = made();
    let key = made.signing_key.serialize_pem();
    let reversed = key.clone() + &made.cert.pem();
    for pem in [pem(&made), reversed] {
        let file = with_file(&pem);
        let loaded = file.load(SECRET, Mode::Serve).unwrap();
        let certificate = loaded.config.routes[0].proxy.client_certificate.as_ref().unwrap();
        assert_eq!(certificate.file(), Some(file.project().join("config/gateway.pem").as_path()));
        let variable = project("https", r#""$env(CERTIFICATE)""#);
        let variables = [SECRET[0], ("CERTIFICATE", pem.as_str())];
        assert!(has_certificate(variable.load(&variables, Mode::Serve)));
        assert_eq!(variable.report(&variables, Mode::Check), file.report(SECRET, Mode::Check));
        let absolute = file.project().join("config/gateway.pem").display().to_string();
        assert!(has_certificate(variable.load(&[SECRET[0], ("CERTIFICATE", &absolute)], Mode::Serve)));
        let config = doorward::config::load(&file.project().join("config"), &env(SECRET), Mode::Serve).unwrap().config;
        let shown = format!("{config:?}");
        assert!(shown.contains("Some(ClientCertificate)"), "{shown}");
        assert!(key.lines().all(|line| !shown.contains(line)));
    }
}

#[test]
fn a_file_that_is_not_there_is_named_where_it_is_written() {
    assert_snapshot!(project("https", r#""certs/none.pem""#).report(SECRET, Mode::Serve), @r#"
    error: the file that `mtlsCertificate` names cannot be read: entity not found
     --> config/routes.oas.json:3:20
      |
    3 | "mtlsCertificate": "certs/none.pem"
      |                    ^^^^^^^^^^^^^^^^
      = help: give the path of a PEM file, from the config folder on, or a variable that holds the PEM

    1 problem in the configuration
    "#);
    let variables = [SECRET[0], ("CERTIFICATE", "none.pem")];
    let report = project("https", r#""$env(CERTIFICATE)""#).report(&variables, Mode::Serve);
    assert!(report.starts_with("error: the file that `mtlsCertificate` names cannot be read"), "{report}");
    assert!(!report.contains("none.pem"), "{report}");
}

#[test]
fn a_certificate_without_tls_is_refused() {
    assert_snapshot!(project("http", r#""certs/none.pem""#).report(SECRET, Mode::Serve), @r#"
    error: `mtlsCertificate` has no meaning without TLS, and `rewritePattern` is http
     --> config/routes.oas.json:3:20
      |
    3 | "mtlsCertificate": "certs/none.pem"
      |                    ^^^^^^^^^^^^^^^^
      = help: give an https URL there, or leave the certificate out

    1 problem in the configuration
    "#);
}

#[test]
fn a_file_without_certificate_key_or_their_match_is_refused() {
    let (one, other) = (made(), made());
    let certificate = one.cert.pem();
    let key = one.signing_key.serialize_pem();
    assert_snapshot!(with_file("").report(SECRET, Mode::Serve), @r#"
    error: the PEM of `mtlsCertificate` holds no certificate
     --> config/routes.oas.json:3:20
      |
    3 | "mtlsCertificate": "gateway.pem"
      |                    ^^^^^^^^^^^^^
      = help: it holds the certificate, the rest of its chain, and the private key, not encrypted, in PEM

    1 problem in the configuration
    "#);
    for (text, wrong) in [
        ("nothing".to_owned(), "holds no certificate"),
        (key, "holds no certificate"),
        (certificate.clone(), "holds no private key that is not encrypted"),
        (certificate[..80].to_owned(), "cannot be read"),
        (
            certificate.clone() + &other.signing_key.serialize_pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            "holds no private key that is not encrypted",
        ),
        (
            certificate + &other.signing_key.serialize_pem(),
            "holds a private key that is not the one of its first certificate",
        ),
        (
            one.signing_key.serialize_pem() + &one.signing_key.serialize_pem().replace("PRIVATE KEY", "CERTIFICATE"),
            "holds a first certificate that cannot be read",
        ),
    ] {
        let report = with_file(&text).report(SECRET, Mode::Serve);
        let first = report.lines().next().unwrap();
        assert_eq!(first, format!("error: the PEM of `mtlsCertificate` {wrong}"), "{text}");
        assert!(report.contains("\n --> config/routes.oas.json:3:20\n"), "{report}");
    }
}

// SEC-8
#[test]
fn a_key_that_is_written_out_is_told_of_and_blotted_out() {
    let written = serde_json::json!(pem(&made())).to_string();
    let report = project("https", &written).report(SECRET, Mode::Check);
    let note = "routes.oas.json:3: `mtlsCertificate` is written out: keep it in a variable and write `$env(NAME)`";
    assert!(report.starts_with("valid\n") && report.lines().any(|line| line == note), "{report}");
    let report = project("http", &written).report(SECRET, Mode::Serve);
    assert!(report.contains("\"mtlsCertificate\": \"***") && !report.contains("BEGIN"), "{report}");
}
