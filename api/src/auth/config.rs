//! Who may do what, as it is configured. Secrets are in files of their own.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use model::TenantId;

/// One listener of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    Http,
    OtlpGrpc,
    OtlpHttp,
    JaegerGrpc,
    JaegerThriftHttp,
    Zipkin,
}

impl Listener {
    pub(crate) const ALL: [Self; 6] =
        [Self::Http, Self::OtlpGrpc, Self::OtlpHttp, Self::JaegerGrpc, Self::JaegerThriftHttp, Self::Zipkin];

    /// As it is called in logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::JaegerGrpc => "jaeger_grpc",
            Self::JaegerThriftHttp => "jaeger_thrift_http",
            Self::Zipkin => "zipkin",
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Without credentials nobody is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthConfig {
    pub credentials: Vec<CredentialConfig>,
    /// Which listeners ask.
    pub listeners: BTreeSet<Listener>,
    /// Whether `/metrics` is given to anybody.
    pub open_metrics: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialConfig {
    /// With one it is basic authentication, without one a bearer token.
    pub username: Option<String>,
    /// Has the password or token; with several lines, each is one.
    pub secret_file: PathBuf,
    pub read: AllowedTenants,
    pub write: AllowedTenants,
    /// Whether it may see what is of no tenant, or of all: counters, the configuration, limits.
    pub is_admin: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedTenants {
    All,
    Some(BTreeSet<TenantId>),
}

impl AllowedTenants {
    pub(super) fn have(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(tenants) => tenants.iter().any(|tenant| tenant.as_str() == name),
        }
    }

    /// The tenant, if there is no choice.
    pub(super) fn only(&self) -> Option<&TenantId> {
        match self {
            Self::Some(tenants) if tenants.len() == 1 => tenants.first(),
            _ => None,
        }
    }
}

impl AuthConfig {
    /// Whether a listener takes no request without credentials.
    pub fn asks(&self, listener: Listener) -> bool {
        !self.credentials.is_empty() && self.listeners.contains(&listener)
    }
}
