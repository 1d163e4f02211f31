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
mod cache;
mod compare;
mod exemplars;
mod finish;
mod group_codes;
mod intervals;
mod meter;
mod quantile;
mod query;
mod second_stage;
mod timeline;
mod values;

use std::sync::Arc;

use futures::FutureExt;
use hashbrown::HashSet;
use model::TraceId;
use spans::SpanTable;
use storage::source::Source;

use self::cache::TallyKey;
pub(crate) use self::cache::{TallyCache, tally_cache};
pub use self::intervals::Intervals;
pub(crate) use self::query::MetricsQuery;
use self::query::{Limits, Tally, exemplars_of};
use crate::answer::{MetricsAnswer, Series, Value};
use crate::budget::Budget;
use crate::cancellation::Cancellation;
use crate::candidates::candidates;
use crate::concurrent::try_in_order;
use crate::error::Error;
use crate::finder::Decided;
use crate::prune::Pruned;
use crate::querier::Inner;
use crate::reading::Reading;
use crate::request::MetricsRequest;
use crate::scan::{GroupTraces, Opened, Run};
use crate::selection::SelectedSpans;

/// Sources that are measured together: enough to keep all cores at work while one waits for its bytes.
const SOURCES_AT_ONCE: usize = 4;

/// Answers a metrics query over a consistent set of sources.
pub(crate) async fn metrics(
    inner: &Inner,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &MetricsRequest,
) -> Result<MetricsAnswer, Error> {
    let query = Arc::new(MetricsQuery::of(&request.query)?);
    let intervals = request.intervals;
    let cancellation = Cancellation::default();
    let _cancel = cancellation.on_drop();
    let measuring = Measuring {
        text: request.query.to_string().into(),
        reading: Reading::new(inner, budget, sources, intervals.time_range()),
        query: query.clone(),
        intervals,
        limits: Limits {
            max_samples: inner.config.max_metrics_samples,
            max_exemplars: exemplars_of(&request.query, request.max_exemplars),
            cancellation,
        },
    };
    // A filter that is false whatever the spans are has no series at all if it looks at none of their fields, as in Tempo.
    let tally = match query.finder.is_never() {
        true if query.finder.projection().is_empty() => return Ok(measuring.answer(Vec::new(), request)),
        true => query.meter.nothing(&intervals, &measuring.limits),
        false => measuring.measure().await?,
    };
    let series = inner.cpu.run(move || in_order(query.meter.finish(tally, &intervals))).await?;
    Ok(measuring.answer(series, request))
}

/// A metrics query, while it runs.
struct Measuring<'a> {
    reading: Reading<'a>,
    text: Arc<str>,
    query: Arc<MetricsQuery>,
    intervals: Intervals,
    limits: Limits,
}

