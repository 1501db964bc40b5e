//! The login policies whose endpoints are derived from a few options (gateway.md §6.3), as one table: what
//! `mcp-oauth-inbound` would have to be told for each provider, and what each does in its own way.

mod shape;

use secrecy::SecretString;
use url::Url;

use super::diagnostic::Problems;
use super::document::{Kind, Node};
use super::model::{OidcCredential, OidcEndpoints, OidcOptions, SecretWay};
use super::{oidc, raw};
use shape::SHAPES;

/// What a provider does in its own way. The default is what the standards say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderProfile {
    /// Where roles stand unless `roleClaim` says so: names from the outside in.
    pub roles: &'static [&'static str],
    pub groups: &'static [&'static str],
    pub permissions: &'static [&'static str],
    /// Further claims can only have URLs as names: `https://example.com/roles` stands for `roles` where there is one
    /// such claim.
    pub namespaced_claims: bool,
    /// Access tokens are JWTs that hold claims of the person which the ID token may lack.
    pub claims_in_access_token: bool,
    /// The claim with the person's organisation.
    pub organization: &'static str,
    /// The claim that says whether the person's address is verified.
    pub verified_email: &'static str,
    /// `token_use` of its ID tokens, which tells them from its other tokens.
    pub token_use: Option<&'static str>,
    pub sign_out: SignOut,
    pub another_account: AnotherAccount,
    /// Unless its operator says otherwise, anyone can have an account there.
    pub open_sign_up: bool,
}

/// What the provider's sign-out page takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignOut {
    /// `OpenID` Connect RP-Initiated Logout 1.0, with `logout_hint`.
    Standard,
    /// The same without a hint.
    WithoutHint,
    /// Cognito's `logout_uri`.
    LogoutUri,
    /// Nothing: without an ID token it leads nobody back.
    NoWayBack,
}

/// How somebody who is signed in at the provider gets to choose another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnotherAccount {
    /// With this `prompt`.
    Prompt(&'static str),
    /// By being signed out there first.
    SignOut,
}

impl ProviderProfile {
    /// What the standards say.
    pub const STANDARD: Self = Self {
        roles: &["roles"],
        groups: &["groups"],
        permissions: &["permissions"],
        namespaced_claims: false,
        claims_in_access_token: false,
        organization: "org_id",
        verified_email: "email_verified",
        token_use: None,
        sign_out: SignOut::Standard,
        another_account: AnotherAccount::Prompt("login"),
        open_sign_up: false,
    };
}

/// One row: URLs with the names of options in braces.
struct Derivation {
    name: &'static str,
    issuer: &'static str,
    jwks: &'static str,
    authorize: &'static str,
    token: &'static str,
    /// `None`: it tells no more than the ID token.
    userinfo: Option<&'static str>,
    /// `None`: there is no such page, or it turns away everyone who brings no ID token.
    end_session: Option<&'static str>,
    secret: SecretWay,
    profile: ProviderProfile,
}

const AUTH0: Derivation = Derivation {
    name: "Auth0",
    issuer: "https://{auth0Domain}/",
    jwks: "https://{auth0Domain}/.well-known/jwks.json",
    authorize: "https://{auth0Domain}/authorize",
    token: "https://{auth0Domain}/oauth/token",
    userinfo: Some("https://{auth0Domain}/userinfo"),
    end_session: Some("https://{auth0Domain}/oidc/logout"),
    secret: SecretWay::Post,
    profile: ProviderProfile { namespaced_claims: true, open_sign_up: true, ..ProviderProfile::STANDARD },
};

const COGNITO: Derivation = Derivation {
    name: "Amazon Cognito",
    issuer: "https://cognito-idp.{awsRegion}.amazonaws.com/{userPoolId}",
    jwks: "https://cognito-idp.{awsRegion}.amazonaws.com/{userPoolId}/.well-known/jwks.json",
    authorize: "https://{userPoolDomain}/oauth2/authorize",
    token: "https://{userPoolDomain}/oauth2/token",
    userinfo: Some("https://{userPoolDomain}/oauth2/userInfo"),
    end_session: Some("https://{userPoolDomain}/logout"),
    secret: SecretWay::Basic,
    profile: ProviderProfile {
        groups: &["cognito:groups"],
        token_use: Some("id"),
        sign_out: SignOut::LogoutUri,
        // Its classic sign-in pages know no `prompt`.
        another_account: AnotherAccount::SignOut,
        open_sign_up: true,
        ..ProviderProfile::STANDARD
    },
};

