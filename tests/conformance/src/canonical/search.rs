//! Search answers: traces by id, span sets as a set, spans by id, attributes by key.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::{key_attributes, one_or_sorted, sorted, volatile_metrics};
use crate::json::{self, Malformed, Object, equal, need, rest};

pub fn canonical_search(doc: &Object) -> Result<Object, Malformed> {
    let (mut traces, mut starts) = (Object::new(), Vec::new());
    for trace in json::list(doc, "traces")? {
        let trace = json::object(trace, "a trace")?;
        let id = json::text(trace, "traceID", "")?;
        need(!traces.contains_key(id), || format!("trace {id} appears twice"))?;
        traces.insert(id.to_owned(), Value::Object(canonical_found(trace)?));
        starts.push(start_offset(json::text(trace, "startTimeUnixNano", "+0")?)?);
    }
    let mut out = rest(doc, &["traces", "metrics"]);
    if !starts.is_sorted_by(|a, b| a >= b) {
        out.insert("order".into(), json!("traces are not sorted by start time, newest first"));
    }
    if doc.contains_key("traces") && traces.is_empty() {
        out.insert("empty list".into(), json!("`traces` is present though empty"));
    }
    out.insert("traces".into(), Value::Object(traces));
    out.insert("metrics".into(), volatile_metrics(doc));
    Ok(out)
}

/// The ids of the traces found, sorted.
pub fn trace_ids(doc: &Object) -> Result<Value, Malformed> {
    let id = |trace: &Value| trace.get("traceID").cloned().ok_or_else(|| Malformed("a trace without traceID".into()));
    let ids: Vec<_> = json::list(doc, "traces")?.iter().map(id).collect::<Result<_, _>>()?;
    Ok(Value::Array(sorted(ids)))
}

/// Nanoseconds after the base, of a start time that is near it.
fn start_offset(start: &str) -> Result<i64, Malformed> {
    static OFFSET: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[+-]\d+").expect("the pattern is constant"));
    if !start.contains("base") {
        return Ok(0);
    }
    let offset = OFFSET.find(start).and_then(|m| m.as_str().parse().ok());
    offset.ok_or_else(|| Malformed(format!("startTimeUnixNano is {start}")))
}

fn canonical_found(trace: &Object) -> Result<Object, Malformed> {
    let mut out = rest(trace, &["traceID", "spanSet", "spanSets"]);
    let sets = json::list(trace, "spanSets")?.iter().map(canonical_span_set).collect::<Result<_, _>>()?;
    let sets = sorted(sets);
    if let Some(first) = trace.get("spanSet") {
        let first = canonical_span_set(first)?;
        let listed = sets.iter().any(|set| equal(set, &first));
        out.insert("spanSet".into(), if listed { json!("one of spanSets") } else { first });
    }
    if trace.contains_key("spanSets") {
        out.insert("spanSets".into(), Value::Array(sets));
    }
    Ok(out)
}

fn canonical_span_set(set: &Value) -> Result<Value, Malformed> {
    let set = json::object(set, "a span set")?;
    let mut by_id = std::collections::BTreeMap::<String, Vec<Value>>::new();
    for span in json::list(set, "spans")? {
        let span = json::object(span, "a span")?;
        let mut out = rest(span, &["spanID"]);
        key_attributes(&mut out, "attributes")?;
        by_id.entry(json::text(span, "spanID", "")?.to_owned()).or_default().push(Value::Object(out));
    }
    let mut out = set.clone();
    key_attributes(&mut out, "spanSet.attributes")?;
    let spans: Object = by_id.into_iter().map(|(id, copies)| (id, one_or_sorted(copies))).collect();
    out.insert("spans".into(), Value::Object(spans));
    Ok(Value::Object(out))
}
