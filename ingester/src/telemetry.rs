//! Counters of the way in, under Tempo's names.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::{KnownTenants, TenantId};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use spans::Truncated;

use crate::screen::Screened;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabel {
    tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DiscardLabels {
    reason: &'static str,
    tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TruncatedLabels {
    scope: &'static str,
    tenant: String,
}

#[derive(Clone)]
pub(crate) struct Metrics {
    spans_received: Family<TenantLabel, Counter>,
    bytes_received: Family<TenantLabel, Counter>,
    discarded_spans: Family<DiscardLabels, Counter>,
    truncated_attributes: Family<TruncatedLabels, Counter>,
    push_duration: Histogram,
    log_bytes: Gauge,
    log_segments: Gauge,
    log_failures: Counter,
    span_copies: Family<TenantLabel, Counter>,
    blocks_flushed: Counter<u64, AtomicU64>,
    failed_flushes: Counter,
    flush_duration: Histogram,
    flush_size: Histogram,
    replay_errors: Counter,
    known_tenants: Arc<KnownTenants>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            spans_received: Family::default(),
            bytes_received: Family::default(),
            discarded_spans: Family::default(),
            truncated_attributes: Family::default(),
            push_duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            log_bytes: Gauge::default(),
            log_segments: Gauge::default(),
            log_failures: Counter::default(),
            span_copies: Family::default(),
            blocks_flushed: Counter::default(),
            failed_flushes: Counter::default(),
            flush_duration: Histogram::new(exponential_buckets(0.01, 2.0, 14)),
            flush_size: Histogram::new(exponential_buckets(65_536.0, 2.0, 14)),
            replay_errors: Counter::default(),
            known_tenants: Arc::default(),
        };
        let m = &metrics;
        registry.register("tempo_distributor_spans_received", "Spans acknowledged", m.spans_received.clone());
        registry.register(
            "tempo_distributor_bytes_received",
            "Bytes of acknowledged requests, decompressed protobuf",
            m.bytes_received.clone(),
        );
        registry.register(
            "tempo_discarded_spans",
            "Spans refused or dropped; a request that cannot be decoded counts as one",
            m.discarded_spans.clone(),
        );
        registry.register(
            "tempo_distributor_attributes_truncated",
            "Keys and texts of attributes that were cut to the limit of their tenant",
            m.truncated_attributes.clone(),
        );
        registry.register(
            "tempo_distributor_push_duration_seconds",
            "From a checked request to its acknowledgement",
            m.push_duration.clone(),
        );
        registry.register("mosso_ingester_log_bytes", "Size of the write-ahead log", m.log_bytes.clone());
        registry.register("mosso_ingester_log_segments", "Segments of the write-ahead log", m.log_segments.clone());
        registry.register(
            "mosso_ingester_log_failures",
            "Appends to the write-ahead log that failed",
            m.log_failures.clone(),
        );
        registry.register(
            "mosso_ingester_span_copies",
            "Spans that were received again and are in their block once",
            m.span_copies.clone(),
        );
        registry.register("tempo_ingester_blocks_flushed", "Blocks published", m.blocks_flushed.clone());
        registry.register(
            "tempo_ingester_failed_flushes",
            "Attempts to publish a block that failed",
            m.failed_flushes.clone(),
        );
        registry.register(
            "tempo_ingester_flush_duration_seconds",
            "Time to encode, store and publish a block",
            m.flush_duration.clone(),
        );
        registry.register("tempo_ingester_flush_size_bytes", "Size of published blocks", m.flush_size.clone());
        registry.register(
            "tempo_ingester_replay_errors",
            "Damaged places met while the log was read at start",
            m.replay_errors.clone(),
        );
        metrics
    }

    pub(crate) fn received(&self, tenant: &TenantId, spans: usize, bytes: usize, took: Duration) {
        self.known_tenants.add(tenant);
        let label = TenantLabel { tenant: tenant.to_string() };
        self.spans_received.get_or_create(&label).inc_by(spans as u64);
        self.bytes_received.get_or_create(&label).inc_by(bytes as u64);
        self.push_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn discarded(&self, tenant: &TenantId, reason: &'static str, spans: u64) {
        let tenant = self.known_tenants.label(tenant).to_owned();
        self.discarded_spans.get_or_create(&DiscardLabels { reason, tenant }).inc_by(spans);
    }

    /// What of a request that was accepted is not as it came.
    pub(crate) fn screened(&self, tenant: &TenantId, screened: &Screened) {
        for (excess, spans) in &screened.rejected {
            self.discarded(tenant, excess.reason(), *spans as u64);
        }
        let Truncated { resource, scope, span, event, link } = screened.truncated;
        let by_scope = [("resource", resource), ("scope", scope), ("span", span), ("event", event), ("link", link)];
        for (scope, count) in by_scope.into_iter().filter(|(_, count)| *count > 0) {
            let tenant = self.known_tenants.label(tenant).to_owned();
            self.truncated_attributes.get_or_create(&TruncatedLabels { scope, tenant }).inc_by(count);
        }
    }

    pub(crate) fn log_size(&self, bytes: u64, segments: usize) {
        self.log_bytes.set(bytes as i64);
        self.log_segments.set(segments as i64);
    }

    pub(crate) fn log_failed(&self) {
        self.log_failures.inc();
    }

    pub(crate) fn flushed(&self, bytes: u64, took: Duration) {
        self.blocks_flushed.inc();
        self.flush_duration.observe(took.as_secs_f64());
        self.flush_size.observe(bytes as f64);
    }

    pub(crate) fn copies_dropped(&self, tenant: &TenantId, spans: u64) {
        if spans > 0 {
            self.span_copies.get_or_create(&TenantLabel { tenant: tenant.to_string() }).inc_by(spans);
        }
    }

    pub(crate) fn flush_failed(&self) {
        self.failed_flushes.inc();
    }

    pub(crate) fn replay_failed(&self) {
        self.replay_errors.inc();
    }
}
