//! What a listener's TLS is made of, whatever its keys are called.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// TLS of one listener. With it the listener speaks nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, and those between it and its authority.
    pub certificate: Pem,
    pub key: Pem,
    pub client_auth: ClientAuth,
    /// Authorities that certificates of clients must come from.
    pub client_ca: Option<Pem>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// Of TLS 1.2, in the names of the standard; empty for all that are safe. Those of TLS 1.3 are always on.
    pub cipher_suites: Vec<String>,
    /// Groups of the key exchange, in Go's names; empty for all.
    pub curves: Vec<String>,
    /// How often the files are looked at.
    pub reload_interval: Option<Duration>,
}

/// Where a text in PEM is.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    /// In the configuration itself; never shown, as it may be a key.
    Text(String),
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    #[default]
    None,
    /// Those that have one, which must be good.
    IfGiven,
    Required,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// `mutual TLS`, for the log.
impl fmt::Display for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "TLS",
            Self::IfGiven => "TLS, certificates of clients if they have one",
            Self::Required => "mutual TLS",
        })
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text(_) => f.write_str("********"),
        }
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text(_) => f.write_str("the PEM in the configuration"),
        }
    }
}
