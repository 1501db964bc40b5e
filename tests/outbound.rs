//! Fetching what strangers name, against a host that misbehaves on demand (CIMD-2 … CIMD-13).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it cannot go on")]

#[path = "support/document_host.rs"]
mod document_host;
#[path = "outbound/upstream.rs"]
mod upstream;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorward::domain::{Client, UnixTime};
use doorward::oauth::client_id_metadata::ClientIdUrl;
use doorward::outbound::{
    ClientDocumentError, ClientDocuments, DocumentPolicy, DocumentStore, DocumentStoreError, Fetch, FetchError,
    FetchRules, NoDocumentStore, Outbound, OutboundSettings, Purpose, SpecialUse, StoredDocument,
};
use rstest::rstest;
use serde_json::json;
use url::Url;

use document_host::{DOCUMENT_URL, HOST, Host, Reply, document};

const NOON: UnixTime = UnixTime(1_800_000_000);

/// What fetches from it.
trait Fetching {
    fn settings(&self) -> OutboundSettings;
    fn outbound(&self) -> Outbound;
    async fn fetch(&self, url: &str) -> Result<Fetch, FetchError>;
    fn documents(&self, policy: DocumentPolicy, store: Arc<dyn DocumentStore>) -> ClientDocuments;
    fn plain_documents(&self) -> ClientDocuments;
}

impl Fetching for Host {
    fn settings(&self) -> OutboundSettings {
        OutboundSettings {
            cimd_allow: vec![(HOST.into(), Some("127.0.0.0/8".parse().unwrap())), ("claude.ai".into(), None)],
            extra_roots: vec![self.root.clone()],
            resolve: vec![(HOST.into(), 443, self.address), ("claude.ai".into(), 443, self.address)],
            ..OutboundSettings::default()
        }
    }

    fn outbound(&self) -> Outbound {
        Outbound::new(&self.settings()).unwrap()
    }

    async fn fetch(&self, url: &str) -> Result<Fetch, FetchError> {
        self.outbound().fetch(&Url::parse(url).unwrap(), &FetchRules::new(Purpose::Cimd)).await
    }

    fn documents(&self, policy: DocumentPolicy, store: Arc<dyn DocumentStore>) -> ClientDocuments {
        ClientDocuments::new(self.outbound(), policy, store)
    }

    fn plain_documents(&self) -> ClientDocuments {
        self.documents(DocumentPolicy::default(), Arc::new(NoDocumentStore))
    }
}

fn good() -> Reply {
    Reply::json(document(DOCUMENT_URL, "Good")).with("etag", "\"v1\"")
}

fn id(url: &str) -> ClientIdUrl {
    ClientIdUrl::parse(url).unwrap()
}

async fn resolve(documents: &ClientDocuments, seconds: i64) -> Result<Client, ClientDocumentError> {
    documents.resolve(&id(DOCUMENT_URL), UnixTime(NOON.0 + seconds)).await
}

fn name(client: Result<Client, ClientDocumentError>) -> String {
    client.unwrap().name.unwrap()
}

/// A store in memory.
#[derive(Default)]
struct Shelf(Mutex<HashMap<String, StoredDocument>>);

#[async_trait]
impl DocumentStore for Shelf {
    async fn load(&self, url: &str) -> Result<Option<StoredDocument>, DocumentStoreError> {
        Ok(self.0.lock().unwrap().get(url).cloned())
    }

    async fn save(&self, document: &StoredDocument) -> Result<(), DocumentStoreError> {
        self.0.lock().unwrap().insert(document.url.clone(), document.clone());
        Ok(())
    }
}

#[tokio::test]
async fn a_json_document_is_fetched_without_cookies_or_credentials_cimd_2() {
    let host = Host::start(good().with("set-cookie", "a=b"));
    let outbound = host.outbound();
    let url = Url::parse(DOCUMENT_URL).unwrap();
    for _ in 0..2 {
        let fetched = outbound.fetch(&url, &FetchRules::new(Purpose::Cimd)).await.unwrap();
        assert!(matches!(fetched, Fetch::Fetched(fetched) if fetched.etag.as_deref() == Some("\"v1\"")));
    }
    for request in host.requests() {
        assert!(request.starts_with("get /client.json http/1.1"), "{request}");
        assert!(!request.contains("cookie:") && !request.contains("authorization:") && !request.contains("referer:"));
    }
}

