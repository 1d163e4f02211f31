//! What changed, by trace and by service. Sums are taken over all spans, so that what became a little slower everywhere
//! is seen though no span of it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::patch::{ErrorChange, Patch};
use super::request::Form;
use super::tree::{Operation, Tree};
use super::warnings::Warning;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// The least change of a service's sum that counts: a millisecond, and one part in so many of the sum before.
const MIN_DRIFT_NANOS: u64 = 1_000_000;
const DRIFT_PART: u64 = 20;

/// What a span without a service is counted under.
const NO_SERVICE: &str = "<unknown>";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary<'t> {
    version: &'static str,
    base: TraceSummary<'t>,
    compare: TraceSummary<'t>,
    signals: Signals,
    trust: Trust,
    stats: SummaryStats,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    /// Also those of which only the place in the tree changed.
    changed_services: BTreeSet<&'t str>,
    services: Vec<ServiceChange<'t>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceSummary<'t> {
    trace_id: &'t str,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_service: &'t str,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_name: &'t str,
    span_count: usize,
    error_span_count: i64,
    duration_ms: i64,
    sum_span_duration_ms: i64,
    #[serde(skip)]
    duration_nanos: i64,
    #[serde(skip)]
    sum_span_duration_nanos: i64,
}

/// Which way something went; whether that is good is not said.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signals {
    trace_latency: &'static str,
    sum_span_duration: &'static str,
    errors: &'static str,
    span_count: &'static str,
    structure: &'static str,
}

/// How much of the traces was matched: of the larger, and of the smaller.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trust {
    matched_span_ratio: f64,
    structure_overlap: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryStats {
    trace_latency_delta_ms: i64,
    sum_span_duration_delta_ms: i64,
    span_count_delta: i64,
    error_span_delta: i64,
    matched_spans: usize,
    modified_spans: usize,
    added_spans: usize,
    removed_spans: usize,
    field_changes: usize,
    attribute_changes: usize,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceChange<'t> {
    name: &'t str,
    sum_span_duration_delta_ms: i64,
    modified: usize,
    added: usize,
    removed: usize,
    new_errors: usize,
    resolved_errors: usize,
}

