//! The JSON Schemas: checked in, and complete.

use doorward::config::{policies_schema, routes_schema, without_references};

/// Every option of gateway.md §3 and §6.1 to §6.3 and §7.
const POLICY_OPTIONS: &[&str] = &[
    "name",
    "policyType",
    "handler",
    "module",
    "export",
    "options",
    "policies",
    "corsPolicies",
    "clientId",
    "clientSecret",
    "apiUrl",
    "issuers",
    "organizationId",
    "connectionId",
    "provider",
    "screenHint",
    "domainHint",
    "allowImpersonation",
    "sessionSync",
    "sessionSyncSeconds",
    "scope",
    "browserLoginOverrides",
    "remoteTimeoutMs",
    "stateTtlSeconds",
    "sessionTtlSeconds",
    "pkce",
    "idJag",
    "enabled",
    "trustedIssuers",
    "issuer",
    "oidc",
    "audience",
    "userinfoUrl",
    "endSessionUrl",
    "browserLogin",
    "url",
    "tokenUrl",
    "privateKey",
    "privateKeyId",
    "tokenEndpointAuthMethod",
    "roleClaim",
    "groupClaim",
    "permissionClaim",
    "auth0Domain",
    "awsRegion",
    "userPoolId",
    "userPoolDomain",
    "frontendApiUrl",
    "tenantId",
    "keycloakBaseUrl",
    "realm",
    "logtoEndpoint",
    "oktaDomain",
    "authorizationServerId",
    "oneLoginSubdomain",
    "environmentId",
    "region",
    "customDomain",
    "jwksUrl",
    "authkitDomain",
    "mode",
    "apiKey",
    "requiredScopes",
    "scopesSupported",
    "resourceName",
    "docsUrl",
    "verifyJwt",
    "expectedClientIds",
    "subjectMapping",
    "gateway",
    "accessTokenTtlSeconds",
    "refreshTokenTtlSeconds",
    "cimdEnabled",
    "dcrEnabled",
    "grantTtlSeconds",
    "refreshTokenReuseSeconds",
    "signingAlg",
    "scopes",
    "defaultRoute",
    "legacyAliases",
    "rememberConsent",
    "redirectUriAllowList",
    "cimdAllowedHosts",
    "cimdDeniedHosts",
    "cimdDocuments",
    "clients",
    "redirectUris",
    "clientSecretHash",
    "authMethod",
    "jwks",
    "grantTypes",
    "routes",
    "initialAccessToken",
    "maxClients",
    "clientIdleDays",
    "resourceServers",
    "id",
    "secret",
    "streamMaxSeconds",
    "closeStreamsAtExpiry",
    "outageGraceSeconds",
    "limits",
    "registrationsPerMinute",
    "authorizationsPerMinute",
    "documentFetchesPerMinute",
    "failedTokenRequestsPerMinute",
    "grantTokenRequestsPerMinute",
    "streamsPerGrant",
    "operators",
    "emails",
    "roles",
    "organizations",
    "permissions",
    "groups",
    "emailDomains",
    "emailVerified",
    "headers",
    "value",
    "overwrite",
    "header",
    "rateLimitBy",
    "requestsAllowed",
    "timeWindowMinutes",
    "headerMode",
    "mode",
    "throwOnFailure",
    "identifier",
    "samplingRate",
    "include",
    "user",
    "ipAddress",
    "queryParams",
    "geolocation",
    "eventTypeBase",
    "bucketId",
    "logUser",
    "logIpAddress",
    "logGeolocation",
    "logQueryParameters",
    "logRouteParameters",
    "tenant",
    "tenantKey",
];

/// Every member of gateway.md §2 and every option of §10 that this version has.
const ROUTE_OPTIONS: &[&str] = &[
    "openapi",
    "paths",
    "post",
    "get",
    "get,post",
    "get,post,delete",
    "operationId",
    "summary",
    "description",
    "x-zuplo-route",
    "x-doorward-route",
    "corsPolicy",
    "handler",
    "module",
    "export",
    "options",
    "policies",
    "inbound",
    "rewritePattern",
    "addresses",
    "mtlsCertificate",
    "forwardSearch",
    "followRedirects",
    "public",
    "requiredScopes",
    "forwardIdentity",
    "connectTimeoutMs",
    "firstByteTimeoutMs",
    "streamKeepAliveMs",
    "maxBodyBytes",
];

#[test]
fn the_checked_in_schemas_are_what_doorward_schema_prints() {
    for (name, schema) in [("policies", policies_schema()), ("routes", routes_schema())] {
        let file = format!("{}/config/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{schema:#}\n"), "run: doorward schema {name} > config/{name}.schema.json");
    }
}

#[test]
fn the_schemas_say_everything_once_and_name_nothing_that_is_not_there() {
    fn references<'a>(schema: &'a serde_json::Value, found: &mut Vec<&'a str>) {
        match schema {
            serde_json::Value::Object(map) => {
                found.extend(map.get("$ref").and_then(serde_json::Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    for schema in [policies_schema(), routes_schema()] {
        let mut found = Vec::new();
        references(&schema, &mut found);
        let missing: Vec<_> = found.iter().filter(|name| schema.pointer(&name[1..]).is_none()).collect();
        assert!(!found.is_empty() && missing.is_empty(), "{missing:?}");
        let whole = without_references(&schema);
        assert_eq!(whole, without_references(&whole), "nothing is left to look up");
    }
    let places = policies_schema().to_string().matches("accessTokenTtlSeconds").count();
    assert_eq!(places, 1, "what every login policy has stands in one place");
}

#[test]
fn the_schemas_know_every_option_of_the_contract() {
    for (names, schema) in [(POLICY_OPTIONS, policies_schema()), (ROUTE_OPTIONS, routes_schema())] {
        let mut known = Vec::new();
        properties(&schema, &mut known);
        let missing: Vec<_> = names.iter().filter(|name| !known.contains(&(**name).to_owned())).collect();
        assert!(missing.is_empty(), "not in the schema: {missing:?}");
    }
}

fn properties(schema: &serde_json::Value, known: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Object(properties)) = map.get("properties") {
                known.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| properties(value, known));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| properties(item, known)),
        _ => {}
    }
}

#[test]
fn the_page_about_the_proxy_lists_every_option_of_it() {
    let page = std::fs::read_to_string(format!("{}/docs/proxy.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let first = ROUTE_OPTIONS.iter().position(|name| *name == "rewritePattern").unwrap();
    let listed: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name).collect();
    assert_eq!(listed, ROUTE_OPTIONS[first..]);
}
