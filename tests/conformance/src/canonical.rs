//! From a response to a canonical answer: `{"status", "type", "body"}` or `{"status", "type", "text"}`.
//!
//! In a canonical answer times are relative to the base, collections without a promised order are keyed or sorted, and volatile
//! numbers (bytes inspected, jobs, build versions) are reduced to their JSON type. The golden files hold canonical answers.
//! A body that does not have the shape that its comparator reads becomes `"unreadable"`, which no golden answer is.
//! `judge` compares two canonical answers.

mod search;
mod series;
mod tags;
mod trace;

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::{Value, json};

use crate::case::{Case, Comparator};
use crate::json::{self, Malformed, Object, dump, dump_string, need};
use crate::placeholder::relative;
use crate::proto::{self, Enums, Message, messages};

pub use trace::canonical_trace;

/// What came back, before it is read.
pub struct Reply<'a> {
    pub status: i64,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// The media type without its parameters.
pub fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// The canonical answer to a case. Only a reply with status `ok` is read by the comparator of the case, others are text.
pub fn canonical(case: &Case, ok: i64, reply: &Reply<'_>, base: u64) -> Object {
    let mut answer = Object::new();
    answer.insert("status".into(), json!(reply.status));
    answer.insert("type".into(), json!(media_type(reply.content_type)));
    if matches!(case.compare, Comparator::Status | Comparator::Header) {
        return answer;
    }
    if reply.status != ok || matches!(case.compare, Comparator::Error | Comparator::Text) {
        answer.insert("text".into(), json!(relative(&String::from_utf8_lossy(reply.body), base)));
        return answer;
    }
    let start = String::from_utf8_lossy(&reply.body[..reply.body.len().min(200)]).into_owned();
    match canonical_body(case, reply, base) {
        Ok(body) => answer.insert("body".into(), body),
        Err(e) => answer.insert("unreadable".into(), json!(format!("{e}; body starts {start:?}"))),
    };
    answer
}

fn canonical_body(case: &Case, reply: &Reply<'_>, base: u64) -> Result<Value, Malformed> {
    let message = protobuf_message(case.compare).filter(|_| reply.content_type.contains("protobuf"));
    let doc = match message {
        Some(message) => Value::Object(from_protobuf(message, reply.body)?),
        None => serde_json::from_slice(reply.body).map_err(|e| Malformed(format!("not JSON: {e}")))?,
    };
    let doc = relative_times(&doc, base);
    if case.compare == Comparator::Json {
        return Ok(doc);
    }
    let doc = json::object(&doc, "the answer")?;
    let body = match case.compare {
        Comparator::Search | Comparator::SearchSome => search::canonical_search(doc)?,
        Comparator::SearchIds => return search::trace_ids(doc),
        Comparator::Trace => canonical_trace(doc, if message.is_some() { "resourceSpans" } else { "batches" })?,
        Comparator::TraceV2 => trace::canonical_trace_v2(doc)?,
        Comparator::Metrics | Comparator::Instant => series::canonical_series(doc, case)?,
        Comparator::Comparison => series::canonical_comparison(doc, case)?,
        Comparator::TagsV1 => tags::canonical_strings(doc, "tagNames", case.grpc.is_none())?,
        Comparator::TagValuesV1 => tags::canonical_strings(doc, "tagValues", case.grpc.is_none())?,
        Comparator::TagsV2 => tags::canonical_scopes(doc, case.grpc.is_none())?,
        Comparator::TagValuesV2 => tags::canonical_typed(doc)?,
        Comparator::Buildinfo => doc.iter().map(|(k, v)| (k.clone(), json!(type_name(v)))).collect(),
        other => return Err(Malformed(format!("{other:?} does not read bodies"))),
    };
    Ok(Value::Object(body))
}

/// The same document with times relative to the base.
pub fn relative_times(doc: &Value, base: u64) -> Value {
    let change: Result<_, Infallible> = json::map_strings(doc, &mut |text| Ok(relative(text, base)));
    change.unwrap_or_else(|never| match never {})
}

