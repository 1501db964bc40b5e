//! Requests to the authorization servers that upstreams name: the same guard as for clients' documents, with an allow-list
//! of its own (CIMD-2, CIMD-3).

use std::net::TcpListener;
use std::time::Duration;

use doorward::outbound::{
    FetchError, FetchRules, Outbound, OutboundSettings, Post, Purpose, SpecialUse, UpstreamFetcher,
};
use rstest::rstest;
use url::Url;

use crate::document_host::{HOST, Host, Reply};

const METADATA: &str = "https://client.example/.well-known/oauth-authorization-server";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn settings(host: &Host) -> OutboundSettings {
    OutboundSettings {
        extra_roots: vec![host.root.clone()],
        resolve: vec![(HOST.into(), 443, host.address)],
        ..OutboundSettings::default()
    }
}

/// Of an upstream whose configuration names `named`.
fn fetcher(settings: &OutboundSettings, named: &[&str]) -> UpstreamFetcher {
    let named: Vec<Url> = named.iter().map(|named| url(named)).collect();
    UpstreamFetcher::new(Outbound::new(settings).unwrap(), &named)
}

fn form() -> Post {
    Post::form("grant_type=refresh_token".to_owned(), None)
}

#[rstest]
#[case("https://169.254.169.254/latest/meta-data", SpecialUse::LinkLocal)]
#[case("https://[::ffff:169.254.169.254]/m", SpecialUse::MappedIpv4)]
#[case("https://[::ffff:10.0.0.1]/m", SpecialUse::MappedIpv4)]
#[case("https://127.0.0.1/m", SpecialUse::Loopback)]
#[case("https://2130706433/m", SpecialUse::Loopback)]
#[case("https://0x7f.1/m", SpecialUse::Loopback)]
#[case("https://[::1]/m", SpecialUse::Loopback)]
#[case("https://localhost/m", SpecialUse::Loopback)]
#[case("https://localhost./m", SpecialUse::Loopback)]
#[case("https://10.0.0.1/m", SpecialUse::Private)]
#[case("https://192.168.0.1/m", SpecialUse::Private)]
#[case("https://100.64.0.1/m", SpecialUse::SharedCarrier)]
#[case("https://[fd00::1]/m", SpecialUse::UniqueLocal)]
#[case("https://[64:ff9b::7f00:1]/m", SpecialUse::Nat64)]
#[case("https://0.0.0.0/m", SpecialUse::Unspecified)]
#[tokio::test]
async fn what_an_upstream_names_is_not_asked_within_the_network_cimd_3(#[case] named: &str, #[case] class: SpecialUse) {
    let fetcher = fetcher(&OutboundSettings::default(), &["https://mcp.example/mcp"]);
    assert_eq!(fetcher.get(&url(named)).await.unwrap_err(), FetchError::Blocked(class));
    let unanswered = fetcher.post(&url(named), form()).await.err().unwrap();
    assert_eq!((unanswered.cause, unanswered.may_have_arrived), (FetchError::Blocked(class), false));
}

#[rstest]
#[case("http://as.example/m")]
#[case("http://127.0.0.1/m")]
#[case("https://user:secret@as.example/m")]
#[case("https://user@mcp.example/m")]
#[case("ftp://mcp.example/m")]
#[case("file:///etc/passwd")]
#[case("javascript:alert(1)")]
#[tokio::test]
async fn other_urls_than_https_are_not_asked_cimd_2(#[case] named: &str) {
    let fetcher = fetcher(&OutboundSettings::default(), &["https://mcp.example/mcp"]);
    assert_eq!(fetcher.check(&url(named)), Err(FetchError::Url));
    assert_eq!(fetcher.get(&url(named)).await.unwrap_err(), FetchError::Url);
}

/// A name is checked where it is dialled, so none can turn to loopback after it was looked at.
#[tokio::test]
async fn each_allow_list_opens_its_own_door_only_cimd_3() {
    let host = Host::start(Reply::json("{}"));
    let loopback = "127.0.0.0/8".parse().unwrap();
    let upstream = OutboundSettings { upstream_allow: vec![loopback], ..settings(&host) };
    let documents = OutboundSettings { cimd_allow: vec![(HOST.to_owned(), Some(loopback))], ..settings(&host) };
    let elsewhere = OutboundSettings { upstream_allow: vec!["10.0.0.0/8".parse().unwrap()], ..settings(&host) };
    let blocked = FetchError::Blocked(SpecialUse::Loopback);
    for closed in [&documents, &elsewhere] {
        assert_eq!(fetcher(closed, &[]).get(&url(METADATA)).await.unwrap_err(), blocked);
    }
    let document = Outbound::new(&upstream).unwrap().fetch(&url(METADATA), &FetchRules::new(Purpose::Cimd)).await;
    assert_eq!(document.unwrap_err(), blocked);
    assert_eq!(host.seen.lock().unwrap().connections, 0);
    assert_eq!(fetcher(&upstream, &[]).get(&url(METADATA)).await.unwrap(), "{}");
}

