//! Ids of registered clients that say what was registered (DCR-10): the registration itself, sealed, is the id.
//! A client keeps a dead id for ever; one that the store lost can still be told from one that was made up.
//!
//! Must not decide whether an id may be revived; the store's tombstones do.

use serde::{Deserialize, Serialize};

use crate::crypto::{Sealer, SecretHash, base64url, base64url_decode};
use crate::domain::client::{AuthMethod, ClientKeys, ClientOrigin, GrantType};
use crate::domain::{Client, ClientId, Random, UnixTime};
use crate::oauth::redirect_uri::RedirectUri;
use crate::store::StoredClient;

const PREFIX: &str = "dcr_";
/// What the sealed bytes are good for.
const PLACE: &str = "registered client";
/// The longest id, in bytes; a registration that needs more gets a plain one.
const LONGEST: usize = 2048;

/// A registration with short names, as every byte makes the id longer. What is absent is left out.
#[derive(Serialize, Deserialize)]
struct Registration {
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "r")]
    redirect_uris: Vec<RedirectUri>,
    #[serde(rename = "a")]
    auth_method: AuthMethod,
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    secret_hashes: Vec<String>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    keys: Option<ClientKeys>,
    #[serde(rename = "g")]
    grant_types: Vec<GrantType>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    software_id: Option<String>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    software_version: Option<String>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    client_uri: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    application_type: Option<String>,
    #[serde(rename = "d")]
    issued_at: i64,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    management_hash: Option<String>,
}

/// The id that says all of `stored`; `None` when that would be too long.
pub fn id_of(stored: &StoredClient, sealer: &Sealer, random: &dyn Random) -> Option<ClientId> {
    let client = stored.client.clone();
    let registration = Registration {
        name: client.name,
        redirect_uris: client.redirect_uris,
        auth_method: client.auth_method,
        secret_hashes: client.secret_hashes.iter().map(text_of).collect(),
        keys: client.keys,
        grant_types: client.grant_types,
        software_id: client.software_id,
        software_version: client.software_version,
        client_uri: client.client_uri,
        application_type: client.application_type,
        issued_at: client.issued_at.0,
        management_hash: stored.management_hash.as_ref().map(text_of),
    };
    let plain = serde_json::to_vec(&registration).ok()?;
    let id = format!("{PREFIX}{}", base64url(&sealer.seal(PLACE, &plain, random)));
    (id.len() <= LONGEST).then(|| ClientId::new(id))
}

/// The registration that `id` says; `None` for an id that was not made here, or not in this way.
pub fn registration_of(id: &ClientId, sealer: &Sealer) -> Option<StoredClient> {
    let sealed = id.as_str().strip_prefix(PREFIX).filter(|_| id.as_str().len() <= LONGEST)?;
    let plain = sealer.open(PLACE, &base64url_decode(sealed)?).ok()?;
    let registration: Registration = serde_json::from_slice(&plain).ok()?;
    let client = Client {
        id: id.clone(),
        origin: ClientOrigin::Registered,
        name: registration.name,
        redirect_uris: registration.redirect_uris,
        auth_method: registration.auth_method,
        secret_hashes: registration.secret_hashes.iter().map(|text| hash_of(text)).collect::<Option<_>>()?,
        keys: registration.keys,
        grant_types: registration.grant_types,
        scopes: None,
        routes: None,
        software_id: registration.software_id,
        software_version: registration.software_version,
        client_uri: registration.client_uri,
        application_type: registration.application_type,
        issued_at: UnixTime(registration.issued_at),
    };
    let management_hash = match registration.management_hash {
        Some(text) => Some(hash_of(&text)?),
        None => None,
    };
    Some(StoredClient { client, management_hash })
}

fn text_of(hash: &SecretHash) -> String {
    base64url(hash.as_bytes())
}

fn hash_of(text: &str) -> Option<SecretHash> {
    SecretHash::from_slice(&base64url_decode(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;
    use crate::domain::SystemRandom;

    fn sealer(key: u8) -> Sealer {
        Sealer::new(&[KeyMaterial::new([key; 32])]).unwrap()
    }

    fn registration(redirect_uris: usize) -> StoredClient {
        let uri = |number| RedirectUri::parse(&format!("https://app.example/{number}")).unwrap();
        let client = Client {
            id: ClientId::new("dcr_plain"),
            origin: ClientOrigin::Registered,
            name: Some("Ünïcode \u{1f6aa}".to_owned()),
            redirect_uris: (0..redirect_uris).map(uri).collect(),
            auth_method: AuthMethod::ClientSecretPost,
            secret_hashes: vec![SecretHash::of(b"secret")],
            keys: Some(ClientKeys::Uri("https://app.example/jwks".to_owned())),
            grant_types: vec![GrantType::AuthorizationCode],
            scopes: None,
            routes: None,
            software_id: Some("software".to_owned()),
            software_version: Some("1".to_owned()),
            client_uri: Some("https://app.example/".to_owned()),
            application_type: Some("web".to_owned()),
            issued_at: UnixTime(7),
        };
        StoredClient { client, management_hash: Some(SecretHash::of(b"management")) }
    }

    #[test]
    fn dcr_10_an_id_says_all_of_its_registration_to_whoever_has_the_key() {
        let stored = registration(3);
        let id = id_of(&stored, &sealer(1), &SystemRandom).unwrap();
        assert!(id.as_str().len() < 800, "{}", id.as_str().len());
        let said = registration_of(&id, &sealer(1)).unwrap();
        assert_eq!(said.client, Client { id: id.clone(), ..stored.client });
        assert_eq!(said.management_hash, stored.management_hash);
        assert!(registration_of(&id, &sealer(2)).is_none(), "another key");
        for made_up in ["dcr_", "dcr_AAAA", "dcr_plain", id.as_str().trim_start_matches("dcr_")] {
            assert!(registration_of(&ClientId::new(made_up), &sealer(1)).is_none(), "{made_up}");
        }
        let mut altered = id.as_str().to_owned();
        let last = if altered.pop() == Some('A') { 'E' } else { 'A' };
        altered.push(last);
        assert!(registration_of(&ClientId::new(altered), &sealer(1)).is_none());
    }

    #[test]
    fn dcr_10_a_registration_too_large_for_an_id_has_none() {
        assert!(id_of(&registration(60), &sealer(1), &SystemRandom).is_none());
    }
}
