//! Whatever the files hold, loading them answers, and no secret is in the answer.

use doorward::config::Mode;
use proptest::prelude::*;

use crate::{Folder, SECRET, item, policies_with, routes_with};

/// A login and what a route may have beside it.
fn policies() -> String {
    let more = r#",
{"name": "mcp-token-exchange-a", "policyType": "mcp-token-exchange-inbound", "handler": {"options": {"authMode": "user-oauth", "prompt": false,
"clientRegistration": {"mode": "manual", "clientId": "é", "clientSecret": "$env(SECRET)"}}}},
{"name": "b", "policyType": "mcp-token-exchange-inbound", "handler": {"options": {"authMode": "id-jag", "idJag": {"idp": {"tokenUrl": "https://a/t",
"clientAuth": {"method": "client_secret_post", "clientId": "a", "clientSecret": "$env(SECRET)"}}, "resourceAs": {"tokenUrl": "https://b/t", "audience": "b",
"clientAuth": {"method": "client_secret_basic", "clientId": "a", "clientSecret": "$env(SECRET)"}}}}}}]}"#;
    policies_with_login().trim_end().trim_end_matches("]}").to_owned() + more
}

fn policies_with_login() -> String {
    policies_with(
        r#""issuers": ["https://a.example.com"], "organizationId": "$env(ORG)", "gateway": {"scopes": {"a": ["mcp:tools"]},
        "redirectUriAllowList": ["https://claude.ai"], "cimdDocuments": {"https://a/b": {"client_id": "https://a/b"}},
        "clients": [{"clientId": "ä", "redirectUris": ["https://claude.ai/cb"], "clientSecretHash": "sha256:00"}],
        "initialAccessToken": "literal-private-value",
        "resourceServers": [{"id": "api", "secret": "literal-private-value", "routes": ["a"]}]}"#,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_of_a_valid_project_makes_loading_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, 0usize..14), 1..4),
        in_policies: bool,
        dev: bool,
    ) {
        const PIECES: [&str; 14] = ["", "\"", "{", "}", "[", "]", ",", ":", "null", "$env(", "1e999", "é", "\\", "/*"];
        let (mut policies, mut routes) = (policies(), routes_with(&item("/mcp/a", "a")));
        let text = if in_policies { &mut policies } else { &mut routes };
        for (at, cut, piece) in edits {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + cut).min(text.len()));
            text.replace_range(start..end, PIECES[piece]);
        }
        let folder = Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)]);
        let mode = if dev { Mode::Dev } else { Mode::Serve };
        if let Err(problems) = folder.load(SECRET, mode) {
            prop_assert!(!problems.problems.is_empty());
            prop_assert!(!problems.to_text().contains("sk_test_1"));
            prop_assert!(problems.to_sarif()["runs"][0]["results"].is_array());
        }
    }

    #[test]
    fn no_text_makes_loading_panic(text in "\\PC{0,60}") {
        let folder = Folder::new(&[("policies.json", &text), ("routes.oas.json", &text)]);
        let _ = folder.report(SECRET, Mode::Check);
    }
}
