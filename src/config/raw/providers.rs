//! Options of the login policies whose endpoints are derived, as they are written (gateway.md §6.3).
//!
//! What a provider needs of its own stands in the list at the end; the rest is the same for all ten.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BrowserLogin, Gateway, IdJag};

/// What every policy with derived endpoints has.
#[derive(Clone, Copy)]
pub struct ProviderCommon<'a> {
    pub client_id: Option<&'a str>,
    pub client_secret: Option<&'a str>,
    pub scope: &'a str,
    pub role_claim: Option<&'a str>,
    pub group_claim: Option<&'a str>,
    pub permission_claim: Option<&'a str>,
    pub browser_login_overrides: &'a BrowserLogin,
    pub id_jag: &'a IdJag,
    pub gateway: &'a Gateway,
}

macro_rules! providers {
    ($(
        $(#[$of_provider:meta])*
        $Provider:ident, required [$($required:literal),*] {
            $($(#[$of_option:meta])* $option:ident = $name:literal,)*
        }
    )*) => {
        /// The options of one of them.
        pub enum Provider {
            $($Provider($Provider),)*
        }

        impl Provider {
            #[must_use]
            pub fn common(&self) -> ProviderCommon<'_> {
                match self {
                    $(Self::$Provider(options) => ProviderCommon {
                        client_id: options.client_id.as_deref(),
                        client_secret: options.client_secret.as_deref(),
                        scope: &options.scope,
                        role_claim: options.role_claim.as_deref(),
                        group_claim: options.group_claim.as_deref(),
                        permission_claim: options.permission_claim.as_deref(),
                        browser_login_overrides: &options.browser_login_overrides,
                        id_jag: &options.id_jag,
                        gateway: &options.gateway,
                    },)*
                }
            }

            /// The options that only this provider has, as far as they are given: their names and values.
            #[must_use]
            pub fn own(&self) -> Vec<(&'static str, &str)> {
                match self {
                    $(Self::$Provider(_options) => {
                        let own: Vec<(&'static str, Option<&str>)> = vec![$(($name, _options.$option.as_deref()),)*];
                        own.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
                    })*
                }
            }
        }

        $(
            impl From<$Provider> for Provider {
                fn from(options: $Provider) -> Self {
                    Self::$Provider(options)
                }
            }

            $(#[$of_provider])*
            #[derive(Serialize, Deserialize, JsonSchema)]
            #[serde(default, deny_unknown_fields, rename_all = "camelCase")]
            #[schemars(extend("required" = [$($required),*]))]
            pub struct $Provider {
                $($(#[$of_option])* #[serde(rename = $name)] pub $option: Option<String>,)*
                /// As the provider shows it where the gateway is registered as an application.
                pub client_id: Option<String>,
                /// Best written as `$env(NAME)`.
                pub client_secret: Option<String>,
                /// Sent to the provider; holds `openid`.
                pub scope: String,
                /// Where roles stand in the claims: a name, or names separated by dots; `\.` is a dot of a name. Left
                /// out: where this provider usually has them.
                pub role_claim: Option<String>,
                /// The same for groups.
                pub group_claim: Option<String>,
                /// The same for permissions.
                pub permission_claim: Option<String>,
                pub browser_login_overrides: BrowserLogin,
                pub id_jag: IdJag,
                pub gateway: Gateway,
            }

            impl Default for $Provider {
                fn default() -> Self {
                    Self {
                        $($option: None,)*
                        client_id: None,
                        client_secret: None,
                        scope: "openid profile email".to_owned(),
                        role_claim: None,
                        group_claim: None,
                        permission_claim: None,
                        browser_login_overrides: BrowserLogin::default(),
                        id_jag: IdJag::default(),
                        gateway: Gateway::default(),
                    }
                }
            }
        )*
    };
}

providers! {
    /// Options of `mcp-auth0-oauth-inbound`: login with Auth0.
    Auth0, required ["auth0Domain", "clientId", "clientSecret"] {
        /// The tenant's host name or its custom domain, such as `my-tenant.us.auth0.com`.
        auth0_domain = "auth0Domain",
        /// Identifier of an API of the tenant. Its access tokens then tell the person's permissions.
        audience = "audience",
    }

    /// Options of `mcp-cognito-oauth-inbound`: login with an Amazon Cognito user pool.
    Cognito, required ["awsRegion", "userPoolId", "userPoolDomain", "clientId", "clientSecret"] {
        /// Such as `us-east-1`.
        aws_region = "awsRegion",
        /// Such as `us-east-1_AbCdEf123`.
        user_pool_id = "userPoolId",
        /// Host name of the pool's sign-in pages, such as `my-pool.auth.us-east-1.amazoncognito.com`.
        user_pool_domain = "userPoolDomain",
    }

    /// Options of `mcp-clerk-oauth-inbound`: login with Clerk.
    Clerk, required ["frontendApiUrl", "clientId", "clientSecret"] {
        /// Origin of the Frontend API, such as `https://verb-noun-00.clerk.accounts.dev`.
        frontend_api_url = "frontendApiUrl",
    }

    /// Options of `mcp-entra-oauth-inbound`: login with one tenant of Microsoft Entra ID.
    Entra, required ["tenantId", "clientId", "clientSecret"] {
        /// The directory's id, a UUID.
        tenant_id = "tenantId",
    }

    /// Options of `mcp-google-oauth-inbound`: login with Google.
    Google, required ["clientId", "clientSecret"] {}

    /// Options of `mcp-keycloak-oauth-inbound`: login with a realm of a Keycloak server.
    Keycloak, required ["keycloakBaseUrl", "realm", "clientId", "clientSecret"] {
        /// Root of the server, such as `https://sso.example.com` or `https://sso.example.com/auth`.
        keycloak_base_url = "keycloakBaseUrl",
        /// The realm's name.
        realm = "realm",
    }

    /// Options of `mcp-logto-oauth-inbound`: login with Logto.
    Logto, required ["logtoEndpoint", "clientId", "clientSecret"] {
        /// Origin of the tenant, such as `https://your-tenant.logto.app`.
        logto_endpoint = "logtoEndpoint",
    }

    /// Options of `mcp-okta-oauth-inbound`: login with Okta.
    Okta, required ["oktaDomain", "clientId", "clientSecret"] {
        /// Host name of the organisation, such as `acme.okta.com`.
        okta_domain = "oktaDomain",
        /// Id of a custom authorization server, such as `default`. Left out: that of the organisation.
        authorization_server_id = "authorizationServerId",
    }

    /// Options of `mcp-onelogin-oauth-inbound`: login with `OneLogin`.
    OneLogin, required ["oneLoginSubdomain", "clientId", "clientSecret"] {
        /// What stands before `.onelogin.com`.
        one_login_subdomain = "oneLoginSubdomain",
    }

    /// Options of `mcp-ping-oauth-inbound`: login with `PingOne`. Wants `environmentId` or `customDomain`.
    Ping, required ["clientId", "clientSecret"] {
        /// The environment's id, a UUID.
        environment_id = "environmentId",
        /// Where the environment is. Left out: `north-america`.
        #[schemars(extend("enum" = ["north-america", "canada", "europe", "singapore", "australia", "asia-pacific"]))]
        region = "region",
        /// Host name of the environment's custom domain; then neither of the other two is needed.
        custom_domain = "customDomain",
    }
}
