//! Who may reach the listeners: `authentication`, and `cors`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use api::{AllowedTenants, AuthConfig, CorsConfig, CredentialConfig, Listener};
use model::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::optional_path;

/// Stands for every tenant.
const ANY_TENANT: &str = "*";

/// `authentication`. Not a section of Tempo's, which leaves it to a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Authentication {
    /// Who may ask and send; without any, everybody may. Each is a map: `username` and `password_file`, or
    /// `bearer_token_file`; `read` and `write`, lists of tenants, `"*"` for all; `admin: true` for what concerns all tenants
    /// (`/metrics`, `/status`, `/flush`). Files are read again when they change; each line of one is a secret.
    pub credentials: Vec<Credential>,
    /// Which listeners ask for credentials: http, `otlp_grpc`, `otlp_http`, `jaeger_grpc`, `jaeger_thrift_http`, zipkin;
    /// those of Jaeger over UDP cannot. `/ready` and gRPC health checks are always
    /// open.
    pub listeners: Vec<ListenerName>,
    /// Whether `/metrics` is given to everybody.
    pub open_metrics: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Credential {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub password_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub bearer_token_file: Option<PathBuf>,
    pub read: Vec<String>,
    pub write: Vec<String>,
    pub admin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListenerName {
    Http,
    OtlpGrpc,
    OtlpHttp,
    JaegerGrpc,
    JaegerThriftHttp,
    Zipkin,
}

/// `cors`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins whose pages may ask: `https://shop.example`; `*` stands for any text in one, and alone for every origin, which
    /// then may not use what a browser remembers of passwords.
    pub allowed_origins: Vec<String>,
    /// Headers besides `Accept`, `Content-Type` and `X-Requested-With`; `*` for any.
    pub allowed_headers: Vec<String>,
    /// Headers of answers that pages may see.
    pub exposed_headers: Vec<String>,
    /// Seconds for which browsers remember what is allowed; 0 leaves it to them.
    pub max_age: u64,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            listeners: vec![
                ListenerName::Http,
                ListenerName::OtlpGrpc,
                ListenerName::OtlpHttp,
                ListenerName::JaegerGrpc,
                ListenerName::JaegerThriftHttp,
                ListenerName::Zipkin,
            ],
            open_metrics: false,
        }
    }
}

impl From<ListenerName> for Listener {
    fn from(name: ListenerName) -> Self {
        match name {
            ListenerName::Http => Self::Http,
            ListenerName::OtlpGrpc => Self::OtlpGrpc,
            ListenerName::OtlpHttp => Self::OtlpHttp,
            ListenerName::JaegerGrpc => Self::JaegerGrpc,
            ListenerName::JaegerThriftHttp => Self::JaegerThriftHttp,
            ListenerName::Zipkin => Self::Zipkin,
        }
    }
}

impl Authentication {
    pub(super) fn to_api(&self, multitenancy: bool) -> Result<AuthConfig, String> {
        let numbered = self.credentials.iter().enumerate();
        let credentials = numbered.map(|(index, credential)| {
            credential.to_api(multitenancy).map_err(|reason| format!("entry {} of credentials: {reason}", index + 1))
        });
        Ok(AuthConfig {
            credentials: credentials.collect::<Result<_, _>>()?,
            listeners: self.listeners.iter().copied().map(Listener::from).collect(),
            open_metrics: self.open_metrics,
        })
    }
}

impl Credential {
    fn to_api(&self, multitenancy: bool) -> Result<CredentialConfig, String> {
        let (username, secret_file) = match (&*self.username, &self.password_file, &self.bearer_token_file) {
            ("", None, Some(token)) => (None, token),
            ("", Some(_), None) => return Err("password_file needs a username".to_owned()),
            (name, Some(_), None) if name.contains(':') => return Err("a username has no colon".to_owned()),
            (name, Some(password), None) => (Some(name.to_owned()), password),
            (_, None, None) => return Err("write username and password_file, or bearer_token_file".to_owned()),
            (_, _, Some(_)) => return Err("bearer_token_file stands alone, without username".to_owned()),
        };
        if self.read.is_empty() && self.write.is_empty() && !self.admin {
            return Err("it allows nothing: name tenants in read or write, \"*\" for all, or set admin".to_owned());
        }
        Ok(CredentialConfig {
            username,
            secret_file: secret_file.clone(),
            read: tenants(&self.read, multitenancy)?,
            write: tenants(&self.write, multitenancy)?,
            is_admin: self.admin,
        })
    }
}

fn tenants(names: &[String], multitenancy: bool) -> Result<AllowedTenants, String> {
    if names.iter().any(|name| name == ANY_TENANT) {
        return Ok(AllowedTenants::All);
    }
    let parsed = names.iter().map(|name| TenantId::parse(name).map_err(|error| error.to_string()));
    let tenants: BTreeSet<TenantId> = parsed.collect::<Result<_, _>>()?;
    match tenants.iter().find(|tenant| !multitenancy && **tenant != TenantId::single()) {
        Some(tenant) => Err(format!(
            "there is no tenant {tenant}: without multitenancy_enabled all is of {}; write \"*\"",
            TenantId::single()
        )),
        None => Ok(AllowedTenants::Some(tenants)),
    }
}

impl Cors {
    pub(super) fn to_api(&self) -> CorsConfig {
        CorsConfig {
            allowed_origins: self.allowed_origins.clone(),
            allowed_headers: self.allowed_headers.clone(),
            exposed_headers: self.exposed_headers.clone(),
            max_age: (self.max_age > 0).then(|| Duration::from_secs(self.max_age)),
        }
    }
}
