//! The newest matches found so far, in bounded memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::TraceId;
use spans::{SpanTable, Traces};
use storage::source::{TraceAt, TracePart};

use crate::answer::FoundTrace;
use crate::engine::budget::Held;
use crate::engine::matcher::{DecidedMasks, HitSet, Matcher};
use crate::engine::parts::NumberedPart;
use crate::engine::scan::Run;
use crate::error::Error;
use crate::request::PageToken;

/// A trace, or the part of it in one source, that matches.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    pub start_nanos: u64,
    pub trace_id: TraceId,
    /// Where it lies.
    pub part: NumberedPart,
    /// At least one, unless the entry is there.
    pub sets: Vec<HitSet>,
    /// The entry of the answer, if this is all of the trace: where another process found it.
    pub shown: Option<Arc<FoundTrace>>,
}

impl Hit {
    fn memory_bytes(&self) -> usize {
        let of_set =
            |set: &HitSet| size_of_val(set) + size_of_val(set.rows.as_slice()) + size_of_val(set.attributes.as_slice());
        let shown = self.shown.as_ref().map_or(0, |entry| entry.memory_bytes());
        size_of_val(self) + self.sets.iter().map(of_set).sum::<usize>() + shown
    }
}

/// The place of a trace in the answer: newest first, then by id.
pub(crate) type Place = (Reverse<u64>, TraceId);

pub(crate) fn place_of(cursor: PageToken) -> Place {
    (Reverse(cursor.start_nanos), cursor.trace_id)
}

/// The matches with the best places, and where more may come from.
#[derive(Debug)]
pub(crate) struct Hits {
    keep: usize,
    /// Matches that start before are not kept.
    not_before_nanos: u64,
    kept: BTreeMap<(Place, usize), Hit>,
    /// The memory of those that are kept.
    held: Held,
    /// True once a match was left out.
    is_cut: bool,
    /// When the sources end that may still add matches, by number.
    unread: BTreeMap<usize, u64>,
}

impl Hits {
    /// Keeps `keep` matches of these sources, each with its end.
    pub fn new(keep: usize, sources: impl IntoIterator<Item = (usize, u64)>, held: Held) -> Self {
        let (kept, unread) = (BTreeMap::new(), sources.into_iter().collect());
        Self { keep, not_before_nanos: 0, kept, held, is_cut: false, unread }
    }

    /// Leaves out matches that start before.
    pub fn not_before(self, not_before_nanos: u64) -> Self {
        Self { not_before_nanos, ..self }
    }

    /// How many matches are still needed at the most, and that none are which start before this.
    pub fn needed(&self) -> (usize, u64) {
        let is_full = self.kept.len() >= self.keep;
        let last_nanos = self.last_place().filter(|_| is_full).map_or(0, |(Reverse(last), _)| last);
        (self.keep, last_nanos.max(self.not_before_nanos))
    }

    /// Notes that all matches of a source are here.
    pub fn done_with(&mut self, source: usize) {
        self.unread.remove(&source);
    }

    /// Notes that all matches of a source that come after this time are here.
    pub fn read_to(&mut self, source: usize, end_nanos: u64) {
        self.unread.insert(source, end_nanos);
    }

    /// Whether a match that starts then, or earlier, could be among those that are kept.
    pub fn could_keep(&self, start_nanos: u64) -> bool {
        if start_nanos < self.not_before_nanos {
            return false;
        }
        self.kept.len() < self.keep || self.last_place().is_none_or(|(Reverse(last), _)| start_nanos >= last)
    }

    /// # Errors
    /// When the query may not hold so many.
    pub fn add(&mut self, hit: Hit) -> Result<(), Error> {
        self.held.grow(hit.memory_bytes())?;
        let replaced = self.kept.insert(((Reverse(hit.start_nanos), hit.trace_id), hit.part.source), hit);
        let is_full = self.kept.len() > self.keep;
        let left_out = is_full.then(|| self.kept.pop_last()).flatten();
        self.is_cut |= is_full;
        for gone in replaced.into_iter().chain(left_out.map(|(_, hit)| hit)) {
            self.held.shrink(gone.memory_bytes());
        }
        Ok(())
    }

    /// The worst place from which nothing was left out; `None` when all matches are kept.
    pub fn complete_to(&self) -> Option<Place> {
        // a trace that could not be kept was not looked at, so a full set may be cut without knowing
        if self.is_cut || self.kept.len() >= self.keep { self.last_place() } else { None }
    }

