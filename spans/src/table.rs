//! The span table: one shape for live data, for what is written to a block and for what is read from it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{UInt32Type, UInt64Type};
use model::{TimeRange, TraceId};

use crate::error::Error;
use crate::schema::{column as schema_column, trace_column};

/// Spans with their dimensions; see [`crate::schema`] for columns and order. Cheap to clone.
///
/// `spans` may have attribute columns beside the `attributes` list, and may lack columns that were not asked for.
#[derive(Debug, Clone)]
pub struct SpanTable {
    pub spans: RecordBatch,
    pub traces: RecordBatch,
    pub resources: RecordBatch,
    pub scopes: RecordBatch,
}

impl SpanTable {
    pub fn span_count(&self) -> usize {
        self.spans.num_rows()
    }

    pub fn trace_count(&self) -> usize {
        self.traces.num_rows()
    }

    /// Numbers rows anew, where `spans` holds the spans of the rows of `traces`, in their order, and no others.
    ///
    /// # Errors
    /// [`Error::Damaged`] when there are more or fewer spans than the traces have.
    pub fn renumbered(self) -> Result<Self, Error> {
        let (mut first_rows, mut traces_of_spans) = (Vec::with_capacity(self.trace_count()), Vec::new());
        for (trace, &count) in u32s(&self.traces, trace_column::SPAN_COUNT)?.iter().enumerate() {
            first_rows.push(traces_of_spans.len() as u32);
            traces_of_spans.extend(std::iter::repeat_n(trace as u32, count as usize));
        }
        if traces_of_spans.len() != self.span_count() {
            return Err(Error::damaged("the traces have another number of spans"));
        }
        Ok(Self {
            spans: replace(&self.spans, schema_column::TRACE, traces_of_spans)?,
            traces: replace(&self.traces, trace_column::FIRST_ROW, first_rows)?,
            ..self
        })
    }

    /// Consecutive traces as a table of their own; resources and scopes stay whole.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the traces refer to rows that do not exist.
    pub fn slice_traces(&self, traces: Range<usize>) -> Result<Self, Error> {
        let view = self.traces()?;
        let ends = traces.clone().next().zip(traces.clone().next_back());
        let rows = ends.map_or(0..0, |(first, last)| view.span_rows(first).start..view.span_rows(last).end);
        if rows.start > rows.end || rows.end > self.span_count() {
            return Err(Error::damaged("a trace's rows do not exist"));
        }
        let (spans, traces) = (self.spans.slice(rows.start, rows.len()), self.traces.slice(traces.start, traces.len()));
        Self { spans, traces, ..self.clone() }.renumbered()
    }

    /// The table with some of its traces, ascending. Spans of the others stay, and no trace refers to them: for
    /// [`crate::join`], which leaves them out, or [`Self::without_others`].
    ///
    /// # Errors
    /// An error of Arrow's when a row of `traces` does not exist.
    pub fn with_traces(&self, rows: Vec<u32>) -> Result<Self, Error> {
        Ok(Self { traces: take_record_batch(&self.traces, &UInt32Array::from(rows))?, ..self.clone() })
    }

    /// As [`with_traces`](Self::with_traces), without the spans before the first and behind the last of these traces.
    /// Nothing of what stays is copied.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the traces refer to rows that do not exist.
    pub fn slice_with_traces(&self, rows: Vec<u32>) -> Result<Self, Error> {
        let table = self.with_traces(rows)?;
        let view = table.traces()?;
        let all = (0..view.len()).map(|trace| view.span_rows(trace));
        let rows = all.reduce(|all, rows| all.start.min(rows.start)..all.end.max(rows.end)).unwrap_or(0..0);
        if rows.end > self.span_count() {
            return Err(Error::damaged("a trace's rows do not exist"));
        }
        let first_rows = view.first_rows.iter().map(|row| row - rows.start as u32).collect();
        let traces = replace(&table.traces, trace_column::FIRST_ROW, first_rows)?;
        Ok(Self { spans: self.spans.slice(rows.start, rows.len()), traces, ..table })
    }

