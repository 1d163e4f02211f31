//! The times by which the spans of a row group are told apart: seconds, or as many of them as the row group is long.

use std::ops::RangeInclusive;

const SECOND_NANOS: u64 = 1_000_000_000;
/// Lengths of slots in seconds. Each is a part of the steps that people choose.
const LENGTHS: [u64; 11] = [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 86400];
/// A row group of a thousand spans a second, as long as one is, has slots of a second.
const MOST: usize = 64;

/// Slots of one length, one after another. As the intervals of a metrics query, each holds the times after its start up to its
/// end, and ends at a multiple of its length since 1970: a step of whole seconds ends where slots end, unless they are longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    earliest_nanos: u64,
    latest_nanos: u64,
    length_nanos: u64,
}

impl Slots {
    /// Those of a row group by the earliest and the latest start of its spans; a single one where not even days are long enough.
    pub fn of(earliest_nanos: u64, latest_nanos: u64) -> Self {
        let with = |length_nanos| Self { earliest_nanos, latest_nanos, length_nanos };
        let mut lengths = LENGTHS.into_iter().map(|seconds| with(seconds * SECOND_NANOS));
        lengths.find(|slots| slots.count() <= MOST).unwrap_or(with(u64::MAX))
    }

    /// How many there are, at least one.
    pub fn count(&self) -> usize {
        self.number(self.latest_nanos) + 1
    }

    /// The slot of a time, counted from the first; a time before all of them is in the first.
    #[inline]
    pub fn number(&self, nanos: u64) -> usize {
        self.since_1970(nanos).saturating_sub(self.since_1970(self.earliest_nanos)) as usize
    }

    /// For each slot from when to when its spans may start.
    pub fn times(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        let (slots, first) = (*self, self.since_1970(self.earliest_nanos));
        (first..=self.since_1970(self.latest_nanos)).map(move |slot| {
            let start_nanos = slot.saturating_mul(slots.length_nanos).saturating_add(u64::from(slot > 0));
            let end_nanos = slot.saturating_add(1).saturating_mul(slots.length_nanos);
            start_nanos.max(slots.earliest_nanos)..=end_nanos.min(slots.latest_nanos)
        })
    }

    #[inline]
    fn since_1970(&self, nanos: u64) -> u64 {
        nanos.saturating_sub(1) / self.length_nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_slot_that_says_so() {
        let of_seconds = |first: u64, last: u64| Slots::of(first * SECOND_NANOS, last * SECOND_NANOS);
        // a second that ends with the first span, and 63 more
        assert_eq!((of_seconds(1000, 1063).length_nanos, of_seconds(1000, 1063).count()), (SECOND_NANOS, 64));
        assert_eq!((of_seconds(1000, 1064).length_nanos, of_seconds(1000, 1064).count()), (2 * SECOND_NANOS, 33));
        assert_eq!(of_seconds(0, 3600).length_nanos, 60 * SECOND_NANOS);
        for slots in
            [of_seconds(1000, 1063), of_seconds(1000, 9000), of_seconds(0, 0), Slots::of(7, 7), Slots::of(1, u64::MAX)]
        {
            let times: Vec<_> = slots.times().collect();
            assert_eq!(times.len(), slots.count());
            for (number, times) in times.iter().enumerate() {
                assert_eq!([*times.start(), *times.end()].map(|nanos| slots.number(nanos)), [number; 2]);
            }
            let ends = (times[0].start(), times[times.len() - 1].end());
            assert_eq!(ends, (&slots.earliest_nanos, &slots.latest_nanos));
        }
    }
}
