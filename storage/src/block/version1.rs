//! Blocks of version 1, which have no directory: Parquet's footer and all traces are read when one is opened, and kept.
//! Compaction writes them anew in the version of today.

use std::sync::Arc;

use arrow::array::RecordBatch;
use model::TimeRange;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use spans::{Traces, batch_memory_bytes};

use super::chunks::Chunks;
use super::columns::FileColumns;
use super::footer;
use super::group_traces::in_group;
use crate::error::Error;
use crate::source::RowGroup;
use crate::trace_ids::TraceIds;

/// What a block of version 1 keeps once it is open.
pub(super) struct Tables {
    /// Of `spans.parquet`.
    pub columns: FileColumns,
    /// Where the columns of each row group stand.
    pub chunks: Vec<Chunks>,
    pub row_groups: Vec<RowGroup>,
    /// Of each row group, with rows numbered within it.
    pub traces: Vec<RecordBatch>,
    pub ids: Arc<TraceIds>,
}

impl Tables {
    /// # Errors
    /// [`Error::Spans`] when traces do not lie in row groups, in their order.
    pub fn of(spans: ArrowReaderMetadata, all_traces: &RecordBatch) -> Result<Self, Error> {
        let view = Traces::of(all_traces)?;
        let ids = Arc::new(TraceIds::of(&view));
        let (mut row_groups, mut traces, mut next) = (Vec::new(), Vec::new(), 0);
        for rows in footer::row_groups(spans.metadata()) {
            let first = next;
            while next < view.len() && view.span_rows(next).start < rows.end {
                next += 1;
            }
            let ranges = (first..next).map(|trace| view.time_range(trace));
            let time_range = ranges.reduce(|all, one| all.union(&one)).unwrap_or(TimeRange::new(0, 0));
            let (last_start_nanos, most_trace_spans) = (time_range.end_nanos, rows.len());
            let group = RowGroup { spans: rows, traces: first..next, time_range, last_start_nanos, most_trace_spans };
            let of_group = all_traces.slice(first, next - first);
            traces.push(in_group(&of_group, &group).map_err(spans::Error::damaged)?);
            row_groups.push(group);
        }
        if next != view.len() {
            return Err(spans::Error::damaged("a trace's spans are in no row group").into());
        }
        let chunks = (0..row_groups.len()).map(|group| Chunks::of(spans.metadata(), group));
        let chunks = chunks.collect::<Result<_, Error>>().map_err(|error| spans::Error::damaged(error.to_string()))?;
        Ok(Self { columns: FileColumns::of(&spans), chunks, row_groups, traces, ids })
    }

    pub fn memory_bytes(&self) -> usize {
        let traces: Vec<&RecordBatch> = self.traces.iter().collect();
        self.chunks.iter().map(Chunks::memory_bytes).sum::<usize>()
            + batch_memory_bytes(&traces)
            + self.ids.memory_bytes()
    }
}
