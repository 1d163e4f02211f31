//! For how many spans a sampled one stands, as OpenTelemetry's consistent probability sampling writes it into the W3C trace
//! state.

/// Digits of a threshold and of a random value: both stand for 56 bits.
const DIGITS: usize = 14;

/// The longest member of a trace state that is read.
const MAX_BYTES: usize = 256;

/// The adjusted count of a span: `ot=th:c` rejects 12 of 16, so one span stands for four. With a random value (`rv`) it is
/// rounded to a whole number by that value, so that counts stay whole and are right on average.
///
/// `None` when the trace state does not say it, or what it says is not OpenTelemetry's form.
pub fn adjusted_count(trace_state: &str) -> Option<f64> {
    let mut members = trace_state.split(',').map(str::trim);
    let member = members.find_map(|member| member.strip_prefix("ot=")).filter(|member| member.len() <= MAX_BYTES)?;
    let (mut rejected, mut random) = (None, None);
    for field in member.split(';') {
        let (key, value) = field.split_once(':').filter(|(key, value)| is_key(key) && is_value(value))?;
        match key {
            "th" => rejected = Some(bits(value)?),
            "rv" => random = Some(bits(value).filter(|_| value.len() == DIGITS)?),
            _ => {}
        }
    }
    let all = (1_u64 << (4 * DIGITS)) as f64;
    let count = all / (all - rejected? as f64).max(1.0);
    Some(match random {
        Some(random) if (random as f64) / all < count.fract() => count.floor() + 1.0,
        Some(_) => count.floor(),
        None => count,
    })
}

/// Up to 14 hexadecimal digits as what stands behind a point: `8` is one half of all.
fn bits(digits: &str) -> Option<u64> {
    let is_number = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
    Some(number << (4 * (DIGITS - digits.len())))
}

fn is_key(key: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.starts_with(|first: char| first.is_ascii_lowercase()) && key.bytes().all(is_part)
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_says_how_many_spans_one_stands_for() {
        for (trace_state, count) in [
            ("ot=th:8", 2.0),
            ("ot=th:0", 1.0),
            ("a=b,ot=th:c", 4.0),
            ("not=th:8, ot=th:c", 4.0),
            ("ot=th:C;x:y", 4.0),
            ("ot=rv:00112233445566;th:8", 2.0),
            ("ot=th:ffffffffffffff", 2_f64.powi(56)),
        ] {
            assert_eq!(adjusted_count(trace_state), Some(count), "{trace_state}");
        }
    }

    #[test]
    fn what_is_not_of_this_form_says_nothing() {
        let long = format!("ot=th:8;a:{}", "b".repeat(MAX_BYTES));
        for trace_state in [
            "",
            "a=th:8",
            "not=th:c",
            "ot=rv:00112233445566",
            "ot=th:",
            "ot=th:xyz",
            "ot=th:+8",
            "ot=th:123456789abcdef",
            "ot=th:8;rv:12",
            "ot=th:8;",
            "ot=th:8;A:b",
            "ot=th:8;a:b c",
            "ot=th",
            &long,
        ] {
            assert_eq!(adjusted_count(trace_state), None, "{trace_state}");
        }
    }

    #[test]
    fn with_a_random_value_it_is_a_whole_number() {
        // a share of 0.4 stands for 2.5
        let of = |random: &str| adjusted_count(&format!("ot=th:9999999999999a;rv:{random}"));
        assert_eq!((of("10000000000000"), of("f0000000000000")), (Some(3.0), Some(2.0)));
    }
}
