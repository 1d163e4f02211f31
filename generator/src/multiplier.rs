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
        let by_trace_state =
            if self.of_trace_state { spans::adjusted_count(spans.trace_states.get(row)) } else { None };
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
