//! Static clients (STAT-1, STAT-2, STAT-5).

use insta::assert_snapshot;

use crate::with_options;

#[test]
fn stat_5_an_id_is_not_a_url() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "https://a.example.com/c", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @r#"
    error: a static client's id cannot be a URL: those belong to client metadata documents
     --> config/policies.json:4:30
      |
    4 |     "clients": [{"clientId": "https://a.example.com/c", "redirectUris": ["https://a.example.com/cb"]}]
      |                              ^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: choose a name such as `ci-runner`

    1 problem in the configuration
    "#);
}

#[test]
fn stat_5_an_id_is_not_that_of_a_registered_client() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "dcr_1", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @r#"
    error: a static client's id cannot begin with `dcr_`: those belong to registered clients
     --> config/policies.json:4:30
      |
    4 |     "clients": [{"clientId": "dcr_1", "redirectUris": ["https://a.example.com/cb"]}]
      |                              ^^^^^^^
      = help: choose a name such as `ci-runner`

    1 problem in the configuration
    "#);
}

#[test]
fn stat_5_an_id_is_not_that_of_a_person() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "usr_1", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @r#"
    error: a static client's id cannot begin with `usr_`: those belong to people
     --> config/policies.json:4:30
      |
    4 |     "clients": [{"clientId": "usr_1", "redirectUris": ["https://a.example.com/cb"]}]
      |                              ^^^^^^^
      = help: choose a name such as `ci-runner`

    1 problem in the configuration
    "#);
}

#[test]
fn an_id_has_no_blanks() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a b", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @r#"
    error: a client id is 1 to 200 printable ASCII characters without blanks
     --> config/policies.json:4:30
      |
    4 |     "clients": [{"clientId": "a b", "redirectUris": ["https://a.example.com/cb"]}]
      |                              ^^^^^
      = help: choose a name such as `ci-runner`

    1 problem in the configuration
    "#);
}

#[test]
fn ids_are_unique() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"]},
    {"clientId": "a", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @r#"
    error: there are two clients with the id `a`
     --> config/policies.json:5:18
      |
    5 |     {"clientId": "a", "redirectUris": ["https://a.example.com/cb"]}]
      |                  ^^^
      = help: the first stands in line 4; ids are unique

    1 problem in the configuration
    "#);
}

#[test]
fn stat_5_an_unusable_redirect_is_refused() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["http://a.example.com/cb", "javascript:alert(1)", "https://a.example.com/#x"]}]
  }"#), @r#"
    error: this cannot be a redirect URI
     --> config/policies.json:4:52
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["http://a.example.com/cb", "javascript:alert(1)", "https://a.example.com/#x"]}]
      |                                                    ^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: use https, http on loopback, or a private-use scheme such as `cursor://`; no fragment, user or password

    error: this cannot be a redirect URI
     --> config/policies.json:4:79
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["http://a.example.com/cb", "javascript:alert(1)", "https://a.example.com/#x"]}]
      |                                                                               ^^^^^^^^^^^^^^^^^^^^^
      = help: use https, http on loopback, or a private-use scheme such as `cursor://`; no fragment, user or password

    error: this cannot be a redirect URI
     --> config/policies.json:4:102
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["http://a.example.com/cb", "javascript:alert(1)", "https://a.example.com/#x"]}]
      |                                                                                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: use https, http on loopback, or a private-use scheme such as `cursor://`; no fragment, user or password

    3 problems in the configuration
    "#);
}

#[test]
fn a_client_needs_a_redirect() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": []}]
  }"#), @r#"
    error: the client needs `redirectUris`
     --> config/policies.json:4:51
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": []}]
      |                                                   ^^
      = help: where it takes its codes, such as `https://app.example.com/callback`

    1 problem in the configuration
    "#);
}

#[test]
fn a_redirect_outside_of_the_allow_list_is_refused() {
    assert_snapshot!(with_options(r#""gateway": {
    "redirectUriAllowList": ["https://b.example.com"],
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"]}]
  }"#), @r#"
    error: `gateway.redirectUriAllowList` does not admit this redirect URI
     --> config/policies.json:5:52
      |
    5 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"]}]
      |                                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: add it to the list

    1 problem in the configuration
    "#);
}

#[test]
fn a_private_scheme_is_for_public_clients() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["cursor://x/cb"], "clientSecret": "$env(SECRET)"}]
  }"#), @r#"
    error: a private-use scheme is for public clients only
     --> config/policies.json:4:52
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["cursor://x/cb"], "clientSecret": "$env(SECRET)"}]
      |                                                    ^^^^^^^^^^^^^^^
      = help: set `authMethod` to `none` and leave the secret out, or use an https redirect URI

    1 problem in the configuration
    "#);
}

#[test]
fn stat_2_a_hash_has_its_form() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecretHash": "md5:abc"}]
  }"#), @r#"
    error: a secret's hash is `sha256:` and 64 hexadecimal digits
     --> config/policies.json:4:101
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecretHash": "*******"}]
      |                                                                                                     ^^^^^^^^^
      = help: printf %s "$SECRET" | sha256sum

    1 problem in the configuration
    "#);
}

