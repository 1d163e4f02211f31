//! Counting spans by what blocks say of whole row groups: how many spans of each service, name, kind and status they have,
//! roots or not, how long those take, and in which second they start ([`storage::rollup`]). That answers queries which look at
//! nothing else of a span, for row groups in which no interval ends within a second, or whatever their slots are.
//!
//! The rows become a table in the shape of spans ([`kinds`]), each of which stands for several and has a trace of its own; they
//! are found and measured as spans are.

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use hashbrown::HashSet;
use model::TraceId;
use storage::rollup::{self, CountedAt, Slots, SlotsAt};
use storage::source::{Dimensions, RowGroup, TraceAt};
use traceql::Query;

use super::MetricsRun;
use super::aggregator::SeriesAggregator;
use super::measured::{MeasuredRows, Places};
use super::query::{MetricsQuery, PartialAggregate};
use super::timeline::StartOffsets;
use crate::engine::kinds::{self, HeldRollup};
use crate::engine::scan::{OpenSource, Run};
use crate::engine::selection::SelectedSpans;
use crate::error::Error;
use crate::intervals::Intervals;

/// Whether what a query counts can be counted by rollups.
pub(super) fn is_told_by_rollups(query: &Query, aggregator: &SeriesAggregator) -> bool {
    let Some(filter) = query.span_filter() else { return false };
    kinds::tells(filter.filter) && aggregator.counts_by().is_some_and(|mut by| by.all(kinds::tells_field))
}

impl MetricsRun<'_> {
    /// Counts the spans of row groups whose slots lie in one interval each, where the source has rolled them up, and leaves the
    /// others. `split` are traces that are measured elsewhere.
    pub(super) async fn count_rolled_up(
        &self,
        source: &OpenSource,
        groups: &mut Vec<usize>,
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Option<PartialAggregate>, Error> {
        let mut told = self.groups_told(source, groups, split, intervals).await?;
        if told.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let Some(held) = HeldRollup::of(source, &self.sources.budget).await? else { return Ok(None) };
        for (group, slots) in told.iter_mut().enumerate() {
            if held.rollup.rows_of(group).is_empty() {
                slots.clear();
            }
        }
        let (inside, left): (Vec<usize>, _) = groups.iter().partition(|group| !told[**group].is_empty());
        if inside.is_empty() {
            return Ok(None);
        }
        *groups = left;
        let traces = inside.into_iter().map(|group| source.row_group(group).traces.len());
        self.sources.budget.count_traces(traces.sum());
        let (query, intervals, limits) = (self.query.clone(), *intervals, self.limits.clone());
        let (dimensions, block_id) = (source.dimensions.clone(), source.source.block_id());
        let count = move || {
            let rollup = &held.rollup;
            let wanted = matching(&query, rollup.rows(), &dimensions)?;
            let CountedAt { rows, spans, times, with_trace } = CountedAt::of(rollup, &wanted, &told)?;
            let at = places(&rows)?;
            let table = kinds::table_of(&rows, times, &dimensions)?;
            let rows = MeasuredRows {
                start_offsets: StartOffsets::OfTraces(Vec::new()),
                spans_of_rows: Some(&spans),
                places: Some(Places::OfTraces { block_id, at: &at, with_span: &with_trace }),
                ..MeasuredRows::read(&table, &SelectedSpans::All)
            };
            query.aggregator.measure(&rows, &intervals, &limits)
        };
        self.sources.run(count).await?.map(Some)
    }

    /// By number of the row group its slots, and when they count; none for those that are not counted by a rollup.
    async fn groups_told(
        &self,
        source: &OpenSource,
        groups: &[usize],
        split: &HashSet<TraceId>,
        intervals: &Intervals,
    ) -> Result<Vec<Vec<SlotsAt>>, Error> {
        let mut told = vec![Vec::new(); source.dimensions.row_groups.len()];
        if !self.query.is_rolled_up {
            return Ok(told);
        }
        for &group in groups {
            told[group] = slots_in(source.row_group(group), intervals).unwrap_or_default();
        }
        if !split.is_empty() && told.iter().any(|slots| !slots.is_empty()) {
            let split: Vec<TraceId> = split.iter().copied().collect();
            let parts = source.source.find_traces(&split).await?;
            parts.into_iter().for_each(|part| told[part.at.group].clear());
        }
        Ok(told)
    }
}

