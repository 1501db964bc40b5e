//! Puts the gateway together: what lives as long as the process, and what a configuration makes of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::documents::StoredDocuments;
use super::settings::Settings;
use crate::authorization::{AuthorizationServer, Budgets, Clients, DelegatedServer, DerivationKeys, LoginSessions};
use crate::config::model::{DirectPolicy, GatewayConfig, LoginPolicy, LoginProvider, OidcOptions, SigningAlg};
use crate::crypto::Sealer;
use crate::domain::{Clock, Random, SystemClock, SystemRandom};
use crate::identity::dev::DevLogin;
use crate::identity::id_jag::TrustedIssuers;
use crate::identity::oidc::Oidc;
use crate::identity::workos::WorkOs;
use crate::identity::{AuthKit, AuthKitApplication, IdentityProvider};
use crate::keys::{AccessTokenIssuer, Keys, KeysError, REMEMBERED, Revocations};
use crate::oauth::scope::ScopeCatalog;
use crate::outbound::{ClientDocuments, DocumentPolicy, Outbound, OutboundError, OutboundSettings};
use crate::proxy::{OpenStreams, Proxy, ProxyParts, UpstreamTls};
use crate::store::{RevocationReason, Store};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestIds;
use crate::upstream::{UpstreamParts, Upstreams};
use crate::web::{Development, Gateway, OriginError, Origins, SharedGateway};

/// Why the gateway did not start. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] crate::store::OpenError),
    #[error(transparent)]
    Records(#[from] crate::store::StoreError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("no --secret-key: give 32 random bytes in base64, as `openssl rand -base64 32` makes them")]
    NoSecretKey,
    #[error("--public-url {0}")]
    PublicUrl(#[from] OriginError),
    #[error("--outbound-ca-file {path}: {source}")]
    CaFile { path: std::path::PathBuf, source: std::io::Error },
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("--metrics-listen {address}: {source}; name a free address, or `off`")]
    MetricsListen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("{0}")]
    Tls(String),
    #[error("--secret-key: {0}")]
    SecretKey(String),
    #[error("the demo server could not start: {0}")]
    Demo(String),
}

/// What lives as long as the process.
pub struct Assembly {
    pub settings: Settings,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub sealer: Sealer,
    pub keys: Arc<Keys>,
    pub derivation: Arc<DerivationKeys>,
    pub revocations: Arc<Revocations>,
    pub outbound: Outbound,
    pub upstream_tls: UpstreamTls,
    pub streams: Arc<OpenStreams>,
    pub origins: Origins,
    pub metrics: Arc<Metrics>,
    current: std::sync::OnceLock<SharedGateway>,
}

