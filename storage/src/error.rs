//! What can go wrong at rest, and what a caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use model::{BlockId, ErrorKind, TenantId};

use crate::ids::WriterId;
use crate::publish_deadline::MAX_UNPUBLISHED;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{action} {key}: {source}")]
    Objects { action: &'static str, key: String, source: object_store::Error },
    /// A value of the configuration that cannot work.
    #[error("{key} {reason}")]
    Setting { key: &'static str, reason: String },
    /// A store on which manifests would overwrite each other.
    #[error(
        "the store overwrote an object that was to be created only if absent: writers would lose each other's blocks"
    )]
    CreateOverwrites,
    #[error("data folder {} cannot be used: {source}", path.display())]
    DataDirUnusable { path: PathBuf, source: io::Error },
    #[error("data folder {} is in use by another mosso process", path.display())]
    DataDirInUse { path: PathBuf },
    #[error("writer id {} is damaged: {reason}", path.display())]
    WriterIdDamaged { path: PathBuf, reason: String },
    #[error("incarnations {} is damaged: {reason}", path.display())]
    IncarnationsDamaged { path: PathBuf, reason: String },
    /// Who goes on would take for published what the other has published, and delete it from its log.
    #[error(
        "another process writes as {writer_id}, as the manifest of tenant {tenant} shows: this data folder is a copy, or \
         there is one of it; to go on with this one, delete its file writer-id, and its log is published under a new id"
    )]
    WriterElsewhere { tenant: TenantId, writer_id: WriterId },
    /// Others have taken over this start of a writer: its log was sealed, or what it had is in blocks. A new start goes on.
    #[error("the log of this process was closed by others, because they did not hear of it; it goes on under a new id")]
    WriterRetired,
    /// Something is where the log of this start alone is written.
    #[error("{key} was written by somebody else: two processes write one log")]
    LogElsewhere { key: String },
    /// An object of a log that is on the bucket cannot be used.
    #[error("log object {key} is damaged: {reason}")]
    LogObjectDamaged { key: String, reason: String },
    #[error("log object {key} has version {found}, this program knows version {known}")]
    LogObjectVersion { key: String, found: u32, known: u32 },
    /// Others have published rows of the same log: what was made of it is out of date.
    #[error("the log of writer {writer_id} was published further by others, as the manifest of tenant {tenant} shows")]
    WatermarkMoved { tenant: TenantId, writer_id: WriterId },
    #[error("log segment {} has version {found}, this program knows version {known}", path.display())]
    SegmentVersion { path: PathBuf, found: u32, known: u32 },
    #[error("a log entry of tenant {tenant} has {bytes} bytes, at most {max_bytes} are allowed")]
    EntryTooLarge { tenant: TenantId, bytes: usize, max_bytes: usize },
    /// The newest manifest cannot be trusted. The tenant stays unreadable until the object is repaired or removed by hand.
    #[error("manifest {key} is damaged: {reason}")]
    ManifestDamaged { key: String, reason: String },
    #[error("manifest {key} has version {found}, this program knows version {known}")]
    ManifestVersion { key: String, found: u32, known: u32 },
    #[error("manifest of tenant {tenant} was changed by others {attempts} times in a row, gave up")]
    CommitContention { tenant: TenantId, attempts: usize },
    /// A file of a block is not what its manifest and format say.
    #[error("{key} is damaged: {reason}")]
    BlockDamaged { key: String, reason: String },
    /// Blocks that a commit wants to replace are no longer in the manifest: its work is out of date.
    #[error("blocks to replace are gone from the manifest of tenant {tenant}, the first is {block_id}")]
    BlocksGone { tenant: TenantId, block_id: BlockId },
    /// A block whose files others may have deleted since it was begun. It was not published.
    #[error("a block of tenant {tenant} was begun more than {MAX_UNPUBLISHED:?} ago, it has to be written anew")]
    TooLate { tenant: TenantId },
    #[error("write an index: {0}")]
    Index(#[source] io::Error),
    /// A check before a commit that would lose data.
    #[error("compaction of tenant {tenant} read {read} spans and wrote {written}, it was not committed")]
    SpansMissing { tenant: TenantId, read: u64, written: u64 },
    #[error("live spans cannot be read: {reason}")]
    LiveSpans { reason: String },
    /// A query has to begin again, with a view that is newer.
    #[error("live rows of another process can no longer be read: {reason}")]
    ViewOutOfDate { reason: String },
    /// What is said of the processes of a cluster cannot be used.
    #[error("{key} {reason}")]
    Members { key: String, reason: String },
    #[error("CPU-bound work panicked: {message}")]
    Panicked { message: String },
    #[error("the process is stopping")]
    Stopping,
    #[error(transparent)]
    Spans(#[from] spans::Error),
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl Error {
    /// Whether the store is to be asked again: it does not answer now, and has not said that others have taken over.
    pub fn is_store_away(&self) -> bool {
        self.kind() == ErrorKind::Unavailable && !matches!(self, Self::WriterRetired)
    }

    /// For `map_err`: what was tried, and on which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// For `map_err`: what was tried, and on which object.
    pub fn objects(action: &'static str, key: &object_store::path::Path) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Objects { action, key: key.to_string(), source }
    }

    /// Something that is said of writers and cannot be used; `reason` goes on from the key.
    pub(crate) fn members(key: &object_store::path::Path, reason: impl Into<String>) -> Self {
        Self::Members { key: key.to_string(), reason: reason.into() }
    }

    /// A value of the configuration that cannot work; `reason` goes on from the key: "is missing".
    pub(crate) fn setting(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { key, reason: reason.into() }
    }

    /// A file of a block that is not as it must be.
    pub(crate) fn block_damaged(key: &str, reason: impl Into<String>) -> Self {
        Self::BlockDamaged { key: key.to_owned(), reason: reason.into() }
    }

    /// Whether it passes once there is room for files again.
    pub(crate) fn is_full_disk(&self) -> bool {
        // a limit on the size of files has the same effect and the same remedy
        const FULL: [io::ErrorKind; 3] =
            [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        matches!(self, Self::Io { source, .. } if FULL.contains(&source.kind()))
    }

    /// What the caller should do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Objects { source: object_store::Error::NotFound { .. }, .. } => ErrorKind::NotFound,
            Self::Io { .. } | Self::Objects { .. } | Self::Stopping => ErrorKind::Unavailable,
            Self::DataDirUnusable { .. } | Self::DataDirInUse { .. } => ErrorKind::Unavailable,
            Self::CommitContention { .. } | Self::TooLate { .. } => ErrorKind::Unavailable,
            Self::ViewOutOfDate { .. } | Self::Members { .. } => ErrorKind::Unavailable,
            Self::WriterRetired | Self::WatermarkMoved { .. } => ErrorKind::Unavailable,
            Self::EntryTooLarge { .. } | Self::Setting { .. } => ErrorKind::InvalidInput,
            Self::BlocksGone { .. } => ErrorKind::NotFound,
            Self::WriterIdDamaged { .. } | Self::IncarnationsDamaged { .. } | Self::SegmentVersion { .. } => {
                ErrorKind::Corrupt
            }
            Self::ManifestDamaged { .. } | Self::ManifestVersion { .. } | Self::BlockDamaged { .. } => {
                ErrorKind::Corrupt
            }
            Self::LogObjectDamaged { .. } | Self::LogObjectVersion { .. } => ErrorKind::Corrupt,
            Self::Spans(error) => error.kind(),
            Self::Parquet(_) => ErrorKind::Corrupt,
            Self::Arrow(_)
            | Self::Panicked { .. }
            | Self::CreateOverwrites
            | Self::WriterElsewhere { .. }
            | Self::LogElsewhere { .. }
            | Self::LiveSpans { .. }
            | Self::Index(_)
            | Self::SpansMissing { .. } => ErrorKind::Internal,
        }
    }
}
