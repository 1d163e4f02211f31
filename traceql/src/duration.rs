//! Durations as Go writes them: `1m30s`, `585.713678ms`. Reads and prints; knows nothing of TraceQL's own units (d, w,
//! y).

/// Why a text is not a Go duration. The texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    #[error("time: invalid duration {}", quoted(.0))]
    Invalid(String),
    #[error("time: missing unit in duration {}", quoted(.0))]
    MissingUnit(String),
    #[error("time: unknown unit {} in duration {}", quoted(.unit), quoted(.text))]
    UnknownUnit { unit: String, text: String },
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // micro sign
    ("μs", 1_000), // Greek letter mu
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The nanoseconds of a duration such as `1h15m30.918s` or `-1.5ms`.
pub fn parse_go_duration(text: &str) -> Result<i64, ParseDurationError> {
    let invalid = || ParseDurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let component = Component::split(rest).ok_or_else(invalid)?;
        if component.unit.is_empty() {
            return Err(ParseDurationError::MissingUnit(text.to_owned()));
        }
        let unit_nanos =
            UNITS.iter().find(|(name, _)| *name == component.unit).map(|(_, nanos)| *nanos).ok_or_else(|| {
                ParseDurationError::UnknownUnit { unit: component.unit.to_owned(), text: text.to_owned() }
            })?;
        let component_nanos = component.nanos(unit_nanos).ok_or_else(invalid)?;
        nanos = nanos.checked_add(component_nanos).filter(|sum| *sum <= 1 << 63).ok_or_else(invalid)?;
        rest = component.rest;
    }
    if negative { 0_i64.checked_sub_unsigned(nanos) } else { i64::try_from(nanos).ok() }.ok_or_else(invalid)
}

/// One number with its unit, as it is written, and the text after it.
struct Component<'t> {
    whole: &'t str,
    fraction: &'t str,
    unit: &'t str,
    rest: &'t str,
}

impl<'t> Component<'t> {
    /// None when the text does not begin with a number.
    fn split(text: &'t str) -> Option<Self> {
        let (whole, after_whole) = split_digits(text);
        let (fraction, after_number) = match after_whole.strip_prefix('.') {
            Some(after_point) => split_digits(after_point),
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_end = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit, rest) = after_number.split_at(unit_end);
        Some(Self { whole, fraction, unit, rest })
    }

    /// None on overflow.
    fn nanos(&self, unit_nanos: u64) -> Option<u64> {
        let whole: u64 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        let mut nanos = whole.checked_mul(unit_nanos)?;
        let (fraction, scale) = leading_fraction(self.fraction);
        nanos = nanos.checked_add((fraction as f64 * (unit_nanos as f64 / scale)) as u64)?;
        Some(nanos)
    }
}

/// The digits behind a point as a number over a power of ten; digits that do not fit count for nothing.
fn leading_fraction(digits: &str) -> (u64, f64) {
    let (mut fraction, mut scale) = (0_u64, 1.0);
    for digit in digits.bytes().map(|byte| u64::from(byte - b'0')) {
        let longer = fraction.checked_mul(10).and_then(|tens| tens.checked_add(digit));
        let Some(longer) = longer.filter(|longer| *longer <= 1 << 63) else { break };
        fraction = longer;
        scale *= 10.0;
    }
    (fraction, scale)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Prints nanoseconds as Go prints a duration: `1m30s`, `585.713678ms`, `400µs`, `0s`.
pub fn format_go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(size, 1_000_000)),
        _ => format!("{sign}{}", clock(size)),
    }
}

/// Hours, minutes and seconds, without leading zero parts.
fn clock(nanos: u64) -> String {
    const MINUTE: u64 = 60_000_000_000;
    let seconds = decimal(nanos % MINUTE, 1_000_000_000);
    match nanos / MINUTE {
        0 => format!("{seconds}s"),
        minutes @ 1..60 => format!("{minutes}m{seconds}s"),
        minutes => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
    }
}

/// `amount / unit` in decimal without trailing zeros; `unit` is a power of ten.
fn decimal(amount: u64, unit: u64) -> String {
    let (whole, fraction) = (amount / unit, amount % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{:0width$}", fraction, width = unit.ilog10() as usize);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Go's quoting of the offending text: bytes outside printable ASCII as `\xNN`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("+5s", 5_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("1m30.918s", 90_918_000_000),
            (".5us", 500),
            ("1.s", 1_000_000_000),
            ("1500µs", 1_500_000),
            ("1s30m", 1_801_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.3333333333333333333h", 1_200_000_000_000),
        ] {
            assert_eq!(parse_go_duration(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn bad_durations_are_named_as_go_names_them() {
        for (text, message) in [
            ("abc", r#"time: invalid duration "abc""#),
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            (".s", r#"time: invalid duration ".s""#),
            ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
            ("3000000h", r#"time: invalid duration "3000000h""#),
            ("100", r#"time: missing unit in duration "100""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("1é", r#"time: unknown unit "\xc3\xa9" in duration "1\xc3\xa9""#),
        ] {
            assert_eq!(parse_go_duration(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (400_000, "400µs"),
            (1_100, "1.1µs"),
            (585_713_678, "585.713678ms"),
            (100_000_000, "100ms"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-5_000_000, "-5ms"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_go_duration(nanos), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(nanos in -(1_i64 << 53)..(1_i64 << 53)) {
            prop_assert_eq!(parse_go_duration(&format_go_duration(nanos)), Ok(nanos));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[-+0-9.hmsunµ]{0,30}") {
            let _ = parse_go_duration(&text);
        }
    }
}
