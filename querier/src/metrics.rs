//! The read path of `/api/metrics/query_range` and `/api/metrics/query`.
//!
//! ```text
//! compile ─▶ plan ─▶ prune, open, read filter columns, evaluate ─▶ rows ─▶ measured columns ─▶ measure ─▶ merge
//!                    └───────────────────── each row group of each source ─────────────────────┘        │
//!                                                  answer ◀─ second stages ◀─ series of the answer ◀────┘
//! ```
//!
//! A span counts in the interval that it starts in. Each row group gives numbers by series and interval, which are merged
//! in the order of the sources, so that the same data gives the same sums to the last digit. What looks at the trace as a
//! whole is found and measured on whole traces, wherever several sources have parts of one.

mod accumulators;
#[cfg(feature = "testing")]
pub mod aggregation;
mod aggregator;
mod arithmetic;
mod by_trace;
mod cache;
mod compare;
mod elsewhere;
mod exemplars;
mod finish;
mod group_codes;
mod limits;
mod measured;
mod partial_series;
mod quantile;
mod query;
mod rolled_up;
mod row_group;
mod second_stage;
mod split;
mod timeline;
mod unread;
mod values;
mod weights;

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use hashbrown::HashSet;
use model::TraceId;
use storage::source::Source;
use traceql::{MetricsExpr, Query};

use self::by_trace::ResourcesByService;
use self::cache::{MeasuredTraces, PartialKey, deleted_in};
pub(crate) use self::cache::{PartialCache, partial_cache};
pub(crate) use self::elsewhere::do_job;
use self::finish::UnreadSpan;
pub(crate) use self::query::MetricsQuery;
use self::query::{PartialAggregate, exemplars_of};
use self::row_group::SourceScan;
use self::split::Split;
use crate::answer::{MetricsAnswer, Series, Value};
use crate::cancellation::sorted_by_key;
use crate::engine::Engine;
use crate::engine::budget::{Budget, Held};
use crate::engine::concurrent::try_in_order;
use crate::engine::prune::Pruned;
use crate::engine::scan::OpenSource;
use crate::engine::sources::QuerySources;
use crate::error::Error;
use crate::intervals::Intervals;
use crate::lock::locked;
use crate::metrics::limits::Limits;
use crate::request::MetricsRequest;

/// Sources that are measured together: enough to keep all cores at work while the others wait for their bytes.
const SOURCES_AT_ONCE: usize = 16;

/// Answers what is asked of metrics over a consistent set of sources.
pub(crate) async fn metrics(
    engine: &Engine,
    partials: &PartialCache,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &MetricsRequest,
) -> Result<MetricsAnswer, Error> {
    match &request.query {
        MetricsExpr::Query(query) => of_query(engine, partials, budget, sources, query, request).await,
        _ => arithmetic::answer(engine, partials, budget, sources, request).await,
    }
}

/// Answers one query of those that a request has.
async fn of_query(
    engine: &Engine,
    partials: &PartialCache,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    asked: &Query,
    request: &MetricsRequest,
) -> Result<MetricsAnswer, Error> {
    let intervals = request.intervals;
    let measuring = MetricsRun::new(engine, partials, budget, sources, asked, (intervals, request.max_exemplars))?;
    let query = measuring.query.clone();
    // A filter that is false whatever the spans are has no series at all if it looks at none of their fields, as in Tempo.
    let partial = match query.matcher.is_never() {
        true if query.matcher.projection().is_empty() => {
            return measuring.answer(Vec::new(), Vec::new(), request).await;
        }
        true => query.aggregator.nothing(&intervals, &measuring.limits),
        false => measuring.measure().await?,
    };
    let finish = move || {
        let (series, unread) = query.aggregator.finish(partial, &intervals);
        (second_stage::apply(&query.second_stages, in_order(series)), unread)
    };
    let (series, unread) = measuring.sources.run(finish).await?;
    measuring.answer(series, unread, request).await
}

/// A metrics query, while it runs.
struct MetricsRun<'a> {
    sources: QuerySources<'a>,
    partials: &'a PartialCache,
    /// What the answer has of it.
    remembered: Mutex<Vec<PartialKey>>,
    /// The memory of what is measured of all sources.
    held: Mutex<Held>,
    text: Arc<str>,
    query: Arc<MetricsQuery>,
    intervals: Intervals,
    limits: Limits,
}

/// What was measured of a source, or of several where their order tells nothing.
struct MeasuredPart {
    /// Of the first of them.
    number: usize,
    partial: PartialAggregate,
    first_interval: usize,
    _held: Held,
}

