//! Discovery documents: authorization server metadata (RFC 8414), the same as an OpenID configuration, and
//! protected resource metadata (RFC 9728). DISC-1 … DISC-17, SCOPE-1, SCOPE-2.
//!
//! Says only what is there: a member stands here because an endpoint or rule of the gateway answers for it
//! (DISC-18).

use jsonwebtoken::Algorithm;
use serde::Serialize;

use super::scope::{ScopeCatalog, ScopeSet};
use super::token::JWT_BEARER;
use crate::crypto::ASYMMETRIC;

/// RFC 7591 names of the methods of client authentication (DISC-16).
const AUTH_METHODS: [&str; 4] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
/// The same for resource servers, which have a secret (REV-7).
const SECRET_METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// draft-ietf-oauth-identity-assertion-authz-grant, `authorization_grant_profiles_supported`.
const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// The facts that the metadata of one issuer tells.
#[derive(Debug, Clone, Copy)]
pub struct Issuer<'a> {
    /// The public origin, without trailing slash.
    pub origin: &'a str,
    /// Path of the route whose URL is the issuer; `None` for the origin's own metadata (DISC-6, DISC-7).
    pub route: Option<&'a str>,
    /// Where the endpoints hang: `/` or `/prefix/`.
    pub base_path: &'a str,
    pub scopes: &'a ScopeCatalog,
    /// JWS name of the algorithm that signs tokens.
    pub signing_alg: &'a str,
    pub registration: bool,
    pub client_id_metadata: bool,
    pub introspection: bool,
    /// Identity assertions count (EXT-2). Whose, is nobody's business.
    pub assertions: bool,
}