    /// A copy without the spans that no trace refers to.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the traces refer to rows that do not exist.
    pub fn without_others(&self) -> Result<Self, Error> {
        let view = self.traces()?;
        let rows = (0..view.len()).flat_map(|trace| view.span_rows(trace)).map(|row| row as u32);
        let spans = take_record_batch(&self.spans, &UInt32Array::from_iter_values(rows))?;
        Self { spans, ..self.clone() }.renumbered()
    }

    /// # Errors
    /// [`Error::Damaged`] when a column is missing or has another type.
    pub fn traces(&self) -> Result<Traces<'_>, Error> {
        Traces::of(&self.traces)
    }

    /// From the earliest start to the latest end of a span; `None` for an empty table.
    pub fn time_range(&self) -> Result<Option<TimeRange>, Error> {
        let traces = self.traces()?;
        Ok((0..self.trace_count()).map(|row| traces.time_range(row)).reduce(|all, one| all.union(&one)))
    }
}

/// Typed view of a `traces` batch.
#[derive(Clone, Copy)]
pub struct Traces<'a> {
    ids: &'a FixedSizeBinaryArray,
    start_nanos: &'a [u64],
    end_nanos: &'a [u64],
    first_rows: &'a [u32],
    span_counts: &'a [u32],
}

impl<'a> Traces<'a> {
    /// # Errors
    /// [`Error::Damaged`] when a column is missing or has another type.
    pub fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        Ok(Self {
            ids: column(batch, trace_column::TRACE_ID)?
                .as_fixed_size_binary_opt()
                .ok_or_else(|| wrong_type(trace_column::TRACE_ID))?,
            start_nanos: u64s(batch, trace_column::START_NANOS)?,
            end_nanos: u64s(batch, trace_column::END_NANOS)?,
            first_rows: u32s(batch, trace_column::FIRST_ROW)?,
            span_counts: u32s(batch, trace_column::SPAN_COUNT)?,
        })
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn id(&self, row: usize) -> TraceId {
        let mut id = [0; 16];
        id.copy_from_slice(self.ids.value(row));
        TraceId(id)
    }

    pub fn start_nanos(&self, row: usize) -> u64 {
        self.start_nanos[row]
    }

    /// Rows among which are all traces that start in the range, its ends included: where rows come newest first no others, else all.
    pub fn rows_starting_in(&self, range: &TimeRange) -> Range<usize> {
        if !self.start_nanos.is_sorted_by(|one, next| one >= next) {
            return 0..self.len();
        }
        let first = self.start_nanos.partition_point(|&start| start > range.end_nanos);
        let end = self.start_nanos.partition_point(|&start| start >= range.start_nanos);
        first..end.max(first)
    }

    pub fn end_nanos(&self, row: usize) -> u64 {
        self.end_nanos[row]
    }

    pub fn time_range(&self, row: usize) -> TimeRange {
        TimeRange::new(self.start_nanos[row], self.end_nanos[row])
    }

    /// The rows of a trace in `spans`.
    pub fn span_rows(&self, row: usize) -> Range<usize> {
        let first = self.first_rows[row] as usize;
        first..first + self.span_counts[row] as usize
    }
}

/// The batch with another column of that name.
///
/// # Errors
/// [`Error::Damaged`] when there is no such column; an error of Arrow's when it is not one of row numbers.
pub fn replace(batch: &RecordBatch, name: &str, values: Vec<u32>) -> Result<RecordBatch, Error> {
    let at = batch.schema_ref().index_of(name).map_err(|_| Error::damaged(format!("column {name} is missing")))?;
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(UInt32Array::from(values));
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The column of that name.
pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    batch.column_by_name(name).ok_or_else(|| Error::damaged(format!("column {name} is missing")))
}

/// The values of a column of row numbers or counts.
///
/// # Errors
/// [`Error::Damaged`] when it is missing or has another type.
pub fn u32s<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [u32], Error> {
    Ok(column(batch, name)?.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong_type(name))?.values())
}

fn u64s<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [u64], Error> {
    Ok(column(batch, name)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| wrong_type(name))?.values())
}

pub(crate) fn wrong_type(name: &str) -> Error {
    Error::damaged(format!("column {name} has another type"))
}
