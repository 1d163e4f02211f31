//! `metrics_generator.storage`: where series are sent, in the words of Prometheus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use storage::config::{GoDuration, Secret};

use super::Form;
use crate::error::Error;

/// Targets, and how much waits for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteWriteConfig {
    pub targets: Vec<TargetConfig>,
    /// Bytes that may wait for each target; with more, the oldest go.
    pub max_queue_bytes: u64,
    /// Whether `X-Scope-OrgID` names the tenant.
    pub has_tenant_header: bool,
    /// Headers of what is sent for a tenant.
    pub tenant_headers: std::collections::HashMap<model::TenantId, BTreeMap<String, Secret>>,
    /// Headers of tenants that are not named.
    pub default_headers: BTreeMap<String, Secret>,
}

/// One entry of `remote_write`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetConfig {
    pub url: String,
    /// Names the target among counters, and its queue on disk; its number while empty.
    pub name: String,
    /// How long one request may take; 30 s when it is 0.
    pub remote_timeout: GoDuration,
    pub headers: BTreeMap<String, Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub bearer_token: Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    pub tls_config: TlsConfig,
    pub send_exemplars: bool,
    /// Whether native histograms are sent where `generate_native_histograms` of the overrides asks for them; yes, where nothing
    /// is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_native_histograms: Option<bool>,
    /// Which version of remote write the target gets: 1.0 whatever this says, if it turns out not to read 2.0.
    pub protobuf_message: Protocol,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub queue_config: ReadOver,
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub metadata_config: ReadOver,
}

/// A section of Prometheus's that changes nothing here, whatever it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOver;

impl<'de> Deserialize<'de> for ReadOver {
    fn deserialize<D: Deserializer<'de>>(section: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(section).map(|_| Self)
    }
}

/// Versions of remote write, by the names of their messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    #[default]
    #[serde(rename = "prometheus.WriteRequest")]
    V1,
    #[serde(rename = "io.prometheus.write.v2.Request")]
    V2,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    pub password: Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    pub r#type: String,
    pub credentials: Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self { r#type: "Bearer".to_owned(), credentials: Secret::default(), credentials_file: None }
    }
}

/// Files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

impl RemoteWriteConfig {
    /// # Errors
    /// [`Error::Config`] when a target cannot be written to as it is described.
    pub fn check(&self) -> Result<(), Error> {
        let unusable = |reason: String| Error::Config { key: "storage.remote_write", reason };
        let mut names = std::collections::BTreeSet::new();
        for (index, target) in self.targets.iter().enumerate() {
            target.url().map_err(unusable)?;
            let name = target.name(index);
            if !names.insert(name.clone()) {
                return Err(unusable(format!("two targets are named {name}")));
            }
            if target.tls_config.cert_file.is_some() != target.tls_config.key_file.is_some() {
                return Err(unusable(format!("{name}: tls_config needs both cert_file and key_file, or none")));
            }
        }
        Ok(())
    }
}

impl TargetConfig {
    pub(super) fn form(&self) -> Form {
        Form {
            protocol: self.protobuf_message,
            has_exemplars: self.send_exemplars,
            has_native_histograms: self.send_native_histograms.unwrap_or(true),
        }
    }

    pub(super) fn url(&self) -> Result<reqwest::Url, String> {
        let url = reqwest::Url::parse(&self.url).map_err(|error| format!("url {:?}: {error}", self.url))?;
        match url.scheme() {
            "http" | "https" => Ok(url),
            other => Err(format!("url {:?}: begins with {other}, write http or https", self.url)),
        }
    }

    /// A name that can be a folder's.
    pub(super) fn name(&self, index: usize) -> String {
        let is_usable = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        let name: String =
            self.name.chars().map(|character| if is_usable(character) { character } else { '_' }).collect();
        if name.is_empty() { format!("target-{index}") } else { name }
    }

    /// What `Authorization` says; files are read anew for every request, as they may be renewed.
    pub(super) fn authorization(&self) -> Result<Option<String>, Error> {
        if let Some(basic) = &self.basic_auth {
            let password = secret(&basic.password, basic.password_file.as_deref())?;
            return Ok(Some(basic_authorization(&basic.username, &password)));
        }
        if let Some(Authorization { r#type, credentials, credentials_file }) = &self.authorization {
            let credentials = secret(credentials, credentials_file.as_deref())?;
            return Ok(Some(format!("{type} {credentials}", r#type = r#type)));
        }
        let bearer = secret(&self.bearer_token, self.bearer_token_file.as_deref())?;
        Ok(Some(bearer).filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}")))
    }
}

fn secret(text: &Secret, file: Option<&Path>) -> Result<String, Error> {
    match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            Ok(text.trim().to_owned())
        }
        None => Ok(text.expose().to_owned()),
    }
}

fn basic_authorization(username: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")))
}
