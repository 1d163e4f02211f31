//! The intervals of a metrics query: which one a time falls into. Pure.

use std::num::NonZeroU64;

use model::TimeRange;

const SECOND: u64 = 1_000_000_000;

/// Consecutive intervals of one length. Each holds the times after its start up to its end, and is known by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Intervals {
    first_end_nanos: u64,
    step_nanos: NonZeroU64,
    count: usize,
}

impl Intervals {
    /// The intervals of a range query. Their ends are multiples of the step, from the last at or before the start of the
    /// range to the first at or after its end.
    pub fn of_range(range: TimeRange, step_nanos: NonZeroU64) -> Self {
        let step = step_nanos.get();
        let first_end_nanos = range.start_nanos / step * step;
        let count = (range.end_nanos.max(first_end_nanos) - first_end_nanos).div_ceil(step) + 1;
        Self { first_end_nanos, step_nanos, count: usize::try_from(count).unwrap_or(usize::MAX) }
    }

    /// The one interval of an instant query: after the start of the range, up to its end.
    pub fn whole(range: TimeRange) -> Self {
        let length_nanos = range.end_nanos.saturating_sub(range.start_nanos);
        let step_nanos = NonZeroU64::new(length_nanos).unwrap_or(NonZeroU64::MIN);
        Self { first_end_nanos: range.end_nanos, step_nanos, count: 1 }
    }

    /// The step of a range query that names none: about 240 intervals of a round length (Tempo's rule).
    pub fn default_step_nanos(range: &TimeRange) -> NonZeroU64 {
        const SHORT: u64 = 50_000_000;
        const ROUND: [u64; 6] = [3600 * SECOND, 300 * SECOND, 60 * SECOND, 15 * SECOND, 5 * SECOND, SECOND];
        let length_nanos = range.end_nanos.saturating_sub(range.start_nanos);
        let step = length_nanos / 240;
        let step = if length_nanos < 60 * SECOND {
            (step / SHORT * SHORT).max(SHORT)
        } else {
            ROUND.into_iter().find(|round| step > *round).map_or(SECOND, |round| step / round * round)
        };
        NonZeroU64::new(step).unwrap_or(NonZeroU64::MIN)
    }

    /// So many intervals of one length, the first of which ends then; `None` when there are none, or their ends are no times.
    pub(crate) fn of_parts(first_end_nanos: u64, step_nanos: u64, count: u64) -> Option<Self> {
        let step = NonZeroU64::new(step_nanos)?;
        let last = count.checked_sub(1)?;
        first_end_nanos.checked_add(step_nanos.checked_mul(last)?)?;
        Some(Self { first_end_nanos, step_nanos: step, count: usize::try_from(count).ok()? })
    }

