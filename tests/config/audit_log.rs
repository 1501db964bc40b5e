//! `audit-log-inbound` (gateway.md §3, §11), also as older guides to Zuplo's gateway write it.

use doorward::config::{AuditLog, Mode};
use insta::assert_snapshot;

use crate::{Folder, SECRET, folder_with_policies, policies_with, routes_with};

const KIND: &str = "audit-log-inbound";

fn audit(options: &str) -> AuditLog {
    let loaded = folder_with_policies(&[(KIND, options)]).load(SECRET, Mode::Serve);
    loaded.unwrap_or_else(|problems| panic!("{}", problems.to_text())).config.routes.remove(0).audit.unwrap()
}

// OPS-1
#[test]
fn either_word_for_an_option_keeps_it_out_of_the_records() {
    let all = AuditLog { sampling_rate: 1.0, user: true, address: true };
    assert_eq!(audit("{}"), all);
    let in_full = r#"{"samplingRate": 0.5, "include": {"user": true, "ipAddress": true, "queryParams": true,
        "geolocation": false}, "eventTypeBase": "com.example", "bucketId": "b", "tenant": "t", "tenantKey": "k"}"#;
    assert_eq!(audit(in_full), AuditLog { sampling_rate: 0.5, ..all.clone() });
    for options in [r#"{"include": {"user": false}}"#, r#"{"logUser": false}"#] {
        assert_eq!(audit(options), AuditLog { user: false, ..all.clone() }, "{options}");
    }
    for options in [r#"{"include": {"ipAddress": false}}"#, r#"{"logIpAddress": false}"#] {
        assert_eq!(audit(options), AuditLog { address: false, ..all.clone() }, "{options}");
    }
}

// OPS-1
#[test]
fn a_policy_as_older_guides_write_it_passes_the_check() {
    let policy = r#",
    {
      "name": "my-audit-log-inbound-policy",
      "policyType": "audit-log-inbound",
      "handler": {
        "export": "AuditLogsInboundPolicy",
        "module": "$import(@zuplo/runtime)",
        "options": {
          "logGeolocation": true,
          "logIpAddress": true,
          "logQueryParameters": true,
          "logRouteParameters": true,
          "logUser": true
        }
      }
    }]}"#;
    let policies = format!("{}{policy}", policies_with("").trim_end().trim_end_matches("]}"));
    let route = r#""/mcp/a": {"get,post": {"operationId": "a", "x-zuplo-route": {"handler": {"export": "McpProxyHandler",
        "options": {"rewritePattern": "https://up.example.com/mcp"}},
        "policies": {"inbound": ["workos", "my-audit-log-inbound-policy"]}}}}"#;
    let report = |policies: &str| {
        Folder::new(&[("policies.json", policies), ("routes.oas.json", &routes_with(route))])
            .report(SECRET, Mode::Serve)
    };
    assert!(report(&policies).starts_with("valid"), "{}", report(&policies));
    let another = report(&policies.replace("AuditLogsInboundPolicy", "AuditInboundPolicy"));
    assert!(another.contains("write `AuditLogInboundPolicy`, or leave `export` out"), "{another}");
}

// OPS-1
#[test]
fn a_function_of_the_project_is_refused() {
    let folder = folder_with_policies(&[(
        KIND,
        r#"{
"metadata": {"module": "$import(./modules/audit-logs)", "export": "auditLogMetadata"}}"#,
    )]);
    assert_snapshot!(folder.report(SECRET, Mode::Serve), @r#"
    error: functions of a project cannot run in doorward, so none adds to the records
     --> config/policies.json:6:13
      |
    6 | "metadata": {"module": "$import(./modules/audit-logs)", "export": "auditLogMetadata"}}}}
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: take `metadata` out

    1 problem in the configuration
    "#);
}
