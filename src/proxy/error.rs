//! What the proxy itself answers when a request does not reach an upstream, or its answer may not be passed
//! (CHAL, PROX-6 … PROX-9). The one place where a failure becomes a response.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::ProxyBody;
use super::filter;
use super::not_connected::NotConnected;
use crate::access::AccessRefusal;
use crate::mcp;
use crate::mcp::mirrored::Mismatch;
use crate::mcp::posted::BadPost;

/// Why a request was not served. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("method not allowed")]
    Method,
    #[error("a page of another origin")]
    Origin,
    /// Credentials are missing, or not good enough; with the reason for the log.
    #[error("{1}")]
    Bearer(Box<Challenged>, &'static str),
    /// The access rules of the route do not let the person in (WOS-13).
    #[error("{0}")]
    AccessDenied(AccessRefusal),
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(u64),
    #[error("the body ended early")]
    BodyCut,
    /// On a route with a filter a body has to be read.
    #[error("the body is not JSON in UTF-8 without a content coding")]
    MediaType,
    #[error("the body cannot be read: {0}")]
    BadPost(BadPost),
    /// With the id of the request (PROX-11).
    #[error("{0}")]
    HeaderMismatch(Mismatch, Option<Value>),
    #[error("what is asked for is hidden from the caller")]
    Hidden(Box<Hidden>),
    /// The answer to a filtered route cannot be read.
    #[error("the upstream's answer cannot be read")]
    Withheld(Box<Withheld>),
    #[error("the session does not exist or belongs to another caller")]
    UnknownSession,
    #[error("the person could not be looked up")]
    PersonUnknown,
    /// Direct mode: AuthKit's keys, or the WorkOS API, cannot be had.
    #[error("{0}")]
    ProviderUnavailable(String),
    /// The store has been away for longer than `outageGraceSeconds` (STORE-6).
    #[error("the store has been away for too long to know which grants were revoked")]
    RevocationsUnknown,
    #[error("the grant, or the address on a public route, has too many calls and streams open")]
    TooManyStreams,
    #[error("the gateway has too many calls and streams open")]
    Busy,
    /// The policy whose limit is spent, and the seconds until one more is allowed, if the caller may know.
    #[error("the limit of the policy `{0}` is spent")]
    RateLimited(String, Option<i64>),
    #[error("the upstream cannot be reached: {0}")]
    UpstreamUnreachable(String),
    #[error("the upstream did not answer in time")]
    UpstreamTimeout,
    #[error("upstream credential rejected")]
    UpstreamCredential,
    #[error(transparent)]
    NoCredential(NoCredential),
    #[error("the upstream answered with a redirect")]
    UpstreamRedirect,
}

