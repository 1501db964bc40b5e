//! The gateway as a client of the authorization server of an upstream, against the double of one (gateway.md §8; RFC 9728,
//! RFC 8414, RFC 7591, RFC 8707, RFC 9207, RFC 7636).

mod authorization_server;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use doorward::config::model::{OidcCredential, UpstreamPrompt};
use doorward::domain::{Clock, SystemRandom, UnixTime};
use doorward::oauth::pkce::CodeChallenge;
use doorward::outbound::{Outbound, OutboundSettings, UpstreamFetcher};
use doorward::upstream::authorization_request::{AuthorizationRequest, authorization_url};
use doorward::upstream::client_metadata::GatewayAsClient;
use doorward::upstream::discovery::{Discovered, Discovery, DiscoveryError, Premises};
use doorward::upstream::registration::{
    Approach, RegisteredClient, RegistrationError, UpstreamClient, approach, register,
};
use doorward::upstream::token_request::{TokenAnswer, TokenEndpoint, TokenGrant, TokenRequestError};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::fake_upstream::{Behaviour, FakeUpstream};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const STATE: &str = "a-state-of-a-good-length";
const NOON: i64 = 1_800_000_000;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

/// A double, and what the gateway knows of it.
struct Bench {
    double: FakeUpstream,
    origins: Vec<String>,
    hands: Arc<Hands>,
    discovery: Discovery,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    async fn behaving(behave: impl FnOnce(&mut Behaviour)) -> Self {
        Self::with(behave, |_| {}).await
    }

    async fn with(behave: impl FnOnce(&mut Behaviour), change: impl FnOnce(&mut Premises)) -> Self {
        let double = FakeUpstream::start().await;
        double.behave(behave);
        let server = Url::parse(&double.mcp_url()).unwrap();
        let mut premises = Premises { server, resource_metadata: None, scopes: None, registered_by_hand: false };
        change(&mut premises);
        // As `serve` has it: nothing on loopback but what the configuration names.
        let fetcher = fetcher(&premises);
        let hands = Arc::new(Hands(AtomicI64::new(NOON)));
        let discovery = Discovery::new(premises, fetcher, hands.clone());
        Self { double, origins: vec!["http://localhost:9000".to_owned()], hands, discovery }
    }

    fn pass(&self, seconds: i64) {
        self.hands.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn gateway(&self) -> GatewayAsClient<'_> {
        GatewayAsClient { origins: &self.origins, base_path: "/", upstream: "notes" }
    }

    async fn discovered(&self) -> Arc<Discovered> {
        self.discovery.discovered().await.unwrap()
    }

    async fn failure(&self) -> DiscoveryError {
        self.discovery.discovered().await.unwrap_err()
    }

    async fn register(&self) -> Result<RegisteredClient, RegistrationError> {
        let server = self.discovered().await;
        let Approach::Register(endpoint) = approach(None, &server, &self.gateway())? else { panic!("no registration") };
        register(self.discovery.fetcher(), endpoint, &server, &self.gateway()).await
    }

    /// What the browser brings back.
    async fn authorize(&self, client: &UpstreamClient) -> HashMap<String, String> {
        let server = self.discovered().await;
        let url = authorization_url(
            &server,
            &AuthorizationRequest {
                client_id: &client.id,
                redirect_uri: &self.gateway().redirect_uri(&self.origins[0]),
                state: STATE,
                code_challenge: &CodeChallenge::of_verifier(VERIFIER),
                scopes: &server.scopes,
                scope_delimiter: " ",
                prompt: UpstreamPrompt::ForOfflineAccess.value(&server.scopes),
            },
        );
        let answer = browser().get(url).send().await.unwrap();
        let Some(location) = answer.headers().get("location").cloned() else {
            panic!("{}", answer.text().await.unwrap())
        };
        Url::parse(location.to_str().unwrap()).unwrap().query_pairs().into_owned().collect()
    }

    async fn token(&self, client: &UpstreamClient, grant: &TokenGrant<'_>) -> Result<TokenAnswer, TokenRequestError> {
        let server = self.discovered().await;
        let endpoint = TokenEndpoint { fetcher: self.discovery.fetcher(), url: &server.token_endpoint, client };
        endpoint.request(grant, &SystemRandom, self.hands.now()).await
    }

    async fn redeem(&self, client: &UpstreamClient) -> Result<TokenAnswer, TokenRequestError> {
        let code = self.authorize(client).await["code"].clone();
        let grant = TokenGrant::Code {
            code: &code,
            redirect_uri: &self.gateway().redirect_uri(&self.origins[0]),
            code_verifier: VERIFIER,
            resource: &self.double.mcp_url(),
        };
        self.token(client, &grant).await
    }

    async fn refresh(&self, client: &UpstreamClient, from: &TokenAnswer) -> Result<TokenAnswer, TokenRequestError> {
        let refresh_token = from.refresh_token.as_ref().unwrap();
        self.token(client, &TokenGrant::Refresh { refresh_token, resource: &self.double.mcp_url(), scope: None }).await
    }
}

fn fetcher(premises: &Premises) -> UpstreamFetcher {
    let outbound = Outbound::new(&OutboundSettings::default()).unwrap();
    UpstreamFetcher::new(outbound, [&premises.server].into_iter().chain(&premises.resource_metadata))
}

fn browser() -> reqwest::Client {
    Outbound::new(&OutboundSettings::default()).unwrap().trusted_client().clone()
}

fn public(id: &str) -> UpstreamClient {
    UpstreamClient { id: id.to_owned(), credential: OidcCredential::None }
}
