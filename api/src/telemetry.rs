//! Counters of the edge and of the process, and `/metrics` text. Names and labels are Tempo's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::Method;
use model::{KnownTenants, TenantId};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use crate::{Listener, TEMPO_VERSION};

const DURATION_BUCKETS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];

/// The counters; clones count into the same ones.
#[derive(Clone)]
pub struct Telemetry {
    request_duration: Family<RequestLabels, Histogram, fn() -> Histogram>,
    inflight_requests: Family<RouteLabels, Gauge>,
    accepted_spans: Family<Receiver, PlainCounter>,
    refused_spans: Family<Receiver, PlainCounter>,
    ingress_bytes: Family<TenantLabels, Counter>,
    denied_requests: Family<ListenerLabels, Counter>,
    failed_handshakes: Family<ListenerLabels, Counter>,
    dropped_packets: Family<PacketLabels, Counter>,
    kafka_records: Family<KafkaLabels, Counter>,
    kafka_failures: Counter,
    tool_calls: Family<ToolLabels, Counter>,
    known_tenants: Arc<KnownTenants>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status_code: String,
    ws: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: &'static str,
}

/// Who took spans, and how they came, as Tempo names both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Receiver {
    receiver: &'static str,
    pub(crate) transport: &'static str,
}

impl Receiver {
    pub(crate) const fn otlp(transport: &'static str) -> Self {
        Self { receiver: "otlp/otlp_receiver", transport }
    }

    pub(crate) const fn jaeger(transport: &'static str) -> Self {
        Self { receiver: "jaeger/jaeger_receiver", transport }
    }

    pub(crate) const fn zipkin(transport: &'static str) -> Self {
        Self { receiver: "zipkin/zipkin_receiver", transport }
    }