#[test]
fn stat_2_there_are_two_secrets_at_most() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecret": ["$env(SECRET)", "$env(SECRET)", "$env(SECRET)"]}]
  }"#), @r#"
    error: `clientSecret` holds more than 2 values
     --> config/policies.json:4:97
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecret": ["$env(SECRET)", "$env(SECRET)", "$env(SECRET)"]}]
      |                                                                                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: remove the oldest

    1 problem in the configuration
    "#);
}

#[test]
fn a_secret_and_its_hash_exclude_each_other() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "clientSecret": "$env(SECRET)",
      "clientSecretHash": "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}]
  }"#), @r#"
    error: `clientSecret` and `clientSecretHash` exclude each other
     --> config/policies.json:5:27
      |
    5 |       "clientSecretHash": "***********************************************************************"}]
      |                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: keep the hash

    1 problem in the configuration
    "#);
}

#[test]
fn a_method_needs_its_credentials() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "authMethod": "client_secret_post"},
    {"clientId": "b", "redirectUris": ["https://a.example.com/cb"], "authMethod": "private_key_jwt"},
    {"clientId": "c", "redirectUris": ["https://a.example.com/cb"], "authMethod": "none", "clientSecret": "$env(SECRET)"}]
  }"#), @r#"
    error: `client_secret_post` needs a secret
     --> config/policies.json:4:95
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "authMethod": "client_secret_post"},
      |                                                                                               ^^^^^^^^^^^^^^^^^^^^
      = help: give `clientSecretHash`, or set `authMethod` to `none`

    error: `private_key_jwt` needs keys
     --> config/policies.json:5:83
      |
    5 |     {"clientId": "b", "redirectUris": ["https://a.example.com/cb"], "authMethod": "private_key_jwt"},
      |                                                                                   ^^^^^^^^^^^^^^^^^
      = help: give `jwks`: a JWK set, or the https URL of one

    error: `none` is for clients without credentials
     --> config/policies.json:6:83
      |
    6 |     {"clientId": "c", "redirectUris": ["https://a.example.com/cb"], "authMethod": "none", "clientSecret": "$env(SECRET)"}]
      |                                                                                   ^^^^^^
      = help: leave `authMethod` out, or the credentials

    3 problems in the configuration
    "#);
}

#[test]
fn keys_are_public() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "jwks": {"keys": [{"kty": "EC", "d": "private"}]}}]
  }"#), @r#"
    error: `jwks` must hold public keys
     --> config/policies.json:4:89
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "jwks": {"keys": [{"kty": "EC", "d": "*******"}]}}]
      |                                                                                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: `{"keys": [{"kty": "EC", …}]}`, without private members

    1 problem in the configuration
    "#);
}

#[test]
fn a_key_url_is_https() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "jwks": "http://a.example.com/jwks"}]
  }"#), @r#"
    error: `jwks` must be an https URL or a JWK set
     --> config/policies.json:4:89
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "jwks": "http://a.example.com/jwks"}]
      |                                                                                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: such as `https://app.example.com/jwks.json`

    1 problem in the configuration
    "#);
}

#[test]
fn grant_types_hold_the_code_grant() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "grantTypes": ["refresh_token"]},
    {"clientId": "b", "redirectUris": ["https://a.example.com/cb"], "grantTypes": ["client_credentials"]}]
  }"#), @r#"
    error: a client needs the grant type `authorization_code`
     --> config/policies.json:4:95
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "grantTypes": ["refresh_token"]},
      |                                                                                               ^^^^^^^^^^^^^^^^^
      = help: leave `grantTypes` out for `authorization_code` and `refresh_token`

    error: an entry of `grantTypes` must be `authorization_code` or `refresh_token` or `urn:ietf:params:oauth:grant-type:jwt-bearer`, not `client_credentials`
     --> config/policies.json:5:84
      |
    5 |     {"clientId": "b", "redirectUris": ["https://a.example.com/cb"], "grantTypes": ["client_credentials"]}]
      |                                                                                    ^^^^^^^^^^^^^^^^^^^^
      = help: write `authorization_code` or `refresh_token` or `urn:ietf:params:oauth:grant-type:jwt-bearer`

    2 problems in the configuration
    "#);
}

#[test]
fn scopes_and_routes_exist() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": ["mcp:tols"], "routes": ["/mcp/linaer"]}]
  }"#), @r#"
    error: there is no scope `mcp:tols`
     --> config/policies.json:4:92
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": ["mcp:tols"], "routes": ["/mcp/linaer"]}]
      |                                                                                            ^^^^^^^^^^
      = help: did you mean `mcp:tools`?

    error: there is no route `/mcp/linaer`
     --> config/policies.json:4:116
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": ["mcp:tols"], "routes": ["/mcp/linaer"]}]
      |                                                                                                                    ^^^^^^^^^^^^^
      = help: did you mean `/mcp/linear`?

    2 problems in the configuration
    "#);
}

#[test]
fn empty_lists_are_refused() {
    assert_snapshot!(with_options(r#""gateway": {
    "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": [], "routes": []}]
  }"#), @r#"
    error: a client without scopes can do nothing
     --> config/policies.json:4:91
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": [], "routes": []}]
      |                                                                                           ^^
      = help: leave `scopes` out for all scopes

    error: the list of routes is empty
     --> config/policies.json:4:105
      |
    4 |     "clients": [{"clientId": "a", "redirectUris": ["https://a.example.com/cb"], "scopes": [], "routes": []}]
      |                                                                                                         ^^
      = help: leave it out for all routes

    2 problems in the configuration
    "#);
}
