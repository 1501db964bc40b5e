//! Redeeming an identity assertion (RFC 7523 §2.1, draft-ietf-oauth-identity-assertion-authz-grant, MCP's
//! enterprise-managed authorization; EXT-2): a token without a browser, for a client that authenticates.
//!
//! Whether the assertion is genuine is [`crate::identity::id_jag`]'s; here it meets the request that brings it, and
//! counts once.

use std::time::Duration;

use super::AuthorizationServer;
use super::token::{TokenFailure, TokenRequest, optional, required};
use crate::config::model::Route;
use crate::crypto::SecretHash;
use crate::domain::client::GrantType;
use crate::domain::{Client, Grant, GrantId, LoginSessionId, UnixTime};
use crate::identity::id_jag::{AssertionFault, IdentityAssertion, SKEW};
use crate::oauth::resource;
use crate::oauth::scope::ScopeSet;
use crate::oauth::token::TokenResponse;
use crate::store::{AssertedGrant, AuditRecord};

/// How long a token may outlive its assertion. RFC 7521 §4.1: not by a significant period.
const OUTLIVES: Duration = Duration::from_secs(900);
/// How long a grant outlives its token, so that the calls under way can end. There is nothing to refresh.
const LINGERS: Duration = Duration::from_secs(3600);

/// What a client gets for an assertion.
struct Terms<'s> {
    route: &'s Route,
    /// `iss` of the token: the origin, or the route's own issuer.
    issuer: String,
    scope: ScopeSet,
}

impl AuthorizationServer {
    /// Whether identity assertions count at all.
    #[must_use]
    pub fn takes_assertions(&self) -> bool {
        !self.trusted_issuers.is_empty()
    }

    pub(super) async fn assertion_grant(
        &self,
        request: &TokenRequest<'_>,
        client: &Client,
    ) -> Result<TokenResponse, TokenFailure> {
        // The draft: public clients use the code flow, where a person is asked.
        if client.is_public() || !client.may_use(GrantType::JwtBearer) {
            return Err(TokenFailure::UnauthorizedClient);
        }
        let assertion = self.trusted_issuers.verify(required(request.form, "assertion")?, self.now()).await?;
        let granted = self.redeem_assertion(request, client, &assertion).await;
        if let Err(failure) = &granted {
            self.audit_assertion_refused(client, &assertion, failure).await;
        }
        granted
    }

    async fn redeem_assertion(
        &self,
        request: &TokenRequest<'_>,
        client: &Client,
        assertion: &IdentityAssertion,
    ) -> Result<TokenResponse, TokenFailure> {
        if assertion.client_id != client.id.as_str() {
            return refused("it is for another client");
        }
        let terms = self.terms(request, client, assertion)?;
        self.check_access(&terms.route.path, &assertion.person, &client.id).map_err(TokenFailure::AccessDenied)?;
        let now = self.now();
        self.budgets.asserted(&assertion.person.id, &client.id, now)?;

        let token_expires_at =
            now.plus(self.options().access_token_ttl).min(assertion.expires_at.max(now).plus(OUTLIVES));
        let grant = self.asserted_grant(request, client, assertion, &terms, token_expires_at);
        let asserted = AssertedGrant {
            grant: &grant,
            person: &assertion.person,
            shares_person: assertion.shares_person,
            assertion_id: &assertion_id(assertion),
            forget_at: UnixTime(assertion.expires_at.0.saturating_add(2 * SKEW)),
        };
        if !self.store.redeem_assertion(&asserted).await? {
            return refused("it was used before");
        }
        let record = AuditRecord::new("mcp_auth_downstream_token_issued", now).grant(&grant);
        self.audit(AuditRecord { reason: Some("id_jag"), ..record }).await;
        self.token_until(&grant, &grant.scope, token_expires_at, None)
    }

