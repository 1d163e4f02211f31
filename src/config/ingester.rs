//! `ingester`: live spans.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::GoDuration;

/// `ingester`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngesterSection {
    /// Age at which live spans become a block at the latest.
    pub max_block_duration: GoDuration,
    /// Bytes of memory that live spans hold before they become a block; four times as many are held while one is written.
    /// Not set: from the memory of the process.
    pub max_block_bytes: Option<usize>,
    /// Bytes of requests that may wait for the log. Not set: from the memory of the process.
    pub max_queued_bytes: Option<usize>,
}

impl Default for IngesterSection {
    fn default() -> Self {
        let defaults = ingester::Config::default();
        Self {
            max_block_duration: GoDuration::from_secs(defaults.max_block_duration.as_secs()),
            max_block_bytes: None,
            max_queued_bytes: None,
        }
    }
}
