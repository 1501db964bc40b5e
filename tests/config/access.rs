//! `mcp-access-inbound` (gateway.md §9, WOS-13).

use doorward::config::{AccessRules, Loaded, Mode};
use insta::assert_snapshot;

use crate::{Folder, SECRET, routes_with};

fn folder(options: &str, handler: &str, inbound: &str) -> Folder {
    let policies = format!(
        r#"{{"policies": [
{{"name": "who", "policyType": "mcp-access-inbound", "handler": {{"export": "McpAccessInboundPolicy", "options": {{
{options}
}}}}}},
{{"name": "workos", "policyType": "mcp-workos-oauth-inbound", "handler": {{"options": {{"clientId": "client_01", "clientSecret": "$env(SECRET)",
"gateway": {{"clients": [{{"clientId": "desk", "redirectUris": ["https://desk.example/cb"]}}]}}}}}}}}
]}}"#
    );
    let routes = routes_with(&format!(
        r#""/mcp/a": {{"get,post": {{"operationId": "a", "x-zuplo-route": {{"handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "https://up.example.com/mcp"{handler}}}}}, "policies": {{"inbound": [{inbound}]}}}}}}}}"#
    ));
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes)])
}

fn loaded(options: &str) -> Loaded {
    folder(options, "", r#""workos", "who""#).load(SECRET, Mode::Serve).unwrap()
}

fn report(options: &str) -> String {
    folder(options, "", r#""workos", "who""#).report(SECRET, Mode::Serve)
}

fn list(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|&entry| entry.to_owned()).collect()
}

// WOS-13
#[test]
fn every_option_of_the_contract_is_read() {
    let config = loaded(
        r#""organizations": ["org_1"], "roles": ["admin"], "permissions": ["tools:use"], "groups": ["staff"],
        "emails": ["Ada@example.com"], "emailDomains": ["Example.COM"], "emailVerified": false,
        "clients": ["desk", "dcr_1", "https://app.example.com/client.json"]"#,
    )
    .config;
    assert_eq!(
        config.routes[0].access,
        [AccessRules {
            organizations: Some(list(&["org_1"])),
            roles: Some(list(&["admin"])),
            permissions: Some(list(&["tools:use"])),
            groups: Some(list(&["staff"])),
            emails: Some(list(&["Ada@example.com"])),
            email_domains: Some(list(&["example.com"])),
            verified_email: false,
            clients: Some(list(&["desk", "dcr_1", "https://app.example.com/client.json"])),
        }]
    );
    let verified = |options: &str| loaded(options).config.routes[0].access[0].verified_email;
    assert!(verified(r#""emails": ["ada@example.com"]"#) && verified(r#""emailDomains": ["example.com"]"#));
    assert!(verified(r#""emailVerified": true"#) && !verified(r#""roles": ["admin"]"#));
    let unused = folder(r#""roles": ["admin"]"#, "", r#""workos""#).load(SECRET, Mode::Serve).unwrap();
    assert!(unused.config.routes[0].access.is_empty());
}

// WOS-13
#[test]
fn an_entry_that_nobody_can_have_is_refused() {
    assert_snapshot!(report(r#""emails": ["example.com"], "emailDomains": ["@example.com", "*.example.com"],
"roles": ["admin "], "clients": ["desc", "http://app.example.com"]"#), @r#"
    error: `example.com` is not an e-mail address
     --> config/policies.json:3:12
      |
    3 | "emails": ["example.com"], "emailDomains": ["@example.com", "*.example.com"],
      |            ^^^^^^^^^^^^^
      = help: such as `ada@example.com`; for everyone of a domain use `emailDomains`

    error: `@example.com` is not a domain
     --> config/policies.json:3:45
      |
    3 | "emails": ["example.com"], "emailDomains": ["@example.com", "*.example.com"],
      |                                             ^^^^^^^^^^^^^^
      = help: write what stands behind the `@`, such as `example.com`; there are no wildcards

    error: `*.example.com` is not a domain
     --> config/policies.json:3:61
      |
    3 | "emails": ["example.com"], "emailDomains": ["@example.com", "*.example.com"],
      |                                                             ^^^^^^^^^^^^^^^
      = help: write what stands behind the `@`, such as `example.com`; there are no wildcards

    error: an entry is empty, or begins or ends with a blank
     --> config/policies.json:4:11
      |
    4 | "roles": ["admin "], "clients": ["****", "**********************"]
      |           ^^^^^^^^
      = help: entries are compared as they stand

    error: there is no client `desc`
     --> config/policies.json:4:34
      |
    4 | "roles": ["admin "], "clients": ["****", "**********************"]
      |                                  ^^^^^^
      = help: did you mean `desk`?

    error: there is no client `http://app.example.com`
     --> config/policies.json:4:42
      |
    4 | "roles": ["admin "], "clients": ["****", "**********************"]
      |                                          ^^^^^^^^^^^^^^^^^^^^^^^^
      = help: name one of `gateway.clients`, the URL of a client's metadata document, or a registered id (`dcr_…`)

    6 problems in the configuration
    "#);
}

// WOS-13
#[test]
fn an_empty_list_an_unknown_key_and_a_policy_without_a_rule_are_refused() {
    assert_snapshot!(report(r#""roles": [], "organisations": ["org_1"], "groups": "staff""#), @r#"
    error: `roles` is empty
     --> config/policies.json:3:10
      |
    3 | "roles": [], "organisations": ["org_1"], "groups": "staff"
      |          ^^
      = help: give a value, or leave it out if it is optional

    error: unknown key `organisations` in `options`
     --> config/policies.json:3:14
      |
    3 | "roles": [], "organisations": ["org_1"], "groups": "staff"
      |              ^^^^^^^^^^^^^^^
      = help: did you mean `organizations`?

    error: `groups` must be a list, not a string
     --> config/policies.json:3:52
      |
    3 | "roles": [], "organisations": ["org_1"], "groups": "staff"
      |                                                    ^^^^^^^
      = help: `doorward schema` describes every option

    3 problems in the configuration
    "#);
    assert_snapshot!(report(""), @r#"
    error: an access policy without a rule keeps nobody out
     --> config/policies.json:2:112
      |
    2 | {"name": "who", "policyType": "mcp-access-inbound", "handler": {"export": "McpAccessInboundPolicy", "options": {
      |                                                                                                                ^
      = help: give one of `organizations`, `roles`, `permissions`, `groups`, `emails`, `emailDomains`, `emailVerified`, `clients`

    1 problem in the configuration
    "#);
    assert_snapshot!(report(r#""roles": ["admin"], "emailVerified": false"#), @r#"
    error: `emailVerified: false` does nothing without `emails` or `emailDomains`
     --> config/policies.json:3:38
      |
    3 | "roles": ["admin"], "emailVerified": false
      |                                      ^^^^^
      = help: leave it out

    1 problem in the configuration
    "#);
}

// WOS-13
#[test]
fn an_access_policy_is_no_login_and_does_not_go_with_a_public_route() {
    assert_snapshot!(folder(r#""roles": ["admin"]"#, "", r#""who""#).report(SECRET, Mode::Serve), @r#"
    error: the route `/mcp/a` has no login policy
     --> config/routes.oas.json:2:1
      |
    2 | "/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp…
      | ^^^^^^^^
      = help: name one under `policies.inbound`; for a server that everyone may use, set `"public": true` in the handler's options

    1 problem in the configuration
    "#);
    let public = folder(r#""roles": ["admin"]"#, r#", "public": true"#, r#""who""#);
    assert_snapshot!(public.report(SECRET, Mode::Serve), @r#"
    error: the route `/mcp/a` is public, so `who` cannot tell who calls
     --> config/routes.oas.json:2:174
      |
    2 | …"https://up.example.com/mcp", "public": true}}, "policies": {"inbound": ["who"]}}}}
      |                                          ^^^^
      = help: name a login policy too and take `public` out, or take the policy out

    1 problem in the configuration
    "#);
}

// WOS-13
#[test]
fn check_points_out_routes_that_everyone_who_can_sign_up_may_use() {
    let open = folder(r#""roles": ["admin"]"#, "", r#""workos""#);
    assert_snapshot!(open.report(SECRET, Mode::Check), @r#"
    valid
    whoever can sign in to the AuthKit environment may use /mcp/a: where it lets anyone sign up, add an access policy (`mcp-access-inbound`)
    "#);
    let guarded = folder(r#""roles": ["admin"]"#, "", r#""workos", "who""#);
    assert!(guarded.load(SECRET, Mode::Check).unwrap().notes.is_empty());
    assert!(open.load(SECRET, Mode::Serve).unwrap().notes.is_empty(), "the start says nothing that is no fault");
}
