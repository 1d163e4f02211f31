//! [`Querier`]: the questions that can be asked, each with its deadline, its count and its line in the log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use model::limits::TenantLimits;
use model::{TenantId, Tenants, TimeRange, TraceId};
use prometheus_client::registry::Registry;
use storage::CpuPool;
use storage::source::Source;
use storage::view::{Reach, Views};
use tokio::sync::watch;
use tracing::Instrument;

use crate::answer::{Answer, MetricsAnswer, SearchAnswer, SummaryAnswer, TagNames, TagValues, TraceAnswer};
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::budget::Budget;
use crate::engine::spread::JobSources;
use crate::error::Error;
use crate::jobs::message::{Job, JobAnswer};
use crate::jobs::{SpreadPolicy, Workers, unreadable};
use crate::lock::locked;
use crate::metrics::{PartialCache, partial_cache};
use crate::query_log::{QueryGuard, QueryLog};
use crate::request::{
    MetricsRequest, SearchRequest, SpanPruning, SpanSubset, SummaryRequest, TagNamesRequest, TagValuesRequest,
};
use crate::summary::{self, Summarize};
use crate::tags::{ValuesCache, values_cache};
use crate::{metrics, search, tags, tenants, trace_by_id};

/// Values of tags may take one in so many bytes of what is kept of metrics.
const TAG_VALUES_SHARE: u64 = 4;

/// How often a query begins with a new view at the most.
const MOST_VIEWS: usize = 3;

