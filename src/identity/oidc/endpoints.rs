//! Where a provider's endpoints are: as configured, and for the rest as its metadata say (IDP-8, OpenID Connect
//! Discovery 1.0, RFC 8414).
//!
//! The metadata are read when the first login needs them, so that a provider that is down does not keep the gateway
//! from starting; a failed attempt is made again by the next login, and once read they go on serving in an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::config::is_https_or_loopback;
use crate::config::model::{OidcEndpoints, SecretWay};
use crate::domain::{Clock, UnixTime};
use crate::identity::bounded::{failure, read_body};
use crate::identity::jwks::RemoteJwks;
use crate::identity::{LoginError, SetUpFault, shown};

/// Metadata of this age are read anew.
const FRESH: Duration = Duration::from_hours(24);
/// Between two attempts to read anew what is at hand.
const COOLDOWN: Duration = Duration::from_secs(60);

/// Everything a login needs to know.
pub(in crate::identity) struct Endpoints {
    pub authorization: Url,
    pub token: Url,
    pub jwks: Arc<RemoteJwks>,
    pub userinfo: Option<Url>,
    pub end_session: Option<Url>,
    /// The provider says that every callback of its carries `iss`.
    pub sends_issuer: bool,
    /// How a secret is sent unless the configuration says so.
    pub secret_way: SecretWay,
}

/// The provider's metadata, as far as they are used.
#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    issuer: String,
    authorization_endpoint: Option<Url>,
    token_endpoint: Option<Url>,
    jwks_uri: Option<Url>,
    userinfo_endpoint: Option<Url>,
    end_session_endpoint: Option<Url>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Finds the endpoints of one provider.
pub(in crate::identity) struct Discovery {
    issuer: String,
    configured: OidcEndpoints,
    client: reqwest::Client,
    /// For one request. Two, and a look at the key set, fit into the deadline of a login step.
    deadline: Duration,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Attempts that have ended: tells a caller that waited whether another has just tried.
    attempts: AtomicU64,
}

#[derive(Default)]
struct Known {
    endpoints: Option<Arc<Endpoints>>,
    /// Read again from this moment on; never, where everything is configured.
    stale_at: Option<UnixTime>,
}

