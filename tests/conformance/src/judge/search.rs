//! The freedom of search answers: limited ones, those that a case describes by the spans they hold, and missing attributes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};

use super::differences::differences;
use crate::case::Case;
use crate::dataset::Dataset;
use crate::json::{Object, dump, equal, rest, short};

/// The reference gives the text "nil" for a missing attribute when it has a column of its own; leaving it out is as good.
pub fn without_nil(want: &Value, got: &Value) -> Value {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            let kept = want.iter().filter(|(key, value)| got.contains_key(*key) || !is_nil(value));
            kept.map(|(key, value)| (key.clone(), without_nil(value, got.get(key).unwrap_or(&Value::Null)))).collect()
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            aligned(want, got).into_iter().zip(got).map(|(want, got)| without_nil(want, got)).collect()
        }
        _ => want.clone(),
    }
}

/// Whether a value, or all that is in it, is what the reference has for nothing.
pub fn is_nil(value: &Value) -> bool {
    *value == json!({"stringValue": "nil"})
        || value.as_object().is_some_and(|values| !values.is_empty() && values.values().all(is_nil))
}

/// The items in the order of those that they are equal to but for what may be left out: sets are sorted by their content.
fn aligned<'w>(want: &'w [Value], got: &[Value]) -> Vec<&'w Value> {
    let mut left: Vec<&Value> = want.iter().collect();
    let mut take = |got: &Value| {
        let place = left.iter().position(|want| without_nil(want, got) == *got).unwrap_or(0);
        left.remove(place)
    };
    got.iter().map(&mut take).collect()
}

/// A limited search: the golden answer holds everything that matches, the answer holds part of it.
pub fn some_of(case: &Case, want: &Value, got: &Value) -> Vec<String> {
    let (Some(all), Some(traces)) = (want["traces"].as_object(), got["traces"].as_object()) else {
        return vec![".traces: missing".into()];
    };
    let mut out = Vec::new();
    let expected = case.limit.min(all.len());
    if traces.len() != expected {
        out.push(format!(".traces: want {expected} of {}, got {}", all.len(), traces.len()));
    }
    for (id, trace) in traces {
        match all.get(id) {
            None => out.push(format!(".traces.{id}: does not match the query")),
            Some(full) => out.extend(part_of_trace(case, full, trace, &format!(".traces.{id}"))),
        }
    }
    for complaint in ["order", "empty list"] {
        if let Some(text) = got.get(complaint) {
            out.push(format!(".{complaint}: {text}"));
        }
    }
    if let Some(metrics) = want.get("metrics") {
        out.extend(differences(metrics, got.get("metrics").unwrap_or(&Value::Null), ".metrics", None));
    }
    out
}

fn part_of_trace(case: &Case, full: &Value, trace: &Value, path: &str) -> Vec<String> {
    let (Some(full), Some(trace)) = (full.as_object(), trace.as_object()) else {
        return vec![format!("{path}: missing")];
    };
    let header = |trace: &Object| Value::Object(rest(trace, &["spanSets"]));
    let mut out = differences(&header(full), &header(trace), path, None);
    let (all, given) = (span_sets(full), span_sets(trace));
    if all.len() != given.len() {
        out.push(format!("{path}.spanSets: want {}, got {}", all.len(), given.len()));
        return out;
    }
    let head = |set: &Value| Value::Object(set.as_object().map(|set| rest(set, &["spans"])).unwrap_or_default());
    for set in given {
        match all.iter().rfind(|full| dump(&head(full)) == dump(&head(set))) {
            None => out.push(format!("{path}.spanSets: no such span set {}", short(&head(set)))),
            Some(full) => out.extend(part_of_span_set(case.spss, full, set, path)),
        }
    }
    out
}

fn span_sets(trace: &Object) -> &[Value] {
    trace.get("spanSets").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn part_of_span_set(spss: usize, full: &Value, set: &Value, path: &str) -> Vec<String> {
    let mut out = Vec::new();
    let (matched, count) = (full["matched"].as_u64().unwrap_or_default() as usize, count_spans(set));
    let expected = spss.min(matched);
    if count != expected {
        out.push(format!("{path}.spanSets.spans: want {expected}, got {count}"));
    }
    let complete = matched == count_spans(full);
    for (id, spans) in set["spans"].as_object().into_iter().flatten() {
        let allowed = full["spans"].get(id).map_or(&[][..], copies);
        for span in copies(spans) {
            if allowed.iter().any(|a| equal(a, span)) || (!complete && allowed.is_empty()) {
                continue;
            }
            let wanted = short(&json!(allowed));
            let what = if allowed.is_empty() {
                "does not match the query".into()
            } else {
                format!("want {wanted}, got {}", short(span))
            };
            out.push(format!("{path}.spans.{id}: {what}"));
        }
    }
    out
}

/// The spans that share an id: one, or several as a list.
fn copies(spans: &Value) -> &[Value] {
    match spans {
        Value::Array(spans) => spans,
        one => std::slice::from_ref(one),
    }
}

fn count_spans(set: &Value) -> usize {
    set["spans"].as_object().map_or(0, |spans| spans.values().map(|s| copies(s).len()).sum())
}

/// Ids without leading zeros, as searches print them.
fn found_id<'a>(dataset: &'a Dataset, name: &str) -> Result<&'a str> {
    Ok(dataset.trace_id(name)?.trim_start_matches('0'))
}

/// The ids of traces that are missing or too many.
pub fn only_traces(want: &[String], found: &Object, dataset: &Dataset) -> Result<Vec<String>> {
    let want = want.iter().map(|name| found_id(dataset, name)).collect::<Result<BTreeSet<_>>>()?;
    let found: BTreeSet<_> = found.keys().map(String::as_str).collect();
    Ok(want.symmetric_difference(&found).map(ToString::to_string).collect())
}

/// Differences between a search answer and the spans that it should hold: trace name → span labels.
pub fn only_these(want: &BTreeMap<String, Vec<String>>, found: &Object, dataset: &Dataset) -> Result<Vec<String>> {
    let mut out = Vec::new();
    let mut wanted = BTreeMap::new();
    for (name, labels) in want {
        let id = found_id(dataset, name)?;
        wanted.insert(id, (name, labels));
        if !found.contains_key(id) {
            out.push(format!(".traces.{id}: missing ({name})"));
        }
    }
    for (id, trace) in found {
        match wanted.get(id.as_str()) {
            None => out.push(format!(".traces.{id}: does not match the query")),
            Some((name, labels)) => out.extend(only_labelled(id, name, labels, trace, dataset)?),
        }
    }
    Ok(out)
}

fn only_labelled(id: &str, name: &str, labels: &[String], trace: &Value, dataset: &Dataset) -> Result<Vec<String>> {
    let want = labels.iter().map(|label| dataset.span_id(name, label)).collect::<Result<BTreeSet<_>>>()?;
    let sets: &[Value] = trace["spanSets"].as_array().map_or(&[], Vec::as_slice);
    let found: BTreeSet<_> =
        sets.iter().filter_map(|set| set["spans"].as_object()).flat_map(Object::keys).map(String::as_str).collect();
    let mut out = Vec::new();
    out.extend(want.difference(&found).map(|span| format!(".traces.{id}.spans.{span}: missing")));
    out.extend(found.difference(&want).map(|span| format!(".traces.{id}.spans.{span}: does not match the query")));
    let matched: u64 = sets.iter().filter_map(|set| set["matched"].as_u64()).sum();
    if matched != labels.len() as u64 {
        out.push(format!(".traces.{id}: matched is not {}", labels.len()));
    }
    Ok(out)
}
