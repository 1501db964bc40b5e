//! `rate-limit-inbound` (gateway.md §3).

use doorward::config::{Mode, RateLimit, RateLimitBy};
use insta::assert_snapshot;

use crate::{Folder, SECRET, folder_with_policies, policies_with, routes_with};

const KIND: &str = "rate-limit-inbound";

fn limits(options: &str) -> Vec<RateLimit> {
    let loaded = folder_with_policies(&[(KIND, options)]).load(SECRET, Mode::Serve);
    loaded.unwrap_or_else(|problems| panic!("{}", problems.to_text())).config.routes.remove(0).rate_limits
}

fn report(options: &str) -> String {
    folder_with_policies(&[(KIND, options)]).report(SECRET, Mode::Serve)
}

// LIM-2
#[test]
fn every_option_of_the_contract_is_read() {
    let limit =
        RateLimit { policy: "p0".to_owned(), by: RateLimitBy::User, allowed: 100, window: 60, retry_after: true };
    assert_eq!(
        limits(r#"{"rateLimitBy": "user", "requestsAllowed": 100, "timeWindowMinutes": 1}"#),
        std::slice::from_ref(&limit)
    );
    let given = |by: &str, window: &str| {
        limits(&format!(
            r#"{{"rateLimitBy": "{by}", "requestsAllowed": 100, "timeWindowMinutes": {window}, "headerMode": "none",
            "mode": "async", "throwOnFailure": true}}"#
        ))
    };
    for (name, by) in [("client", RateLimitBy::Client), ("ip", RateLimitBy::Address), ("all", RateLimitBy::All)] {
        assert_eq!(given(name, "1"), [RateLimit { by, retry_after: false, ..limit.clone() }]);
    }
    for (written, window) in [("0.5", 30), ("0.1", 6), ("0.016", 1), ("60", 3600), ("44640", 2_678_400)] {
        assert_eq!(given("user", written)[0].window, window, "{written}");
    }
    let variables = [("SECRET", "sk_test_1"), ("MINUTES", "0.25"), ("REQUESTS", "7")];
    let from_variables =
        r#"{"rateLimitBy": "user", "requestsAllowed": "$env(REQUESTS)", "timeWindowMinutes": "$env(MINUTES)"}"#;
    let folder = folder_with_policies(&[(KIND, from_variables)]);
    let limit = folder.load(&variables, Mode::Serve).unwrap().config.routes.remove(0).rate_limits.remove(0);
    assert_eq!((limit.allowed, limit.window), (7, 15));
}

// LIM-2
#[test]
fn a_function_of_the_project_and_numbers_out_of_bounds_are_refused() {
    assert_snapshot!(report(r#"{"rateLimitBy": "function", "requestsAllowed": 2, "timeWindowMinutes": 1,
"identifier": {"module": "$import(./modules/rate-limiter)", "export": "rateLimitKey"}}"#), @r#"
    error: functions of a project cannot run in doorward, so no requests can be grouped by one
     --> config/policies.json:5:91
      |
    5 | {"name": "p0", "policyType": "rate-limit-inbound", "handler": {"options": {"rateLimitBy": "function", "requestsAllowed": 2, "timeWindowMinutes": 1,
      |                                                                                           ^^^^^^^^^^
      = help: write `user`, `client`, `ip` or `all`, and leave `identifier` out

    1 problem in the configuration
    "#);
    assert_snapshot!(report(r#"{"rateLimitBy": "users",
"requestsAllowed": 0, "timeWindowMinutes": 0, "headermode": "none"}"#), @r#"
    error: `rateLimitBy` must be `user` or `client` or `ip` or `all` or `function`, not `users`
     --> config/policies.json:5:91
      |
    5 | {"name": "p0", "policyType": "rate-limit-inbound", "handler": {"options": {"rateLimitBy": "users",
      |                                                                                           ^^^^^^^
      = help: did you mean `user`?

    error: `requestsAllowed` must be a whole number from 1 to 1000000
     --> config/policies.json:6:20
      |
    6 | "requestsAllowed": 0, "timeWindowMinutes": 0, "headermode": "none"}}}
      |                    ^
      = help: `doorward schema` describes every option

    error: `timeWindowMinutes` must be a number from 0.016 to 44640.0
     --> config/policies.json:6:44
      |
    6 | "requestsAllowed": 0, "timeWindowMinutes": 0, "headermode": "none"}}}
      |                                            ^
      = help: `doorward schema` describes every option

    error: unknown key `headermode` in `options`
     --> config/policies.json:6:47
      |
    6 | "requestsAllowed": 0, "timeWindowMinutes": 0, "headermode": "none"}}}
      |                                               ^^^^^^^^^^^^
      = help: did you mean `headerMode`?

    4 problems in the configuration
    "#);
    assert_snapshot!(report(r#"{"requestsAllowed": 2.5,
"timeWindowMinutes": "1"}"#), @r#"
    error: `rateLimitBy` is missing in `options`
     --> config/policies.json:5:75
      |
    5 | {"name": "p0", "policyType": "rate-limit-inbound", "handler": {"options": {"requestsAllowed": 2.5,
      |                                                                           ^
      = help: add `"rateLimitBy": …`; `doorward schema` describes it

    error: `requestsAllowed` must be a whole number from 1 to 1000000, not a fraction
     --> config/policies.json:5:95
      |
    5 | {"name": "p0", "policyType": "rate-limit-inbound", "handler": {"options": {"requestsAllowed": 2.5,
      |                                                                                               ^^^
      = help: `doorward schema` describes every option

    error: `timeWindowMinutes` must be a number from 0.016 to 44640.0, not a string
     --> config/policies.json:6:22
      |
    6 | "timeWindowMinutes": "1"}}}
      |                      ^^^
      = help: `doorward schema` describes every option

    3 problems in the configuration
    "#);
}

// LIM-2
#[test]
fn on_a_public_route_nobody_can_be_told_apart_but_by_address() {
    let report = |by: &str| {
        let policies = policies_with("").replace(
            "]}",
            &format!(
                r#", {{"name": "limit", "policyType": "rate-limit-inbound", "handler": {{"options": {{
"rateLimitBy": "{by}", "requestsAllowed": 1, "timeWindowMinutes": 1}}}}}}]}}"#
            ),
        );
        let route = r#""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler", "options": {"rewritePattern": "https://up.example.com/mcp",
"public": true}}, "policies": {"inbound": ["limit"]}}}}"#;
        Folder::new(&[("policies.json", &policies), ("routes.oas.json", &routes_with(route))])
            .report(SECRET, Mode::Serve)
    };
    for by in ["ip", "all"] {
        assert!(report(by).starts_with("valid"), "{}", report(by));
    }
    for by in ["user", "client"] {
        assert!(
            report(by).contains("the route `/mcp/a` is public, so `limit` cannot tell who calls"),
            "{}",
            report(by)
        );
    }
}
