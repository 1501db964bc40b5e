//! What the gateway is at an upstream's authorization server: declared, known by its own metadata document, or
//! registered once and remembered (gateway.md §8).

use serde::{Deserialize, Serialize};

use super::client_metadata::GatewayAsClient;
use super::connect::ConnectError;
use super::discovery::Discovered;
use super::registration::{self, Approach, RegisteredClient, UpstreamClient};
use super::{Upstreams, fetcher};
use crate::config::model::{OidcCredential, SecretWay, Upstream, UpstreamOAuth, UpstreamRegistration as Configured};
use crate::crypto::{base64url, sha256};
use crate::store::{StoreError, UpstreamRegistration};

/// Whom tokens were issued to, as it is kept beside them. A secret that the configuration holds is not.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeptClient {
    /// `clientRegistration` of mode `manual`.
    Declared {
        id: String,
        posts_secret: bool,
    },
    /// Our metadata document.
    Document {
        id: String,
    },
    Registered(RegisteredClient),
}

impl KeptClient {
    pub fn id(&self) -> &str {
        match self {
            Self::Declared { id, .. } | Self::Document { id } => id,
            Self::Registered(client) => &client.id,
        }
    }

    /// The client with the secret of today. `None` when the configuration declares another one by now.
    pub fn client(&self, upstream: &Upstream) -> Option<UpstreamClient> {
        match self {
            Self::Document { id } => Some(UpstreamClient { id: id.clone(), credential: OidcCredential::None }),
            Self::Registered(client) => Some(client.client()),
            Self::Declared { id, posts_secret } => {
                let mut client = declared(upstream.mode.oauth()?).filter(|declared| declared.id == *id)?;
                if let OidcCredential::Secret { way: way @ None, .. } = &mut client.credential {
                    *way = Some(if *posts_secret { SecretWay::Post } else { SecretWay::Basic });
                }
                Some(client)
            }
        }
    }
}

/// The client that the operator registered by hand.
fn declared(options: &UpstreamOAuth) -> Option<UpstreamClient> {
    match &options.registration {
        Configured::Auto => None,
        Configured::Manual { client_id, credential } => {
            Some(UpstreamClient { id: client_id.clone(), credential: credential.clone() })
        }
    }
}

impl Upstreams {
    pub(super) fn as_client<'a>(&'a self, upstream: &'a str) -> GatewayAsClient<'a> {
        GatewayAsClient { origins: &self.origins, base_path: &self.base_path, upstream }
    }

    /// The client for a connection, registered if need be.
    pub(super) async fn client(
        &self,
        upstream: &Upstream,
        options: &UpstreamOAuth,
        server: &Discovered,
    ) -> Result<KeptClient, ConnectError> {
        let gateway = self.as_client(&upstream.id);
        let endpoint = match registration::approach(declared(options).as_ref(), server, &gateway)? {
            Approach::Register(endpoint) => endpoint,
            Approach::Known(client) => {
                return Ok(match (&options.registration, client.credential) {
                    (Configured::Auto, _) => KeptClient::Document { id: client.id },
                    (Configured::Manual { .. }, credential) => KeptClient::Declared {
                        id: client.id,
                        posts_secret: matches!(credential, OidcCredential::Secret { way: Some(SecretWay::Post), .. }),
                    },
                });
            }
        };
        let _alone = match self.known(&upstream.id) {
            Some(known) => Some(known.registering.lock().await),
            None => None,
        };
        let id = registration_id(upstream, &server.issuer);
        let now = self.clock.now();
        if let Some(kept) = self.store.upstream_registration(&id).await?
            && let Ok(plain) = self.sealer.open(&place(&id), &kept.sealed)
            && let Ok(client) = serde_json::from_slice::<RegisteredClient>(&plain)
            && client.serves(server, &gateway, now)
        {
            self.store.save_upstream_registration(&UpstreamRegistration { used_at: now, ..kept }).await?;
            return Ok(KeptClient::Registered(client));
        }
        let client = registration::register(&fetcher(&self.outbound, upstream), endpoint, server, &gateway).await?;
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&client).unwrap_or_default());
        let kept = UpstreamRegistration {
            sealed: self.sealer.seal(&place(&id), &plain, &*self.random),
            id,
            upstream: upstream.id.clone(),
            used_at: now,
        };
        self.store.save_upstream_registration(&kept).await?;
        tracing::info!(event = "mcp_auth_upstream_registered", upstreamServerId = upstream.id);
        Ok(KeptClient::Registered(client))
    }

    /// The next connection registers anew.
    pub(super) async fn forget_registration(&self, upstream: &Upstream, issuer: &str) -> Result<(), StoreError> {
        self.store.drop_upstream_registration(&registration_id(upstream, issuer)).await
    }
}

fn registration_id(upstream: &Upstream, issuer: &str) -> String {
    let digest = sha256(format!("{}\0{issuer}", upstream.id).as_bytes());
    format!("reg_{}", base64url(&digest[..16]))
}

fn place(id: &str) -> String {
    format!("upstream registration:{id}")
}
