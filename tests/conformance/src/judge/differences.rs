//! Readable differences between two canonical values.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::json::{Object, dump, equal, equal_numbers, number, short};

/// As many differences as anyone reads.
const LIMIT: usize = 40;

/// Where two values differ. Numbers are equal within `tolerance`, a part of their size, when it is given.
pub fn differences(want: &Value, got: &Value, path: &str, tolerance: Option<f64>) -> Vec<String> {
    let mut out = Vec::new();
    compare(want, got, path, tolerance, &mut out);
    out
}

fn compare(want: &Value, got: &Value, path: &str, tolerance: Option<f64>, out: &mut Vec<String>) {
    if out.len() >= LIMIT {
        return;
    }
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => compare_objects(want, got, path, tolerance, out),
        (Value::Array(want), Value::Array(got)) => compare_lists(want, got, path, tolerance, out),
        _ if same(want, got, tolerance) => {}
        _ => out.push(format!("{path}: want {}, got {}", short(want), short(got))),
    }
}

fn compare_objects(want: &Object, got: &Object, path: &str, tolerance: Option<f64>, out: &mut Vec<String>) {
    for (key, wanted) in want {
        match got.get(key) {
            None => out.push(format!("{path}.{key}: missing, want {}", short(wanted))),
            Some(given) => compare(wanted, given, &format!("{path}.{key}"), tolerance, out),
        }
    }
    for (key, given) in got.iter().filter(|(key, _)| !want.contains_key(*key)) {
        out.push(format!("{path}.{key}: not expected, got {}", short(given)));
    }
}

fn compare_lists(want: &[Value], got: &[Value], path: &str, tolerance: Option<f64>, out: &mut Vec<String>) {
    let (wanted, given): (BTreeSet<_>, BTreeSet<_>) = (want.iter().map(dump).collect(), got.iter().map(dump).collect());
    let distinct = wanted.len() == want.len() && given.len() == got.len();
    if distinct && wanted != given && want.iter().chain(got).all(reads_as_one) {
        out.extend(wanted.difference(&given).map(|item| format!("{path}: missing {item}")));
        out.extend(given.difference(&wanted).map(|item| format!("{path}: not expected {item}")));
    } else if want.len() == got.len() {
        for (i, (wanted, given)) in want.iter().zip(got).enumerate() {
            compare(wanted, given, &format!("{path}[{i}]"), tolerance, out);
        }
    } else {
        let (many, few) = (want.len(), got.len());
        let (want, got) = (short(&Value::Array(want.to_vec())), short(&Value::Array(got.to_vec())));
        out.push(format!("{path}: want {many} items {want}, got {few} {got}"));
    }
}

/// A scalar or a typed value: a difference names it whole.
fn reads_as_one(item: &Value) -> bool {
    match item {
        Value::Object(fields) => fields.contains_key("type"),
        Value::Array(items) => items.iter().any(|i| i == "type"),
        _ => true,
    }
}

fn same(want: &Value, got: &Value, tolerance: Option<f64>) -> bool {
    let (Value::Number(a), Value::Number(b)) = (want, got) else { return equal(want, got) };
    let (x, y) = (number(a), number(b));
    equal_numbers(a, b) || tolerance.is_some_and(|t| (x - y).abs() <= (t * x.abs().max(y.abs())).max(1e-12))
}
