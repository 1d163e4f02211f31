//! When the writing of a block began, and whether it may still be published.

use std::time::{Duration, Instant, SystemTime};

use super::MAX_UNPUBLISHED;

/// When the writing of a block began, as two clocks showed it: one never jumps, the other goes on while a machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    monotonic: Instant,
    wall: SystemTime,
}

impl Begun {
    /// To be taken before the first file of a block is written.
    pub fn now() -> Self {
        Self::at(monotonic(), SystemTime::now())
    }

    pub fn at(monotonic: Instant, wall: SystemTime) -> Self {
        Self { monotonic, wall }
    }

    /// False once either clock says that [`MAX_UNPUBLISHED`] has passed.
    pub fn may_publish(&self) -> bool {
        self.age(monotonic(), SystemTime::now()) < MAX_UNPUBLISHED
    }

    /// The longer of what the clocks say; a wall clock that was set back says nothing.
    fn age(&self, monotonic: Instant, wall: SystemTime) -> Duration {
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
        let begun = Begun::at(start, day);
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(begun.age(start + minute, day + second), minute);
        assert_eq!(begun.age(start + second, day + minute), minute, "the machine slept");
        assert_eq!(begun.age(start + second, day - minute), second, "the clock was set back");
    }

    #[test]
    fn a_block_may_be_published_for_a_time() {
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        assert!(Begun::at(Instant::now(), now - MAX_UNPUBLISHED + minute).may_publish());
        assert!(!Begun::at(Instant::now(), now - MAX_UNPUBLISHED).may_publish());
    }
}
