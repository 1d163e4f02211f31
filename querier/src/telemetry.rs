//! Counters of the querier, under Tempo's names where the meaning is the same.

use std::sync::Arc;

use model::TenantId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::answer::QueryMetrics;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Traces,
    Search,
    Metadata,
    Metrics,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Search => "search",
            Self::Metadata => "metadata",
            Self::Metrics => "metrics",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    op: &'static str,
    result: &'static str,
    tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BytesLabels {
    op: &'static str,
    tenant: String,
}

/// Counts queries. Clones share the counters.
#[derive(Clone)]
pub(crate) struct Telemetry {
    counters: Arc<Counters>,
}

struct Counters {
    queries: Family<QueryLabels, Counter>,
    bytes: Family<BytesLabels, Counter>,
    spans: Histogram,
}

impl Telemetry {
    pub fn new(registry: &mut Registry) -> Self {
        let counters = Counters {
            queries: Family::default(),
            bytes: Family::default(),
            spans: Histogram::new(exponential_buckets(100.0, 10.0, 7)),
        };
        registry.register("tempo_query_frontend_queries", "Queries answered or given up", counters.queries.clone());
        registry.register(
            "tempo_query_frontend_bytes_inspected",
            "Compressed bytes read from blocks for queries",
            counters.bytes.clone(),
        );
        registry.register("tempo_querier_spans_per_query", "Spans that a query looked at", counters.spans.clone());
        Self { counters: Arc::new(counters) }
    }

    /// Counts a query when it ends, as canceled unless [`QueryGuard::completed`] is called.
    pub fn start(&self, operation: Operation, tenant: &TenantId) -> QueryGuard {
        QueryGuard { telemetry: self.clone(), operation, tenant: tenant.to_string(), is_completed: false }
    }
}

/// A query that runs. Dropping it counts it.
pub(crate) struct QueryGuard {
    telemetry: Telemetry,
    operation: Operation,
    tenant: String,
    is_completed: bool,
}

impl QueryGuard {
    pub fn completed(mut self, metrics: &QueryMetrics) {
        let counters = &self.telemetry.counters;
        let labels = BytesLabels { op: self.operation.name(), tenant: self.tenant.clone() };
        counters.bytes.get_or_create(&labels).inc_by(metrics.inspected_bytes);
        counters.spans.observe(metrics.inspected_spans as f64);
        self.is_completed = true;
    }
}

impl Drop for QueryGuard {
    fn drop(&mut self) {
        let result = if self.is_completed { "completed" } else { "canceled" };
        let labels = QueryLabels { op: self.operation.name(), result, tenant: std::mem::take(&mut self.tenant) };
        self.telemetry.counters.queries.get_or_create(&labels).inc();
    }
}
