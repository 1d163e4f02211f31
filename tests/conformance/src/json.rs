//! JSON values as this suite reads them: one printed form, equality that knows numbers, and access that fails with words.
//!
//! `dump` prints in one fixed form (sorted keys, `", "` and `": "` between parts, floats in their shortest form), because the
//! golden files are sorted by that form and hold it as keys. What a body means is the business of `canonical`.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

pub type Object = Map<String, Value>;

/// A body does not have the shape that its comparator reads.
#[derive(Debug)]
pub struct Malformed(pub String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Malformed {}

pub fn need(holds: bool, what: impl FnOnce() -> String) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed(what())) }
}

pub fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Object, Malformed> {
    value.as_object().ok_or_else(|| Malformed(format!("{what} must be an object, is {}", short(value))))
}

/// The list in a field; an absent field is an empty list, anything else is malformed.
pub fn list<'a>(parent: &'a Object, field: &str) -> Result<&'a [Value], Malformed> {
    match parent.get(field) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(Malformed(format!("{field} must be a list, is {}", short(other)))),
    }
}

/// The text in a field, or `default` when the field is absent.
pub fn text<'a>(parent: &'a Object, field: &str, default: &'a str) -> Result<&'a str, Malformed> {
    match parent.get(field) {
        None => Ok(default),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(Malformed(format!("{field} must be a string, is {}", short(other)))),
    }
}

/// Fields that no comparator knows are kept, so that an extra field is a difference.
pub fn rest(parent: &Object, known: &[&str]) -> Object {
    parent.iter().filter(|(k, _)| !known.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The value with `change` applied to every string in it, keys aside.
pub fn map_strings<E>(node: &Value, change: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<Value, E> {
    Ok(match node {
        Value::String(s) => Value::String(change(s)?),
        Value::Array(items) => Value::Array(items.iter().map(|x| map_strings(x, change)).collect::<Result<_, E>>()?),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(k, v)| Ok((k.clone(), map_strings(v, change)?))).collect::<Result<_, E>>()?,
        ),
        other => other.clone(),
    })
}

/// Equality in which `1` and `1.0` are one number.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => equal_numbers(x, y),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| equal(v, w)))
        }
        _ => a == b,
    }
}

pub fn equal_numbers(a: &Number, b: &Number) -> bool {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => number(a) == number(b),
    }
}

fn integer(n: &Number) -> Option<i128> {
    n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from))
}

pub fn number(n: &Number) -> f64 {
    n.as_f64().unwrap_or(f64::NAN)
}

/// Text for people: the dump, cut to 160 characters.
pub fn short(value: &Value) -> String {
    shorter(value, 160)
}

pub fn shorter(value: &Value, width: usize) -> String {
    let text = dump(value);
    let length = text.chars().count();
    if length <= width {
        return text;
    }
    let start: String = text.chars().take(width).collect();
    format!("{start}... ({length} characters)")
}

pub fn dump(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

pub fn dump_string(text: &str) -> String {
    let mut out = String::new();
    write_string(&mut out, text);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&number_text(n)),
        Value::String(s) => write_string(out, s),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => write_object(out, fields),
    }
}

fn write_object(out: &mut String, fields: &Object) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(k, _)| *k);
    out.push('{');
    for (i, (key, value)) in sorted.into_iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_string(out, key);
        out.push_str(": ");
        write_value(out, value);
    }
    out.push('}');
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Integers as they are; floats in the shortest form that reads back, `1e-05` and `1e+300` where the exponent is large.
///
/// JSON has no sign on an integer zero, and the parser turns `-0` into a float: it prints as the `0` that the golden files hold.
fn number_text(n: &Number) -> String {
    if !n.is_f64() {
        return n.to_string();
    }
    let value = number(n);
    if value == 0.0 && value.is_sign_negative() {
        return "0".into();
    }
    let text = format!("{value:?}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, size) = exponent.strip_prefix('-').map_or(('+', exponent), |size| ('-', size));
    format!("{digits}e{sign}{size:0>2}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_one_form() {
        assert_eq!(
            dump(&json!({"b": [1, 1.0, null], "a": "é\"\u{1}\n"})),
            r#"{"a": "é\"\u0001\n", "b": [1, 1.0, null]}"#
        );
        let floats: Vec<_> = [1e16, 1e-5, 1.25e-7, 1e300, 0.0001, 123456.5].iter().map(|f| dump(&json!(f))).collect();
        assert_eq!(floats, ["1e+16", "1e-05", "1.25e-07", "1e+300", "0.0001", "123456.5"]);
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(equal(&json!({"a": [1]}), &json!({"a": [1.0]})));
        assert!(!equal(&json!(1), &json!(true)));
        assert!(!equal(&json!(9007199254740993u64), &json!(9007199254740992u64)));
    }
}
