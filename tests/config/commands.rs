//! `doorward check`, `init`, `add`, `schema`.

use std::process::ExitCode;

use doorward::cli::{add, check, init, schema};
use doorward::config::UpstreamMode;
use insta::assert_snapshot;
use serde_json::Value;

use crate::{Folder, SECRET, env, item, policies_with, routes_with};

fn check(folder: &Folder, format: check::Format) -> (ExitCode, String) {
    let args = check::CheckArgs { config_dir: folder.project().join("config"), format };
    let mut out = Vec::new();
    let code = check::run(&args, &env(SECRET), &mut out).unwrap();
    (code, folder.plain(&String::from_utf8(out).unwrap()))
}

fn bad() -> Folder {
    Folder::new(&[
        ("policies.json", &policies_with("\"orgnizationId\": \"org_1\"")),
        ("routes.oas.json", &routes_with(&item("/mcp/a", "a"))),
    ])
}

fn good() -> Folder {
    Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))])
}

#[test]
fn check_says_that_a_good_project_is_valid() {
    let (code, out) = check(&good(), check::Format::Text);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_snapshot!(out, @r#"
    note: whoever can sign in to the AuthKit environment may use /mcp/a: where it lets anyone sign up, add an access policy (`mcp-access-inbound`)
    the configuration is valid: 1 route, login `workos`
    "#);
}

#[test]
fn check_answers_1_and_json_for_a_bad_project() {
    let (code, out) = check(&bad(), check::Format::Json);
    assert_eq!(code, ExitCode::FAILURE);
    assert_snapshot!(out, @r#"
    {
      "valid": false,
      "problems": [
        {
          "rule": "unknown-key",
          "message": "unknown key `orgnizationId` in `options`",
          "file": "config/policies.json",
          "line": 3,
          "column": 3,
          "width": 15,
          "source": "  \"orgnizationId\": \"org_1\"",
          "help": "did you mean `organizationId`?"
        }
      ]
    }
    "#);
}

#[test]
fn check_writes_sarif_with_the_region() {
    let (_, out) = check(&bad(), check::Format::Sarif);
    let sarif: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"unknown-key".into(), &"error".into()));
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "config/policies.json");
    assert_eq!((&location["region"]["startLine"], &location["region"]["startColumn"]), (&3.into(), &3.into()));
    let (code, out) = check(&good(), check::Format::Sarif);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["runs"][0]["results"], Value::Array(Vec::new()));
}

#[test]
fn init_makes_a_project_that_works_in_dev_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".gitignore"), "mine").unwrap();
    init::run(dir.path(), &mut Vec::new()).unwrap();
    doorward::config::load(&dir.path().join("config"), &env(&[]), doorward::config::Mode::Dev).unwrap();
    assert!(dir.path().join(".env.example").is_file());
    std::fs::write(dir.path().join("config/policies.json"), "changed").unwrap();
    let mut out = Vec::new();
    init::run(dir.path(), &mut out).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("config/policies.json")).unwrap(), "changed");
    assert_eq!(std::fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "mine");
    assert!(!String::from_utf8(out).unwrap().contains("made "));
}

/// `more` are flags as they are typed.
fn add(folder: &Folder, slug: &str, url: &str, more: &[&str]) -> Result<String, String> {
    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        args: add::AddArgs,
    }
    let config_dir = folder.project().join("config").display().to_string();
    let typed = ["add", slug, url, "--config-dir", &config_dir].into_iter().chain(more.iter().copied());
    let args = <Typed as clap::Parser>::try_parse_from(typed).map_err(|error| error.to_string())?.args;
    let mut out = Vec::new();
    match add::run(&args, &mut out) {
        Ok(()) => Ok(folder.plain(&String::from_utf8(out).unwrap())),
        Err(error) => Err(folder.plain(&format!("{error:#}"))),
    }
}

