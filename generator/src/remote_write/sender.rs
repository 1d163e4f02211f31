//! The task that empties one queue: a request at a time, in order, again and again until the target takes it or refuses it
//! for good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Identity, StatusCode, Url};
use storage::config::Secret;

use super::config::{Protocol, RemoteWriteConfig, TargetConfig, TlsConfig};
use super::queue::{Queue, Queued};
use crate::error::Error;
use crate::telemetry::TargetTelemetry;

/// Prometheus's: soon at first, then every five seconds.
const FIRST_BACKOFF: Duration = Duration::from_millis(30);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A target that names a longer time is asked again after this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Empties the queue of one target.
pub struct Sender {
    name: String,
    target: TargetConfig,
    url: Url,
    client: Client,
    headers: Headers,
    queue: Arc<Queue>,
    telemetry: TargetTelemetry,
}

struct Headers {
    has_tenant: bool,
    of_tenants: std::collections::HashMap<model::TenantId, BTreeMap<String, Secret>>,
    of_others: BTreeMap<String, Secret>,
}

/// What a target made of a request.
enum Outcome {
    Taken,
    /// It will never be taken.
    Refused(String),
    /// It may be taken later, not before so long.
    Later(String, Option<Duration>),
}

impl Sender {
    pub(super) fn new(
        target: &TargetConfig,
        name: String,
        config: &RemoteWriteConfig,
        queue: Arc<Queue>,
        telemetry: TargetTelemetry,
    ) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Config { key: "metrics_generator.storage.remote_write", reason };
        let url = target.url().map_err(unusable)?;
        let client = client(target).map_err(|error| unusable(format!("{url}: {error}")))?;
        let headers = Headers {
            has_tenant: config.has_tenant_header,
            of_tenants: config.tenant_headers.clone(),
            of_others: config.default_headers.clone(),
        };
        Ok(Self { name, target: target.clone(), url, client, headers, queue, telemetry })
    }

    /// Runs until it is aborted; what it was sending then is sent again by the next process.
    pub async fn run(self) {
        let mut backoff = FIRST_BACKOFF;
        let mut is_failing = false;
        loop {
            let oldest = self.queue.oldest().await;
            let Some(body) = self.queue.read(&oldest) else {
                self.telemetry.dropped("damaged", oldest.samples);
                self.queue.done(&oldest);
                continue;
            };
            match self.send(&oldest, body).await {
                Outcome::Taken => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!(target_name = self.name, "series are taken again");
                    }
                    backoff = FIRST_BACKOFF;
                    self.telemetry.sent(oldest.samples);
                    self.queue.done(&oldest);
                }
                Outcome::Refused(reason) => {
                    tracing::warn!(target_name = self.name, reason, "series were refused, they are not sent again");
                    self.telemetry.dropped("refused", oldest.samples);
                    self.queue.done(&oldest);
                }
                Outcome::Later(reason, after) => {
                    // said once, however long it takes
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(target_name = self.name, reason, "series could not be sent, they wait on disk");
                    }
                    self.telemetry.retried();
                    tokio::time::sleep(after.unwrap_or(backoff).min(LONGEST_RETRY_AFTER)).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    async fn send(&self, queued: &Queued, body: Vec<u8>) -> Outcome {
        let (content_type, version) = match self.target.protobuf_message {
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
            Err(error) => return Outcome::Later(error.to_string(), None),
        }
        for (name, value) in self.headers(queued) {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => Outcome::Taken,
            Ok(response) => {
                let (status, after) = (response.status(), retry_after(response.headers().get(RETRY_AFTER)));
                let reason = format!("{status}: {}", first_line(response.text().await.unwrap_or_default()));
                let may_succeed = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                if may_succeed { Outcome::Later(reason, after) } else { Outcome::Refused(reason) }
            }
            Err(error) => Outcome::Later(chain(&error), None),
        }
    }

    fn headers(&self, queued: &Queued) -> BTreeMap<String, String> {
        let of_tenant = self.headers.of_tenants.get(&queued.tenant).unwrap_or(&self.headers.of_others);
        let all = self.target.headers.iter().chain(of_tenant);
        let mut headers: BTreeMap<String, String> =
            all.map(|(name, value)| (name.to_ascii_lowercase(), value.expose().to_owned())).collect();
        if self.headers.has_tenant {
            headers.entry("x-scope-orgid".to_owned()).or_insert_with(|| queued.tenant.to_string());
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
