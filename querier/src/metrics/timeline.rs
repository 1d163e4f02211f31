//! When the spans of a batch start: runs of rows that fall into one interval.
//!
//! The spans of a trace are one run of rows, and often all of them start in one interval: then its start and its end say
//! so. Traces stand in the order of time, so such runs are long, and what is done for each run costs nothing a span.

use std::ops::Range;

use arrow::array::{ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, UInt32Type};
use model::TraceId;
use spans::schema::column;
use spans::{SpanTable, Traces};

use crate::error::Error;
use crate::intervals::{IntervalCursor, Intervals};
use crate::mask;

/// The columns that [`Timeline::of`] reads.
pub(super) const TIME_COLUMNS: [&str; 2] = [column::TRACE, column::START_OFFSET_NANOS];

/// The spans of a batch by the interval that they start in. Spans that start in none are left out.
pub(super) struct Timeline<'a> {
    traces: Traces<'a>,
    trace_of_span: &'a [u32],
    start_offset_nanos: &'a [i64],
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
    pub fn of(table: &'a SpanTable, intervals: &Intervals) -> Result<Self, Error> {
        let mut timeline = Self {
            traces: Traces::of(&table.traces)?,
            trace_of_span: primitive::<UInt32Type>(&table.spans, column::TRACE)?.values(),
            start_offset_nanos: primitive::<Int64Type>(&table.spans, column::START_OFFSET_NANOS)?.values(),
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
        let (start_nanos, end_nanos) = (self.traces.start_nanos(trace), self.traces.end_nanos(trace));
        if let (Some(first), Some(last)) = (cursor.of(start_nanos), cursor.of(end_nanos))
            && first == last
        {
            return self.add_rows(rows, first);
        }
        for row in rows {
            if let Some(interval) = cursor.of(start_nanos.wrapping_add(self.start_offset_nanos[row] as u64)) {
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

    pub fn start_nanos(&self, row: usize) -> u64 {
        let trace_start_nanos = self.traces.start_nanos(self.trace_of_span[row] as usize);
        trace_start_nanos.wrapping_add(self.start_offset_nanos[row] as u64)
    }

    /// The rows that fall into some interval.
    pub fn mask(&self) -> BooleanBuffer {
        mask::of_ranges(self.trace_of_span.len(), self.runs.iter().map(|run| run.rows.clone()))
    }
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
        let timeline = Timeline::of(&table, &intervals).unwrap();
        // newest first
        assert_eq!(timeline.intervals, 1..3);
        let run = |rows, interval| IntervalRun { rows, interval };
        assert_eq!(timeline.runs(), [run(1..2, 1), run(2..3, 0), run(3..4, 1), run(4..6, 0)]);
        let of_traces: Vec<_> = timeline.runs_of_traces().collect();
        assert_eq!(of_traces, [(1, run(1..2, 1)), (2, run(2..3, 0)), (2, run(3..4, 1)), (3, run(4..6, 0))]);
        assert_eq!(timeline.start_nanos(3), START + 1001 * MS);
        assert_eq!(timeline.mask().set_indices().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