#[rstest]
#[case(Reply::new(302, "application/json", "{}").with("location", "https://client.example/other"), FetchError::Redirect(302))]
#[case(Reply::new(404, "application/json", "{}"), FetchError::Status(404))]
#[case(Reply::new(201, "application/json", "{}"), FetchError::Status(201))]
#[case(Reply::new(500, "application/json", "{}"), FetchError::Status(500))]
#[case(Reply::new(304, "application/json", ""), FetchError::Status(304))]
#[case(Reply::new(200, "text/html; charset=utf-8", "{}"), FetchError::ContentType("text/html".into()))]
#[case(Reply::new(200, "", "{}"), FetchError::ContentType("missing".into()))]
#[case(Reply::new(200, "text/json", "{}"), FetchError::ContentType("text/json".into()))]
#[case(Reply::json("{}").with("content-encoding", "gzip"), FetchError::ContentCoding)]
#[case(Reply::json(" ".repeat(5 * 1024 + 1)), FetchError::TooLarge(5 * 1024))]
#[case(Reply::json(" ".repeat(5_000_000)), FetchError::TooLarge(5 * 1024))]
#[tokio::test]
async fn any_other_answer_is_refused_with_its_cause_cimd_2_cimd_10(#[case] reply: Reply, #[case] expected: FetchError) {
    let host = Host::start(reply);
    assert_eq!(host.fetch(DOCUMENT_URL).await.unwrap_err(), expected);
    assert_eq!(host.requests().len(), 1, "no redirect is followed");
}

#[rstest]
#[case("application/json; charset=utf-8", 2)]
#[case("Application/Client-Metadata+JSON", 2)]
#[case("application/json", 5 * 1024)]
#[tokio::test]
async fn json_types_up_to_five_kibibytes_are_taken_cimd_2(#[case] content_type: &str, #[case] size: usize) {
    let host = Host::start(Reply::new(200, content_type, " ".repeat(size)));
    assert!(matches!(host.fetch(DOCUMENT_URL).await, Ok(Fetch::Fetched(fetched)) if fetched.body.len() == size));
}

#[tokio::test]
async fn a_slow_host_runs_into_the_deadline_cimd_2() {
    let host = Host::start(Reply { delay: Duration::from_hours(1), ..good() });
    let rules = FetchRules { deadline: Duration::from_secs(1), ..FetchRules::new(Purpose::Cimd) };
    let error = host.outbound().fetch(&Url::parse(DOCUMENT_URL).unwrap(), &rules).await.unwrap_err();
    assert_eq!(error, FetchError::Timeout(1));
}

#[rstest]
#[case("https://127.0.0.1/c", SpecialUse::Loopback)]
#[case("https://127.1/c", SpecialUse::Loopback)]
#[case("https://2130706433/c", SpecialUse::Loopback)]
#[case("https://0x7f000001/c", SpecialUse::Loopback)]
#[case("https://0.0.0.0/c", SpecialUse::Unspecified)]
#[case("https://169.254.169.254/latest/meta-data", SpecialUse::LinkLocal)]
#[case("https://10.0.0.1/c", SpecialUse::Private)]
#[case("https://[::1]/c", SpecialUse::Loopback)]
#[case("https://[::ffff:127.0.0.1]/c", SpecialUse::MappedIpv4)]
#[case("https://[64:ff9b::7f00:1]/c", SpecialUse::Nat64)]
#[case("https://[fd00::1]/c", SpecialUse::UniqueLocal)]
#[case("https://100.64.0.1/c", SpecialUse::SharedCarrier)]
#[case("https://[::]/c", SpecialUse::Unspecified)]
#[case("https://[2002:7f00:1::]/c", SpecialUse::SixToFour)]
#[case("https://[2001::1]/c", SpecialUse::Teredo)]
#[case("https://[::127.0.0.1]/c", SpecialUse::CompatibleIpv4)]
#[case("https://localhost/c", SpecialUse::Loopback)]
#[tokio::test]
async fn special_addresses_are_refused_as_literals_and_as_names_cimd_3(#[case] url: &str, #[case] class: SpecialUse) {
    let host = Host::start(good());
    assert_eq!(host.fetch(url).await.unwrap_err(), FetchError::Blocked(class));
}

/// The connector dials what the checking resolver returns: a name that turns to loopback reaches nobody.
#[tokio::test]
async fn a_name_that_leads_inside_is_never_dialled_cimd_3() {
    let host = Host::start(good());
    let allowed_elsewhere = vec![(HOST.to_owned(), Some("10.0.0.0/8".parse().unwrap()))];
    for cimd_allow in [Vec::new(), allowed_elsewhere, vec![("other.example".to_owned(), None)]] {
        let outbound = Outbound::new(&OutboundSettings { cimd_allow, ..host.settings() }).unwrap();
        let fetched = outbound.fetch(&Url::parse(DOCUMENT_URL).unwrap(), &FetchRules::new(Purpose::Cimd)).await;
        assert_eq!(fetched.unwrap_err(), FetchError::Blocked(SpecialUse::Loopback));
    }
    assert_eq!(host.seen.lock().unwrap().connections, 0);
}

