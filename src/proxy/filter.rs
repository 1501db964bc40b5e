//! The requests of a route with a capability filter (gateway.md §9; PROX-11, PROX-12, STRM-12).
//!
//! Here bodies are read, for a header may say anything: what is decided is decided by the body, the headers must agree
//! with it, and a body with two readings goes nowhere. What goes on are the client's own bytes, but for a batch that
//! something was taken out of.

mod answer;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

pub use answer::{AnswerFilter, Shape, Sifted, withheld};

use super::body::RequestBody;
use super::caller::CallerToken;
use super::error::{Hidden, ProxyError};
use super::{Call, Proxy, step_up};
use crate::access::{Visible, check_demands};
use crate::config::model::{CapabilityFilter, Demands};
use crate::domain::UnixTime;
use crate::mcp;
use crate::mcp::mirrored::{self, Mirrored};
use crate::mcp::posted::{self, Message, Posted};

/// What a call's answer has to pass.
pub struct Filter {
    visible: Visible,
    /// Of the one request that is answered.
    id: Option<Value>,
    /// Requests of the batch that the server does not see, and so does not answer.
    hidden: Vec<Value>,
}

/// A request that may go on.
pub struct Admitted {
    pub body: RequestBody,
    pub filter: Filter,
}

impl Proxy {
    /// Reads a request's body, and gives it back if nothing in it is hidden from the caller.
    pub(super) async fn filter(
        &self,
        call: &Call<'_>,
        filters: &Arc<[CapabilityFilter]>,
        parts: &mut http::request::Parts,
        body: RequestBody,
    ) -> Result<Admitted, ProxyError> {
        let bytes = body.collect().await.map_err(|_| ProxyError::BodyCut)?.to_bytes();
        if parts.method != Method::POST {
            if !bytes.is_empty() {
                return Err(ProxyError::BadPost(posted::BadPost::NoMessage));
            }
            prepare(&mut parts.headers);
            let visible = self.visible(call, filters, false).await?;
            let filter = Filter { visible, id: None, hidden: Vec::new() };
            return Ok(Admitted { body: RequestBody::Held(Full::new(bytes)), filter });
        }
        check_media_type(&parts.headers)?;
        let posted = posted::read(&bytes).map_err(ProxyError::BadPost)?;
        prepare(&mut parts.headers);
        check_mirrored(&parts.headers, &posted)?;
        let mut visible = self.visible(call, filters, false).await?;
        let mut judged = judge(&posted, &visible);
        if judged.iter().any(Option::is_none) {
            // Whoever was let in a moment ago need not wait.
            visible = self.visible(call, filters, true).await?;
            judged = judge(&posted, &visible);
        }
        self.check_demands(call, judged.iter().flatten())?;
        let body = kept(&bytes, &posted, &judged, &mut parts.headers)?;
        let hidden = posted.messages.iter().zip(&judged).filter(|(_, demands)| demands.is_none());
        let hidden = hidden.filter_map(|(message, _)| message.id.clone()).collect();
        let id = posted.messages.first().filter(|_| !posted.is_batch).and_then(|message| message.id.clone());
        Ok(Admitted { body: RequestBody::Held(Full::new(body)), filter: Filter { visible, id, hidden } })
    }

    /// The filters as the caller meets them; `anew`: by what the store knows this moment.
    async fn visible(
        &self,
        call: &Call<'_>,
        filters: &Arc<[CapabilityFilter]>,
        anew: bool,
    ) -> Result<Visible, ProxyError> {
        let token = call.token.as_ref();
        let person = match token.filter(|_| filters.iter().any(CapabilityFilter::needs_person)) {
            Some(token) if anew => Some(self.person_now(token).await?),
            Some(token) => Some(self.person(token).await?),
            None => None,
        };
        Ok(Visible::new(Arc::clone(filters), person, token.map(|token| token.client().clone())))
    }

