//! Exemplars whose spans were not read when they were counted: read in the end, when those that are not in the answer are
//! gone. What is read is remembered with what blocks gave.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use hashbrown::HashMap;
use model::BlockId;
use storage::source::{Source, TraceAt};

use super::MetricsRun;
use super::cache::PartialKey;
use super::exemplars::{Candidate, TraceInBlock};
use super::finish::UnreadSpan;
use super::measured::MeasuredRows;
use super::partial_series::PartialSeries;
use super::query::{MetricsQuery, PartialAggregate};
use crate::answer::Series;
use crate::engine::concurrent::try_all;
use crate::engine::scan::{OpenSource, Rows, Run};
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::intervals::Intervals;
use crate::lock::locked;
use crate::metrics::limits::Limits;
use crate::series::SeriesKey;

/// Spans that were read, by their series and their traces.
type ReadSpans = HashMap<UnreadSpan, Candidate>;

/// Of each series of a trace its first span.
type OfTrace = Vec<(SeriesKey, Candidate)>;

impl MetricsRun<'_> {
    /// Reads the spans of exemplars that are not read. One that cannot be read is left out.
    pub(super) async fn read_exemplars(&self, unread: Vec<UnreadSpan>, series: &mut [Series]) -> Result<(), Error> {
        let numbers = series.iter().flat_map(|series| &series.exemplars).filter_map(|exemplar| exemplar.unread);
        let mut traces: BTreeMap<(BlockId, usize), Vec<usize>> = BTreeMap::new();
        for number in numbers {
            let TraceInBlock { block_id, at } = unread[number].trace;
            traces.entry((block_id, at.group)).or_default().push(at.trace);
        }
        if traces.is_empty() {
            return Ok(());
        }
        let by_id: HashMap<BlockId, &Arc<dyn Source>> =
            self.sources.all.iter().map(|source| (source.block_id(), source)).collect();
        let read = |((block_id, group), traces): ((BlockId, usize), Vec<usize>)| {
            let source = by_id.get(&block_id).map(|source| (*source).clone());
            async move {
                let Some(source) = source else { return Ok(Vec::new()) };
                let read = self.read_first_spans(source, group, traces);
                Ok(self.sources.budget.if_readable(block_id, read).await?.unwrap_or_default())
            }
            .boxed()
        };
        let concurrency = self.sources.engine.config.max_concurrent_reads;
        let read = try_all(concurrency, traces.into_iter().map(read).collect()).await?;
        let read: ReadSpans = read.into_iter().flatten().collect();
        for series in series {
            series.exemplars.retain_mut(|exemplar| {
                let Some(number) = exemplar.unread.take() else { return true };
                let Some(found) = read.get(&unread[number]) else { return false };
                (exemplar.start_nanos, exemplar.labels) = (found.start_nanos, found.labels.clone());
                if !found.value.is_nan() {
                    exemplar.value = found.value;
                }
                true
            });
            series.exemplars.sort_by_key(|exemplar| (exemplar.start_nanos, exemplar.trace_id));
        }
        self.remember(&read);
        Ok(())
    }

    /// The first span of each series in some traces of a row group.
    async fn read_first_spans(
        &self,
        source: Arc<dyn Source>,
        group: usize,
        mut traces: Vec<usize>,
    ) -> Result<Vec<(UnreadSpan, Candidate)>, Error> {
        traces.sort_unstable();
        traces.dedup();
        let block_id = source.block_id();
        let source = OpenSource::open(source).await?;
        let _turn = self.sources.turn().await?;
        let group = source.group(group).await?;
        let mut columns = self.query.projection(&self.limits);
        columns.merge(&self.query.matcher.projection());
        let fetched = group.fetch_only(&traces, &columns).await?.of_known_spans();
        let (query, intervals, limits) = (self.query.clone(), self.intervals, self.limits.clone());
        let budget = self.sources.budget.clone();
        let measure = move || {
            let rows = fetched.decode(&budget)?;
            let mut found = Vec::new();
            for (&trace, of_trace) in traces.iter().zip(first_spans(&query, &rows, &traces, &intervals, &limits)?) {
                let place = TraceInBlock { block_id, at: TraceAt { group: group.number, trace } };
                found.extend(of_trace.into_iter().map(|(key, span)| (UnreadSpan { trace: place, key }, span)));
            }
            Ok(found)
        };
        self.sources.run(measure).await?
    }

    /// Keeps what was read for the next time that the same is asked.
    fn remember(&self, read: &ReadSpans) {
        for key in std::mem::take(&mut *locked(&self.remembered)) {
            if let Some(known) = self.partials.get(&key).filter(|known| known.exemplars.is_any_unread()) {
                let mut partial = Arc::unwrap_or_clone(known);
                if partial.note_read(read, &key) {
                    self.partials.insert(key, Arc::new(partial));
                }
            }
        }
    }
}

impl PartialSeries {
    /// Notes spans that were read; whether any is of this part.
    fn note_read(&mut self, read: &ReadSpans, of: &PartialKey) -> bool {
        let (keys, mut is_any) = (self.set.keys(), false);
        for (series, candidate) in self.exemplars.candidates() {
            let Some(trace) = candidate.unread.filter(|trace| of.blocks.contains(&trace.block_id)) else { continue };
            let Some(found) = read.get(&UnreadSpan { trace, key: keys[series].clone() }) else { continue };
            (candidate.start_nanos, candidate.value) = (found.start_nanos, found.value);
            candidate.labels = found.labels.clone();
            candidate.unread = None;
            is_any = true;
        }
        is_any
    }
}

/// For each trace the first span of each of its series.
fn first_spans(
    query: &MetricsQuery,
    rows: &Rows,
    traces: &[usize],
    intervals: &Intervals,
    limits: &Limits,
) -> Result<Vec<OfTrace>, Error> {
    let decided = query.matcher.on_dimensions(&rows.table)?;
    let runs = rows.runs(traces)?;
    let of_run = |run: &Run| -> Result<OfTrace, Error> {
        let selected = match query.matcher.select(&rows.table, std::slice::from_ref(run), &decided)? {
            SelectedSpans::All => SelectedSpans::Mask(rows.mask(std::slice::from_ref(run))),
            selected => selected,
        };
        let measured = MeasuredRows::read(&rows.table, &selected);
        let PartialAggregate::Series(mut partial) = query.aggregator.measure(&measured, intervals, limits)? else {
            return Ok(Vec::new());
        };
        let keys = partial.set.keys();
        let mut first: HashMap<usize, Candidate> = HashMap::new();
        for (series, candidate) in partial.exemplars.candidates() {
            first.entry(series).or_insert_with(|| candidate.clone());
        }
        Ok(first.into_iter().map(|(series, candidate)| (keys[series].clone(), candidate)).collect())
    };
    runs.iter().map(of_run).collect()
}
