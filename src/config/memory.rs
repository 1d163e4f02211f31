//! `memory`: what the process may take, and how the other sections follow from it.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::MemoryBudget;
use storage::memory_budget::{LEAST_BUDGET_BYTES, Parts};

use super::Config;

/// `memory`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Bytes that are divided among caches, queries, live spans and compaction. 0: three fifths of what the control group
    /// of the process, or else the machine, has. What other sections set stands beside it.
    pub budget_bytes: u64,
}

/// Bytes of a process of a cluster for what processes have of each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerParts {
    /// Live spans of others that were fetched.
    pub fetched_tables: u64,
    /// Live spans of this process that others were told of, until they have fetched them.
    pub listed_tables: u64,
}

impl Memory {
    pub(super) fn validate(&self) -> Result<()> {
        if (1..LEAST_BUDGET_BYTES).contains(&self.budget_bytes) {
            bail!("memory.budget_bytes must be 0 or at least {LEAST_BUDGET_BYTES}");
        }
        Ok(())
    }
}

impl Config {
    /// The budget of the process, where what this file sets has replaced the parts.
    pub fn memory_budget(&self, cores: usize) -> MemoryBudget {
        let set = Some(self.memory.budget_bytes).filter(|bytes| *bytes > 0);
        let found = MemoryBudget::find(set, cores);
        let found = if self.storage.trace.backend.is_remote() { found } else { found.with_local_store() };
        let is_generating = self.overrides.user_configurable_overrides.enabled
            || self.generator().is_ok_and(|generated| generated.config.is_on());
        let found = if is_generating { found.with_generator() } else { found };
        let most_live_block_bytes = Parts::most_live_block_bytes(found.bytes, cores);
        MemoryBudget { parts: self.set_parts(found.parts, most_live_block_bytes), ..found }
    }

    fn set_parts(&self, found: Parts, most_live_block_bytes: usize) -> Parts {
        let (cache, querier, ingester) = (&self.storage.trace.block_cache, &self.querier, &self.ingester);
        let mut parts = Parts {
            block_cache: cache.max_bytes.unwrap_or(found.block_cache),
            page_cache: cache.max_page_bytes.unwrap_or(found.page_cache),
            metrics_cache: querier.metrics_cache_max_bytes.unwrap_or(found.metrics_cache),
            // one query alone may always take its share
            queries: found.queries.max(querier.max_memory_bytes_per_query.unwrap_or_default()),
            log_queue: ingester.max_queued_bytes.map_or(found.log_queue, |bytes| bytes as u64),
            ..found
        };
        if let Some(reads) = querier.max_concurrent_reads {
            parts = parts.with_concurrent_row_groups(reads.max(found.concurrent_row_groups()));
        }
        ingester.max_block_bytes.map_or(parts, |bytes| parts.with_live_block_bytes(bytes.min(most_live_block_bytes)))
    }

    /// Takes from the parts what is for live spans of other processes: what this one does not need for its own, or else half
    /// of what blocks have. And of those of this process what others were told of.
    pub fn take_for_peers(&self, parts: &mut Parts) -> PeerParts {
        if !self.cluster.enabled {
            return PeerParts::default();
        }
        if !self.target().takes_spans() {
            return PeerParts { fetched_tables: parts.live_rows + parts.log_queue, listed_tables: 0 };
        }
        let taken = PeerParts { fetched_tables: parts.block_cache / 2, listed_tables: parts.take_live_copy() };
        parts.block_cache -= taken.fetched_tables;
        taken
    }

    /// Says what is set and has no room in the budget.
    pub fn warn_of_memory(&self, parts: &Parts) {
        if let Some(bytes) = self.ingester.max_block_bytes.filter(|bytes| *bytes > parts.live_block_bytes()) {
            tracing::warn!(
                set = bytes,
                used = parts.live_block_bytes(),
                "ingester.max_block_bytes is more than live spans may take of the memory of the process: give it more \
                 memory, or leave the key out"
            );
        }
    }

