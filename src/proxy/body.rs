//! Request bodies on their way up: passed frame by frame, within bounds, never buffered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use super::audit::Witness;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a refused request that are read and thrown away, so that its connection can go on.
const DRAIN_BYTES: usize = 256 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A request body on its way up.
#[derive(Debug)]
pub enum RequestBody {
    /// As the client sends it.
    Passing(Passing),
    /// Held, so that it can be sent again.
    Held(Full<Bytes>),
}

/// The client's body, within a bound.
#[derive(Debug)]
pub struct Passing {
    inner: Incoming,
    bound: Option<Bound>,
    witness: Option<Witness>,
}

/// The bound of a body whose length was not declared.
#[derive(Debug)]
struct Bound {
    /// Bytes that may still come.
    left: u64,
    grown: TooLarge,
}

/// Tells afterwards whether a body grew too large.
#[derive(Debug, Clone, Default)]
pub struct TooLarge(Arc<AtomicBool>);

impl TooLarge {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl RequestBody {
    /// Bounds a body to `limit` bytes, and gives with it the mark of one that may grow beyond them.
    ///
    /// # Errors
    /// The body itself when its declared length is beyond the limit.
    pub fn limited(inner: Incoming, limit: u64) -> Result<(Self, Option<TooLarge>), Incoming> {
        let declared = inner.size_hint();
        if declared.lower() > limit {
            return Err(inner);
        }
        // hyper reads no more of a body than its declared length.
        let grown = declared.upper().is_none().then(TooLarge::default);
        let bound = grown.clone().map(|grown| Bound { left: limit, grown });
        Ok((Self::Passing(Passing { inner, bound, witness: None }), grown))
    }

    /// Lets `witness` see what passes.
    #[must_use]
    pub fn watched(self, witness: Option<Witness>) -> Self {
        match self {
            Self::Passing(body) => Self::Passing(Passing { witness, ..body }),
            held @ Self::Held(_) => held,
        }
    }

    /// What is left to read of a body that goes nowhere.
    pub fn unread(self, waits: bool) -> Option<Unread> {
        match self {
            Self::Passing(body) => Unread::new(body.inner, waits),
            Self::Held(_) => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Passing(body) => body.poll(cx),
            Self::Held(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passing(body) => body.inner.is_end_stream(),
            Self::Held(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passing(body) => body.inner.size_hint(),
            Self::Held(body) => body.size_hint(),
        }
    }
}

impl Passing {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.as_ref().is_some_and(|frame| frame.as_ref().is_ok_and(Frame::is_trailers)) {
            // Nobody strips them as headers are, so they may not say what a header may not (RFC 9110 §6.5.1).
            return Poll::Ready(None);
        }
        if let (Some(Ok(frame)), Some(bound)) = (&frame, &mut self.bound)
            && let Some(data) = frame.data_ref()
        {
            let Some(left) = bound.left.checked_sub(data.len() as u64) else {
                bound.grown.0.store(true, Ordering::Release);
                return Poll::Ready(Some(Err("the request body is too large".into())));
            };
            bound.left = left;
        }
        if let (Some(Ok(frame)), Some(witness)) = (&frame, &self.witness)
            && let Some(data) = frame.data_ref()
        {
            witness.passed(data);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}

/// The body of a request that was refused before it was read.
pub struct Unread(Incoming);

impl Unread {
    /// `None` when there is nothing to read, or the client `waits` for a `100 Continue` that it shall not get.
    pub fn new(body: Incoming, waits: bool) -> Option<Self> {
        (!body.is_end_stream() && !waits).then_some(Self(body))
    }

    /// Reads and throws away, within bounds; beyond them the server closes the connection (CHAL-11).
    pub async fn drain(mut self) {
        let read = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = self.0.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > DRAIN_BYTES {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIME, read).await;
    }
}
