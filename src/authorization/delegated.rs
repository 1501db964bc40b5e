//! Direct mode (gateway.md §7): the authorization server is AuthKit, and the gateway tells clients so (RFC 9728), with a
//! copy of AuthKit's own metadata for clients that look for them here (RFC 8414).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::model::{DirectPolicy, Route};
use crate::domain::Clock;
use crate::oauth::metadata::ProtectedResourceMetadata;
use crate::outbound::{Outbound, RemoteDocument};

/// Endpoints that the metadata must name, at AuthKit.
const ENDPOINTS: [&str; 2] = ["authorization_endpoint", "token_endpoint"];

/// AuthKit, as clients are told of it.
pub struct DelegatedServer {
    pub policy: DirectPolicy,
    metadata: RemoteDocument,
    openid_configuration: RemoteDocument,
    clock: Arc<dyn Clock>,
}

impl DelegatedServer {
    #[must_use]
    pub fn new(policy: DirectPolicy, outbound: &Outbound, clock: Arc<dyn Clock>) -> Self {
        let document = |name| RemoteDocument::new(outbound.clone(), policy.authkit.well_known(name));
        Self {
            metadata: document("oauth-authorization-server"),
            openid_configuration: document("openid-configuration"),
            policy,
            clock,
        }
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.policy.authkit.issuer
    }

    /// The metadata of a route at `origin`: AuthKit is where its tokens come from.
    #[must_use]
    pub fn resource(&self, origin: &str, route: &Route) -> ProtectedResourceMetadata {
        let scopes = self.policy.scopes_supported.union(&self.policy.required_scopes).union(&route.required_scopes);
        super::describe(&self.policy.resource, origin, route, self.issuer(), &scopes)
    }

    /// AuthKit's metadata as AuthKit serves them, as long as they can be had.
    pub async fn metadata(&self) -> Arc<Value> {
        self.passed_on(&self.metadata).await
    }

    /// The same in the form of `OpenID` Connect Discovery.
    pub async fn openid_configuration(&self) -> Arc<Value> {
        self.passed_on(&self.openid_configuration).await
    }

    /// Whether clients may register themselves at AuthKit, as far as its metadata tell.
    pub async fn takes_registrations(&self) -> bool {
        self.metadata().await.get("registration_endpoint").is_some()
    }

    async fn passed_on(&self, document: &RemoteDocument) -> Arc<Value> {
        let accept = |document: &Value| self.accept(document);
        document.get(self.clock.now(), accept).await.unwrap_or_else(|| Arc::new(self.fallback()))
    }

    /// Looks at a document that was just fetched.
    fn accept(&self, document: &Value) -> Result<(), String> {
        let issuer = self.issuer();
        match document.get("issuer").and_then(Value::as_str) {
            Some(named) if named == issuer => {}
            Some(named) => {
                let named: String = named.chars().take(200).collect();
                return Err(format!(
                    "AuthKit calls itself {named:?} where `authkitDomain` means {issuer:?}: configure the domain that it names"
                ));
            }
            None => return Err("it names no issuer".to_owned()),
        }
        if let Some(missing) = ENDPOINTS.into_iter().find(|name| document.get(name).is_none_or(|url| !url.is_string()))
        {
            return Err(format!("it lacks `{missing}`"));
        }
        if document.get("registration_endpoint").is_none() {
            let documents = document.get("client_id_metadata_document_supported") == Some(&Value::Bool(true));
            let who = if documents { "clients without a metadata document of their own" } else { "new clients" };
            tracing::warn!(
                event = "authkit_registration_off",
                "{who} cannot connect: switch on Dynamic Client Registration in the WorkOS dashboard (Connect, \
                 Configuration), or set `mode` to `preregistered`"
            );
        }
        Ok(())
    }

    /// What AuthKit's documentation says of every AuthKit domain.
    fn fallback(&self) -> Value {
        let issuer = self.issuer();
        let endpoint = |name: &str| self.policy.authkit.endpoint(name).to_string();
        json!({
            "issuer": issuer,
            "authorization_endpoint": endpoint("authorize"),
            "token_endpoint": endpoint("token"),
            "registration_endpoint": endpoint("register"),
            "introspection_endpoint": endpoint("introspection"),
            "userinfo_endpoint": endpoint("userinfo"),
            "jwks_uri": endpoint("jwks"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
            "scopes_supported": ["email", "offline_access", "openid", "profile"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }
}