const CLERK: Derivation = Derivation {
    name: "Clerk",
    issuer: "{frontendApiUrl}",
    jwks: "{frontendApiUrl}/.well-known/jwks.json",
    authorize: "{frontendApiUrl}/oauth/authorize",
    token: "{frontendApiUrl}/oauth/token",
    userinfo: Some("{frontendApiUrl}/oauth/userinfo"),
    end_session: None,
    secret: SecretWay::Basic,
    profile: ProviderProfile { open_sign_up: true, ..ProviderProfile::STANDARD },
};

const ENTRA: Derivation = Derivation {
    name: "Microsoft Entra",
    issuer: "https://login.microsoftonline.com/{tenantId}/v2.0",
    jwks: "https://login.microsoftonline.com/{tenantId}/discovery/v2.0/keys",
    authorize: "https://login.microsoftonline.com/{tenantId}/oauth2/v2.0/authorize",
    token: "https://login.microsoftonline.com/{tenantId}/oauth2/v2.0/token",
    userinfo: None,
    end_session: Some("https://login.microsoftonline.com/{tenantId}/oauth2/v2.0/logout"),
    secret: SecretWay::Basic,
    profile: ProviderProfile {
        organization: "tid",
        // Anybody who manages a directory can write any address into it.
        verified_email: "xms_edov",
        sign_out: SignOut::WithoutHint,
        another_account: AnotherAccount::Prompt("select_account"),
        ..ProviderProfile::STANDARD
    },
};

const GOOGLE: Derivation = Derivation {
    name: "Google",
    issuer: "https://accounts.google.com",
    jwks: "https://www.googleapis.com/oauth2/v3/certs",
    authorize: "https://accounts.google.com/o/oauth2/v2/auth",
    token: "https://oauth2.googleapis.com/token",
    userinfo: Some("https://openidconnect.googleapis.com/v1/userinfo"),
    end_session: None,
    secret: SecretWay::Basic,
    profile: ProviderProfile {
        // The domain of a Workspace or Cloud organisation.
        organization: "hd",
        // It refuses `login`.
        another_account: AnotherAccount::Prompt("select_account"),
        open_sign_up: true,
        ..ProviderProfile::STANDARD
    },
};

const KEYCLOAK: Derivation = Derivation {
    name: "Keycloak",
    issuer: "{keycloakBaseUrl}/realms/{realm}",
    jwks: "{keycloakBaseUrl}/realms/{realm}/protocol/openid-connect/certs",
    authorize: "{keycloakBaseUrl}/realms/{realm}/protocol/openid-connect/auth",
    token: "{keycloakBaseUrl}/realms/{realm}/protocol/openid-connect/token",
    userinfo: Some("{keycloakBaseUrl}/realms/{realm}/protocol/openid-connect/userinfo"),
    end_session: Some("{keycloakBaseUrl}/realms/{realm}/protocol/openid-connect/logout"),
    secret: SecretWay::Basic,
    profile: ProviderProfile {
        roles: &["realm_access", "roles"],
        // Realm roles are in no other token unless a mapper is changed.
        claims_in_access_token: true,
        // With `prompt=login` it wants the same person's password, unless that person finds how to start over.
        another_account: AnotherAccount::SignOut,
        ..ProviderProfile::STANDARD
    },
};

const LOGTO: Derivation = Derivation {
    name: "Logto",
    issuer: "{logtoEndpoint}/oidc",
    jwks: "{logtoEndpoint}/oidc/jwks",
    authorize: "{logtoEndpoint}/oidc/auth",
    token: "{logtoEndpoint}/oidc/token",
    userinfo: Some("{logtoEndpoint}/oidc/me"),
    end_session: Some("{logtoEndpoint}/oidc/session/end"),
    secret: SecretWay::Basic,
    profile: ProviderProfile { open_sign_up: true, ..ProviderProfile::STANDARD },
};

const OKTA: Derivation = Derivation {
    name: "Okta",
    issuer: "https://{oktaDomain}",
    jwks: "https://{oktaDomain}/oauth2/v1/keys",
    authorize: "https://{oktaDomain}/oauth2/v1/authorize",
    token: "https://{oktaDomain}/oauth2/v1/token",
    userinfo: Some("https://{oktaDomain}/oauth2/v1/userinfo"),
    end_session: None,
    secret: SecretWay::Basic,
    profile: ProviderProfile::STANDARD,
};

