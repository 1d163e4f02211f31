//! When live rows become a block. Pure.

use std::time::{Duration, Instant};

use crate::config::Config;

/// What there is to cut, over all tenants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LiveSize {
    pub memory_bytes: usize,
    /// When the oldest of the live spans arrived; `None` without live spans.
    pub oldest: Option<Instant>,
}

/// Why a cut is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Size,
    Age,
}

/// Whether, and why, live rows should be cut at `now`.
pub(crate) fn due(live: &LiveSize, config: &Config, now: Instant) -> Option<Due> {
    let age = now.saturating_duration_since(live.oldest?);
    if live.memory_bytes >= config.max_block_bytes {
        Some(Due::Size)
    } else if age >= config.max_block_duration {
        Some(Due::Age)
    } else {
        None
    }
}

/// How often age is looked at.
pub(crate) const CHECK_PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_by_size_and_by_age() {
        let (start, config) = (Instant::now(), Config::default());
        let check =
            |memory_bytes, age: Duration| due(&LiveSize { memory_bytes, oldest: Some(start) }, &config, start + age);
        assert_eq!(check(1, Duration::ZERO), None);
        assert_eq!(check(config.max_block_bytes, Duration::ZERO), Some(Due::Size));
        assert_eq!(check(1, config.max_block_duration), Some(Due::Age));
        assert_eq!(due(&LiveSize { memory_bytes: 0, oldest: None }, &config, start), None);
    }
}
