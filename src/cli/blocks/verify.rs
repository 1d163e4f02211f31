//! `mosso blocks verify`

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use model::{BlockId, ErrorKind, TenantId};
use serde::Serialize;
use storage::block::Verifier;
use storage::ids::TraceMapId;
use storage::manifest::{BlockEntry, Manifest, TraceMapEntry};
use storage::paths::{self, BlockFile};
use storage::trace_mapper::{self, Fault};

use crate::cli::Common;
use crate::cli::progress::Progress;
use crate::cli::report::{self, count, size};
use crate::cli::stored::Stored;

#[derive(Args)]
pub struct Arguments {
    /// The block's id, as `mosso blocks list` shows it.
    #[arg(required_unless_present = "all")]
    id: Option<BlockId>,
    /// Every block and every trace map.
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Default, Serialize)]
struct Report {
    /// Blocks that were read.
    blocks: usize,
    /// Trace maps that were read.
    trace_maps: usize,
    bytes: u64,
    damages: Vec<Damage>,
}

#[derive(Serialize)]
struct Damage {
    tenant: String,
    /// Of which block, of which trace map; neither for a manifest.
    block_id: Option<BlockId>,
    trace_map_id: Option<TraceMapId>,
    /// Key of the file in the object store.
    key: String,
    reason: String,
    /// What to do.
    mend: &'static str,
}

pub(super) async fn run(arguments: &Arguments, stored: &Stored) -> Result<ExitCode> {
    let (mut report, mut blocks, mut trace_maps) = (Report::default(), Vec::new(), Vec::new());
    match arguments.id {
        Some(id) => blocks.push(stored.block(id, arguments.common.tenant.as_ref()).await?),
        None => {
            for tenant in stored.tenants(arguments.common.tenant.as_ref())? {
                let Some(manifest) = report.manifest(&tenant, stored).await? else { continue };
                blocks.extend(manifest.blocks.iter().map(|entry| (tenant.clone(), entry.clone())));
                trace_maps.extend(manifest.trace_maps.iter().map(|map| (tenant.clone(), map.clone())));
            }
        }
    }
    let of_blocks: u64 = blocks.iter().map(|(_, entry)| entry.bytes()).sum();
    let progress = Progress::new(of_blocks + trace_maps.iter().map(|(_, map)| map.bytes).sum::<u64>());
    for (tenant, entry) in &blocks {
        report.verify(tenant, entry, stored, &progress).await?;
    }
    for (tenant, map) in &trace_maps {
        report.verify_trace_map(tenant, map, stored, &progress).await?;
    }
    drop(progress);
    report::print(&report, arguments.common.json)?;
    Ok(report::exit_code(report.damages.is_empty()))
}

impl Report {
    /// The manifest of a tenant; `None` when it is damaged.
    async fn manifest(&mut self, tenant: &TenantId, stored: &Stored) -> Result<Option<Arc<Manifest>>> {
        match stored.manifest(tenant).await {
            Err(storage::Error::ManifestDamaged { key, reason }) => {
                let (tenant, mend) = (tenant.to_string(), MEND_MANIFEST);
                self.damages.push(Damage { tenant, block_id: None, trace_map_id: None, key, reason, mend });
                Ok(None)
            }
            result => Ok(Some(result?)),
        }
    }

    async fn verify(
        &mut self,
        tenant: &TenantId,
        entry: &BlockEntry,
        stored: &Stored,
        progress: &Progress,
    ) -> Result<()> {
        let read = |bytes| progress.add(bytes);
        let verifier = Verifier { tenant, entry, objects: &stored.objects, cpu: &stored.cpu, read: &read };
        let damages = verifier.damages().await?;
        if !damages.is_empty() && is_gone(tenant, stored, |manifest| manifest.block(&entry.id).is_none()).await? {
            return Ok(());
        }
        self.blocks += 1;
        self.bytes += entry.bytes();
        self.damages.extend(damages.into_iter().map(|damage| Damage {
            tenant: tenant.to_string(),
            block_id: Some(entry.id),
            trace_map_id: None,
            key: damage.key,
            reason: damage.reason,
            mend: mend(damage.file),
        }));
        Ok(())
    }