/// The answer to come. Boxed: as the future of an async function it would be compiled, with all that it calls, by each crate
/// that waits for it (`docs/decisions/0035-the-first-build.md`).
pub type Asked<'q, T> = BoxFuture<'q, Result<T, Error>>;

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
        let tag_values = values_cache(config.metrics_cache_max_bytes / TAG_VALUES_SHARE, storage);
        let engine = Engine::new(config, cpu, storage, registry);
        Self { inner: Arc::new(Inner { engine, partials, tag_values, limits, views }) }
    }

    /// From now on large queries are looked at by other processes, too. Only the first call counts.
    pub fn spread_over(&self, workers: Arc<dyn Workers>, policy: SpreadPolicy) {
        self.inner.engine.spread.over(workers, policy);
    }

    /// Does a job for another process; `sources` are its blocks. It has the limits of a query of its tenants.
    ///
    /// # Errors
    /// Those of a query, and [`Error::Damaged`] for what is no job.
    pub fn do_job<'q>(&'q self, job: &'q Job, sources: Vec<Arc<dyn Source>>) -> Asked<'q, JobAnswer> {
        Box::pin(self.run_job(job, sources))
    }

    async fn run_job(&self, job: &Job, sources: Vec<Arc<dyn Source>>) -> Result<JobAnswer, Error> {
        let Engine { config, shares, telemetry, .. } = &self.inner.engine;
        let tenants: Vec<&str> = job.blocks.iter().map(|block| block.tenant.as_str()).collect();
        let tenants = Tenants::parse(&tenants.join("|")).map_err(|_| unreadable())?;
        let limits = self.inner.limits.of_query(&tenants);
        let budget = Budget::new(config, shares, tenants.first(), limits);
        let _cancel = budget.cancellation.on_drop();
        let answer = async |budget: Arc<Budget>| {
            let (engine, partials, sources) = (&self.inner.engine, &self.inner.partials, JobSources(sources.clone()));
            match (&job.search, &job.metrics) {
                (Some(search), None) => search::do_job(engine, budget, &sources, job, search).await,
                (None, Some(metrics)) => metrics::do_job(engine, partials, budget, &sources, job, metrics).await,
                _ => Err(unreadable()),
            }
        };
        let deadline = config.max_query_time;
        let answer = tokio::time::timeout(deadline, in_turn(&budget, answer)).await;
        let answer = answer.unwrap_or_else(|_| Err(budget.out_of_time(deadline)))?;
        telemetry.job_done();
        Ok(answer)
    }

    /// All spans of a trace; none is an empty answer. `range` is a hint where to look.
    pub fn trace_by_id(
        &self,
        tenants: impl Into<Tenants>,
        id: TraceId,
        range: Option<TimeRange>,
    ) -> Asked<'_, TraceAnswer> {
        self.ask_for_trace(tenants.into(), id, range, None, None)
    }

    /// The spans of a trace that are of a subset, similar ones as one if that is asked for.
    pub fn spans_of_trace(
        &self,
        tenants: impl Into<Tenants>,
        id: TraceId,
        range: Option<TimeRange>,
        subset: Option<SpanSubset>,
        pruning: Option<SpanPruning>,
    ) -> Asked<'_, TraceAnswer> {
        self.ask_for_trace(tenants.into(), id, range, subset, pruning)
    }

    fn ask_for_trace(
        &self,
        tenants: Tenants,
        id: TraceId,
        range: Option<TimeRange>,
        subset: Option<SpanSubset>,
        pruning: Option<SpanPruning>,
    ) -> Asked<'_, TraceAnswer> {
        Box::pin(async move {
            let question = QueryLog::trace(&tenants, id, range, subset.as_ref());
            let answer = async |budget: Arc<Budget>| {
                let sources = self.sources(&budget, &tenants, Reach::Trace(id)).await?;
                let (subset, pruning) = (subset.as_ref(), pruning.clone());
                trace_by_id::trace_by_id(&self.inner.engine, budget, sources, id, range, subset, pruning).await
            };
            self.ask(question, answer).await
        })
    }

    /// How large a trace is given whole.
    pub fn max_bytes_per_trace(&self) -> usize {
        self.inner.engine.config.max_bytes_per_trace
    }

    /// The newest traces that match, newest first.
    ///
    /// While the search runs, `certain` is told twice a second at most which entries are certain and what was read so far.
    /// Its traces only ever grow, and the answer begins with them, unchanged. Telling waits for nobody.
    pub fn search<'q>(
        &'q self,
        tenants: impl Into<Tenants>,
        request: SearchRequest,
        certain: Option<&'q watch::Sender<SearchAnswer>>,
    ) -> Asked<'q, SearchAnswer> {
        self.ask_search(tenants.into(), request, certain)
    }

    fn ask_search<'q>(
        &'q self,
        tenants: Tenants,
        request: SearchRequest,
        certain: Option<&'q watch::Sender<SearchAnswer>>,
    ) -> Asked<'q, SearchAnswer> {
        Box::pin(async move {
            let answer = async |budget: Arc<Budget>| {
                let sources = self.sources(&budget, &tenants, Reach::Everything).await?;
                let found = search::search(&self.inner.engine, budget, sources, &request, certain).await;
                found.map_err(|error| match error {
                    // what was told would not be the beginning of another answer
                    Error::MustBeginAgain(error)
                        if certain.is_some_and(|certain| !certain.borrow().traces.is_empty()) =>
                    {
                        Error::Storage(error)
                    }
                    error => error,
                })
            };
            self.ask(QueryLog::search(&tenants, &request), answer).await
        })
    }

    /// Numbers over time of the spans that match.
    pub fn metrics(&self, tenants: impl Into<Tenants>, request: MetricsRequest) -> Asked<'_, MetricsAnswer> {
        self.ask_metrics(tenants.into(), request)
    }

    fn ask_metrics(&self, tenants: Tenants, request: MetricsRequest) -> Asked<'_, MetricsAnswer> {
        Box::pin(async move {
            let answer = async |budget: Arc<Budget>| {
                let sources = self.sources(&budget, &tenants, Reach::Everything).await?;
                metrics::metrics(&self.inner.engine, &self.inner.partials, budget, sources, &request).await
            };
            self.ask(QueryLog::metrics(&tenants, &request), answer).await
        })
    }

    /// What `summarize` makes of the traces of a range, each as a whole.
    pub async fn summarize<S: Summarize>(
        &self,
        tenants: impl Into<Tenants>,
        request: SummaryRequest,
        summarize: Arc<S>,
    ) -> Result<SummaryAnswer<S::Summary>, Error> {
        let tenants = &tenants.into();
        let answer = async |budget: Arc<Budget>| {
            let sources = self.sources(&budget, tenants, Reach::Everything).await?;
            summary::summarize(&self.inner.engine, budget, sources, &request, &summarize).await
        };
        self.ask(QueryLog::summary(tenants, &request), answer).await
    }

    /// Names of tags by scope.
    pub fn tag_names(&self, tenants: impl Into<Tenants>, request: TagNamesRequest) -> Asked<'_, TagNames> {
        self.ask_tag_names(tenants.into(), request)
    }

    fn ask_tag_names(&self, tenants: Tenants, request: TagNamesRequest) -> Asked<'_, TagNames> {
        Box::pin(async move {
            let answer = async |budget: Arc<Budget>| {
                let sources = self.sources(&budget, &tenants, Reach::Everything).await?;
                tags::tag_names(&self.inner.engine, budget, sources, &request).await
            };
            self.ask(QueryLog::tag_names(&tenants, &request), answer).await
        })
    }

    /// Values of a tag.
    pub fn tag_values(&self, tenants: impl Into<Tenants>, request: TagValuesRequest) -> Asked<'_, TagValues> {
        self.ask_tag_values(tenants.into(), request)
    }

    fn ask_tag_values(&self, tenants: Tenants, request: TagValuesRequest) -> Asked<'_, TagValues> {
        Box::pin(async move {
            let answer = async |budget: Arc<Budget>| {
                let sources = self.sources(&budget, &tenants, Reach::Everything).await?;
                tags::tag_values(&self.inner.engine, &self.inner.tag_values, budget, sources, &request).await
            };
            self.ask(QueryLog::tag_values(&tenants, &request), answer).await
        })
    }

    async fn sources(&self, budget: &Budget, tenants: &Tenants, reach: Reach) -> Result<Vec<Arc<dyn Source>>, Error> {
        let reach = if budget.must_hold() && reach == Reach::Everything { Reach::Held } else { reach };
        let (missing, held_bytes) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        let of_tenant = async |tenant: TenantId| {
            let view = self.inner.views.view(&tenant, reach).await?;
            locked(&missing).extend(view.missing);
            held_bytes.fetch_add(view.held_bytes, Ordering::Relaxed);
            if !view.sources.is_empty() {
                self.inner.engine.telemetry.has_data(&tenant);
            }
            Ok(view.sources)
        };
        let sources = tenants::sources(tenants, of_tenant).await?;
        budget.lacks(locked(&missing).drain(..).collect());
        budget.hold_view(held_bytes.into_inner())?;
        Ok(sources)
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
        let mut answer = answer.unwrap_or_else(|_| Err(budget.out_of_time(deadline)));
        if let (Ok(answer), Some(lack)) = (&mut answer, budget.lack()) {
            answer.lacks(lack);
        }
        running.ended(&answer);
        answer
    }
}

/// Answers. A query that turns out to be a scan begins again when it has the place of one; so does one of whose sources live
/// rows of others were that could no longer be read, with the rows that are live then, and holds these.
async fn in_turn<T, F: Future<Output = Result<T, Error>>>(
    budget: &Arc<Budget>,
    answer: impl Fn(Arc<Budget>) -> F,
) -> Result<T, Error> {
    let mut views = 1;
    loop {
        match answer(budget.clone()).await {
            Err(Error::MustWaitInLine) => budget.wait_in_line().await,
            Err(Error::MustBeginAgain(_)) if views < MOST_VIEWS => {
                budget.set_must_hold();
                views += 1;
            }
            Err(Error::MustBeginAgain(error)) => return Err(Error::Storage(error)),
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests;
