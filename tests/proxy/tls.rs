//! Upstreams on https: who trusts whom, and what HTTP/2 changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::{BodyExt as _, Full};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tempfile::TempDir;

use crate::upstream::{Upstream, event_stream, json as answer};
use crate::world::World;

/// An authority for both sides.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// A certificate for a loopback server, which asks for certificates of this authority if it `demands` them.
    pub fn server(&self, protocols: &[&str], demands: bool) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let builder = rustls::ServerConfig::builder();
        let builder = if demands {
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(self.roots())).build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A client's certificate, in a file with its key.
    fn client(&self, name: &str) -> (PathBuf, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = self.folder.path().join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem() + &key.serialize_pem()).unwrap();
        (file, certificate.der().clone())
    }
}

/// The status that a POST of `{}` to a route gets.
async fn status(world: &World, slug: &str) -> u16 {
    let answer = world.client.post(world.url(slug)).bearer_auth(world.token(slug)).body("{}").send().await.unwrap();
    let status = answer.status().as_u16();
    answer.bytes().await.unwrap();
    status
}

// gateway.md §10
#[tokio::test]
async fn an_upstream_that_demands_a_certificate_is_shown_the_routes_and_answers_no_route_without() {
    for protocols in [&["http/1.1"][..], &["h2"]] {
        let authority = Authority::new();
        let upstream = Upstream::start_tls(authority.server(protocols, true), |_| async { answer(200, "{}") }).await;
        let (file, certificate) = authority.client("gateway");
        let shown = json!({ "mtlsCertificate": file });
        let world = World::with_roots(&upstream.url(), [&shown, &json!({})], authority.roots()).await;
        // Its session is there to be resumed when the route without a certificate comes.
        assert_eq!(status(&world, "one").await, 200);
        assert_eq!(upstream.last().certificate, Some(certificate));
        assert_eq!(status(&world, "two").await, 502);
        assert_eq!(upstream.seen().len(), 1);

        let strangers = Authority::new();
        let strange = json!({ "mtlsCertificate": strangers.client("stranger").0 });
        let world = World::with_roots(&upstream.url(), [&strange, &shown], authority.roots()).await;
        assert_eq!(status(&world, "one").await, 502, "of an authority that the upstream does not know");
        assert_eq!(status(&world, "two").await, 200);
    }
}

// gateway.md §10, LIM-7
#[tokio::test]
async fn routes_to_one_upstream_each_show_their_own_certificate() {
    for protocols in [&["http/1.1"][..], &["h2"]] {
        let authority = Authority::new();
        let upstream = Upstream::start_tls(authority.server(protocols, true), |_| async { answer(200, "{}") }).await;
        let certificates = ["first", "second"].map(|name| authority.client(name));
        let options = certificates.clone().map(|(file, _)| json!({ "mtlsCertificate": file }));
        let world = World::with_roots(&upstream.url(), [&options[0], &options[1]], authority.roots()).await;
        for _ in 0..3 {
            for (slug, (_, certificate)) in ["one", "two"].into_iter().zip(&certificates) {
                assert_eq!(status(&world, slug).await, 200);
                assert_eq!(upstream.last().certificate.as_ref(), Some(certificate), "{slug}");
            }
        }
    }
}

// gateway.md §1: `--outbound-ca-file`
#[tokio::test]
async fn an_upstream_on_https_is_trusted_by_the_roots_alone() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(authority.server(&[], false), |_| async { answer(200, "{}") }).await;
    for (roots, expected) in [(RootCertStore::empty(), 502), (Authority::new().roots(), 502), (authority.roots(), 200)]
    {
        let world = World::with_roots(&upstream.url(), [&json!({}), &json!({})], roots).await;
        assert_eq!(status(&world, "one").await, expected);
    }
    assert_eq!(upstream.seen().len(), 1);
}

// PROX-4, STRM-4
#[tokio::test]
async fn calls_share_one_connection_of_http2_and_one_that_is_given_up_leaves_it_to_the_others() {
    let authority = Authority::new();
    let streams = Arc::new(Mutex::new(Vec::new()));
    let opened = Arc::clone(&streams);
    let upstream = Upstream::start_tls(authority.server(&["h2", "http/1.1"], false), move |seen| {
        let opened = Arc::clone(&opened);
        async move {
            if seen.method == http::Method::GET {
                let (sender, answer) = event_stream(&[]);
                sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
                opened.lock().unwrap().push(sender);
                return answer;
            }
            Response::new(Full::new(seen.body).boxed_unsync())
        }
    })
    .await;
    let world = World::with_roots(&upstream.url(), [&json!({}), &json!({})], authority.roots()).await;
    let body: Vec<u8> = (0..300_000_u32).map(|index| index.to_le_bytes()[usize::from(index % 3 == 0)]).collect();
    let post = async || {
        let answer = world.post(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap(), body);
    };
    post().await;
    let mut stream = world.get().send().await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    futures_util::join!(post(), post(), post());
    drop(stream);
    let sender = streams.lock().unwrap().pop().unwrap();
    tokio::time::timeout(Duration::from_mins(1), sender.closed()).await.expect("the upstream learns of it");
    post().await;
    let seen = upstream.seen();
    assert_eq!(seen.len(), 6);
    assert!(seen.iter().all(|seen| (seen.version, seen.connection) == (Version::HTTP_2, 1)));
}
