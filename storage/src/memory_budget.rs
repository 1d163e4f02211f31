//! One budget of memory for the process: how much it may take, and which part of it each of its users gets.
//!
//! ```text
//! limit (cgroup or machine) ─▶ budget: three fifths ─▶ parts: row groups under way, then shares of what is left
//! ```
//!
//! Owns the figures. What a part is spent on, and that no more is, is for whoever has it. The two fifths beside the budget
//! are for what nobody counts: the program itself, requests being received, the answer that leaves, what the allocator
//! keeps aside.

mod limit;
mod usage;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use limit::{Limit, LimitSource};
pub use usage::ProcessStatus;

const MIB: u64 = 1 << 20;

/// No budget is smaller: with less no query could be answered and no block be merged.
pub const LEAST_BUDGET_BYTES: u64 = 64 * MIB;
/// Stands for the limit where nothing tells it.
const ASSUMED_LIMIT_BYTES: u64 = 4 << 30;

/// Memory of a row group that a query reads: some columns of up to 131,072 spans, decoded, and what is evaluated on them.
/// Between 4 and 16 MiB were seen.
const ROW_GROUP_BYTES: u64 = 8 * MIB;
/// More row groups at a time hide no more latency of a store.
const MOST_ROW_GROUPS: u64 = 16;
const ROW_GROUPS_PERCENT: u64 = 14;
/// Row groups never take more than one in so many bytes of the budget, whatever the cores.
const ROW_GROUPS_FRACTION: u64 = 3;

/// Live rows, rows whose block is written, and the row group of it that is put together with the block: each up to
/// `max_block_bytes`.
const LIVE_COPIES: u64 = 3;
/// One query may hold one in so many bytes of what all queries may.
const QUERY_FRACTION: u64 = 2;

/// How much memory the process may plan with, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Where the budget comes from; `None` when it was set.
    pub limit: Option<Limit>,
    pub bytes: u64,
    pub parts: Parts,
}

/// Bytes for each user of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Small tables, footers, indexes and trace maps of blocks, kept between queries.
    pub block_cache: u64,
    /// Pages of columns, kept between queries; with a store beyond a network only.
    pub page_cache: u64,
    /// What blocks gave to metrics queries, kept between queries.
    pub metrics_cache: u64,
    /// What all queries together gather.
    pub queries: u64,
    /// Row groups that queries read and evaluate.
    pub row_groups: u64,
    /// Spans that are in no published block.
    pub live_rows: u64,
    /// Requests that wait for the log.
    pub log_queue: u64,
    pub compaction: u64,
    /// A trace map while it is made.
    pub trace_maps: u64,
    /// Metrics that are made from spans: series, halves of calls that wait, spans that are remembered. Nothing while none are
    /// made.
    pub generator: u64,
}

/// A user's share of what row groups leave, in per cent, and the most that it gets on any machine: beyond that more memory
/// makes nothing faster.
#[derive(Debug, Clone, Copy)]
struct Share {
    percent: u64,
    most_bytes: u64,
}

const BLOCK_CACHE: Share = Share { percent: 13, most_bytes: 192 * MIB };
const PAGE_CACHE: Share = Share { percent: 5, most_bytes: 64 * MIB };
const METRICS_CACHE: Share = Share { percent: 2, most_bytes: 64 * MIB };
const QUERIES: Share = Share { percent: 24, most_bytes: 512 * MIB };
const LIVE_ROWS: Share = Share { percent: 26, most_bytes: LIVE_COPIES * 32 * MIB };
const LOG_QUEUE: Share = Share { percent: 6, most_bytes: 64 * MIB };
const COMPACTION: Share = Share { percent: 20, most_bytes: 96 * MIB };
const TRACE_MAPS: Share = Share { percent: 4, most_bytes: 64 * MIB };

/// What metrics made from spans get, of what nobody else does first.
const GENERATOR_PERCENT: u64 = 10;
const MOST_GENERATOR_BYTES: u64 = 128 * MIB;

impl MemoryBudget {
    /// With a part for metrics that are made from spans.
    #[must_use]
    pub fn with_generator(self) -> Self {
        Self { parts: self.parts.with_generator(self.bytes), ..self }
    }

    /// Without a part for pages of columns, which a store on this machine needs none of: what metrics queries remember gets it,
    /// as far as that is of use.
    #[must_use]
    pub fn with_local_store(self) -> Self {
        let Parts { page_cache, metrics_cache, .. } = self.parts;
        let metrics_cache = (metrics_cache + page_cache).min(METRICS_CACHE.most_bytes.max(metrics_cache));
        Self { parts: Parts { page_cache: 0, metrics_cache, ..self.parts }, ..self }
    }

    /// Divides what was set, or three fifths of the limit of this process, for so many cores.
    pub fn find(set_bytes: Option<u64>, cores: usize) -> Self {
        match set_bytes {
            Some(bytes) => Self::new(None, bytes, cores),
            None => {
                let limit = Limit::of_this_process().unwrap_or(Limit::assumed(ASSUMED_LIMIT_BYTES));
                Self::new(Some(limit), limit.bytes / 5 * 3, cores)
            }
        }
    }

