//! Answers on their way down: passed frame by frame, for as long as their grant and their time last.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::{Instant, Sleep};

use super::body::BoxError;
use super::filter::{AnswerFilter, Sifted};
use super::keep_alive::Quiet;
use super::pool::Answer;
use super::streams::StreamPlace;
use crate::keys::{Revocations, VerifiedToken};
use crate::telemetry::metrics::OpenRequest;
use crate::upstream::Lease;

/// A response body on its way down.
pub enum ProxyBody {
    /// Our own words.
    Own(Full<Bytes>),
    Upstream(UpstreamBody),
}

/// The upstream's body as it comes, what may end it early, and its place among the open ones (LIM-5).
pub struct UpstreamBody {
    inner: Answer,
    kind: BodyKind,
    bounds: Bounds,
    /// From the first time that there is nothing to give: most answers come whole, and need none.
    watch: Option<Box<Watch>>,
    /// On routes that do not show all.
    filter: Option<Box<AnswerFilter>>,
    ended: bool,
    _place: StreamPlace,
    open: Option<OpenRequest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// It ends anywhere: its client resumes or asks again. With the period of its comments, if it gets any.
    EventStream(Option<Duration>),
    /// Half of it is worth nothing, so that it was cut off must show.
    Whole,
}

/// What a body may not outlive (STRM-8).
pub struct Bounds {
    pub life: Duration,
    pub revocations: Arc<Revocations>,
    /// Absent on public routes.
    pub token: Option<Arc<VerifiedToken>>,
}

/// What wakes a waiting body, beside its upstream.
struct Watch {
    ends: Instant,
    /// Set to the end or to the next comment, whichever is first.
    timer: Pin<Box<Sleep>>,
    ended: Option<Ended>,
    /// What the stream lives on, if the server gave it for the credential of a connection.
    lease: Option<Lease>,
    quiet: Option<Quiet>,
}

/// Completes when the grant or the connection has ended.
type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a [`Watch`] found.
enum Woken {
    Over,
    Comment(Bytes),
}

impl ProxyBody {
    #[must_use]
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }

    pub(super) fn upstream(
        inner: Answer,
        kind: BodyKind,
        bounds: Bounds,
        place: StreamPlace,
        filter: Option<Box<AnswerFilter>>,
        lease: Option<Lease>,
    ) -> Self {
        let watch = match kind {
            BodyKind::EventStream(comments) => Some(Box::new(bounds.watch(comments, lease))),
            BodyKind::Whole => None,
        };
        Self::Upstream(UpstreamBody { inner, kind, bounds, watch, filter, ended: false, _place: place, open: None })
    }
}

