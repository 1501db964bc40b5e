//! Which HTTP/2 connections nobody uses any more. HTTP/1.1 has the timeout of its next head for that.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};

/// The streams of one connection.
#[derive(Clone, Default)]
pub struct Streams(Arc<Counted>);

#[derive(Default)]
struct Counted {
    open: AtomicUsize,
    /// Whether one began or ended since somebody looked.
    was_used: AtomicBool,
}

/// A stream that is open, from its request's head to the last byte of the answer.
pub struct OpenStream(Arc<Counted>);

impl Streams {
    pub fn open(&self) -> OpenStream {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        self.0.was_used.store(true, Ordering::Release);
        OpenStream(Arc::clone(&self.0))
    }

    /// Completes when no stream has been open for `time`, at the latest after twice that.
    pub async fn quiet_for(&self, time: Duration) {
        loop {
            tokio::time::sleep(time).await;
            let was_used = self.0.was_used.swap(false, Ordering::AcqRel);
            if !was_used && self.0.open.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.was_used.store(true, Ordering::Release);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer, as long as which its stream is open.
pub struct StreamBody<B> {
    body: B,
    _stream: OpenStream,
}

impl<B> StreamBody<B> {
    pub fn new(body: B, stream: OpenStream) -> Self {
        Self { body, _stream: stream }
    }
}

impl<B: Body + Unpin> Body for StreamBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
