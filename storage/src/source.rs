//! Where spans can be read from: a block at rest, live data, later another process. The querier knows nothing else.

mod wrapper;

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use spans::Traces;
use traceql::{Conditions, Field};

use crate::coded::{CodedColumn, Coding, Codings};
use crate::error::Error;
use crate::index::ValueCount;
use crate::manifest::BlockEntry;
use crate::rollup::Rollup;
use crate::trace_ids::TraceIds;

pub use self::wrapper::SourceWrapper;

/// Spans of one tenant that can be read by column, in the shape of [`spans::schema`].
///
/// A source consists of row groups, each a table of its own: a trace lies in one of them, as one run of rows, and rows of
/// `traces` and of `spans` are numbered from 0 in each. Only resources and scopes are shared. Other parts of a trace may
/// lie in other sources.
#[async_trait]
pub trait Source: Send + Sync {
    /// The block that this source is; sorts sources by when their spans began to arrive, and never changes. Live sources whose
    /// rows are to become one block have one id: that of the first attempt to write it, while a later one may be published
    /// under another.
    fn block_id(&self) -> BlockId;

    /// True for spans that are not yet in a published block.
    fn is_live(&self) -> bool;

    /// From the earliest start to the latest end of a span.
    fn time_range(&self) -> TimeRange;

    fn span_count(&self) -> usize;

    /// Size at rest, in bytes; 0 for live data.
    fn size_bytes(&self) -> u64;

    /// The published block that this is, so that another process can read it, too; `None` for what only this one has.
    fn stored(&self) -> Option<(&TenantId, &BlockEntry)> {
        None
    }

    /// Traces of its that were deleted: they are in its tables, and in no answer. Looking a trace up does not find them.
    fn deleted_traces(&self) -> Option<&Arc<HashSet<TraceId>>> {
        None
    }

    /// What is known of the source without reading its traces: costs the same whatever their number.
    async fn dimensions(&self) -> Result<Arc<Dimensions>, Error>;

    /// For each of the filters the traces outside of which no span satisfies it: ranges of traces, counted through all
    /// row groups, ascending and apart; `None` where that cannot be said. Costs little, whatever the size of the source.
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

    /// How many spans of each kind its row groups have; `None` where that is not kept. Costs about as much as opening it.
    async fn rollup(&self) -> Result<Option<Rollup>, Error> {
        Ok(None)
    }

    /// The traces of which sources that are older have a part, too: of all that have parts of a trace, all but one at most
    /// list it. Ascending. `None` where that is not known.
    async fn continued(&self) -> Result<Option<Arc<[TraceId]>>, Error> {
        Ok(None)
    }

    /// Its traces by hash.
    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, Error>;

    /// Those of some traces that are here.
    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, Error>;

    /// Where a trace lies.
    async fn find_trace(&self, id: &TraceId) -> Result<Option<TraceAt>, Error> {
        Ok(self.find_traces(std::slice::from_ref(id)).await?.first().map(|part| part.at))
    }

    /// The `traces` of a row group; [`services`](Self::services) may be missing among its columns.
    async fn traces(&self, group: usize) -> Result<RecordBatch, Error>;

    /// The column [`SERVICES`](spans::schema::trace_column::SERVICES) of a row group's `traces`: what the services contributed is shown of the few
    /// traces of an answer, and not read for the others.
    async fn services(&self, group: usize) -> Result<ArrayRef, Error>;

    /// Columns of some rows of one row group, in row order, which are there and not yet decoded.
    ///
    /// Columns that the source does not have are left out. `attributes` is there when an attribute of the projection
    /// may stand in it. `rows` are those of the group, ascending, not overlapping.
    async fn fetch(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Fetched, Error>;
}

/// Columns whose bytes are there.
pub struct Fetched {
    /// Compressed bytes that were needed; 0 from live data.
    pub bytes: u64,
    decode: Box<DecodeFetched>,
}

type DecodeFetched = dyn FnOnce(&Codings<'_>) -> Result<(RecordBatch, Vec<CodedColumn>), Error> + Send;

impl Fetched {
    /// `decode` may give any column in the batch.
    pub fn new(
        bytes: u64,
        decode: impl FnOnce(&Codings<'_>) -> Result<(RecordBatch, Vec<CodedColumn>), Error> + Send + 'static,
    ) -> Self {
        Self { bytes, decode: Box::new(decode) }
    }

    /// The columns. Work for [`CpuPool`](crate::CpuPool), together with what is done with them.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] when the bytes are not such columns.
    pub fn decode(self) -> Result<RecordBatch, Error> {
        Ok(self.decode_coded(&|_| Coding::InBatch)?.0)
    }

    /// The same, with some columns of attributes by code, beside the batch: a source of which they are not stored so, as
    /// live data, has them in the batch all the same.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_coded(self, coding: &Codings<'_>) -> Result<(RecordBatch, Vec<CodedColumn>), Error> {
        (self.decode)(coding)
    }
}

/// Where a trace lies in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceAt {
    pub group: usize,
    /// Row of the group's `traces`.
    pub trace: usize,
}

/// What a source has of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracePart {
    pub id: TraceId,
    pub at: TraceAt,
    pub time_range: TimeRange,
    pub span_count: usize,
}

impl TracePart {
    /// That of a row of a group's `traces`.
    pub fn of(traces: &Traces<'_>, at: TraceAt) -> Self {
        let (time_range, span_count) = (traces.time_range(at.trace), traces.span_rows(at.trace).len());
        Self { id: traces.id(at.trace), at, time_range, span_count }
    }
}

/// What is known of a source that was opened.
#[derive(Debug, Clone)]
pub struct Dimensions {
    pub resources: RecordBatch,
    pub scopes: RecordBatch,
    /// Newest traces first in what a writer of today wrote; readers do not rely on it.
    pub row_groups: Vec<RowGroup>,
    /// Every attribute key that occurs, by scope.
    pub keys: BTreeSet<(Scope, String)>,
}

/// A part of a source that is read as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroup {
    /// Its spans among all spans of the source, and its traces among all traces.
    pub spans: Range<usize>,
    pub traces: Range<usize>,
    /// From the earliest start to the latest end of a span.
    pub time_range: TimeRange,
    /// No span starts later.
    pub last_start_nanos: u64,
    /// No trace has more spans here.
    pub most_trace_spans: usize,
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