impl ProxyBody {
    /// The request counts as open for as long as this body does.
    pub(super) fn keep_open(&mut self, mut open: OpenRequest) {
        if let Self::Upstream(body) = self {
            if let BodyKind::EventStream(_) = body.kind {
                open.streams();
            }
            body.open = Some(open);
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.filter.is_some() {
            return self.poll_filtered(cx);
        }
        let mut frame = Pin::new(&mut self.inner).poll_frame(cx);
        while matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_trailers()) {
            // Nobody strips them as headers are, so they may not say what a header may not (RFC 9110 §6.5.1).
            frame = Pin::new(&mut self.inner).poll_frame(cx);
        }
        match frame {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(self.pass(frame)),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(self.fail(error)),
            Poll::Pending => self.wait(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.kind {
            BodyKind::Whole if self.filter.is_none() => self.inner.is_end_stream(),
            _ => self.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.kind {
            BodyKind::Whole if self.filter.is_none() => self.inner.size_hint(),
            // It may end early, or lose something, so no length is promised.
            _ => SizeHint::default(),
        }
    }
}

impl UpstreamBody {
    /// The same by way of the filter, which may hold back all of a frame.
    fn poll_filtered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Some(filter) = &mut self.filter else { return Poll::Ready(None) };
            if let Some(first) = filter.first() {
                return Poll::Ready(self.pass(Frame::data(first)));
            }
            let sifted = match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                    Some(data) => filter.sift(data),
                    None => continue,
                },
                Poll::Ready(None) => filter.end(),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.fail(error)),
                Poll::Pending => return self.wait(cx),
            };
            match sifted {
                Sifted::Passing(bytes) if bytes.is_empty() => {}
                Sifted::Passing(bytes) => return Poll::Ready(self.pass(Frame::data(bytes))),
                Sifted::Last(bytes) => {
                    let last = if bytes.is_empty() { None } else { self.pass(Frame::data(bytes)) };
                    self.ended = true;
                    return Poll::Ready(last);
                }
                Sifted::Broken => {
                    self.ended = true;
                    return Poll::Ready(match self.kind {
                        BodyKind::EventStream(_) => None,
                        BodyKind::Whole => Some(Err("the answer cannot be read".into())),
                    });
                }
            }
        }
    }

    /// Not a byte passes after its grant, its connection or its time is over.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Result<Frame<Bytes>, BoxError>> {
        if self.bounds.is_revoked() {
            return self.cut();
        }
        if let Some(watch) = &mut self.watch {
            let now = Instant::now();
            if now >= watch.ends || watch.lease.as_ref().is_some_and(Lease::is_over) {
                return self.cut();
            }
            if let (Some(quiet), Some(data)) = (&mut watch.quiet, frame.data_ref()) {
                quiet.heard(data, now);
            }
        }
        Some(Ok(frame))
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let watch = self.watch.get_or_insert_with(|| Box::new(self.bounds.watch(None, None)));
        match std::task::ready!(watch.poll(cx)) {
            Woken::Over => Poll::Ready(self.cut()),
            Woken::Comment(comment) => Poll::Ready(Some(Ok(Frame::data(comment)))),
        }
    }

    /// The grant, the connection or the time is over.
    fn cut(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.ended = true;
        tracing::info!(event = "mcp_stream_closed", reasonCode = "grant_or_time_over");
        match self.kind {
            BodyKind::EventStream(_) => None,
            BodyKind::Whole => Some(Err("the grant has ended".into())),
        }
    }

    fn fail(&mut self, error: hyper::Error) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.ended = true;
        tracing::info!(event = "mcp_stream_closed", reasonCode = "upstream_error", %error);
        match self.kind {
            BodyKind::EventStream(_) => None,
            BodyKind::Whole => Some(Err(error.into())),
        }
    }
}

impl Bounds {
    fn is_revoked(&self) -> bool {
        self.token.as_ref().is_some_and(|token| self.revocations.is_revoked(&token.grant))
    }

    fn ended(&self, lease: Option<Lease>) -> Option<Ended> {
        let revoked = self.token.clone().map(|token| {
            let revocations = Arc::clone(&self.revocations);
            async move { revocations.revoked(&token.grant).await }
        });
        match (revoked, lease.map(Lease::over)) {
            (None, None) => None,
            (Some(revoked), None) => Some(Box::pin(revoked)),
            (None, Some(over)) => Some(Box::pin(over)),
            (Some(revoked), Some(over)) => Some(Box::pin(async {
                tokio::select! {
                    () = revoked => {}
                    () = over => {}
                }
            })),
        }
    }

    fn watch(&self, comments: Option<Duration>, lease: Option<Lease>) -> Watch {
        let now = Instant::now();
        let ends = now + self.life;
        let quiet = comments.map(|period| Quiet::new(period, now));
        let first = quiet.as_ref().map_or(ends, |quiet| quiet.due().min(ends));
        Watch { ends, timer: Box::pin(tokio::time::sleep_until(first)), ended: self.ended(lease.clone()), lease, quiet }
    }
}

impl Watch {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        if let Some(ended) = &mut self.ended
            && ended.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Woken::Over);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= self.ends {
                return Poll::Ready(Woken::Over);
            }
            let comment = self.quiet.as_mut().and_then(|quiet| quiet.comment(now));
            let next = self.quiet.as_ref().map_or(self.ends, |quiet| quiet.due().min(self.ends));
            self.timer.as_mut().reset(next);
            if let Some(comment) = comment {
                return Poll::Ready(Woken::Comment(comment));
            }
        }
        Poll::Pending
    }
}
