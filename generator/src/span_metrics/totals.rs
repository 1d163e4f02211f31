//! What the spans of one table add to their series, group by group.

use crate::columns::Spans;
use crate::registry::{Exemplar, Registry, SeriesId};

/// Sums of groups by number; a histogram's buckets lie in one row for each group.
pub(super) struct Totals<'b> {
    bounds: &'b [f64],
    groups: Vec<Group>,
    counts: Vec<f64>,
    /// The trace and the row of the last span of each bucket.
    latest: Vec<Option<(u32, u32)>>,
}

struct Group {
    series: Found,
    spans: u64,
    calls: f64,
    seconds: f64,
    bytes: f64,
}

/// The series of one set of labels.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub calls: Option<SeriesId>,
    pub latency: Option<SeriesId>,
    pub size: Option<SeriesId>,
    /// Its name is a template, or would be one.
    pub is_folded: bool,
}

impl Found {
    pub(super) fn ids(self) -> impl Iterator<Item = SeriesId> {
        [self.calls, self.latency, self.size].into_iter().flatten()
    }
}

impl<'b> Totals<'b> {
    pub(super) fn new(bounds: &'b [f64]) -> Self {
        let (groups, counts, latest) = Default::default();
        Self { bounds, groups, counts, latest }
    }

    /// The next group.
    pub(super) fn push(&mut self, series: Found) {
        self.groups.push(Group { series, spans: 0, calls: 0.0, seconds: 0.0, bytes: 0.0 });
        let places = self.groups.len() * self.buckets();
        self.counts.resize(places, 0.0);
        self.latest.resize(places, None);
    }

    fn buckets(&self) -> usize {
        self.bounds.len() + 1
    }

    /// Adds a span, which counts as often as `weight` says.
    pub(super) fn add(&mut self, group: usize, (trace, row): (usize, usize), seconds: f64, weight: f64, bytes: u32) {
        // counting all bounds needs no branch
        let bucket = group * self.buckets() + self.bounds.iter().filter(|bound| **bound < seconds).count();
        self.counts[bucket] += weight;
        self.latest[bucket] = Some((trace as u32, row as u32));
        let group = &mut self.groups[group];
        group.spans += 1;
        group.calls += weight;
        group.seconds += seconds * weight;
        group.bytes += f64::from(bytes);
    }

    pub(super) fn series(&self, group: usize) -> Found {
        self.groups[group].series
    }

    /// Hands all sums to the series; returns how many spans have names that were folded.
    pub(super) fn count(self, spans: &Spans<'_>, registry: &mut Registry, now_millis: i64) -> u64 {
        let buckets = self.buckets();
        let mut folded = 0;
        for (at, group) in self.groups.iter().enumerate() {
            let places = at * buckets..(at + 1) * buckets;
            if let Some(calls) = group.series.calls {
                registry.add(calls, group.calls, now_millis);
            }
            if let Some(latency) = group.series.latency {
                let exemplar = |&(trace, row): &(u32, u32)| Exemplar {
                    trace_id: spans.traces.id(trace as usize).0,
                    value: spans.seconds(row as usize),
                };
                let exemplars = self.latest[places.clone()].iter().map(|latest| latest.as_ref().map(exemplar));
                registry.observe_all(latency, &self.counts[places], group.seconds, exemplars, now_millis);
            }
            if let Some(size) = group.series.size {
                registry.add(size, group.bytes, now_millis);
            }
            folded += if group.series.is_folded { group.spans } else { 0 };
        }
        folded
    }
}
