//! One authorization: from the client's request to the person's decision.
//!
//! `AwaitingLogin → AwaitingConsent → Approved | Denied`. Each stage carries just its data; the store moves
//! a row from one to the next with a conditional update, so each step happens once.

use serde::{Deserialize, Serialize};

use super::browser::BrowserId;
use super::client::ClientId;
use super::grant::GrantId;
use super::person::SubjectId;
use super::text_id;
use super::time::UnixTime;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;

text_id!(
    /// 128 random bits; stands in page URLs. It opens nothing without the browser's cookie.
    TransactionId
);

/// What the client asked for, after every check of the authorization endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    pub client_id: ClientId,
    /// As presented (with its own loopback port), the place the answer goes to.
    pub redirect_uri: RedirectUri,
    pub state: Option<String>,
    /// S256 challenge, 43 base64url characters.
    pub code_challenge: String,
    /// The one resource, canonical: `{origin}{route path}`.
    pub resource: String,
    /// Path of the route the resource names.
    pub route: String,
    /// The grantable scopes that were asked for.
    pub scope: ScopeSet,
    /// The public origin the request came in on (DISC-13).
    pub origin: String,
    /// RFC 9207: issuer of the endpoint that was used, the origin or the route's URL.
    pub issuer: String,
    /// How many seconds ago the person may have signed in, if the client says so (`max_age`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
}

/// Where an authorization stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    AwaitingLogin,
    AwaitingConsent { subject: SubjectId },
    Approved { subject: SubjectId, grant: GrantId },
    Denied,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub id: TransactionId,
    pub request: AuthorizationRequest,
    /// The browser it belongs to; `None` until a person acts in one (several tabs may open at once, before
    /// any of them holds a cookie: AUTHZ-17).
    pub browser: Option<BrowserId>,
    pub stage: Stage,
    pub created_at: UnixTime,
    pub expires_at: UnixTime,
}
