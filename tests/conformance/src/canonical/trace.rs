//! Traces by id: spans by id, each with its resource and scope, so that grouping and order do not matter.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{key_attributes, one_or_sorted, sorted, volatile_metrics};
use crate::json::{self, Malformed, Object, dump, rest};

/// A trace whose resource spans lie in `field`.
pub fn canonical_trace(doc: &Object, field: &str) -> Result<Object, Malformed> {
    let mut by_id: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for part in json::list(doc, field)? {
        let part = json::object(part, "resource spans")?;
        let resource = holder(part, "resource")?;
        for group in json::list(part, "scopeSpans")? {
            let group = json::object(group, "scope spans")?;
            let scope = holder(group, "scope")?;
            for span in json::list(group, "spans")? {
                let mut out = canonical_span(json::object(span, "a span")?)?;
                let id = json::text(&out, "spanId", "")?.to_owned();
                out.insert("resource".into(), resource.clone());
                out.insert("scope".into(), scope.clone());
                let others =
                    |fields: Object, of: &'static str| fields.into_iter().map(move |(k, v)| (format!("{of}.{k}"), v));
                out.extend(others(rest(part, &["resource", "scopeSpans"]), "resource"));
                out.extend(others(rest(group, &["scope", "spans"]), "scope"));
                let out = Value::Object(out);
                by_id.entry(id).or_default().insert(dump(&out), out); // equal copies count as one
            }
        }
    }
    let spans: Object =
        by_id.into_iter().map(|(id, copies)| (id, one_or_sorted(copies.into_values().collect()))).collect();
    let mut out = rest(doc, &[field]);
    out.insert("spans".into(), Value::Object(spans));
    Ok(out)
}

pub fn canonical_trace_v2(doc: &Object) -> Result<Object, Malformed> {
    let trace = doc.get("trace").ok_or_else(|| Malformed("an answer without trace".into()))?;
    let mut out = rest(doc, &["trace", "metrics"]);
    out.insert("trace".into(), Value::Object(canonical_trace(json::object(trace, "trace")?, "resourceSpans")?));
    out.insert("metrics".into(), volatile_metrics(doc));
    Ok(out)
}

/// The resource or scope that holds spans, or null where there is none.
fn holder(parent: &Object, field: &str) -> Result<Value, Malformed> {
    let Some(value) = parent.get(field) else { return Ok(Value::Null) };
    let mut out = json::object(value, field)?.clone();
    key_attributes(&mut out, field)?;
    Ok(Value::Object(out))
}

fn canonical_span(span: &Object) -> Result<Object, Malformed> {
    let mut out = span.clone();
    key_attributes(&mut out, "attributes")?;
    for field in ["events", "links"] {
        if span.contains_key(field) {
            let item = |item: &Value| {
                let mut item = json::object(item, field)?.clone();
                key_attributes(&mut item, field)?;
                Ok(Value::Object(item))
            };
            let items = json::list(span, field)?.iter().map(item).collect::<Result<_, Malformed>>()?;
            out.insert(field.into(), Value::Array(sorted(items)));
        }
    }
    Ok(out)
}
