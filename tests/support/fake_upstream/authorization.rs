//! The authorization server of the double: metadata, registration, authorization, tokens, revocation.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use doorward::crypto::{base64url, base64url_decode, sha256};
use serde_json::{Value, json};
use url::Url;

use super::clients::{METHODS, subject, verified};
use super::issued::{Authorized, Pair};
use super::{Arrival, Endpoint, Form, Server, Shared, TokenRequest, patch};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPES: [&str; 4] = ["notes.read", "notes.write", "notes.admin", "offline_access"];
/// What is granted to who asks for nothing.
const USUAL_SCOPE: &str = "notes.read";
/// Seconds that an access token lives.
const LIFE: i64 = 3600;

/// What the authorization endpoint takes; anything else came from somewhere it should not have.
const PARAMETERS: [&str; 9] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "prompt",
];

/// An error of the token endpoint.
type Refused = (u16, &'static str, &'static str);

impl Server {
    pub fn resource_metadata(&self, endpoint: Endpoint) -> Response {
        let behaviour = &self.behaviour;
        let gone =
            if endpoint == Endpoint::PathMetadata { behaviour.no_path_metadata } else { behaviour.no_root_metadata };
        if gone {
            return StatusCode::NOT_FOUND.into_response();
        }
        let mut metadata = json!({
            "resource": self.mcp_url(),
            "authorization_servers": [self.issuer()],
            "scopes_supported": [USUAL_SCOPE],
            "bearer_methods_supported": ["header"],
        });
        patch(&mut metadata, behaviour.resource_metadata.as_ref());
        axum::Json(metadata).into_response()
    }

