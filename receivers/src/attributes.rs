//! Attributes of OTLP: how they are made, found, and taken out.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

pub(crate) const SERVICE_NAME: &str = "service.name";
pub(crate) const OTEL_STATUS_CODE: &str = "otel.status_code";
pub(crate) const OTEL_STATUS_DESCRIPTION: &str = "otel.status_description";
pub(crate) const HTTP_STATUS_CODE: &str = "http.status_code";
pub(crate) const HTTP_STATUS_MESSAGE: &str = "http.status_message";
pub(crate) const ERROR: &str = "error";
pub(crate) const SPAN_KIND: &str = "span.kind";
pub(crate) const W3C_TRACE_STATE: &str = "w3c.tracestate";
pub(crate) const SCOPE_NAME: &str = "otel.scope.name";
pub(crate) const SCOPE_VERSION: &str = "otel.scope.version";
pub(crate) const PEER_SERVICE: &str = "peer.service";
pub(crate) const NET_PEER_IP: &str = "net.peer.ip";
pub(crate) const NET_PEER_PORT: &str = "net.peer.port";

/// A service name of the collector that stands for none.
pub(crate) const NO_SERVICE_NAME: &str = "OTLPResourceNoServiceName";

pub(crate) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(crate) fn text_attribute(key: impl Into<String>, text: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(text.into()))
}

/// The value of a key.
pub(crate) fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

/// Takes a key out, whatever its value is; the text of it, empty if it has another type.
pub(crate) fn take_text(attributes: &mut Vec<KeyValue>, key: &str) -> Option<String> {
    let place = attributes.iter().position(|attribute| attribute.key == key)?;
    match attributes.remove(place).value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => Some(text),
        _ => Some(String::new()),
    }
}

/// Sets a key, in place of what it had.
pub(crate) fn put(attributes: &mut Vec<KeyValue>, key: &str, value: Value) {
    attributes.retain(|attribute| attribute.key != key);
    attributes.push(attribute(key, value));
}

/// Keys that were sent several times have their last value.
pub(crate) fn with_last_values(attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    if attributes.len() < 2 {
        return attributes;
    }
    let last: HashMap<&str, usize> =
        attributes.iter().enumerate().map(|(place, attribute)| (attribute.key.as_str(), place)).collect();
    if last.len() == attributes.len() {
        return attributes;
    }
    let mut kept: Vec<usize> = last.into_values().collect();
    kept.sort_unstable();
    let mut attributes: Vec<Option<KeyValue>> = attributes.into_iter().map(Some).collect();
    kept.into_iter().filter_map(|place| attributes[place].take()).collect()
}

/// A number that is given as such or as text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::IntValue(number) => Some(*number),
        Value::StringValue(text) => text.parse().ok(),
        _ => None,
    }
}

/// The text of a value; empty if it has another type.
pub(crate) fn text(value: &Value) -> &str {
    if let Value::StringValue(text) = value { text } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_that_comes_twice_the_last_value_counts() {
        let sent = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")];
        let kept = with_last_values(sent.map(|(key, value)| text_attribute(key, value)).to_vec());
        assert_eq!(kept, [("b", "2"), ("a", "3"), ("c", "4")].map(|(key, value)| text_attribute(key, value)));
    }

    #[test]
    fn what_is_taken_out_is_gone_and_what_is_put_is_there_once() {
        let mut attributes = vec![attribute("n", Value::IntValue(1)), text_attribute("t", "x")];
        assert_eq!(take_text(&mut attributes, "t"), Some("x".to_owned()));
        assert_eq!(take_text(&mut attributes, "t"), None);
        put(&mut attributes, "n", Value::IntValue(2));
        assert_eq!(attributes, [attribute("n", Value::IntValue(2))]);
        assert_eq!(take_text(&mut attributes, "n"), Some(String::new()));
    }
}
