//! Times and durations as people write them. Pure: the clock comes in as `now_nanos`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000_000_000;

/// Unix nanoseconds.
pub(crate) fn now_nanos() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// `90s`, `15m`, `1h30m`, `2d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 90s, 15m, 1h30m or 2d"))?;
    if duration.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// `now`, RFC 3339, `2026-01-31 12:00:00` (UTC), unix seconds, or a duration before now → unix nanoseconds.
pub(crate) fn parse_time(text: &str, now_nanos: u64) -> Result<u64, String> {
    if text == "now" {
        return Ok(now_nanos);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(SECOND).ok_or_else(|| format!("{text} is beyond the end of time"));
    }
    if let Ok(ago) = humantime::parse_duration(text.trim_start_matches('-')) {
        return Ok(now_nanos.saturating_sub(nanos(ago)));
    }
    let day = if text.len() == "2026-01-31".len() { format!("{text} 00:00:00") } else { text.to_owned() };
    let time = humantime::parse_rfc3339_weak(&day)
        .map_err(|_| format!("{text:?} is no time; write 15m (ago), 2026-01-31T12:00:00Z or unix seconds"))?;
    Ok(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `2026-01-31T12:00:00.000Z`
pub(crate) fn rfc3339(unix_nanos: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix_nanos)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000 * SECOND;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, nanos) in [
            ("now", NOW),
            ("15m", NOW - 900 * SECOND),
            ("-1h", NOW - 3600 * SECOND),
            ("1699999999", NOW - SECOND),
            ("2023-11-14T22:13:20Z", NOW),
            ("2023-11-14 22:13:20", NOW),
            ("2023-11-14", NOW - 80_000 * SECOND),
        ] {
            assert_eq!(parse_time(text, NOW), Ok(nanos), "{text}");
        }
        assert!(parse_time("yesterday", NOW).unwrap_err().contains("write 15m (ago)"));
        assert_eq!(rfc3339(NOW), "2023-11-14T22:13:20.000Z");
    }

    #[test]
    fn durations_are_longer_than_nothing() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(parse_duration("0s").is_err());
        assert!(parse_duration("long").unwrap_err().contains("write it as 90s"));
    }
}
