//! mosso's traces of its own work, sent by OTLP to where the variables of the OpenTelemetry SDK say, which may be itself.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::metadata::{MetadataMap, MetadataValue};

/// One of them has the address; without both there are no traces.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// Goes with every request that brings own spans: belongs to a trace that is not recorded, so the request itself makes no
/// spans where it arrives.
const NOT_RECORDED: &str = "00-00000000000000000000000000000001-0000000000000001-00";

/// How long the last spans may take to leave when the process stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Spans on their way out, until it is stopped.
pub struct OwnTraces(SdkTracerProvider);

impl OwnTraces {
    /// Starts the exporter, if an endpoint is set. To be called within the async runtime.
    ///
    /// # Errors
    /// When what is set cannot be used.
    pub(super) fn start() -> Result<Option<Self>> {
        let is_set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
        if !ENDPOINTS.iter().any(is_set) {
            return Ok(None);
        }
        let protocol = PROTOCOLS.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        if let Some(protocol) = protocol.filter(|protocol| protocol != "grpc") {
            bail!("OTEL_EXPORTER_OTLP_PROTOCOL is {protocol:?}: own traces are sent by \"grpc\" only");
        }
        let mut metadata = MetadataMap::new();
        metadata.insert("traceparent", MetadataValue::from_static(NOT_RECORDED));
        let exporter = SpanExporter::builder().with_tonic().with_metadata(metadata).build();
        let exporter = exporter.context("send own traces to OTEL_EXPORTER_OTLP_ENDPOINT")?;
        let resource = Resource::builder();
        let resource = if is_set(&SERVICE_NAME) { resource } else { resource.with_service_name("mosso") };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Some(Self(provider.build())))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer("mosso")
    }

    /// Sends what is left.
    pub fn stop(self) {
        if let Err(error) = self.0.shutdown_with_timeout(STOP_TIMEOUT) {
            tracing::debug!(%error, "the last spans of own traces were not sent");
        }
    }
}