/// With `authorizationServerId`.
const OKTA_CUSTOM_SERVER: Derivation = Derivation {
    issuer: "https://{oktaDomain}/oauth2/{authorizationServerId}",
    jwks: "https://{oktaDomain}/oauth2/{authorizationServerId}/v1/keys",
    authorize: "https://{oktaDomain}/oauth2/{authorizationServerId}/v1/authorize",
    token: "https://{oktaDomain}/oauth2/{authorizationServerId}/v1/token",
    userinfo: Some("https://{oktaDomain}/oauth2/{authorizationServerId}/v1/userinfo"),
    ..OKTA
};

const ONELOGIN: Derivation = Derivation {
    name: "OneLogin",
    issuer: "https://{oneLoginSubdomain}.onelogin.com/oidc/2",
    jwks: "https://{oneLoginSubdomain}.onelogin.com/oidc/2/certs",
    authorize: "https://{oneLoginSubdomain}.onelogin.com/oidc/2/auth",
    token: "https://{oneLoginSubdomain}.onelogin.com/oidc/2/token",
    userinfo: Some("https://{oneLoginSubdomain}.onelogin.com/oidc/2/me"),
    end_session: Some("https://{oneLoginSubdomain}.onelogin.com/oidc/2/logout"),
    secret: SecretWay::Post,
    profile: ProviderProfile { sign_out: SignOut::NoWayBack, ..ProviderProfile::STANDARD },
};

const PING: Derivation = Derivation {
    name: "PingOne",
    issuer: "https://auth.pingone.{region}/{environmentId}/as",
    jwks: "https://auth.pingone.{region}/{environmentId}/as/jwks",
    authorize: "https://auth.pingone.{region}/{environmentId}/as/authorize",
    token: "https://auth.pingone.{region}/{environmentId}/as/token",
    userinfo: Some("https://auth.pingone.{region}/{environmentId}/as/userinfo"),
    end_session: Some("https://auth.pingone.{region}/{environmentId}/as/signoff"),
    secret: SecretWay::Basic,
    profile: ProviderProfile { sign_out: SignOut::WithoutHint, ..ProviderProfile::STANDARD },
};

/// With `customDomain`.
const PING_CUSTOM_DOMAIN: Derivation = Derivation {
    issuer: "https://{customDomain}/as",
    jwks: "https://{customDomain}/as/jwks",
    authorize: "https://{customDomain}/as/authorize",
    token: "https://{customDomain}/as/token",
    userinfo: Some("https://{customDomain}/as/userinfo"),
    end_session: Some("https://{customDomain}/as/signoff"),
    ..PING
};

fn row(raw: &raw::Provider) -> &'static Derivation {
    match raw {
        raw::Provider::Auth0(_) => &AUTH0,
        raw::Provider::Cognito(_) => &COGNITO,
        raw::Provider::Clerk(_) => &CLERK,
        raw::Provider::Entra(_) => &ENTRA,
        raw::Provider::Google(_) => &GOOGLE,
        raw::Provider::Keycloak(_) => &KEYCLOAK,
        raw::Provider::Logto(_) => &LOGTO,
        raw::Provider::Okta(options) if options.authorization_server_id.is_some() => &OKTA_CUSTOM_SERVER,
        raw::Provider::Okta(_) => &OKTA,
        raw::Provider::OneLogin(_) => &ONELOGIN,
        raw::Provider::Ping(options) if options.custom_domain.is_some() => &PING_CUSTOM_DOMAIN,
        raw::Provider::Ping(_) => &PING,
    }
}

/// What people call the provider.
pub(super) fn name(raw: &raw::Provider) -> &'static str {
    row(raw).name
}

/// `None` only after a problem.
pub(super) fn resolve(raw: &raw::Provider, node: &Node, problems: &mut Problems) -> Option<OidcOptions> {
    let (row, common) = (row(raw), raw.common());
    let values = own_values(raw, node, problems);
    oidc::check_client_id(common.client_id, &node.find(&["clientId"]), problems);
    oidc::check_secret(common.client_secret, &node.find(&["clientSecret"]), problems);
    oidc::check_scope(common.scope, &node.find(&["scope"]), problems);
    let paths = [common.role_claim, common.group_claim, common.permission_claim];
    let claims = oidc::person_claims(paths, node, problems);
    let values = values?;
    let url = |template: &str| Url::parse(&fill(template, &values)).ok();
    let mut profile = row.profile;
    let requested_audience = match raw {
        raw::Provider::Auth0(options) => options.audience.clone(),
        _ => None,
    };
    // Without an audience, Auth0's access tokens are for itself alone.
    profile.claims_in_access_token |= requested_audience.is_some();
    Some(OidcOptions {
        display_name: row.name.to_owned(),
        issuer: fill(row.issuer, &values),
        audience: None,
        endpoints: OidcEndpoints {
            authorization: Some(url(row.authorize)?),
            token: Some(url(row.token)?),
            jwks: Some(url(row.jwks)?),
            userinfo: row.userinfo.and_then(url),
            end_session: row.end_session.and_then(url),
        },
        client_id: common.client_id?.to_owned(),
        credential: OidcCredential::Secret { secret: SecretString::from(common.client_secret?), way: Some(row.secret) },
        requested_audience,
        claims,
        profile,
    })
}

