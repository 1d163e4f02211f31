//! Attributes as plain JSON, without the names of their types.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Number, Value};

/// How bytes are written, which JSON has no form for.
pub(super) type WriteBytes = fn(&[u8]) -> String;

pub(super) fn map(attributes: &[KeyValue], bytes: WriteBytes) -> Map<String, Value> {
    attributes.iter().map(|pair| (pair.key.clone(), value(content(pair), bytes))).collect()
}

pub(super) fn content(pair: &KeyValue) -> Option<&Any> {
    pair.value.as_ref()?.value.as_ref()
}

/// A number that JSON has no form for is a text.
pub(super) fn value(any: Option<&Any>, bytes: WriteBytes) -> Value {
    let of_message = |message: &AnyValue| value(message.value.as_ref(), bytes);
    match any {
        None => Value::Null,
        Some(Any::StringValue(text)) => Value::String(text.clone()),
        Some(Any::BoolValue(value)) => Value::Bool(*value),
        Some(Any::IntValue(number)) => Value::from(*number),
        Some(Any::DoubleValue(number)) => double(*number),
        Some(Any::BytesValue(content)) => Value::String(bytes(content)),
        Some(Any::ArrayValue(list)) => Value::Array(list.values.iter().map(of_message).collect()),
        Some(Any::KvlistValue(list)) => Value::Object(map(&list.values, bytes)),
        // a reference into a table that profiles have, and traces not
        Some(Any::StringValueStrindex(_)) => Value::Null,
    }
}

fn double(number: f64) -> Value {
    let text = match number {
        f64::INFINITY => "+Inf",
        f64::NEG_INFINITY => "-Inf",
        _ => "NaN",
    };
    Number::from_f64(number).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    use serde_json::json;

    use super::*;

    fn any(value: Any) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    #[test]
    fn values_of_all_types_are_plain() {
        let list = vec![any(Any::IntValue(i64::MAX)), any(Any::DoubleValue(f64::NAN)), AnyValue::default()];
        let pair =
            KeyValue { key: "b".to_owned(), value: Some(any(Any::BytesValue(vec![1, 255]))), ..Default::default() };
        for (given, expected) in [
            (Any::StringValue("x".to_owned()), json!("x")),
            (Any::BoolValue(true), json!(true)),
            (Any::DoubleValue(0.5), json!(0.5)),
            (Any::DoubleValue(f64::NEG_INFINITY), json!("-Inf")),
            (Any::ArrayValue(ArrayValue { values: list }), json!([i64::MAX, "NaN", null])),
            (Any::KvlistValue(KeyValueList { values: vec![pair] }), json!({"b": "01ff"})),
        ] {
            assert_eq!(value(Some(&given), hex), expected);
        }
    }
}
