//! Counters of compaction.

use model::TenantId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::TenantLabels;

#[derive(Debug, Clone)]
pub(crate) struct CompactionCounters {
    blocks: Family<LevelLabels, Counter>,
    traces_written: Family<LevelLabels, Counter>,
    bytes_written: Family<LevelLabels, Counter>,
    traces_joined: Family<LevelLabels, Counter>,
    spans_deduped: Counter,
    errors: Counter,
    damaged_blocks: Counter,
    outstanding_blocks: Family<TenantLabels, Gauge>,
}

/// The level of the new blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    level: u8,
}

/// What a job did.
pub(crate) struct Compacted {
    pub level: u8,
    pub input_blocks: usize,
    pub traces_written: u64,
    pub bytes_written: u64,
    pub joined_traces: usize,
    pub dropped_spans: usize,
}

impl CompactionCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self {
            blocks: Family::default(),
            traces_written: Family::default(),
            bytes_written: Family::default(),
            traces_joined: Family::default(),
            spans_deduped: Counter::default(),
            errors: Counter::default(),
            damaged_blocks: Counter::default(),
            outstanding_blocks: Family::default(),
        };
        let mut by_level = |name: &str, help: &str, family: &Family<LevelLabels, Counter>| {
            registry.register(format!("tempodb_compaction_{name}"), help, family.clone());
        };
        by_level("blocks", "Blocks that were compacted", &counters.blocks);
        by_level("objects_written", "Traces written by compaction", &counters.traces_written);
        by_level("bytes_written", "Bytes written by compaction", &counters.bytes_written);
        by_level("objects_combined", "Traces put together from several blocks", &counters.traces_joined);
        registry.register(
            "tempodb_compaction_spans_deduped",
            "Copies of spans that compaction left out",
            counters.spans_deduped.clone(),
        );
        registry.register("tempodb_compaction_errors", "Compaction jobs that failed", counters.errors.clone());
        registry.register(
            "mosso_compaction_damaged_blocks",
            "Blocks that could not be read and were left as they are",
            counters.damaged_blocks.clone(),
        );
        registry.register(
            "tempodb_compaction_outstanding_blocks",
            "Blocks that wait to be compacted",
            counters.outstanding_blocks.clone(),
        );
        counters
    }

    pub(crate) fn compacted(&self, compacted: &Compacted) {
        let level = LevelLabels { level: compacted.level };
        self.blocks.get_or_create(&level).inc_by(compacted.input_blocks as u64);
        self.traces_written.get_or_create(&level).inc_by(compacted.traces_written);
        self.bytes_written.get_or_create(&level).inc_by(compacted.bytes_written);
        self.traces_joined.get_or_create(&level).inc_by(compacted.joined_traces as u64);
        self.spans_deduped.inc_by(compacted.dropped_spans as u64);
    }

    pub(crate) fn failed(&self) {
        self.errors.inc();
    }

    pub(crate) fn damaged_block(&self) {
        self.damaged_blocks.inc();
    }

    pub(crate) fn set_outstanding(&self, tenant: &TenantId, blocks: usize) {
        self.outstanding_blocks.get_or_create(&TenantLabels::of(tenant)).set(blocks as i64);
    }
}
