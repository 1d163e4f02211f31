//! Times and durations as Tempo's metadata and metrics endpoints read them.

use super::number::parse_int;

const SECOND: u64 = 1_000_000_000;

/// Unix seconds (up to 10 digits), fractional seconds, unix nanoseconds, or RFC 3339 → unix nanoseconds.
///
/// # Errors
/// A text that says what is wrong.
pub fn parse_time(text: &str) -> Result<u64, String> {
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        return Ok((seconds * SECOND as f64) as u64); // a negative time is the epoch
    }
    match parse_int(text) {
        Ok(seconds) if text.len() <= 10 => Ok(u64::try_from(seconds).unwrap_or(0).saturating_mul(SECOND)),
        Ok(nanos) => Ok(u64::try_from(nanos).unwrap_or(0)),
        Err(problem) => parse_rfc3339(text).ok_or(problem),
    }
}

/// `2006-01-02T15:04:05.999999999Z`, or with an offset in place of `Z`.
fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.strip_prefix(['T', 't'])?.split_at_checked(8)?;
    let [year, month, day] = fields(date, '-')?;
    let [hour, minute, second] = fields(clock, ':')?;
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !valid {
        return None;
    }
    let (fraction_nanos, zone) = match rest.strip_prefix('.') {
        Some(fraction) => split_fraction(fraction)?,
        None => (0, rest),
    };
    let local_seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = u64::try_from(local_seconds - offset_seconds(zone)?).unwrap_or(0);
    Some(seconds.saturating_mul(SECOND).saturating_add(fraction_nanos))
}

fn fields(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut numbers = text.split(separator).map(|digits| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    });
    let fields = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(fields)
}

/// Nanoseconds of the digits after the point, and the text behind them.
fn split_fraction(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let nanos_digits = digits.get(..digits.len().min(9)).filter(|digits| !digits.is_empty())?;
    Some((format!("{nanos_digits:0<9}").parse().ok()?, rest))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next()? {
        'Z' | 'z' => return (zone.len() == 1).then_some(0),
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let [hours, minutes] =
        [hours, minutes].map(|digits| (digits.len() == 2).then(|| digits.parse::<u8>().ok()).flatten());
    Some(sign * (i64::from(hours?) * 3600 + i64::from(minutes?) * 60))
}

/// Days of the Gregorian calendar, counted from years that begin in March so that leap days come last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// A Prometheus duration (`1d`, `1h30m`, `500ms`) → nanoseconds: units in falling order, each at most once.
pub(in crate::tempo) fn parse_prometheus_duration(text: &str) -> Result<u64, String> {
    const DAY: u64 = 86_400 * SECOND;
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * DAY),
        ("w", 7 * DAY),
        ("d", DAY),
        ("h", 3600 * SECOND),
        ("m", 60 * SECOND),
        ("s", SECOND),
        ("ms", SECOND / 1000),
    ];
    if text == "0" {
        return Ok(0);
    }
    let invalid = || format!("not a valid duration string: {text:?}");
    let mut nanos = 0_u64;
    let mut units = UNITS.as_slice();
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, after_digits) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?);
        let unit_end = after_digits.find(|c: char| c.is_ascii_digit()).unwrap_or(after_digits.len());
        let (unit, after_unit) = after_digits.split_at(unit_end);
        let position = units.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let amount: u64 = digits.parse().map_err(|_| invalid())?;
        let part_nanos = amount.checked_mul(units[position].1).ok_or_else(invalid)?;
        nanos = nanos.checked_add(part_nanos).ok_or_else(invalid)?;
        units = &units[position + 1..];
        rest = after_unit;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        for (text, nanos) in [
            ("1700000000", 1_700_000_000 * SECOND),
            ("1700000000.5", 1_700_000_000 * SECOND + SECOND / 2),
            ("1700000000000000001", 1_700_000_000_000_000_001),
            ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
            ("2023-11-14T23:13:20.25+01:00", 1_700_000_000 * SECOND + SECOND / 4),
            ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
            ("1970-01-01T00:00:00Z", 0),
            ("-5", 0),
        ] {
            assert_eq!(parse_time(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn bad_times_are_named_as_go_names_them() {
        for text in
            ["NaN", "later", "2023-11-14", "2023-13-14T00:00:00Z", "2023-11-14T00:00:00", "2023-11-14T00:00:00.Z"]
        {
            let problem = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            assert_eq!(parse_time(text), Err(problem));
        }
    }

    #[test]
    fn prometheus_durations_have_days() {
        for (text, seconds) in [("10m", 600), ("1d", 86_400), ("1h30m", 5400), ("1w2d", 777_600), ("0", 0)] {
            assert_eq!(parse_prometheus_duration(text), Ok(seconds * SECOND), "{text}");
        }
        for text in ["", "5", "m", "1m1h", "1h1h", "-1h", "1.5h", "99999999999y"] {
            assert!(parse_prometheus_duration(text).is_err(), "{text}");
        }
    }
}
