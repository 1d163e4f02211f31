//! Where spans can be read from: a block at rest, live data, later another process. The querier knows nothing else.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use model::{BlockId, Scope, TimeRange, TraceId};
use spans::{ById, Traces};
use traceql::{Conditions, Field};

use crate::error::Error;
use crate::index::ValueCount;

/// Spans of one tenant that can be read by column, in the shape of [`spans::schema`].
///
/// A trace that lies in a source is one run of rows there; other parts of it may lie in other sources.
#[async_trait]
pub trait Source: Send + Sync {
    /// The block that this source is or is about to become; the same spans are never in two sources with one block id.
    /// That of live spans may change; after the commit that publishes them it is the one that the manifest has.
    fn block_id(&self) -> BlockId;

    /// True for spans that are not yet in a published block.
    fn is_live(&self) -> bool;

    /// From the earliest start to the latest end of a span.
    fn time_range(&self) -> TimeRange;

    fn span_count(&self) -> usize;

    /// Size at rest, in bytes; 0 for live data.
    fn size_bytes(&self) -> u64;

    /// The small tables, whole.
    async fn dimensions(&self) -> Result<Arc<Dimensions>, Error>;

    /// For each of the filters the traces outside of which no span satisfies it: ranges of rows of `traces`, ascending
    /// and apart; `None` where that cannot be said. Costs little, whatever the size of the source.
    async fn may_match(&self, filters: &[Conditions]) -> Result<Vec<Option<Vec<Range<usize>>>>, Error> {
        Ok(vec![None; filters.len()])
    }

    /// Every attribute key that occurs, by scope.
    async fn keys(&self) -> Result<BTreeSet<(Scope, String)>, Error> {
        Ok(self.dimensions().await?.keys.clone())
    }

    /// The distinct values of a field, in no order; `None` where they are not listed apart from the rows.
    async fn values(&self, _field: &Field) -> Result<Option<Vec<ValueCount>>, Error> {
        Ok(None)
    }

    /// The row of a trace in the `traces` table.
    async fn find_trace(&self, id: &TraceId) -> Result<Option<usize>, Error>;

    /// Columns of some rows of one row group, in row order.
    ///
    /// Columns that the source does not have are left out. `attributes` is there when an attribute of the projection
    /// may stand in it. `rows` are table rows, ascending, not overlapping, inside the group.
    async fn read(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Read, Error>;
}

/// What a read gave, and what it cost.
#[derive(Debug, Clone)]
pub struct Read {
    pub batch: RecordBatch,
    /// Compressed bytes that were needed; 0 from live data.
    pub bytes: u64,
}

/// A source's small tables and what it knows of its rows.
#[derive(Debug, Clone)]
pub struct Dimensions {
    pub traces: RecordBatch,
    pub resources: RecordBatch,
    pub scopes: RecordBatch,
    /// Rows of `traces` by id.
    pub by_id: ById,
    /// Rows of each row group; together all rows of `spans`, in order. A group never splits a trace.
    pub row_groups: Vec<Range<usize>>,
    /// Every attribute key that occurs, by scope.
    pub keys: BTreeSet<(Scope, String)>,
}

impl Dimensions {
    /// The row of a trace in `traces`.
    ///
    /// # Errors
    /// [`spans::Error::Damaged`] when `traces` lacks a column.
    pub fn find_trace(&self, id: &TraceId) -> Result<Option<usize>, Error> {
        Ok(self.by_id.find(&Traces::of(&self.traces)?, id))
    }
}

/// Which columns of `spans` are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projection {
    /// Names in [`spans::schema::column`]; `attributes` among them asks for the whole list and every attribute column.
    pub columns: BTreeSet<&'static str>,
    /// Keys of span attributes.
    pub attributes: BTreeSet<String>,
}

impl Projection {
    /// Everything, as a trace by id needs it.
    pub fn all() -> Self {
        use spans::schema::column::*;
        let columns = BTreeSet::from([
            TRACE,
            SPAN_ID,
            PARENT_OFFSET,
            PARENT_SPAN_ID,
            START_OFFSET_NANOS,
            DURATION_NANOS,
            NAME,
            KIND,
            STATUS_CODE,
            STATUS_MESSAGE,
            TRACE_STATE,
            FLAGS,
            DROPPED_ATTRIBUTES_COUNT,
            DROPPED_EVENTS_COUNT,
            DROPPED_LINKS_COUNT,
            RESOURCE,
            SCOPE,
            ATTRIBUTES,
            EVENTS,
            LINKS,
        ]);
        Self { columns, attributes: BTreeSet::new() }
    }

    pub fn merge(&mut self, other: &Self) {
        self.columns.extend(&other.columns);
        self.attributes.extend(other.attributes.iter().cloned());
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.attributes.is_empty()
    }
}
