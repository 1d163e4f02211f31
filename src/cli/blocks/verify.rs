//! `mosso blocks verify`

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use model::{BlockId, ErrorKind, TenantId};
use serde::Serialize;
use storage::block::Verifier;
use storage::manifest::BlockEntry;
use storage::paths::BlockFile;

use crate::cli::Common;
use crate::cli::progress::Progress;
use crate::cli::report::{self, count, size};
use crate::cli::stored::Stored;

#[derive(Args)]
pub struct Arguments {
    /// The block's id, as `mosso blocks list` shows it.
    #[arg(required_unless_present = "all")]
    id: Option<BlockId>,
    /// Every block.
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Default, Serialize)]
struct Report {
    /// Blocks that were read.
    blocks: usize,
    bytes: u64,
    damages: Vec<Damage>,
}

#[derive(Serialize)]
struct Damage {
    tenant: String,
    /// None for a manifest.
    block_id: Option<BlockId>,
    /// Key of the file in the object store.
    key: String,
    reason: String,
    /// What to do.
    mend: &'static str,
}

pub(super) async fn run(arguments: &Arguments, stored: &Stored) -> Result<ExitCode> {
    let (mut report, mut blocks) = (Report::default(), Vec::new());
    match arguments.id {
        Some(id) => blocks.push(stored.block(id, arguments.common.tenant.as_ref()).await?),
        None => {
            for tenant in stored.tenants(arguments.common.tenant.as_ref())? {
                blocks.extend(report.blocks_of(tenant, stored).await?);
            }
        }
    }
    let progress = Progress::new(blocks.iter().map(|(_, entry)| entry.bytes()).sum());
    for (tenant, entry) in &blocks {
        report.verify(tenant, entry, stored, &progress).await?;
    }
    drop(progress);
    report::print(&report, arguments.common.json)?;
    Ok(report::exit_code(report.damages.is_empty()))
}

impl Report {
    /// The blocks of a tenant; none when its manifest is damaged.
    async fn blocks_of(&mut self, tenant: TenantId, stored: &Stored) -> Result<Vec<(TenantId, BlockEntry)>> {
        match stored.manifest(&tenant).await {
            Ok(manifest) => Ok(manifest.blocks.iter().map(|entry| (tenant.clone(), entry.clone())).collect()),
            Err(storage::Error::ManifestDamaged { key, reason }) => {
                let (tenant, mend) = (tenant.to_string(), MEND_MANIFEST);
                self.damages.push(Damage { tenant, block_id: None, key, reason, mend });
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
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
        if !damages.is_empty() && is_gone(tenant, entry, stored).await? {
            return Ok(());
        }
        self.blocks += 1;
        self.bytes += entry.bytes();
        self.damages.extend(damages.into_iter().map(|damage| Damage {
            tenant: tenant.to_string(),
            block_id: Some(entry.id),
            key: damage.key,
            reason: damage.reason,
            mend: mend(damage.file),
        }));
        Ok(())
    }
}

/// Whether compaction or retention has taken the block away meanwhile.
async fn is_gone(tenant: &TenantId, entry: &BlockEntry, stored: &Stored) -> Result<bool> {
    match stored.manifests.refresh(tenant).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
        manifest => Ok(manifest?.block(&entry.id).is_none()),
    }
}

const MEND_MANIFEST: &str = "put the object back from a backup, or delete it: the manifest before it then counts, without \
    what the last commit did; then restart. See docs/operations.md, \"A damaged manifest\"";

fn mend(file: BlockFile) -> &'static str {
    match file {
        BlockFile::Index => {
            "nothing: answers are right without it, only slower, and the next compaction of the block writes a new one"
        }
        BlockFile::Meta => {
            "put the file back from a backup: queries read the block without it, unchecked, and compaction leaves it alone"
        }
        BlockFile::Spans | BlockFile::Traces | BlockFile::Resources | BlockFile::Scopes => {
            "put the file back from a backup: until then answers say that they are partial, and the block stays until its \
             retention ends. See docs/operations.md, \"A damaged block\""
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Damage { tenant, block_id, key, reason, mend } in &self.damages {
            match block_id {
                Some(block_id) => writeln!(f, "damaged: block {block_id} of tenant {tenant}")?,
                None => writeln!(f, "damaged: manifest of tenant {tenant}")?,
            }
            writeln!(f, "  file    {key}\n  reason  {reason}\n  mend    {mend}\n")?;
        }
        let read = format!("{} read, {}", count(self.blocks, "block"), size(self.bytes));
        match self.damages.len() {
            0 => writeln!(f, "{read}: all as they were written"),
            damages => writeln!(f, "{read}: {} damaged", count(damages, "file")),
        }
    }
}
