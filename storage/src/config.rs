//! Settings of this crate, under Tempo's names.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::paths::DataDir;

/// Where data is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub trace: TraceConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceConfig {
    /// Which object store holds the blocks. Default `local`: it needs nothing else to run.
    pub backend: Backend,
    /// Root of the local object store. Default: `blocks` in the data folder. No other process may write there.
    pub local: FolderConfig,
    /// Folder of the write-ahead log. Default: `wal` in the data folder. If set, the lock and the writer's id lie in it too.
    pub wal: FolderConfig,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Files in a local folder.
    #[default]
    Local,
    /// Nothing survives the process; for tests and trials.
    Memory,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FolderConfig {
    pub path: Option<PathBuf>,
}

impl TraceConfig {
    /// The data folder `root`, with the folders that are set here in place of its own.
    pub fn data_dir(&self, root: impl Into<PathBuf>) -> DataDir {
        let mut dir = DataDir::new(root);
        if let Some(path) = &self.wal.path {
            dir = dir.with_wal_dir(path);
        }
        if let Some(path) = &self.local.path {
            dir = dir.with_blocks_dir(path);
        }
        dir
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn tempo_keys_are_understood_and_unknown_ones_are_named() {
        let text = r#"{"trace": {"backend": "local", "wal": {"path": "/var/wal"}, "local": {"path": "/var/blocks"}}}"#;
        let dir = serde_json::from_str::<Config>(text).unwrap().trace.data_dir("data");
        assert_eq!((dir.wal_dir(), dir.blocks_dir()), (Path::new("/var/wal"), Path::new("/var/blocks")));
        assert_eq!(dir.lock_file(), Path::new("/var/wal/lock"));
        let dir = Config::default().trace.data_dir("data");
        assert_eq!((dir.wal_dir(), dir.blocks_dir()), (Path::new("data/wal"), Path::new("data/blocks")));
        assert_eq!(dir.lock_file(), Path::new("data/lock"));
        let error = serde_json::from_str::<Config>(r#"{"trace": {"backnd": "local"}}"#).unwrap_err();
        assert!(error.to_string().contains("backnd"), "{error}");
    }
}