    fn new(limit: Option<Limit>, bytes: u64, cores: usize) -> Self {
        let bytes = bytes.max(LEAST_BUDGET_BYTES);
        Self { limit, bytes, parts: Parts::divide(bytes, cores) }
    }

    /// Says in one line of the log what was found, and what became of it.
    pub fn log(&self) {
        let Parts {
            block_cache,
            page_cache,
            metrics_cache,
            queries,
            row_groups,
            live_rows,
            log_queue,
            compaction,
            trace_maps,
            generator,
        } = self.parts;
        tracing::info!(
            limit_bytes = self.limit.map(|limit| limit.bytes),
            limit = self.limit.map_or("configuration", |limit| limit.source.name()),
            budget_bytes = self.bytes,
            block_cache,
            page_cache,
            metrics_cache,
            queries,
            row_groups,
            live_rows,
            log_queue,
            compaction,
            trace_maps,
            generator,
            "memory budget"
        );
    }

    /// Shows the parts among the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let parts = Family::<PartLabels, Gauge>::default();
        for (part, bytes) in self.parts.named() {
            parts.get_or_create(&PartLabels { part }).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        registry.register("mosso_memory_budget_bytes", "Memory that each part of the process may take", parts);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    part: &'static str,
}

impl Parts {
    /// All parts together are never more than the budget.
    pub fn divide(budget_bytes: u64, cores: usize) -> Self {
        let row_groups = row_groups(budget_bytes, cores) * ROW_GROUP_BYTES;
        let left = budget_bytes.saturating_sub(row_groups);
        let part = |share: Share| (left / 100 * share.percent).min(share.most_bytes);
        Self {
            block_cache: part(BLOCK_CACHE),
            page_cache: part(PAGE_CACHE),
            metrics_cache: part(METRICS_CACHE),
            queries: part(QUERIES),
            row_groups,
            live_rows: part(LIVE_ROWS),
            log_queue: part(LOG_QUEUE),
            compaction: part(COMPACTION),
            trace_maps: part(TRACE_MAPS),
            generator: 0,
        }
    }

    /// A tenth of the budget for the generator: what is not divided, and for the rest the same share of every other part.
    fn with_generator(mut self, budget_bytes: u64) -> Self {
        let wanted = (budget_bytes / 100 * GENERATOR_PERCENT).min(MOST_GENERATOR_BYTES);
        let divided: u64 = self.named().iter().map(|(_, bytes)| bytes).sum();
        let lacking = wanted.saturating_sub(budget_bytes.saturating_sub(divided));
        let give =
            |bytes: u64| bytes - (u128::from(bytes) * u128::from(lacking)).div_ceil(u128::from(divided.max(1))) as u64;
        for part in [
            &mut self.block_cache,
            &mut self.page_cache,
            &mut self.metrics_cache,
            &mut self.queries,
            &mut self.row_groups,
            &mut self.live_rows,
            &mut self.log_queue,
            &mut self.compaction,
            &mut self.trace_maps,
        ] {
            *part = give(*part);
        }
        Self { generator: wanted, ..self }
    }

    /// Row groups that may be under way at a time.
    pub fn concurrent_row_groups(&self) -> usize {
        to_usize(self.row_groups / ROW_GROUP_BYTES).max(1)
    }

    /// What one query may hold.
    pub fn of_one_query(&self) -> u64 {
        self.queries / QUERY_FRACTION
    }

    /// Most memory at which live rows may be set to become a block: more would be taken from the other parts.
    pub fn most_live_block_bytes(budget_bytes: u64, cores: usize) -> usize {
        let left = budget_bytes.saturating_sub(row_groups(budget_bytes, cores) * ROW_GROUP_BYTES);
        to_usize(left / 100 * LIVE_ROWS.percent / LIVE_COPIES)
    }

    /// Memory of live rows at which they become a block.
    pub fn live_block_bytes(&self) -> usize {
        to_usize(self.live_rows / LIVE_COPIES)
    }

    /// Takes from live rows what the rows of one cut may have, for one copy more of them.
    pub fn take_live_copy(&mut self) -> u64 {
        let copy = self.live_rows.div_ceil(LIVE_COPIES + 1);
        self.live_rows -= copy;
        copy
    }

    /// With so many row groups at a time.
    #[must_use]
    pub fn with_concurrent_row_groups(self, count: usize) -> Self {
        Self { row_groups: (count as u64).saturating_mul(ROW_GROUP_BYTES), ..self }
    }

    /// With live rows that become a block at this size.
    #[must_use]
    pub fn with_live_block_bytes(self, bytes: usize) -> Self {
        Self { live_rows: (bytes as u64).saturating_mul(LIVE_COPIES), ..self }
    }

    fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("block_cache", self.block_cache),
            ("page_cache", self.page_cache),
            ("metrics_cache", self.metrics_cache),
            ("queries", self.queries),
            ("row_groups", self.row_groups),
            ("live_rows", self.live_rows),
            ("log_queue", self.log_queue),
            ("compaction", self.compaction),
            ("trace_maps", self.trace_maps),
            ("generator", self.generator),
        ]
    }
}

