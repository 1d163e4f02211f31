//! The rows of a writer that does not answer, read from its log on the bucket: all that it has acknowledged and that a manifest
//! does not have, as tables.

use std::ops::RangeInclusive;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use model::{BlockId, TenantId};
use spans::TableBuilder;
use storage::bucket_log::{LogObject, LogReader};
use storage::manifest::{self, Manifest};
use storage::members::Record;
use storage::memory::MemorySource;
use storage::{CpuPool, Error, paths};

use crate::source::{TableCache, TableKey};

/// So many numbers have tables of their own, which are kept as long as none of the numbers is new.
const RUN: u64 = 64;
/// Objects that are read at once.
const READ_AHEAD: usize = 16;
/// A table ends at so many spans …
const TABLE_SPANS: usize = 16_384;
/// … or at this much memory.
const TABLE_BYTES: usize = 24 << 20;

/// Reads logs of others.
pub struct Logged {
    pub reader: LogReader,
    /// What was read and is kept.
    pub tables: TableCache,
    pub manifests: Arc<manifest::Store>,
    pub cpu: CpuPool,
}

/// What a log has beyond a manifest.
pub(crate) enum Beyond {
    Rows(Vec<Arc<MemorySource>>),
    /// Some of it may have been deleted, because blocks have it that this manifest names.
    Gone {
        manifest: u64,
    },
}

impl Logged {
    /// What a writer has acknowledged of a tenant, and `manifest` does not have.
    ///
    /// # Errors
    /// When the log cannot be listed or read: then nothing is known of its rows.
    pub(crate) async fn beyond(
        &self,
        writer: &Record,
        tenant: &TenantId,
        manifest: &Manifest,
    ) -> Result<Beyond, Error> {
        let watermark = manifest.published_by(&writer.writer()).0;
        let numbers = self.reader.numbers_after(&writer.incarnation, watermark).await?;
        let numbers: Vec<u64> = numbers.into_iter().collect();
        // What was deleted before the listing was in blocks of manifests of before. The newest manifest has it, so if that is
        // this one, the rows that are missing are of other tenants, or of none.
        if numbers.first().is_some_and(|first| *first > watermark + 1) {
            let newest = self.manifests.refresh(tenant).await?;
            if newest.sequence > manifest.sequence {
                return Ok(Beyond::Gone { manifest: newest.sequence });
            }
        }
        let read = runs(&numbers).into_iter().map(|run| async move {
            let key = TableKey::logged(writer.incarnation, tenant.clone(), &run);
            self.tables.get_or_load_all(&key, || self.read(writer, tenant, run).boxed()).await
        });
        let read: Vec<_> = stream::iter(read).buffered(2).try_collect().await?;
        Ok(Beyond::Rows(read.iter().flat_map(|sources| sources.iter().cloned()).collect()))
    }

    /// The rows of a tenant in some objects, the oldest first.
    async fn read(
        &self,
        writer: &Record,
        tenant: &TenantId,
        run: RangeInclusive<u64>,
    ) -> Result<Arc<[Arc<MemorySource>]>, Error> {
        let incarnation = writer.incarnation;
        let read = |number: u64| async move { Ok::<_, Error>((number, self.reader.read(&incarnation, number).await?)) };
        let mut objects = stream::iter(run).map(read).buffered(READ_AHEAD);
        let (mut rows, mut sources) = (TableBuilder::default(), Vec::new());
        while let Some(object) = objects.next().await {
            let (number, object): (u64, _) = object?;
            let key = paths::log_object(&incarnation, number);
            // listed a moment ago; deleted since, for blocks have it
            let object = object.ok_or_else(|| Error::ViewOutOfDate { reason: format!("{key} is in blocks now") })?;
            if !object.tenants.contains(tenant) {
                continue;
            }
            let of_tenant = tenant.clone();
            let appended = self.cpu.run(move || append(rows, &object, &of_tenant, &key)).await??;
            rows = appended.0;
            sources.extend(appended.1);
        }
        if !rows.is_empty() {
            sources.push(self.cpu.run(move || source(&rows)).await??);
        }
        Ok(sources.into())
    }
}

/// Adds the requests of a tenant; gives the tables that are full with this.
fn append(
    mut rows: TableBuilder,
    object: &LogObject,
    tenant: &TenantId,
    key: &object_store::path::Path,
) -> Result<(TableBuilder, Vec<Arc<MemorySource>>), Error> {
    let mut full = Vec::new();
    for (of_entry, payload) in object.entries(key)? {
        if of_entry == *tenant {
            rows.append(&payload)?;
            if rows.span_count() >= TABLE_SPANS || rows.memory_bytes() >= TABLE_BYTES {
                full.push(source(&std::mem::take(&mut rows))?);
            }
        }
    }
    Ok((rows, full))
}

fn source(rows: &TableBuilder) -> Result<Arc<MemorySource>, Error> {
    Ok(Arc::new(MemorySource::new(BlockId::generate(), rows.snapshot()?)?))
}

/// Numbers that follow each other, cut where a multiple of [`RUN`] lies between two.
fn runs(numbers: &[u64]) -> Vec<RangeInclusive<u64>> {
    let chunks = numbers.chunk_by(|one, next| *next == one + 1 && next / RUN == one / RUN);
    chunks.filter_map(|run| Some(*run.first()?..=*run.last()?)).collect()
}

#[cfg(test)]
mod tests;
