//! Rows that are measured together: some of a row group, whole traces, or rows that stand for several spans each.

use arrow::buffer::BooleanBuffer;
use model::BlockId;
use spans::SpanTable;
use storage::coded::CodedColumn;
use storage::source::TraceAt;

use super::exemplars::TraceInBlock;
use super::timeline::StartOffsets;
use crate::engine::selection::SelectedSpans;

/// Rows to measure, and what is known of them.
pub(crate) struct MeasuredRows<'a> {
    pub table: &'a SpanTable,
    /// Attributes that the table does not have.
    pub coded: &'a [CodedColumn],
    pub selected: &'a SelectedSpans,
    pub start_offsets: StartOffsets,
    /// How many spans each row stands for; one each when `None`.
    pub spans_of_rows: Option<&'a [u32]>,
    /// Where spans are found whose start is not known.
    pub places: Option<Places<'a>>,
}

/// Where the traces of a table lie in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Places<'a> {
    /// They are those of a row group.
    OfGroup { block_id: BlockId, group: usize },
    /// Each trace has its place; `with_span` are the rows of the table that stand for a span of their trace, among others.
    OfTraces { block_id: BlockId, at: &'a [TraceAt], with_span: &'a BooleanBuffer },
}

impl<'a> MeasuredRows<'a> {
    /// Rows that were read with all their columns, a span each.
    pub fn read(table: &'a SpanTable, selected: &'a SelectedSpans) -> Self {
        Self { table, coded: &[], selected, start_offsets: StartOffsets::InTable, spans_of_rows: None, places: None }
    }
}

impl Places<'_> {
    pub fn of_trace(self, trace: usize) -> TraceInBlock {
        match self {
            Self::OfGroup { block_id, group } => TraceInBlock { block_id, at: TraceAt { group, trace } },
            Self::OfTraces { block_id, at, .. } => TraceInBlock { block_id, at: at[trace] },
        }
    }
}
