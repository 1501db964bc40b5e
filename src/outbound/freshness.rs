//! How long an answer stays fresh (RFC 9111 §4.2), and how long we go along with it (CIMD-6).

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES};

/// Nothing is fetched again sooner.
pub(super) const SHORTEST: Duration = Duration::from_mins(5);
/// Nothing is believed longer without asking again.
pub(super) const LONGEST: Duration = Duration::from_hours(24);

/// The freshness an answer claims: `max-age` less `Age`, else `Expires` less `Date`. `None` when it claims
/// nothing; zero for `no-store` and `no-cache`.
pub(super) fn claimed(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for directive in
        headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
    {
        let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => max_age = value.trim().trim_matches('"').parse::<u64>().ok().or(max_age),
            _ => {}
        }
    }
    match max_age {
        Some(seconds) => Some(Duration::from_secs(seconds.saturating_sub(seconds_of(headers)))),
        None => expires(headers),
    }
}

fn seconds_of(headers: &HeaderMap) -> u64 {
    headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok()).unwrap_or(0)
}

fn expires(headers: &HeaderMap) -> Option<Duration> {
    let date = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    Some(date(EXPIRES)?.duration_since(date(DATE)?).unwrap_or(Duration::ZERO))
}

/// The freshness we grant.
pub(super) fn granted(claimed: Option<Duration>) -> Duration {
    claimed.unwrap_or(SHORTEST).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use rstest::rstest;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[rstest]
    #[case(&[(CACHE_CONTROL, "public, max-age=3600")], 3600)]
    #[case(&[(CACHE_CONTROL, "Max-Age=\"3600\""), (AGE, "600")], 3000)]
    #[case(&[(CACHE_CONTROL, "max-age=5")], 300)]
    #[case(&[(CACHE_CONTROL, "max-age=99999999999")], 86400)]
    #[case(&[(CACHE_CONTROL, "max-age=3600, no-cache")], 300)]
    #[case(&[(EXPIRES, "Sat, 21 Nov 2026 01:00:00 GMT"), (DATE, "Sat, 21 Nov 2026 00:00:00 GMT")], 3600)]
    #[case(&[(EXPIRES, "0")], 300)]
    #[case(&[], 300)]
    fn freshness_follows_http_within_five_minutes_and_a_day_cimd_6(
        #[case] pairs: &[(HeaderName, &'static str)],
        #[case] seconds: u64,
    ) {
        assert_eq!(granted(claimed(&headers(pairs))), Duration::from_secs(seconds));
    }
}
