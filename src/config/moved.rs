//! Settings that Tempo has under another name: the sections of its release 3, old names, and the flat form of limits.
//!
//! They are moved in the tree of the file, before it is read as types. What both names set is taken from ours; the other one
//! stays where it is, and is then read over as a key that changes nothing.

use super::tempo_keys;
use super::yaml::Node;

/// Tempo's name and ours. Of several that are ours alike, the first that is there counts.
const MOVED: &[(&str, &str)] = &[
    ("auth_enabled", "multitenancy_enabled"),
    ("live_store.max_block_duration", "ingester.max_block_duration"),
    ("live_store.max_block_bytes", "ingester.max_block_bytes"),
    ("backend_worker.compaction.block_retention", "compactor.compaction.block_retention"),
    ("backend_worker.compaction.compacted_block_retention", "compactor.compaction.compacted_block_retention"),
    ("backend_worker.compaction.compaction_window", "compactor.compaction.compaction_window"),
    ("backend_worker.compaction.compaction_cycle", "compactor.compaction.compaction_cycle"),
    ("backend_worker.compaction.max_block_bytes", "compactor.compaction.max_block_bytes"),
    ("backend_worker.compaction.max_compaction_objects", "compactor.compaction.max_compaction_objects"),
    ("backend_scheduler.provider.compaction.compaction.block_retention", "compactor.compaction.block_retention"),
    (
        "backend_scheduler.provider.compaction.compaction.compacted_block_retention",
        "compactor.compaction.compacted_block_retention",
    ),
    ("backend_scheduler.provider.compaction.compaction.compaction_window", "compactor.compaction.compaction_window"),
    ("backend_scheduler.provider.compaction.compaction.max_block_bytes", "compactor.compaction.max_block_bytes"),
    (
        "backend_scheduler.provider.compaction.compaction.max_compaction_objects",
        "compactor.compaction.max_compaction_objects",
    ),
];

/// The flat names of limits that are not made of the scope and the name in it.
const FLAT_LIMITS: &[(&str, &str)] = &[
    ("max_traces_per_user", "ingestion.max_traces_per_user"),
    ("max_global_traces_per_user", "ingestion.max_global_traces_per_user"),
    ("max_bytes_per_trace", "global.max_bytes_per_trace"),
    ("max_bytes_per_tag_values_query", "read.max_bytes_per_tag_values_query"),
    ("max_blocks_per_tag_values_query", "read.max_blocks_per_tag_values_query"),
    ("max_condition_groups_per_tag_query", "read.max_condition_groups_per_tag_query"),
    ("max_search_duration", "read.max_search_duration"),
    ("max_metrics_duration", "read.max_metrics_duration"),
    ("unsafe_query_hints", "read.unsafe_query_hints"),
    ("left_pad_trace_ids", "read.left_pad_trace_ids"),
    ("metrics_spanonly_fetch", "read.metrics_spanonly_fetch"),
    ("span_pruning_awareness", "read.span_pruning_awareness"),
    ("span_pruning_enabled", "read.span_pruning_enabled"),
    ("engine_bytes_tracking", "read.engine_bytes_tracking"),
    ("block_retention", "compaction.block_retention"),
    ("compaction_window", "compaction.compaction_window"),
    ("compaction_disabled", "compaction.compaction_disabled"),
    ("parquet_dedicated_columns", "storage.parquet_dedicated_columns"),
    ("forwarders", "forwarders"),
    ("cost_attribution", "cost_attribution"),
];

/// What the rest of a flat name begins with, and the scope that it stands for; longer ones first.
const FLAT_SCOPES: &[(&str, &str)] = &[
    ("metrics_generator_processor_service_graphs_", "metrics_generator.processor.service_graphs."),
    ("metrics_generator_processor_span_metrics_", "metrics_generator.processor.span_metrics."),
    ("metrics_generator_processor_host_info_", "metrics_generator.processor.host_info."),
    ("metrics_generator_processor_local_blocks_", "metrics_generator.processor.local_blocks."),
    ("metrics_generator_forwarder_", "metrics_generator.forwarder."),
    ("metrics_generator_", "metrics_generator."),
    ("ingestion_", "ingestion."),
];

/// Our name of a setting of Tempo's.
pub fn our_name(tempo: &str) -> Option<&'static str> {
    MOVED.iter().find(|(from, _)| *from == tempo).map(|(_, to)| *to)
}

/// Moves the settings of a configuration file; gives what was moved where.
pub(super) fn settle(root: &mut Node) -> Vec<(String, String)> {
    let mut moved = Vec::new();
    for (from, to) in MOVED {
        if root.move_value(from, to) {
            moved.push(((*from).to_owned(), (*to).to_owned()));
        }
    }
    for name in root.names_in("overrides") {
        let Some(scoped) = scoped(&name) else { continue };
        let (from, to) = (format!("overrides.{name}"), format!("overrides.defaults.{scoped}"));
        if root.move_value(&from, &to) {
            moved.push((from, to));
        }
    }
    moved
}

/// Moves the limits in a file that has them by tenant.
pub(super) fn settle_tenants(root: &mut Node) {
    let Some(tenants) = root.section_mut("overrides") else { return };
    for limits in tenants.sections_mut() {
        for name in limits.names() {
            if let Some(scoped) = scoped(&name) {
                limits.move_value(&name, &scoped);
            }
        }
    }
}

/// The scoped name of a limit in the flat form: `ingestion_rate_limit_bytes` is `ingestion.rate_limit_bytes`.
fn scoped(flat: &str) -> Option<String> {
    if let Some((_, scoped)) = FLAT_LIMITS.iter().find(|(name, _)| *name == flat) {
        return Some((*scoped).to_owned());
    }
    FLAT_SCOPES.iter().find_map(|(prefix, scope)| {
        let scoped = format!("{scope}{}", flat.strip_prefix(prefix)?);
        tempo_keys::table().find(&format!("overrides.defaults.{scoped}")).map(|_| scoped)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_names_of_limits_have_a_scope() {
        for (flat, expected) in [
            ("ingestion_rate_limit_bytes", Some("ingestion.rate_limit_bytes")),
            ("max_bytes_per_trace", Some("global.max_bytes_per_trace")),
            ("metrics_generator_ring_size", Some("metrics_generator.ring_size")),
            (
                "metrics_generator_processor_span_metrics_dimensions",
                Some("metrics_generator.processor.span_metrics.dimensions"),
            ),
            ("metrics_generator_forwarder_workers", Some("metrics_generator.forwarder.workers")),
            ("ingestion_rate", None),
            ("defaults", None),
        ] {
            assert_eq!(scoped(flat).as_deref(), expected, "{flat}");
        }
    }

    #[test]
    fn what_is_moved_is_known_on_both_sides() {
        for (from, to) in MOVED {
            assert!(tempo_keys::table().find(from).is_some(), "{from}");
            assert!(tempo_keys::table().find(to).is_some(), "{to}");
        }
        for (_, scoped) in FLAT_LIMITS {
            assert!(tempo_keys::table().find(&format!("overrides.defaults.{scoped}")).is_some(), "{scoped}");
        }
    }
}
