//! One target as HTTP knows it: how a request is sent to it, and what it makes of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::TenantId;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Identity, StatusCode, Url};
use storage::config::Secret;

use super::config::{Protocol, RemoteWriteConfig, TargetConfig, TlsConfig};
use super::message;
use crate::error::Error;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A target, and what is said to it with each request.
pub(super) struct Endpoint {
    target: TargetConfig,
    url: Url,
    client: Client,
    headers: Headers,
    /// It has shown that it does not read version 2.
    is_old: AtomicBool,
}

struct Headers {
    has_tenant: bool,
    of_tenants: std::collections::HashMap<TenantId, BTreeMap<String, Secret>>,
    of_others: BTreeMap<String, Secret>,
}

/// What a target made of a request.
pub(super) enum Outcome {
    Taken,
    /// It will never be taken, or not all of it: so many samples were.
    Refused {
        reason: String,
        taken: u64,
    },
    /// It may be taken later, not before so long.
    Later(String, Option<Duration>),
}

impl Endpoint {
    /// # Errors
    /// [`Error::Config`] when the settings of the target cannot be used.
    pub(super) fn new(target: &TargetConfig, config: &RemoteWriteConfig) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Config { key: "metrics_generator.storage.remote_write", reason };
        let url = target.url().map_err(unusable)?;
        let client = client(target).map_err(|error| unusable(format!("{url}: {error}")))?;
        let headers = Headers {
            has_tenant: config.has_tenant_header,
            of_tenants: config.tenant_headers.clone(),
            of_others: config.default_headers.clone(),
        };
        Ok(Self { target: target.clone(), url, client, headers, is_old: AtomicBool::new(false) })
    }

    /// Sends one request, which is compressed. One of version 2 becomes one of version 1 for a target that does not read it.
    pub(super) async fn send(&self, tenant: &TenantId, body: Vec<u8>) -> Outcome {
        // it may have been made when the target was configured otherwise
        let protocol = message::protocol_of(&body).unwrap_or(self.target.protobuf_message);
        if protocol == Protocol::V1 {
            return self.send_as(Protocol::V1, tenant, body).await.unwrap_or_else(not_understood);
        }
        if !self.is_old.load(Ordering::Relaxed) {
            match self.send_as(Protocol::V2, tenant, body.clone()).await {
                Ok(outcome) => return outcome,
                Err(reason) => {
                    tracing::warn!(url = %self.url, reason, "the target does not read remote write 2.0, it gets 1.0 from now on");
                    self.is_old.store(true, Ordering::Relaxed);
                }
            }
        }
        match message::as_v1(&body) {
            Some(body) => self.send_as(Protocol::V1, tenant, body).await.unwrap_or_else(not_understood),
            None => not_understood("a request of remote write 2.0 could not be read".to_owned()),
        }
    }

    /// # Errors
    /// Why the target does not understand this version.
    async fn send_as(&self, protocol: Protocol, tenant: &TenantId, body: Vec<u8>) -> Result<Outcome, String> {
        let (content_type, version) = match protocol {
            Protocol::V1 => ("application/x-protobuf", "0.1.0"),
            Protocol::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_ENCODING, "snappy")
            .header(CONTENT_TYPE, content_type)
            .header("X-Prometheus-Remote-Write-Version", version)
            .body(body);
        match self.target.authorization() {
            Ok(Some(authorization)) => request = request.header(AUTHORIZATION, authorization),
            Ok(None) => {}
            Err(error) => return Ok(Outcome::Later(error.to_string(), None)),
        }
        for (name, value) in self.headers(tenant) {
            request = request.header(name, value);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Outcome::Later(chain(&error), None)),
        };
        let (status, after) = (response.status(), retry_after(response.headers().get(RETRY_AFTER)));
        let taken = samples_taken(response.headers());
        match status {
            // a receiver of version 2 says how much it took; another has seen an empty message
            _ if status.is_success() && protocol == Protocol::V2 && taken.is_none() => {
                return Err(format!("{status}, and no count of what was written"));
            }
            _ if status.is_success() => return Ok(Outcome::Taken),
            _ => {}
        }
        let reason = format!("{status}: {}", first_line(response.text().await.unwrap_or_default()));
        match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Err(reason),
            StatusCode::TOO_MANY_REQUESTS => Ok(Outcome::Later(reason, after)),
            _ if status.is_server_error() => Ok(Outcome::Later(reason, after)),
            _ => Ok(Outcome::Refused { reason, taken: taken.unwrap_or_default() }),
        }
    }

    fn headers(&self, tenant: &TenantId) -> BTreeMap<String, String> {
        let of_tenant = self.headers.of_tenants.get(tenant).unwrap_or(&self.headers.of_others);
        let all = self.target.headers.iter().chain(of_tenant);
        let mut headers: BTreeMap<String, String> =
            all.map(|(name, value)| (name.to_ascii_lowercase(), value.expose().to_owned())).collect();
        if self.headers.has_tenant {
            headers.entry("x-scope-orgid".to_owned()).or_insert_with(|| tenant.to_string());
        }
        headers.retain(|name, value| {
            HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
        });
        headers
    }
}

fn client(target: &TargetConfig) -> Result<Client, String> {
    // the process's TLS is ring's; another choice that was made before stands
    _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = Some(target.remote_timeout.get()).filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT_TIMEOUT);
    let TlsConfig { ca_file, cert_file, key_file, insecure_skip_verify } = &target.tls_config;
    let read =
        |path: &std::path::Path| std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()));
    let mut builder = Client::builder()
        .timeout(timeout)
        .user_agent(concat!("mosso/", env!("CARGO_PKG_VERSION")))
        .tls_danger_accept_invalid_certs(*insecure_skip_verify);
    if let Some(path) = ca_file {
        let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(|error| chain(&error))?;
        builder = builder.tls_certs_merge(certificates);
    }
    if let (Some(certificate), Some(key)) = (cert_file, key_file) {
        let pem = [read(key)?, read(certificate)?].concat();
        builder = builder.identity(Identity::from_pem(&pem).map_err(|error| chain(&error))?);
    }
    builder.build().map_err(|error| chain(&error))
}

fn not_understood(reason: String) -> Outcome {
    Outcome::Refused { reason, taken: 0 }
}

/// Samples that a receiver of version 2 says that it took.
fn samples_taken(headers: &HeaderMap) -> Option<u64> {
    let count = |name| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let counts =
        ["x-prometheus-remote-write-samples-written", "x-prometheus-remote-write-histograms-written"].map(count);
    counts.iter().any(Option::is_some).then(|| counts.into_iter().flatten().sum())
}

fn retry_after(header: Option<&HeaderValue>) -> Option<Duration> {
    header?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn first_line(text: String) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// An error with its causes; reqwest's own text leaves them out.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
