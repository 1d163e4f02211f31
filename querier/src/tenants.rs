//! What a query over several tenants reads: the sources of all of them, under the rules that hold for one.
//!
//! A trace whose parts belong to several tenants is one trace to such a query, and a span that two of them have is there
//! once. Blocks list what older ones of their own tenant have too, and know nothing of other tenants. So only the tenant
//! with the most bytes at rest is believed about that; the traces of the others are compared by hash, like live ones.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use futures::future::try_join_all;
use model::{BlockId, Scope, TenantId, Tenants, TimeRange, TraceId};
use storage::TraceIds;
use storage::index::ValueCount;
use storage::manifest::BlockEntry;
use storage::source::{Dimensions, Fetched, Projection, Source, TraceAt};
use traceql::{Conditions, Field};

use crate::error::Error;

/// The sources of all tenants as those of one; `of_tenant` gives those of each.
pub(crate) async fn sources<F>(
    tenants: &Tenants,
    of_tenant: impl Fn(TenantId) -> F,
) -> Result<Vec<Arc<dyn Source>>, Error>
where
    F: Future<Output = Result<Vec<Arc<dyn Source>>, Error>>,
{
    let mut of_tenants = try_join_all(tenants.iter().cloned().map(of_tenant)).await?;
    of_tenants.retain(|sources| !sources.is_empty());
    of_tenants.sort_by_cached_key(|sources| sources.iter().map(|source| source.size_bytes()).sum::<u64>());
    let Some(largest) = of_tenants.pop() else { return Ok(Vec::new()) };
    let others = of_tenants.into_iter().flatten().map(|source| Arc::new(AmongTenants(source)) as Arc<dyn Source>);
    Ok(largest.into_iter().chain(others).collect())
}

/// A source whose traces other tenants may have, too.
struct AmongTenants(Arc<dyn Source>);

#[async_trait]
impl Source for AmongTenants {
    fn block_id(&self) -> BlockId {
        self.0.block_id()
    }

    fn is_live(&self) -> bool {
        self.0.is_live()
    }

    fn time_range(&self) -> TimeRange {
        self.0.time_range()
    }

    fn span_count(&self) -> usize {
        self.0.span_count()
    }

    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn stored(&self) -> Option<(&TenantId, &BlockEntry)> {
        self.0.stored()
    }

    fn deleted_traces(&self) -> Option<&Arc<HashSet<TraceId>>> {
        self.0.deleted_traces()
    }

    async fn dimensions(&self) -> Result<Arc<Dimensions>, storage::Error> {
        self.0.dimensions().await
    }

    async fn may_match(&self, filters: &[Conditions]) -> Result<Vec<Option<Vec<Range<usize>>>>, storage::Error> {
        self.0.may_match(filters).await
    }

    async fn keys(&self) -> Result<BTreeSet<(Scope, String)>, storage::Error> {
        self.0.keys().await
    }

    async fn values(&self, field: &Field) -> Result<Option<Vec<ValueCount>>, storage::Error> {
        self.0.values(field).await
    }

    /// What it lists leaves out what other tenants have.
    async fn continued(&self) -> Result<Option<Arc<[TraceId]>>, storage::Error> {
        Ok(None)
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, storage::Error> {
        self.0.traces_by_hash().await
    }

    async fn find_trace(&self, id: &TraceId) -> Result<Option<TraceAt>, storage::Error> {
        self.0.find_trace(id).await
    }

    async fn traces(&self, group: usize) -> Result<RecordBatch, storage::Error> {
        self.0.traces(group).await
    }

    async fn services(&self, group: usize) -> Result<ArrayRef, storage::Error> {
        self.0.services(group).await
    }

    async fn fetch(
        &self,
        group: usize,
        rows: &[Range<usize>],
        columns: &Projection,
    ) -> Result<Fetched, storage::Error> {
        self.0.fetch(group, rows, columns).await
    }
}

#[cfg(test)]
mod tests;
