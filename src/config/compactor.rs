//! `compactor`: how long blocks are kept, and which are merged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::GoDuration;

/// `compactor`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compactor {
    pub compaction: Compaction,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compaction {
    /// How long spans are kept after their end, or after they were written if that is later. 7 days.
    pub block_retention: GoDuration,
    /// Blocks whose newest spans ended in the same window are merged. 1 hour (Tempo's default). While a window gets new blocks,
    /// in one of the past until a sixtieth of its length goes by without, eight are merged at a time.
    pub compaction_window: GoDuration,
    /// How often blocks to be merged are looked for. 5 seconds: to look costs nothing while there are none.
    pub compaction_cycle: GoDuration,
    /// Most traces of a merged block. 6 million (Tempo's default); the memory of a merge sets a lower limit.
    pub max_compaction_objects: u64,
    /// Most bytes of a merged block. 2 GiB: a block is rewritten as a whole, and larger ones make no query faster.
    pub max_block_bytes: u64,
    /// How long the files of a block stay that was merged, has expired, or was never finished. 1 hour (Tempo's default):
    /// longer than any query takes, and than any block may be under way.
    pub compacted_block_retention: GoDuration,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            block_retention: GoDuration::from_secs(7 * 24 * 3600),
            compaction_window: GoDuration::from_secs(3600),
            compaction_cycle: GoDuration::from_secs(5),
            max_compaction_objects: 6_000_000,
            max_block_bytes: 2 << 30,
            compacted_block_retention: GoDuration::from_secs(3600),
        }
    }
}
