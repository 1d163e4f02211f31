//! Spans that stand for others: of each series a few, spread over its intervals and at random over its traces, and the
//! same ones every time.
//!
//! Every trace has a number drawn from its id. A series first keeps of each interval the span of the trace with the smallest
//! number, then of each the next, and so on. So parts merge in any order, a quiet interval has its exemplars beside a busy
//! one, and so has a series with few spans beside one with many: what it leaves free the others fill.

mod encoded;
mod lowest;

use hashbrown::{HashMap, HashSet};
use model::{BlockId, TraceId};
use storage::source::TraceAt;

pub(super) use self::lowest::{Lowest, NO_SERIES, lowest_rows};
use crate::answer::{Exemplar, Value};
use crate::error::Error;

/// Most candidates that all series hold together, if they have as many; a series holds at least one.
const MOST_HELD: usize = 512;

/// A span that may become an exemplar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub trace_id: TraceId,
    /// What [`TraceId::draw`] gives for the trace.
    pub drawn: u64,
    /// When it starts; some time in the interval until the span is read.
    pub start_nanos: u64,
    pub interval: u32,
    /// What was measured, as a number; NaN where spans are only counted.
    pub value: f64,
    /// Where the span stands in the batch that is measured.
    pub row: u32,
    pub labels: Vec<(String, Value)>,
    /// Where its trace lies, while nothing else is known of the span than that it is the first of its series there. Few
    /// candidates become exemplars, and only of these the spans are read.
    pub unread: Option<TraceInBlock>,
}

/// A trace in one of the blocks that a query looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TraceInBlock {
    pub block_id: BlockId,
    pub at: TraceAt,
}

impl Candidate {
    /// `number` counts those that must be read.
    pub fn into_exemplar(self, number: impl FnOnce(TraceInBlock) -> usize) -> Exemplar {
        let Self { trace_id, start_nanos, value, labels, unread, .. } = self;
        Exemplar { trace_id, start_nanos, value, labels, unread: unread.map(number) }
    }
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

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many a series holds when there are so many series: all that the answer may have, unless that were too many.
    pub fn most_held(&self, series: usize) -> usize {
        if self.limit == 0 { 0 } else { self.limit.min(MOST_HELD / series.max(1)).max(1) }
    }

    /// Adds candidates of a series; at most one of each trace is kept.
    pub fn add(&mut self, series: u32, candidates: Vec<Candidate>, series_count: usize) {
        let most = self.most_held(series_count);
        let Some(lowest) = candidates.iter().map(|candidate| candidate.drawn).min().filter(|_| most > 0) else {
            return;
        };
        if self.by_series.len() <= series as usize {
            self.by_series.resize(series as usize + 1, Vec::new());
        }
        let kept = &mut self.by_series[series as usize];
        // with many series, most parts have nothing for most of them
        if most > 1 || kept.first().is_none_or(|first| lowest <= first.drawn) {
            kept.extend(candidates);
            keep_spread(kept, most);
        }
        kept.truncate(most);
    }

    /// Gives the candidates of a batch whose spans were read their labels, which `labels` looks up for their rows.
    pub fn label(
        &mut self,
        labels: impl FnOnce(&mut dyn Iterator<Item = usize>) -> Result<Vec<Vec<(String, Value)>>, Error>,
    ) -> Result<(), Error> {
        let is_read = |candidate: &&Candidate| candidate.unread.is_none();
        // what is only counted has no columns to show
        if !self.by_series.iter().flatten().any(|candidate| is_read(&candidate)) {
            return Ok(());
        }
        let labels =
            labels(&mut self.by_series.iter().flatten().filter(is_read).map(|candidate| candidate.row as usize))?;
        let candidates = self.by_series.iter_mut().flatten().filter(|candidate| is_read(&&**candidate));
        candidates.zip(labels).for_each(|(candidate, labels)| candidate.labels = labels);
        Ok(())
    }

    /// Adds those of another part, whose series have these numbers here, and whose first interval this one.
    pub fn merge(&mut self, other: Self, numbers: &[u32], first_interval: usize, series_count: usize) {
        for (mut candidates, &series) in other.by_series.into_iter().zip(numbers) {
            candidates.iter_mut().for_each(|candidate| candidate.interval += first_interval as u32);
            self.add(series, candidates, series_count);
        }
    }