impl<'t> Summary<'t> {
    pub fn of(patch: &Patch<'t>, base_tree: &'t Tree<'t>, compare_tree: &'t Tree<'t>) -> Self {
        let (base, compare) = (TraceSummary::of(base_tree), TraceSummary::of(compare_tree));
        let stats = SummaryStats::of(patch, &base, &compare);
        let moved = moved_services(base_tree, compare_tree);
        let is_changed = stats.added_spans > 0 || stats.removed_spans > 0 || !moved.is_empty();
        let services = service_changes(patch, base_tree, compare_tree);
        let (larger, smaller) = (base.span_count.max(compare.span_count), base.span_count.min(compare.span_count));
        Self {
            version: Form::Summary.name(),
            signals: Signals::of(&stats, is_changed),
            trust: Trust {
                matched_span_ratio: ratio(stats.matched_spans, larger),
                structure_overlap: ratio(stats.matched_spans, smaller),
            },
            stats,
            warnings: patch.warnings.clone(),
            changed_services: moved.into_iter().chain(services.iter().map(|service| service.name)).collect(),
            services,
            base,
            compare,
        }
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl<'t> TraceSummary<'t> {
    fn of(tree: &'t Tree<'t>) -> Self {
        let timed = || tree.nodes.iter().filter_map(|node| Some((node.span, node.duration_nanos()?)));
        let start = timed().map(|(span, _)| span.start_time_unix_nano).min().unwrap_or(0);
        let end = timed().map(|(span, _)| span.end_time_unix_nano).max().unwrap_or(0);
        let duration_nanos = i64::try_from(end - start).unwrap_or(i64::MAX);
        let sum_span_duration_nanos = timed().fold(0_i64, |sum, (_, nanos)| sum.saturating_add(nanos));
        let root = tree.nodes.first().map(|node| node.operation);
        Self {
            trace_id: &tree.trace_id,
            root_service: root.map_or("", |root| root.service),
            root_name: root.map_or("", |root| root.name),
            span_count: tree.spans.len(),
            error_span_count: tree.nodes.iter().filter(|node| node.is_error()).count() as i64,
            duration_ms: duration_nanos / NANOS_PER_MILLI,
            sum_span_duration_ms: sum_span_duration_nanos / NANOS_PER_MILLI,
            duration_nanos,
            sum_span_duration_nanos,
        }
    }
}

impl SummaryStats {
    fn of(patch: &Patch<'_>, base: &TraceSummary<'_>, compare: &TraceSummary<'_>) -> Self {
        let delta_ms = |before: i64, after: i64| after.saturating_sub(before) / NANOS_PER_MILLI;
        Self {
            trace_latency_delta_ms: delta_ms(base.duration_nanos, compare.duration_nanos),
            sum_span_duration_delta_ms: delta_ms(base.sum_span_duration_nanos, compare.sum_span_duration_nanos),
            span_count_delta: compare.span_count as i64 - base.span_count as i64,
            error_span_delta: compare.error_span_count - base.error_span_count,
            matched_spans: patch.stats.matched_spans,
            modified_spans: patch.stats.modified_spans,
            added_spans: patch.stats.added_spans,
            removed_spans: patch.stats.removed_spans,
            field_changes: patch.stats.field_changes,
            attribute_changes: patch.stats.attribute_changes,
        }
    }
}

impl Signals {
    fn of(stats: &SummaryStats, is_changed: bool) -> Self {
        let signal = |delta: i64| match delta {
            1.. => "increased",
            0 => "unchanged",
            _ => "decreased",
        };
        Self {
            trace_latency: signal(stats.trace_latency_delta_ms),
            sum_span_duration: signal(stats.sum_span_duration_delta_ms),
            errors: signal(stats.error_span_delta),
            span_count: signal(stats.span_count_delta),
            structure: if is_changed { "changed" } else { "unchanged" },
        }
    }
}

fn named(service: &str) -> &str {
    if service.is_empty() { NO_SERVICE } else { service }
}

/// How often a span of an operation stands under one of another.
type Places<'t> = HashMap<(Operation<'t>, Option<Operation<'t>>), i64>;

/// The services of spans that stand elsewhere in the tree, are new, or are gone.
fn moved_services<'t>(base: &Tree<'t>, compare: &Tree<'t>) -> BTreeSet<&'t str> {
    let mut places = Places::new();
    for (tree, step) in [(base, -1), (compare, 1)] {
        for (number, node) in tree.nodes.iter().enumerate() {
            *places.entry((node.operation, tree.parent_operation(number))).or_default() += step;
        }
    }
    let moved = places.into_iter().filter(|(_, difference)| *difference != 0);
    moved.map(|((operation, _), _)| named(operation.service)).collect()
}

fn service_changes<'t>(patch: &Patch<'t>, base: &Tree<'t>, compare: &Tree<'t>) -> Vec<ServiceChange<'t>> {
    let (before, after) = (sums(base), sums(compare));
    let mut changes = counted(patch);
    for service in before.keys().chain(after.keys()) {
        let [before, after] = [&before, &after].map(|sums| sums.get(service).copied().unwrap_or(0));
        let delta = after.saturating_sub(before);
        if changes.contains_key(service) || is_drift(before, delta) {
            let change =
                changes.entry(service).or_insert_with(|| ServiceChange { name: service, ..Default::default() });
            change.sum_span_duration_delta_ms = delta / NANOS_PER_MILLI;
        }
    }
    let mut changes: Vec<ServiceChange<'_>> = changes.into_values().collect();
    changes.sort_by_key(|change| {
        let size = change.sum_span_duration_delta_ms.unsigned_abs();
        (std::cmp::Reverse((size, change.new_errors)), change.name)
    });
    changes
}

fn sums<'t>(tree: &Tree<'t>) -> BTreeMap<&'t str, i64> {
    let mut sums = BTreeMap::new();
    for node in &tree.nodes {
        let sum: &mut i64 = sums.entry(named(node.operation.service)).or_default();
        *sum = sum.saturating_add(node.duration_nanos().unwrap_or(0));
    }
    sums
}

fn is_drift(before_nanos: i64, delta_nanos: i64) -> bool {
    delta_nanos.unsigned_abs() >= MIN_DRIFT_NANOS.max(before_nanos.unsigned_abs().div_ceil(DRIFT_PART))
}

/// What the patch has of each service.
fn counted<'t>(patch: &Patch<'t>) -> BTreeMap<&'t str, ServiceChange<'t>> {
    let mut changes: BTreeMap<&'t str, ServiceChange<'t>> = BTreeMap::new();
    let mut count = |service: &'t str, add: &dyn Fn(&mut ServiceChange<'t>)| {
        let name = named(service);
        add(changes.entry(name).or_insert_with(|| ServiceChange { name, ..Default::default() }));
    };
    for modified in &patch.modified {
        count(modified.span.service, &|change| {
            change.modified += 1;
            change.new_errors += usize::from(modified.error == ErrorChange::New);
            change.resolved_errors += usize::from(modified.error == ErrorChange::Resolved);
        });
    }
    for added in &patch.added {
        count(added.span.span.service, &|change| {
            change.added += 1;
            change.new_errors += usize::from(added.span.is_error);
        });
    }
    for removed in &patch.removed {
        count(removed.span.span.service, &|change| {
            change.removed += 1;
            change.resolved_errors += usize::from(removed.span.is_error);
        });
    }
    changes
}