    /// What the items of a request demand of the caller's token.
    fn check_demands<'d>(
        &self,
        call: &Call<'_>,
        mut demands: impl Iterator<Item = &'d Demands>,
    ) -> Result<(), ProxyError> {
        demands.try_for_each(|demands| {
            let held = |scope: &str| {
                call.token.as_ref().is_some_and(|token| match &self.scopes {
                    Some(scopes) => scopes.satisfies(token.scope(), scope),
                    None => token.scope().contains(scope),
                })
            };
            let since = |at: UnixTime| u64::try_from(self.clock.now().since(at)).unwrap_or(0);
            let signed_in = call.token.as_ref().and_then(CallerToken::authenticated_at).map(since);
            check_demands(demands, held, signed_in).map_err(|missing| step_up(call, &missing))
        })
    }
}

/// What each message demands; `None` when it wants something that is hidden.
fn judge(posted: &Posted, visible: &Visible) -> Vec<Option<Demands>> {
    let of_message = |message: &Message| {
        message.targets.iter().try_fold(Demands::default(), |all, target| {
            let demands = visible.demands(target)?;
            let max_age = all.max_age.into_iter().chain(demands.max_age).min();
            Some(Demands { scope: all.scope.union(&demands.scope), max_age })
        })
    };
    posted.messages.iter().map(of_message).collect()
}

/// The bytes that go on.
fn kept(
    body: &Bytes,
    posted: &Posted,
    judged: &[Option<Demands>],
    headers: &mut HeaderMap,
) -> Result<Bytes, ProxyError> {
    if judged.iter().all(Option::is_some) {
        return Ok(body.clone());
    }
    if judged.iter().all(Option::is_none) {
        let ids = posted.messages.iter().map(|message| message.id.clone()).collect();
        let is_stateless = is_stateless(headers);
        return Err(ProxyError::Hidden(Box::new(Hidden { ids, is_batch: posted.is_batch, is_stateless })));
    }
    let messages = posted::split(body).map_err(ProxyError::BadPost)?;
    let kept = messages.iter().zip(judged).filter(|(_, demands)| demands.is_some());
    let kept: Vec<&str> = kept.map(|(message, _)| message.get()).collect();
    for name in [header::CONTENT_LENGTH].into_iter().chain(DIGESTS) {
        headers.remove(name);
    }
    Ok(format!("[{}]", kept.join(",")).into())
}

/// Headers that are about every byte of a body.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Asks for an answer that can be read, and takes out what a server may take for a header that was judged.
fn prepare(headers: &mut HeaderMap) {
    const JUDGED: [&str; 5] =
        [mirrored::METHOD, mirrored::NAME, mcp::PROTOCOL_VERSION, "content-type", "content-encoding"];
    let other: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let plain = name.as_str().replace(|char: char| !char.is_ascii_alphanumeric(), "-");
            let is_judged = plain != name.as_str() && JUDGED.contains(&plain.as_str());
            is_judged || (plain.starts_with(mirrored::PARAM) && !name.as_str().starts_with(mirrored::PARAM))
        })
        .cloned()
        .collect();
    for name in
        other.into_iter().chain([header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE])
    {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// JSON in UTF-8, as it is.
fn check_media_type(headers: &HeaderMap) -> Result<(), ProxyError> {
    let plain = headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding.as_bytes() == b"identity");
    if plain && matches!(answer::media_type(headers), Some(answer::MediaType::Json)) {
        return Ok(());
    }
    Err(ProxyError::MediaType)
}

fn check_mirrored(headers: &HeaderMap, posted: &Posted) -> Result<(), ProxyError> {
    let values = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (method, name, version) = (values(mirrored::METHOD), values(mirrored::NAME), values(mcp::PROTOCOL_VERSION));
    let params: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| name.starts_with(mirrored::PARAM))
        .collect();
    let mirrored = Mirrored { method: &method, name: &name, version: &version, params: &params };
    mirrored.check(posted).map_err(|mismatch| {
        let id = posted.messages.first().filter(|_| !posted.is_batch).and_then(|message| message.id.clone());
        ProxyError::HeaderMismatch(mismatch, id)
    })
}

fn is_stateless(headers: &HeaderMap) -> bool {
    let version = headers.get(mcp::PROTOCOL_VERSION).and_then(|version| version.to_str().ok());
    version.is_some_and(mirrored::is_stateless)
}
