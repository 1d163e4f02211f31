//! Reading traces from a source: open its small tables once, then read runs of spans by row group.
//!
//! Owns which rows are asked for and where they stand in what came back. Does not decide which traces are wanted.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use spans::{SpanTable, Traces};
use storage::source::{Dimensions, Projection, Source};

use crate::error::Error;
use crate::mask;

/// A source with its small tables. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Opened {
    pub source: Arc<dyn Source>,
    pub dimensions: Arc<Dimensions>,
}

/// Traces of one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupTraces {
    pub group: usize,
    /// Rows of `traces`, ascending.
    pub traces: Vec<usize>,
}

/// Spans that were read.
pub(crate) struct Rows {
    /// `spans` holds the rows that were read; the small tables are whole.
    pub table: SpanTable,
    pub bytes: u64,
    ranges: RowRanges,
}

/// Where the spans of a trace stand.
pub(crate) struct Run {
    /// Row of `traces`.
    pub trace: usize,
    /// Rows of the batch that was read.
    pub rows: Range<usize>,
    /// Row in the source of the first span.
    pub first_row: usize,
}

/// One row in so many is few: to pick them out costs less than to decode the others with them.
const FEW_ROWS: usize = 16;

impl Opened {
    pub async fn open(source: Arc<dyn Source>) -> Result<Self, Error> {
        let dimensions = source.dimensions().await?;
        Ok(Self { source, dimensions })
    }

    pub fn traces(&self) -> Result<Traces<'_>, Error> {
        Ok(Traces::of(&self.dimensions.traces)?)
    }

    /// The small tables around some spans.
    pub fn table(&self, spans: RecordBatch) -> SpanTable {
        let Dimensions { traces, resources, scopes, .. } = &*self.dimensions;
        SpanTable { spans, traces: traces.clone(), resources: resources.clone(), scopes: scopes.clone() }
    }

    /// The small tables, without spans.
    pub fn small_tables(&self) -> SpanTable {
        self.table(RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())))
    }

    /// Traces (rows of `traces`, ascending) by the row group that holds their spans.
    ///
    /// # Errors
    /// [`Error::Damaged`] when spans of a trace are not in one group.
    pub fn by_group(&self, traces: impl IntoIterator<Item = usize>) -> Result<Vec<GroupTraces>, Error> {
        let (view, groups) = (self.traces()?, &self.dimensions.row_groups);
        let mut by_group: Vec<GroupTraces> = Vec::new();
        for trace in traces {
            let rows = view.span_rows(trace);
            let group = groups.partition_point(|group| group.end <= rows.start);
            if groups.get(group).is_none_or(|group| rows.start < group.start || rows.end > group.end) {
                return Err(Error::damaged("first_row"));
            }
            match by_group.last_mut().filter(|last| last.group == group) {
                Some(last) => last.traces.push(trace),
                None => by_group.push(GroupTraces { group, traces: vec![trace] }),
            }
        }
        Ok(by_group)
    }

    /// Reads the spans of some traces of a group, perhaps with others between them.
    pub async fn read(&self, wanted: &GroupTraces, columns: &Projection) -> Result<Rows, Error> {
        let view = self.traces()?;
        let ranges = RowRanges::merge(wanted.traces.iter().map(|&trace| view.span_rows(trace)));
        let extent = ranges.extent();
        let ranges = if ranges.row_count() * 2 > extent.len() { RowRanges::merge([extent]) } else { ranges };
        self.read_ranges(wanted.group, ranges, columns).await
    }

    /// Reads the spans of some traces of a group, and no others.
    pub async fn read_only(&self, wanted: &GroupTraces, columns: &Projection) -> Result<Rows, Error> {
        let view = self.traces()?;
        let ranges = RowRanges::merge(wanted.traces.iter().map(|&trace| view.span_rows(trace)));
        self.read_ranges(wanted.group, ranges, columns).await
    }

    /// Reads some rows of a group, perhaps with others between them.
    pub async fn read_near(&self, group: usize, rows: &[usize], columns: &Projection) -> Result<Rows, Error> {
        let of_group = self.dimensions.row_groups[group].clone();
        if rows.len() > of_group.len() / FEW_ROWS {
            return self.read_ranges(group, RowRanges::merge([of_group]), columns).await;
        }
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        self.read_rows(group, rows, columns).await
    }

    /// Reads single rows, ascending, of a group.
    pub async fn read_rows(
        &self,
        group: usize,
        rows: impl IntoIterator<Item = usize>,
        columns: &Projection,
    ) -> Result<Rows, Error> {
        let ranges = RowRanges::merge(rows.into_iter().map(|row| row..row + 1));
        self.read_ranges(group, ranges, columns).await
    }

    async fn read_ranges(&self, group: usize, ranges: RowRanges, columns: &Projection) -> Result<Rows, Error> {
        let read = self.source.read(group, &ranges.ranges, columns).await?;
        if read.batch.num_rows() != ranges.row_count() {
            return Err(Error::damaged("number of rows"));
        }
        Ok(Rows { table: self.table(read.batch), bytes: read.bytes, ranges })
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

    /// The row in the source of a row of the batch.
    pub fn in_source(&self, row: usize) -> usize {
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

    /// Where a row of the source stands in the batch.
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
