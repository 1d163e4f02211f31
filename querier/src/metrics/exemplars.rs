//! Spans that stand for others: of each series a few, spread at random over its traces, and the same ones every time.
//!
//! Every trace has a number drawn from its id, and a series keeps the spans of the traces with the smallest numbers. So
//! parts merge in any order, and a series with few spans has its exemplars beside one with many.

mod lowest;

use model::TraceId;
use traceql::Static;

#[cfg(test)]
use self::lowest::draw;
pub(super) use self::lowest::{NO_SERIES, lowest_rows};

/// Most exemplars of a series in one interval.
const MOST_IN_INTERVAL: usize = 2;

/// A span that may become an exemplar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub trace_id: TraceId,
    /// What [`draw`] gives for the trace.
    pub drawn: u64,
    pub start_nanos: u64,
    pub interval: u32,
    /// What was measured, as a number; NaN where spans are only counted.
    pub value: f64,
    pub measured: Option<Static>,
}

/// Candidates by series.
#[derive(Debug, Clone)]
pub(crate) struct Exemplars {
    /// Most exemplars in the answer.
    limit: usize,
    by_series: Vec<Vec<Candidate>>,
}

impl Exemplars {
    pub fn new(limit: usize) -> Self {
        Self { limit, by_series: Vec::new() }
    }

    /// How many a series keeps when there are so many series: the more series, the fewer.
    pub fn share(&self, series: usize) -> usize {
        if self.limit == 0 { 0 } else { (self.limit / series.max(1)).max(1) }
    }

    /// Adds candidates of a series, ascending by draw; at most one of each trace is kept.
    pub fn add(&mut self, series: u32, candidates: Vec<Candidate>, series_count: usize) {
        let share = self.share(series_count);
        let Some(first) = candidates.first().filter(|_| share > 0) else { return };
        if self.by_series.len() <= series as usize {
            self.by_series.resize(series as usize + 1, Vec::new());
        }
        let kept = &mut self.by_series[series as usize];
        // once a series has its share, most parts have nothing for it
        if kept.get(share - 1).is_none_or(|last| first.drawn <= last.drawn) {
            kept.extend(candidates);
            kept.sort_by_key(|candidate| (candidate.drawn, candidate.start_nanos));
            kept.dedup_by_key(|candidate| candidate.trace_id);
        }
        kept.truncate(share);
    }

    /// Adds those of another part, whose series have these numbers here, and whose first interval this one.
    pub fn merge(&mut self, other: Self, numbers: &[u32], first_interval: usize, series_count: usize) {
        for (mut candidates, &series) in other.by_series.into_iter().zip(numbers) {
            candidates.iter_mut().for_each(|candidate| candidate.interval += first_interval as u32);
            self.add(series, candidates, series_count);
        }
    }

    pub fn memory_bytes(&self) -> usize {
        self.by_series.iter().map(|candidates| size_of_val(candidates.as_slice()) + size_of_val(candidates)).sum()
    }

    /// The exemplars of each series, by time.
    pub fn into_series(self, series_count: usize) -> Vec<Vec<Candidate>> {
        let share = self.share(series_count);
        let mut by_series = self.by_series;
        by_series.resize(series_count, Vec::new());
        for candidates in &mut by_series {
            let mut taken: Vec<Candidate> = Vec::new();
            for candidate in std::mem::take(candidates) {
                let in_interval = taken.iter().filter(|other| other.interval == candidate.interval).count();
                if taken.len() < share && in_interval < MOST_IN_INTERVAL {
                    taken.push(candidate);
                }
            }
            taken.sort_by_key(|candidate| (candidate.start_nanos, candidate.trace_id));
            *candidates = taken;
        }
        by_series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(trace: u8, interval: u32) -> Candidate {
        let trace_id = TraceId([trace; 16]);
        let (drawn, start_nanos) = (draw(&trace_id), u64::from(interval) * 100);
        Candidate { trace_id, drawn, start_nanos, interval, value: 1.0, measured: None }
    }

    fn traces(exemplars: Exemplars, series: usize) -> Vec<Vec<u8>> {
        let of_series = exemplars.into_series(series).into_iter();
        of_series.map(|candidates| candidates.iter().map(|candidate| candidate.trace_id.0[0]).collect()).collect()
    }

    #[test]
    fn parts_merge_in_any_order() {
        let part = |traces: &[u8]| {
            let mut part = Exemplars::new(8);
            part.add(0, traces.iter().map(|&trace| candidate(trace, u32::from(trace))).collect(), 1);
            part
        };
        let parts = [part(&[1, 2, 3, 4, 5, 6]), part(&[7, 8, 9, 10, 11]), part(&[12, 13, 14, 5, 6])];
        let merged = |order: [usize; 3]| {
            let mut all = Exemplars::new(8);
            order.iter().for_each(|&at| all.merge(parts[at].clone(), &[1], 0, 2));
            traces(all, 2)
        };
        let first = merged([0, 1, 2]);
        assert_eq!((first[0].len(), first[1].len()), (0, 4));
        assert_eq!(merged([2, 1, 0]), first);
        assert_eq!(merged([1, 2, 0]), first);
    }

    #[test]
    fn few_are_taken_from_one_interval_and_one_from_a_trace() {
        let mut exemplars = Exemplars::new(100);
        exemplars.add(0, vec![candidate(1, 0), candidate(1, 0), candidate(2, 0), candidate(3, 0)], 1);
        exemplars.add(0, vec![candidate(4, 1)], 1);
        assert_eq!(traces(exemplars, 1)[0].len(), 3);
        let mut none = Exemplars::new(0);
        none.add(0, vec![candidate(1, 0)], 1);
        assert_eq!(traces(none, 1), [Vec::<u8>::new()]);
    }
}
