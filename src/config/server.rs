//! `server`: the port of the API, and the log.

use std::str::FromStr;

use api::ListenHost;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Cors;
use super::tls::{ServerTls, TlsVersion};

/// `server`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where the HTTP API listens. Loopback unless told otherwise: without `authentication` whoever reaches it may ask.
    pub http_listen_address: ListenHost,
    /// Port of the HTTP API, which gRPC shares.
    pub http_listen_port: u16,
    /// The environment variable `RUST_LOG` goes before it.
    pub log_level: LogLevel,
    /// How a line of the log is written.
    pub log_format: LogFormat,
    /// Least version of TLS: VersionTLS12, the default, or VersionTLS13.
    pub tls_min_version: TlsVersion,
    /// Cipher suites of TLS 1.2, by their names in the standard, parted by commas. Empty: all that are safe.
    pub tls_cipher_suites: String,
    pub http_tls_config: ServerTls,
    /// As `http_tls_config`, if it is set at all: gRPC shares the port.
    pub grpc_tls_config: ServerTls,
    /// Pages of other origins that may ask the API.
    pub cors: Cors,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line with `key=value` fields.
    #[default]
    Logfmt,
    Json,
}

/// The least severe lines that are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", try_from = "String")]
#[schemars(!try_from)]
pub enum LogLevel {
    Error,
    /// Also `warning`.
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log level; write error, warn, info, debug or trace")]
pub struct LogLevelError(String);

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "error" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return Err(LogLevelError(text.to_owned())),
        })
    }
}

impl TryFrom<String> for LogLevel {
    type Error = LogLevelError;

    fn try_from(text: String) -> Result<Self, LogLevelError> {
        text.parse()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            http_listen_address: ListenHost::loopback(),
            http_listen_port: 3200,
            log_level: LogLevel::default(),
            log_format: LogFormat::default(),
            tls_min_version: TlsVersion::default(),
            tls_cipher_suites: String::new(),
            http_tls_config: ServerTls::default(),
            grpc_tls_config: ServerTls::default(),
            cors: Cors::default(),
        }
    }
}
