//! How many spans a sampled one stands for.

use crate::columns::{Attributes, Spans, Value};

/// Where the share of sampled spans is written.
pub(crate) struct Multiplier<'c> {
    /// An attribute with the share as a double; empty for none.
    pub key: &'c str,
    /// The trace state says it first: `ot=th:…`.
    pub of_trace_state: bool,
}

impl Multiplier<'_> {
    pub(crate) fn of(&self, spans: &Spans<'_>, row: usize) -> f64 {
        let by_trace_state = if self.of_trace_state { threshold(spans.trace_states.get(row)) } else { None };
        by_trace_state.or_else(|| self.of_attribute(spans, row)).unwrap_or(1.0)
    }

    fn of_attribute(&self, spans: &Spans<'_>, row: usize) -> Option<f64> {
        if self.key.is_empty() {
            return None;
        }
        let resource = spans.resources[row] as usize;
        let share = share(&spans.attributes, row, self.key);
        share.or_else(|| share_of_resource(spans, resource, self.key)).map(|share| 1.0 / share)
    }
}

fn share_of_resource(spans: &Spans<'_>, resource: usize, key: &str) -> Option<f64> {
    share(&spans.resource_attributes, resource, key)
}

fn share(attributes: &Attributes<'_>, row: usize, key: &str) -> Option<f64> {
    let with_key = attributes.items(row).filter(|&item| attributes.key(item) == key);
    let mut doubles = with_key.filter_map(|item| match attributes.value(item) {
        Value::Double(bits) => Some(f64::from_bits(bits)),
        _ => None,
    });
    doubles.find(|share| *share > 0.0)
}

/// The multiplier of a trace state of OpenTelemetry's: `ot=th:c` rejects 12 of 16, so one span stands for four. With a
/// random value (`rv`) it is rounded to a whole number by that value.
fn threshold(trace_state: &str) -> Option<f64> {
    let members = trace_state.split(',').map(str::trim);
    let ot = members.filter_map(|member| member.strip_prefix("ot=")).next()?;
    let field = |name: &str| ot.split(';').find_map(|field| field.strip_prefix(name));
    let rejected = hexadecimal_share(field("th:")?)?;
    let multiplier = 1.0 / (1.0 - rejected);
    let random = field("rv:").filter(|digits| digits.len() == 14).and_then(hexadecimal_share);
    Some(match random {
        Some(random) if random < multiplier.fract() => multiplier.floor() + 1.0,
        Some(_) => multiplier.floor(),
        None => multiplier,
    })
}

/// Up to 14 hexadecimal digits as what stands behind a point: `8` is one half.
fn hexadecimal_share(digits: &str) -> Option<f64> {
    let is_usable = (1..=14).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_usable)?;
    Some(number as f64 / f64::powi(16.0, digits.len() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_says_how_many_spans_one_stands_for() {
        let of = threshold;
        assert_eq!((of("ot=th:8"), of("a=b,ot=th:c"), of("ot=th:0")), (Some(2.0), Some(4.0), Some(1.0)));
        assert_eq!((of(""), of("ot=rv:1"), of("ot=th:xyz"), of("ot=th:")), (None, None, None, None));
    }

    #[test]
    fn with_a_random_value_it_is_a_whole_number() {
        // a share of 0.4 stands for 2.5
        let of = |random| threshold(&format!("ot=th:99999999999999;rv:{random}")).map(f64::round);
        assert_eq!((of("10000000000000"), of("f0000000000000")), (Some(3.0), Some(2.0)));
    }
}