/// The slots of a row group by the interval in which they lie; `None` when an interval ends within a slot.
fn slots_in(group: &RowGroup, intervals: &Intervals) -> Option<Vec<SlotsAt>> {
    let mut all: Vec<(Option<usize>, SlotsAt)> = Vec::new();
    for times in Slots::of(group.time_range.start_nanos, group.last_start_nanos).times() {
        let interval = intervals.of(*times.start());
        if interval != intervals.of(*times.end()) {
            return None;
        }
        match all.last_mut().filter(|(before, _)| *before == interval) {
            Some((_, together)) => together.slots += 1,
            None => all.push((interval, SlotsAt { slots: 1, time: interval.map(|_| *times.start()) })),
        }
    }
    Some(all.into_iter().map(|(_, slots)| slots).collect())
}

/// The rows that match.
fn matching(query: &MetricsQuery, rows: &RecordBatch, dimensions: &Dimensions) -> Result<BooleanBuffer, Error> {
    let table = kinds::table_of(rows, vec![0; rows.num_rows()], dimensions)?;
    let all = Run { trace: 0, rows: 0..table.span_count(), first_row: 0 };
    let decided = query.matcher.on_dimensions(&table)?;
    Ok(query.matcher.select(&table, &[all], &decided)?.mask(table.span_count()))
}

/// Where the trace of each row lies.
fn places(rows: &RecordBatch) -> Result<Vec<TraceAt>, Error> {
    let (groups, traces) = (spans::u32s(rows, rollup::column::GROUP)?, spans::u32s(rows, rollup::column::TRACE)?);
    let at = |(&group, &trace): (&u32, &u32)| TraceAt { group: group as usize, trace: trace as usize };
    Ok(groups.iter().zip(traces).map(at).collect())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use model::TimeRange;

    use super::*;

    #[test]
    fn slots_are_told_where_no_interval_ends_within_one() {
        const SECOND: u64 = 1_000_000_000;
        let group = |first: u64, last: u64| RowGroup {
            spans: 0..1,
            traces: 0..1,
            time_range: TimeRange::new(first, last + SECOND),
            last_start_nanos: last,
            most_trace_spans: 1,
        };
        let intervals = |from: u64, to: u64, step: u64| {
            Intervals::of_range(TimeRange::new(from, to), NonZeroU64::new(step).unwrap())
        };
        let first = 1000 * SECOND + 7;
        let told = |to: u64, intervals| slots_in(&group(first, to), &intervals);
        let at = |slots: usize, time: Option<u64>| SlotsAt { slots, time };
        // 1000 to 1001, to 1002, to 1003 seconds
        let last = 1002 * SECOND + 5;
        let of_two = vec![at(2, Some(first)), at(1, Some(1002 * SECOND + 1))];
        assert_eq!(told(last, intervals(990 * SECOND, 1010 * SECOND, 2 * SECOND)), Some(of_two));
        assert_eq!(told(last, intervals(900 * SECOND, 1100 * SECOND, 100 * SECOND)), Some(vec![at(3, Some(first))]));
        // the range ends between them
        let until = intervals(990 * SECOND, 1001 * SECOND, SECOND);
        assert_eq!(told(last, until), Some(vec![at(1, Some(first)), at(2, None)]));
        // an interval ends within a second, one within ten
        assert_eq!(told(last, intervals(990 * SECOND, 1010 * SECOND, SECOND / 2)), None);
        assert_eq!(told(1400 * SECOND, intervals(990 * SECOND, 1500 * SECOND, 15 * SECOND)), None);
        assert!(told(1400 * SECOND, intervals(990 * SECOND, 1500 * SECOND, 60 * SECOND)).is_some());
    }
}
