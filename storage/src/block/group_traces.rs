//! The traces of one row group.

use arrow::array::RecordBatch;
use spans::Traces;
use spans::schema::trace_column;

use crate::source::RowGroup;

/// The traces of a row group, whose spans are numbered within it; says what is wrong with them.
pub(super) fn in_group(traces: &RecordBatch, group: &RowGroup) -> Result<RecordBatch, String> {
    let view = Traces::of(traces).map_err(|error| error.to_string())?;
    if view.len() != group.traces.len() {
        return Err("a row group has another number of traces".to_owned());
    }
    let mut first_rows = Vec::with_capacity(view.len());
    for trace in 0..view.len() {
        let rows = view.span_rows(trace);
        if rows.start < group.spans.start || rows.end > group.spans.end {
            return Err("a trace's spans are not in its row group".to_owned());
        }
        first_rows.push((rows.start - group.spans.start) as u32);
    }
    spans::replace(traces, trace_column::FIRST_ROW, first_rows).map_err(|error| error.to_string())
}