    /// The best place that a match which is not here may have; `None` when all are here.
    pub fn open_from(&self) -> Option<Place> {
        let newest_unread = self.unread.values().max().map(|end_nanos| (Reverse(*end_nanos), TraceId([0; 16])));
        self.complete_to().into_iter().chain(newest_unread).min()
    }

    /// The matches that no other can come before.
    pub fn settled(&self) -> impl Iterator<Item = &Hit> {
        let open_from = self.open_from();
        let is_settled = move |place: &Place| open_from.is_none_or(|open| *place < open);
        self.kept.iter().take_while(move |((place, _), _)| is_settled(place)).map(|(_, hit)| hit)
    }

    /// The matches, and their memory.
    pub fn into_hits(self) -> (impl Iterator<Item = Hit>, Held) {
        (self.kept.into_values(), self.held)
    }

    fn last_place(&self) -> Option<Place> {
        self.kept.last_key_value().map(|((place, _), _)| *place)
    }
}

/// The runs that match; all lie in the row group of these numbers, of its source and its own.
pub(super) fn matches(
    matcher: &Matcher,
    table: &SpanTable,
    runs: &[Run],
    decided: &DecidedMasks,
    (source, group): (usize, usize),
    most_rows: usize,
) -> Result<Vec<Hit>, Error> {
    let traces = Traces::of(&table.traces)?;
    let hit = |(number, sets): (usize, Vec<HitSet>)| {
        let trace = runs[number].trace;
        let part = NumberedPart::of(source, &TracePart::of(&traces, TraceAt { group, trace }));
        Hit { start_nanos: part.time_range.start_nanos, trace_id: traces.id(trace), part, sets, shown: None }
    };
    Ok(matcher.find(table, runs, decided, most_rows)?.into_iter().map(hit).collect())
}

#[cfg(test)]
mod tests {
    use model::TimeRange;

    use super::*;
    use crate::engine::budget::Budget;

    fn no_limit() -> Held {
        Budget::unlimited().hold(0).unwrap()
    }

    fn hit(start_nanos: u64, id: u8, source: usize) -> Hit {
        let time_range = TimeRange::new(start_nanos, start_nanos);
        let part = NumberedPart { source, at: TraceAt { group: 0, trace: 0 }, time_range, span_count: 1 };
        Hit { start_nanos, trace_id: TraceId([id; 16]), part, sets: vec![], shown: None }
    }

    #[test]
    fn the_newest_are_kept_whatever_the_order() {
        let mut all: Vec<Hit> = (1..=6).map(|id| hit(100 + u64::from(id / 2), id, 0)).collect();
        let kept = |all: &[Hit]| {
            let mut hits = Hits::new(3, [], no_limit());
            all.iter().for_each(|hit| hits.add(hit.clone()).unwrap());
            assert!(hits.could_keep(102) && !hits.could_keep(101));
            assert_eq!(hits.complete_to(), Some((Reverse(102), TraceId([5; 16]))));
            hits.into_hits().0.map(|hit| hit.trace_id.0[0]).collect::<Vec<_>>()
        };
        assert_eq!(kept(&all), [6, 4, 5]);
        all.reverse();
        assert_eq!(kept(&all), [6, 4, 5]);
    }

    #[test]
    fn what_is_not_full_is_complete() {
        let mut hits = Hits::new(3, [], no_limit());
        hits.add(hit(1, 1, 0)).unwrap();
        hits.add(hit(1, 1, 1)).unwrap();
        assert_eq!(hits.complete_to(), None);
        assert!(hits.could_keep(0));
    }

    #[test]
    fn a_match_is_settled_when_nothing_unread_can_come_before_it() {
        let mut hits = Hits::new(4, [(0, 110), (1, 105), (2, 100)], no_limit());
        let settled = |hits: &Hits| hits.settled().map(|hit| hit.trace_id.0[0]).collect::<Vec<_>>();
        [hit(110, 1, 0), hit(106, 2, 0), hit(105, 3, 0)].into_iter().for_each(|hit| hits.add(hit).unwrap());
        assert!(settled(&hits).is_empty());
        hits.done_with(0);
        assert_eq!(settled(&hits), [1, 2], "source 1 may have a trace that starts when it ends");
        hits.done_with(2);
        hits.done_with(1);
        assert_eq!(settled(&hits), [1, 2, 3]);
        [hit(104, 4, 0), hit(103, 5, 0)].into_iter().for_each(|hit| hits.add(hit).unwrap());
        assert_eq!(settled(&hits), [1, 2, 3], "what was left out may come right after the last that was kept");
    }
}
