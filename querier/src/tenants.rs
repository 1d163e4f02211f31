//! What a query over several tenants reads: the sources of all of them, under the rules that hold for one.
//!
//! A trace whose parts belong to several tenants is one trace to such a query, and a span that two of them have is there
//! once. Blocks list what older ones of their own tenant have too, and know nothing of other tenants. So only the tenant
//! with the most bytes at rest is believed about that; the traces of the others are compared by hash, like live ones.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use model::{TenantId, Tenants, TraceId};
use storage::source::{Source, SourceWrapper};

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
impl SourceWrapper for AmongTenants {
    fn inner(&self) -> &dyn Source {
        self.0.as_ref()
    }

    /// What it lists leaves out what other tenants have.
    async fn continued(&self) -> Result<Option<Arc<[TraceId]>>, storage::Error> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
