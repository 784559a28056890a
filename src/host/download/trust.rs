//! Whom to trust: the authorities that this host trusts.

use std::sync::Arc;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Trusts whom the host trusts, so that an authority of a company's own counts, and one that was
/// taken out does not.  A host without a list of its own gets the one that is compiled in.
pub(super) fn tls() -> TlsConfig {
    // `SSL_CERT_FILE` and `SSL_CERT_DIR` name another list.
    let found = rustls_native_certs::load_native_certs().certs;
    let roots = if found.is_empty() {
        RootCerts::WebPki
    } else {
        let owned = |der: &[u8]| Certificate::from_der(der).to_owned();
        RootCerts::Specific(Arc::new(found.iter().map(|der| owned(der)).collect()))
    };
    TlsConfig::builder().root_certs(roots).build()
}
