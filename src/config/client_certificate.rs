//! `mtlsCertificate`: what the gateway shows an upstream that asks who connects (gateway.md §10, RFC 8446 §4.4.2).
//!
//! Certificate chain and private key stand in one PEM text: a file, or a variable. What is wrong is said without a
//! byte of either.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use url::Url;
use zeroize::Zeroizing;

use super::diagnostic::Problems;
use super::document::Node;

/// A certificate chain with the private key of its first certificate; the key is never shown.
#[derive(Clone)]
pub struct ClientCertificate {
    shown: Arc<SingleCertAndKey>,
    file: Option<PathBuf>,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ClientCertificate")
    }
}

impl ClientCertificate {
    /// # Errors
    /// What is wrong with the text, as the rest of a sentence.
    fn from_pem(pem: &[u8], file: Option<PathBuf>) -> Result<Self, &'static str> {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| "cannot be read")?;
        if chain.is_empty() {
            return Err("holds no certificate");
        }
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key that is not encrypted")?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "holds a private key that is not the one of its first certificate"
            }
            rustls::Error::InvalidCertificate(_) => "holds a first certificate that cannot be read",
            _ => "holds a private key of a kind that cannot be used",
        })?;
        Ok(Self { shown: Arc::new(certified.into()), file })
    }

    /// Shows this certificate to whoever asks for one.
    #[must_use]
    pub fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::<SingleCertAndKey>::clone(&self.shown)
    }

    /// Where it was read, if a file holds it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

/// Whether a text is PEM with a private key in it, rather than the path of a file.
pub(super) fn holds_private_key(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
}

/// `text` is PEM, or the path of a file with PEM, from `folder` on. `None` only after a problem.
pub(super) fn resolve(
    text: &str,
    folder: &Path,
    upstream: &Url,
    node: &Node,
    problems: &mut Problems,
) -> Option<ClientCertificate> {
    if upstream.scheme() != "https" {
        problems
            .add("conflict", node.place, "`mtlsCertificate` has no meaning without TLS, and `rewritePattern` is http")
            .help("give an https URL there, or leave the certificate out");
        return None;
    }
    let (pem, file) = if text.contains("-----BEGIN ") {
        (Zeroizing::new(text.as_bytes().to_vec()), None)
    } else {
        let file = folder.join(text);
        match std::fs::read(&file) {
            Ok(pem) => (Zeroizing::new(pem), Some(file)),
            Err(error) => {
                let message = format!("the file that `mtlsCertificate` names cannot be read: {}", error.kind());
                problems
                    .add("file", node.place, message)
                    .help("give the path of a PEM file, from the config folder on, or a variable that holds the PEM");
                return None;
            }
        }
    };
    match ClientCertificate::from_pem(&pem, file) {
        Ok(certificate) => Some(certificate),
        Err(wrong) => {
            problems
                .add("value", node.place, format!("the PEM of `mtlsCertificate` {wrong}"))
                .help("it holds the certificate, the rest of its chain, and the private key, not encrypted, in PEM");
            None
        }
    }
}
