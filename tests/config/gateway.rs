//! `options.gateway` (gateway.md §3).

use insta::assert_snapshot;

use crate::with_options;

#[test]
fn numbers_have_bounds() {
    assert_snapshot!(with_options(r#""gateway": {
    "accessTokenTtlSeconds": 0, "refreshTokenReuseSeconds": 121,
    "maxClients": 0, "grantTtlSeconds": 1e3
  }"#), @r#"
    error: `accessTokenTtlSeconds` must be a whole number from 1 to 86400
     --> config/policies.json:4:30
      |
    4 |     "accessTokenTtlSeconds": 0, "refreshTokenReuseSeconds": 121,
      |                              ^
      = help: the default is `900`

    error: `refreshTokenReuseSeconds` must be a whole number from 0 to 120
     --> config/policies.json:4:61
      |
    4 |     "accessTokenTtlSeconds": 0, "refreshTokenReuseSeconds": 121,
      |                                                             ^^^
      = help: the default is `120`

    error: `maxClients` must be a whole number from 1 to 10000000
     --> config/policies.json:5:19
      |
    5 |     "maxClients": 0, "grantTtlSeconds": 1e3
      |                   ^
      = help: the default is `100000`

    error: `grantTtlSeconds` must be a whole number from 1 to 315360000, not a fraction
     --> config/policies.json:5:41
      |
    5 |     "maxClients": 0, "grantTtlSeconds": 1e3
      |                                         ^^^
      = help: the default is `31536000`

    4 problems in the configuration
    "#);
}

#[test]
fn a_long_access_token_is_noted() {
    assert_snapshot!(with_options(r#""gateway": {
    "accessTokenTtlSeconds": 3600
  }"#), @r#"
    valid
    accessTokenTtlSeconds is 3600: a stolen or revoked access token stays good for that long; 900 or less is advised
    "#);
}

#[test]
fn a_signing_algorithm_gets_the_nearest_right_spelling() {
    assert_snapshot!(with_options(r#""gateway": {
    "signingAlg": "EDDSA"
  }"#), @r#"
    error: `signingAlg` must be `ES256` or `EdDSA`, not `EDDSA`
     --> config/policies.json:4:19
      |
    4 |     "signingAlg": "EDDSA"
      |                   ^^^^^^^
      = help: did you mean `EdDSA`?

    1 problem in the configuration
    "#);
}

#[test]
fn provider_scopes_cannot_be_configured() {
    assert_snapshot!(with_options(r#""gateway": {
    "scopes": {"openid": []}
  }"#), @r#"
    error: `openid` cannot be a scope of the gateway
     --> config/policies.json:4:16
      |
    4 |     "scopes": {"openid": []}
      |                ^^^^^^^^
      = help: it belongs to the identity provider; requests that name it are tolerated anyway

    1 problem in the configuration
    "#);
}

#[test]
fn a_scope_has_no_blanks_or_wildcards() {
    assert_snapshot!(with_options(r#""gateway": {
    "scopes": {"a b": [], "mcp:*": []}
  }"#), @r#"
    error: `a b` is not a scope
     --> config/policies.json:4:16
      |
    4 |     "scopes": {"a b": [], "mcp:*": []}
      |                ^^^^^
      = help: use letters, digits and `:` `.` `_` `-`, without blanks or wildcards

    error: `mcp:*` is not a scope
     --> config/policies.json:4:27
      |
    4 |     "scopes": {"a b": [], "mcp:*": []}
      |                           ^^^^^^^
      = help: use letters, digits and `:` `.` `_` `-`, without blanks or wildcards

    2 problems in the configuration
    "#);
}

#[test]
fn an_implied_scope_exists() {
    assert_snapshot!(with_options(r#""gateway": {
    "scopes": {"mcp:admin": ["mcp:tool", "mcp:admin"]}
  }"#), @r#"
    error: there is no scope `mcp:tool`
     --> config/policies.json:4:30
      |
    4 |     "scopes": {"mcp:admin": ["mcp:tool", "mcp:admin"]}
      |                              ^^^^^^^^^^
      = help: did you mean `mcp:tools`?

    error: `mcp:admin` implies itself
     --> config/policies.json:4:42
      |
    4 |     "scopes": {"mcp:admin": ["mcp:tool", "mcp:admin"]}
      |                                          ^^^^^^^^^^^
      = help: leave it out of its own list

    2 problems in the configuration
    "#);
}

#[test]
fn the_default_route_exists() {
    assert_snapshot!(with_options(r#""gateway": {
    "defaultRoute": "linar"
  }"#), @r#"
    error: there is no route `linar`
     --> config/policies.json:4:21
      |
    4 |     "defaultRoute": "linar"
      |                     ^^^^^^^
      = help: did you mean `linear`?

    1 problem in the configuration
    "#);
}

#[test]
fn the_allow_list_has_no_globs() {
    assert_snapshot!(with_options(r#""gateway": {
    "redirectUriAllowList": ["https://*.example.com", "http://example.com/cb", "https://ok.example.com"]
  }"#), @r#"
    error: this is neither a redirect URI nor an `https://host` origin
     --> config/policies.json:4:30
      |
    4 |     "redirectUriAllowList": ["https://*.example.com", "http://example.com/cb", "https://ok.example.com"]
      |                              ^^^^^^^^^^^^^^^^^^^^^^^
      = help: write an exact URI such as `https://claude.ai/api/mcp/auth_callback`, or an origin such as `https://claude.ai`; there are no globs

    error: this is neither a redirect URI nor an `https://host` origin
     --> config/policies.json:4:55
      |
    4 |     "redirectUriAllowList": ["https://*.example.com", "http://example.com/cb", "https://ok.example.com"]
      |                                                       ^^^^^^^^^^^^^^^^^^^^^^^
      = help: write an exact URI such as `https://claude.ai/api/mcp/auth_callback`, or an origin such as `https://claude.ai`; there are no globs

    2 problems in the configuration
    "#);
}

#[test]
fn hosts_are_bare_names() {
    assert_snapshot!(with_options(r#""gateway": {
    "cimdAllowedHosts": ["https://claude.ai"], "cimdDeniedHosts": ["*.example.com"]
  }"#), @r#"
    error: `https://claude.ai` is not a host name
     --> config/policies.json:4:26
      |
    4 |     "cimdAllowedHosts": ["https://claude.ai"], "cimdDeniedHosts": ["*.example.com"]
      |                          ^^^^^^^^^^^^^^^^^^^
      = help: such as `claude.ai`: no scheme, port, path or wildcard

    error: `*.example.com` is not a host name
     --> config/policies.json:4:68
      |
    4 |     "cimdAllowedHosts": ["https://claude.ai"], "cimdDeniedHosts": ["*.example.com"]
      |                                                                    ^^^^^^^^^^^^^^^
      = help: such as `claude.ai`: no scheme, port, path or wildcard

    2 problems in the configuration
    "#);
}

#[test]
fn a_pinned_document_meets_the_demands_of_a_fetched_one() {
    assert_snapshot!(with_options(r#""gateway": {
    "cimdDocuments": {"http://a.example.com/": {"client_id": "b", "redirect_uris": [], "client_secret": "x"}}
  }"#), @r#"
    error: `http://a.example.com/` cannot be a client id
     --> config/policies.json:4:23
      |
    4 |     "cimdDocuments": {"http://a.example.com/": {"client_id": "b", "redirect_uris": [], "client_secret": "*"}}
      |                       ^^^^^^^^^^^^^^^^^^^^^^^
      = help: a client metadata document has an https URL with a path

    error: the document needs a `client_name`
     --> config/policies.json:4:48
      |
    4 |     "cimdDocuments": {"http://a.example.com/": {"client_id": "b", "redirect_uris": [], "client_secret": "*"}}
      |                                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: it is shown on the consent page

    error: `client_id` of the document must be its URL
     --> config/policies.json:4:62
      |
    4 |     "cimdDocuments": {"http://a.example.com/": {"client_id": "b", "redirect_uris": [], "client_secret": "*"}}
      |                                                              ^^^
      = help: write the key's URL again, byte for byte

    error: the document needs usable `redirect_uris`
     --> config/policies.json:4:84
      |
    4 |     "cimdDocuments": {"http://a.example.com/": {"client_id": "b", "redirect_uris": [], "client_secret": "*"}}
      |                                                                                    ^^
      = help: https, http on loopback, or a private-use scheme; no fragment

    error: a client metadata document cannot hold a secret
     --> config/policies.json:4:88
      |
    4 |     "cimdDocuments": {"http://a.example.com/": {"client_id": "b", "redirect_uris": [], "client_secret": "*"}}
      |                                                                                        ^^^^^^^^^^^^^^^
      = help: declare the client under `clients`

    5 problems in the configuration
    "#);
}

#[test]
fn a_resource_server_is_complete_and_unique() {
    assert_snapshot!(with_options(r#""gateway": {
    "resourceServers": [{"id": "api", "secret": "$env(SECRET)", "routes": ["nope"]},
    {"id": "api", "secret": "$env(SECRET)"}, {"id": "b:c"}]
  }"#), @r#"
    error: there is no route `nope`
     --> config/policies.json:4:76
      |
    4 |     "resourceServers": [{"id": "api", "secret": "$env(SECRET)", "routes": ["nope"]},
      |                                                                            ^^^^^^
      = help: name a route by its path, such as `/mcp/linear`, or its slug, such as `linear`

    error: the id `api` is taken
     --> config/policies.json:5:12
      |
    5 |     {"id": "api", "secret": "$env(SECRET)"}, {"id": "b:c"}]
      |            ^^^^^
      = help: clients and resource servers have ids of their own

    error: `secret` is missing in an entry of `resourceServers`
     --> config/policies.json:5:46
      |
    5 |     {"id": "api", "secret": "$env(SECRET)"}, {"id": "b:c"}]
      |                                              ^
      = help: add `"secret": …`; `doorward schema` describes it

    error: this cannot be an id
     --> config/policies.json:5:53
      |
    5 |     {"id": "api", "secret": "$env(SECRET)"}, {"id": "b:c"}]
      |                                                     ^^^^^
      = help: use letters, digits, `-`, `_` and `.`

    4 problems in the configuration
    "#);
}

#[test]
fn operators_are_named_by_address() {
    assert_snapshot!(with_options(r#""gateway": {
    "operators": {"emails": ["ada"]}
  }"#), @r#"
    error: `ada` is not an e-mail address
     --> config/policies.json:4:30
      |
    4 |     "operators": {"emails": ["ada"]}
      |                              ^^^^^
      = help: such as `ada@example.com`

    1 problem in the configuration
    "#);
}

// LIM-2
#[test]
fn limits_are_numbers_or_off() {
    let limits = |text: &str| crate::gateway(&format!(r#""limits": {text}"#)).limits;
    assert_eq!(limits("false"), None);
    assert_eq!(limits("true"), limits("{}"));
    let some = limits(r#"{ "registrationsPerMinute": 7, "streamsPerGrant": 9 }"#).unwrap();
    assert_eq!((some.registrations, some.streams_per_grant, some.authorizations), (7, 9, 300));
}

// LIM-2
#[test]
fn a_limit_of_nothing_or_by_another_name_is_refused() {
    assert_snapshot!(with_options(r#""gateway": {
    "limits": { "registrationsPerMinute": 0, "streamsPerGrants": 5 }
  }"#), @r#"
    error: `registrationsPerMinute` must be a whole number from 1 to 1000000
     --> config/policies.json:4:43
      |
    4 |     "limits": { "registrationsPerMinute": 0, "streamsPerGrants": 5 }
      |                                           ^
      = help: the default is `120`

    error: unknown key `streamsPerGrants` in `limits`
     --> config/policies.json:4:46
      |
    4 |     "limits": { "registrationsPerMinute": 0, "streamsPerGrants": 5 }
      |                                              ^^^^^^^^^^^^^^^^^^
      = help: did you mean `streamsPerGrant`?

    2 problems in the configuration
    "#);
    assert_snapshot!(with_options(r#""gateway": {
    "limits": "off"
  }"#), @r#"
    error: `limits` must be true or false or an object, not a string
     --> config/policies.json:4:15
      |
    4 |     "limits": "off"
      |               ^^^^^
      = help: `doorward schema` describes every option

    1 problem in the configuration
    "#);
}
