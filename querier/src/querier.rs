//! [`Querier`]: the questions that can be asked, each with its deadline, its count and its line in the log.

use std::sync::Arc;

use model::limits::TenantLimits;
use model::{TenantId, Tenants, TimeRange, TraceId};
use prometheus_client::registry::Registry;
use storage::CpuPool;
use storage::source::Source;
use storage::view::Views;
use tokio::sync::watch;
use tracing::Instrument;

use crate::answer::{Answer, MetricsAnswer, SearchAnswer, SummaryAnswer, TagNames, TagValues, TraceAnswer};
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::budget::{Budget, Shares};
use crate::engine::split_cache::split_cache;
use crate::error::Error;
use crate::metrics::{PartialCache, partial_cache};
use crate::query_log::{QueryGuard, QueryLog};
use crate::request::{MetricsRequest, SearchRequest, SpanSubset, SummaryRequest, TagNamesRequest, TagValuesRequest};
use crate::summary::{self, Summarize};
use crate::tags::{ValuesCache, values_cache};
use crate::telemetry::Telemetry;
use crate::{metrics, search, tags, tenants, trace_by_id};

/// What is known of split traces may take one in so many bytes of what is kept of metrics, and so may values of tags.
const SPLIT_SHARE: u64 = 4;
const TAG_VALUES_SHARE: u64 = 4;

/// Answers questions about stored traces. Cheap to clone.
///
/// Dropping a future of its methods ends the work, but for what already runs on the CPU pool.
#[derive(Clone)]
pub struct Querier {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    partials: PartialCache,
    tag_values: ValuesCache,
    limits: Arc<TenantLimits>,
    views: Arc<dyn Views>,
}

impl Querier {
    /// What it caches is counted by `storage`.
    pub fn new(
        config: Config,
        views: Arc<dyn Views>,
        cpu: CpuPool,
        storage: &storage::Telemetry,
        registry: &mut Registry,
    ) -> Self {
        Self::with_limits(config, Arc::default(), views, cpu, storage, registry)
    }

    /// As [`new`](Self::new), for tenants that have limits of their own.
    pub fn with_limits(
        config: Config,
        limits: Arc<TenantLimits>,
        views: Arc<dyn Views>,
        cpu: CpuPool,
        storage: &storage::Telemetry,
        registry: &mut Registry,
    ) -> Self {
        let partials = partial_cache(config.metrics_cache_max_bytes, storage);
        let split = split_cache(config.metrics_cache_max_bytes / SPLIT_SHARE, storage);
        let tag_values = values_cache(config.metrics_cache_max_bytes / TAG_VALUES_SHARE, storage);
        let (telemetry, shares) = (Telemetry::new(registry), Shares::new(&config));
        let engine = Engine { config, cpu, split, telemetry, shares };
        Self { inner: Arc::new(Inner { engine, partials, tag_values, limits, views }) }
    }

    /// All spans of a trace; none is an empty answer. `range` is a hint where to look.
    pub async fn trace_by_id(
        &self,
        tenants: impl Into<Tenants>,
        id: TraceId,
        range: Option<TimeRange>,
    ) -> Result<TraceAnswer, Error> {
        let tenants = &tenants.into();
        let answer = async |budget| {
            let sources = self.sources(tenants).await?;
            trace_by_id::trace_by_id(&self.inner.engine, budget, sources, id, range, None).await
        };
        self.ask(QueryLog::trace(tenants, id, range, None), answer).await
    }

    /// The spans of a trace that are of a subset.
    pub async fn spans_of_trace(
        &self,
        tenants: impl Into<Tenants>,
        id: TraceId,
        range: Option<TimeRange>,
        subset: SpanSubset,
    ) -> Result<TraceAnswer, Error> {
        let tenants = &tenants.into();
        let question = QueryLog::trace(tenants, id, range, Some(&subset));
        let answer = async |budget| {
            let sources = self.sources(tenants).await?;
            trace_by_id::trace_by_id(&self.inner.engine, budget, sources, id, range, Some(&subset)).await
        };
        self.ask(question, answer).await
    }

    /// How large a trace is given whole.
    pub fn max_bytes_per_trace(&self) -> usize {
        self.inner.engine.config.max_bytes_per_trace
    }