/// RFC 8414 §2, with RFC 9207 §3 and the client-id metadata draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthorizationServerMetadata {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub revocation_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint_auth_methods_supported: Option<[&'static str; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    pub jwks_uri: String,
    pub scopes_supported: Vec<String>,
    pub response_types_supported: [&'static str; 1],
    pub response_modes_supported: [&'static str; 1],
    pub grant_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_grant_profiles_supported: Option<[&'static str; 1]>,
    pub code_challenge_methods_supported: [&'static str; 1],
    pub token_endpoint_auth_methods_supported: [&'static str; 4],
    pub token_endpoint_auth_signing_alg_values_supported: [Algorithm; 9],
    pub revocation_endpoint_auth_methods_supported: [&'static str; 4],
    pub revocation_endpoint_auth_signing_alg_values_supported: [Algorithm; 9],
    pub authorization_response_iss_parameter_supported: bool,
    pub client_id_metadata_document_supported: bool,
}

impl AuthorizationServerMetadata {
    #[must_use]
    pub fn of(issuer: &Issuer<'_>) -> Self {
        let Issuer { origin, base_path, .. } = *issuer;
        let route = issuer.route.unwrap_or_default();
        let endpoint = |name: &str| format!("{origin}{base_path}oauth/{name}");
        Self {
            issuer: format!("{origin}{route}"),
            authorization_endpoint: format!("{}{route}", endpoint("authorize")),
            token_endpoint: endpoint("token"),
            revocation_endpoint: endpoint("revoke"),
            introspection_endpoint: issuer.introspection.then(|| endpoint("introspect")),
            introspection_endpoint_auth_methods_supported: issuer.introspection.then_some(SECRET_METHODS),
            registration_endpoint: issuer.registration.then(|| endpoint("register")),
            jwks_uri: format!("{origin}/.well-known/jwks.json"),
            scopes_supported: issuer.scopes.advertised(),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: grant_types(issuer),
            authorization_grant_profiles_supported: issuer.assertions.then_some([ID_JAG_PROFILE]),
            code_challenge_methods_supported: ["S256"],
            token_endpoint_auth_methods_supported: AUTH_METHODS,
            token_endpoint_auth_signing_alg_values_supported: ASYMMETRIC,
            revocation_endpoint_auth_methods_supported: AUTH_METHODS,
            revocation_endpoint_auth_signing_alg_values_supported: ASYMMETRIC,
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: issuer.client_id_metadata,
        }
    }
}

fn grant_types(issuer: &Issuer<'_>) -> Vec<&'static str> {
    let assertions = issuer.assertions.then_some(JWT_BEARER);
    ["authorization_code", "refresh_token"].into_iter().chain(assertions).collect()
}

/// The same for clients that look for an OpenID provider (DISC-8): with the members that strict parsers
/// demand (DISC-9), though no ID token is ever issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenIdConfiguration {
    #[serde(flatten)]
    pub metadata: AuthorizationServerMetadata,
    pub subject_types_supported: [&'static str; 1],
    pub id_token_signing_alg_values_supported: [String; 1],
}

impl OpenIdConfiguration {
    #[must_use]
    pub fn of(issuer: &Issuer<'_>) -> Self {
        Self {
            metadata: AuthorizationServerMetadata::of(issuer),
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: [issuer.signing_alg.to_owned()],
        }
    }
}

/// RFC 9728 §2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProtectedResourceMetadata {
    /// `{origin}{route path}`, byte-equal to what tokens name as `aud`.
    pub resource: String,
    pub authorization_servers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    pub bearer_methods_supported: [&'static str; 1],
    pub resource_name: String,
    /// A page for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_documentation: Option<String>,
}

impl ProtectedResourceMetadata {
    /// `authorization_server` is the origin issuer (DISC-3), or AuthKit in direct mode; `scopes` what the route's tools need, and no
    /// more (SCOPE-1).
    #[must_use]
    pub fn of(origin: &str, route: &str, name: &str, authorization_server: &str, scopes: &ScopeSet) -> Self {
        Self {
            resource: format!("{origin}{route}"),
            authorization_servers: vec![authorization_server.to_owned()],
            scopes_supported: scopes.iter().map(str::to_owned).collect(),
            bearer_methods_supported: ["header"],
            resource_name: name.to_owned(),
            resource_documentation: None,
        }
    }
}

/// Where the metadata of a route stands (RFC 9728 §3.1), for challenges.
#[must_use]
pub fn protected_resource_url(origin: &str, route: &str) -> String {
    format!("{origin}/.well-known/oauth-protected-resource{route}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    const ORIGIN: &str = "https://gw.example";

    fn catalog() -> ScopeCatalog {
        ScopeCatalog::new(&BTreeMap::from([("mcp:tools".to_owned(), vec!["mcp:read".to_owned()])]))
    }

    fn issuer<'a>(route: Option<&'a str>, scopes: &'a ScopeCatalog) -> Issuer<'a> {
        Issuer {
            origin: ORIGIN,
            route,
            base_path: "/",
            scopes,
            signing_alg: "ES256",
            registration: true,
            client_id_metadata: true,
            introspection: false,
            assertions: false,
        }
    }

    fn json_of<T: Serialize>(document: &T) -> Value {
        serde_json::to_value(document).unwrap()
    }

    // DISC-6, DISC-14 … DISC-17, SCOPE-2
    #[test]
    fn the_origins_metadata_has_every_member_a_client_looks_for() {
        let document = json_of(&AuthorizationServerMetadata::of(&issuer(None, &catalog())));
        for (member, value) in [
            ("issuer", json!("https://gw.example")),
            ("authorization_endpoint", json!("https://gw.example/oauth/authorize")),
            ("token_endpoint", json!("https://gw.example/oauth/token")),
            ("revocation_endpoint", json!("https://gw.example/oauth/revoke")),
            ("registration_endpoint", json!("https://gw.example/oauth/register")),
            ("jwks_uri", json!("https://gw.example/.well-known/jwks.json")),
            ("scopes_supported", json!(["mcp:read", "mcp:tools", "offline_access"])),
            ("response_types_supported", json!(["code"])),
            ("grant_types_supported", json!(["authorization_code", "refresh_token"])),
            ("code_challenge_methods_supported", json!(["S256"])),
            (
                "token_endpoint_auth_methods_supported",
                json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]),
            ),
            ("authorization_response_iss_parameter_supported", json!(true)),
            ("client_id_metadata_document_supported", json!(true)),
        ] {
            assert_eq!(document[member], value, "{member}");
        }
        let algorithms = document["token_endpoint_auth_signing_alg_values_supported"].as_array().unwrap();
        assert!(algorithms.iter().all(|name| !name.as_str().unwrap().starts_with("HS") && name != "none"));
    }

    // DISC-7, DISC-10
    #[test]
    fn a_routes_metadata_has_its_own_issuer_and_authorization_endpoint() {
        let catalog = catalog();
        let route = AuthorizationServerMetadata::of(&issuer(Some("/mcp/linear"), &catalog));
        assert_eq!(route.issuer, "https://gw.example/mcp/linear");
        assert_eq!(route.authorization_endpoint, "https://gw.example/oauth/authorize/mcp/linear");
        assert_eq!(route.token_endpoint, AuthorizationServerMetadata::of(&issuer(None, &catalog)).token_endpoint);
    }

    #[test]
    fn a_base_path_moves_the_endpoints_and_neither_issuer_nor_keys() {
        let catalog = catalog();
        let document =
            AuthorizationServerMetadata::of(&Issuer { base_path: "/gate/", ..issuer(Some("/mcp/linear"), &catalog) });
        assert_eq!(document.authorization_endpoint, "https://gw.example/gate/oauth/authorize/mcp/linear");
        assert_eq!(document.token_endpoint, "https://gw.example/gate/oauth/token");
        assert_eq!(document.issuer, "https://gw.example/mcp/linear");
        assert_eq!(document.jwks_uri, "https://gw.example/.well-known/jwks.json");
    }

    // DISC-17, DISC-18
    #[test]
    fn what_is_switched_off_is_not_advertised() {
        let catalog = catalog();
        let off = Issuer { registration: false, client_id_metadata: false, ..issuer(None, &catalog) };
        let document = json_of(&AuthorizationServerMetadata::of(&off));
        assert_eq!(document["client_id_metadata_document_supported"], json!(false));
        for absent in [
            "registration_endpoint",
            "introspection_endpoint",
            "introspection_endpoint_auth_methods_supported",
            "end_session_endpoint",
            "userinfo_endpoint",
            "authorization_grant_profiles_supported",
        ] {
            assert!(document.get(absent).is_none(), "{absent}");
        }
        let on = json_of(&AuthorizationServerMetadata::of(&Issuer { introspection: true, ..off }));
        assert_eq!(on["introspection_endpoint"], "https://gw.example/oauth/introspect");
        assert_eq!(
            on["introspection_endpoint_auth_methods_supported"],
            json!(["client_secret_basic", "client_secret_post"])
        );
    }

    // EXT-2, DISC-14
    #[test]
    fn identity_assertions_add_their_grant_type_and_profile() {
        let catalog = catalog();
        let on = Issuer { assertions: true, ..issuer(None, &catalog) };
        let document = json_of(&AuthorizationServerMetadata::of(&on));
        let grants = json!(["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"]);
        assert_eq!(document["grant_types_supported"], grants);
        let profiles = json!(["urn:ietf:params:oauth:grant-profile:id-jag"]);
        assert_eq!(document["authorization_grant_profiles_supported"], profiles);
    }

    // DISC-8, DISC-9
    #[test]
    fn the_openid_configuration_is_a_superset_of_the_metadata() {
        let catalog = catalog();
        let issuer = issuer(Some("/mcp/linear"), &catalog);
        let (plain, openid) =
            (json_of(&AuthorizationServerMetadata::of(&issuer)), json_of(&OpenIdConfiguration::of(&issuer)));
        for (member, value) in plain.as_object().unwrap() {
            assert_eq!(openid[member], *value, "{member}");
        }
        assert_eq!(openid["subject_types_supported"], json!(["public"]));
        assert_eq!(openid["id_token_signing_alg_values_supported"], json!(["ES256"]));
    }

    // DISC-1, DISC-3, SCOPE-1
    #[test]
    fn a_resource_names_itself_its_server_and_the_scopes_it_needs() {
        let scopes = ScopeSet::parse("mcp:tools");
        let document = ProtectedResourceMetadata::of(ORIGIN, "/mcp/linear", "Linear", ORIGIN, &scopes);
        assert_eq!(
            json_of(&document),
            json!({
                "resource": "https://gw.example/mcp/linear",
                "authorization_servers": ["https://gw.example"],
                "scopes_supported": ["mcp:tools"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Linear",
            })
        );
        let bare = ProtectedResourceMetadata::of(ORIGIN, "/mcp/linear", "Linear", ORIGIN, &ScopeSet::default());
        assert!(json_of(&bare).get("scopes_supported").is_none());
        assert_eq!(
            protected_resource_url(ORIGIN, "/mcp/linear"),
            "https://gw.example/.well-known/oauth-protected-resource/mcp/linear"
        );
    }
}
