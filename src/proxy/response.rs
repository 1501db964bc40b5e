//! An upstream's answer, in the form the client may have it (PROX-6, PROX-7, PROX-9).

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode, header};

use super::answer::{BodyKind, Bounds, ProxyBody};
use super::caller::CallerToken;
use super::error::ProxyError;
use super::filter::{Filter, Shape};
use super::streams::StreamPlace;
use super::{Call, Proxy, headers, pool};
use crate::upstream::Lease;

impl Proxy {
    /// Judges what came, takes out what is not for the client, and bounds how long the body may take.
    pub(super) fn answer(
        &self,
        call: &Call<'_>,
        response: Response<pool::Answer>,
        address: usize,
        place: StreamPlace,
        filter: Option<Filter>,
        lease: Option<Lease>,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        match response.status() {
            StatusCode::UNAUTHORIZED => return Err(ProxyError::UpstreamCredential),
            status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                return Err(ProxyError::UpstreamRedirect);
            }
            // 101: nobody asked it to leave HTTP, and what follows would not be an answer.
            status if status.is_informational() => {
                return Err(ProxyError::UpstreamUnreachable("it switched to another protocol".to_owned()));
            }
            _ => {}
        }
        let (mut parts, body) = response.into_parts();
        headers::strip_response(&mut parts.headers);
        if call.token.is_some() {
            headers::keep_private(&mut parts.headers);
        }
        self.sessions.seal_in(&mut parts.headers, call.token.as_ref(), call.to, address);
        parts.version = http::Version::HTTP_11;
        let filter = match filter {
            None => None,
            Some(filter) => {
                let shape = filter.shape(
                    &mut parts,
                    http_body::Body::is_end_stream(&body),
                    call.request_id,
                    &call.to.route.operation_id,
                )?;
                match shape {
                    Shape::Empty => None,
                    Shape::Filtered(filter) => Some(filter),
                    Shape::Replaced(bytes) => return Ok(Response::from_parts(parts, ProxyBody::own(bytes))),
                }
            }
        };
        let (kind, life) = if headers::is_event_stream(&parts.headers) {
            headers::keep_unbuffered(&mut parts.headers);
            // Into bytes that are encoded, nothing can be put.
            let comments = !parts.headers.contains_key(header::CONTENT_ENCODING);
            let period = call.to.route.proxy.stream_keep_alive.filter(|_| comments);
            (BodyKind::EventStream(period), self.stream_life(call))
        } else {
            (BodyKind::Whole, self.stream_max)
        };
        let revocations = Arc::clone(self.verifier.revocations());
        let token = call.token.as_ref().and_then(CallerToken::of_grant).cloned();
        let bounds = Bounds { life, revocations, token };
        Ok(Response::from_parts(parts, ProxyBody::upstream(body, kind, bounds, place, filter, lease)))
    }

    /// How long an event stream may stay open (STRM-8).
    fn stream_life(&self, call: &Call<'_>) -> Duration {
        // Nobody tells of a token of AuthKit that its consent was withdrawn. Who listens comes back with a newer one.
        let ends_with_token = |token: &CallerToken| {
            if token.of_grant().is_some() { self.close_at_expiry } else { call.listens }
        };
        match &call.token {
            Some(token) if ends_with_token(token) => {
                let left = token.expires_at().since(self.clock.now()).max(0);
                self.stream_max.min(Duration::from_secs(left.unsigned_abs()))
            }
            _ => self.stream_max,
        }
    }
}
