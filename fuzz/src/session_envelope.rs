//! Session ids: the lines are the upstream's own id, the person, the client, an offset and a byte to change there,
//! and an envelope that a stranger made up (STRM-5, STRM-6).

use std::sync::{Arc, LazyLock};

use doorward::config::{self, Flags, Mode};
use doorward::crypto::{KeyMaterial, Sealer, base64url, base64url_decode};
use doorward::domain::{ClientId, GrantId, Random, SubjectId, UnixTime};
use doorward::keys::VerifiedToken;
use doorward::oauth::scope::ScopeSet;
use doorward::proxy::{CallerToken, ProxyRoute, SessionBinding, UpstreamTls};
use doorward::telemetry::metrics::Metrics;
use http::{HeaderMap, HeaderValue};

const HEADER: &str = "mcp-session-id";

/// Bytes that are always the same: what is looked at here needs no secrets.
struct Constant;

impl Random for Constant {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// Two routes to one upstream, one to another.
static ROUTES: LazyLock<Vec<ProxyRoute>> = LazyLock::new(|| {
    let servers = ["one=https://a.example/mcp", "two=https://a.example/mcp", "three=https://b.example/mcp"];
    let flags = Flags {
        workos_client_id: Some("client_01".to_owned()),
        workos_client_secret: Some("sk_test_1".to_owned().into()),
        servers: servers.map(str::to_owned).to_vec(),
        ..Flags::default()
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let (tls, metrics) = (UpstreamTls(Arc::new(tls)), Metrics::default());
    let routes = config::from_flags(&flags, Mode::Serve).unwrap().config.routes;
    routes.iter().map(|route| ProxyRoute::new(route, None, &tls, 1024, &metrics)).collect()
});

static SESSIONS: LazyLock<SessionBinding> =
    LazyLock::new(|| SessionBinding::new(Sealer::new(&[KeyMaterial::new([1; 32])]).unwrap(), Arc::new(Constant)));

pub fn run(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let line = |at: usize| lines.get(at).copied().unwrap_or_default();
    let text = |at: usize| String::from_utf8_lossy(line(at)).into_owned();
    let (person, client) = (text(1), text(2));
    let token = token(&person, &client);

    if let Ok(made_up) = HeaderValue::from_bytes(line(4)) {
        assert_eq!(open(&made_up, Some(&token), &ROUTES[0]), None, "nobody but us makes an envelope");
    }
    let Ok(id) = HeaderValue::from_bytes(line(0)) else { return };
    let envelope = seal(&id, Some(&token), &ROUTES[0]);
    assert!(envelope.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
    if envelope.len() > 4096 {
        return;
    }
    assert_eq!(open(&envelope, Some(&token), &ROUTES[0]), Some(id));

    let others = [
        self::token(&format!("{person}x"), &client),
        self::token(&person, &format!("x{client}")),
        self::token(&format!("{person}\",\"{client}"), ""),
    ];
    assert!(others.iter().all(|other| open(&envelope, Some(other), &ROUTES[0]).is_none()), "of another caller");
    assert_eq!(open(&envelope, None, &ROUTES[0]), None, "of nobody");
    assert!(ROUTES[1..].iter().all(|route| open(&envelope, Some(&token), route).is_none()), "of another route");
    assert_eq!(open(&changed(&envelope, line(3)), Some(&token), &ROUTES[0]), None, "changed");
}

fn token(person: &str, client: &str) -> CallerToken {
    CallerToken::Own(Arc::new(VerifiedToken {
        issuer: "https://gw.example".to_owned(),
        subject: SubjectId::new(person),
        client: ClientId::new(client),
        grant: GrantId::new("grt_1"),
        resource: "https://gw.example/mcp/one".to_owned(),
        scope: ScopeSet::parse("mcp:tools"),
        expires_at: UnixTime(i64::MAX),
        authenticated_at: None,
    }))
}

fn seal(id: &HeaderValue, token: Option<&CallerToken>, route: &ProxyRoute) -> HeaderValue {
    let mut headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), id.clone())]);
    SESSIONS.seal_in(&mut headers, token, route, 0);
    headers.remove(HEADER).unwrap()
}

/// The upstream's id, if the envelope opens for this caller.
fn open(envelope: &HeaderValue, token: Option<&CallerToken>, route: &ProxyRoute) -> Option<HeaderValue> {
    let mut headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), envelope.clone())]);
    SESSIONS.open_in(&mut headers, token, route).ok()?;
    headers.remove(HEADER)
}

/// The envelope with one byte of what is in it changed.
fn changed(envelope: &HeaderValue, how: &[u8]) -> HeaderValue {
    let mut bytes = base64url_decode(envelope.to_str().unwrap()).unwrap();
    let at = usize::from(how.first().copied().unwrap_or(0)) % bytes.len();
    bytes[at] ^= how.get(1).copied().unwrap_or(0).max(1);
    HeaderValue::from_str(&base64url(&bytes)).unwrap()
}
