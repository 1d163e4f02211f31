//! Where things stand in a block: read to open it, and then to find a trace or a row group without the others.
//!
//! One object, `directory.bundle`, that is read in parts. Each part has a checksum:
//!
//! ```text
//! groups   for each row group where its columns stand in spans.parquet and in traces.parquet, zstd: length of the first
//!          u32 │ chunks │ chunks; see `chunks`
//! rollup   how many spans of each kind each row group has, zstd: number of rows u32 │ length of the first u32 │ chunks │
//!          columns as Parquet has them; see [`crate::rollup`]
//! ids      for each trace, ascending: 32 bits of a hash of its id │ its row in traces.parquet; see `ids`
//! continued  ids of the traces that older blocks have, too: 16 bytes each
//! schema   Parquet's metadata of the columns of spans.parquet, without row groups, zstd
//! head     JSON: the row groups, the attribute keys, where the parts stand, checksums of the dimensions
//! tail     start of the head u64 │ its length u32 │ its CRC-32 u32 │ "mosso-dr" │ version u32
//! ```
//!
//! Binary numbers are little-endian. A block is opened by one read of the last 64 KiB, whatever is in it, beside its
//! resources and scopes: a row group takes about 150 bytes of the head.

mod encode;
mod read;

use std::ops::Range;

use model::TimeRange;
use serde::{Deserialize, Serialize};

use super::footer::KeysByScope;

pub(super) use encode::{DirectoryBuilder, EncodedRollup, WrittenFiles};
pub(super) use read::{DecodedGroup, Directory};

/// Version of the directory that this code writes and reads.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"mosso-dr";
const TAIL_BYTES: usize = 8 + 4 + 4 + MAGIC.len() + 4;

/// What a directory says of its block.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    row_groups: Vec<RowGroupEntry>,
    ids: StoredPart,
    continued: StoredPart,
    schema: StoredPart,
    /// Missing where no row group is rolled up. As `rollup` there may be one of before it had slots, which is not read.
    #[serde(rename = "rollup_by_slot")]
    rollup: Option<StoredPart>,
    /// Every attribute key of the block.
    keys: KeysByScope,
    /// The span attributes of which a value stands in the list `attributes`: a query for another key need not read it.
    list_keys: KeysByScope,
    /// CRC-32 of `resources.parquet` and `scopes.parquet`.
    resources_crc32: u32,
    scopes_crc32: u32,
}

/// One row group, and where it is described.
#[derive(Debug, Serialize, Deserialize)]
struct RowGroupEntry {
    spans: u32,
    traces: u32,
    /// Earliest start and latest end of its spans.
    start_nanos: u64,
    end_nanos: u64,
    /// Latest start of its spans; missing in directories of before this was known, like the next.
    last_start_nanos: Option<u64>,
    /// How many spans its largest trace has.
    most_trace_spans: Option<u32>,
    /// In the directory: where its columns stand.
    chunks: StoredPart,
    /// In `traces.parquet`: its traces, without the last column, `services`, which stands behind them.
    trace_rows: StoredPart,
    services: StoredPart,
}

/// A range of bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredPart {
    start: u64,
    bytes: u64,
    /// Of these bytes; of the ids 0, for they have checksums of their own.
    crc32: u32,
}

impl StoredPart {
    fn of(start: u64, content: &[u8]) -> Self {
        Self { start, bytes: content.len() as u64, crc32: crc32fast::hash(content) }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.bytes)
    }

    pub(super) fn is_whole(&self, content: &[u8]) -> bool {
        content.len() as u64 == self.bytes && crc32fast::hash(content) == self.crc32
    }
}

impl RowGroupEntry {
    fn time_range(&self) -> TimeRange {
        TimeRange::new(self.start_nanos, self.end_nanos)
    }
}
