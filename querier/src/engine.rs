//! What every question is answered with: the sources of a tenant, read and matched within a budget.
//!
//! ```text
//! plan ─▶ prune, candidates ─▶ scan ─▶ matcher ─▶ rows        one source, a row group at a time
//! sources ─▶ split ─▶ parts ─▶ merge                           traces that lie in several of them
//! budget ─ memory, turns, scans                               what a query spends, and how queries wait for each other
//! spread ─ deal, part                                         blocks that other processes look at
//! ```

pub(crate) mod budget;
pub(crate) mod candidates;
pub(crate) mod concurrent;
pub(crate) mod kinds;
pub(crate) mod matcher;
pub(crate) mod memory;
pub(crate) mod merge;
pub(crate) mod parts;
pub(crate) mod plan;
pub(crate) mod prune;
pub(crate) mod scan;
pub(crate) mod scans;
pub(crate) mod selection;
pub(crate) mod sources;
pub(crate) mod split_cache;
pub(crate) mod spread;
pub(crate) mod table_bytes;
pub(crate) mod turns;

use prometheus_client::registry::Registry;
use storage::CpuPool;

use self::budget::Shares;
use self::split_cache::{SharedCache, SplitCache, shared_cache, split_cache};
use self::spread::Spread;
use crate::config::Config;
use crate::telemetry::Telemetry;

/// What is known of split traces may take one in so many bytes of what is kept of metrics, and so may which traces live rows
/// share with blocks.
const SPLIT_SHARE: u64 = 4;
const SHARED_SHARE: u64 = 32;

/// What all queries of a process share.
pub(crate) struct Engine {
    pub config: Config,
    pub cpu: CpuPool,
    pub split: SplitCache,
    pub shared: SharedCache,
    pub telemetry: Telemetry,
    pub shares: Shares,
    /// What other processes do of the queries of this one.
    pub spread: Spread,
}

impl Engine {
    /// What it caches is counted by `storage`.
    pub fn new(config: Config, cpu: CpuPool, storage: &storage::Telemetry, registry: &mut Registry) -> Self {
        Self {
            cpu,
            split: split_cache(config.metrics_cache_max_bytes / SPLIT_SHARE, storage),
            shared: shared_cache(config.metrics_cache_max_bytes / SHARED_SHARE, storage),
            telemetry: Telemetry::new(registry),
            shares: Shares::new(&config),
            spread: Spread::default(),
            config,
        }
    }
}