#[tokio::test]
async fn in_development_loopback_is_open_to_upstreams_in_plain_http_too() {
    let development = OutboundSettings { allow_loopback: true, ..OutboundSettings::default() };
    let allowed = OutboundSettings { upstream_allow: vec!["127.0.0.0/8".parse().unwrap()], ..Default::default() };
    for open in [development, allowed] {
        let fetcher = fetcher(&open, &[]);
        for loopback in ["http://127.0.0.1:1/m", "http://localhost:1/m", "https://127.0.0.1:1/m"] {
            assert_eq!(fetcher.check(&url(loopback)), Ok(()), "{loopback}");
        }
        for other in ["http://10.0.0.1/m", "http://as.example/m", "http://localhost.example/m"] {
            assert!(fetcher.check(&url(other)).is_err(), "{other}");
        }
    }
}

#[tokio::test]
async fn an_origin_that_the_operator_configured_is_asked_wherever_it_is() {
    let host = Host::start(Reply::json("{}"));
    let fetcher = fetcher(&settings(&host), &["https://client.example/mcp", "http://10.0.0.9:8080/mcp"]);
    assert_eq!(fetcher.get(&url(METADATA)).await.unwrap(), "{}");
    assert_eq!(fetcher.check(&url("http://10.0.0.9:8080/token")), Ok(()));
    for other in ["http://10.0.0.9/token", "https://10.0.0.9:8080/token", "http://10.0.0.10:8080/token"] {
        assert!(fetcher.check(&url(other)).is_err(), "{other}");
    }
    let request = &host.requests()[0];
    assert!(!request.contains("cookie:") && !request.contains("authorization:") && !request.contains("referer:"));
}

#[rstest]
#[case(Reply::new(302, "application/json", "{}").with("location", "https://169.254.169.254/"), FetchError::Redirect(302))]
#[case(Reply::new(404, "application/json", "{}"), FetchError::Status(404))]
#[case(Reply::new(200, "text/html", "<html>"), FetchError::ContentType("text/html".into()))]
#[case(Reply::json("{}").with("content-encoding", "gzip"), FetchError::ContentCoding)]
#[case(Reply::json(" ".repeat(256 * 1024 + 1)), FetchError::TooLarge(256 * 1024))]
#[case(Reply { delay: Duration::from_hours(1), ..Reply::json("{}") }, FetchError::Timeout(4))]
#[tokio::test]
async fn an_answer_that_is_no_document_is_refused_cimd_2(#[case] reply: Reply, #[case] error: FetchError) {
    let host = Host::start(reply);
    // Only who is never answered waits so long, and has surely asked by then.
    let fetcher = fetcher(&settings(&host), &[METADATA]).within(Duration::from_secs(4));
    assert_eq!(fetcher.get(&url(METADATA)).await.unwrap_err(), error);
    assert_eq!(host.requests().len(), 1, "a redirect leads nowhere");
}

#[tokio::test]
async fn a_form_that_was_never_sent_is_told_from_one_whose_answer_is_missing() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}/token");
    let unanswered = fetcher(&OutboundSettings::default(), &[&nobody]).post(&url(&nobody), form()).await.err().unwrap();
    assert_eq!((unanswered.cause, unanswered.may_have_arrived), (FetchError::Connect, false));

    let (host, other) = (Host::start(Reply::json("{}")), Host::start(Reply::json("{}")));
    let untrusting = OutboundSettings { extra_roots: vec![other.root.clone()], ..settings(&host) };
    let unanswered = fetcher(&untrusting, &[METADATA]).post(&url(METADATA), form()).await.err().unwrap();
    assert!(matches!(unanswered.cause, FetchError::Tls(_)) && !unanswered.may_have_arrived, "{unanswered:?}");

    host.say(Reply { delay: Duration::from_hours(1), ..Reply::json("{}") });
    let slow = fetcher(&settings(&host), &[METADATA]).within(Duration::from_secs(1));
    let unanswered = slow.post(&url(METADATA), form()).await.err().unwrap();
    assert_eq!((unanswered.cause, unanswered.may_have_arrived), (FetchError::Timeout(1), true));
}