impl Measuring<'_> {
    async fn measure(&self) -> Result<Tally, Error> {
        let needs_whole = self.query.needs_whole_traces();
        let split = if needs_whole { self.reading.split_traces(&self.query.finder).await? } else { HashSet::new() };
        let mut tally = self.query.meter.nothing(&self.intervals, &self.limits);
        self.measure_split(&split, &mut tally).await?;
        let measure = |(_, source)| self.measure_source(source, &split).boxed();
        let sources = self.reading.in_range().map(measure).collect();
        let merge = |(of_source, first_interval)| tally.merge(of_source, first_interval);
        try_in_order(SOURCES_AT_ONCE, sources, merge).await?;
        Ok(tally)
    }

    /// What one source has, and which of all intervals its first is. Of a block that lies in the range whole, that is
    /// remembered.
    async fn measure_source(
        &self,
        source: &Arc<dyn Source>,
        split: &HashSet<TraceId>,
    ) -> Result<(Tally, usize), Error> {
        let counts_all = !self.query.needs_whole_traces();
        let within = counts_all.then(|| self.intervals.within(&source.time_range())).flatten();
        let (intervals, first_interval) = within.unwrap_or((self.intervals, 0));
        let (block_id, tallies) = (source.block_id(), &self.reading.inner.tallies);
        let (query, max_exemplars) = (self.text.clone(), self.limits.max_exemplars);
        let key = within.filter(|_| !source.is_live()).map(|_| TallyKey { block_id, query, intervals, max_exemplars });
        if let Some(tally) = key.as_ref().and_then(|key| tallies.get(key)) {
            self.reading.budget.count_source();
            return Ok((Tally::Series(Arc::unwrap_or_clone(tally)), first_interval));
        }
        let tally = self.measure_readable(source, split, &intervals).await?;
        if let (Some(key), Tally::Series(tally)) = (key, &tally)
            && !self.reading.budget.is_left_out(block_id)
        {
            tallies.insert(key, Arc::new(tally.clone()));
        }
        Ok((tally, first_interval))
    }

    /// A damaged source has nothing, and the answer says so.
    async fn measure_readable(
        &self,
        source: &Arc<dyn Source>,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Tally, Error> {
        let measured = self.reading.budget.if_readable(source.block_id(), self.scan(source, split, intervals)).await?;
        Ok(measured.unwrap_or_else(|| self.query.meter.nothing(intervals, &self.limits)))
    }

    async fn scan(
        &self,
        source: &Arc<dyn Source>,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Tally, Error> {
        let pruned = Pruned::ask(source.as_ref(), &self.query.finder.conditions()).await?;
        let tally = match pruned.leaves_nothing(&self.query.finder) {
            true => self.query.meter.nothing(intervals, &self.limits),
            false => self.scan_opened(Opened::open(source.clone()).await?, &pruned, split, intervals).await?,
        };
        self.reading.budget.count_source();
        Ok(tally)
    }

    async fn scan_opened(
        &self,
        opened: Opened,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Tally, Error> {
        let (finder, small_tables) = (self.query.finder.clone(), opened.small_tables());
        let decided = Arc::new(self.reading.inner.cpu.run(move || finder.on_dimensions(&small_tables)).await??);
        let traces = self.candidates(&opened, &decided, pruned, split)?;
        self.reading.budget.count_traces(traces.len());
        let mut tally = self.query.meter.nothing(intervals, &self.limits);
        let (budget, block_id) = (&self.reading.budget, opened.source.block_id());
        let measure = |group| {
            let measure = self.measure_group(&opened, &decided, group, intervals);
            async move { Ok(budget.if_readable(block_id, measure).await?.flatten()) }.boxed()
        };
        let groups = opened.by_group(traces)?.into_iter().map(measure).collect();
        let merge = |of_group: Option<Tally>| of_group.map_or(Ok(()), |of_group| tally.merge(of_group, 0));
        try_in_order(self.reading.inner.config.max_concurrent_reads, groups, merge).await?;
        Ok(tally)
    }

    /// Traces of a source that may have spans to measure, ascending.
    fn candidates(
        &self,
        opened: &Opened,
        decided: &Decided,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
    ) -> Result<Vec<usize>, Error> {
        let mut candidates = candidates(opened, &self.query.finder, decided, pruned, &self.reading.range)?;
        let traces = opened.traces()?;
        candidates.retain(|&trace| split.is_empty() || !split.contains(&traces.id(trace)));
        Ok(candidates)
    }

    async fn measure_group(
        &self,
        opened: &Opened,
        decided: &Arc<Decided>,
        mut wanted: GroupTraces,
        intervals: &Intervals,
    ) -> Result<Option<Tally>, Error> {
        let _turn = self.reading.turn().await?;
        let found = self.find(opened, decided, &mut wanted).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let columns = self.query.meter.projection();
        let rows = if self.query.meter.needs_whole_runs() {
            opened.read_only(&wanted, &columns).await?
        } else {
            opened.read_near(wanted.group, &found, &columns).await?
        };
        self.reading
            .budget
            .count_read(rows.bytes, if self.query.finder.decides_whole_traces() { found.len() } else { 0 })?;
        let (query, intervals, limits) = (self.query.clone(), *intervals, self.limits.clone());
        let measure = move || {
            let positions = found.into_iter().map(|row| Ok(rows.position(row)? as u32));
            let spans = selected(positions.collect::<Result<_, Error>>()?);
            query.meter.measure(&rows.table, &spans, &intervals, &limits)
        };
        Ok(Some(self.reading.inner.cpu.run(measure).await??))
    }

    /// The rows of the source that match; leaves in `wanted` only traces that may.
    async fn find(
        &self,
        opened: &Opened,
        decided: &Arc<Decided>,
        wanted: &mut GroupTraces,
    ) -> Result<Vec<usize>, Error> {
        let finder = self.query.finder.clone();
        if finder.decides_whole_traces() {
            let traces = opened.traces()?;
            return Ok(wanted.traces.iter().flat_map(|&trace| traces.span_rows(trace)).collect());
        }
        let Some(rows) = self.reading.read_candidates(&finder, decided, opened, wanted, |_| Ok(())).await? else {
            return Ok(Vec::new());
        };
        let (decided, traces) = (decided.clone(), wanted.traces.clone());
        let find = move || {
            let runs = rows.runs(&traces)?;
            finder.find_rows(&rows.table, &runs, &decided)
        };
        self.reading.inner.cpu.run(find).await?
    }

    /// Measures the traces that are put together first.
    async fn measure_split(&self, split: &HashSet<TraceId>, tally: &mut Tally) -> Result<(), Error> {
        let parts = self.reading.parts_of(split, &self.reading.range).await?;
        let mut ids: Vec<TraceId> = parts.by_trace.keys().copied().collect();
        ids.sort_unstable();
        for batch in parts.batches(&ids)? {
            let whole = self.reading.read_whole(&parts, ids[batch].iter().copied()).await?;
            let (query, intervals, limits) = (self.query.clone(), self.intervals, self.limits.clone());
            let measure = move || measure_table(&query, &whole.table, &intervals, &limits);
            tally.merge(self.reading.inner.cpu.run(measure).await??, 0)?;
        }
        Ok(())
    }

    fn answer(&self, series: Vec<Series>, request: &MetricsRequest) -> MetricsAnswer {
        let mut series = second_stage::apply(&self.query.second_stages, series);
        let mut partial = match self.reading.budget.left_out() {
            0 => None,
            sources => Some(format!("{sources} blocks could not be read, a partial response is returned")),
        };
        if let Some(max) = request.max_series.filter(|max| series.len() > *max) {
            series.truncate(max);
            // the words are Tempo's
            partial = Some(format!(
                "Response exceeds maximum series limit of {max}, a partial response is returned. Warning: the accuracy \
                 of each individual value is not guaranteed."
            ));
        }
        let mut room = self.limits.max_exemplars;
        for series in &mut series {
            self.settle_exemplars(series);
            series.exemplars.truncate(room);
            room -= series.exemplars.len();
        }
        MetricsAnswer { intervals: self.intervals, series, metrics: self.reading.budget.spent(), partial }
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

fn measure_table(
    query: &MetricsQuery,
    table: &SpanTable,
    intervals: &Intervals,
    limits: &Limits,
) -> Result<Tally, Error> {
    let decided = query.finder.on_dimensions(table)?;
    let found = query.finder.find_rows(table, &Run::all(table)?, &decided)?;
    let spans = selected(found.into_iter().map(|row| row as u32).collect());
    query.meter.measure(table, &spans, intervals, limits)
}

fn selected(mut rows: Vec<u32>) -> SelectedSpans {
    rows.sort_unstable();
    SelectedSpans::Rows(rows)
}

/// Fewer labels first, then by their names, then by the texts of their values.
fn in_order(mut series: Vec<Series>) -> Vec<Series> {
    series.sort_by_cached_key(|series| {
        let (names, values): (Vec<String>, Vec<(String, String)>) =
            series.labels.iter().map(|(name, value)| (name.clone(), (text(value), format!("{value:?}")))).unzip();
        (names.len(), names, values)
    });
    series
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
