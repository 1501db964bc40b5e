//! The gateway's own certificate: read from its files, and read again when they change.
//!
//! Connections that are open keep the certificate they began with.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::settings::TlsFiles;

/// How often the files are looked at. Certificates are renewed by changing a link as often as by writing a file, which
/// a watch of the file would miss.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A certificate that can be exchanged under a running listener.
pub struct ServerCertificate {
    files: TlsFiles,
    in_force: Arc<InForce>,
    /// The files as they were last read, good or not.
    read: Mutex<Pem>,
}

/// The bytes of the certificate file and of the key file.
#[derive(PartialEq, Eq)]
struct Pem {
    chain: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

#[derive(Debug)]
struct InForce(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for InForce {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ServerCertificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`StartError::Tls`] for files that are not there, or do not belong to each other.
    pub fn load(files: &TlsFiles) -> Result<Self, StartError> {
        let pem = Pem::read(files).map_err(StartError::Tls)?;
        let certified = pem.certified().map_err(StartError::Tls)?;
        let in_force = Arc::new(InForce(ArcSwap::from_pointee(certified)));
        Ok(Self { files: files.clone(), in_force, read: Mutex::new(pem) })
    }

    /// Serves with whatever certificate is in force when a connection begins.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<InForce>::clone(&self.in_force);
        let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Puts the files in force if they have changed. Bad ones change nothing, and are told of once (OPS-6).
    pub fn reload(&self) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let certified = match Pem::read(&self.files) {
            Ok(pem) if pem == *read => return,
            Ok(pem) => {
                let certified = pem.certified();
                *read = pem;
                certified
            }
            Err(error) => Err(error),
        };
        match certified {
            Ok(certified) => {
                self.in_force.0.store(Arc::new(certified));
                tracing::info!(event = "certificate_reloaded");
            }
            Err(error) => {
                tracing::error!(event = "certificate_refused", error, "the old certificate stays in force");
            }
        }
    }

    /// Looks at the files now and then, as with [`LOOK_EVERY`], until shutdown.
    pub async fn follow(self: Arc<Self>, every: Duration, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(every);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => self.reload(),
            }
        }
    }
}

impl Pem {
    /// The error names the flag and never shows what was read.
    fn read(files: &TlsFiles) -> Result<Self, String> {
        let read = |flag: &str, file: &Path| {
            std::fs::read(file).map_err(|error| format!("{flag} {}: {error}", file.display()))
        };
        Ok(Self { chain: read("--tls-cert", &files.certificate)?, key: read("--tls-key", &files.key)?.into() })
    }

    fn certified(&self) -> Result<CertifiedKey, String> {
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("--tls-cert: {error}"))?;
        if chain.is_empty() {
            return Err("--tls-cert: there is no certificate in the file".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| format!("--tls-key: {error}"))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| format!("--tls-cert and --tls-key: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate for `localhost` and its key, in files of a folder.
    fn written(folder: &Path) -> (TlsFiles, rcgen::CertifiedKey<rcgen::KeyPair>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        (files, made)
    }

    fn in_force(certificate: &ServerCertificate) -> CertificateDer<'static> {
        certificate.in_force.0.load().cert[0].clone()
    }

    // OPS-6
    #[test]
    fn a_renewed_certificate_is_put_in_force_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (files, first) = written(folder.path());
        let certificate = ServerCertificate::load(&files).unwrap();
        assert_eq!(in_force(&certificate), *first.cert.der());

        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for bad in ["", "nonsense", &other.cert.pem(), &first.cert.pem()[..100]] {
            std::fs::write(&files.certificate, bad).unwrap();
            certificate.reload();
            assert_eq!(in_force(&certificate), *first.cert.der(), "{bad}");
        }
        std::fs::remove_file(&files.certificate).unwrap();
        certificate.reload();
        assert_eq!(in_force(&certificate), *first.cert.der());

        let (_, second) = written(folder.path());
        certificate.reload();
        assert_eq!(in_force(&certificate), *second.cert.der());
    }

    // OPS-6
    #[tokio::test]
    async fn changed_files_are_noticed_also_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let versions = ["1", "2"].map(|name| folder.path().join(name));
        let made = versions.clone().map(|version| {
            std::fs::create_dir(&version).unwrap();
            written(&version).1
        });
        let link = folder.path().join("live");
        std::os::unix::fs::symlink(&versions[0], &link).unwrap();
        let files = TlsFiles { certificate: link.join("cert.pem"), key: link.join("key.pem") };
        let certificate = Arc::new(ServerCertificate::load(&files).unwrap());
        assert_eq!(in_force(&certificate), *made[0].cert.der());
        let shutdown = CancellationToken::new();
        let following = tokio::spawn(Arc::clone(&certificate).follow(Duration::from_millis(1), shutdown.clone()));
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&versions[1], &link).unwrap();
        for _ in 0..60_000 {
            if in_force(&certificate) == *made[1].cert.der() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(in_force(&certificate), *made[1].cert.der());
        shutdown.cancel();
        following.await.unwrap();
    }

    // OPS-2
    #[test]
    fn files_that_do_not_belong_together_are_no_start() {
        let folder = tempfile::tempdir().unwrap();
        let (files, first) = written(folder.path());
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
        let Err(StartError::Tls(error)) = ServerCertificate::load(&files) else { panic!("it must not load") };
        assert!(error.contains("--tls-key") && !error.contains("BEGIN"), "{error}");
        std::fs::write(&files.key, first.cert.pem()).unwrap();
        assert!(ServerCertificate::load(&files).is_err(), "a certificate is no key");
    }
}
