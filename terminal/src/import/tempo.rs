//! `mosso import tempo://BUCKET`: a Tempo's blocks, read where they lie.
//!
//! ```text
//! Location     tempo://… and the settings of the store → which store
//! find()       tenants → blocks within the range
//! Block        rows of a block → records; its place is a row
//! traces.rs    rows → resource spans         attributes.rs   lists and columns → attributes
//! columns.rs   nested columns, by name
//! ```

mod attributes;
mod columns;
mod traces;

#[cfg(test)]
mod tests;

use std::fmt;

use futures::{StreamExt, TryStreamExt};
use storage::config::{Backend, TraceConfig};
use storage::tempo::{TempoBlock, TempoBlocks, TempoStore, UnknownBlock};
use tokio::sync::mpsc;

use super::record::{Place, Record};
use crate::args::Times;
use crate::error::Error;

const SECOND: u64 = 1_000_000_000;

/// Where a Tempo's blocks lie: what the command names, over what the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Location {
    pub settings: TraceConfig,
    /// As the command has it.
    pub url: String,
}

impl Location {
    /// Reads `tempo://BUCKET/PREFIX`, `tempo:///FOLDER`, and `tempo://` for what `settings` name; `tempo+s3`, `tempo+gs` and
    /// `tempo+azure` name the kind of store where the settings do not. `None` for what does not begin like that.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub(super) fn parse(url: &str, settings: &TraceConfig) -> Option<Result<Self, String>> {
        let (scheme, rest) = url.split_once("://")?;
        let backend = match scheme {
            "tempo" if rest.starts_with('/') => Backend::Local,
            "tempo" if rest.is_empty() || settings.backend.is_remote() => settings.backend,
            "tempo" | "tempo+s3" => Backend::S3,
            "tempo+gs" => Backend::Gcs,
            "tempo+azure" => Backend::Azure,
            _ => return None,
        };
        let mut settings = TraceConfig { backend, ..settings.clone() };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_end_matches('/').to_owned());
        match backend {
            _ if rest.is_empty() && scheme == "tempo" => {}
            _ if rest.is_empty() => return Some(Err(format!("{url}: name a bucket after it"))),
            Backend::S3 => (settings.s3.bucket, settings.s3.prefix) = (bucket, prefix),
            Backend::Gcs => (settings.gcs.bucket_name, settings.gcs.prefix) = (bucket, prefix),
            Backend::Azure => (settings.azure.container_name, settings.azure.prefix) = (bucket, prefix),
            Backend::Local | Backend::Memory => settings.local.path = Some(rest.into()),
        }
        if backend == Backend::Local && settings.local.path.is_none() {
            let mend = "write tempo:///FOLDER or tempo://BUCKET, or name its configuration with --config.file";
            return Some(Err(format!("{url}: no store is named; {mend}")));
        }
        Some(Ok(Self { settings, url: url.to_owned() }))
    }

    /// Blocks that may hold spans of the range, tenant by tenant, the oldest first; and those that cannot be read.
    ///
    /// # Errors
    /// When the store cannot be read, or has nothing of a tenant that is named.
    pub(super) async fn find(
        &self,
        tenant: Option<&str>,
        times: Option<Times>,
    ) -> Result<(Vec<Block>, Vec<LeftOut>), Error> {
        let failed = |source| Error::Storage { what: self.url.clone(), source: Box::new(source) };
        let store = TempoStore::open(&self.settings).map_err(failed)?;
        let tenants = match tenant {
            Some(tenant) => vec![tenant.to_owned()],
            None => store.tenants().await.map_err(failed)?,
        };
        let (mut blocks, mut left_out) = (Vec::new(), Vec::new());
        let is_within =
            |start_seconds, end_seconds| times.is_none_or(|times| overlaps(start_seconds, end_seconds, times));
        for tenant in tenants {
            let TempoBlocks { readable, unknown } = store.blocks(&tenant).await.map_err(failed)?;
            let readable =
                readable.into_iter().filter(|block| is_within(block.meta.start_seconds, block.meta.end_seconds));
            let block = |block| Block { tenant: tenant.clone(), block, times, url: self.url.clone() };
            blocks.extend(readable.map(block));
            let unknown = unknown.into_iter().filter(|block| is_within(block.start_seconds, block.end_seconds));
            left_out.extend(unknown.map(|block| LeftOut { tenant: tenant.clone(), block }));
        }
        if blocks.is_empty() && left_out.is_empty() {
            let of = tenant.map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
            let in_range = if times.is_some() { " in this range" } else { "" };
            return Err(Error::Usage(format!("{}: there are no blocks of a Tempo{of}{in_range}", self.url)));
        }
        Ok((blocks, left_out))
    }
}

/// Tempo says in seconds when a block's spans lie.
fn overlaps(start_seconds: u64, end_seconds: u64, times: Times) -> bool {
    let end_nanos = (end_seconds + 1).saturating_mul(SECOND);
    start_seconds.saturating_mul(SECOND) < times.end_nanos && end_nanos > times.start_nanos
}

/// A block that cannot be read, because its encoding is not known.
pub(super) struct LeftOut {
    tenant: String,
    block: UnknownBlock,
}

impl LeftOut {
    pub(super) fn encoding(&self) -> &str {
        &self.block.format
    }

    pub(super) fn traces(&self) -> u64 {
        self.block.traces
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, block: UnknownBlock { block_id, format, traces, .. } } = self;
        write!(text, "{tenant}: block {block_id} is left out, {traces} traces: its encoding {format} is not known")
    }
}

/// A block of which the traces within a range are imported.
#[derive(Clone)]
pub(super) struct Block {
    pub tenant: String,
    block: TempoBlock,
    times: Option<Times>,
    url: String,
}

impl Block {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.url, self.block.key())
    }

    pub(super) fn traces(&self) -> u64 {
        self.block.meta.traces
    }

    /// Sends the traces from a row on, until there are no more or nobody takes them.
    pub(super) async fn read(self, start: Place, records: mpsc::Sender<Result<Record, Error>>) {
        if start.offset > 0 && start.offset >= self.traces() {
            return;
        }
        if let Err(error) = self.read_rows(start.offset, &records).await {
            // nobody is there to be told when this fails
            _ = records.send(Err(error)).await;
        }
    }

    async fn read_rows(&self, mut row: u64, records: &mpsc::Sender<Result<Record, Error>>) -> Result<(), Error> {
        let failed = |source| Error::Storage { what: self.url.clone(), source: Box::new(source) };
        let batches = self.block.traces(row, traces::is_read).await.map_err(failed)?;
        let mut batches = std::pin::pin!(batches.map(|batch| batch.map_err(failed)));
        while let Some(batch) = batches.try_next().await? {
            let resource_spans = traces::read(&batch, &self.block.meta, self.times).map_err(|reason| Error::Block {
                key: self.block.key().to_owned(),
                row,
                reason,
            })?;
            row += batch.num_rows() as u64;
            let next = Place { offset: row, parts: 0 };
            if records.send(Ok(Record { resource_spans, next })).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
