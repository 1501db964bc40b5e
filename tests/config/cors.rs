//! `corsPolicies`, and the one a route names under `corsPolicy` (CORS-5).

use doorward::config::{CorsPolicy, Mode};
use insta::assert_snapshot;

use crate::{Folder, SECRET, policies_with, routes_with};

/// A good project with these `corsPolicies` and a route that names one.
fn project(cors_policies: &str, named: &str) -> Folder {
    let policies = policies_with("");
    let policies = format!("{},\n\"corsPolicies\": [\n{cors_policies}\n]}}", &policies[..policies.len() - 1]);
    let route = format!(
        r##""/mcp/a": {{"get,post": {{"operationId": "a", "x-zuplo-route": {{
  "corsPolicy": "{named}",
  "handler": {{"export": "McpProxyHandler", "options": {{"rewritePattern": "https://up.example.com/mcp"}}}},
  "policies": {{"inbound": ["workos"]}}}}}}}}"##
    );
    Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes_with(&route))])
}

fn policy(cors_policies: &str, named: &str, variables: &[(&str, &str)]) -> CorsPolicy {
    let variables = [SECRET, variables].concat();
    let loaded = project(cors_policies, named).load(&variables, Mode::Serve).unwrap();
    loaded.config.routes[0].cors.clone()
}

const PAGES: &str = r#"{"name": "pages", "allowedOrigins": ["https://app.example.com", "https://*.example.org"],
 "allowedMethods": ["POST"], "allowedHeaders": ["X-Team"], "exposeHeaders": "X-Trace, X-Cost", "maxAge": 600}"#;

// CORS-5
#[test]
fn a_route_takes_the_policy_it_names() {
    let pages = policy(PAGES, "pages", &[]);
    assert!(pages.allows("https://app.example.com") && pages.allows("https://eu.example.org"));
    assert!(!pages.allows("https://example.org") && !pages.allows("http://app.example.com"));
    assert_eq!((pages.allowed_headers, pages.max_age), (vec!["X-Team".to_owned()], Some(600)));
    assert_eq!(pages.expose_headers, ["X-Trace", "X-Cost"]);
    assert_eq!(policy(PAGES, "none", &[]), CorsPolicy::default());
    assert_eq!(policy("", "anything-goes", &[]), CorsPolicy::anything_goes());
    assert!(!policy(PAGES, "none", &[]).allows("https://app.example.com"));
}

// CORS-5
#[test]
fn origins_may_come_out_of_a_variable() {
    let policies = r#"{"name": "pages", "allowedOrigins": "$env(PAGES)"}"#;
    let pages = policy(policies, "pages", &[("PAGES", "https://a.example, https://b.example")]);
    assert!(pages.allows("https://a.example") && pages.allows("https://b.example"));
    assert!(!pages.allows("https://c.example"));
}

// CORS-5
#[test]
fn what_is_wrong_with_a_policy_is_said_at_its_place() {
    let policies = r#"{"name": "pages", "allowedOrigins": ["https://app.example.com/", "app.example.com"], "allowCredentials": true},
{"name": "pages", "allowedOrigins": [], "allowedHeaders": ["X Team"]},
{"name": "none", "allowedOrigins": "*", "maxAge": -1},
{"name": "typo", "allowedOrigin": "*"}"#;
    assert_snapshot!(project(policies, "page").report(SECRET, Mode::Serve), @r#"
    error: `https://app.example.com/` is not an origin of web pages
     --> config/policies.json:6:38
      |
    6 | {"name": "pages", "allowedOrigins": ["https://app.example.com/", "app.example.com"], "allowCredentials": true},
      |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: scheme, host and port without a path or `/` at the end, such as `https://app.example.com` or `https://*.example.com`; `*` for any page

    error: `app.example.com` is not an origin of web pages
     --> config/policies.json:6:66
      |
    6 | {"name": "pages", "allowedOrigins": ["https://app.example.com/", "app.example.com"], "allowCredentials": true},
      |                                                                  ^^^^^^^^^^^^^^^^^
      = help: scheme, host and port without a path or `/` at the end, such as `https://app.example.com` or `https://*.example.com`; `*` for any page

    error: `allowCredentials` must be false
     --> config/policies.json:6:106
      |
    6 | {"name": "pages", "allowedOrigins": ["https://app.example.com/", "app.example.com"], "allowCredentials": true},
      |                                                                                                          ^^^^
      = help: what opens a route is a token in the Authorization header, which works without; leave it out

    error: there are two CORS policies named `pages`
     --> config/policies.json:7:10
      |
    7 | {"name": "pages", "allowedOrigins": [], "allowedHeaders": ["X Team"]},
      |          ^^^^^^^
      = help: names are unique

    error: `allowedOrigins` names no origin
     --> config/policies.json:7:37
      |
    7 | {"name": "pages", "allowedOrigins": [], "allowedHeaders": ["X Team"]},
      |                                     ^^
      = help: such as `https://app.example.com`; for no pages of other origins, routes say `none`

    error: `X Team` is not the name of a header
     --> config/policies.json:7:59
      |
    7 | {"name": "pages", "allowedOrigins": [], "allowedHeaders": ["X Team"]},
      |                                                           ^^^^^^^^^^
      = help: such as `X-Request-Id`; `*` for any

    error: a CORS policy cannot be named `none`
     --> config/policies.json:8:10
      |
    8 | {"name": "none", "allowedOrigins": "*", "maxAge": -1},
      |          ^^^^^^
      = help: `none` and `anything-goes` are built in; choose another name

    error: `maxAge` must be a whole number from 0 to 86400
     --> config/policies.json:8:51
      |
    8 | {"name": "none", "allowedOrigins": "*", "maxAge": -1},
      |                                                   ^^
      = help: `doorward schema` describes every option

    error: `allowedOrigins` is missing in an entry of `corsPolicies`
     --> config/policies.json:9:1
      |
    9 | {"name": "typo", "allowedOrigin": "*"}
      | ^
      = help: add `"allowedOrigins": …`; `doorward schema` describes it

    error: unknown key `allowedOrigin` in an entry of `corsPolicies`
     --> config/policies.json:9:18
      |
    9 | {"name": "typo", "allowedOrigin": "*"}
      |                  ^^^^^^^^^^^^^^^
      = help: did you mean `allowedOrigins`?

    error: there is no CORS policy named `page`
     --> config/routes.oas.json:3:17
      |
    3 |   "corsPolicy": "page",
      |                 ^^^^^^
      = help: did you mean `pages`?

    11 problems in the configuration
    "#);
}
