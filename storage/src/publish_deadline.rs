//! Until when a block whose writing began may be published: [`crate::garbage`] says why there is an end.

use std::time::{Duration, Instant, SystemTime};

use crate::clock::Moment;

/// How long after its writing began a block or a trace map may still be published. All processes on a store must agree on it.
pub const MAX_UNPUBLISHED: Duration = Duration::from_secs(20 * 60);

/// When the writing of a block began, as two clocks showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishDeadline(Moment);

impl PublishDeadline {
    /// To be taken before the first file of a block is written.
    pub fn from_now() -> Self {
        Self(Moment::now())
    }

    pub fn of(monotonic: Instant, wall: SystemTime) -> Self {
        Self(Moment::at(monotonic, wall))
    }

    /// False once either clock says that [`MAX_UNPUBLISHED`] has passed.
    pub fn may_publish(&self) -> bool {
        self.0.age() < MAX_UNPUBLISHED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_may_be_published_for_a_time() {
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        assert!(PublishDeadline::of(Instant::now(), now - MAX_UNPUBLISHED + minute).may_publish());
        assert!(!PublishDeadline::of(Instant::now(), now - MAX_UNPUBLISHED).may_publish());
    }
}