/// The message that a server sends for `Accept: application/protobuf`.
fn protobuf_message(compare: Comparator) -> Option<&'static Message> {
    Some(match compare {
        Comparator::Trace => &messages::TRACE,
        Comparator::TraceV2 => &messages::TRACE_BY_ID_RESPONSE,
        Comparator::Search | Comparator::SearchSome => &messages::SEARCH_RESPONSE,
        Comparator::TagsV1 => &messages::SEARCH_TAGS_RESPONSE,
        Comparator::TagsV2 => &messages::SEARCH_TAGS_V2_RESPONSE,
        Comparator::TagValuesV1 => &messages::SEARCH_TAG_VALUES_RESPONSE,
        Comparator::TagValuesV2 => &messages::SEARCH_TAG_VALUES_V2_RESPONSE,
        Comparator::Metrics => &messages::QUERY_RANGE_RESPONSE,
        Comparator::Instant => &messages::QUERY_INSTANT_RESPONSE,
        _ => return None,
    })
}

/// The JSON of an answer, with map entries folded back into an object.
pub fn from_protobuf(message: &'static Message, body: &[u8]) -> Result<Object, Malformed> {
    let mut doc = proto::decode(message, body, Enums::Names)?;
    if std::ptr::eq(message, &messages::TRACE_BY_ID_RESPONSE) {
        doc.entry("trace").or_insert_with(|| json!({}));
    }
    for trace in doc.get_mut("traces").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entries) = trace.get_mut("serviceStats") {
            *entries = folded(entries);
        }
    }
    Ok(doc)
}

fn folded(entries: &Value) -> Value {
    let entry = |e: &Value| {
        let key = e.get("key").and_then(Value::as_str).unwrap_or_default();
        (key.to_owned(), e.get("value").cloned().unwrap_or_else(|| json!({})))
    };
    entries.as_array().into_iter().flatten().map(entry).collect()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// A repeated KeyValue as an object; a key that appears twice keeps all its values, sorted.
fn keyed(pairs: &Value, what: &str) -> Result<Object, Malformed> {
    let pairs = pairs.as_array().ok_or_else(|| Malformed(format!("{what} must be a list")))?;
    let mut values: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for pair in pairs {
        let fields = json::object(pair, what)?;
        let known = fields.keys().all(|k| k == "key" || k == "value");
        need(known, || format!("{what} must hold key and value only: {}", dump(pair)))?;
        let value = fields.get("value").cloned().unwrap_or(Value::Null);
        values.entry(json::text(fields, "key", "")?).or_default().push(value);
    }
    let one = |(key, mut values): (&str, Vec<Value>)| {
        let value = if values.len() == 1 { values.swap_remove(0) } else { json!({"repeated": sorted(values)}) };
        (key.to_owned(), value)
    };
    Ok(values.into_iter().map(one).collect())
}

/// Replaces the repeated KeyValue in `attributes`, if it is there, by an object.
fn key_attributes(fields: &mut Object, what: &str) -> Result<(), Malformed> {
    if let Some(attributes) = fields.get_mut("attributes") {
        *attributes = Value::Object(keyed(attributes, what)?);
    }
    Ok(())
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_cached_key(dump);
    values
}

/// A value alone, several as a sorted list.
fn one_or_sorted(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.swap_remove(0) } else { Value::Array(sorted(values)) }
}

const METRICS_OF_UINT32: [&str; 4] = ["inspectedTraces", "totalBlocks", "completedJobs", "totalJobs"];
const METRICS_OF_UINT64: [&str; 3] = ["inspectedBytes", "totalBlockBytes", "inspectedSpans"];

/// The `metrics` object: which numbers appear depends on where the data lies, so only names and types are kept.
fn volatile_metrics(doc: &Object) -> Value {
    let metrics = match doc.get("metrics") {
        None | Some(Value::Null) => return Value::Null,
        Some(Value::Object(metrics)) => metrics,
        Some(other) => return json!({"bad": format!("metrics is {}, not an object", type_name(other))}),
    };
    let complaint = |(name, value): (&String, &Value)| {
        let is_decimal = value.as_str().is_some_and(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()));
        if METRICS_OF_UINT64.contains(&name.as_str()) {
            return (!is_decimal).then(|| format!("{name} must be a decimal string, is {}", dump(value)));
        }
        if METRICS_OF_UINT32.contains(&name.as_str()) {
            let is_integer = value.is_i64() || value.is_u64();
            return (!is_integer).then(|| format!("{name} must be an integer, is {}", dump(value)));
        }
        Some(format!("unknown field {}", dump_string(name)))
    };
    let bad: Vec<_> = metrics.iter().filter_map(complaint).collect();
    if bad.is_empty() { json!({}) } else { json!({"bad": bad}) }
}

#[cfg(test)]
mod tests;
