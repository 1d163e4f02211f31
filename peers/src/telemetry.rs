//! This crate's counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Clones count into the same series.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    requests: Family<RequestLabels, Counter>,
    received_bytes: Counter,
    partial: Counter,
    read_logs: Counter,
    writers: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    outcome: &'static str,
}

impl Telemetry {
    pub fn register(registry: &mut Registry) -> Self {
        let telemetry = Self::default();
        registry.register(
            "mosso_peer_requests",
            "Calls to other processes: for their live rows, to look at blocks, or whether they are there",
            telemetry.requests.clone(),
        );
        registry.register(
            "mosso_peer_received_bytes",
            "Bytes that other processes answered, uncompressed",
            telemetry.received_bytes.clone(),
        );
        registry.register(
            "mosso_peer_partial_views",
            "Queries that lacked live rows of a writer that did not answer",
            telemetry.partial.clone(),
        );
        registry.register(
            "mosso_peer_read_logs",
            "Times that the log of a writer was read from the bucket, because it did not answer",
            telemetry.read_logs.clone(),
        );
        registry.register(
            "mosso_cluster_writers",
            "Writers whose live rows queries ask for",
            telemetry.writers.clone(),
        );
        telemetry
    }

    pub(crate) fn asked(&self, method: &'static str, is_answered: bool) {
        let outcome = if is_answered { "success" } else { "error" };
        self.requests.get_or_create(&RequestLabels { method, outcome }).inc();
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn partial(&self) {
        self.partial.inc();
    }

    pub(crate) fn read_log(&self) {
        self.read_logs.inc();
    }

    pub(crate) fn writers(&self, count: usize) {
        self.writers.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
