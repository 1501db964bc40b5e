//! Reading a provider's answer without letting it grow without bound.

use bytes::{Bytes, BytesMut};

/// Far above any answer of a provider, far below what would hurt.
const LARGEST: usize = 512 * 1024;

/// The body of `response`; the error says in words why there is none.
pub(super) async fn read_body(mut response: reqwest::Response) -> Result<Bytes, &'static str> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off")? {
        if body.len() + chunk.len() > LARGEST {
            return Err("the answer is too large");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Why a request got no answer, without its URL.
pub(super) fn failure(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection failed"
    }
}
