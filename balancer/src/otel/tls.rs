//! TLS to a collector, which must prove who it is.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The certificates of a file, none where one of them is broken; an error is a text.
pub(super) fn certificates(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|it| it.to_string())?;
        roots.add(certificate).map_err(|it| it.to_string())?;
    }
    if roots.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(roots) }
}

/// Those the system trusts.
fn of_the_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Some of them are broken on some systems; those that are not are enough.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err("the system trusts nobody".to_owned()) } else { Ok(roots) }
}

/// Shakes hands with a collector of that name; an error is a text for the operator.
pub(super) async fn connect<T: AsyncRead + AsyncWrite + Unpin>(
    trusted: Option<&[u8]>,
    host: &str,
    io: T,
) -> Result<TlsStream<T>, String> {
    let roots = trusted.map_or_else(of_the_system, certificates)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|it| it.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|it| it.to_string())?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, io);
    connecting.await.map_err(|it| it.to_string())
}
