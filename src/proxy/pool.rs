//! Connections to one upstream address, kept for the next call (RFC 9112 §9.3).
//!
//! An HTTP/1 connection is driven by the call that uses it, not by a task of its own. That saves every call two changes
//! of task, and a caller that goes away takes the connection along at once, which is how an upstream learns of it
//! (STRM-4). An HTTP/2 connection carries many calls and has a task ([`shared`](super::shared)).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::addresses::Connector;
use super::body::{BoxError, RequestBody};
use super::shared::{Place, Shared, Turn};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(15);
/// Idle connections that are kept; the longest idle make room.
const MAX_IDLE: usize = 1024;
/// How long the rest of a request may take whose answer is there already.
const REST: Duration = Duration::from_secs(30);

/// A connection's bytes. A trait object, because plain TCP should not keep room for the state of TLS.
trait Bytestream: hyper::rt::Read + hyper::rt::Write + Send + Unpin {}

impl<T: hyper::rt::Read + hyper::rt::Write + Send + Unpin> Bytestream for T {}

type Io = Box<dyn Bytestream>;
type Message = Request<RequestBody>;

/// The connections.
pub struct Pool {
    connector: Connector,
    /// Time for the name, TCP and TLS together.
    connect_timeout: Duration,
    /// Scheme and authority.
    address: Uri,
    host: HeaderValue,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The longest idle first.
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    is_swept: bool,
}

struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// An HTTP/1 connection: the way in, and what must be polled for anything to happen.
struct Link {
    sender: http1::SendRequest<RequestBody>,
    /// `None` once it has ended: only its end tells a request that still waits in it that it was not sent.
    connection: Option<http1::Connection<Io, RequestBody>>,
}

impl Link {
    /// Goes on until the connection can take another request, or has ended.
    fn is_ready(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if !self.sender.is_ready() {
            drive(&mut self.connection, task);
        }
        if self.connection.is_none() || self.sender.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Moves a connection's bytes, and drops it once it has ended.
fn drive(connection: &mut Option<http1::Connection<Io, RequestBody>>, task: &mut Context<'_>) {
    if connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(task).is_ready()) {
        *connection = None;
    }
}

enum Connected {
    Http1(Box<Link>),
    Http2(Turn),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SendError {
    #[source]
    pub error: BoxError,
    /// The request, if nothing of it was sent: it may go elsewhere.
    pub unsent: Option<Box<Message>>,
}

impl Pool {
    /// For the host that `uri` names.
    pub fn new(uri: &Uri, connector: Connector, connect_timeout: Duration) -> Arc<Self> {
        let (scheme, authority) = (uri.scheme().cloned(), uri.authority().cloned());
        let (scheme, authority) =
            (scheme.unwrap_or(Scheme::HTTP), authority.unwrap_or(Authority::from_static("localhost")));
        let host = HeaderValue::from_str(authority.as_str()).unwrap_or(HeaderValue::from_static("localhost"));
        let address = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        Arc::new(Self {
            connector,
            connect_timeout,
            address: address.unwrap_or_default(),
            host,
            state: Mutex::default(),
        })
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`SendError`]. A connection that turns out to be closed before anything was sent is not one: the next is tried,
    /// and in the end a new one.
    pub async fn send(self: &Arc<Self>, mut request: Message) -> Result<Response<Answer>, SendError> {
        while let Some(kept) = self.take() {
            match self.over(kept, request).await {
                Err(SendError { unsent: Some(unsent), .. }) => request = *unsent,
                done => return done,
            }
        }
        // On the heap: most calls find a connection, and their future has no room for this.
        match Box::pin(self.connect()).await {
            Ok(connected) => self.over(connected, request).await,
            Err(error) => Err(SendError { error, unsent: Some(Box::new(request)) }),
        }
    }

    async fn over(self: &Arc<Self>, connected: Connected, request: Message) -> Result<Response<Answer>, SendError> {
        match connected {
            Connected::Http1(link) => self.over_http1(link, request).await,
            Connected::Http2(turn) => over_http2(turn, request).await,
        }
    }

    async fn over_http1(
        self: &Arc<Self>,
        mut link: Box<Link>,
        mut request: Message,
    ) -> Result<Response<Answer>, SendError> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        let target = request.uri().clone();
        let origin_form = target.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        *request.uri_mut() = origin_form;
        *request.version_mut() = Version::HTTP_11;
        let sent = {
            let mut answer = pin!(link.sender.try_send_request(request));
            let connection = &mut link.connection;
            poll_fn(|task| {
                drive(connection, task);
                answer.as_mut().poll(task)
            })
            .await
        };
        match sent {
            Ok(response) => {
                let link = Some((link, Arc::clone(self)));
                Ok(response.map(|incoming| Answer { incoming, link, _place: None }))
            }
            Err(failed) => Err(SendError::of(failed, target)),
        }
    }

