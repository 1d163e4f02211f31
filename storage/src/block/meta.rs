//! `meta.json`: what a block holds, readable without opening a Parquet file.

use model::{BlockId, TenantId, TimeRange};
use serde::{Deserialize, Serialize};

/// Version of the block format that this code writes.
pub const VERSION: u32 = 1;

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