    /// Route, issuer and scope, where assertion, client and request agree.
    fn terms(
        &self,
        request: &TokenRequest<'_>,
        client: &Client,
        assertion: &IdentityAssertion,
    ) -> Result<Terms<'_>, TokenFailure> {
        let route = self.asserted_route(request, assertion)?;
        if client.routes.as_ref().is_some_and(|limit| !limit.contains(&route.path)) {
            return Err(TokenFailure::InvalidTarget);
        }
        let own = format!("{}{}", request.origin, route.path);
        let issuer = match assertion.audience.as_str() {
            // RFC 3986 §6.2.3: clients that keep the issuer as a URL add the slash.
            audience if audience.strip_suffix('/').unwrap_or(audience) == request.origin => request.origin.to_owned(),
            audience if audience == own => own,
            _ => return refused("its `aud` is not this authorization server"),
        };
        Ok(Terms { route, issuer, scope: self.asserted_scope(request, client, assertion, route)? })
    }

    /// The one route that the assertion is for and, if it says so, the request.
    fn asserted_route(
        &self,
        request: &TokenRequest<'_>,
        assertion: &IdentityAssertion,
    ) -> Result<&Route, TokenFailure> {
        let named = |route: &&Route| {
            let resources = &assertion.resources;
            resources.iter().any(|named| resource::path_of(named, request.origin).as_deref() == Some(&route.path))
        };
        let named: Vec<&Route> = self.protected_routes().filter(named).collect();
        if named.is_empty() {
            return refused("its `resource` is none of this authorization server's");
        }
        let asked = request.form.all("resource");
        let meant = |route: &&&Route| {
            let own = format!("{}{}", request.origin, route.path);
            asked.iter().all(|sent| resource::same(&own, sent))
        };
        let mut meant = named.iter().filter(meant);
        match (meant.next(), meant.next()) {
            (Some(route), None) => Ok(route),
            _ => Err(TokenFailure::InvalidTarget),
        }
    }

    /// What the issuer grants, of that what the client may have, and of that what it asks for. An issuer that names no
    /// scope grants what every call of the route needs.
    fn asserted_scope(
        &self,
        request: &TokenRequest<'_>,
        client: &Client,
        assertion: &IdentityAssertion,
        route: &Route,
    ) -> Result<ScopeSet, TokenFailure> {
        let needed = self.needed_scopes(route);
        let named = assertion.scope.as_deref();
        let granted = self.scopes.resolve(named, client.scopes.as_ref(), &needed).ok().filter(|granted| {
            // A client that may have nothing of it does not get what else it may have.
            granted.is_subset(&needed.union(&ScopeSet::parse(named.unwrap_or_default())))
        });
        let granted = granted.ok_or(TokenFailure::Assertion("its `scope` has nothing that can be granted here"))?;
        match optional(request.form, "scope")? {
            None => Ok(granted),
            Some(asked) => self.scopes.narrow(&granted, asked).map_err(|_| TokenFailure::InvalidScope),
        }
    }

    fn asserted_grant(
        &self,
        request: &TokenRequest<'_>,
        client: &Client,
        assertion: &IdentityAssertion,
        terms: &Terms<'_>,
        token_expires_at: UnixTime,
    ) -> Grant {
        Grant {
            id: GrantId::new(self.new_id("grt_")),
            subject: assertion.person.id.clone(),
            client_id: client.id.clone(),
            resource: format!("{}{}", request.origin, terms.route.path),
            route: terms.route.path.clone(),
            scope: terms.scope.clone(),
            origin: request.origin.to_owned(),
            issuer: terms.issuer.clone(),
            redirect_host: String::new(),
            authenticated_at: assertion.authenticated_at,
            // A login of its own: what this assertion says of the person is true of its grant alone.
            login_session: Some(LoginSessionId::new(self.new_id("ls_"))),
            created_at: self.now(),
            expires_at: token_expires_at.plus(LINGERS),
            revoked_at: None,
        }
    }

    async fn audit_assertion_refused(&self, client: &Client, assertion: &IdentityAssertion, failure: &TokenFailure) {
        let reason = match failure {
            TokenFailure::AccessDenied(refusal) => refusal.reason_code(),
            TokenFailure::Assertion(cause) => cause,
            other => other.code().as_str(),
        };
        self.audit(AuditRecord {
            subject: Some(&assertion.person.id),
            client: Some(&client.id),
            reason: Some(reason),
            ..AuditRecord::refused("mcp_auth_assertion_refused", self.now())
        })
        .await;
    }
}

/// Its name among everything that counts once. No client's id is empty, so no client's own assertion has such a name.
fn assertion_id(assertion: &IdentityAssertion) -> SecretHash {
    SecretHash::of(format!("\0{}\0{}", assertion.issuer, assertion.id).as_bytes())
}

fn refused<T>(cause: &'static str) -> Result<T, TokenFailure> {
    Err(TokenFailure::Assertion(cause))
}

impl From<AssertionFault> for TokenFailure {
    fn from(fault: AssertionFault) -> Self {
        match fault {
            AssertionFault::Refused(cause) => Self::Assertion(cause),
            AssertionFault::Unavailable => Self::ProviderUnavailable,
        }
    }
}