    /// A connection with room for a call: of the idle ones, that which was used last.
    fn take(&self) -> Option<Connected> {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(turn) = state.shared.iter_mut().find_map(|shared| shared.turn(now)) {
            return Some(Connected::Http2(turn));
        }
        let oldest = now.checked_sub(IDLE);
        let kept = state.idle.pop().filter(|idle| oldest.is_none_or(|oldest| idle.since > oldest));
        if kept.is_none() {
            // What is below has been idle for longer still.
            state.idle.clear();
        }
        kept.map(|idle| Connected::Http1(idle.link))
    }

    /// Keeps a connection whose answer has been read whole.
    fn give_back(self: &Arc<Self>, mut link: Box<Link>, task: &mut Context<'_>) {
        if link.is_ready(task).is_ready() {
            return self.keep(link);
        }
        // The upstream did not wait for the request's body. The rest of it still goes there: it must be read, or the
        // client's connection could not go on.
        if let Ok(runtime) = Handle::try_current()
            && link.connection.is_some()
        {
            let pool = Arc::clone(self);
            runtime.spawn(async move {
                if tokio::time::timeout(REST, poll_fn(|task| link.is_ready(task))).await.is_ok() {
                    pool.keep(link);
                }
            });
        }
    }

    fn keep(self: &Arc<Self>, link: Box<Link>) {
        if link.connection.is_none() {
            return;
        }
        let mut state = self.state();
        if state.idle.len() >= MAX_IDLE {
            state.idle.remove(0);
        }
        state.idle.push(Idle { link, since: Instant::now() });
        self.have_swept(&mut state);
    }

    fn have_swept(self: &Arc<Self>, state: &mut State) {
        if !state.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            state.is_swept = true;
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Connected, BoxError> {
        let connecting = self.connector.clone().oneshot(self.address.clone());
        let io = tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| BoxError::from("connecting took too long"))??;
        let is_http2 = io.connected().is_negotiated_h2();
        let io: Io = match io {
            MaybeHttpsStream::Http(plain) => Box::new(plain),
            MaybeHttpsStream::Https(tls) => Box::new(tls),
        };
        if !is_http2 {
            let (sender, connection) = http1::handshake(io).await?;
            return Ok(Connected::Http1(Box::new(Link { sender, connection: Some(connection) })));
        }
        let mut shared = Shared::open(io).await?;
        let turn = shared.turn(Instant::now()).ok_or("the connection was closed at once")?;
        let mut state = self.state();
        state.shared.push(shared);
        self.have_swept(&mut state);
        Ok(Connected::Http2(turn))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn over_http2(turn: Turn, request: Message) -> Result<Response<Answer>, SendError> {
    match turn.send(request).await {
        Ok((response, place)) => Ok(response.map(|incoming| Answer { incoming, link: None, _place: Some(place) })),
        Err((error, unsent)) => Err(SendError { error, unsent: unsent.map(Box::new) }),
    }
}

impl SendError {
    /// `target` is what the request was for before it was made ready for its connection.
    fn of(mut failed: TrySendError<Message>, target: Uri) -> Self {
        let unsent = failed.take_message().map(|mut request| {
            *request.uri_mut() = target;
            Box::new(request)
        });
        Self { error: failed.into_error().into(), unsent }
    }
}

/// Closes what has been idle for too long, or was closed by the upstream, until nothing is left.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.state();
        let now = Instant::now();
        let mut nobody = Context::from_waker(Waker::noop());
        state.idle.retain_mut(|idle| {
            drive(&mut idle.link.connection, &mut nobody);
            now.duration_since(idle.since) < IDLE && idle.link.connection.is_some()
        });
        state.shared.retain_mut(|shared| shared.is_wanted(now, IDLE));
        if state.idle.is_empty() && state.shared.is_empty() {
            state.is_swept = false;
            return;
        }
    }
}

/// The body of an answer, and the connection it comes over.
pub struct Answer {
    incoming: Incoming,
    /// Over HTTP/1.
    link: Option<(Box<Link>, Arc<Pool>)>,
    /// Over HTTP/2.
    _place: Option<Place>,
}

impl Answer {
    fn give_back(&mut self, task: &mut Context<'_>) {
        if let Some((link, pool)) = self.link.take() {
            pool.give_back(link, task);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut frame = Pin::new(&mut this.incoming).poll_frame(task);
        if frame.is_pending()
            && let Some((link, _)) = &mut this.link
        {
            drive(&mut link.connection, task);
            frame = Pin::new(&mut this.incoming).poll_frame(task);
        }
        match &frame {
            Poll::Ready(Some(Err(_))) => this.link = None,
            Poll::Ready(_) if this.incoming.is_end_stream() => this.give_back(task),
            Poll::Ready(None) => this.give_back(task),
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Read to its end without a look at what follows, as bodies of a known length are.
        if self.incoming.is_end_stream() {
            self.give_back(&mut Context::from_waker(Waker::noop()));
        }
    }
}
