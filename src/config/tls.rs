//! TLS of listeners, as Tempo's server and its receivers name it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use api::{ClientAuth, Pem, TlsConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use storage::config::{GoDuration, Secret, optional_path};

/// `server.http_tls_config` and `server.grpc_tls_config`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file of the certificate and of those between it and its authority. With it the port speaks TLS and nothing
    /// else. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub key_file: Option<PathBuf>,
    /// The certificate itself in place of `cert_file`.
    pub cert: String,
    /// The key itself in place of `key_file`; never shown.
    pub key: Secret,
    /// Whether clients show certificates: `NoClientCert`, `VerifyClientCertIfGiven`, `RequireAndVerifyClientCert`.
    pub client_auth_type: ClientAuthType,
    /// PEM file of the authorities that certificates of clients must come from.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub client_ca_file: Option<PathBuf>,
    /// The authorities themselves in place of `client_ca_file`.
    pub client_ca: String,
}

/// `tls` of a receiver
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiverTls {
    /// PEM file of the certificate and of those between it and its authority. With it the port speaks TLS and nothing
    /// else. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub key_file: Option<PathBuf>,
    /// The certificate itself in place of `cert_file`.
    pub cert_pem: String,
    /// The key itself in place of `key_file`; never shown.
    pub key_pem: Secret,
    /// PEM file of the authorities that certificates of clients must come from. With it, clients must show one.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub client_ca_file: Option<PathBuf>,
    /// Least version of TLS: 1.2, the default, or 1.3.
    pub min_version: TlsVersion,
    /// Greatest version of TLS: 1.2 or 1.3, the default.
    pub max_version: TlsVersion,
    /// Cipher suites of TLS 1.2, by their names in the standard. None: all that are safe.
    pub cipher_suites: Vec<String>,
    /// Groups of the key exchange: X25519, P256, P384. None: all.
    pub curve_preferences: Vec<String>,
    /// How often the files are looked at, at least every 10s. The shortest of all listeners counts for all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_duration")]
    pub reload_interval: Option<GoDuration>,
}

/// A version, or none when it is not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct TlsVersion(Option<api::TlsVersion>);

/// What clients show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ClientAuthType(ClientAuth);

/// Why a text is no version or type that can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsTextError {
    #[error(
        "{0:?} is no version of TLS that is spoken here; write VersionTLS12 or VersionTLS13, of receivers 1.2 or 1.3"
    )]
    Version(String),
    #[error(
        "{0:?} takes certificates without looking at them, which protects nothing; write VerifyClientCertIfGiven or \
         RequireAndVerifyClientCert, with client_ca_file"
    )]
    NotVerified(String),
    #[error("{0:?} is not known; write NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert")]
    ClientAuth(String),
}

impl TlsVersion {
    fn or(self, default: api::TlsVersion) -> api::TlsVersion {
        self.0.unwrap_or(default)
    }
}

impl FromStr for TlsVersion {
    type Err = TlsTextError;

    fn from_str(text: &str) -> Result<Self, TlsTextError> {
        match text {
            "" => Ok(Self(None)),
            "1.2" | "VersionTLS12" => Ok(Self(Some(api::TlsVersion::V1_2))),
            "1.3" | "VersionTLS13" => Ok(Self(Some(api::TlsVersion::V1_3))),
            _ => Err(TlsTextError::Version(text.to_owned())),
        }
    }
}

impl FromStr for ClientAuthType {
    type Err = TlsTextError;

    fn from_str(text: &str) -> Result<Self, TlsTextError> {
        match text {
            "" | "NoClientCert" => Ok(Self(ClientAuth::None)),
            "VerifyClientCertIfGiven" => Ok(Self(ClientAuth::IfGiven)),
            "RequireAndVerifyClientCert" => Ok(Self(ClientAuth::Required)),
            "RequestClientCert" | "RequireAnyClientCert" | "RequireClientCert" => {
                Err(TlsTextError::NotVerified(text.to_owned()))
            }
            _ => Err(TlsTextError::ClientAuth(text.to_owned())),
        }
    }
}

impl TryFrom<String> for TlsVersion {
    type Error = TlsTextError;

    fn try_from(text: String) -> Result<Self, TlsTextError> {
        text.parse()
    }
}