    /// Takes out what is not among others, where these series have these numbers and the first interval this one.
    pub fn leave_only_those_of(&mut self, others: &Self, numbers: &[u32], first_interval: usize) {
        for (candidates, &number) in self.by_series.iter_mut().zip(numbers) {
            let others = others.by_series.get(number as usize).into_iter().flatten();
            let others: HashSet<(TraceId, u32)> = others.map(|other| (other.trace_id, other.interval)).collect();
            let there = |candidate: &Candidate| (candidate.trace_id, candidate.interval + first_interval as u32);
            candidates.retain(|candidate| others.contains(&there(candidate)));
        }
    }

    /// All of them, each with the number of its series.
    pub fn candidates(&mut self) -> impl Iterator<Item = (usize, &mut Candidate)> {
        let by_series = self.by_series.iter_mut().enumerate();
        by_series.flat_map(|(series, candidates)| candidates.iter_mut().map(move |candidate| (series, candidate)))
    }

    pub fn is_any_unread(&self) -> bool {
        self.by_series.iter().flatten().any(|candidate| candidate.unread.is_some())
    }

    pub fn memory_bytes(&self) -> usize {
        let labels = |labels: &(String, Value)| size_of_val(labels) + labels.0.len() + TEXT_BYTES;
        let candidate =
            |candidate: &Candidate| size_of_val(candidate) + candidate.labels.iter().map(labels).sum::<usize>();
        let series =
            |candidates: &Vec<Candidate>| size_of_val(candidates) + candidates.iter().map(candidate).sum::<usize>();
        self.by_series.iter().map(series).sum()
    }

    /// The exemplars of each series, by time. What one has less than its equal share, the others have more.
    pub fn into_series(self, series_count: usize) -> Vec<Vec<Candidate>> {
        let mut by_series = self.by_series;
        by_series.resize(series_count, Vec::new());
        let mut fewest_first: Vec<&mut Vec<Candidate>> =
            by_series.iter_mut().filter(|candidates| !candidates.is_empty()).collect();
        // the order in which series were met is another each time
        let place = |candidate: &Candidate| (candidate.drawn, candidate.interval);
        fewest_first.sort_by(|one, other| {
            one.len().cmp(&other.len()).then_with(|| one.iter().map(place).cmp(other.iter().map(place)))
        });
        let (mut left, mut series_left) = (self.limit, fewest_first.len());
        for candidates in fewest_first {
            candidates.truncate((left / series_left).max(1));
            left = left.saturating_sub(candidates.len());
            series_left -= 1;
            candidates.sort_by_key(|candidate| (candidate.start_nanos, candidate.trace_id));
        }
        by_series
    }
}

/// About how long a text in a label is.
const TEXT_BYTES: usize = 32;