    async fn verify_trace_map(
        &mut self,
        tenant: &TenantId,
        map: &TraceMapEntry,
        stored: &Stored,
        progress: &Progress,
    ) -> Result<()> {
        let manifest = stored.manifest(tenant).await?;
        let fault = trace_mapper::fault(tenant, map, &manifest, &stored.objects, &stored.cpu).await?;
        progress.add(map.bytes);
        if fault.is_some() && is_gone(tenant, stored, |manifest| manifest.trace_map(&map.id).is_none()).await? {
            return Ok(());
        }
        self.trace_maps += 1;
        self.bytes += map.bytes;
        self.damages.extend(fault.map(|fault| {
            let (reason, mend) = match fault {
                Fault::Damaged(reason) => (reason, MEND_TRACE_MAP),
                Fault::Lacks { trace_id, block_id } => {
                    (format!("it lacks trace {trace_id} of block {block_id}"), MEND_LACKING_TRACE_MAP)
                }
            };
            let key = paths::trace_map(tenant, &map.id).to_string();
            Damage { tenant: tenant.to_string(), block_id: None, trace_map_id: Some(map.id), key, reason, mend }
        }));
        Ok(())
    }
}

/// Whether compaction, retention or a larger trace map has meanwhile taken away what `is_gone_from` looks for.
async fn is_gone(tenant: &TenantId, stored: &Stored, is_gone_from: impl Fn(&Manifest) -> bool) -> Result<bool> {
    match stored.manifests.refresh(tenant).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
        manifest => Ok(is_gone_from(&*manifest?)),
    }
}

const MEND_MANIFEST: &str = "put the object back from a backup, or delete it: the manifest before it then counts, without \
    what the last commit did; then restart. See docs/operations.md, \"A damaged manifest\"";

const MEND_TRACE_MAP: &str =
    "nothing: answers are right without it, only slower, and it is made anew when it is next merged with others";
const MEND_LACKING_TRACE_MAP: &str = "delete the object and restart: its blocks are then asked themselves, which is right \
    and slower, and a new map is made when it is next merged with others";

fn mend(file: BlockFile) -> &'static str {
    match file {
        BlockFile::Index => {
            "nothing: answers are right without it, only slower, and the next compaction of the block writes a new one"
        }
        BlockFile::Meta => {
            "put the file back from a backup: queries read the block without it, unchecked, and compaction leaves it alone"
        }
        BlockFile::Spans | BlockFile::Traces | BlockFile::Resources | BlockFile::Scopes | BlockFile::Directory => {
            "put the file back from a backup: until then answers say that they are partial, and the block stays until its \
             retention ends. See docs/operations.md, \"A damaged block\""
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Damage { tenant, block_id, trace_map_id, key, reason, mend } in &self.damages {
            match (block_id, trace_map_id) {
                (Some(block_id), _) => writeln!(f, "damaged: block {block_id} of tenant {tenant}")?,
                (None, Some(id)) => writeln!(f, "damaged: trace map {id} of tenant {tenant}")?,
                (None, None) => writeln!(f, "damaged: manifest of tenant {tenant}")?,
            }
            writeln!(f, "  file    {key}\n  reason  {reason}\n  mend    {mend}\n")?;
        }
        let trace_maps = match self.trace_maps {
            0 => String::new(),
            trace_maps => format!(" and {}", count(trace_maps, "trace map")),
        };
        let read = format!("{}{trace_maps} read, {}", count(self.blocks, "block"), size(self.bytes));
        match self.damages.len() {
            0 => writeln!(f, "{read}: all as they were written"),
            damages => writeln!(f, "{read}: {} damaged", count(damages, "file")),
        }
    }
}
