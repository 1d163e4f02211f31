//! The files of a data folder, to be looked at and damaged.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// How a file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A bit in every eight bytes.
    Flip,
    /// All but the first bytes is gone.
    Cut,
    Delete,
}

impl Damage {
    pub const ALL: [Self; 3] = [Self::Flip, Self::Cut, Self::Delete];

    pub fn inflict(self, path: &Path) -> Result<()> {
        let content = || std::fs::read(path).with_context(|| format!("read {}", path.display()));
        match self {
            Self::Flip => {
                let mut content = content()?;
                content.iter_mut().step_by(8).for_each(|byte| *byte ^= 0x10);
                std::fs::write(path, content)?;
            }
            Self::Cut => {
                let content = content()?;
                std::fs::write(path, &content[..content.len().min(16)])?;
            }
            Self::Delete => std::fs::remove_file(path)?,
        }
        Ok(())
    }
}

/// The folders of the blocks that a tenant's manifest names, oldest first. Folders of merged ones lie beside them for long.
pub fn blocks(dir: &Path, tenant: &str) -> Result<Vec<PathBuf>> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest(dir, tenant)?)?)?;
    let named = manifest["manifest"]["blocks"].as_array().context("the manifest has blocks")?;
    let folder = dir.join("data/blocks").join(tenant).join("blocks");
    named.iter().map(|block| Ok(folder.join(block["id"].as_str().context("a block has an id")?))).collect()
}

/// A tenant's trace maps, oldest first.
pub fn trace_maps(dir: &Path, tenant: &str) -> Result<Vec<PathBuf>> {
    sorted(&dir.join("data/blocks").join(tenant).join("trace-maps"))
}

/// The newest manifest of a tenant.
pub fn manifest(dir: &Path, tenant: &str) -> Result<PathBuf> {
    sorted(&dir.join("data/blocks").join(tenant).join("manifest"))?.pop().context("there is a manifest")
}

/// The log's segments, oldest first.
pub fn segments(dir: &Path) -> Result<Vec<PathBuf>> {
    sorted(&dir.join("data/wal"))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Every file below a folder and its content.
pub fn snapshot(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for path in sorted(folder)? {
        if path.is_dir() {
            files.extend(snapshot(&path)?);
        } else {
            let content = std::fs::read(&path)?;
            files.push((path, content));
        }
    }
    Ok(files)
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
