//! Traces whose spans lie in several sources: finding the parts, and putting them together.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use futures::FutureExt;
use hashbrown::HashMap;
use model::TraceId;
use spans::{Copies, SpanTable};
use storage::source::{Projection, Source, TraceAt};

use crate::engine::budget::Budget;
use crate::engine::concurrent::try_all;
use crate::engine::scan::{FetchedRows, OpenGroup};
use crate::error::Error;

/// Where a part of a trace lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartAt {
    /// Number of the source.
    pub source: usize,
    pub at: TraceAt,
}

impl PartAt {
    /// The numbers of its source and its row group.
    pub fn group(&self) -> (usize, usize) {
        (self.source, self.at.group)
    }
}

/// Finds which of the sources have parts of the traces; parts are in the order of the sources. A damaged source is left
/// out.
pub(crate) async fn find(
    sources: &[(usize, Arc<dyn Source>)],
    ids: &[TraceId],
    concurrency: usize,
    budget: &Budget,
) -> Result<HashMap<TraceId, Vec<PartAt>>, Error> {
    let find_in = |(number, source): (usize, Arc<dyn Source>)| {
        async move {
            let block_id = source.block_id();
            Ok(budget.if_readable(block_id, find_in(number, source, ids)).await?.unwrap_or_default())
        }
        .boxed()
    };
    let found = try_all(concurrency, sources.iter().cloned().map(find_in).collect()).await?;
    let mut by_id: HashMap<TraceId, Vec<PartAt>> = HashMap::new();
    for (id, part) in found.into_iter().flatten() {
        by_id.entry(id).or_default().push(part);
    }
    Ok(by_id)
}

/// The parts in one source.
async fn find_in(number: usize, source: Arc<dyn Source>, ids: &[TraceId]) -> Result<Vec<(TraceId, PartAt)>, Error> {
    let found = source.find_traces(ids).await?;
    Ok(found.into_iter().map(|(id, at)| (id, PartAt { source: number, at })).collect())
}

/// Fetches the spans of some traces (rows of `traces`, ascending) for [`decode_whole`].
pub(crate) async fn fetch_whole(
    group: &OpenGroup,
    traces: &[usize],
    columns: &Projection,
) -> Result<FetchedRows, Error> {
    let mut columns = columns.clone();
    columns.columns.extend(spans::JOINED_COLUMNS);
    group.fetch_only(traces, &columns).await
}

/// The table of just these traces, which were fetched, for [`merge_parts`]. Columns that are not wanted may be empty in it.
pub(crate) fn decode_whole(fetched: FetchedRows, traces: &[usize], budget: &Budget) -> Result<SpanTable, Error> {
    let table = fetched.decode(budget)?.table;
    let indices = UInt32Array::from_iter_values(traces.iter().map(|&trace| trace as u32));
    let traces = take_record_batch(&table.traces, &indices)?;
    Ok(SpanTable { spans: spans::with_absent_columns(&table.spans)?, traces, ..table }.renumbered()?)
}

/// One table from the parts; copies of spans are left out.
pub(crate) fn merge_parts(tables: &[SpanTable]) -> Result<SpanTable, Error> {
    Ok(spans::merge_tables(tables, Copies::DropAll)?.table)
}