#[rstest]
#[case("http://client.example/c")]
#[case("https://user:secret@client.example/c")]
#[case("file:///etc/passwd")]
#[tokio::test]
async fn other_urls_are_not_fetched_cimd_2(#[case] url: &str) {
    let host = Host::start(good());
    assert_eq!(host.fetch(url).await.unwrap_err(), FetchError::Url);
}

#[tokio::test]
async fn a_certificate_nobody_trusts_is_named_as_the_cause_cimd_10() {
    let (host, other) = (Host::start(good()), Host::start(good()));
    let outbound =
        Outbound::new(&OutboundSettings { extra_roots: vec![other.root.clone()], ..host.settings() }).unwrap();
    let error = outbound.fetch(&Url::parse(DOCUMENT_URL).unwrap(), &FetchRules::new(Purpose::Cimd)).await.unwrap_err();
    assert!(matches!(error, FetchError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn concurrent_requests_share_one_fetch_cimd_13() {
    let host = Host::start(Reply { delay: Duration::from_millis(200), ..good() });
    let documents = host.plain_documents();
    let all = futures_util::future::join_all((0..10).map(|_| resolve(&documents, 0))).await;
    assert!(all.into_iter().all(|client| name(client) == "Good"));
    assert_eq!(host.requests().len(), 1);
}

#[tokio::test]
async fn a_document_is_fresh_for_five_minutes_and_then_revalidated_by_etag_cimd_6() {
    let host = Host::start(good().with("cache-control", "no-store"));
    let documents = host.plain_documents();
    resolve(&documents, 0).await.unwrap();
    resolve(&documents, 299).await.unwrap();
    assert_eq!(host.requests().len(), 1);
    host.say(Reply::new(304, "application/json", "").with("cache-control", "max-age=3600"));
    assert_eq!(name(resolve(&documents, 300).await), "Good");
    assert!(host.requests()[1].contains("if-none-match: \"v1\""));
    resolve(&documents, 300 + 3599).await.unwrap();
    assert_eq!(host.requests().len(), 2);
    host.say(Reply::json(document(DOCUMENT_URL, "Renamed")));
    assert_eq!(name(resolve(&documents, 300 + 3600).await), "Renamed");
}

#[tokio::test]
async fn no_document_is_believed_longer_than_a_day_cimd_6() {
    let host = Host::start(good().with("cache-control", "max-age=31536000"));
    let documents = host.plain_documents();
    for seconds in [0, 24 * 3600 - 1] {
        resolve(&documents, seconds).await.unwrap();
    }
    assert_eq!(host.requests().len(), 1);
    resolve(&documents, 24 * 3600).await.unwrap();
    assert_eq!(host.requests().len(), 2);
}

#[rstest]
#[case(Reply::new(503, "text/plain", ""))]
#[case(Reply::new(403, "text/html", "challenge"))]
#[case(Reply::new(200, "text/html", "challenge"))]
#[tokio::test]
async fn the_last_good_copy_stands_in_for_a_host_that_is_down_cimd_7(#[case] trouble: Reply) {
    let host = Host::start(good());
    let documents = host.plain_documents();
    resolve(&documents, 0).await.unwrap();
    host.say(trouble);
    assert_eq!(name(resolve(&documents, 25 * 3600).await), "Good");
    assert!(resolve(&documents, 30 * 24 * 3600).await.is_err(), "but not for ever");
}

#[tokio::test]
async fn another_process_starts_with_the_stored_copy_cimd_7() {
    let host = Host::start(good());
    let shelf = Arc::new(Shelf::default());
    resolve(&host.documents(DocumentPolicy::default(), shelf.clone()), 0).await.unwrap();
    host.say(Reply::new(503, "text/plain", ""));
    let restarted = host.documents(DocumentPolicy::default(), shelf);
    assert_eq!(name(resolve(&restarted, 100).await), "Good");
    assert_eq!(host.requests().len(), 1, "the stored copy is fresh");
    assert_eq!(name(resolve(&restarted, 4000).await), "Good");
}

#[tokio::test]
async fn a_document_that_was_withdrawn_or_made_invalid_ends_its_copy() {
    for reply in [Reply::new(404, "text/plain", ""), Reply::json(document("https://client.example/other", "X"))] {
        let host = Host::start(good());
        let documents = host.plain_documents();
        resolve(&documents, 0).await.unwrap();
        host.say(reply);
        assert!(matches!(resolve(&documents, 400).await, Err(ClientDocumentError::Refused(_))));
    }
}

#[tokio::test]
async fn failures_are_not_remembered_beyond_a_short_pause_cimd_6_cimd_10_code_2() {
    let host = Host::start(Reply::new(503, "text/plain", ""));
    let documents = host.plain_documents();
    let Err(ClientDocumentError::Temporary(cause)) = resolve(&documents, 0).await else { panic!("not temporary") };
    assert!(cause.contains(DOCUMENT_URL) && cause.contains("503"), "{cause}");
    host.say(good());
    assert!(resolve(&documents, 5).await.is_err());
    assert_eq!(host.requests().len(), 1);
    assert_eq!(name(resolve(&documents, 60).await), "Good");
}

#[tokio::test]
async fn a_host_is_asked_at_most_thirty_times_a_minute_cimd_13() {
    let host = Host::start(Reply::new(404, "text/plain", ""));
    let documents = host.plain_documents();
    let mut last = None;
    for n in 0..35 {
        last = Some(documents.resolve(&id(&format!("https://client.example/{n}.json")), NOON).await);
    }
    assert_eq!(host.requests().len(), 30);
    assert!(matches!(last, Some(Err(ClientDocumentError::Temporary(_)))));
}

#[tokio::test]
async fn the_host_policy_and_pinned_documents_come_before_any_fetch_cimd_8_cimd_9() {
    let host = Host::start(good());
    let denied = DocumentPolicy { denied_hosts: vec!["CLIENT.example".into()], ..DocumentPolicy::default() };
    let others = DocumentPolicy { allowed_hosts: Some(vec!["claude.ai".into()]), ..DocumentPolicy::default() };
    for policy in [denied, others] {
        let error = resolve(&host.documents(policy, Arc::new(NoDocumentStore)), 0).await.unwrap_err();
        assert!(matches!(&error, ClientDocumentError::Refused(cause) if cause.contains(HOST)), "{error}");
    }
    let pinned = serde_json::from_str(&document(DOCUMENT_URL, "Pinned")).unwrap();
    let pinned = BTreeMap::from([(DOCUMENT_URL.to_owned(), pinned)]);
    let documents = host.documents(DocumentPolicy { pinned, ..DocumentPolicy::default() }, Arc::new(NoDocumentStore));
    assert_eq!(name(resolve(&documents, 0).await), "Pinned");
    assert!(host.requests().is_empty());
}

#[tokio::test]
async fn a_well_known_client_s_built_in_document_serves_only_when_the_live_one_fails_cimd_8_cimd_12() {
    let url = "https://claude.ai/oauth/claude-code-client-metadata";
    let host = Host::start(Reply::new(403, "text/html", "challenge"));
    let documents = host.plain_documents();
    assert_eq!(name(documents.resolve(&id(url), NOON).await), "Claude Code");
    host.say(Reply::json(document(url, "Live")));
    assert_eq!(name(documents.resolve(&id(url), UnixTime(NOON.0 + 60)).await), "Live");
}

#[tokio::test]
async fn client_keys_are_cached_and_looked_up_again_once_a_minute_cimd_5() {
    let uri = "https://client.example/jwks.json";
    let keys = |kid: &str| {
        Reply::new(
            200,
            "application/jwk-set+json",
            json!({ "keys": [
                { "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
                { "kty": "oct", "kid": "shared", "k": "AAAA" },
            ]})
            .to_string(),
        )
    };
    let host = Host::start(keys("a"));
    let documents = host.plain_documents();
    let at = |seconds| UnixTime(NOON.0 + seconds);
    let set = documents.client_keys(None, uri, false, at(0)).await.unwrap();
    assert!(set.find("a").is_some() && set.find("shared").is_none());
    host.say(keys("b"));
    assert!(documents.client_keys(None, uri, true, at(10)).await.unwrap().find("a").is_some(), "cooldown");
    assert!(documents.client_keys(None, uri, false, at(90)).await.unwrap().find("a").is_some(), "fresh");
    assert!(documents.client_keys(None, uri, true, at(90)).await.unwrap().find("b").is_some());
    host.say(Reply::new(503, "text/plain", ""));
    assert!(documents.client_keys(None, uri, false, at(4000)).await.unwrap().find("b").is_some());
    assert_eq!(host.requests().len(), 3);
}
