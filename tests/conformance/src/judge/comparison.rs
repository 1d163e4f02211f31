//! `compare()` lists the `top` most frequent values of each attribute; which of two equally frequent ones is free.

use std::collections::BTreeSet;

use serde_json::Value;

use super::TOLERANCE;
use super::differences::differences;
use crate::case::Case;
use crate::json::{Object, number};

pub fn top_of(case: &Case, want: &Value, got: &Value) -> Vec<String> {
    let (Some(wanted), Some(given)) = (want["groups"].as_object(), got["groups"].as_object()) else {
        return vec![".groups: missing".into()];
    };
    let free = free_totals(want, got);
    let mut out = Vec::new();
    let only_in = |a: &Object, b: &Object| {
        a.keys().filter(|g| !b.contains_key(*g) && !free.contains(*g)).cloned().collect::<Vec<_>>()
    };
    out.extend(only_in(wanted, given).iter().map(|group| format!(".{group}: missing")));
    out.extend(only_in(given, wanted).iter().map(|group| format!(".{group}: not expected")));
    for (group, values) in wanted.iter().filter(|(group, _)| !free.contains(*group)) {
        let (Some(values), empty) = (values.as_object(), Object::new()) else { continue };
        let have = given.get(group).and_then(Value::as_object).unwrap_or(&empty);
        let has_nil = want["nil"].as_array().is_some_and(|groups| groups.iter().any(|g| g == group));
        out.extend(compare_group(case.top.unwrap_or_default(), group, values, have, has_nil));
    }
    out
}

/// The totals that count spans which lack the attribute.
fn free_totals(want: &Value, got: &Value) -> BTreeSet<String> {
    let groups = [want, got].into_iter().flat_map(|answer| answer["nil"].as_array().into_iter().flatten());
    groups.filter_map(Value::as_str).map(|group| group.replacen(' ', "_total ", 1)).collect()
}

fn compare_group(top: usize, group: &str, values: &Object, have: &Object, has_nil: bool) -> Vec<String> {
    let mut out = Vec::new();
    for (value, numbers) in have {
        match values.get(value) {
            None => out.push(format!(".{group}.{value}: not expected")),
            Some(want) => out.extend(differences(want, numbers, &format!(".{group}.{value}"), Some(TOLERANCE))),
        }
    }
    let (mut best, given) = (totals(values), totals(have));
    best.truncate(top);
    let slots = best.len().saturating_sub(usize::from(has_nil)); // `nil` takes a place in the reference, and is left out here
    if given.len() < slots || given.len() > best.len() || given != best[..given.len()] {
        let (best_shown, given_shown) = (&best[..best.len().min(12)], &given[..given.len().min(12)]);
        let many = best.len();
        out.push(format!(".{group}: want the {many} largest totals {best_shown:?}, got {given_shown:?}"));
    }
    out
}

/// The sum over time of each value, largest first.
fn totals(values: &Object) -> Vec<f64> {
    let total = |numbers: &Value| match numbers {
        Value::Object(samples) => samples.values().map(plain).sum(),
        other => plain(other),
    };
    let mut totals: Vec<f64> = values.values().map(total).collect();
    totals.sort_by(|a, b| b.total_cmp(a));
    totals
}

fn plain(value: &Value) -> f64 {
    value.as_number().map_or(f64::NAN, number)
}
