//! How far a backfill has come, in a file, so that it goes on there when it is started again.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The file of one tenant and range.
pub(super) struct ProgressFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Content {
    /// All that ended before this is sent, in unix nanoseconds.
    done_until_nanos: u64,
}

impl ProgressFile {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(format!("{name}.json")) }
    }

    /// Until when all is sent; `None` for a backfill that is new.
    pub(super) fn read(&self) -> Result<Option<u64>> {
        let bytes = match std::fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.with_context(|| format!("read {}", self.path.display()))?,
        };
        let content: Content = serde_json::from_slice(&bytes)
            .with_context(|| format!("read {}; delete it to begin anew", self.path.display()))?;
        Ok(Some(content.done_until_nanos))
    }

    /// Notes that all before this is sent; once it returns, a power cut changes nothing about that.
    pub(super) fn write(&self, done_until_nanos: u64) -> Result<()> {
        let write = || {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            let temporary = self.path.with_extension("tmp");
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(&Content { done_until_nanos })?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().with_context(|| format!("write {}", self.path.display()))
    }

    /// Forgets a backfill that is done.
    pub(super) fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
        .with_context(|| format!("delete {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_read_back_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let file = ProgressFile::new(&dir.path().join("new"), "a tenant");
        assert_eq!(file.read().unwrap(), None);
        file.write(7).unwrap();
        file.write(9).unwrap();
        assert_eq!(file.read().unwrap(), Some(9));
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.read().unwrap(), None);
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.json"), "no").unwrap();
        let error = ProgressFile::new(dir.path(), "x").read().unwrap_err();
        assert!(error.to_string().ends_with("x.json; delete it to begin anew"), "{error}");
    }
}