    /// With what follows from the parts, where nothing is set.
    #[must_use]
    pub fn with_parts(mut self, parts: &Parts) -> Self {
        let cache = &mut self.storage.trace.block_cache;
        cache.max_bytes.get_or_insert(parts.block_cache);
        cache.max_page_bytes.get_or_insert(parts.page_cache);
        self.querier.metrics_cache_max_bytes.get_or_insert(parts.metrics_cache);
        self.querier.max_memory_bytes_per_query.get_or_insert(parts.of_one_query());
        self.querier.max_concurrent_reads.get_or_insert(parts.concurrent_row_groups());
        self.ingester.max_block_bytes = Some(parts.live_block_bytes());
        self.ingester.max_queued_bytes.get_or_insert(usize::try_from(parts.log_queue).unwrap_or(usize::MAX));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn planned(yaml: &str) -> (Config, Parts) {
        let config = Config::parse(yaml).unwrap();
        let parts = config.memory_budget(2).parts;
        (config.with_parts(&parts), parts)
    }

    #[test]
    fn sections_follow_from_the_budget_where_nothing_is_set() {
        let (config, parts) = planned("memory: {budget_bytes: 322122540}");
        let divided = Parts::divide(322_122_540, 2);
        let metrics_cache = divided.metrics_cache + divided.page_cache;
        assert_eq!(parts, Parts { page_cache: 0, metrics_cache, ..divided }, "the store is on this machine");
        let (querier, ingester) = (config.querier(), config.ingester());
        assert_eq!((querier.max_memory_bytes_per_query, querier.max_concurrent_reads), (parts.queries / 2, 5));
        assert_eq!(ingester.max_block_bytes as u64, parts.live_rows / 3);
        assert_eq!(ingester.max_queued_bytes as u64, parts.log_queue);
        assert_eq!(config.storage.trace.block_cache.max_bytes, Some(parts.block_cache));
        assert_eq!(Config::parse(&config.to_yaml()).unwrap(), config);
    }

    #[test]
    fn a_store_beyond_a_network_has_room_for_pages() {
        let (config, parts) =
            planned("{memory: {budget_bytes: 322122540}, storage: {trace: {backend: s3, s3: {bucket: traces}}}}");
        assert_eq!(parts, Parts::divide(322_122_540, 2));
        assert_eq!(config.storage.trace.block_cache.max_page_bytes, Some(parts.page_cache));
    }

    #[test]
    fn what_is_set_wins_over_the_parts() {
        let (config, parts) = planned(
            "
memory: {budget_bytes: 322122540}
ingester: {max_block_bytes: 1000, max_queued_bytes: 2000}
querier: {max_memory_bytes_per_query: 600000000, max_concurrent_reads: 20, metrics_cache_max_bytes: 0}
storage: {trace: {block_cache: {max_bytes: 7, max_page_bytes: 8}}}
",
        );
        let (querier, ingester) = (config.querier(), config.ingester());
        assert_eq!((ingester.max_block_bytes, ingester.max_queued_bytes), (1000, 2000));
        assert_eq!((querier.max_memory_bytes_per_query, parts.queries), (600_000_000, 600_000_000));
        assert_eq!((querier.max_concurrent_reads, parts.row_groups), (20, 160 * MIB));
        assert_eq!((querier.metrics_cache_max_bytes, parts.metrics_cache), (0, 0));
        assert_eq!((parts.block_cache, parts.page_cache, parts.live_rows, parts.log_queue), (7, 8, 3000, 2000));
    }

    #[test]
    fn a_writer_of_a_cluster_has_room_for_the_rows_of_a_cut_that_others_were_told_of() {
        let (config, alone) = planned("memory: {budget_bytes: 322122540}");
        assert_eq!(config.take_for_peers(&mut alone.clone()), PeerParts::default());
        for target in ["all", "writer"] {
            let yaml = format!(
                "
target: {target}
memory: {{budget_bytes: 322122540}}
storage: {{trace: {{local: {{path: /shared}}}}}}
cluster: {{enabled: true, listen_address: '127.0.0.1:4319'}}
"
            );
            let (config, mut parts) = planned(&yaml);
            let taken = config.take_for_peers(&mut parts);
            assert!(taken.listed_tables >= parts.live_block_bytes() as u64, "{taken:?} {parts:?}");
            assert_eq!(taken.listed_tables + parts.live_rows, alone.live_rows);
            assert_eq!(taken.fetched_tables + parts.block_cache, alone.block_cache);
        }
    }

    #[test]
    fn blocks_as_large_as_tempo_s_do_not_take_the_memory_of_the_others() {
        let of_tempo = "ingester: {max_block_bytes: 524288000}";
        let (config, parts) = planned(&format!("memory: {{budget_bytes: 322122540}}\n{of_tempo}"));
        assert!(parts.live_rows <= Parts::divide(322_122_540, 2).live_rows, "{parts:?}");
        assert_eq!(config.ingester().max_block_bytes, parts.live_block_bytes());
        let (config, _) = planned(&format!("memory: {{budget_bytes: 14000000000}}\n{of_tempo}"));
        assert_eq!(config.ingester().max_block_bytes, 524_288_000);
    }

    #[test]
    fn a_budget_that_is_too_small_is_refused_and_tempo_keys_are_read_over() {
        let error = Config::parse("memory: {budget_bytes: 1000}").unwrap_err().to_string();
        assert!(error.contains("memory.budget_bytes must be 0 or at least 67108864"), "{error}");
        let config = Config::parse("memory: {automemlimit_enabled: true}").unwrap();
        assert_eq!(config.not_applicable(), ["memory.automemlimit_enabled"]);
    }
}