    /// What [`of_parts`](Self::of_parts) takes.
    pub(crate) fn parts(&self) -> (u64, u64, u64) {
        (self.first_end_nanos, self.step_nanos.get(), self.count as u64)
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn step_seconds(&self) -> f64 {
        self.step_nanos.get() as f64 / SECOND as f64
    }

    /// The end of an interval in unix nanoseconds.
    pub fn end_nanos(&self, interval: usize) -> u64 {
        self.first_end_nanos.saturating_add(self.step_nanos.get().saturating_mul(interval as u64))
    }

    /// All times that fall into some interval.
    pub fn time_range(&self) -> TimeRange {
        let start_nanos = self.first_end_nanos.saturating_sub(self.step_nanos.get() - 1);
        TimeRange::new(start_nanos, self.end_nanos(self.count - 1))
    }

    /// Those into which the times of a range fall, and the number of the first of them; `None` when some fall into none. A
    /// single one holds that range and no more, so that it does not depend on where the others begin.
    pub fn within(&self, range: &TimeRange) -> Option<(Self, usize)> {
        let (first, last) = (self.of(range.start_nanos)?, self.of(range.end_nanos)?);
        let intervals = match first == last {
            true => Self {
                first_end_nanos: range.end_nanos,
                step_nanos: NonZeroU64::MIN.saturating_add(range.end_nanos - range.start_nanos),
                count: 1,
            },
            false => Self { first_end_nanos: self.end_nanos(first), count: last - first + 1, ..*self },
        };
        Some((intervals, first))
    }

    /// The interval of a time.
    #[inline]
    pub fn of(&self, nanos: u64) -> Option<usize> {
        let step = self.step_nanos.get();
        if nanos <= self.first_end_nanos {
            return (self.first_end_nanos - nanos < step).then_some(0);
        }
        let interval = ((nanos - self.first_end_nanos - 1) / step) as usize + 1;
        (interval < self.count).then_some(interval)
    }

    /// Finds intervals of times that often fall into the same one.
    pub(crate) fn cursor(&self) -> IntervalCursor {
        IntervalCursor { intervals: *self, interval: 0, first_nanos: u64::MAX, end_nanos: 0 }
    }
}

/// Remembers the borders of the last interval, so that only a time in another one costs a division.
#[derive(Debug)]
pub(crate) struct IntervalCursor {
    intervals: Intervals,
    interval: usize,
    /// The interval holds the times from the first to the second; none, to begin with.
    first_nanos: u64,
    end_nanos: u64,
}

impl IntervalCursor {
    /// The interval of a time.
    #[inline]
    pub fn of(&mut self, nanos: u64) -> Option<usize> {
        if nanos < self.first_nanos || nanos > self.end_nanos {
            self.interval = self.intervals.of(nanos)?;
            self.end_nanos = self.intervals.end_nanos(self.interval);
            self.first_nanos = match self.interval.checked_sub(1) {
                Some(before) => self.intervals.end_nanos(before).saturating_add(1),
                None => self.intervals.time_range().start_nanos,
            };
        }
        Some(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(seconds: u64) -> NonZeroU64 {
        NonZeroU64::new(seconds * SECOND).unwrap()
    }

    #[test]
    fn an_interval_holds_its_end_and_not_its_start() {
        let intervals = Intervals::of_range(TimeRange::from_seconds(1000, 1020), step(10));
        let ends: Vec<u64> = (0..intervals.count()).map(|interval| intervals.end_nanos(interval) / SECOND).collect();
        assert_eq!(ends, [1000, 1010, 1020]);
        let at = |seconds: u64, nanos: u64| intervals.of(seconds * SECOND + nanos);
        assert_eq!([at(990, 0), at(990, 1), at(1000, 0)], [None, Some(0), Some(0)]);
        assert_eq!([at(1000, 1), at(1010, 0), at(1010, 1)], [Some(1), Some(1), Some(2)]);
        assert_eq!([at(1020, 0), at(1020, 1)], [Some(2), None]);
        assert_eq!(intervals.time_range(), TimeRange::new(990 * SECOND + 1, 1020 * SECOND));
    }

    #[test]
    fn a_cursor_finds_what_a_division_finds() {
        let edge = TimeRange::new(u64::MAX - 25, u64::MAX);
        for (range, step_nanos) in [(TimeRange::new(100, 140), 10), (TimeRange::new(3, 40), 10), (edge, 7)] {
            let intervals = Intervals::of_range(range, NonZeroU64::new(step_nanos).unwrap());
            let mut cursor = intervals.cursor();
            let around = range.start_nanos.saturating_sub(30)..=range.end_nanos.saturating_add(30);
            for nanos in around.clone().chain(around.rev()) {
                assert_eq!(cursor.of(nanos), intervals.of(nanos), "{nanos} in {range:?}");
            }
        }
    }

    #[test]
    fn a_range_that_is_not_aligned_grows_to_multiples_of_the_step() {
        let intervals = Intervals::of_range(TimeRange::from_seconds(1003, 1017), step(10));
        assert_eq!((intervals.end_nanos(0) / SECOND, intervals.count()), (1000, 3));
        let one = Intervals::of_range(TimeRange::from_seconds(1000, 1000), step(10));
        assert_eq!((one.count(), one.of(1000 * SECOND)), (1, Some(0)));
        let early = Intervals::of_range(TimeRange::from_seconds(0, 5), step(10));
        assert_eq!((early.of(0), early.of(SECOND), early.time_range().start_nanos), (Some(0), Some(1), 0));
    }

    #[test]
    fn an_instant_query_has_one_interval() {
        let whole = Intervals::whole(TimeRange::from_seconds(1003, 1017));
        assert_eq!((whole.count(), whole.step_seconds()), (1, 14.0));
        assert_eq!([1003, 1004, 1017, 1018].map(|at| whole.of(at * SECOND)), [None, Some(0), Some(0), None]);
    }

    #[test]
    fn a_range_within_has_the_same_intervals_wherever_the_others_begin() {
        let range = |start: u64, end: u64| TimeRange::new(start * SECOND + 1, end * SECOND);
        let [early, late] =
            [1000, 1040].map(|start| Intervals::of_range(TimeRange::from_seconds(start, 1100), step(10)));
        let (of_early, first_of_early) = early.within(&range(1045, 1070)).unwrap();
        let (of_late, first_of_late) = late.within(&range(1045, 1070)).unwrap();
        assert_eq!((of_early, of_early.count(), first_of_early, first_of_late), (of_late, 3, 5, 1));
        assert!((0..3).all(|number| of_late.end_nanos(number) == early.end_nanos(number + 5)));
        assert!(early.within(&range(1095, 1101)).is_none() && early.within(&range(980, 1050)).is_none());

        let whole = [1000, 1003].map(|start| Intervals::whole(TimeRange::from_seconds(start, start + 60)));
        let within = whole.map(|whole| whole.within(&range(1010, 1020)).unwrap());
        assert_eq!((within[0], within[0].1), (within[1], 0));
        assert_eq!([1010, 1011, 1020, 1021].map(|at| within[0].0.of(at * SECOND)), [None, Some(0), Some(0), None]);
    }

    #[test]
    fn default_steps_are_round() {
        for (minutes, seconds) in [(1, 1), (5, 1), (10, 2), (30, 5), (60, 15), (180, 45), (360, 60), (1440, 300)] {
            let range = TimeRange::from_seconds(7, 7 + minutes * 60);
            assert_eq!(Intervals::default_step_nanos(&range), step(seconds), "{minutes} minutes");
        }
        for (range_millis, millis) in [(30_000, 100), (12_000, 50), (1, 50)] {
            let range = TimeRange::new(0, range_millis * 1_000_000);
            assert_eq!(Intervals::default_step_nanos(&range).get(), millis * 1_000_000);
        }
    }
}