    pub(crate) const fn kafka(encoding: &'static str) -> Self {
        Self { receiver: "kafka/kafka_receiver", transport: encoding }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PacketLabels {
    receiver: &'static str,
    transport: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KafkaLabels {
    encoding: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    tenant: String,
}

impl Telemetry {
    /// Registers every metric of the edge.
    pub fn register(registry: &mut Registry) -> Self {
        let new_histogram: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let telemetry = Self {
            request_duration: Family::new_with_constructor(new_histogram),
            inflight_requests: Family::default(),
            accepted_spans: Family::default(),
            refused_spans: Family::default(),
            ingress_bytes: Family::default(),
            denied_requests: Family::default(),
            failed_handshakes: Family::default(),
            dropped_packets: Family::default(),
            kafka_records: Family::default(),
            kafka_failures: Counter::default(),
            tool_calls: Family::default(),
            known_tenants: Arc::default(),
        };
        registry.register(
            "tempo_request_duration_seconds",
            "Time spent answering requests",
            telemetry.request_duration.clone(),
        );
        registry.register("tempo_inflight_requests", "Requests being answered", telemetry.inflight_requests.clone());
        registry.register(
            "tempo_receiver_accepted_spans",
            "Spans accepted by receivers",
            telemetry.accepted_spans.clone(),
        );
        registry.register(
            "tempo_receiver_refused_spans",
            "Spans refused by receivers",
            telemetry.refused_spans.clone(),
        );
        registry.register(
            "tempo_distributor_ingress_bytes",
            "Bytes received, before any limit",
            telemetry.ingress_bytes.clone(),
        );
        registry.register(
            "mosso_denied_requests",
            "Requests without credentials that allow them",
            telemetry.denied_requests.clone(),
        );
        registry.register(
            "mosso_tls_handshake_failures",
            "Connections that did not come to speak TLS",
            telemetry.failed_handshakes.clone(),
        );
        registry.register(
            "mosso_receiver_dropped_packets",
            "UDP packets whose spans were not stored",
            telemetry.dropped_packets.clone(),
        );
        registry.register(
            "mosso_receiver_kafka_records",
            "Records from Kafka by what became of them",
            telemetry.kafka_records.clone(),
        );
        registry.register(
            "mosso_receiver_kafka_failures",
            "Times that brokers could not be reached or refused",
            telemetry.kafka_failures.clone(),
        );
        registry.register(
            "tempo_query_frontend_mcp_calls",
            "Calls of tools by language models",
            telemetry.tool_calls.clone(),
        );
        registry.register("tempo_build_info", "What is running", build_info());
        telemetry
    }

    /// Notes that a request has begun; the answer's status is told to [`InflightRequest::finish`].
    pub(crate) fn begin(&self, method: &'static str, route: &'static str) -> InflightRequest {
        let labels = RouteLabels { method, route };
        self.inflight_requests.get_or_create(&labels).inc();
        InflightRequest { telemetry: self.clone(), labels, started: Instant::now() }
    }

    /// Counts a push that came in; `has_spans` when some of it were stored, so that the tenant exists.
    pub(crate) fn received(&self, tenant: &TenantId, bytes: usize, has_spans: bool) {
        if has_spans {
            self.known_tenants.add(tenant);
        }
        let labels = TenantLabels { tenant: self.known_tenants.label(tenant).to_owned() };
        self.ingress_bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    /// Counts a request that its credentials do not allow.
    pub(crate) fn denied(&self, listener: Listener) {
        self.denied_requests.get_or_create(&ListenerLabels { listener: listener.name() }).inc();
    }

    /// Counts a connection whose TLS handshake did not come to its end.
    pub(crate) fn handshake_failed(&self, listener: Listener) {
        self.failed_handshakes.get_or_create(&ListenerLabels { listener: listener.name() }).inc();
    }

    pub(crate) fn accepted(&self, receiver: Receiver, spans: usize) {
        self.accepted_spans.get_or_create(&receiver).add(spans as u64);
    }

    /// Counts a call of a tool at `/api/mcp`.
    pub(crate) fn tool_called(&self, tool: &'static str) {
        self.tool_calls.get_or_create(&ToolLabels { tool }).inc();
    }

    pub(crate) fn refused(&self, receiver: Receiver, spans: usize) {
        self.refused_spans.get_or_create(&receiver).add(spans as u64);
    }

    /// Counts a packet that nobody is told about.
    pub(crate) fn packet_dropped(&self, Receiver { receiver, transport }: Receiver, reason: &'static str) {
        self.dropped_packets.get_or_create(&PacketLabels { receiver, transport, reason }).inc();
    }

    /// Counts a record: it was stored, will be tried again, or is left out for a reason.
    pub(crate) fn kafka_record(&self, encoding: &'static str, outcome: &'static str) {
        self.kafka_records.get_or_create(&KafkaLabels { encoding, outcome }).inc();
    }

    /// Counts a time that nothing could be read from Kafka.
    pub(crate) fn kafka_failed(&self) {
        self.kafka_failures.inc();
    }
}

fn build_info() -> Family<[(&'static str, &'static str); 7], Gauge> {
    let info: Family<[(&'static str, &'static str); 7], Gauge> = Family::default();
    info.get_or_create(&[
        ("branch", ""),
        ("goarch", std::env::consts::ARCH),
        ("goos", std::env::consts::OS),
        ("goversion", ""),
        ("revision", ""),
        ("tags", ""),
        ("version", TEMPO_VERSION),
    ])
    .set(1);
    info
}

/// A request that is being answered. Dropped without [`Self::finish`], it leaves no duration: nobody got an answer.
pub(crate) struct InflightRequest {
    telemetry: Telemetry,
    labels: RouteLabels,
    started: Instant,
}

impl InflightRequest {
    pub(crate) fn finish(self, status_code: impl Into<String>) {
        let RouteLabels { method, route } = self.labels;
        let labels = RequestLabels { method, route, status_code: status_code.into(), ws: "false" };
        self.telemetry.request_duration.get_or_create(&labels).observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for InflightRequest {
    fn drop(&mut self) {
        self.telemetry.inflight_requests.get_or_create(&self.labels).dec();
    }
}

/// A counter whose name has no `_total`, as Tempo's receivers have it. OpenMetrics knows no such counter, so it is written
/// as a metric of unknown type, which allows any name; Prometheus takes rates of it all the same.
#[derive(Debug, Clone, Default)]
struct PlainCounter(Arc<AtomicU64>);

impl PlainCounter {
    fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}

impl TypedMetric for PlainCounter {
    const TYPE: MetricType = MetricType::Unknown;
}

impl EncodeMetric for PlainCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// OpenMetrics text → Prometheus text 0.0.4: a counter's family is named as its samples, there are no units and no end mark.
pub(crate) fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map(|(_, words)| words);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.rsplit_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "gauge" | "histogram" | "summary" => ("", kind),
                _ => ("", "untyped"),
            };
            if let Some(words) = help.take() {
                text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with("# ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Method names as labels: a bounded set, whatever clients send.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn scrape(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        prometheus_text(&text)
    }

    #[test]
    fn a_scrape_holds_the_names_that_dashboards_ask_for() {
        let mut registry = Registry::default();
        let telemetry = Telemetry::register(&mut registry);
        telemetry.begin("GET", "api_search").finish("200");
        telemetry.received(&TenantId::single(), 7, true);
        for number in 0..1_000 {
            telemetry.received(&TenantId::parse(&format!("t{number}")).unwrap(), 1, false);
        }
        telemetry.accepted(Receiver::otlp("grpc"), 3);
        telemetry.packet_dropped(Receiver::jaeger("udp_thrift_compact"), "malformed");
        let text = scrape(&registry);
        for line in [
            "# TYPE tempo_request_duration_seconds histogram",
            r#"tempo_request_duration_seconds_count{method="GET",route="api_search",status_code="200",ws="false"} 1"#,
            r#"tempo_inflight_requests{method="GET",route="api_search"} 0"#,
            r#"tempo_receiver_accepted_spans{receiver="otlp/otlp_receiver",transport="grpc"} 3"#,
            "# TYPE tempo_receiver_accepted_spans untyped",
            r#"mosso_receiver_dropped_packets_total{receiver="jaeger/jaeger_receiver",transport="udp_thrift_compact",reason="malformed"} 1"#,
            "# TYPE tempo_distributor_ingress_bytes_total counter",
            r#"tempo_distributor_ingress_bytes_total{tenant="single-tenant"} 7"#,
            r#"tempo_distributor_ingress_bytes_total{tenant="unknown tenant"} 1000"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("tempo_build_info{") && !text.contains("# EOF") && !text.contains("# UNIT"));
    }
}