    pub fn metadata(&self, endpoint: Endpoint) -> Response {
        let (behaviour, base) = (&self.behaviour, &self.base);
        if if endpoint == Endpoint::OpenId { behaviour.no_openid } else { behaviour.no_rfc_8414 } {
            return StatusCode::NOT_FOUND.into_response();
        }
        let mut metadata = json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{base}/as/authorize"),
            "token_endpoint": format!("{base}/as/token"),
            "revocation_endpoint": format!("{base}/as/revoke"),
            "scopes_supported": SCOPES,
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token", JWT_BEARER],
            "token_endpoint_auth_methods_supported": METHODS,
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256", "EdDSA"],
            "code_challenge_methods_supported": ["S256"],
        });
        if !behaviour.no_registration {
            metadata["registration_endpoint"] = json!(format!("{base}/as/register"));
        }
        if behaviour.takes_documents {
            metadata["client_id_metadata_document_supported"] = json!(true);
        }
        if !behaviour.no_issuer {
            metadata["authorization_response_iss_parameter_supported"] = json!(true);
        }
        patch(&mut metadata, behaviour.metadata.as_ref());
        axum::Json(metadata).into_response()
    }

    pub fn register(&mut self, arrival: &Arrival) -> Response {
        if self.behaviour.no_registration {
            return StatusCode::NOT_FOUND.into_response();
        }
        let Ok(asked) = serde_json::from_slice::<Value>(&arrival.body) else {
            return error(400, "invalid_client_metadata", "not JSON");
        };
        self.registrations.push(asked.clone());
        match self.clients.register(&asked) {
            Ok(mut told) => {
                patch(&mut told, self.behaviour.registration.as_ref());
                (StatusCode::CREATED, axum::Json(told)).into_response()
            }
            Err(code) => error(400, code, "the registration"),
        }
    }

    /// RFC 7009: 200 whatever the token was.
    pub fn revoke(&mut self, arrival: &Arrival) -> Response {
        let Some(form) = form_of(arrival) else { return error(400, "invalid_request", "the form") };
        let audiences = [self.issuer(), format!("{}/as/revoke", self.base), format!("{}/as/token", self.base)];
        if self.clients.authenticate(&arrival.headers, &form, &audiences).is_none() {
            return error(401, "invalid_client", "the client");
        }
        let token = form.get("token").cloned().unwrap_or_default();
        self.issued.revoke_token(&token);
        self.revoked.push(token);
        StatusCode::OK.into_response()
    }

    fn authorize(&mut self, arrival: &Arrival) -> Response {
        let query: Form = arrival.query.iter().cloned().collect();
        self.authorizations.push(query.clone());
        let get = |name: &str| query.get(name).map(String::as_str);
        let redirect_uri = get("redirect_uri").unwrap_or_default();
        let client = get("client_id").and_then(|id| self.clients.get(id));
        if !client.is_some_and(|client| client.redirect_uris.iter().any(|own| own == redirect_uri)) {
            return (StatusCode::BAD_REQUEST, "no such client, or no such redirect URI").into_response();
        }
        let mut back = Url::parse(redirect_uri).unwrap();
        if let Err(code) = self.check(arrival, &query) {
            back.query_pairs_mut().append_pair("error", code);
        } else if let Some(code) = &self.behaviour.callback_error {
            back.query_pairs_mut().append_pair("error", code).append_pair("error_description", "canary-77");
        } else {
            let scope = get("scope").filter(|scope| !scope.is_empty()).unwrap_or(USUAL_SCOPE).to_owned();
            let code = self.issued.code(Authorized {
                person: self.person.clone(),
                client: get("client_id").unwrap_or_default().to_owned(),
                redirect_uri: redirect_uri.to_owned(),
                challenge: get("code_challenge").unwrap_or_default().to_owned(),
                resource: get("resource").unwrap_or_default().to_owned(),
                scope,
            });
            back.query_pairs_mut().append_pair("code", &code);
        }
        let state = self.behaviour.callback_state.as_deref().or(get("state")).unwrap_or_default();
        back.query_pairs_mut().append_pair("state", state);
        if !self.behaviour.no_issuer && !self.behaviour.broken_promise {
            let issuer = self.behaviour.callback_issuer.clone().unwrap_or_else(|| self.issuer());
            back.query_pairs_mut().append_pair("iss", &issuer);
        }
        Redirect::to(back.as_str()).into_response()
    }

    /// RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.
    fn check(&self, arrival: &Arrival, query: &Form) -> Result<(), &'static str> {
        let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let known = arrival.query.iter().all(|(name, _)| PARAMETERS.contains(&name.as_str()));
        if !known || query.len() != arrival.query.len() || get("response_type") != "code" || get("state").len() < 22 {
            return Err("invalid_request");
        }
        if get("code_challenge_method") != "S256" || get("code_challenge").len() != 43 {
            return Err("invalid_request");
        }
        if get("resource") != self.resource() {
            return Err("invalid_target");
        }
        if !get("scope").split_whitespace().all(|scope| SCOPES.contains(&scope)) {
            return Err("invalid_scope");
        }
        Ok(())
    }

    fn grant(&mut self, form: &Form, client: &str, asserted: Option<Authorized>) -> Result<Pair, Refused> {
        let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let life = self.behaviour.expires_in.unwrap_or(LIFE);
        let refreshing = self.behaviour.refreshing;
        match get("grant_type") {
            "authorization_code" => {
                let (code, challenge) = (get("code"), base64url(&sha256(get("code_verifier").as_bytes())));
                let authorized = self.issued.peek(code).ok_or((400, "invalid_grant", "the code"))?;
                if authorized.client != client || authorized.redirect_uri != get("redirect_uri") {
                    return Err((400, "invalid_grant", "the client or the redirect URI"));
                }
                if authorized.challenge != challenge {
                    return Err((400, "invalid_grant", "the verifier"));
                }
                if authorized.resource != get("resource") {
                    return Err((400, "invalid_target", "the resource"));
                }
                Ok(self.issued.redeem(code, life, refreshing))
            }
            "refresh_token" => {
                let token = get("refresh_token");
                let found = self.issued.family(token, self.behaviour.superseded_works);
                let (number, authorized) = found.ok_or((400, "invalid_grant", "the refresh token"))?;
                if authorized.client != client {
                    return Err((400, "invalid_grant", "the client"));
                }
                if authorized.resource != get("resource") {
                    return Err((400, "invalid_target", "the resource"));
                }
                let granted = |scope: &str| authorized.scope.split(' ').any(|own| own == scope);
                if !get("scope").split_whitespace().all(granted) {
                    return Err((400, "invalid_scope", "more than was granted"));
                }
                let scope = if get("scope").is_empty() { &authorized.scope } else { get("scope") };
                Ok(self.issued.refresh(number, token, scope, life, refreshing))
            }
            JWT_BEARER => {
                let authorized = asserted.ok_or((400, "invalid_grant", "the assertion"))?;
                Ok(self.issued.grant(authorized, life, super::Refreshing::Never))
            }
            _ => Err((400, "unsupported_grant_type", "the grant type")),
        }
    }

    /// What an identity assertion says of a person, if it is for us, from `client`, and new (ID-JAG §4.4).
    fn asserted(&mut self, form: &Form, client: &str, keys: &[Value]) -> Option<Authorized> {
        let assertion = form.get("assertion")?;
        let header = jsonwebtoken::decode_header(assertion).ok()?;
        let claims = keys.iter().find_map(|key| verified(assertion, key))?;
        let text = |name: &str| claims[name].as_str().filter(|value| !value.is_empty()).map(str::to_owned);
        let asked = form.get("scope").cloned();
        let expected = header.typ.as_deref() == Some("oauth-id-jag+jwt")
            && claims["aud"] == json!(self.issuer())
            && claims["client_id"] == client
            && claims["iat"].is_i64()
            && (claims["resource"].is_null() || claims["resource"] == json!(self.resource()))
            && self.clients.first_use(&text("jti")?);
        expected.then_some(())?;
        Some(Authorized {
            person: text("sub")?,
            client: client.to_owned(),
            redirect_uri: String::new(),
            challenge: String::new(),
            resource: self.resource(),
            scope: text("scope").or(asked).unwrap_or_else(|| USUAL_SCOPE.to_owned()),
        })
    }
}

