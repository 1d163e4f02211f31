//! QuerySources traces from a source: open it once, open the row groups that matter, then read runs of their spans.
//!
//! Owns which rows are asked for and where they stand in what came back. Does not decide which traces are wanted.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Schema;
use model::TimeRange;
use spans::schema::trace_column;
use spans::{SpanTable, Traces};
use storage::coded::{CodedColumn, Coding, Codings};
use storage::cpu::Effort;
use storage::source::{Dimensions, Fetched, Projection, RowGroup, Source};

use crate::engine::budget::Budget;
use crate::error::Error;
use crate::mask;

/// A source that was opened. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OpenSource {
    pub source: Arc<dyn Source>,
    pub dimensions: Arc<Dimensions>,
}

/// A row group with its traces: a table of its own, without spans until some are read. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OpenGroup {
    pub source: OpenSource,
    pub number: usize,
    traces: RecordBatch,
}

/// Spans whose bytes are there.
pub(crate) struct FetchedRows {
    fetched: Fetched,
    group: OpenGroup,
    ranges: RowRanges,
    /// Whether other columns of these spans were counted before.
    is_known: bool,
}

/// Spans that were read.
pub(crate) struct Rows {
    /// `spans` holds the rows that were read; `traces` are those of the row group.
    pub table: SpanTable,
    /// Columns beside those of the table.
    pub coded: Vec<CodedColumn>,
    ranges: RowRanges,
}

/// Where the spans of a trace stand.
pub(crate) struct Run {
    /// Row of `traces`.
    pub trace: usize,
    /// Rows of the batch that was read.
    pub rows: Range<usize>,
    /// Row in the row group of the first span.
    pub first_row: usize,
}

/// One row in so many is few: to pick them out costs less than to decode the others with them.
const FEW_ROWS: usize = 16;

/// What takes some tens of microseconds: to look at so many traces of a row group, or live spans, which are not encoded …
const LITTLE_IN_MEMORY: usize = 8_192;
/// … and to decode and look at so many spans of so many bytes.
const LITTLE_ENCODED: usize = 2_048;
const LITTLE_ENCODED_BYTES: u64 = 64 << 10;

impl OpenSource {
    pub async fn open(source: Arc<dyn Source>) -> Result<Self, Error> {
        let dimensions = source.dimensions().await?;
        Ok(Self { source, dimensions })
    }

    /// The row groups with spans in a range, by number; those that end last come first.
    pub fn newest_groups(&self, range: &TimeRange) -> Vec<usize> {
        let groups = &self.dimensions.row_groups;
        let mut numbers: Vec<usize> =
            (0..groups.len()).filter(|&number| groups[number].time_range.overlaps(range)).collect();
        numbers.sort_by_key(|&number| std::cmp::Reverse(groups[number].time_range.end_nanos));
        numbers
    }

    pub fn row_group(&self, number: usize) -> &RowGroup {
        &self.dimensions.row_groups[number]
    }

    pub async fn group(&self, number: usize) -> Result<OpenGroup, Error> {
        let traces = self.source.traces(number).await?;
        let (found, expected) = (traces.num_rows(), self.row_group(number).traces.len());
        if found != expected {
            return Err(Error::damaged("number of traces"));
        }
        Ok(OpenGroup { source: self.clone(), number, traces })
    }
}

