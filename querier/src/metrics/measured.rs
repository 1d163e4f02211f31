//! The spans that are measured, and the interval that each falls into.

use arrow::array::{ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use spans::SpanTable;
use spans::schema::{column, trace_column};

use super::intervals::Intervals;
use crate::error::Error;
use crate::mask;

/// The columns that [`Measured::of`] reads.
pub(super) const TIME_COLUMNS: [&str; 2] = [column::TRACE, column::START_OFFSET_NANOS];

/// Spans of a batch that start in some interval. The vectors are parallel.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Rows of the batch.
    pub rows: Vec<u32>,
    pub intervals: Vec<u32>,
    pub start_nanos: Vec<u64>,
}

impl Measured {
    /// Those of `rows` whose start falls into an interval.
    pub fn of(table: &SpanTable, rows: &[u32], intervals: &Intervals) -> Result<Self, Error> {
        let starts = primitive::<UInt64Type>(&table.traces, trace_column::START_NANOS)?.values();
        let traces = primitive::<UInt32Type>(&table.spans, column::TRACE)?.values();
        let offsets = primitive::<Int64Type>(&table.spans, column::START_OFFSET_NANOS)?.values();
        let mut measured = Self::default();
        for &row in rows {
            let trace = traces[row as usize] as usize;
            let trace_start = *starts.get(trace).ok_or_else(|| Error::damaged(column::TRACE))?;
            let start_nanos = trace_start.wrapping_add(offsets[row as usize] as u64);
            if let Some(interval) = intervals.of(start_nanos) {
                measured.rows.push(row);
                measured.intervals.push(interval as u32);
                measured.start_nanos.push(start_nanos);
            }
        }
        Ok(measured)
    }

    /// Keeps the spans for which `keep` is true; it is asked for the row.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let kept: Vec<bool> = self.rows.iter().map(|&row| keep(row)).collect();
        retain(&mut self.rows, &kept);
        retain(&mut self.intervals, &kept);
        retain(&mut self.start_nanos, &kept);
    }

    /// The rows, as a mask over a batch.
    pub fn mask(&self, span_count: usize) -> BooleanBuffer {
        mask::of_rows(span_count, self.rows.iter().map(|&row| row as usize))
    }
}

fn retain<T>(values: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    values.retain(|_| kept.next().copied().unwrap_or(false));
}

pub(super) fn primitive<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, Error> {
    spans::column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| Error::damaged(name))
}
