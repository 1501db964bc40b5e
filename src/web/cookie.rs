//! The one cookie: an opaque value that names a browser record (CONS-14, CONS-15).

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};

use super::admission::Context;
use crate::crypto::{Secret, SecretHash};
use crate::domain::browser::KnownBrowser;
use crate::store::StoreError;

/// Seconds that a browser without a login keeps its cookie in direct mode: as long as it may be on its way.
pub const LIFE_WITHOUT_LOGIN: i64 = 30 * 60;

/// What a browser brought along.
pub struct BrowserCookie {
    /// The cookie's value, if there was one of the right form.
    pub presented: Option<Secret>,
    /// The record it names.
    pub known: Option<KnownBrowser>,
}

impl BrowserCookie {
    /// # Errors
    /// [`StoreError`].
    pub async fn read(context: &Context, headers: &HeaderMap) -> Result<Self, StoreError> {
        let presented = CookieJar::from_headers(headers)
            .get(name(&context.origin))
            .map(|cookie| cookie.value().to_owned())
            .filter(|value| value.len() == 43 && crate::crypto::base64url_decode(value).is_some());
        let known = match &presented {
            Some(value) => {
                let now = context.gateway.clock.now();
                context.gateway.store.browser(&SecretHash::of(value.as_bytes()), now).await?
            }
            None => None,
        };
        Ok(Self { presented: presented.as_deref().map(Secret::presented), known })
    }

    /// Gives a browser that has none the cookie that ties what follows to it.
    #[must_use]
    pub fn given_with(&self, context: &Context, mut response: Response) -> Response {
        if self.presented.is_none() {
            let fresh = Secret::generate("", &*context.gateway.random);
            let server = context.gateway.authorization.as_ref();
            let life = server.map(|server| server.policy.browser_login.session_ttl.as_secs());
            let life = life.map_or(LIFE_WITHOUT_LOGIN, |seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
            if let Some(value) = set(&context.origin, &fresh, life) {
                response.headers_mut().insert(header::SET_COOKIE, value);
            }
        }
        response
    }
}

/// `__Host-` binds the cookie to this very host and to https; plain http on loopback cannot have it.
fn name(origin: &str) -> &'static str {
    if origin.starts_with("https:") { "__Host-doorward" } else { "doorward" }
}

/// The `Set-Cookie` value that gives a browser its cookie for `max_age` seconds.
#[must_use]
pub fn set(origin: &str, value: &Secret, max_age: i64) -> Option<HeaderValue> {
    let cookie = Cookie::build((name(origin), value.expose().to_owned()))
        .path("/")
        .http_only(true)
        .secure(origin.starts_with("https:"))
        .same_site(SameSite::Lax)
        .build();
    HeaderValue::from_str(&format!("{cookie}; Max-Age={max_age}")).ok()
}
