//! Until when a block whose writing began may be published: [`crate::garbage`] says why there is an end.

use std::time::{Duration, Instant, SystemTime};

/// How long after its writing began a block or a trace map may still be published. All processes on a store must agree on it.
pub const MAX_UNPUBLISHED: Duration = Duration::from_secs(20 * 60);

/// When the writing of a block began, as two clocks showed it: one never jumps, the other goes on while a machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishDeadline {
    monotonic: Instant,
    wall: SystemTime,
}

impl PublishDeadline {
    /// To be taken before the first file of a block is written.
    pub fn from_now() -> Self {
        Self::of(monotonic(), SystemTime::now())
    }

    pub fn of(monotonic: Instant, wall: SystemTime) -> Self {
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
        let deadline = PublishDeadline::of(start, day);
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(deadline.age(start + minute, day + second), minute);
        assert_eq!(deadline.age(start + second, day + minute), minute, "the machine slept");
        assert_eq!(deadline.age(start + second, day - minute), second, "the clock was set back");
    }

    #[test]
    fn a_block_may_be_published_for_a_time() {
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        assert!(PublishDeadline::of(Instant::now(), now - MAX_UNPUBLISHED + minute).may_publish());
        assert!(!PublishDeadline::of(Instant::now(), now - MAX_UNPUBLISHED).may_publish());
    }
}
