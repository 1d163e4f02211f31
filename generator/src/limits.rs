//! How many series a tenant may have, and how long.

use std::time::Duration;

/// What keeps series few and memory small. Zero: no limit, as in Tempo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Series of all names together; a histogram counts as its buckets, sum and count do.
    pub max_active_series: usize,
    /// Distinct values of one label.
    pub max_cardinality_per_label: usize,
    /// Longer names and values are cut off.
    pub max_label_name_bytes: usize,
    pub max_label_value_bytes: usize,
    /// A series that has not changed for so long is forgotten.
    pub stale_duration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_active_series: 0,
            max_cardinality_per_label: 0,
            max_label_name_bytes: 1024,
            max_label_value_bytes: 2048,
            stale_duration: Duration::from_secs(15 * 60),
        }
    }
}