impl Assembly {
    /// Opens the store and its keys, with the machine's clock and generator.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(settings: Settings, signing_alg: SigningAlg) -> Result<Self, StartError> {
        Self::open_with(settings, signing_alg, Arc::new(SystemClock), Arc::new(SystemRandom)).await
    }

    /// Opens the store and its keys under a given clock and source of randomness.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open_with(
        settings: Settings,
        signing_alg: SigningAlg,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StartError> {
        let sealer = Sealer::new(&settings.secret_keys).ok_or(StartError::NoSecretKey)?;
        let origins = Origins::new(&settings.public_urls)?;
        let roots = read_roots(&settings)?;
        let upstream_tls = upstream_tls(&roots)?;
        let outbound = Outbound::new(&OutboundSettings {
            cimd_allow: settings.cimd_allow.clone(),
            upstream_allow: settings.upstream_allow.clone(),
            allow_loopback: settings.development.is_some(),
            extra_roots: roots,
            resolve: settings.outbound_resolve.clone(),
        })?;
        let store = Store::open(&settings.database_url).await?;
        let now = clock.now();
        let keys = Keys::load(&store, &sealer, signing_alg, &*random, now).await?;
        let derivation = DerivationKeys::load(&store, &sealer, &*random, now).await?;
        let revocations = Arc::new(Revocations::default());
        // Before the first request: what was revoked while this process was away stays refused (REV-3).
        super::background::learn_revocations(&store, &revocations, now.minus(REMEMBERED), now).await?;
        let assembly = Self {
            streams: OpenStreams::new(settings.max_streams),
            settings,
            store,
            clock,
            random,
            sealer,
            keys: Arc::new(keys),
            derivation: Arc::new(derivation),
            revocations,
            outbound,
            upstream_tls,
            origins,
            metrics: Arc::default(),
            current: std::sync::OnceLock::new(),
        };
        super::metrics::add_gauges(&assembly);
        Ok(assembly)
    }

    /// The gateway under a configuration.
    #[must_use]
    pub fn gateway(&self, config: GatewayConfig) -> Gateway {
        let config = Arc::new(config);
        let dev_login = config
            .login
            .as_ref()
            .filter(|login| matches!(login.provider, LoginProvider::Development))
            .map(|_| Arc::new(DevLogin::new(self.sealer.clone(), self.settings.base_path.clone())));
        let identity = config.login.as_ref().map(|policy| self.identity(policy, dev_login.clone()));
        let upstreams = Arc::new(self.upstreams(&config, identity.clone()));
        let authorization = config
            .login
            .clone()
            .zip(identity)
            .map(|(policy, identity)| self.authorization(&config, policy, identity, &upstreams));
        let development = self
            .settings
            .development
            .map(|development| Development { login: dev_login, auto_approve: development.auto_approve });
        Gateway {
            origins: self.origins.clone(),
            trusted_proxies: self.settings.trusted_proxies.clone(),
            base_path: self.settings.base_path.clone(),
            store: self.store.clone(),
            keys: Arc::clone(&self.keys),
            proxy: self.proxy(&config, Arc::clone(&upstreams)),
            direct: config
                .direct
                .clone()
                .map(|policy| DelegatedServer::new(policy, &self.outbound, Arc::clone(&self.clock))),
            config,
            authorization,
            upstreams,
            development,
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            request_ids: RequestIds::new(&*self.random),
            metrics: Arc::clone(&self.metrics),
        }
    }

    fn authorization(
        &self,
        config: &Arc<GatewayConfig>,
        policy: LoginPolicy,
        identity: Arc<dyn IdentityProvider>,
        upstreams: &Arc<Upstreams>,
    ) -> AuthorizationServer {
        let documents = policy.gateway.cimd_enabled.then(|| {
            let store = Arc::new(StoredDocuments(self.store.clone()));
            Arc::new(ClientDocuments::new(self.outbound.clone(), DocumentPolicy::of(&policy.gateway), store))
        });
        let sessions = LoginSessions {
            store: self.store.clone(),
            identity: Arc::clone(&identity),
            sealer: self.sealer.clone(),
            revocations: Arc::clone(&self.revocations),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            remote_timeout: policy.browser_login.remote_timeout,
            outage_grace: policy.gateway.outage_grace,
            metrics: self.metrics.sign_in.clone(),
        };
        AuthorizationServer {
            store: self.store.clone(),
            config: Arc::clone(config),
            scopes: ScopeCatalog::new(&policy.gateway.scopes),
            identity,
            trusted_issuers: TrustedIssuers::new(
                &policy.trusted_issuers,
                self.outbound.trusted_client(),
                policy.browser_login.remote_timeout,
                &self.clock,
            ),
            sessions,
            upstreams: Arc::clone(upstreams),
            clients: Clients::new(
                self.store.clone(),
                &policy.gateway.clients,
                documents,
                self.sealer.clone(),
                policy.gateway.max_clients,
            ),
            issuer: Arc::new(AccessTokenIssuer::new(Arc::clone(&self.keys))),
            revocations: Arc::clone(&self.revocations),
            derivation: Arc::clone(&self.derivation),
            budgets: Budgets::new(policy.gateway.limits),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            base_path: self.settings.base_path.clone(),
            metrics: self.metrics.sign_in.clone(),
            policy,
        }
    }

    fn identity(&self, policy: &LoginPolicy, dev_login: Option<Arc<DevLogin>>) -> Arc<dyn IdentityProvider> {
        match (&policy.provider, dev_login) {
            (LoginProvider::Development, Some(login)) => login,
            (LoginProvider::Development, None) => {
                Arc::new(DevLogin::new(self.sealer.clone(), self.settings.base_path.clone()))
            }
            (LoginProvider::Oidc(options), _) => Arc::new(self.oidc(options, policy)),
            (LoginProvider::AuthKit(options), _) => Arc::new(AuthKitApplication::new(
                self.oidc(options, policy),
                options.client_id.clone(),
                self.outbound.trusted_client().clone(),
                policy.browser_login.remote_timeout,
            )),
            (LoginProvider::WorkOs(options), _) => Arc::new(WorkOs::new(
                options.clone(),
                policy.scope.clone(),
                &policy.browser_login,
                self.outbound.trusted_client().clone(),
            )),
        }
    }

    fn upstreams(&self, config: &GatewayConfig, identity: Option<Arc<dyn IdentityProvider>>) -> Upstreams {
        let parts = UpstreamParts {
            store: self.store.clone(),
            outbound: self.outbound.clone(),
            sealer: self.sealer.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            origins: self.origins.iter().map(str::to_owned).collect(),
            base_path: self.settings.base_path.clone(),
            metrics: self.metrics.upstreams.clone(),
            identity,
        };
        Upstreams::new(config.upstreams(), parts)
    }

    fn oidc(&self, options: &OidcOptions, policy: &LoginPolicy) -> Oidc {
        Oidc::new(
            options.clone(),
            policy.scope.clone(),
            &policy.browser_login,
            self.outbound.trusted_client().clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.random),
        )
    }

    fn proxy(&self, config: &GatewayConfig, upstreams: Arc<Upstreams>) -> Proxy {
        let parts = ProxyParts {
            keys: Arc::clone(&self.keys),
            revocations: Arc::clone(&self.revocations),
            store: self.store.clone(),
            sealer: self.sealer.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            tls: self.upstream_tls.clone(),
            max_body: self.settings.max_body,
            streams: Arc::clone(&self.streams),
            metrics: Arc::clone(&self.metrics),
        };
        let authkit =
            |direct: &DirectPolicy| Arc::new(AuthKit::new(&direct.authkit, self.outbound.trusted_client().clone()));
        Proxy::new(config, upstreams, parts).direct(config.direct.as_ref().map(authkit))
    }

    /// Makes a gateway the present one.
    pub fn install(&self, gateway: Gateway) -> SharedGateway {
        let gateway = Arc::new(gateway);
        let shared = self.current.get_or_init(|| Arc::new(ArcSwap::new(Arc::clone(&gateway))));
        shared.store(gateway);
        Arc::clone(shared)
    }

    /// Ends the grants of static clients that the configuration no longer declares (STAT-4).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn revoke_removed_clients(&self, gateway: &Gateway) -> Result<(), crate::store::StoreError> {
        let Some(server) = &gateway.authorization else { return Ok(()) };
        let now = self.clock.now();
        for client in self.store.clients_with_grants(now).await? {
            if !server.clients.is_configured(&client) {
                let reason = RevocationReason::ClientRemoved;
                let ended = self.store.revoke_client_grants(&client, reason, now).await?;
                self.metrics.sign_in.grants_ended.add([reason.as_str()], ended);
                tracing::info!(event = "mcp_auth_client_removed", clientId = %client, grants = ended);
            }
        }
        // Their access tokens stop here at once; other replicas ask the store.
        super::background::learn_revocations(&self.store, &self.revocations, now, now).await?;
        Ok(())
    }

    /// The issuers of live grants that this gateway is no longer, since a public URL or the path of a route changed
    /// (OPS-16).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn issuers_gone(&self, config: &GatewayConfig) -> Result<Vec<String>, crate::store::StoreError> {
        let mut issuers = self.store.issuers_of_grants(self.clock.now()).await?;
        let is_one = |path: &str| config.login.is_some() && (path.is_empty() || config.protected_route(path).is_some());
        issuers.retain(|issuer| !self.origins.iter().any(|origin| issuer.strip_prefix(origin).is_some_and(is_one)));
        Ok(issuers)
    }

    /// Reads all keys again.
    ///
    /// # Errors
    /// [`KeysError`]; keys that could not be read stay as they were.
    pub async fn reload_keys(&self) -> Result<(), KeysError> {
        self.keys.reload().await?;
        self.derivation.reload().await
    }

    /// Learns what other processes have changed in the store: ended grants and keys.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn catch_up(&self) -> Result<(), KeysError> {
        let now = self.clock.now();
        super::background::learn_revocations(&self.store, &self.revocations, now.minus(REMEMBERED), now).await?;
        self.reload_keys().await
    }

    /// Writes down which grants' tokens were used since the last time (REFR-12).
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub async fn note_used_grants(&self) -> Result<(), crate::store::StoreError> {
        let used = self.current.get().map(|shared| shared.load().proxy.take_used_grants()).unwrap_or_default();
        if used.is_empty() { Ok(()) } else { self.store.grants_used(&used, self.clock.now()).await }
    }

    /// Signs with the algorithm that a configuration asks for (SEC-3). Without the store the former one stays.
    pub async fn follow_signing_alg(&self, config: &GatewayConfig) {
        let algorithm = signing_alg(config);
        if let Err(error) = self.keys.sign_with(algorithm, &*self.random, self.clock.now()).await {
            tracing::error!(event = "signing_alg_unchanged", %error);
        }
    }

    /// How long a retired key stays: longer than anything that was signed with it.
    #[must_use]
    pub fn key_afterlife(&self) -> Duration {
        let server = |shared: &SharedGateway| {
            shared.load().authorization.as_ref().map(|server| server.options().access_token_ttl)
        };
        self.current.get().and_then(server).unwrap_or_default().max(REMEMBERED)
    }

    /// How long a registration may lie idle under the present configuration.
    #[must_use]
    pub fn client_idle(&self) -> Duration {
        self.current
            .get()
            .and_then(|shared| shared.load().authorization.as_ref().map(|server| server.options().client_idle))
            .unwrap_or(Duration::from_secs(90 * 24 * 3600))
    }
}

/// What a configuration signs tokens with.
#[must_use]
pub fn signing_alg(config: &GatewayConfig) -> SigningAlg {
    config.login.as_ref().map_or(SigningAlg::Es256, |login| login.gateway.signing_alg)
}

/// The operator's trust roots, as PEM texts.
fn read_roots(settings: &Settings) -> Result<Vec<Vec<u8>>, StartError> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| StartError::CaFile { path: path.clone(), source })
    };
    settings.outbound_ca_files.iter().map(read).collect()
}

/// TLS towards upstreams: the platform's roots and the operator's.
fn upstream_tls(roots: &[Vec<u8>]) -> Result<UpstreamTls, StartError> {
    let mut store = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(native.certs);
    for pem in roots {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| StartError::Tls(format!("--outbound-ca-file: {error:?}")))?;
            store.add(certificate).map_err(|error| StartError::Tls(format!("--outbound-ca-file: {error}")))?;
        }
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
    Ok(UpstreamTls(Arc::new(config)))
}
