//! A source whose table is in memory: live data, and tests.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use async_trait::async_trait;
use model::{BlockId, TimeRange, TraceId};
use spans::schema::trace_column;
use spans::{ById, SpanTable};

use crate::error::Error;
use crate::source::{Dimensions, Fetched, Projection, RowGroup, Source, TraceAt, TracePart};
use crate::trace_ids::TraceIds;

/// A [`SpanTable`] as a [`Source`] with one row group.
pub struct MemorySource {
    block_id: BlockId,
    spans: RecordBatch,
    traces: RecordBatch,
    /// Rows of `traces` by id.
    by_id: ById,
    by_hash: Arc<TraceIds>,
    dimensions: Arc<Dimensions>,
    time_range: TimeRange,
}

impl MemorySource {
    /// `block_id` is the block that the table's spans are meant for; see [`Source::block_id`].
    ///
    /// # Errors
    /// [`spans::Error::Damaged`] when the table does not have the shape of [`spans::schema`].
    pub fn new(block_id: BlockId, table: SpanTable) -> Result<Self, Error> {
        let time_range = table.time_range()?.unwrap_or(TimeRange::new(u64::MAX, 0));
        let by_id = ById::of(&table.traces()?);
        let by_hash = Arc::new(TraceIds::of(&table.traces()?));
        let (spans, traces) = (table.span_count(), table.trace_count());
        let (last_start_nanos, most_trace_spans) = (time_range.end_nanos, spans);
        let row_group = RowGroup { spans: 0..spans, traces: 0..traces, time_range, last_start_nanos, most_trace_spans };
        let keys = spans::attribute_keys(&table)?;
        let SpanTable { spans, traces, resources, scopes } = table;
        let dimensions = Arc::new(Dimensions { resources, scopes, row_groups: vec![row_group], keys });
        Ok(Self { block_id, spans, traces, by_id, by_hash, dimensions, time_range })
    }

    /// A table of one trace, if it is here.
    ///
    /// # Errors
    /// [`spans::Error::Damaged`] when the trace refers to rows that do not exist.
    pub fn table_of(&self, id: &TraceId) -> Result<Option<SpanTable>, Error> {
        let found = self.by_id.find(&spans::Traces::of(&self.traces)?, id);
        Ok(found.map(|trace| self.table().slice_traces(trace..trace + 1)).transpose()?)
    }

    /// The table, without a copy.
    pub fn table(&self) -> SpanTable {
        let Dimensions { resources, scopes, .. } = self.dimensions.as_ref().clone();
        SpanTable { spans: self.spans.clone(), traces: self.traces.clone(), resources, scopes }
    }
}

#[async_trait]
impl Source for MemorySource {
    fn block_id(&self) -> BlockId {
        self.block_id
    }

    fn is_live(&self) -> bool {
        true
    }

    fn time_range(&self) -> TimeRange {
        self.time_range
    }

    fn span_count(&self) -> usize {
        self.spans.num_rows()
    }

    fn size_bytes(&self) -> u64 {
        0
    }

    async fn dimensions(&self) -> Result<Arc<Dimensions>, Error> {
        Ok(self.dimensions.clone())
    }

    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, Error> {
        let traces = spans::Traces::of(&self.traces)?;
        let at = |id: &TraceId| Some(TraceAt { group: 0, trace: self.by_id.find(&traces, id)? });
        Ok(ids.iter().filter_map(at).map(|at| TracePart::of(&traces, at)).collect())
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, Error> {
        Ok(self.by_hash.clone())
    }

    async fn traces(&self, _group: usize) -> Result<RecordBatch, Error> {
        Ok(self.traces.clone())
    }

    async fn services(&self, _group: usize) -> Result<ArrayRef, Error> {
        Ok(spans::column(&self.traces, trace_column::SERVICES)?.clone())
    }

    async fn fetch(&self, _group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Fetched, Error> {
        let schema = self.spans.schema();
        let wants_list = !columns.attributes.is_empty();
        let wanted: BTreeSet<usize> = schema
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| {
                let name = field.name().as_str();
                columns.columns.contains(name) || wants_list && name == spans::schema::column::ATTRIBUTES
            })
            .map(|(index, _)| index)
            .collect();
        let batch = self.spans.project(&wanted.into_iter().collect::<Vec<_>>())?;
        let rows = rows.to_vec();
        Ok(Fetched::new(0, move |_| Ok((select(&batch, &rows)?, Vec::new()))))
    }
}

/// The rows of `ranges`; without a copy when they are one range.
fn select(batch: &RecordBatch, ranges: &[Range<usize>]) -> Result<RecordBatch, Error> {
    let slices: Vec<RecordBatch> = ranges.iter().map(|range| batch.slice(range.start, range.len())).collect();
    match slices.as_slice() {
        [one] => Ok(one.clone()),
        many => Ok(concat_batches(&batch.schema(), many)?),
    }
}
