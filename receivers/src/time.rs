//! Times: microseconds, or seconds and nanoseconds → nanoseconds since 1970.

const NANOS_PER_MICRO: i64 = 1_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What lies before 1970 is 1970, what lies after 2262 is 2262.
pub(crate) fn nanos_of_micros(micros: i64) -> u64 {
    micros.saturating_mul(NANOS_PER_MICRO).max(0).unsigned_abs()
}

/// A time or a span of time in protobuf.
pub(crate) fn nanos_of_parts(seconds: i64, nanos: i32) -> i64 {
    seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(i64::from(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_clock_shows_stay_in_range() {
        assert_eq!(nanos_of_micros(1_700_000_000_123_456), 1_700_000_000_123_456_000);
        assert_eq!(nanos_of_micros(-5), 0);
        assert_eq!(nanos_of_micros(i64::MAX), i64::MAX.unsigned_abs());
        assert_eq!(nanos_of_parts(3, 5), 3_000_000_005);
        assert_eq!(nanos_of_parts(i64::MAX, i32::MAX), i64::MAX);
    }
}
