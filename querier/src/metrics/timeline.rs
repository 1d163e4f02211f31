//! When the spans of a batch start: runs of rows that fall into one interval.
//!
//! The spans of a trace are one run of rows, and often all of them start in one interval: then its start and its end say
//! so. Traces stand in the order of time, so such runs are long, and what is done for each run costs nothing a span. When
//! spans start need then not even be read but for the other traces ([`StartOffsets`]).

use std::ops::Range;

use arrow::array::{ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, UInt32Type};
use model::TraceId;
use spans::schema::column;
use spans::{SpanTable, Traces};

use crate::error::Error;
use crate::intervals::{IntervalCursor, Intervals};
use crate::mask;

/// The columns that [`Timeline::of`] reads, the second only of [`StartOffsets::InTable`].
pub(super) const TIME_COLUMNS: [&str; 2] = [column::TRACE, column::START_OFFSET_NANOS];

/// How long after their traces spans start.
pub(crate) enum StartOffsets {
    /// The table has them all.
    InTable,
    /// Of all spans of some traces, ascending: those that lie in one interval need none, and others without are left out.
    OfTraces(Vec<(usize, Int64Array)>),
}

/// The spans of a batch by the interval that they start in. Spans that start in none are left out.
pub(super) struct Timeline<'a> {
    traces: Traces<'a>,
    trace_of_span: &'a [u32],
    start_offsets: KnownOffsets<'a>,
    /// Where the run of rows of each trace ends.
    trace_ends: Vec<u32>,
    runs: Vec<IntervalRun>,
    /// From the first interval of a span to behind the last.
    pub intervals: Range<usize>,
}

/// Rows one after another that fall into one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IntervalRun {
    pub rows: Range<usize>,
    /// Its number among [`Timeline::intervals`].
    pub interval: usize,
}

impl<'a> Timeline<'a> {
    /// # Errors
    /// [`Error::Damaged`] when a column is missing, has another type, or names a trace that does not exist.
    pub fn of(table: &'a SpanTable, start_offsets: &'a StartOffsets, intervals: &Intervals) -> Result<Self, Error> {
        let mut timeline = Self {
            traces: Traces::of(&table.traces)?,
            trace_of_span: primitive::<UInt32Type>(&table.spans, column::TRACE)?.values(),
            start_offsets: match start_offsets {
                StartOffsets::InTable => {
                    KnownOffsets::All(primitive::<Int64Type>(&table.spans, column::START_OFFSET_NANOS)?.values())
                }
                StartOffsets::OfTraces(of_traces) => KnownOffsets::OfTraces(of_traces),
            },
            trace_ends: Vec::new(),
            runs: Vec::new(),
            intervals: 0..0,
        };
        timeline.find_runs(intervals)?;
        Ok(timeline)
    }

    fn find_runs(&mut self, intervals: &Intervals) -> Result<(), Error> {
        let mut cursor = intervals.cursor();
        for of_trace in self.trace_of_span.chunk_by(|trace, next| trace == next) {
            let trace = of_trace[0] as usize;
            if trace >= self.traces.len() {
                return Err(Error::damaged(column::TRACE));
            }
            let start = self.trace_ends.last().map_or(0, |&end| end as usize);
            let end = start + of_trace.len();
            self.trace_ends.push(end as u32);
            self.add_trace(trace, start..end, &mut cursor);
        }
        let numbers = || self.runs.iter().map(|run| run.interval);
        self.intervals = numbers().min().unwrap_or(0)..numbers().max().map_or(0, |last| last + 1);
        let first = self.intervals.start;
        self.runs.iter_mut().for_each(|run| run.interval -= first);
        Ok(())
    }

    /// No span starts before its trace or after the end of it.
    fn add_trace(&mut self, trace: usize, rows: Range<usize>, cursor: &mut IntervalCursor) {
        if let Some(interval) = interval_of(&self.traces, trace, cursor) {
            return self.add_rows(rows, interval);
        }
        let offsets = self.start_offsets.of(trace, &rows).unwrap_or_default();
        let start_nanos = self.traces.start_nanos(trace);
        for (row, &offset_nanos) in rows.zip(offsets) {
            if let Some(interval) = cursor.of(start_nanos.wrapping_add(offset_nanos as u64)) {
                self.add_rows(row..row + 1, interval);
            }
        }
    }

    fn add_rows(&mut self, rows: Range<usize>, interval: usize) {
        match self.runs.last_mut().filter(|last| last.interval == interval && last.rows.end == rows.start) {
            Some(last) => last.rows.end = rows.end,
            None => self.runs.push(IntervalRun { rows, interval }),
        }
    }

    pub fn runs(&self) -> &[IntervalRun] {
        &self.runs
    }

    /// The runs, cut where a trace ends and another begins, each with its trace.
    pub fn runs_of_traces(&self) -> impl Iterator<Item = (usize, IntervalRun)> {
        let (mut run, mut trace_run, mut start) = (0, 0, 0);
        std::iter::from_fn(move || {
            let IntervalRun { rows, interval } = self.runs.get(run)?;
            start = rows.start.max(start);
            while self.trace_ends[trace_run] as usize <= start {
                trace_run += 1;
            }
            let end = rows.end.min(self.trace_ends[trace_run] as usize);
            let piece = IntervalRun { rows: start..end, interval: *interval };
            start = end;
            run += usize::from(end == rows.end);
            Some((self.trace_of_span[piece.rows.start] as usize, piece))
        })
    }

