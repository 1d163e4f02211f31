//! The gRPC streaming service: a stream is read to its end, and its messages are merged as a client merges them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::filled;
use crate::canonical::{Reply, canonical, from_protobuf};
use crate::case::Case;
use crate::dataset::Dataset;
use crate::json::{Object, dump};
use crate::placeholder::relative;
use crate::proto::{Message, encode, messages};
use crate::target::Target;

/// Request and response of a method of tempopb.StreamingQuerier.
fn messages_of(method: &str) -> Option<(&'static Message, &'static Message)> {
    Some(match method {
        "Search" => (&messages::SEARCH_REQUEST, &messages::SEARCH_RESPONSE),
        "SearchTags" => (&messages::SEARCH_TAGS_REQUEST, &messages::SEARCH_TAGS_RESPONSE),
        "SearchTagsV2" => (&messages::SEARCH_TAGS_REQUEST, &messages::SEARCH_TAGS_V2_RESPONSE),
        "SearchTagValues" => (&messages::SEARCH_TAG_VALUES_REQUEST, &messages::SEARCH_TAG_VALUES_RESPONSE),
        "SearchTagValuesV2" => (&messages::SEARCH_TAG_VALUES_REQUEST, &messages::SEARCH_TAG_VALUES_V2_RESPONSE),
        "MetricsQueryRange" => (&messages::QUERY_RANGE_REQUEST, &messages::QUERY_RANGE_RESPONSE),
        "MetricsQueryInstant" => (&messages::QUERY_INSTANT_REQUEST, &messages::QUERY_INSTANT_RESPONSE),
        _ => return None,
    })
}

pub async fn ask_stream(target: &Target, dataset: &Dataset, case: &Case, method: &str) -> Result<Object> {
    let (request, response) = messages_of(method).with_context(|| format!("no method {method}"))?;
    let message = encode(request, &wire_form(case, dataset)?)?;
    let path = format!("/tempopb.StreamingQuerier/{method}");
    let messages = match target.streaming()?.server_streaming(&path, message).await? {
        Ok(messages) => messages,
        Err((code, text)) => return Ok(error(code, &relative(&text, dataset.base))),
    };
    let mut merged = Object::new();
    for message in &messages {
        merge(&mut merged, from_protobuf(response, message)?);
    }
    if let Some(Value::Array(traces)) = merged.get_mut("traces") {
        traces.sort_by_key(|trace| std::cmp::Reverse(number_in(trace, "startTimeUnixNano")));
    }
    let body = serde_json::to_vec(&merged)?;
    let mut answer = canonical(case, 0, &Reply { status: 0, content_type: "grpc", body: &body }, dataset.base);
    answer.insert("messages".into(), json!(if messages.is_empty() { "none" } else { "some" }));
    Ok(answer)
}

fn error(code: i64, text: &str) -> Object {
    let fields = [("status", json!(code)), ("type", json!("grpc")), ("text", json!(text))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The request with times as numbers and maps as lists of entries.
fn wire_form(case: &Case, dataset: &Dataset) -> Result<Object> {
    let mut out = Object::new();
    for (name, value) in &case.message {
        let value = match (name.as_str(), filled(value, dataset)?) {
            ("start" | "end" | "step", Value::String(time)) => json!(time.parse::<u64>()?),
            ("Tags", Value::Object(tags)) => tags.iter().map(|(k, v)| json!({"key": k, "value": v})).collect(),
            (_, value) => value,
        };
        out.insert(name.clone(), value);
    }
    Ok(out)
}

/// Adds one message: what has the same key is replaced, but samples and tags come together.
fn merge(merged: &mut Object, message: Object) {
    for (field, value) in message {
        let (Some(key), Value::Array(items)) = (key_of(&field), &value) else {
            merged.insert(field, value);
            continue;
        };
        let before = merged.remove(&field);
        let before = before.iter().filter_map(Value::as_array).flatten();
        let mut by_key: BTreeMap<String, Value> = before.map(|item| (key(item), item.clone())).collect();
        for item in items {
            let item = match by_key.get(&key(item)) {
                Some(old) => together(&field, old, item),
                None => item.clone(),
            };
            by_key.insert(key(&item), item);
        }
        merged.insert(field, by_key.into_values().collect());
    }
}

fn key_of(field: &str) -> Option<fn(&Value) -> String> {
    Some(match field {
        "traces" => |item| dump(&item["traceID"]),
        "series" => |item| dump(&item["labels"]),
        "scopes" => |item| dump(&item["name"]),
        "tagNames" | "tagValues" => dump,
        _ => return None,
    })
}

fn together(field: &str, old: &Value, new: &Value) -> Value {
    let part = match field {
        "series" if new.get("samples").is_some() => "samples",
        "scopes" => "tags",
        _ => return new.clone(),
    };
    let items = [old, new].into_iter().flat_map(|series| series[part].as_array().into_iter().flatten());
    let merged: Value = if part == "samples" {
        let by_time: BTreeMap<_, _> = items.map(|sample| (number_in(sample, "timestampMs"), sample)).collect();
        by_time.into_values().cloned().collect()
    } else {
        let by_name: BTreeMap<_, _> = items.map(|tag| (dump(tag), tag)).collect();
        by_name.into_values().cloned().collect()
    };
    let mut out = new.clone();
    out[part] = merged;
    out
}

fn number_in(item: &Value, field: &str) -> i64 {
    item[field].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_merged_as_a_client_merges() {
        let mut merged = Object::new();
        let messages = [
            json!({"traces": [{"traceID": "a", "durationMs": 1}], "series": [{"labels": [], "samples": [{"timestampMs": "9"}]}]}),
            json!({"traces": [{"traceID": "b"}, {"traceID": "a", "durationMs": 2}], "metrics": {"totalJobs": 1},
                   "series": [{"labels": [], "samples": [{"timestampMs": "10"}, {"timestampMs": "9", "value": 1.5}]}],
                   "scopes": [{"name": "span", "tags": ["b"]}]}),
            json!({"metrics": {"totalJobs": 2}, "scopes": [{"name": "span", "tags": ["a"]}]}),
        ];
        for message in messages {
            merge(&mut merged, message.as_object().unwrap().clone());
        }
        let want = json!({"traces": [{"traceID": "a", "durationMs": 2}, {"traceID": "b"}], "metrics": {"totalJobs": 2},
            "series": [{"labels": [], "samples": [{"timestampMs": "9", "value": 1.5}, {"timestampMs": "10"}]}],
            "scopes": [{"name": "span", "tags": ["a", "b"]}]});
        assert_eq!(Value::Object(merged), want);
    }
}