impl OpenGroup {
    pub fn traces(&self) -> Result<Traces<'_>, Error> {
        Ok(Traces::of(&self.traces)?)
    }

    /// Its place in the source.
    pub fn row_group(&self) -> &RowGroup {
        self.source.row_group(self.number)
    }

    /// What it takes to look at each of its traces.
    pub fn effort_of_traces(&self) -> Effort {
        Effort::little_if(self.traces.num_rows() <= LITTLE_IN_MEMORY)
    }

    /// The small tables around some spans.
    pub fn table(&self, spans: RecordBatch) -> SpanTable {
        let Dimensions { resources, scopes, .. } = &*self.source.dimensions;
        SpanTable { spans, traces: self.traces.clone(), resources: resources.clone(), scopes: scopes.clone() }
    }

    /// The same row group, whose traces say what each service contributed.
    pub async fn with_services(&self) -> Result<Self, Error> {
        if self.traces.column_by_name(trace_column::SERVICES).is_some() {
            return Ok(self.clone());
        }
        let services = self.source.source.services(self.number).await?;
        let field = spans::schema::traces().field_with_name(trace_column::SERVICES)?.clone();
        let fields = self.traces.schema_ref().fields().iter().cloned().chain([Arc::new(field)]);
        let columns = self.traces.columns().iter().cloned().chain([services]);
        let traces = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns.collect())?;
        Ok(Self { traces, ..self.clone() })
    }

    /// The small tables, without spans.
    pub fn small_tables(&self) -> SpanTable {
        self.table(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

    /// Fetches the spans of some traces (rows of `traces`, ascending), perhaps with others between them.
    pub async fn fetch(&self, traces: &[usize], columns: &Projection) -> Result<FetchedRows, Error> {
        let ranges = self.ranges(traces)?;
        let extent = ranges.extent();
        let ranges = if ranges.row_count() * 2 > extent.len() { RowRanges::merge([extent]) } else { ranges };
        self.fetch_ranges(ranges, columns).await
    }

    /// Fetches the spans of some traces (rows of `traces`, ascending), and no others.
    pub async fn fetch_only(&self, traces: &[usize], columns: &Projection) -> Result<FetchedRows, Error> {
        self.fetch_ranges(self.ranges(traces)?, columns).await
    }

    /// Fetches some rows, perhaps with others between them.
    pub async fn fetch_near(&self, rows: &[usize], columns: &Projection) -> Result<FetchedRows, Error> {
        let all = 0..self.row_group().spans.len();
        if rows.len() > all.len() / FEW_ROWS {
            return self.fetch_ranges(RowRanges::merge([all]), columns).await;
        }
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        self.fetch_rows(rows, columns).await
    }

    /// Fetches single rows, ascending.
    pub async fn fetch_rows(
        &self,
        rows: impl IntoIterator<Item = usize>,
        columns: &Projection,
    ) -> Result<FetchedRows, Error> {
        let ranges = RowRanges::merge(rows.into_iter().map(|row| row..row + 1));
        self.fetch_ranges(ranges, columns).await
    }

    fn ranges(&self, traces: &[usize]) -> Result<RowRanges, Error> {
        let view = self.traces()?;
        let ranges = RowRanges::merge(traces.iter().map(|&trace| view.span_rows(trace)));
        let is_inside = ranges.extent().end <= self.row_group().spans.len();
        if is_inside { Ok(ranges) } else { Err(Error::damaged("first_row")) }
    }

    async fn fetch_ranges(&self, ranges: RowRanges, columns: &Projection) -> Result<FetchedRows, Error> {
        let fetched = self.source.source.fetch(self.number, &ranges.ranges, columns).await?;
        Ok(FetchedRows { fetched, group: self.clone(), ranges, is_known: false })
    }
}

impl FetchedRows {
    /// More columns of spans that are counted already.
    pub fn of_known_spans(self) -> Self {
        Self { is_known: true, ..self }
    }

    /// What it takes to decode and to look at them.
    pub fn effort(&self) -> Effort {
        let is_live = self.group.source.source.is_live();
        let few = if is_live { LITTLE_IN_MEMORY } else { LITTLE_ENCODED };
        Effort::little_if(self.ranges.row_count() <= few && self.fetched.bytes <= LITTLE_ENCODED_BYTES)
    }

    /// Decodes and counts what was read: work for the pool, together with what is done with the rows.
    pub fn decode(self, budget: &Budget) -> Result<Rows, Error> {
        self.decode_coded(budget, &|_| Coding::InBatch)
    }

    /// The same, with some columns of attributes by code.
    pub fn decode_coded(self, budget: &Budget, coding: &Codings<'_>) -> Result<Rows, Error> {
        let Self { fetched, group, ranges, is_known } = self;
        let bytes = fetched.bytes;
        let (spans, coded) = fetched.decode_coded(coding)?;
        let table = group.table(spans);
        if table.span_count() != ranges.row_count() {
            return Err(Error::damaged("number of rows"));
        }
        match is_known {
            true => budget.count_read_again(bytes, &table)?,
            false => budget.count_read(bytes, &table)?,
        }
        budget.count_inspected(coded.iter().map(CodedColumn::memory_bytes).sum());
        Ok(Rows { table, coded, ranges })
    }
}

impl Run {
    /// The runs of a table that holds all spans of its traces.
    pub fn all(table: &SpanTable) -> Result<Vec<Self>, Error> {
        let traces = table.traces()?;
        let run = |trace: usize| {
            let rows = traces.span_rows(trace);
            if rows.end > table.span_count() {
                return Err(Error::damaged("first_row"));
            }
            Ok(Self { trace, first_row: rows.start, rows })
        };
        (0..traces.len()).map(run).collect()
    }

    /// The row in the row group of a row of the batch.
    pub fn in_group(&self, row: usize) -> usize {
        self.first_row + row - self.rows.start
    }
}

impl Rows {
    /// Where each trace stands that was asked for.
    pub fn runs(&self, traces: &[usize]) -> Result<Vec<Run>, Error> {
        let view = Traces::of(&self.table.traces)?;
        let run = |&trace: &usize| {
            let rows = view.span_rows(trace);
            let start = self.position(rows.start)?;
            Ok(Run { trace, rows: start..start + rows.len(), first_row: rows.start })
        };
        traces.iter().map(run).collect()
    }

    /// The rows of the batch that belong to these runs.
    pub fn mask(&self, runs: &[Run]) -> BooleanBuffer {
        mask::of_ranges(self.table.span_count(), runs.iter().map(|run| run.rows.clone()))
    }

    /// Where a row of the row group stands in the batch.
    pub fn position(&self, row: usize) -> Result<usize, Error> {
        self.ranges.position(row).ok_or_else(|| Error::damaged("first_row"))
    }
}

/// Ranges of rows, ascending and apart, that were read one after another.
#[derive(Debug, PartialEq, Eq)]
struct RowRanges {
    ranges: Vec<Range<usize>>,
    /// Where each range begins in the batch, and its length.
    starts: Vec<usize>,
}

impl RowRanges {
    /// Joins ranges that touch; they must be ascending.
    fn merge(ranges: impl IntoIterator<Item = Range<usize>>) -> Self {
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match merged.last_mut().filter(|last| last.end >= range.start) {
                Some(last) => last.end = last.end.max(range.end),
                None => merged.push(range),
            }
        }
        let starts = std::iter::once(0).chain(merged.iter().scan(0, |end, range| {
            *end += range.len();
            Some(*end)
        }));
        Self { starts: starts.collect(), ranges: merged }
    }

    /// From the first row to the last.
    fn extent(&self) -> Range<usize> {
        self.ranges.first().zip(self.ranges.last()).map_or(0..0, |(first, last)| first.start..last.end)
    }

    fn row_count(&self) -> usize {
        self.starts.last().copied().unwrap_or_default()
    }

    fn position(&self, row: usize) -> Option<usize> {
        let at = self.ranges.partition_point(|range| range.end <= row);
        let range = self.ranges.get(at)?;
        Some(self.starts[at] + row.checked_sub(range.start)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_read_as_one() {
        let ranges = RowRanges::merge([3..5, 5..6, 9..12]);
        assert_eq!(ranges.ranges, [3..6, 9..12]);
        assert_eq!((ranges.row_count(), ranges.extent()), (6, 3..12));
        let positions = [2, 3, 5, 6, 9, 11, 12].map(|row| ranges.position(row));
        assert_eq!(positions, [None, Some(0), Some(2), None, Some(3), Some(5), None]);
    }
}
