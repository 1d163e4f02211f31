//! Traces whose spans lie in several sources: finding the parts, and putting them together.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use futures::FutureExt;
use hashbrown::HashMap;
use model::{TimeRange, TraceId};
use spans::{Copies, SpanTable, TableBuilder};
use storage::cpu::Effort;
use storage::source::{Projection, TraceAt, TracePart};

use crate::cancellation::is_waited_for;
use crate::engine::budget::Budget;
use crate::engine::concurrent::try_all;
use crate::engine::scan::{FetchedRows, OpenGroup};
use crate::engine::sources::NumberedSource;
use crate::error::Error;

/// What one of the sources has of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberedPart {
    /// Number of the source.
    pub source: usize,
    pub at: TraceAt,
    pub time_range: TimeRange,
    pub span_count: usize,
}

impl NumberedPart {
    pub fn of(source: usize, part: &TracePart) -> Self {
        let TracePart { at, time_range, span_count, .. } = *part;
        Self { source, at, time_range, span_count }
    }

    /// What it is by itself, of this trace.
    pub fn of_trace(&self, id: TraceId) -> TracePart {
        let Self { at, time_range, span_count, .. } = *self;
        TracePart { id, at, time_range, span_count }
    }

    /// Where it lies, which no other part does.
    pub fn place(&self) -> (usize, TraceAt) {
        (self.source, self.at)
    }

    /// The numbers of its source and its row group.
    pub fn group(&self) -> (usize, usize) {
        (self.source, self.at.group)
    }
}

/// From the start of the earliest part to the end of the latest.
pub(crate) fn time_range_of(parts: &[NumberedPart]) -> TimeRange {
    time_range(parts.iter().map(|part| part.time_range))
}

/// The same of what is known of the parts.
pub(crate) fn time_range(of_parts: impl IntoIterator<Item = TimeRange>) -> TimeRange {
    of_parts.into_iter().fold(TimeRange::new(u64::MAX, 0), |all, part| all.union(&part))
}

/// Finds which of the sources have parts of the traces; parts are in the order of the sources. A damaged source is left
/// out.
pub(crate) async fn find(
    sources: &[NumberedSource],
    ids: &[TraceId],
    concurrency: usize,
    budget: &Budget,
) -> Result<HashMap<TraceId, Vec<NumberedPart>>, Error> {
    let mut by_id: HashMap<TraceId, Vec<NumberedPart>> = HashMap::new();
    if ids.is_empty() {
        return Ok(by_id);
    }
    let find_in = |(number, source): NumberedSource| {
        async move {
            // of a block its traces are read, a row group at a time
            let _turn = if source.is_live() { None } else { Some(budget.turn_to_look().await?) };
            let found = async { Ok(source.find_traces(ids).await?) };
            Ok((number, budget.if_readable(source.block_id(), found).await?.unwrap_or_default()))
        }
        .boxed()
    };
    for (number, found) in try_all(concurrency, sources.iter().cloned().map(find_in).collect()).await? {
        found.iter().for_each(|part| by_id.entry(part.id).or_default().push(NumberedPart::of(number, part)));
    }
    Ok(by_id)
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

/// So many whole spans are put together or encoded in some tens of microseconds.
const LITTLE_WHOLE: usize = 256;

/// What it takes to put parts together, or to encode them.
pub(crate) fn effort_of(tables: &[SpanTable]) -> Effort {
    let spans: usize = tables.iter().map(SpanTable::span_count).sum();
    Effort::little_if(spans <= LITTLE_WHOLE)
}

/// One table from the parts, if there are any, unless the query that this thread works for is given up; copies of spans are left
/// out.
pub(crate) fn merge_parts(tables: &[SpanTable]) -> Result<SpanTable, Error> {
    if tables.is_empty() {
        return Ok(TableBuilder::default().snapshot()?);
    }
    Ok(spans::merge_tables_while(tables, Copies::DropAll, &is_waited_for)?.table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancellation::Cancellation;
    use crate::testing::{service, span, table};

    #[test]
    fn parts_of_a_query_that_is_given_up_are_not_put_together() {
        let tables = [1, 2].map(|id| table(vec![service("s", vec![span(1, id, 0, "op", 0, 1)])]));
        let cancellation = Cancellation::default();
        assert_eq!(cancellation.during(|| merge_parts(&tables)).unwrap().span_count(), 2);
        cancellation.cancel();
        let error = cancellation.during(|| merge_parts(&tables)).unwrap_err();
        assert!(matches!(error, Error::Spans(spans::Error::GivenUp)), "{error}");
    }
}
