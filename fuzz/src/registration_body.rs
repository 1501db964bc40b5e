//! Registration bodies (DCR-2, DCR-3, DCR-5 … DCR-7, DCR-12).

use std::collections::BTreeMap;

use doorward::domain::client::AuthMethod;
use doorward::domain::{Client, ClientId, ClientOrigin, UnixTime};
use doorward::oauth::registration::{ClientMetadata, RegistrationRequest, RegistrationResponse};
use doorward::oauth::scope::ScopeCatalog;
use serde_json::Value;

pub fn run(data: &[u8]) {
    let scopes = BTreeMap::from([("mcp:tools".to_owned(), vec![]), ("admin".to_owned(), vec!["read".to_owned()])]);
    let catalog = ScopeCatalog::new(&scopes);
    let check = |body: &[u8]| RegistrationRequest::from_json(body)?.check(&catalog);
    match check(data) {
        Ok(metadata) => {
            is_bounded(&metadata, &catalog);
            let echo = answer(&metadata);
            assert!(holds_no_null(&echo), "{echo}");
            // What we answer, sent again, is the same client: registrations can be read, edited and put back.
            assert_eq!(check(echo.to_string().as_bytes()).unwrap(), metadata);
        }
        Err(error) => {
            assert!(["invalid_redirect_uri", "invalid_client_metadata"].contains(&error.code.as_str()));
            assert!(!error.description.is_empty() && error.description.len() < 2048);
        }
    }
}

fn is_bounded(metadata: &ClientMetadata, catalog: &ScopeCatalog) {
    assert!((1..=20).contains(&metadata.redirect_uris.len()));
    assert!(metadata.grant_types.contains(&doorward::domain::client::GrantType::AuthorizationCode));
    if let Some(name) = &metadata.client_name {
        assert!(!name.trim().is_empty() && name.chars().count() <= 200 && !name.chars().any(char::is_control));
    }
    if let Some(scope) = &metadata.scope {
        assert!(!scope.is_empty() && scope.is_subset(&catalog.grantable()));
    }
    assert_eq!(metadata.keys.is_some(), metadata.auth_method == AuthMethod::PrivateKeyJwt);
    let texts = [&metadata.software_id, &metadata.software_version, &metadata.client_uri, &metadata.application_type];
    assert!(texts.into_iter().flatten().all(|text| (1..=2048).contains(&text.len())));
}

fn answer(metadata: &ClientMetadata) -> Value {
    let metadata = metadata.clone();
    let client = Client {
        id: ClientId::new("dcr_1"),
        origin: ClientOrigin::Registered,
        name: metadata.client_name.clone(),
        redirect_uris: metadata.redirect_uris.clone(),
        auth_method: metadata.auth_method,
        secret_hashes: Vec::new(),
        keys: metadata.keys.clone(),
        grant_types: metadata.grant_types.clone(),
        scopes: metadata.scope.clone(),
        routes: None,
        software_id: metadata.software_id.clone(),
        software_version: metadata.software_version.clone(),
        client_uri: metadata.client_uri.clone(),
        application_type: metadata.application_type.clone(),
        issued_at: UnixTime(7),
    };
    // Nor is anything lost on the way through the store.
    let stored: Client = serde_json::from_value(serde_json::to_value(&client).unwrap()).unwrap();
    assert_eq!(stored, client);
    assert_eq!(ClientMetadata::of(&stored), metadata);
    let secret = metadata.auth_method.uses_secret().then(|| "cs_1".to_owned());
    let (token, uri) = ("rat_1".to_owned(), "https://gw.example/oauth/register/dcr_1".to_owned());
    serde_json::to_value(RegistrationResponse::new(&client, &metadata, secret, token, uri)).unwrap()
}

/// Outside key material, which is the client's own.
fn holds_no_null(answer: &Value) -> bool {
    answer.as_object().unwrap().values().all(|member| !member.is_null())
}
