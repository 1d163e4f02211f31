//! The time of day as spans and blocks have it, and how much of it has passed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, in unix nanoseconds.
pub(crate) fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment as two clocks showed it: one never jumps, the other goes on while a machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub fn now() -> Self {
        Self::at(monotonic(), SystemTime::now())
    }

    pub fn at(monotonic: Instant, wall: SystemTime) -> Self {
        Self { monotonic, wall }
    }

    /// How long ago it was, at the most.
    pub fn age(&self) -> Duration {
        self.age_at(monotonic(), SystemTime::now())
    }

    /// The longer of what the clocks say; a wall clock that was set back says nothing.
    pub fn age_at(&self, monotonic: Instant, wall: SystemTime) -> Duration {
        let by_wall = wall.duration_since(self.wall).unwrap_or_default();
        monotonic.saturating_duration_since(self.monotonic).max(by_wall)
    }
}

/// tokio's clock: the same as std's, but in tests that let time pass.
fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_says_more_is_believed() {
        let (start, day) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let moment = Moment::at(start, day);
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(moment.age_at(start + minute, day + second), minute);
        assert_eq!(moment.age_at(start + second, day + minute), minute, "the machine slept");
        assert_eq!(moment.age_at(start + second, day - minute), second, "the clock was set back");
    }
}
