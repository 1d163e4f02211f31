//! Metrics answers: series by labels, samples by time; `compare()` by group, attribute and value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{keyed, volatile_metrics};
use crate::case::{Case, Comparator};
use crate::json::{self, Malformed, Object, dump, need, rest};

/// The answer of a range or an instant query.
pub fn canonical_series(doc: &Object, case: &Case) -> Result<Object, Malformed> {
    let (mut series, mut exemplars) = (Object::new(), false);
    for one in json::list(doc, "series")? {
        let one = json::object(one, "a series")?;
        let key = label_text(&labels(one)?);
        need(!series.contains_key(&key), || format!("series {key} appears twice"))?;
        let entry = if case.compare == Comparator::Instant {
            let mut entry = rest(one, &["labels", "value"]);
            entry.insert("value".into(), value_of(one));
            entry
        } else {
            exemplars |= has_exemplars(one)?;
            canonical_samples(one, &key)?
        };
        series.insert(key, Value::Object(entry));
    }
    let mut out = rest(doc, &["series", "metrics"]);
    let absent = case.compare == Comparator::Metrics && !doc.contains_key("series");
    out.insert("series".into(), if absent { json!("absent") } else { Value::Object(series) });
    out.insert("metrics".into(), volatile_metrics(doc));
    if case.exemplars {
        out.insert("exemplars".into(), json!(exemplars));
    }
    Ok(out)
}

fn labels(series: &Object) -> Result<Object, Malformed> {
    series.get("labels").map_or_else(|| Ok(Object::new()), |labels| keyed(labels, "labels"))
}

fn label_text(labels: &Object) -> String {
    let mut parts: Vec<_> = labels.iter().collect();
    parts.sort_by_key(|(name, _)| *name);
    let parts: Vec<_> = parts.into_iter().map(|(name, value)| format!("{name}={}", dump(value))).collect();
    format!("{{{}}}", parts.join(", "))
}

/// A missing value is 0.
fn value_of(sample: &Object) -> Value {
    sample.get("value").cloned().unwrap_or_else(|| json!(0))
}

fn canonical_samples(series: &Object, key: &str) -> Result<Object, Malformed> {
    let (mut samples, mut times) = (Object::new(), Vec::new());
    for sample in json::list(series, "samples")? {
        let sample = json::object(sample, "a sample")?;
        let known = sample.keys().all(|k| k == "timestampMs" || k == "value");
        need(known, || format!("sample has other fields: {sample:?}"))?;
        let time = timestamp(sample)?;
        need(!samples.contains_key(time), || format!("two samples at {time} in {key}"))?;
        samples.insert(time.to_owned(), value_of(sample));
        times.push(offset(time)?);
    }
    let mut entry = rest(series, &["labels", "samples", "exemplars"]);
    entry.insert("samples".into(), Value::Object(samples));
    if !times.is_sorted() {
        entry.insert("order".into(), json!("samples are not sorted by time"));
    }
    Ok(entry)
}

fn timestamp(sample: &Object) -> Result<&str, Malformed> {
    let time = sample.get("timestampMs").and_then(Value::as_str);
    time.ok_or_else(|| Malformed(format!("timestampMs must be a string: {sample:?}")))
}

/// Milliseconds after the base, or the number as it is when it is not near the base.
fn offset(time: &str) -> Result<i64, Malformed> {
    let digits = time.strip_prefix("{base_ms").and_then(|t| t.strip_suffix('}')).unwrap_or(time);
    digits.parse().map_err(|_| Malformed(format!("timestampMs is {time}")))
}

/// Which spans serve as exemplars is free; what an exemplar looks like is not.
fn has_exemplars(series: &Object) -> Result<bool, Malformed> {
    let exemplars = json::list(series, "exemplars")?;
    for exemplar in exemplars {
        let fields = json::object(exemplar, "an exemplar")?;
        let known = fields.keys().all(|k| ["labels", "value", "timestampMs"].contains(&k.as_str()));
        need(known && timestamp(fields).is_ok(), || format!("exemplar has the wrong fields: {}", dump(exemplar)))?;
        need(labels(fields)?.contains_key("trace:id"), || format!("exemplar has no trace:id: {}", dump(exemplar)))?;
    }
    Ok(!exemplars.is_empty())
}

const META_TYPES: [&str; 4] = ["baseline", "selection", "baseline_total", "selection_total"];
const TOTAL: &str = "_total ";

/// The answer of compare(): value → numbers for each group and attribute.
///
/// Left out: values `nil`, which the reference lists for the attributes that it stores in columns of their own, and the
/// attributes in `ignore`, because the reference counts what the first filter names twice.
pub fn canonical_comparison(doc: &Object, case: &Case) -> Result<Object, Malformed> {
    let mut groups: BTreeMap<String, Object> = BTreeMap::new();
    for series in json::list(doc, "series")? {
        let series = json::object(series, "a series")?;
        let (group, value) = group_and_value(series)?;
        groups.entry(group).or_default().insert(value, numbers_of(series)?);
    }
    let nil = dump(&json!({"stringValue": "nil"}));
    let ignored = |group: &str| {
        let attribute = group.split_once(' ').map_or("", |(_, attribute)| attribute);
        attribute == "span:childCount" || case.ignore.iter().any(|i| i == attribute)
    };
    let only_nil = |values: &Object| values.keys().all(|value| *value == nil);
    let listed: BTreeSet<_> =
        groups.iter().filter(|(g, v)| !only_nil(v) && !ignored(g)).map(|(g, _)| g.clone()).collect();
    groups.retain(|group, _| listed.contains(&group.replace(TOTAL, " ")));
    let has_nil = |(group, values): &(&String, &Object)| values.contains_key(&nil) && !group.contains(TOTAL);
    let with_nil: Vec<_> = groups.iter().filter(has_nil).map(|(group, _)| group.clone()).collect();
    for (group, values) in &mut groups {
        values.retain(|value, _| *value != nil || group.contains(TOTAL));
    }
    groups.retain(|_, values| !values.is_empty());
    let mut out = Object::new();
    out.insert("groups".into(), json!(groups));
    out.insert("nil".into(), json!(with_nil));
    out.insert("metrics".into(), volatile_metrics(doc));
    Ok(out)
}

/// `baseline span.a` and the dump of the value of that attribute.
fn group_and_value(series: &Object) -> Result<(String, String), Malformed> {
    let mut labels = labels(series)?;
    let meta = labels.remove("__meta_type").and_then(|v| Some(v.get("stringValue")?.as_str()?.to_owned()));
    let mut others = labels.iter();
    match (meta, others.next(), others.next()) {
        (Some(meta), Some((name, value)), None) if META_TYPES.contains(&meta.as_str()) => {
            Ok((format!("{meta} {name}"), dump(value)))
        }
        _ => Err(Malformed(format!("labels of compare(): {:?}", series.get("labels")))),
    }
}

fn numbers_of(series: &Object) -> Result<Value, Malformed> {
    if !series.contains_key("samples") {
        return Ok(value_of(series));
    }
    let mut numbers = Object::new();
    for sample in json::list(series, "samples")? {
        let sample = json::object(sample, "a sample")?;
        numbers.insert(timestamp(sample)?.to_owned(), value_of(sample));
    }
    Ok(Value::Object(numbers))
}
