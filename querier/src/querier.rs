//! [`Querier`]: the questions that can be asked, each with its deadline and its count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use model::{TenantId, TimeRange, TraceId};
use prometheus_client::registry::Registry;
use storage::CpuPool;
use storage::source::Source;
use tokio::sync::watch;

use crate::answer::{MetricsAnswer, QueryMetrics, SearchAnswer, TagNames, TagValues, TraceAnswer};
use crate::config::Config;
use crate::error::Error;
use crate::request::{MetricsRequest, SearchRequest, TagNamesRequest, TagValuesRequest};
use crate::telemetry::{Operation, Telemetry};
use crate::{metrics, search, tags, trace_by_id};

/// Where a tenant's spans lie: live data and blocks, a consistent snapshot each time it is asked.
pub type Sources =
    Arc<dyn Fn(&TenantId) -> BoxFuture<'static, Result<Vec<Arc<dyn Source>>, storage::Error>> + Send + Sync>;

/// Answers questions about stored traces. Cheap to clone.
///
/// Dropping a future of its methods ends the work, but for what already runs on the CPU pool.
#[derive(Clone)]
pub struct Querier {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Config,
    pub cpu: CpuPool,
    sources: Sources,
    telemetry: Telemetry,
}

/// The mutexes of a query guard plain values that are whole at every moment.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Querier {
    pub fn new(config: Config, sources: Sources, cpu: CpuPool, registry: &mut Registry) -> Self {
        let telemetry = Telemetry::new(registry);
        Self { inner: Arc::new(Inner { config, cpu, sources, telemetry }) }
    }

    /// All spans of a trace; none is an empty answer. `range` is a hint where to look.
    pub async fn trace_by_id(
        &self,
        tenant: &TenantId,
        id: TraceId,
        range: Option<TimeRange>,
    ) -> Result<TraceAnswer, Error> {
        let answer = async {
            let sources = self.sources(tenant).await?;
            trace_by_id::trace_by_id(&self.inner, sources, id, range).await
        };
        self.ask(Operation::Traces, tenant, |answer: &TraceAnswer| answer.metrics, answer).await
    }

    /// The newest traces that match, newest first.
    ///
    /// While the search runs, `certain` is told twice a second at most which entries are certain and what was read so far.
    /// Its traces only ever grow, and the answer begins with them, unchanged. Telling waits for nobody.
    pub async fn search(
        &self,
        tenant: &TenantId,
        request: SearchRequest,
        certain: Option<&watch::Sender<SearchAnswer>>,
    ) -> Result<SearchAnswer, Error> {
        let answer = async { search::search(&self.inner, self.sources(tenant).await?, &request, certain).await };
        self.ask(Operation::Search, tenant, |answer: &SearchAnswer| answer.metrics, answer).await
    }

    /// Numbers over time of the spans that match.
    pub async fn metrics(&self, tenant: &TenantId, request: MetricsRequest) -> Result<MetricsAnswer, Error> {
        let answer = async { metrics::metrics(&self.inner, self.sources(tenant).await?, &request).await };
        self.ask(Operation::Metrics, tenant, |answer: &MetricsAnswer| answer.metrics, answer).await
    }

    /// Names of tags by scope.
    pub async fn tag_names(&self, tenant: &TenantId, request: TagNamesRequest) -> Result<TagNames, Error> {
        let answer = async { tags::tag_names(&self.inner, self.sources(tenant).await?, &request).await };
        self.ask(Operation::Metadata, tenant, |answer: &TagNames| answer.metrics, answer).await
    }

    /// Values of a tag.
    pub async fn tag_values(&self, tenant: &TenantId, request: TagValuesRequest) -> Result<TagValues, Error> {
        let answer = async { tags::tag_values(&self.inner, self.sources(tenant).await?, &request).await };
        self.ask(Operation::Metadata, tenant, |answer: &TagValues| answer.metrics, answer).await
    }

    async fn sources(&self, tenant: &TenantId) -> Result<Vec<Arc<dyn Source>>, Error> {
        Ok((self.inner.sources)(tenant).await?)
    }

    /// Waits for the answer up to the deadline, and counts the question.
    async fn ask<T>(
        &self,
        operation: Operation,
        tenant: &TenantId,
        metrics: fn(&T) -> QueryMetrics,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let guard = self.inner.telemetry.start(operation, tenant);
        let deadline = self.inner.config.max_query_time();
        let answer = tokio::time::timeout(deadline, answer).await.map_err(|_| Error::Timeout(deadline))?;
        guard.completed(&answer.as_ref().map(metrics).unwrap_or_default());
        answer
    }
}
