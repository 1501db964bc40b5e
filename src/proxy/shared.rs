//! HTTP/2 connections to an upstream, each shared by as many calls as it takes (RFC 9113 §5.1.2).
//!
//! A call beyond that number would wait on the connection until another ends, and a stream of events may not end for
//! hours. Such a call needs a connection of its own, so the number is watched: an upstream may change it at any time.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::body::{BoxError, RequestBody};

/// How often an upstream is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

type Sender = http2::SendRequest<RequestBody>;

/// A connection.
pub struct Shared {
    sender: Sender,
    places: Arc<Places>,
    /// When a call was last seen on it.
    used_at: Instant,
}

/// How many calls a connection has, and how many it takes.
struct Places {
    taken: AtomicUsize,
    all: AtomicUsize,
}

/// One call's part of a connection.
pub struct Turn {
    sender: Sender,
    place: Place,
}

/// Given back when the answer is read or given up.
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Begins to speak HTTP/2.
    pub async fn open<I>(io: I) -> Result<Self, BoxError>
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .handshake(io)
            .await?;
        let all = AtomicUsize::new(connection.current_max_send_streams());
        let places = Arc::new(Places { taken: AtomicUsize::new(0), all });
        let watched = Arc::clone(&places);
        tokio::spawn(async move {
            let ended = poll_fn(|task| {
                let ended = Pin::new(&mut connection).poll(task);
                watched.all.store(connection.current_max_send_streams(), Ordering::Relaxed);
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(event = "upstream_connection_ended", %error);
            }
        });
        Ok(Self { sender, places, used_at: Instant::now() })
    }

    /// A part of the connection, if it has one to give. Whoever opens one asks at once, and is the first.
    pub fn turn(&mut self, now: Instant) -> Option<Turn> {
        let places = &self.places;
        let taken = places.taken.load(Ordering::Relaxed);
        let free = taken == 0 || taken < places.all.load(Ordering::Relaxed);
        if !free || self.sender.is_closed() {
            return None;
        }
        places.taken.fetch_add(1, Ordering::Relaxed);
        self.used_at = now;
        Some(Turn { sender: self.sender.clone(), place: Place(Arc::clone(places)) })
    }

    /// Whether it is alive and was used since `oldest`.
    pub fn is_wanted(&mut self, now: Instant, idle: Duration) -> bool {
        if self.places.taken.load(Ordering::Relaxed) > 0 {
            self.used_at = now;
        }
        !self.sender.is_closed() && now.duration_since(self.used_at) < idle
    }
}

/// Why a call got no answer, with its request if nothing of that was sent.
pub type Failure = (BoxError, Option<Request<RequestBody>>);

impl Turn {
    /// Sends a request and waits for the head of the answer.
    pub async fn send(mut self, mut request: Request<RequestBody>) -> Result<(Response<Incoming>, Place), Failure> {
        request.headers_mut().remove(header::HOST);
        *request.version_mut() = Version::HTTP_2;
        if let Err(error) = self.sender.ready().await {
            return Err((error.into(), Some(request)));
        }
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok((response, self.place)),
            Err(failed) => Err(failure(failed)),
        }
    }
}

fn failure(mut failed: TrySendError<Request<RequestBody>>) -> Failure {
    let unsent = failed.take_message();
    (failed.into_error().into(), unsent)
}
