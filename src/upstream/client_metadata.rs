//! The gateway as a client of an upstream's authorization server: who it is there and where it is called back (RFC 7591 §2,
//! draft-ietf-oauth-client-id-metadata-document).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use url::{Host, Url};

use crate::outbound::special_use;

/// What a path segment holds as it is (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The gateway, as one upstream sees it.
#[derive(Debug, Clone, Copy)]
pub struct GatewayAsClient<'a> {
    /// Public origins, without trailing slash; the first is the one that its documents stand at.
    pub origins: &'a [String],
    /// `/` or `/prefix/`.
    pub base_path: &'a str,
    /// [`Upstream::id`](crate::config::model).
    pub upstream: &'a str,
}

/// Client metadata (RFC 7591 §2): the body of a registration, and with `client_id` the published document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    pub client_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    pub redirect_uris: Vec<String>,
    pub grant_types: Vec<&'static str>,
    pub response_types: [&'static str; 1],
    pub token_endpoint_auth_method: &'static str,
    /// OpenID Connect Registration §2.
    pub application_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl GatewayAsClient<'_> {
    /// Where the authorization server sends a browser back to that came from `origin`.
    #[must_use]
    pub fn redirect_uri(&self, origin: &str) -> String {
        format!("{origin}{}auth/connections/{}/callback", self.base_path, self.segment())
    }

    /// Those of all public origins.
    #[must_use]
    pub fn redirect_uris(&self) -> Vec<String> {
        self.origins.iter().map(|origin| self.redirect_uri(origin)).collect()
    }

    /// The URL of [`document`](Self::document), which is the client id of a gateway that is known by it. `None` where
    /// nobody could fetch it: the first origin is not https, or within this machine or a private network as far as its name
    /// tells.
    #[must_use]
    pub fn document_url(&self) -> Option<String> {
        let origin = self.origins.first()?;
        let url = Url::parse(origin).ok().filter(|url| url.scheme() == "https")?;
        let public = match url.host()? {
            Host::Domain(name) => {
                let name = name.trim_end_matches('.');
                name.contains('.') && !name.ends_with(".localhost")
            }
            Host::Ipv4(address) => special_use(address.into()).is_none(),
            Host::Ipv6(address) => special_use(address.into()).is_none(),
        };
        public.then(|| format!("{origin}/.well-known/oauth-client/{}", self.segment()))
    }

    /// The published document; `None` where there is nobody to publish it to.
    #[must_use]
    pub fn document(&self) -> Option<ClientMetadata> {
        let client_id = self.document_url()?;
        let grant_types = vec!["authorization_code", "refresh_token"];
        Some(ClientMetadata { client_id: Some(client_id), ..self.metadata("none", grant_types) })
    }

    /// What the gateway says of itself to register.
    #[must_use]
    pub fn metadata(&self, auth_method: &'static str, grant_types: Vec<&'static str>) -> ClientMetadata {
        let origin = self.origins.first().map(String::as_str).unwrap_or_default();
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        ClientMetadata {
            client_id: None,
            client_name: format!("doorward ({host})"),
            client_uri: self.document_url().map(|_| origin.to_owned()),
            redirect_uris: self.redirect_uris(),
            grant_types,
            response_types: ["code"],
            token_endpoint_auth_method: auth_method,
            application_type: "web",
            scope: None,
        }
    }

    fn segment(&self) -> String {
        utf8_percent_encode(self.upstream, SEGMENT).to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::domain::UnixTime;
    use crate::oauth::client_id_metadata::{ClientIdUrl, parse_document};

    fn gateway<'a>(origins: &'a [String], base_path: &'a str) -> GatewayAsClient<'a> {
        GatewayAsClient { origins, base_path, upstream: "linear" }
    }

    #[test]
    fn the_published_document_is_one_that_a_server_like_ours_would_take() {
        let origins = ["https://gw.example".to_owned(), "https://mcp.example".to_owned()];
        let document = gateway(&origins, "/__zuplo/").document().unwrap();
        assert_eq!(
            serde_json::to_value(&document).unwrap(),
            json!({
                "client_id": "https://gw.example/.well-known/oauth-client/linear",
                "client_name": "doorward (gw.example)",
                "client_uri": "https://gw.example",
                "redirect_uris": [
                    "https://gw.example/__zuplo/auth/connections/linear/callback",
                    "https://mcp.example/__zuplo/auth/connections/linear/callback",
                ],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "token_endpoint_auth_method": "none",
                "application_type": "web",
            })
        );
        let url = ClientIdUrl::parse(document.client_id.as_deref().unwrap()).unwrap();
        let json = serde_json::to_vec(&document).unwrap();
        assert!(parse_document(&url, &json, UnixTime(0)).unwrap().is_public());
    }

    #[rstest]
    #[case("http://gw.example")]
    #[case("https://localhost:9000")]
    #[case("https://gw.localhost")]
    #[case("https://gateway")]
    #[case("https://127.0.0.1")]
    #[case("https://10.0.0.4:9000")]
    #[case("https://[::1]")]
    fn a_document_that_nobody_could_fetch_is_no_client_id(#[case] origin: &str) {
        let origins = [origin.to_owned(), "https://gw.example".to_owned()];
        assert_eq!(gateway(&origins, "/").document(), None);
    }

    #[test]
    fn an_upstream_id_is_one_segment_of_a_path() {
        let origins = ["https://gw.example".to_owned()];
        let gateway = GatewayAsClient { upstream: "../a b/c?d", ..gateway(&origins, "/") };
        assert_eq!(
            gateway.redirect_uri("https://gw.example"),
            "https://gw.example/auth/connections/..%2Fa%20b%2Fc%3Fd/callback"
        );
    }
}
