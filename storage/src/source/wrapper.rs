//! A source around another one.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use traceql::{Conditions, Field};

use super::{Dimensions, Fetched, Projection, Source, TracePart};
use crate::error::Error;
use crate::index::ValueCount;
use crate::manifest::BlockEntry;
use crate::rollup::Rollup;
use crate::trace_ids::TraceIds;

/// Answers as the source that it wraps, but for the methods that are written anew.
#[async_trait]
pub trait SourceWrapper: Send + Sync {
    fn inner(&self) -> &dyn Source;

    fn deleted_traces(&self) -> Option<&Arc<HashSet<TraceId>>> {
        self.inner().deleted_traces()
    }

    async fn keys(&self) -> Result<BTreeSet<(Scope, String)>, Error> {
        self.inner().keys().await
    }

    async fn values(&self, field: &Field) -> Result<Option<Vec<ValueCount>>, Error> {
        self.inner().values(field).await
    }

    async fn continued(&self) -> Result<Option<Arc<[TraceId]>>, Error> {
        self.inner().continued().await
    }

    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, Error> {
        self.inner().find_traces(ids).await
    }

    async fn fetch(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Fetched, Error> {
        self.inner().fetch(group, rows, columns).await
    }
}

#[async_trait]
impl<W: SourceWrapper> Source for W {
    fn block_id(&self) -> BlockId {
        self.inner().block_id()
    }

    fn is_live(&self) -> bool {
        self.inner().is_live()
    }

    fn time_range(&self) -> TimeRange {
        self.inner().time_range()
    }

    fn span_count(&self) -> usize {
        self.inner().span_count()
    }

    fn size_bytes(&self) -> u64 {
        self.inner().size_bytes()
    }

    fn stored(&self) -> Option<(&TenantId, &BlockEntry)> {
        self.inner().stored()
    }

    fn deleted_traces(&self) -> Option<&Arc<HashSet<TraceId>>> {
        SourceWrapper::deleted_traces(self)
    }

    async fn dimensions(&self) -> Result<Arc<Dimensions>, Error> {
        self.inner().dimensions().await
    }

    async fn may_match(&self, filters: &[Conditions]) -> Result<Vec<Option<Vec<Range<usize>>>>, Error> {
        self.inner().may_match(filters).await
    }

    async fn keys(&self) -> Result<BTreeSet<(Scope, String)>, Error> {
        SourceWrapper::keys(self).await
    }

    async fn values(&self, field: &Field) -> Result<Option<Vec<ValueCount>>, Error> {
        SourceWrapper::values(self, field).await
    }

    async fn rollup(&self) -> Result<Option<Rollup>, Error> {
        self.inner().rollup().await
    }

    async fn continued(&self) -> Result<Option<Arc<[TraceId]>>, Error> {
        SourceWrapper::continued(self).await
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, Error> {
        self.inner().traces_by_hash().await
    }

    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, Error> {
        SourceWrapper::find_traces(self, ids).await
    }

    async fn traces(&self, group: usize) -> Result<RecordBatch, Error> {
        self.inner().traces(group).await
    }

    async fn services(&self, group: usize) -> Result<ArrayRef, Error> {
        self.inner().services(group).await
    }

    async fn fetch(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Fetched, Error> {
        SourceWrapper::fetch(self, group, rows, columns).await
    }
}