impl TryFrom<String> for ClientAuthType {
    type Error = TlsTextError;

    fn try_from(text: String) -> Result<Self, TlsTextError> {
        text.parse()
    }
}

impl From<TlsVersion> for String {
    fn from(version: TlsVersion) -> Self {
        match version.0 {
            None => "",
            Some(api::TlsVersion::V1_2) => "1.2",
            Some(api::TlsVersion::V1_3) => "1.3",
        }
        .to_owned()
    }
}

impl From<ClientAuthType> for String {
    fn from(kind: ClientAuthType) -> Self {
        match kind.0 {
            ClientAuth::None => "",
            ClientAuth::IfGiven => "VerifyClientCertIfGiven",
            ClientAuth::Required => "RequireAndVerifyClientCert",
        }
        .to_owned()
    }
}

/// Reads a duration; an empty text is none.
fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GoDuration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| GoDuration::deserialize(serde::de::value::StrDeserializer::new(&text))).transpose()
}

impl ServerTls {
    /// `None` where nothing is set.
    pub(super) fn to_api(&self, min_version: TlsVersion, cipher_suites: &str) -> Result<Option<TlsConfig>, String> {
        let pair = pair(
            ["cert_file", "key_file"],
            pem(self.cert_file.as_deref(), &self.cert),
            pem(self.key_file.as_deref(), self.key.expose()),
        )?;
        let client_ca = pem(self.client_ca_file.as_deref(), &self.client_ca);
        let Some((certificate, key)) = pair else {
            return if client_ca.is_none() && self.client_auth_type.0 == ClientAuth::None {
                Ok(None)
            } else {
                Err("clients show certificates where the port has one: set cert_file and key_file".to_owned())
            };
        };
        match (&client_ca, self.client_auth_type.0) {
            (None, ClientAuth::IfGiven | ClientAuth::Required) => {
                return Err("client_auth_type needs client_ca_file, which certificates of clients come from".to_owned());
            }
            (Some(_), ClientAuth::None) => {
                return Err("client_ca_file needs client_auth_type: RequireAndVerifyClientCert".to_owned());
            }
            _ => {}
        }
        let names = cipher_suites.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(Some(TlsConfig {
            certificate,
            key,
            client_auth: self.client_auth_type.0,
            client_ca,
            min_version: min_version.or(api::TlsVersion::V1_2),
            max_version: api::TlsVersion::V1_3,
            cipher_suites: names.map(str::to_owned).collect(),
            curves: Vec::new(),
            reload_interval: None,
        }))
    }
}

impl ReceiverTls {
    /// `None` where nothing is set.
    pub(super) fn to_api(&self) -> Result<Option<TlsConfig>, String> {
        if *self == Self::default() {
            return Ok(None);
        }
        let pair = pair(
            ["cert_file", "key_file"],
            pem(self.cert_file.as_deref(), &self.cert_pem),
            pem(self.key_file.as_deref(), self.key_pem.expose()),
        )?;
        let (certificate, key) = pair.ok_or("TLS needs a certificate: set cert_file and key_file")?;
        let client_ca = pem(self.client_ca_file.as_deref(), "");
        Ok(Some(TlsConfig {
            certificate,
            key,
            client_auth: if client_ca.is_some() { ClientAuth::Required } else { ClientAuth::None },
            client_ca,
            min_version: self.min_version.or(api::TlsVersion::V1_2),
            max_version: self.max_version.or(api::TlsVersion::V1_3),
            cipher_suites: self.cipher_suites.clone(),
            curves: self.curve_preferences.clone(),
            reload_interval: self.reload_interval.map(GoDuration::get),
        }))
    }
}

fn pem(file: Option<&Path>, text: &str) -> Option<Pem> {
    let file = file.map(|path| Pem::File(path.to_owned()));
    file.or_else(|| (!text.is_empty()).then(|| Pem::Text(text.to_owned())))
}

fn pair(names: [&str; 2], certificate: Option<Pem>, key: Option<Pem>) -> Result<Option<(Pem, Pem)>, String> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(format!("{} is missing: a certificate needs its key", names[1])),
        (None, Some(_)) => Err(format!("{} is missing: a key needs its certificate", names[0])),
    }
}
