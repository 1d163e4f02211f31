//! The time of day as spans and blocks have it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in unix nanoseconds.
pub(crate) fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
