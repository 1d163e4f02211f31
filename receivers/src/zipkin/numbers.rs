//! Tags of Zipkin are texts. Whoever wants numbers and booleans (`parse_string_tags`) gets those that are written so.

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::Reading;

pub(super) fn value(text: String, reading: Reading) -> Value {
    if reading.parses_tags { parsed(&text).unwrap_or(Value::StringValue(text)) } else { Value::StringValue(text) }
}

/// Digits, digits with a point between them, `true`, `false`.
fn parsed(text: &str) -> Option<Value> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        Some((whole, fraction)) if digits(whole) && digits(fraction) => text.parse().ok().map(Value::DoubleValue),
        None if digits(unsigned) => text.parse().ok().map(Value::IntValue),
        _ => text.parse().ok().map(Value::BoolValue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_number_is_one_where_that_is_wanted() {
        let wanted = Reading { parses_tags: true, now_nanos: 0 };
        for (text, expected) in [
            ("-12", Value::IntValue(-12)),
            ("1.5", Value::DoubleValue(1.5)),
            ("true", Value::BoolValue(true)),
            ("1.", Value::StringValue("1.".to_owned())),
            ("99999999999999999999", Value::StringValue("99999999999999999999".to_owned())),
            ("1e5", Value::StringValue("1e5".to_owned())),
            ("", Value::StringValue(String::new())),
        ] {
            assert_eq!(value(text.to_owned(), wanted), expected);
        }
        let unwanted = Reading { parses_tags: false, ..wanted };
        assert_eq!(value("-12".to_owned(), unwanted), Value::StringValue("-12".to_owned()));
    }
}