impl ProxyError {
    pub fn reason_code(&self) -> &'static str {
        match self {
            Self::Method => "method_not_allowed",
            Self::Origin => "origin_not_allowed",
            Self::Bearer(_, reason) => reason,
            Self::AccessDenied(refusal) => refusal.reason_code(),
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodyCut => "body_cut",
            Self::MediaType => "body_media_type",
            Self::BadPost(_) => "body_unclear",
            Self::HeaderMismatch(..) => "header_mismatch",
            Self::Hidden(_) => "capability_hidden",
            Self::Withheld(_) => "answer_unreadable",
            Self::UnknownSession => "session_unknown",
            Self::PersonUnknown => "person_unknown",
            Self::ProviderUnavailable(_) => "provider_unavailable",
            Self::RevocationsUnknown => "revocations_unknown",
            Self::TooManyStreams => "too_many_streams",
            Self::Busy => "too_many_streams_in_all",
            Self::RateLimited(..) => "rate_limited",
            Self::UpstreamUnreachable(_) => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamCredential => "upstream_credential_rejected",
            Self::NoCredential(why) => why.reason_code(),
            Self::UpstreamRedirect => "upstream_redirect",
        }
    }

    /// The response, with a reference that is in the log too.
    pub fn response(&self, reference: &str) -> Response<ProxyBody> {
        match self {
            Self::Method => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, mcp::REFUSED, "method not allowed", reference);
                set(&mut response, header::ALLOW, HeaderValue::from_static("POST, GET, DELETE, OPTIONS"));
                response
            }
            Self::Origin => {
                let text = "pages of this Origin may not use the gateway";
                plain(StatusCode::FORBIDDEN, mcp::REFUSED, text, reference)
            }
            Self::Bearer(challenged, _) => challenged.response(reference),
            // No challenge: no token would help, and a client must not send the person through a login for nothing.
            Self::AccessDenied(refusal) => {
                let text = format!("you may not use this server: {refusal} (reference {reference})");
                let body = json!({ "error": "access_denied", "error_description": text });
                json_response(StatusCode::FORBIDDEN, &body)
            }
            Self::BodyTooLarge(limit) => {
                let text = format!("the request body is larger than {limit} bytes");
                plain(StatusCode::PAYLOAD_TOO_LARGE, mcp::REFUSED, &text, reference)
            }
            Self::BodyCut => plain(StatusCode::BAD_REQUEST, mcp::REFUSED, "the request body ended early", reference),
            Self::MediaType => {
                let text = "send one JSON message in UTF-8, with Content-Type application/json and no Content-Encoding";
                plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, mcp::REFUSED, text, reference)
            }
            Self::BadPost(problem) => {
                let text = format!("the request body cannot be read: {problem}");
                plain(StatusCode::BAD_REQUEST, mcp::REFUSED, &text, reference)
            }
            Self::HeaderMismatch(mismatch, id) => {
                let body = mcp::error_for(id.as_ref(), mcp::HEADER_MISMATCH, &mismatch.to_string(), reference);
                json_response(StatusCode::BAD_REQUEST, &body)
            }
            Self::Hidden(hidden) => hidden.response(reference),
            Self::Withheld(withheld) => {
                json_response(StatusCode::BAD_GATEWAY, &filter::withheld(withheld.id.as_ref(), reference))
            }
            Self::UnknownSession => {
                plain(StatusCode::NOT_FOUND, mcp::SESSION_NOT_FOUND, "session not found", reference)
            }
            Self::PersonUnknown | Self::RevocationsUnknown | Self::ProviderUnavailable(_) => {
                let text = "the gateway cannot look up who you are right now; try again";
                try_again(plain(StatusCode::SERVICE_UNAVAILABLE, mcp::REFUSED, text, reference))
            }
            Self::TooManyStreams => {
                let text = "too many calls and streams are open at once; close some and try again";
                try_again(plain(StatusCode::TOO_MANY_REQUESTS, mcp::REFUSED, text, reference))
            }
            Self::Busy => {
                let text = "the gateway is busy; try again";
                try_again(plain(StatusCode::SERVICE_UNAVAILABLE, mcp::REFUSED, text, reference))
            }
            Self::RateLimited(_, seconds) => rate_limited(*seconds, reference),
            Self::UpstreamUnreachable(_) => {
                upstream(StatusCode::BAD_GATEWAY, "the MCP server behind the gateway cannot be reached", reference)
            }
            Self::UpstreamTimeout => upstream(
                StatusCode::GATEWAY_TIMEOUT,
                "the MCP server behind the gateway did not answer in time",
                reference,
            ),
            Self::UpstreamCredential => upstream(
                StatusCode::BAD_GATEWAY,
                "upstream credential rejected: the MCP server behind the gateway does not accept the gateway's credential",
                reference,
            ),
            Self::NoCredential(why) => no_credential(why, reference),
            Self::UpstreamRedirect => upstream(
                StatusCode::BAD_GATEWAY,
                "the MCP server behind the gateway answered with a redirect; the operator should set its final address",
                reference,
            ),
        }
    }
}

fn upstream(status: StatusCode, message: &str, reference: &str) -> Response<ProxyBody> {
    plain(status, mcp::UPSTREAM_FAILED, message, reference)
}

/// Why there is no credential for a server that wants one.
#[derive(Debug, thiserror::Error)]
pub enum NoCredential {
    /// Somebody has to connect the server first.
    #[error("{0}")]
    NotConnected(Box<NotConnected>),
    /// The identity provider, or the upstream's authorization server, lets the person not in.
    #[error("the person is not let in: {0}")]
    NotAllowed(String),
    #[error("there is no credential for the upstream right now: {0}")]
    Unavailable(String),
    #[error("the upstream's authorization server does not take the gateway as a client: {0}")]
    WrongClient(String),
}