#[test]
fn add_keeps_comments_and_order_and_makes_a_valid_route() {
    let routes =
        "{\n  // mine\n  \"openapi\": \"3.1.0\",\n  \"paths\": {\n    // the first\n    ITEM, // kept\n  },\n}\n"
            .replace("ITEM", &item("/mcp/a", "a"));
    let folder = Folder::new(&[("policies.json", &policies_with("")), ("routes.oas.json", &routes)]);
    assert_snapshot!(add(&folder, "linear", "https://mcp.linear.app/mcp", &[]).unwrap(), @"added /mcp/linear to config/routes.oas.json, with the login policy `workos`");
    let text = std::fs::read_to_string(folder.project().join("config/routes.oas.json")).unwrap();
    assert_snapshot!(text.replace(&item("/mcp/a", "a"), "ITEM"), @r#"
    {
      // mine
      "openapi": "3.1.0",
      "paths": {
        // the first
        ITEM, // kept
        "/mcp/linear": {
          "get,post": {
            "operationId": "linear",
            "summary": "linear",
            "x-zuplo-route": {
              "corsPolicy": "none",
              "handler": {
                "module": "$import(@zuplo/runtime/mcp-gateway)",
                "export": "McpProxyHandler",
                "options": {
                  "rewritePattern": "https://mcp.linear.app/mcp",
                },
              },
              "policies": {
                "inbound": ["workos"],
              },
            },
          },
        },
      },
    }
    "#);
    let routes = folder.load(SECRET, doorward::config::Mode::Serve).unwrap().config.routes;
    assert_eq!(routes[1].path, "/mcp/linear");
}

#[test]
fn add_refuses_what_cannot_be_a_route_and_changes_nothing() {
    let folder = good();
    let before = std::fs::read_to_string(folder.project().join("config/routes.oas.json")).unwrap();
    let refusals = [
        add(&folder, "a", "https://x.example.com/mcp", &[]),
        add(&folder, "b/c", "https://x.example.com/mcp", &[]),
        add(&folder, "b", "ftp://x", &[]),
    ];
    let refusals: Vec<_> = refusals.into_iter().map(Result::unwrap_err).collect();
    assert_snapshot!(refusals.join("\n"), @r#"
    config/routes.oas.json has a route /mcp/a already: choose another slug, or edit the route there
    `b/c` cannot be a slug: use letters, digits, `-`, `_` and `.`
    `rewritePattern` must be an http or https URL: give the URL of the MCP endpoint, such as https://mcp.example.com/mcp
    "#);
    assert_eq!(std::fs::read_to_string(folder.project().join("config/routes.oas.json")).unwrap(), before);
}

#[test]
fn add_with_oauth_writes_the_policy_too_and_keeps_comments_and_order() {
    let policies = policies_with("").replacen("\"policies\": [", "\n  // mine\n  \"policies\": [\n    ", 1);
    let folder = Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes_with(&item("/mcp/a", "a")))]);
    assert_snapshot!(add(&folder, "linear", "https://mcp.linear.app/mcp", &["--oauth"]).unwrap(), @r#"
    added /mcp/linear to config/routes.oas.json, with the login policy `workos`
    added the policy `mcp-token-exchange-linear` to config/policies.json: each person connects their own account
    "#);
    let shared = ["--oauth", "--shared", "--scope", "read", "--scope", "issues:create"];
    assert_snapshot!(add(&folder, "stripe", "https://mcp.stripe.com", &shared).unwrap(), @r#"
    added /mcp/stripe to config/routes.oas.json, with the login policy `workos`
    added the policy `mcp-token-exchange-stripe` to config/policies.json: an operator connects one account for all, by `doorward connections connect stripe --public-url URL`
    "#);
    let written = std::fs::read_to_string(folder.project().join("config/policies.json")).unwrap();
    assert!(written.starts_with(policies.trim_end().trim_end_matches(['}', ']', '\n', ' '])), "{written}");
    assert_snapshot!(written.split_once("// mine").unwrap().1, @r#"
      "policies": [
        {"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
      "clientId": "client_01", "clientSecret": "$env(SECRET)",
      
    }}},
        {
          "name": "mcp-token-exchange-linear",
          "policyType": "mcp-token-exchange-inbound",
          "handler": {
            "module": "$import(@zuplo/runtime/mcp-gateway)",
            "export": "McpTokenExchangeInboundPolicy",
            "options": {
              "displayName": "linear",
              "authMode": "user-oauth"
            }
          }
        },
        {
          "name": "mcp-token-exchange-stripe",
          "policyType": "mcp-token-exchange-inbound",
          "handler": {
            "module": "$import(@zuplo/runtime/mcp-gateway)",
            "export": "McpTokenExchangeInboundPolicy",
            "options": {
              "displayName": "stripe",
              "authMode": "shared-oauth",
              "scopes": ["read", "issues:create"]
            }
          }
        }]}
    "#);
    let config = folder.load(SECRET, doorward::config::Mode::Serve).unwrap().config;
    let [_, linear, stripe] = &config.routes[..] else { panic!("{} routes", config.routes.len()) };
    let (linear, stripe) = (linear.credential.as_ref().unwrap(), stripe.credential.as_ref().unwrap());
    assert_eq!((linear.id.as_str(), stripe.id.as_str()), ("linear", "stripe"));
    assert!(matches!(linear.mode, UpstreamMode::PerPerson(_)), "{linear:?}");
    let UpstreamMode::Shared(oauth) = &stripe.mode else { panic!("{stripe:?}") };
    assert_eq!(oauth.scopes.as_deref().unwrap(), ["read", "issues:create"]);
}