impl<'a> MetricsRun<'a> {
    fn new(
        engine: &'a Engine,
        partials: &'a PartialCache,
        budget: Arc<Budget>,
        sources: Vec<Arc<dyn Source>>,
        asked: &Query,
        (intervals, max_exemplars): (Intervals, usize),
    ) -> Result<Self, Error> {
        let query = Arc::new(MetricsQuery::of(asked)?);
        let limits = Limits {
            max_samples: engine.config.max_metrics_samples,
            max_exemplars: exemplars_of(asked, max_exemplars),
            exemplar_labels: query.labels.clone(),
            cancellation: budget.cancellation.clone(),
        };
        Ok(Self {
            held: Mutex::new(budget.hold(0)?),
            text: asked.to_string().into(),
            partials,
            remembered: Mutex::default(),
            sources: QuerySources::new(engine, budget, sources, intervals.time_range()),
            query,
            intervals,
            limits,
        })
    }
}

impl MetricsRun<'_> {
    async fn measure(&self) -> Result<PartialAggregate, Error> {
        let split = self.split_traces().await?;
        let mut partial = self.query.aggregator.nothing(&self.intervals, &self.limits);
        self.measure_split(&split, &mut partial).await?;
        let dealt = self.sources.engine.spread.deal(self.sources.in_range().collect(), elsewhere::DEALT_TOGETHER).await;
        match dealt.as_slice() {
            // all that is here, in no more memory than what is under way takes
            [run] if run.parts.is_empty() => {
                let sources = run.here.iter().map(|source| self.measure_part(*source, &split).boxed()).collect();
                try_in_order(SOURCES_AT_ONCE, sources, |part| self.merge(part, &mut partial)).await?;
            }
            runs => {
                let work = runs.iter().map(|run| self.measure_run(run, &split).boxed()).collect();
                let merge = |measured: Vec<MeasuredPart>| {
                    measured.into_iter().try_for_each(|part| self.merge(part, &mut partial))
                };
                try_in_order(elsewhere::RUNS_AT_ONCE, work, merge).await?;
            }
        }
        Ok(partial)
    }

    /// What one source has, held until it is merged.
    async fn measure_part(
        &self,
        (number, source): (usize, &Arc<dyn Source>),
        split: &Split,
    ) -> Result<MeasuredPart, Error> {
        let (partial, first_interval) = self.measure_source(source, split.of_source(source.block_id())).await?;
        let (partial, held) = self.hold(partial)?;
        Ok(MeasuredPart { number, partial, first_interval, _held: held })
    }

    fn merge(&self, part: MeasuredPart, all: &mut PartialAggregate) -> Result<(), Error> {
        all.merge(part.partial, part.first_interval)?;
        self.query.aggregator.note(all);
        locked(&self.held).resize(all.memory_bytes())
    }

    /// Holds the memory of what was measured until it is merged.
    fn hold(&self, partial: PartialAggregate) -> Result<(PartialAggregate, Held), Error> {
        let held = self.sources.budget.hold(partial.memory_bytes())?;
        Ok((partial, held))
    }

    /// What one source has, and which of all intervals its first is. Of a block that lies in the range whole, that is
    /// remembered.
    async fn measure_source(
        &self,
        source: &Arc<dyn Source>,
        without: Arc<[TraceId]>,
    ) -> Result<(PartialAggregate, usize), Error> {
        let within = self.query.aggregator.within(&self.intervals, &source.time_range());
        let (intervals, first_interval) = within.unwrap_or((self.intervals, 0));
        let (block_id, partials) = (source.block_id(), self.partials);
        let key = within.filter(|_| !source.is_live()).map(|_| PartialKey {
            blocks: [block_id].into(),
            query: self.text.clone(),
            intervals,
            max_exemplars: self.limits.max_exemplars,
            traces: MeasuredTraces::Without(without.clone()),
            deleted: deleted_in(std::iter::once(source)),
        });
        if let Some(partial) = key.as_ref().and_then(|key| partials.get(key)) {
            self.sources.budget.count_source();
            locked(&self.remembered).extend(key);
            return Ok((PartialAggregate::Series(Arc::unwrap_or_clone(partial)), first_interval));
        }
        let without = without.iter().copied().collect();
        let partial = self.measure_readable(source, &without, &intervals).await?;
        if let (Some(key), PartialAggregate::Series(partial)) = (key, &partial)
            && !self.sources.budget.is_left_out(block_id)
        {
            locked(&self.remembered).push(key.clone());
            partials.insert(key, Arc::new(partial.clone()));
        }
        Ok((partial, first_interval))
    }

    /// A damaged source has nothing, and the answer says so.
    async fn measure_readable(
        &self,
        source: &Arc<dyn Source>,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<PartialAggregate, Error> {
        let measured = self.sources.budget.if_readable(source.block_id(), self.scan(source, split, intervals)).await?;
        Ok(measured.unwrap_or_else(|| self.query.aggregator.nothing(intervals, &self.limits)))
    }

    async fn scan(
        &self,
        source: &Arc<dyn Source>,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<PartialAggregate, Error> {
        let mut partial = self.query.aggregator.nothing(intervals, &self.limits);
        let matcher = &self.query.matcher;
        let pruned = Pruned::ask(source.as_ref(), &matcher.conditions()).await?;
        if !pruned.leaves_nothing(matcher) {
            let source = OpenSource::open(source.clone()).await?;
            let mut groups = pruned.newest_groups(&source, matcher, &self.sources.range);
            if let Some(counted) = self.count_rolled_up(&source, &mut groups, split, intervals).await? {
                partial.merge(counted, 0)?;
            }
            let counts = self.query.by_trace.filter(|_| !source.source.is_live());
            let resources = counts.map(|_| ResourcesByService::of(&source.dimensions.resources)).transpose()?.flatten();
            let counts = counts.zip(resources.map(Arc::new));
            let scan = &SourceScan { source: &source, pruned: &pruned, split, intervals, counts };
            let (budget, block_id) = (&self.sources.budget, source.source.block_id());
            let measure = |group| {
                let measure = self.measure_group(scan, group);
                async move {
                    budget.if_readable(block_id, measure).await?.flatten().map(|partial| self.hold(partial)).transpose()
                }
                .boxed()
            };
            let mut held = budget.hold(partial.memory_bytes())?;
            let merge = |of_group: Option<(PartialAggregate, Held)>| {
                let Some((of_group, _held)) = of_group else { return Ok(()) };
                partial.merge(of_group, 0)?;
                self.query.aggregator.note(&partial);
                held.resize(partial.memory_bytes())
            };
            let groups = groups.into_iter().map(measure).collect();
            try_in_order(self.sources.engine.config.max_concurrent_reads, groups, merge).await?;
        }
        self.sources.budget.count_source();
        Ok(partial)
    }

    async fn answer(
        &self,
        mut series: Vec<Series>,
        unread: Vec<UnreadSpan>,
        request: &MetricsRequest,
    ) -> Result<MetricsAnswer, Error> {
        let mut partial = match self.sources.budget.left_out() {
            0 => None,
            sources => Some(format!("{sources} blocks could not be read, a partial response is returned")),
        };
        series.iter_mut().for_each(|series| self.settle_exemplars(series));
        if let Some(too_many) = limit(&mut series, request.max_series, self.limits.max_exemplars) {
            partial = Some(too_many);
        }
        self.read_exemplars(unread, &mut series).await?;
        Ok(MetricsAnswer { intervals: self.intervals, series, metrics: self.sources.budget.spent(), partial })
    }

    /// Exemplars of samples that are gone go too; those of counts take the value of the series.
    fn settle_exemplars(&self, series: &mut Series) {
        let values = &series.values;
        series.exemplars.retain_mut(|exemplar| {
            let sample = self.intervals.of(exemplar.start_nanos).map_or(f64::NAN, |interval| values[interval]);
            if exemplar.value.is_nan() {
                exemplar.value = sample;
            }
            !sample.is_nan()
        });
    }
}

/// Leaves out the series and exemplars that are too many, and says so of series.
fn limit(series: &mut Vec<Series>, max_series: Option<usize>, max_exemplars: usize) -> Option<String> {
    let too_many = max_series.filter(|max| series.len() > *max);
    series.truncate(too_many.unwrap_or(usize::MAX));
    let mut room = max_exemplars;
    for series in series {
        series.exemplars.truncate(room);
        room -= series.exemplars.len();
    }
    // the words are Tempo's
    too_many.map(|max| {
        format!(
            "Response exceeds maximum series limit of {max}, a partial response is returned. Warning: the accuracy of \
             each individual value is not guaranteed."
        )
    })
}

/// Fewer labels first, then by their names, then by the texts of their values.
fn in_order(series: Vec<Series>) -> Vec<Series> {
    sorted_by_key(series, |series| {
        let (names, values): (Vec<String>, Vec<(String, String)>) =
            series.labels.iter().map(|(name, value)| (name.clone(), (text(value), format!("{value:?}")))).unzip();
        (names.len(), names, values)
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Array(_) => String::new(),
    }
}

#[cfg(test)]
mod tests;
