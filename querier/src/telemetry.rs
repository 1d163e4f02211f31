//! Counters of the querier, under Tempo's names where the meaning is the same.

use std::sync::Arc;

use model::{KnownTenants, TenantId, Tenants};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::answer::QueryMetrics;

/// What queries over several tenants are counted under: a series for each set of tenants would be too many.
const SEVERAL_TENANTS: &str = "several tenants";

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Traces,
    Search,
    Metadata,
    Metrics,
    ServiceGraph,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Search => "search",
            Self::Metadata => "metadata",
            Self::Metrics => "metrics",
            Self::ServiceGraph => "service_graph",
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

/// What became of a job that was given to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobOutcome {
    Done,
    /// Another process gets it.
    Failed,
    /// It is done here.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    outcome: &'static str,
}

/// Counts queries. Clones share the counters.
#[derive(Clone)]
pub(crate) struct Telemetry {
    counters: Arc<Counters>,
    known_tenants: Arc<KnownTenants>,
}

struct Counters {
    queries: Family<QueryLabels, Counter>,
    within_objective: Family<QueryLabels, Counter>,
    bytes: Family<BytesLabels, Counter>,
    spans: Histogram,
    jobs: Family<JobLabels, Counter>,
    jobs_done: Counter,
}

impl Telemetry {
    pub fn new(registry: &mut Registry) -> Self {
        let counters = Counters {
            queries: Family::default(),
            within_objective: Family::default(),
            bytes: Family::default(),
            spans: Histogram::new(exponential_buckets(100.0, 10.0, 7)),
            jobs: Family::default(),
            jobs_done: Counter::default(),
        };
        registry.register("tempo_query_frontend_queries", "Queries answered or given up", counters.queries.clone());
        registry.register(
            "tempo_query_frontend_queries_within_slo",
            "Queries that were answered as soon or as fast as they should be, or that asked for too much",
            counters.within_objective.clone(),
        );
        registry.register(
            "tempo_query_frontend_bytes_inspected",
            "Bytes that queries looked at, as they are in memory",
            counters.bytes.clone(),
        );
        registry.register("tempo_querier_spans_per_query", "Spans that a query looked at", counters.spans.clone());
        registry.register(
            "mosso_query_jobs",
            "Jobs of queries that were given to other processes",
            counters.jobs.clone(),
        );
        registry.register(
            "mosso_query_jobs_done_for_others",
            "Jobs of queries that were done for other processes",
            counters.jobs_done.clone(),
        );
        Self { counters: Arc::new(counters), known_tenants: Arc::default() }
    }

    /// Lets a tenant that has data be named.
    pub fn has_data(&self, tenant: &TenantId) {
        self.known_tenants.add(tenant);
    }

    /// Counts a job that was given away.
    pub fn job(&self, outcome: JobOutcome) {
        let outcome = match outcome {
            JobOutcome::Done => "done",
            JobOutcome::Failed => "failed",
            JobOutcome::Refused => "refused",
        };
        self.counters.jobs.get_or_create(&JobLabels { outcome }).inc();
    }

    /// Counts a job that was done for another process.
    pub fn job_done(&self) {
        self.counters.jobs_done.inc();
    }

    /// Counts a query that ended with this outcome.
    pub fn count(
        &self,
        operation: Operation,
        tenants: &Tenants,
        outcome: &'static str,
        is_within: bool,
        spent: &QueryMetrics,
    ) {
        // Tempo knows two results: what ran to its end, if only to fail, and what was given up.
        let result = if matches!(outcome, "canceled" | "timeout") { "canceled" } else { "completed" };
        let tenant = tenants.only().map_or(SEVERAL_TENANTS, |tenant| self.known_tenants.label(tenant));
        let (op, tenant) = (operation.name(), tenant.to_owned());
        let bytes = self.counters.bytes.get_or_create(&BytesLabels { op, tenant: tenant.clone() });
        bytes.inc_by(spent.inspected_bytes);
        let labels = QueryLabels { op, result, tenant };
        let within_objective = self.counters.within_objective.get_or_create(&labels);
        within_objective.inc_by(is_within.into());
        drop(within_objective);
        self.counters.queries.get_or_create(&labels).inc();
        self.counters.spans.observe(spent.inspected_spans as f64);
    }
}