/// The provider's own options as they stand in URLs; `None` after a problem with one, or when one is missing.
fn own_values(raw: &raw::Provider, node: &Node, problems: &mut Problems) -> Option<Vec<(&'static str, String)>> {
    let mut values = Vec::new();
    let mut good = true;
    for (option, text) in raw.own() {
        let Some(shape) = SHAPES.iter().find(|shape| shape.option == option) else { continue };
        match (shape.check)(text) {
            Ok(value) => values.push((option, value)),
            Err(fault) => {
                good = false;
                problems
                    .add("value", node.find(&[option]).place, format!("`{option}` {}", fault.message))
                    .help(fault.help.unwrap_or_else(|| format!("such as `{}`", shape.example)));
            }
        }
    }
    if let raw::Provider::Ping(options) = raw {
        if options.environment_id.is_none() && options.custom_domain.is_none() {
            good = false;
            problems
                .add("missing", node.place, "`environmentId` is missing in `options`")
                .help("the settings of the environment show it; one with a custom domain has `customDomain` instead");
        }
        if options.region.is_none() {
            values.push(("region", "com".to_owned()));
        }
    }
    if let raw::Provider::Auth0(options) = raw
        && options.audience.as_deref().is_some_and(|audience| audience.trim().is_empty())
    {
        problems.add("value", node.find(&["audience"]).place, "`audience` is empty").help("leave it out");
    }
    good.then_some(values)
}

fn fill(template: &str, values: &[(&'static str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (option, value)| text.replace(&format!("{{{option}}}"), value))
}

/// What real credentials look like, and how a provider's options go together: nothing that the stand-ins of the
/// development login could meet.
pub(super) fn check_account(raw: &raw::Provider, node: &Node, problems: &mut Problems) {
    let (client_id, secret) =
        (raw.common().client_id.unwrap_or_default(), raw.common().client_secret.unwrap_or_default());
    let mut refuse = |option: &str, message: String, help: &str| {
        problems.add("value", node.find(&[option]).place, message).help(help);
    };
    match raw {
        raw::Provider::Google(_) => {
            let number = client_id.strip_suffix(".apps.googleusercontent.com");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if !client_id.is_empty() && !number.is_some_and(|id| !id.is_empty() && id.bytes().all(plain)) {
                refuse(
                    "clientId",
                    "`clientId` must end in `.apps.googleusercontent.com`".to_owned(),
                    "it looks like `123456789012-abc123def456.apps.googleusercontent.com`; Google Cloud shows it under Credentials",
                );
            }
        }
        raw::Provider::Entra(_) => {
            if !client_id.is_empty() && shape::uuid(client_id).is_err() {
                refuse(
                    "clientId",
                    "`clientId` must be a UUID".to_owned(),
                    "the overview of the app registration shows it as Application (client) ID",
                );
            }
            if shape::uuid(secret).is_ok() {
                refuse(
                    "clientSecret",
                    "`clientSecret` holds the id of a secret".to_owned(),
                    "take what the list of secrets shows as Value; it is shown once",
                );
            }
        }
        raw::Provider::Cognito(options) => {
            if let (Some(region), Some(pool)) = (&options.aws_region, &options.user_pool_id)
                && let Some((of_pool, _)) = pool.split_once('_')
                && shape::is_aws_region(region)
                && shape::is_aws_region(of_pool)
                && of_pool != region
            {
                refuse(
                    "userPoolId",
                    "`userPoolId` names another region than `awsRegion`".to_owned(),
                    "the id of a pool begins with its region",
                );
            }
        }
        _ => {}
    }
}

/// Gives every option that is a variable without a value one of the right shape, for the development login to
/// stand in.
pub(super) fn fill_for_development(options: &mut Node) {
    for shape in SHAPES {
        if let Some(node) = options.get_mut(shape.option)
            && matches!(node.kind, Kind::Unset(_))
        {
            node.kind = Kind::Text(shape.example.to_owned());
        }
    }
}
