//! Traces whose spans lie in several sources: finding the parts, and putting them together.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int32Type;
use futures::FutureExt;
use hashbrown::HashMap;
use model::TraceId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spans::schema::{column, trace_column};
use spans::{SpanTable, TableBuilder, Traces};
use storage::source::{Projection, Source};
use tracing::warn;

use crate::concurrent::try_all;
use crate::error::Error;
use crate::merge::merge_copies;
use crate::scan::{GroupTraces, Opened, Rows};

/// Where a part of a trace lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartAt {
    /// Number of the source.
    pub source: usize,
    /// Row of its `traces`.
    pub trace: usize,
}

/// Finds which of the sources have parts of the traces; parts are in the order of the sources.
pub(crate) async fn find(
    sources: &[(usize, Arc<dyn Source>)],
    ids: &[TraceId],
    concurrency: usize,
) -> Result<HashMap<TraceId, Vec<PartAt>>, Error> {
    let find_in = |(number, source)| find_in(number, source, ids).boxed();
    let found = try_all(concurrency, sources.iter().cloned().map(find_in).collect()).await?;
    let mut by_id: HashMap<TraceId, Vec<PartAt>> = HashMap::new();
    for (id, part) in found.into_iter().flatten() {
        by_id.entry(id).or_default().push(part);
    }
    Ok(by_id)
}

/// The parts in one source; none in a damaged one.
async fn find_in(number: usize, source: Arc<dyn Source>, ids: &[TraceId]) -> Result<Vec<(TraceId, PartAt)>, Error> {
    let mut parts = Vec::new();
    for id in ids {
        match source.find_trace(id).await.map_err(Error::from) {
            Ok(Some(trace)) => parts.push((*id, PartAt { source: number, trace })),
            Ok(None) => {}
            Err(error) if error.is_of_one_source() => {
                warn!(block_id = %source.block_id(), %error, "source left out of a search");
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(parts)
}

/// Reads the spans of some traces (rows of `traces`, ascending) with all columns, as a table of its own.
pub(crate) async fn read_whole(opened: &Opened, wanted: &GroupTraces) -> Result<(SpanTable, u64), Error> {
    let rows = opened.read_only(wanted, &Projection::all()).await?;
    Ok((cut(&rows, &wanted.traces)?, rows.bytes))
}

/// The table of just these traces, which are all that was read.
fn cut(rows: &Rows, traces: &[usize]) -> Result<SpanTable, Error> {
    let table = &rows.table;
    let indices = UInt32Array::from_iter_values(traces.iter().map(|&trace| trace as u32));
    let kept = take_record_batch(&table.traces, &indices)?;
    let mut first_row = 0;
    let (mut first_rows, mut trace_of_span) = (Vec::with_capacity(traces.len()), Vec::new());
    for number in 0..kept.num_rows() {
        let count = Traces::of(&kept)?.span_rows(number).len();
        first_rows.push(first_row);
        first_row += count as u32;
        trace_of_span.extend(std::iter::repeat_n(number as u32, count));
    }
    Ok(SpanTable {
        spans: replace(&table.spans, column::TRACE, trace_of_span)?,
        traces: replace(&kept, trace_column::FIRST_ROW, first_rows)?,
        ..table.clone()
    })
}

fn replace(batch: &RecordBatch, name: &str, values: Vec<u32>) -> Result<RecordBatch, Error> {
    let mut columns = batch.columns().to_vec();
    let at = batch.schema().index_of(name)?;
    columns[at] = Arc::new(UInt32Array::from(values));
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// One table from the parts. Of spans with the same id and kind that came from different tables one is kept.
pub(crate) fn put_together(tables: &[SpanTable]) -> Result<SpanTable, Error> {
    if !has_copies(tables)? {
        return Ok(spans::combine(tables)?);
    }
    let parts = tables.iter().map(spans::encode).collect::<Result<Vec<_>, _>>()?;
    let request = ExportTraceServiceRequest { resource_spans: merge_copies(parts) };
    let mut builder = TableBuilder::default();
    builder.append(&request.encode_to_vec())?;
    Ok(builder.snapshot()?)
}

/// Whether a span of one table is also in another.
fn has_copies(tables: &[SpanTable]) -> Result<bool, Error> {
    let mut seen: HashMap<(TraceId, [u8; 8], i32), usize> = HashMap::new();
    for (number, table) in tables.iter().enumerate() {
        let (ids, kinds) = (spans::column(&table.spans, column::SPAN_ID)?, spans::column(&table.spans, column::KIND)?);
        let ids = ids.as_fixed_size_binary_opt().ok_or_else(|| Error::damaged(column::SPAN_ID))?;
        let kinds = kinds.as_primitive_opt::<Int32Type>().ok_or_else(|| Error::damaged(column::KIND))?;
        let traces = table.traces()?;
        for trace in 0..traces.len() {
            for row in traces.span_rows(trace) {
                if row >= ids.len() {
                    return Err(Error::damaged("first_row"));
                }
                let id = ids.value(row).try_into().map_err(|_| Error::damaged(column::SPAN_ID))?;
                if *seen.entry((traces.id(trace), id, kinds.value(row))).or_insert(number) != number {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