/// As many as fit their share, two for each core at least: one is read while the other is evaluated.
fn row_groups(budget_bytes: u64, cores: usize) -> u64 {
    let fitting = budget_bytes / 100 * ROW_GROUPS_PERCENT / ROW_GROUP_BYTES;
    let least = (cores as u64).saturating_mul(2).min(MOST_ROW_GROUPS);
    let most = (budget_bytes / ROW_GROUPS_FRACTION / ROW_GROUP_BYTES).clamp(1, MOST_ROW_GROUPS);
    fitting.max(least).min(most)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn of_limit(limit_bytes: u64, cores: usize) -> MemoryBudget {
        let limit = Limit { bytes: limit_bytes, source: LimitSource::CgroupV2 };
        MemoryBudget::new(Some(limit), limit_bytes / 5 * 3, cores)
    }

    fn in_mib(parts: &Parts) -> [u64; 10] {
        parts.named().map(|(_, bytes)| bytes / MIB)
    }

    #[test]
    fn the_parts_add_up_to_no_more_than_the_budget() {
        for limit_mib in [1, 100, 107, 256, 512, 1_000, 1_024, 2_048, 3_000, 8_192, 1 << 20] {
            for cores in [1, 2, 4, 16, 256] {
                let budget = of_limit(limit_mib * MIB, cores);
                let sum: u64 = budget.parts.named().iter().map(|(_, bytes)| bytes).sum();
                assert!(sum <= budget.bytes, "{sum} of {} with {cores} cores", budget.bytes);
                assert!(budget.parts.named()[..9].iter().all(|(_, bytes)| *bytes > 0), "{budget:?}");
                let generating = budget.with_generator();
                let sum: u64 = generating.parts.named().iter().map(|(_, bytes)| bytes).sum();
                assert!(sum <= generating.bytes, "{sum} of {} with {cores} cores", generating.bytes);
                assert!(generating.parts.named().iter().all(|(_, bytes)| *bytes > 0), "{generating:?}");
            }
        }
    }

    #[test]
    fn a_small_container_shrinks_every_part_and_a_large_machine_gives_no_more_than_is_of_use() {
        let small = of_limit(512 * MIB, 2);
        assert_eq!(small.bytes / MIB, 307);
        assert_eq!(in_mib(&small.parts), [34, 13, 5, 64, 40, 69, 16, 53, 10, 0]);
        assert_eq!(small.parts.concurrent_row_groups(), 5);
        assert_eq!(in_mib(&of_limit(GIB, 2).parts), [69, 26, 10, 128, 80, 96, 32, 96, 21, 0]);
        let most = [192, 64, 64, 512, 128, 96, 64, 96, 64, 0];
        assert_eq!((in_mib(&of_limit(8 * GIB, 2).parts), in_mib(&of_limit(1 << 50, 64).parts)), (most, most));
    }

    #[test]
    fn a_store_on_this_machine_leaves_what_pages_would_take_to_what_metrics_queries_remember() {
        let with_local_store = |limit_bytes| in_mib(&of_limit(limit_bytes, 2).with_local_store().parts);
        assert_eq!(with_local_store(512 * MIB), [34, 0, 18, 64, 40, 69, 16, 53, 10, 0]);
        assert_eq!(with_local_store(8 * GIB), [192, 0, 64, 512, 128, 96, 64, 96, 64, 0]);
    }

    #[test]
    fn metrics_from_spans_take_what_is_free_and_then_of_every_part() {
        let with_generator = |limit_bytes| in_mib(&of_limit(limit_bytes, 2).with_generator().parts);
        assert_eq!(with_generator(512 * MIB), [31, 12, 4, 57, 36, 62, 14, 48, 9, 30]);
        assert_eq!(with_generator(GIB)[9], 61);
        assert_eq!(with_generator(8 * GIB), [192, 64, 64, 512, 128, 96, 64, 96, 64, 128]);
    }

    #[test]
    fn every_core_has_two_row_groups_unless_they_would_take_too_much() {
        let count = |limit_bytes, cores| of_limit(limit_bytes, cores).parts.concurrent_row_groups();
        assert_eq!((count(512 * MIB, 4), count(512 * MIB, 64)), (8, 12));
        assert_eq!((count(8 * GIB, 1), count(8 * GIB, 64)), (16, 16));
    }

    #[test]
    fn what_was_set_counts_in_place_of_the_limit() {
        let set = MemoryBudget::find(Some(200 * MIB), 2);
        assert_eq!((set.limit, set.bytes, set.parts), (None, 200 * MIB, Parts::divide(200 * MIB, 2)));
        assert!(MemoryBudget::find(None, 2).limit.is_some());
    }

    #[test]
    fn parts_are_shown() {
        let mut registry = Registry::default();
        of_limit(8 * GIB, 2).register(&mut registry);
        let text = crate::telemetry::tests::text(&registry);
        assert!(text.contains(r#"mosso_memory_budget_bytes{part="compaction"} 100663296"#), "{text}");
    }
}
