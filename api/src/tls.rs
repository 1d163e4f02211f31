//! TLS of a listener: certificate, key and the authorities of clients, read again when their files change.
//!
//! New files hold for new connections; those that are open keep what they were opened with. Files that cannot be used
//! change nothing. HTTP/2 and HTTP/1.1 are offered to every client.

mod config;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use ring::digest::{Context, SHA256};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    NamedGroup, ProtocolVersion, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};
use tokio_rustls::TlsAcceptor;

pub use self::config::{ClientAuth, Pem, TlsConfig, TlsVersion};
use crate::files::read_bounded;

/// Certificates of many authorities fit in.
const MAX_FILE_BYTES: u64 = 4 << 20;

const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there can be no TLS. What is secret is in no message.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("read {pem}: {source}")]
    Read { pem: String, source: io::Error },
    #[error("{pem} has no {what} in PEM")]
    NoPem { pem: String, what: &'static str },
    #[error("the certificate {certificate} and the key {key} cannot be used: {source}")]
    Pair { certificate: String, key: String, source: rustls::Error },
    #[error("the authorities of clients in {pem} cannot be used: {reason}")]
    ClientCa { pem: String, reason: String },
    #[error("no TLS 1.2 cipher suite is called {name}, or it is not safe; known are {known}")]
    CipherSuite { name: String, known: String },
    #[error("no group of the key exchange is called {name}; known are X25519, P256 and P384")]
    Curve { name: String },
    #[error("{0}")]
    Versions(String),
}

/// A digest of all files: tells whether something has changed.
type Fingerprint = Vec<u8>;

/// TLS of one listener, as it is now.
pub(crate) struct Tls {
    config: TlsConfig,
    current: RwLock<Current>,
}

struct Current {
    server: Arc<ServerConfig>,
    files: Fingerprint,
}

/// What the files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let contents = Contents::read(config)?;
        let current = Current { server: Arc::new(build(config, &contents)?), files: contents.fingerprint() };
        Ok(Self { config: config.clone(), current: RwLock::new(current) })
    }

    pub(crate) fn config(&self) -> &TlsConfig {
        &self.config
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.read().unwrap_or_else(PoisonError::into_inner).server.clone())
    }

    /// Takes what the files say now; says whether that is something else than before. Reads files, so it blocks.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.config)?;
        let files = contents.fingerprint();
        if files == self.current.read().unwrap_or_else(PoisonError::into_inner).files {
            return Ok(false);
        }
        let server = Arc::new(build(&self.config, &contents)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { server, files };
        Ok(true)
    }
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::File(path) => {
                read_bounded(path, MAX_FILE_BYTES).map_err(|source| TlsError::Read { pem: self.to_string(), source })
            }
        }
    }
}

impl Contents {
    fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: config.certificate.read()?,
            key: config.key.read()?,
            client_ca: config.client_ca.as_ref().map(Pem::read).transpose()?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut digest = Context::new(&SHA256);
        for part in [&self.certificate, &self.key].into_iter().chain(&self.client_ca) {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finish().as_ref().to_vec()
    }
}

fn build(config: &TlsConfig, contents: &Contents) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(provider_of(config)?);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(config)?)
        .map_err(|error| TlsError::Versions(error.to_string()))?;
    let builder = match client_verifier(config, contents, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let (certificates, key) = pair(config, contents)?;
    let mut server = builder.with_single_cert(certificates, key).map_err(|source| TlsError::Pair {
        certificate: config.certificate.to_string(),
        key: config.key.to_string(),
        source,
    })?;
    server.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(server)
}

fn pair(
    config: &TlsConfig,
    contents: &Contents,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let certificates = certificates(&config.certificate, &contents.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| TlsError::NoPem { pem: config.key.to_string(), what: "private key" })?;
    Ok((certificates, key))
}

fn certificates(pem: &Pem, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let no_pem = || TlsError::NoPem { pem: pem.to_string(), what: "certificate" };
    let all: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(|_| no_pem())?;
    if all.is_empty() { Err(no_pem()) } else { Ok(all) }
}

fn client_verifier(
    config: &TlsConfig,
    contents: &Contents,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (Some(pem), Some(bytes)) = (&config.client_ca, &contents.client_ca) else { return Ok(None) };
    let unusable = |reason: String| TlsError::ClientCa { pem: pem.to_string(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, bytes)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match config.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::IfGiven => builder.allow_unauthenticated(),
        ClientAuth::Required => builder,
    };
    builder.build().map(Some).map_err(|error| unusable(error.to_string()))
}

fn versions(config: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    match (config.min_version, config.max_version) {
        (TlsVersion::V1_2, TlsVersion::V1_2) => Ok(vec![&TLS12]),
        (TlsVersion::V1_2, TlsVersion::V1_3) => Ok(vec![&TLS13, &TLS12]),
        (TlsVersion::V1_3, TlsVersion::V1_3) => Ok(vec![&TLS13]),
        (TlsVersion::V1_3, TlsVersion::V1_2) => {
            Err(TlsError::Versions("the least version, 1.3, is above the greatest, 1.2".to_owned()))
        }
    }
}

fn provider_of(config: &TlsConfig) -> Result<CryptoProvider, TlsError> {
    let all = provider::default_provider();
    let cipher_suites = if config.cipher_suites.is_empty() {
        all.cipher_suites
    } else {
        let wanted: Vec<_> = config.cipher_suites.iter().map(|name| cipher_suite(name)).collect::<Result<_, _>>()?;
        let is_on = |suite: &SupportedCipherSuite| {
            suite.version().version == ProtocolVersion::TLSv1_3 || wanted.contains(suite)
        };
        all.cipher_suites.into_iter().filter(is_on).collect()
    };
    let kx_groups = if config.curves.is_empty() {
        all.kx_groups
    } else {
        config.curves.iter().map(|name| curve(name)).collect::<Result<_, _>>()?
    };
    Ok(CryptoProvider { cipher_suites, kx_groups, ..all })
}

/// Names of the standard: those of TLS 1.3 are without the `13` that rustls gives them.
fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, TlsError> {
    let name_of = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
    let known = provider::ALL_CIPHER_SUITES;
    known.iter().find(|suite| name_of(suite) == name).copied().ok_or_else(|| TlsError::CipherSuite {
        name: name.to_owned(),
        known: known.iter().map(name_of).collect::<Vec<_>>().join(", "),
    })
}

fn curve(name: &str) -> Result<&'static dyn SupportedKxGroup, TlsError> {
    let group = match name {
        "X25519" => NamedGroup::X25519,
        "P256" | "CurveP256" => NamedGroup::secp256r1,
        "P384" | "CurveP384" => NamedGroup::secp384r1,
        _ => return Err(TlsError::Curve { name: name.to_owned() }),
    };
    let found = provider::ALL_KX_GROUPS.iter().find(|known| known.name() == group);
    found.copied().ok_or_else(|| TlsError::Curve { name: name.to_owned() })
}

#[cfg(test)]
mod tests;
