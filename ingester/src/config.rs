//! Settings of the way in.

use std::time::Duration;

/// How much is kept live, and when it becomes a block.
#[derive(Debug, Clone)]
pub struct Config {
    /// Live spans are cut into blocks when they hold about this much memory, in bytes. Larger blocks are read faster;
    /// up to four times this much is held while a block is written.
    pub max_block_bytes: usize,
    /// Live spans are cut at this age at the latest, so that other processes and Parquet readers see them.
    pub max_block_duration: Duration,
    /// Requests that may wait for the log; more are refused.
    pub max_queued_requests: usize,
    /// Bytes of requests that may wait for the log or for their turn to be applied.
    pub max_queued_bytes: usize,
    /// How long a request may wait in all before it is refused; below the 10 s after which OTLP exporters give up.
    pub push_timeout: Duration,
    /// How long after the start spans are taken at the soonest: others may have to learn of this process first.
    pub joining_time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_block_bytes: 48 << 20,
            max_block_duration: Duration::from_secs(5 * 60),
            max_queued_requests: 4096,
            max_queued_bytes: 64 << 20,
            push_timeout: Duration::from_secs(9),
            joining_time: Duration::ZERO,
        }
    }
}