impl Shared {
    pub async fn authorize(&self, arrival: &Arrival) -> Response {
        let id = arrival.query.iter().find(|(name, _)| name == "client_id").map(|(_, id)| id.clone());
        if let Some(id) = id
            && let Err(wrong) = self.learn(&id).await
        {
            return (StatusCode::BAD_REQUEST, wrong).into_response();
        }
        self.server().authorize(arrival)
    }

    /// Reads the document that a client id names, if it does and documents are taken.
    async fn learn(&self, id: &str) -> Result<(), &'static str> {
        if !self.server().behaviour.takes_documents || !id.starts_with("http") {
            return Ok(());
        }
        self.server().documents.push(id.to_owned());
        let document = self.fetch(id).await.ok_or("the document cannot be had")?;
        let mut keys = document["jwks"].clone();
        if let Some(url) = document["jwks_uri"].as_str() {
            keys = self.fetch(url).await.ok_or("the keys cannot be had")?;
        }
        let keys = keys["keys"].as_array().cloned().unwrap_or_default();
        self.server().clients.learn(id, &document, keys)
    }

    pub async fn token(&self, arrival: &Arrival) -> Response {
        let Some(form) = form_of(arrival) else { return error(400, "invalid_request", "the form") };
        let request = TokenRequest { headers: arrival.headers.clone(), form: form.clone() };
        self.server().token_requests.push(request);
        let named = form.get("client_id").cloned().or_else(|| subject(form.get("client_assertion")?));
        if let Some(id) = named.filter(|id| self.server().clients.get(id).is_none()) {
            // Whoever is not known to it is refused below.
            let _ = self.learn(&id).await;
        }
        let client = {
            let mut server = self.server();
            let audiences = [server.issuer(), format!("{}/as/token", server.base)];
            server.clients.authenticate(&arrival.headers, &form, &audiences)
        };
        let Some(client) = client else { return error(401, "invalid_client", "the client") };
        let keys = match form.get("assertion") {
            Some(assertion) => self.keys_of(assertion).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let mut server = self.server();
        let asserted = server.asserted(&form, &client, &keys);
        match server.grant(&form, &client, asserted) {
            Ok(pair) => server.token_answer(pair),
            Err((status, code, what)) => error(status, code, what),
        }
    }

    /// Keys of the provider that an assertion names, if it is one that we trust.
    async fn keys_of(&self, assertion: &str) -> Option<Vec<Value>> {
        let claims: Value = serde_json::from_slice(&base64url_decode(assertion.split('.').nth(1)?)?).ok()?;
        let url = self.server().asserting.get(claims["iss"].as_str()?)?.clone();
        self.fetch(&url).await?["keys"].as_array().cloned()
    }
}

impl Server {
    fn token_answer(&self, pair: Pair) -> Response {
        let mut answer = json!({ "access_token": pair.access, "token_type": "Bearer", "scope": pair.scope });
        if !self.behaviour.no_expires_in {
            answer["expires_in"] = json!(self.behaviour.expires_in.unwrap_or(LIFE));
        }
        if let Some(token) = pair.refresh {
            answer["refresh_token"] = json!(token);
        }
        patch(&mut answer, self.behaviour.token_answer.as_ref());
        ([("cache-control", "no-store")], axum::Json(answer)).into_response()
    }
}

/// The fields of a form, each of which stands once; nothing may stand in the query.
pub fn form_of(arrival: &Arrival) -> Option<Form> {
    let content_type = arrival.headers.get("content-type")?.to_str().ok()?;
    if !content_type.starts_with("application/x-www-form-urlencoded") || !arrival.query.is_empty() {
        return None;
    }
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&arrival.body).into_owned().collect();
    let form: Form = pairs.iter().cloned().collect();
    (arrival.method == "POST" && form.len() == pairs.len()).then_some(form)
}

/// An OAuth error with a description that nobody may pass on.
pub fn error(status: u16, code: &str, what: &str) -> Response {
    let body = json!({ "error": code, "error_description": format!("canary-77: {what}") });
    (StatusCode::from_u16(status).unwrap(), [("cache-control", "no-store")], axum::Json(body)).into_response()
}
