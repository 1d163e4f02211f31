//! Settings of this crate, under Tempo's names.

mod azure;
mod duration;
mod gcs;
mod s3;
mod secret;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::paths::DataDir;

pub use azure::AzureConfig;
pub use duration::GoDuration;
pub use gcs::GcsConfig;
pub use s3::{BucketLookup, S3Config};
pub use secret::Secret;

/// Bytes of one part of a large upload: small enough for a few of them in flight, large enough that the parts of any
/// block stay far below the 10,000 that S3 allows.
pub(crate) const DEFAULT_PART_BYTES: u64 = 8 << 20;
/// Tempo's default.
pub(crate) const DEFAULT_ATTEMPTS: usize = 10;

/// Where data is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub trace: TraceConfig,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TraceConfig {
    /// Which object store holds the blocks. Default `local`: it needs nothing else to run.
    pub backend: Backend,
    /// Root of the local object store. Default: `blocks` in the data folder. No other process may write there.
    pub local: FolderConfig,
    /// Folder of the write-ahead log. Default: `wal` in the data folder. If set, the lock and the writer's id lie in it too.
    pub wal: FolderConfig,
    pub block_cache: BlockCacheConfig,
    /// With `backend: s3`.
    #[serde(skip_serializing_if = "is_default")]
    pub s3: S3Config,
    /// With `backend: gcs`.
    #[serde(skip_serializing_if = "is_default")]
    pub gcs: GcsConfig,
    /// With `backend: azure`.
    #[serde(skip_serializing_if = "is_default")]
    pub azure: AzureConfig,

    /// How often blocks that other processes have published or removed are looked for. 1 minute: they become blocks after
    /// some minutes, and a look costs one LIST for each tenant.
    pub blocklist_poll: GoDuration,
}

/// For `skip_serializing_if`.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Files in a local folder.
    #[default]
    #[serde(alias = "")]
    Local,
    /// S3, or what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// Nothing survives the process; for tests and trials.
    Memory,
}

impl Backend {
    /// Whether blocks lie beyond a network, where others may write too.
    pub fn is_remote(self) -> bool {
        matches!(self, Self::S3 | Self::Gcs | Self::Azure)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FolderConfig {
    /// A folder. Not set: one in `data_dir`.
    #[serde(deserialize_with = "optional_path")]
    pub path: Option<PathBuf>,
}

/// Reads a path; an empty one is none, as in Tempo.
pub fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = Option::<PathBuf>::deserialize(deserializer)?;
    Ok(path.filter(|path| !path.as_os_str().is_empty()))
}

/// What is kept in memory of stored blocks between queries. What is not set follows from the memory of the process
/// ([`MemoryBudget`](crate::MemoryBudget)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BlockCacheConfig {
    /// Bytes of small tables, footers, indexes and trace maps. 96 MiB hold the tables of some 500,000 traces.
    pub max_bytes: Option<u64>,
    /// Bytes of pages of columns, besides. Not with `backend: local`: there the system keeps them.
    pub max_page_bytes: Option<u64>,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            local: FolderConfig::default(),
            wal: FolderConfig::default(),
            block_cache: BlockCacheConfig::default(),
            s3: S3Config::default(),
            gcs: GcsConfig::default(),
            azure: AzureConfig::default(),
            blocklist_poll: GoDuration::from_secs(60),
        }
    }
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

    /// The store's name for people: `s3 bucket traces`.
    pub fn store_name(&self) -> String {
        match self.backend {
            Backend::Local => "local block folder".to_owned(),
            Backend::Memory => "store in memory".to_owned(),
            Backend::S3 => format!("s3 bucket {}", self.s3.bucket),
            Backend::Gcs => format!("gcs bucket {}", self.gcs.bucket_name),
            Backend::Azure => format!("azure container {}", self.azure.container_name),
        }
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

    #[test]
    fn secrets_are_read_and_never_shown() {
        let text = r#"{"trace": {
            "s3": {"access_key": "who", "secret_key": "hush", "session_token": "hush"},
            "azure": {"storage_account_name": "who", "storage_account_key": "hush"}
        }}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(config.trace.s3.secret_key.expose(), "hush");
        for shown in [serde_json::to_string(&config).unwrap(), format!("{config:?}")] {
            assert!(shown.contains("who") && shown.contains("********") && !shown.contains("hush"), "{shown}");
        }
        let shown = serde_json::to_string(&Config::default()).unwrap();
        assert!(!shown.contains("***") && !shown.contains("s3"), "{shown}");
    }
}
