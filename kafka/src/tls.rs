//! TLS to brokers: whom the client trusts, and the certificate that it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Files, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that certificates of brokers must come from; those of the system, if none is named.
    pub ca_file: Option<PathBuf>,
    /// The certificate that the client shows, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The name that certificates of brokers must have, in place of the name that they are reached by.
    pub server_name: Option<String>,
}

/// Why there can be no TLS. What is secret is in no message.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{}: it has no certificate that can be used", path.display())]
    NoAuthority { path: PathBuf },
    #[error("the system has no certificates of authorities: name some in ca_file")]
    NoSystemAuthorities,
    #[error("the certificate {} and its key cannot be used: {source}", path.display())]
    Certificate { path: PathBuf, source: rustls::Error },
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let path = || self.certificate.as_ref().map(|(path, _)| path.clone()).unwrap_or_default();
        let builder = builder.map_err(|source| TlsError::Certificate { path: path(), source })?;
        let builder = builder.with_root_certificates(self.authorities()?);
        let Some((certificate, key)) = &self.certificate else { return Ok(Arc::new(builder.with_no_client_auth())) };
        let key_of = |path: &Path| PrivateKeyDer::from_pem_file(path).map_err(read(path));
        let config = builder.with_client_auth_cert(certificates(certificate)?, key_of(key)?);
        config.map(Arc::new).map_err(|source| TlsError::Certificate { path: certificate.clone(), source })
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca_file else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return if roots.is_empty() { Err(TlsError::NoSystemAuthorities) } else { Ok(roots) };
        };
        roots.add_parsable_certificates(certificates(path)?);
        if roots.is_empty() { Err(TlsError::NoAuthority { path: path.clone() }) } else { Ok(roots) }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read_all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read_all.map_err(read(path))
}

fn read(path: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> TlsError {
    |source| TlsError::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let tls = |ca_file: &str| Tls { ca_file: Some(ca_file.into()), ..Tls::default() };
        let error = tls("/nowhere/ca.pem").load().unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/ca.pem: "), "{error}");
        let error = tls(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).load().unwrap_err().to_string();
        assert!(error.contains("no certificate"), "{error}");
    }
}
