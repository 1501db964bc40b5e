//! Bodies in both directions: passed frame by frame, within bounds, never buffered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a refused request that are read and thrown away, so that its connection can go on.
const DRAIN_BYTES: usize = 256 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A request body on its way up, with a mark that tells when it grew too large.
pub struct RequestBody {
    pub body: UnsyncBoxBody<Bytes, BoxError>,
    pub too_large: Arc<AtomicBool>,
    pub limit: u64,
}

/// Bounds a body to `limit` bytes.
pub fn limited<B>(body: B, limit: u64) -> RequestBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let too_large = Arc::new(AtomicBool::new(false));
    let limited =
        Limited { inner: body.map_err(Into::into).boxed_unsync(), left: limit, too_large: Arc::clone(&too_large) };
    RequestBody { body: limited.boxed_unsync(), too_large, limit }
}

/// `Content-Length`, if there is one.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

struct Limited {
    inner: UnsyncBoxBody<Bytes, BoxError>,
    left: u64,
    too_large: Arc<AtomicBool>,
}

impl Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                self.too_large.store(true, Ordering::Release);
                return Poll::Ready(Some(Err("the request body is too large".into())));
            };
            self.left = left;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a request that was refused before it was read.
pub struct Unread(UnsyncBoxBody<Bytes, BoxError>);

impl Unread {
    /// `None` when there is nothing to read, or the client `waits` for a `100 Continue` that it shall not get.
    pub fn new<B>(body: B, waits: bool) -> Option<Self>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() || waits {
            return None;
        }
        Some(Self(body.map_err(Into::into).boxed_unsync()))
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

/// A response body on its way down.
pub enum ProxyBody {
    /// Our own words.
    Own(Full<Bytes>),
    /// The upstream's, as they come.
    Passed(Incoming),
    /// An event stream, which ends when its grant does.
    Stream(EventStream),
}

/// An upstream's event stream and what may end it early.
pub struct EventStream {
    inner: Incoming,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl ProxyBody {
    #[must_use]
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }

    #[must_use]
    pub fn passed(body: Incoming) -> Self {
        Self::Passed(body)
    }

    #[must_use]
    pub fn stream(body: Incoming, end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::Stream(EventStream { inner: body, end: Box::pin(end), ended: false })
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Passed(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Passed(body) => body.is_end_stream(),
            Self::Stream(stream) => stream.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Passed(body) => body.size_hint(),
            // It may end early, so no length is promised.
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.end.as_mut().poll(cx).is_ready() {
            self.ended = true;
            tracing::info!(event = "mcp_stream_closed", reasonCode = "grant_or_time_over");
            return Poll::Ready(None);
        }
        match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            None => {
                self.ended = true;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                // A stream has no length to fall short of: it ends, and its client resumes or asks again.
                self.ended = true;
                tracing::info!(event = "mcp_stream_closed", reasonCode = "upstream_error", %error);
                Poll::Ready(None)
            }
        }
    }
}
