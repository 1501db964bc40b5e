//! What verified claims say of a person (OpenID Connect Core §5.1, gateway.md §6.3).

use serde_json::{Map, Value};

use crate::config::model::{ClaimPath, OidcOptions, PersonClaims};
use crate::domain::{Person, SubjectId};
use crate::identity::LoginError;

/// Whether userinfo may know what the ID token leaves out: the address, or a claim that was configured.
pub(super) fn is_incomplete(claims: &Map<String, Value>, paths: &PersonClaims) -> bool {
    let configured = [&paths.roles, &paths.groups, &paths.permissions].into_iter().flatten();
    !claims.contains_key("email") || configured.into_iter().any(|path| path.find(claims).is_none())
}

/// What the provider calls its session, for its sign-out page: `sid`, else the person.
pub(super) fn session(claims: &Map<String, Value>) -> Option<String> {
    text(claims, "sid").or_else(|| text(claims, "sub"))
}

pub(super) fn of_claims(claims: &Map<String, Value>, options: &OidcOptions) -> Result<Person, LoginError> {
    let subject = text(claims, "sub").ok_or_else(|| LoginError::Untrusted("the ID token lacks `sub`".to_owned()))?;
    let given_name = text(claims, "given_name");
    let family_name = text(claims, "family_name");
    let joined = [given_name.as_deref(), family_name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let name = text(claims, "name").or(Some(joined).filter(|name| !name.is_empty()));
    Ok(Person {
        id: SubjectId::derive(&options.issuer, &subject),
        provider: options.issuer.clone(),
        subject,
        email: text(claims, "email"),
        email_verified: is_true(claims.get("email_verified")),
        name: name.or_else(|| text(claims, "preferred_username")),
        given_name,
        family_name,
        picture: text(claims, "picture"),
        organization_id: text(claims, "org_id"),
        roles: texts(claims, options.claims.roles.as_ref(), "roles"),
        groups: texts(claims, options.claims.groups.as_ref(), "groups"),
        permissions: texts(claims, options.claims.permissions.as_ref(), "permissions"),
        entitlements: Vec::new(),
        external_id: None,
        impersonator: None,
    })
}

fn texts(claims: &Map<String, Value>, path: Option<&ClaimPath>, default: &str) -> Vec<String> {
    path.map_or_else(|| ClaimPath::of_name(default).texts(claims), |path| path.texts(claims))
}

fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Some providers write booleans as text.
fn is_true(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.as_bool().or_else(|| value.as_str().map(|text| text == "true")) == Some(true))
}
