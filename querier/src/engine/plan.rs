//! Which sources a search looks at, and in which order. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use model::TimeRange;
use storage::source::Source;

use crate::answer::QueryMetrics;

/// The sources whose newest spans are newest come first.
pub(crate) fn newest_first(sources: Vec<Arc<dyn Source>>) -> Vec<Arc<dyn Source>> {
    newest_first_with_arrival(sources).into_iter().map(|(_, source)| source).collect()
}

/// In the order of arrival.
///
/// Blocks are numbered by when they were begun, and the live tables that are to become one block are given oldest first.
pub(crate) fn by_arrival(mut sources: Vec<Arc<dyn Source>>) -> Vec<Arc<dyn Source>> {
    sources.sort_by_key(|source| source.block_id());
    sources
}

/// As [`newest_first`], each with its place in the order of arrival.
pub(crate) fn newest_first_with_arrival(sources: Vec<Arc<dyn Source>>) -> Vec<(usize, Arc<dyn Source>)> {
    let mut sources: Vec<_> = by_arrival(sources).into_iter().enumerate().collect();
    sources.sort_by_key(|(_, source)| Reverse(source.time_range().end_nanos));
    sources
}

/// What is known of the cost beforehand.
pub(crate) fn metrics(sources: &[Arc<dyn Source>], range: &TimeRange) -> QueryMetrics {
    let mut metrics = QueryMetrics::default();
    for source in sources.iter().filter(|source| source.time_range().overlaps(range)) {
        metrics.total_jobs += 1;
        if !source.is_live() {
            metrics.total_blocks += 1;
            metrics.total_block_bytes += source.size_bytes();
        }
    }
    metrics
}
