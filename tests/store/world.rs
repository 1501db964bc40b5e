//! A fresh store of either kind, and records to put into it.

use doorward::crypto::SecretHash;
use doorward::domain::client::{AuthMethod, GrantType};
use doorward::domain::{
    AuthorizationRequest, BrowserId, Client, ClientId, ClientOrigin, Grant, GrantId, Person, RefreshToken, Stage,
    SubjectId, Transaction, TransactionId, UnixTime,
};
use doorward::oauth::redirect_uri::RedirectUri;
use doorward::oauth::scope::ScopeSet;
use doorward::store::{NewRefreshToken, Store};
use tempfile::TempDir;

use crate::postgres::Postgres;

pub const NOW: UnixTime = UnixTime(1_000_000);

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A store, and where another process would find it.
pub struct World {
    pub store: Store,
    pub url: String,
    _folder: TempDir,
}

impl World {
    pub async fn open(kind: Kind) -> Self {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Several tests may come here at once; one of them wins.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let folder = tempfile::tempdir().unwrap();
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}", folder.path().join("store.db").display()),
            Kind::Postgres => Postgres::shared().unwrap().new_database(),
        };
        Self { store: Store::open(&url).await.unwrap(), url, _folder: folder }
    }
}

pub fn hash(text: &str) -> SecretHash {
    SecretHash::of(text.as_bytes())
}

pub fn client(number: usize, issued_at: UnixTime) -> Client {
    Client {
        id: ClientId::new(format!("dcr_{number}")),
        origin: ClientOrigin::Registered,
        name: Some("Ünïcode \u{1f6aa} name".to_owned()),
        redirect_uris: vec![RedirectUri::parse("http://127.0.0.1/cb").unwrap()],
        auth_method: AuthMethod::None,
        secret_hashes: vec![],
        keys: None,
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        scopes: None,
        routes: None,
        software_id: None,
        software_version: None,
        client_uri: None,
        application_type: None,
        issued_at,
    }
}

pub fn person(number: usize) -> Person {
    Person {
        id: SubjectId::derive("https://idp.example", &number.to_string()),
        provider: "https://idp.example".to_owned(),
        subject: number.to_string(),
        email: Some(format!("p{number}@example.com")),
        email_verified: true,
        name: None,
        given_name: None,
        family_name: None,
        username: None,
        picture: None,
        organization_id: None,
        roles: vec!["member".to_owned()],
        groups: vec![],
        permissions: vec![],
        entitlements: vec![],
        external_id: None,
        impersonator: None,
    }
}

pub fn transaction(name: &str, stage: Stage, browser: Option<&BrowserId>) -> Transaction {
    Transaction {
        id: TransactionId::new(name),
        request: AuthorizationRequest {
            max_age: None,
            client_id: ClientId::new("dcr_1"),
            redirect_uri: RedirectUri::parse("http://127.0.0.1:5/cb").unwrap(),
            state: Some("state with ' and \" and \u{1f6aa}".to_owned()),
            code_challenge: "c".repeat(43),
            resource: "https://gw.example/mcp/a".to_owned(),
            route: "/mcp/a".to_owned(),
            scope: ScopeSet::parse("mcp:tools"),
            origin: "https://gw.example".to_owned(),
            issuer: "https://gw.example".to_owned(),
        },
        browser: browser.cloned(),
        stage,
        created_at: NOW,
        expires_at: UnixTime(NOW.0 + 900),
    }
}

pub fn grant(name: &str, expires_at: UnixTime) -> Grant {
    Grant {
        id: GrantId::new(name),
        subject: person(1).id,
        client_id: ClientId::new("dcr_1"),
        resource: "https://gw.example/mcp/a".to_owned(),
        route: "/mcp/a".to_owned(),
        scope: ScopeSet::parse("mcp:tools"),
        origin: "https://gw.example".to_owned(),
        issuer: "https://gw.example".to_owned(),
        redirect_host: "127.0.0.1:5".to_owned(),
        authenticated_at: NOW,
        login_session: None,
        created_at: NOW,
        expires_at,
        revoked_at: None,
    }
}

pub fn refresh(secret: &str, grant: &str, generation: i64) -> NewRefreshToken {
    NewRefreshToken {
        hash: hash(secret),
        token: RefreshToken {
            grant: GrantId::new(grant),
            generation,
            expires_at: UnixTime(NOW.0 + 10_000),
            superseded_at: None,
            derivation_key: "k1".to_owned(),
        },
        issued_at: NOW,
    }
}

/// A grant named `name` whose code `code:<name>` is not redeemed yet.
pub async fn approved(store: &Store, name: &str) -> Grant {
    let grant = grant(name, UnixTime(NOW.0 + 60));
    approved_as(store, &grant).await;
    grant
}

/// The same for a grant that is told in full.
pub async fn approved_as(store: &Store, grant: &Grant) {
    let name = &grant.id;
    let browser = BrowserId::new(format!("br:{name}"));
    let subject = person(1).id;
    let waiting = transaction(&format!("tx:{name}"), Stage::AwaitingConsent { subject }, Some(&browser));
    store.create_transaction(&waiting).await.unwrap();
    let code = hash(&format!("code:{name}"));
    assert!(store.approve(&waiting, grant, &code, UnixTime(NOW.0 + 60)).await.unwrap());
}