    pub fn traces(&self) -> Traces<'a> {
        self.traces
    }

    pub fn trace_id(&self, row: usize) -> TraceId {
        self.traces.id(self.trace_of_span[row] as usize)
    }

    /// When a span starts; `None` when that was not read, and its trace lies in one interval.
    pub fn start_nanos(&self, row: usize) -> Option<u64> {
        let trace = self.trace_of_span[row] as usize;
        let first_row = || match self.trace_ends.partition_point(|&end| end as usize <= row) {
            0 => 0,
            run => self.trace_ends[run - 1] as usize,
        };
        let offset_nanos = match self.start_offsets {
            KnownOffsets::All(offsets) => *offsets.get(row)?,
            KnownOffsets::OfTraces(_) => *self.start_offsets.of_trace(trace)?.get(row - first_row())?,
        };
        Some(self.traces.start_nanos(trace).wrapping_add(offset_nanos as u64))
    }

    /// The trace of a span, among those of its row group.
    pub fn trace(&self, row: usize) -> usize {
        self.trace_of_span[row] as usize
    }

    /// The rows that fall into some interval.
    pub fn mask(&self) -> BooleanBuffer {
        mask::of_ranges(self.trace_of_span.len(), self.runs.iter().map(|run| run.rows.clone()))
    }
}

/// The offsets that were read.
#[derive(Clone, Copy)]
enum KnownOffsets<'a> {
    All(&'a [i64]),
    OfTraces(&'a [(usize, Int64Array)]),
}

impl<'a> KnownOffsets<'a> {
    /// Those of a trace, which has these rows.
    fn of(self, trace: usize, rows: &Range<usize>) -> Option<&'a [i64]> {
        match self {
            Self::All(offsets) => offsets.get(rows.clone()),
            Self::OfTraces(_) => self.of_trace(trace).filter(|offsets| offsets.len() == rows.len()),
        }
    }

    fn of_trace(self, trace: usize) -> Option<&'a [i64]> {
        let Self::OfTraces(of_traces) = self else { return None };
        let at = of_traces.binary_search_by_key(&trace, |(trace, _)| *trace).ok()?;
        Some(of_traces[at].1.values())
    }
}

/// The interval that all spans of a trace start in; `None` when they may start in several, or outside of all.
fn interval_of(traces: &Traces<'_>, trace: usize, cursor: &mut IntervalCursor) -> Option<usize> {
    let (first, last) = (cursor.of(traces.start_nanos(trace))?, cursor.of(traces.end_nanos(trace))?);
    (first == last).then_some(first)
}

/// Divides traces into those that lie in one interval, and those of whose spans it must be known when they start.
pub(super) fn by_extent(traces: &Traces<'_>, all: &[usize], intervals: &Intervals) -> (Vec<usize>, Vec<usize>) {
    let mut cursor = intervals.cursor();
    all.iter().copied().partition(|&trace| interval_of(traces, trace, &mut cursor).is_some())
}

pub(super) fn primitive<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, Error> {
    spans::column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| Error::damaged(name))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use model::TimeRange;

    use super::*;
    use crate::testing::{MS, START, service, span, table};

    #[test]
    fn spans_fall_into_the_interval_that_they_start_in() {
        let spans = vec![
            span(3, 1, 0, "early", 100, 10),
            span(3, 2, 1, "early", 105, 1),
            span(2, 1, 0, "over a border", 995, 10),
            span(2, 2, 1, "over a border", 1001, 1),
            span(1, 1, 0, "late", 1500, 10),
            span(4, 1, 0, "after all", 3000, 10),
        ];
        let table = table(vec![service("s", spans)]);
        let second = NonZeroU64::new(1000 * MS).unwrap();
        let intervals = Intervals::of_range(TimeRange::new(START + MS, START + 2000 * MS), second);
        let timeline = Timeline::of(&table, &StartOffsets::InTable, &intervals).unwrap();
        // newest first
        assert_eq!(timeline.intervals, 1..3);
        let run = |rows, interval| IntervalRun { rows, interval };
        assert_eq!(timeline.runs(), [run(1..2, 1), run(2..3, 0), run(3..4, 1), run(4..6, 0)]);
        let of_traces: Vec<_> = timeline.runs_of_traces().collect();
        assert_eq!(of_traces, [(1, run(1..2, 1)), (2, run(2..3, 0)), (2, run(3..4, 1)), (3, run(4..6, 0))]);
        assert_eq!(timeline.start_nanos(3), Some(START + 1001 * MS));
        assert_eq!(timeline.mask().set_indices().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);

        // only the trace over a border must be known in detail
        let traces = table.traces().unwrap();
        assert_eq!(by_extent(&traces, &[1, 2, 3], &intervals), (vec![1, 3], vec![2]));
        let offsets = StartOffsets::OfTraces(vec![(2, Int64Array::from(vec![0, 6 * MS as i64]))]);
        let others = Timeline::of(&table, &offsets, &intervals).unwrap();
        assert_eq!((others.runs(), &others.intervals), (timeline.runs(), &timeline.intervals));
        let starts = [1, 2, 3, 4].map(|row| others.start_nanos(row));
        assert_eq!(starts, [None, Some(START + 995 * MS), Some(START + 1001 * MS), None]);
    }
}