    /// The newest traces that match, newest first.
    ///
    /// While the search runs, `certain` is told twice a second at most which entries are certain and what was read so far.
    /// Its traces only ever grow, and the answer begins with them, unchanged. Telling waits for nobody.
    pub async fn search(
        &self,
        tenants: impl Into<Tenants>,
        request: SearchRequest,
        certain: Option<&watch::Sender<SearchAnswer>>,
    ) -> Result<SearchAnswer, Error> {
        let tenants = &tenants.into();
        let answer = async |budget| {
            let sources = self.sources(tenants).await?;
            search::search(&self.inner.engine, budget, sources, &request, certain).await
        };
        self.ask(QueryLog::search(tenants, &request), answer).await
    }

    /// Numbers over time of the spans that match.
    pub async fn metrics(&self, tenants: impl Into<Tenants>, request: MetricsRequest) -> Result<MetricsAnswer, Error> {
        let tenants = &tenants.into();
        let answer = async |budget| {
            metrics::metrics(&self.inner.engine, &self.inner.partials, budget, self.sources(tenants).await?, &request)
                .await
        };
        self.ask(QueryLog::metrics(tenants, &request), answer).await
    }

    /// What `summarize` makes of the traces of a range, each as a whole.
    pub async fn summarize<S: Summarize>(
        &self,
        tenants: impl Into<Tenants>,
        request: SummaryRequest,
        summarize: Arc<S>,
    ) -> Result<SummaryAnswer<S::Summary>, Error> {
        let tenants = &tenants.into();
        let answer = async |budget| {
            summary::summarize(&self.inner.engine, budget, self.sources(tenants).await?, &request, &summarize).await
        };
        self.ask(QueryLog::summary(tenants, &request), answer).await
    }

    /// Names of tags by scope.
    pub async fn tag_names(&self, tenants: impl Into<Tenants>, request: TagNamesRequest) -> Result<TagNames, Error> {
        let tenants = &tenants.into();
        let answer =
            async |budget| tags::tag_names(&self.inner.engine, budget, self.sources(tenants).await?, &request).await;
        self.ask(QueryLog::tag_names(tenants, &request), answer).await
    }

    /// Values of a tag.
    pub async fn tag_values(&self, tenants: impl Into<Tenants>, request: TagValuesRequest) -> Result<TagValues, Error> {
        let tenants = &tenants.into();
        let answer = async |budget| {
            tags::tag_values(&self.inner.engine, &self.inner.tag_values, budget, self.sources(tenants).await?, &request)
                .await
        };
        self.ask(QueryLog::tag_values(tenants, &request), answer).await
    }

    async fn sources(&self, tenants: &Tenants) -> Result<Vec<Arc<dyn Source>>, Error> {
        let of_tenant = async |tenant: TenantId| {
            let sources = self.inner.views.view(&tenant).await?.sources;
            if !sources.is_empty() {
                self.inner.engine.telemetry.has_data(&tenant);
            }
            Ok(sources)
        };
        tenants::sources(tenants, of_tenant).await
    }

    /// Waits for the answer up to the deadline. However the question ends, it is counted and logged.
    async fn ask<T: Answer, F: Future<Output = Result<T, Error>>>(
        &self,
        question: QueryLog,
        answer: impl Fn(Arc<Budget>) -> F,
    ) -> Result<T, Error> {
        let Engine { config, shares, telemetry, .. } = &self.inner.engine;
        let limits = self.inner.limits.of_query(question.tenants());
        let budget = Budget::new(config, shares, question.tenants().first(), limits);
        let span = question.span();
        let objective = config.objectives.of(question.operation());
        let running = QueryGuard::start(question, budget.clone(), objective, telemetry.clone());
        let _cancel = budget.cancellation.on_drop();
        let deadline = config.max_query_time;
        let answer = tokio::time::timeout(deadline, in_turn(&budget, answer)).instrument(span).await;
        let answer = answer.unwrap_or_else(|_| Err(budget.out_of_time(deadline)));
        running.ended(&answer);
        answer
    }
}

/// Answers; a query that turns out to be a scan begins again when it has the place of one.
async fn in_turn<T, F: Future<Output = Result<T, Error>>>(
    budget: &Arc<Budget>,
    answer: impl Fn(Arc<Budget>) -> F,
) -> Result<T, Error> {
    match answer(budget.clone()).await {
        Err(Error::MustWaitInLine) => {
            budget.wait_in_line().await;
            answer(budget.clone()).await
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests;