/// Leaves one candidate of each trace and up to `most` in all, and puts first those with the smallest draws of their intervals.
/// Candidates are large, so their places are sorted.
fn keep_spread(candidates: &mut Vec<Candidate>, most: usize) {
    let place = |(place, candidate): (usize, &Candidate)| (candidate.drawn, candidate.start_nanos, place);
    let mut places: Vec<(u64, u64, usize)> = candidates.iter().enumerate().map(place).collect();
    places.sort_unstable();
    places.dedup_by_key(|(.., place)| candidates[*place].trace_id);
    let mut taken: HashMap<u32, u32> = HashMap::new();
    let ranked = |(drawn, _, place): (u64, u64, usize)| {
        let rank = taken.entry(candidates[place].interval).or_default();
        *rank += 1;
        (*rank, drawn, place)
    };
    let mut ranked: Vec<(u32, u64, usize)> = places.into_iter().map(ranked).collect();
    ranked.sort_unstable();
    ranked.truncate(most);
    let mut all: Vec<Option<Candidate>> = candidates.drain(..).map(Some).collect();
    candidates.extend(ranked.into_iter().filter_map(|(.., place)| all[place].take()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(trace: u8, interval: u32) -> Candidate {
        let trace_id = TraceId([trace; 16]);
        let (drawn, start_nanos) = (trace_id.draw(), u64::from(interval) * 100);
        Candidate { trace_id, drawn, start_nanos, interval, value: 1.0, row: 0, labels: Vec::new(), unread: None }
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
        assert_eq!((first[0].len(), first[1].len()), (0, 8));
        assert_eq!(merged([2, 1, 0]), first);
        assert_eq!(merged([1, 2, 0]), first);
    }

    #[test]
    fn parts_of_which_only_the_best_are_left_merge_as_before() {
        let part = |series: &[u8]| {
            let mut part = Exemplars::new(8);
            for (number, &of) in (0..).zip(series) {
                let traces = (of * 20..of * 20 + 15).map(|trace| candidate(trace, u32::from(trace % 3)));
                part.add(number, traces.collect(), series.len());
            }
            part
        };
        // series of the second part have other numbers, and its intervals begin later
        let parts = [(part(&[1, 2]), [0, 1], 0), (part(&[3, 4]), [1, 0], 2)];
        let merged = |parts: &[(Exemplars, [u32; 2], usize)]| {
            let mut all = Exemplars::new(8);
            parts.iter().for_each(|(part, numbers, first)| all.merge(part.clone(), numbers, *first, 2));
            all
        };
        let all = merged(&parts);
        let left = parts.clone().map(|(mut part, numbers, first)| {
            part.leave_only_those_of(&all, &numbers, first);
            (part, numbers, first)
        });
        let held = |parts: &[(Exemplars, [u32; 2], usize)]| {
            parts.iter().flat_map(|(part, ..)| &part.by_series).map(Vec::len).sum::<usize>()
        };
        assert_eq!((held(&parts), held(&left)), (4 * 8, 2 * 8));
        assert_eq!(traces(merged(&left), 2), traces(all, 2));
    }

    #[test]
    fn a_series_has_as_many_as_are_asked_for_spread_over_its_intervals() {
        let of = |parts: &[&[(u8, u32)]]| {
            let mut exemplars = Exemplars::new(10);
            for part in parts {
                exemplars.add(0, part.iter().map(|&(trace, interval)| candidate(trace, interval)).collect(), 1);
            }
            traces(exemplars, 1).remove(0)
        };
        // one interval fills them all
        let busy: Vec<(u8, u32)> = (0..100).map(|trace| (trace, 0)).collect();
        assert_eq!(of(&[&busy]).len(), 10);
        // and leaves room for others, in any order
        let quiet: Vec<(u8, u32)> = (100..103).map(|trace| (trace, 7)).collect();
        for parts in [[&busy[..], &quiet], [&quiet[..], &busy]] {
            let found = of(&parts);
            assert_eq!((found.len(), &found[7..]), (10, &[100, 101, 102][..]));
        }
        // of a trace there is one
        assert_eq!(of(&[&[(1, 0), (1, 0), (1, 1)], &[(1, 2), (2, 2)]]), [1, 2]);
        let mut none = Exemplars::new(0);
        none.add(0, vec![candidate(1, 0)], 1);
        assert_eq!(traces(none, 1), [Vec::<u8>::new()]);
    }

    #[test]
    fn what_cannot_be_shared_out_equally_goes_to_the_same_series_in_any_order() {
        let of_series = |of: u8| (0..20).map(|trace| candidate(of * 50 + trace, u32::from(trace))).collect();
        let counts = |numbers: [u32; 3]| {
            let mut exemplars = Exemplars::new(10);
            (0..3).zip(numbers).for_each(|(of, number)| exemplars.add(number, of_series(of), 3));
            let shared = traces(exemplars, 3);
            numbers.map(|number| shared[number as usize].len())
        };
        assert_eq!(counts([0, 1, 2]).iter().sum::<usize>(), 10);
        assert!([[2, 1, 0], [1, 2, 0], [0, 2, 1]].map(counts).iter().all(|other| *other == counts([0, 1, 2])));
    }

    #[test]
    fn what_one_series_leaves_free_others_fill() {
        let mut exemplars = Exemplars::new(10);
        for (series, count) in [(0, 1), (1, 50), (2, 3)] {
            let of_series = (0..count).map(|trace| candidate(series as u8 * 50 + trace, u32::from(trace)));
            exemplars.add(series, of_series.collect(), 3);
        }
        assert_eq!(traces(exemplars, 3).iter().map(Vec::len).collect::<Vec<_>>(), [1, 6, 3]);
    }
}