#[test]
fn add_with_oauth_refuses_what_the_check_would_and_changes_nothing() {
    let direct = r#"{"policies": [
{"name": "login", "policyType": "mcp-authkit-inbound", "handler": {"options": {"authkitDomain": "name.authkit.app"}}},
{"name": "mcp-token-exchange-b", "policyType": "mcp-token-exchange-inbound", "handler": {"options": {"authMode": "shared-oauth"}}},
{"name": "other", "policyType": "mcp-token-exchange-inbound", "handler": {"options": {"id": "c", "authMode": "shared-oauth"}}}
]}"#;
    let folder = Folder::new(&[("policies.json", direct), ("routes.oas.json", &routes_with(""))]);
    let texts = || {
        ["policies.json", "routes.oas.json"]
            .map(|name| std::fs::read_to_string(folder.project().join("config").join(name)).unwrap())
    };
    let before = texts();
    let url = "https://x.example.com/mcp";
    let refusals = [
        add(&folder, "a", url, &["--oauth"]),
        add(&folder, "b", url, &["--oauth", "--shared"]),
        add(&folder, "c", url, &["--oauth", "--shared"]),
        add(&folder, &"d".repeat(65), url, &["--oauth", "--shared"]),
    ];
    let refusals: Vec<_> = refusals.into_iter().map(Result::unwrap_err).collect();
    assert_snapshot!(refusals.join("\n"), @r#"
    people sign in at AuthKit here and not at the gateway, so they could not connect their accounts: add `--shared`, or take a login policy such as `mcp-workos-oauth-inbound`
    config/policies.json has a policy named `mcp-token-exchange-b` already: choose another slug
    config/policies.json has a token exchange policy with the id `c` already: choose another slug
    `ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd` is too long for a server with OAuth of its own: 64 characters at most
    "#);
    assert_eq!(texts(), before);
    assert!(add(&folder, "e", url, &["--shared"]).unwrap_err().contains("--oauth"), "one needs the other");
    add(&folder, "f", url, &["--oauth", "--shared"]).unwrap();
    assert_eq!(folder.load(SECRET, doorward::config::Mode::Serve).unwrap().config.upstreams().count(), 1);
}

#[test]
fn schema_prints_json_schema() {
    let mut out = Vec::new();
    schema::run(&schema::SchemaArgs { file: schema::SchemaFile::Routes }, &mut out).unwrap();
    let schema: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
