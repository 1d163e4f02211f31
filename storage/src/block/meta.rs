//! `meta.json`: what a block holds, readable without opening a Parquet file.

use model::{BlockId, TenantId, TimeRange};
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::exact;
use crate::manifest::BlockEntry;
use crate::paths::{self, BlockFile};

/// Version of the block format that this code writes.
pub const VERSION: u32 = 2;
/// The version before, which this code reads: it has no `directory.bundle`.
const VERSION_WITHOUT_DIRECTORY: u32 = 1;

/// What a block holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMeta {
    /// Version of the format.
    pub version: u32,
    pub id: BlockId,
    pub tenant: String,
    /// Earliest start of a span, unix nanoseconds.
    pub start_nanos: u64,
    /// Latest end of a span, unix nanoseconds.
    pub end_nanos: u64,
    pub trace_count: u64,
    pub span_count: u64,
    pub files: Vec<FileMeta>,
}

/// Size and checksum of one file of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// Name inside the block's folder.
    pub name: String,
    pub bytes: u64,
    /// CRC-32 (IEEE) of the whole file.
    pub crc32: u32,
}

impl BlockMeta {
    /// Bytes of all files but this one.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Size and checksum of a file; `None` for one that the block does not have.
    pub fn file(&self, file: BlockFile) -> Option<&FileMeta> {
        self.files.iter().find(|known| known.name == file.name())
    }

    /// Size and checksum of a file that the block must have, and that has this key.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] when it is not listed.
    pub(super) fn listed(&self, file: BlockFile, key: &Path) -> Result<&FileMeta, Error> {
        self.file(file).ok_or_else(|| Error::block_damaged(key.as_ref(), "meta.json does not list it"))
    }

    /// Reads the meta of a block that a manifest names.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] when it is not the meta of this block, or leaves out a file.
    pub(crate) async fn read(objects: &dyn ObjectStore, tenant: &TenantId, entry: &BlockEntry) -> Result<Self, Error> {
        let key = paths::block_file(tenant, &entry.id, BlockFile::Meta);
        let bytes = exact::whole(objects, &key).await.map_err(Error::objects("read", &key))?;
        Self::decode(&bytes, &key, tenant, entry)
    }

    fn decode(bytes: &[u8], key: &Path, tenant: &TenantId, entry: &BlockEntry) -> Result<Self, Error> {
        let damaged = |reason: String| Error::block_damaged(key.as_ref(), reason);
        let meta: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let expected = if entry.files.directory_bytes == 0 { VERSION_WITHOUT_DIRECTORY } else { VERSION };
        if meta.version != expected {
            return Err(damaged(format!("it has version {}, the manifest says {expected}", meta.version)));
        }
        let of_meta = (meta.id, meta.start_nanos, meta.end_nanos, meta.trace_count, meta.span_count);
        let of_entry = (entry.id, entry.start_nanos, entry.end_nanos, entry.traces, entry.spans);
        if meta.tenant != tenant.as_str() || of_meta != of_entry {
            return Err(damaged("it does not describe the block that the manifest names".to_owned()));
        }
        for file in BlockFile::ALL {
            let listed = meta.file(file).map_or(0, |listed| listed.bytes);
            if entry.files.bytes_of(file).is_some_and(|bytes| bytes != listed) {
                return Err(damaged(format!("the manifest gives {} another size", file.name())));
            }
        }
        Ok(meta)
    }

    pub(crate) fn new(id: BlockId, tenant: &TenantId, range: TimeRange, trace_count: usize, span_count: usize) -> Self {
        Self {
            version: VERSION,
            id,
            tenant: tenant.as_str().to_owned(),
            start_nanos: range.start_nanos,
            end_nanos: range.end_nanos,
            trace_count: trace_count as u64,
            span_count: span_count as u64,
            files: Vec::new(),
        }
    }
}
