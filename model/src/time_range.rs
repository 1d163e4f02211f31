//! Ranges of time in unix nanoseconds.

/// A range of time, both ends included, in unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    pub start_nanos: u64,
    pub end_nanos: u64,
}

impl TimeRange {
    /// Every time there is.
    pub const ALL: Self = Self { start_nanos: 0, end_nanos: u64::MAX };

    pub fn new(start_nanos: u64, end_nanos: u64) -> Self {
        Self { start_nanos, end_nanos }
    }

    /// From and to a whole unix second; the end is that second's first nanosecond, as Tempo reads `end`.
    pub fn from_seconds(start: u64, end: u64) -> Self {
        Self { start_nanos: start.saturating_mul(1_000_000_000), end_nanos: end.saturating_mul(1_000_000_000) }
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.start_nanos <= other.end_nanos && other.start_nanos <= self.end_nanos
    }

    pub fn contains(&self, nanos: u64) -> bool {
        self.start_nanos <= nanos && nanos <= self.end_nanos
    }

    /// The smallest range that holds both.
    pub fn union(&self, other: &Self) -> Self {
        Self { start_nanos: self.start_nanos.min(other.start_nanos), end_nanos: self.end_nanos.max(other.end_nanos) }
    }

    /// The range that reaches `by_nanos` further on both sides.
    pub fn widened(&self, by_nanos: u64) -> Self {
        Self {
            start_nanos: self.start_nanos.saturating_sub(by_nanos),
            end_nanos: self.end_nanos.saturating_add(by_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_overlap() {
        let range = TimeRange::new(10, 20);
        assert!(range.overlaps(&TimeRange::new(20, 30)));
        assert!(!range.overlaps(&TimeRange::new(21, 30)));
        assert!(range.contains(10) && range.contains(20) && !range.contains(21));
        assert_eq!(range.union(&TimeRange::new(5, 12)), TimeRange::new(5, 20));
        assert_eq!(range.widened(15), TimeRange::new(0, 35));
    }
}
