//! The authorization server, free of HTTP frameworks: OAuth 2.1, RFC 7523, 7591, 7009, 7662, 8707, 9207 and the
//! client-id metadata draft, as MCP's authorization pages profile them.
//!
//! Owns the steps from the client's request to its tokens. Each use case is a file whose main function reads
//! as the list of its steps, with one error enum; `web/` makes HTTP of them. Must not know axum, cookies'
//! names or page text.

mod access;
mod account;
mod assertion_grant;
mod authorize;
mod client_authentication;
mod clients;
mod code_grant;
mod connections;
mod consent;
mod delegated;
mod derivation;
mod introspect;
mod limits;
mod login;
mod login_sessions;
mod refresh_grant;
mod register;
mod revoke;
mod self_describing;
mod token;

use std::sync::Arc;

pub use access::NotIssued;
pub use account::{Account, AccountError, OwnGrant, Revoke};
pub use authorize::{AuthorizeError, Authorized, ClientAnswer, Incoming, LocalError};
pub use clients::{ClientError, Clients};
pub use connections::{Begin, BeginError, LinkView, OwnConnection, Standing};
pub use consent::{ConsentError, ConsentView, Decided, Decision};
pub use delegated::DelegatedServer;
pub use derivation::DerivationKeys;
pub use introspect::IntrospectError;
pub use limits::Budgets;
pub use login::{Callback, CallbackError, LoginStarted, Onward, SignedIn, StartError};
pub use login_sessions::{LoginSessions, SessionError};
pub use register::{ManagementError, RegisterError, Registered};
pub use revoke::RevokeError;
pub use token::{TokenFailure, TokenRequest};

use crate::config::model::{GatewayConfig, GatewayOptions, LoginPolicy, ResourceDescription, Route};
use crate::crypto::Secret;
use crate::domain::{Clock, Grant, GrantId, Random, UnixTime};
use crate::identity::IdentityProvider;
use crate::identity::id_jag::TrustedIssuers;
use crate::keys::{AccessTokenIssuer, REMEMBERED, Revocations};
use crate::oauth::metadata::ProtectedResourceMetadata;
use crate::oauth::scope::{ScopeCatalog, ScopeSet};
use crate::store::{AuditRecord, Outcome, RevocationReason, Store};
use crate::telemetry::audit;
use crate::telemetry::metrics::SignInMetrics;
use crate::upstream::Upstreams;

/// The authorization server under one configuration. A reload makes a new one over the same store and keys.
pub struct AuthorizationServer {
    pub store: Store,
    pub config: Arc<GatewayConfig>,
    pub policy: LoginPolicy,
    pub scopes: ScopeCatalog,
    pub identity: Arc<dyn IdentityProvider>,
    pub trusted_issuers: TrustedIssuers,
    pub sessions: LoginSessions,
    pub upstreams: Arc<Upstreams>,
    pub clients: Clients,
    pub issuer: Arc<AccessTokenIssuer>,
    pub revocations: Arc<Revocations>,
    pub derivation: Arc<DerivationKeys>,
    pub budgets: Budgets,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Where the endpoints hang: `/` or `/prefix/`.
    pub base_path: String,
    pub metrics: SignInMetrics,
}

impl AuthorizationServer {
    #[must_use]
    pub fn options(&self) -> &GatewayOptions {
        &self.policy.gateway
    }

    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// The routes that a token can be for: all that are not public.
    pub fn protected_routes(&self) -> impl Iterator<Item = &Route> {
        self.config.protected_routes()
    }

    #[must_use]
    pub fn route(&self, path: &str) -> Option<&Route> {
        self.config.protected_route(path)
    }

    /// The scopes that every call of a route needs (SCOPE-1).
    #[must_use]
    pub fn needed_scopes(&self, route: &Route) -> ScopeSet {
        self.scopes.needed(&route.required_scopes)
    }

    /// The metadata of a route at `origin`, which is where its tokens come from (DISC-3).
    #[must_use]
    pub fn resource(&self, origin: &str, route: &Route) -> ProtectedResourceMetadata {
        describe(&self.policy.resource, origin, route, origin, &self.needed_scopes(route))
    }

    /// Whether there is anybody who may introspect tokens (REV-7).
    #[must_use]
    pub fn may_be_introspected(&self) -> bool {
        !self.options().resource_servers.is_empty()
    }

    /// Where the provider sends the browser back to.
    #[must_use]
    pub fn callback_uri(&self, origin: &str) -> String {
        format!("{origin}{}oauth/callback", self.base_path)
    }

    fn secret(&self, prefix: &str) -> Secret {
        Secret::generate(prefix, &*self.random)
    }

    fn new_id(&self, prefix: &str) -> String {
        crate::domain::random::random_id(prefix, &*self.random)
    }

    /// Ends a grant here at once; other replicas learn of it from the store (REV-3).
    fn forget_grant(&self, grant: &GrantId) {
        self.revocations.revoke(grant.clone(), self.now().plus(REMEMBERED));
    }

    /// Writes an audit record and the matching log event. Trouble with the audit table is logged and stops
    /// nobody from signing in or out.
    async fn audit(&self, record: AuditRecord<'_>) {
        audit::record(&self.store, record).await;
    }

    /// The same for what happens often: nobody waits for the record.
    async fn audit_soon(&self, record: AuditRecord<'_>) {
        audit::record_soon(&self.store, record).await;
    }
}

/// The metadata of a route whose tokens come from `server` (RFC 9728 §2).
fn describe(
    described: &ResourceDescription,
    origin: &str,
    route: &Route,
    server: &str,
    scopes: &ScopeSet,
) -> ProtectedResourceMetadata {
    let name = described.name.as_deref().unwrap_or_else(|| route.display_name());
    ProtectedResourceMetadata {
        resource_documentation: described.documentation.as_ref().map(ToString::to_string),
        ..ProtectedResourceMetadata::of(origin, &route.path, name, server, scopes)
    }
}

/// The one audit record of a grant's end (REFR-5).
fn revocation_record(grant: &Grant, reason: RevocationReason, now: UnixTime) -> AuditRecord<'_> {
    let outcome = match reason {
        RevocationReason::CodeReplayed | RevocationReason::RefreshReplayed => Outcome::Refused,
        _ => Outcome::Success,
    };
    let record = AuditRecord::new("mcp_auth_grant_revoked", now).grant(grant);
    AuditRecord { outcome, reason: Some(reason.as_str()), ..record }
}