impl NoCredential {
    fn reason_code(&self) -> &'static str {
        match self {
            Self::NotConnected(told) => told.reason_code(),
            Self::NotAllowed(_) => "upstream_not_allowed",
            Self::Unavailable(_) => "upstream_credential_unavailable",
            Self::WrongClient(_) => "upstream_client_refused",
        }
    }
}

fn no_credential(why: &NoCredential, reference: &str) -> Response<ProxyBody> {
    match why {
        NoCredential::NotConnected(told) => {
            let (status, body) = told.response(reference);
            json_response(status, &body)
        }
        // As for the gateway's own access rules.
        NoCredential::NotAllowed(_) => {
            let text = format!("your organisation does not let you use this server (reference {reference})");
            json_response(StatusCode::FORBIDDEN, &json!({ "error": "access_denied", "error_description": text }))
        }
        NoCredential::Unavailable(_) => {
            let text = "the gateway cannot get its credential for the MCP server behind it right now; try again";
            try_again(upstream(StatusCode::SERVICE_UNAVAILABLE, text, reference))
        }
        NoCredential::WrongClient(_) => {
            let text = "the authorization server of the MCP server behind the gateway does not know the gateway; its \
                        operator must mend that";
            upstream(StatusCode::BAD_GATEWAY, text, reference)
        }
    }
}

fn try_again(mut response: Response<ProxyBody>) -> Response<ProxyBody> {
    set(&mut response, header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn rate_limited(seconds: Option<i64>, reference: &str) -> Response<ProxyBody> {
    let text = match seconds {
        Some(seconds) => format!("too many requests; try again in {seconds} s"),
        None => "too many requests; try again later".to_owned(),
    };
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, mcp::REFUSED, &text, reference);
    if let Some(seconds) = seconds {
        set(&mut response, header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn plain(status: StatusCode, code: i32, message: &str, reference: &str) -> Response<ProxyBody> {
    json_response(status, &mcp::error(code, message, reference))
}

/// Requests for what the caller may not see (STRM-12).
#[derive(Debug)]
pub struct Hidden {
    /// Of every message; notifications have none.
    pub ids: Vec<Option<Value>>,
    pub is_batch: bool,
    /// The stateless era has an HTTP status for this. In the era before, 404 would mean the session.
    pub is_stateless: bool,
}

impl Hidden {
    fn response(&self, reference: &str) -> Response<ProxyBody> {
        let message = "there is no such tool, prompt or resource";
        let error = |id| mcp::error_for(id, mcp::NOT_FOUND, message, reference);
        let status = if self.is_stateless { StatusCode::NOT_FOUND } else { StatusCode::OK };
        match self.ids.as_slice() {
            [id] if !self.is_batch => json_response(status, &error(id.as_ref())),
            ids => {
                let errors: Vec<Value> = ids.iter().flatten().map(|id| error(Some(id))).collect();
                if errors.is_empty() {
                    // Notifications get no answer.
                    let mut response = Response::new(ProxyBody::own(""));
                    *response.status_mut() = StatusCode::ACCEPTED;
                    return response;
                }
                json_response(status, &Value::Array(errors))
            }
        }
    }
}

/// An answer that is not passed on.
#[derive(Debug)]
pub struct Withheld {
    /// Of the request it is for.
    pub id: Option<Value>,
}

/// A challenge, ready to be sent (CHAL-1, CHAL-2, CHAL-7).
#[derive(Debug)]
pub struct Challenged {
    /// The `WWW-Authenticate` value.
    pub header: String,
    pub status: u16,
    /// `error` of the body.
    pub error: &'static str,
    pub description: &'static str,
}

impl Challenged {
    /// OAuth's words in a JSON body.
    fn response(&self, reference: &str) -> Response<ProxyBody> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::UNAUTHORIZED);
        let description = format!("{} (reference {reference})", self.description);
        let mut response = json_response(status, &json!({ "error": self.error, "error_description": description }));
        if let Ok(value) = HeaderValue::from_str(&self.header) {
            set(&mut response, header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::own(body.to_string()));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set(&mut response, header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn set(response: &mut Response<ProxyBody>, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}