impl Discovery {
    pub(in crate::identity) fn new(
        issuer: String,
        configured: OidcEndpoints,
        client: reqwest::Client,
        deadline: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            issuer,
            configured,
            client,
            deadline: deadline / 3,
            clock,
            known: Mutex::default(),
            attempts: AtomicU64::new(0),
        }
    }

    pub(in crate::identity) async fn endpoints(&self) -> Result<Arc<Endpoints>, LoginError> {
        let attempts = self.attempts.load(Ordering::Acquire);
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some(endpoints) = &known.endpoints
            && known.stale_at.is_none_or(|stale_at| now < stale_at)
        {
            return Ok(Arc::clone(endpoints));
        }
        let tried_meanwhile = attempts != self.attempts.load(Ordering::Acquire);
        if known.endpoints.is_none() && tried_meanwhile {
            return Err(LoginError::Unavailable("its metadata cannot be had: the attempt under way failed".to_owned()));
        }
        let found = self.find(known.endpoints.as_deref()).await;
        self.attempts.fetch_add(1, Ordering::Release);
        match (found, known.endpoints.clone()) {
            (Ok((endpoints, discovered)), _) => {
                let endpoints = Arc::new(endpoints);
                *known =
                    Known { endpoints: Some(Arc::clone(&endpoints)), stale_at: discovered.then(|| now.plus(FRESH)) };
                Ok(endpoints)
            }
            (Err(error), Some(at_hand)) => {
                tracing::warn!(event = "provider_metadata_unavailable", issuer = self.issuer, %error);
                known.stale_at = Some(now.plus(COOLDOWN));
                Ok(at_hand)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The endpoints, and whether the metadata were read for them.
    async fn find(&self, before: Option<&Endpoints>) -> Result<(Endpoints, bool), LoginError> {
        let own = &self.configured;
        let complete = own.authorization.is_some() && own.token.is_some() && own.jwks.is_some();
        let metadata = if complete { Metadata::default() } else { self.metadata().await? };
        let jwks_url = self.one_of(own.jwks.as_ref(), metadata.jwks_uri, "jwks_uri")?;
        let endpoints = Endpoints {
            authorization: self.one_of(
                own.authorization.as_ref(),
                metadata.authorization_endpoint,
                "authorization_endpoint",
            )?,
            token: self.one_of(own.token.as_ref(), metadata.token_endpoint, "token_endpoint")?,
            jwks: before
                .map(|before| Arc::clone(&before.jwks))
                .filter(|jwks| *jwks.url() == jwks_url)
                .unwrap_or_else(|| Arc::new(RemoteJwks::new(self.client.clone(), jwks_url, self.deadline))),
            userinfo: own.userinfo.clone().or(metadata.userinfo_endpoint.filter(is_https_or_loopback)),
            end_session: own.end_session.clone().or(metadata.end_session_endpoint.filter(is_https_or_loopback)),
            sends_issuer: metadata.authorization_response_iss_parameter_supported,
            secret_way: secret_way(metadata.token_endpoint_auth_methods_supported.as_deref()),
        };
        Ok((endpoints, !complete))
    }

    fn one_of(&self, own: Option<&Url>, discovered: Option<Url>, name: &str) -> Result<Url, LoginError> {
        if let Some(own) = own {
            return Ok(own.clone());
        }
        match discovered {
            Some(url) if is_https_or_loopback(&url) => Ok(url),
            Some(_) => Err(unusable(format!("`{name}` of {} is not https", self.issuer))),
            None => Err(unusable(format!("those of {} lack `{name}`; it can be configured", self.issuer))),
        }
    }

    /// OpenID Connect's document; where there is none, the one of RFC 8414.
    async fn metadata(&self) -> Result<Metadata, LoginError> {
        let mut refusal = String::new();
        for url in metadata_urls(&self.issuer) {
            let (status, body) = self.get(url.clone()).await.map_err(LoginError::Unavailable)?;
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(LoginError::Unavailable(format!("its metadata cannot be had: HTTP {}", status.as_u16())));
            }
            if status.is_success() {
                let metadata: Metadata = serde_json::from_slice(&body)
                    .map_err(|_| unusable(format!("what stands at {url} is no metadata document")))?;
                return if metadata.issuer == self.issuer {
                    Ok(metadata)
                } else {
                    let named = shown::claim(&metadata.issuer);
                    Err(unusable(format!("they name the issuer {named} where {:?} is configured", self.issuer)))
                };
            }
            refusal = format!("HTTP {} at {url}", status.as_u16());
        }
        Err(unusable(format!("there are none: {refusal}; check the issuer, or configure the endpoints")))
    }

    async fn get(&self, url: Url) -> Result<(StatusCode, bytes::Bytes), String> {
        let unavailable = |cause: &str| format!("its metadata cannot be had: {cause}");
        let request = self.client.get(url).timeout(self.deadline).header("accept", "application/json");
        let response = request.send().await.map_err(|error| unavailable(failure(&error)))?;
        let status = response.status();
        let body = read_body(response).await.map_err(unavailable)?;
        Ok((status, body))
    }
}

/// OpenID Connect Discovery §4 appends to the issuer; RFC 8414 §3 puts its name between host and path.
fn metadata_urls(issuer: &str) -> Vec<Url> {
    let appended = Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).ok();
    let inserted = Url::parse(issuer).ok().map(|mut url| {
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
        url
    });
    appended.into_iter().chain(inserted).collect()
}

/// OpenID Connect Discovery §3: without the member, Basic.
fn secret_way(methods: Option<&[String]>) -> SecretWay {
    let offers = |name: &str| methods.is_some_and(|methods| methods.iter().any(|method| method == name));
    if offers("client_secret_post") && !offers("client_secret_basic") { SecretWay::Post } else { SecretWay::Basic }
}

fn unusable(cause: String) -> LoginError {
    LoginError::SetUp(SetUpFault::Metadata(cause))
}
