//! What a Tempo answers, as far as it is used here. Lenient: numbers of 64 bits may be texts or numbers, and what is not
//! there is empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SearchAnswer {
    pub traces: Vec<FoundTrace>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FoundTrace {
    #[serde(rename = "traceID")]
    pub trace_id: String,
    pub root_service_name: String,
    pub root_trace_name: String,
    #[serde(deserialize_with = "number")]
    pub start_time_unix_nano: u64,
    pub duration_ms: u64,
    pub span_sets: Vec<SpanSet>,
    pub service_stats: BTreeMap<String, ServiceStats>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct SpanSet {
    pub spans: Vec<FoundSpan>,
    pub matched: u64,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FoundSpan {
    #[serde(rename = "spanID")]
    pub span_id: String,
    pub name: String,
    #[serde(deserialize_with = "number")]
    pub start_time_unix_nano: u64,
    #[serde(deserialize_with = "number")]
    pub duration_nanos: u64,
    pub attributes: Labels,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServiceStats {
    pub error_count: u64,
}

impl FoundTrace {
    pub(crate) fn matched(&self) -> u64 {
        self.span_sets.iter().map(|span_set| span_set.matched).sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.service_stats.values().map(|stats| stats.error_count).sum()
    }

    pub(crate) fn spans(&self) -> impl Iterator<Item = &FoundSpan> {
        self.span_sets.iter().flat_map(|span_set| &span_set.spans)
    }
}

/// Attributes with their values in text.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "Vec<Label>")]
pub(crate) struct Labels(pub Vec<(String, String)>);

#[derive(Debug, Deserialize)]
struct Label {
    key: String,
    #[serde(default)]
    value: Value,
}

impl From<Vec<Label>> for Labels {
    fn from(labels: Vec<Label>) -> Self {
        Self(labels.into_iter().map(|label| (label.key, text(&label.value))).collect())
    }
}

impl Labels {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// The value alone of a single label, which the query names; else as [`brief`](Self::brief).
    pub(crate) fn briefest(&self) -> String {
        match self.0.as_slice() {
            [(_, value)] if !value.is_empty() => value.clone(),
            _ => self.brief(),
        }
    }

    /// `{name="GET /", status="error"}`
    pub(crate) fn brief(&self) -> String {
        match self.0.as_slice() {
            [(name, value)] if name == "__name__" => value.clone(),
            labels => {
                let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// An `AnyValue` in JSON → its text.
fn text(any: &Value) -> String {
    let content = any.as_object().and_then(|object| object.values().next());
    match content {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(list)) => {
            let values = list.get("values").and_then(Value::as_array);
            values.map(|values| values.iter().map(text).collect::<Vec<_>>().join(", ")).unwrap_or_default()
        }
        Some(other) => other.to_string(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MetricsAnswer {
    pub series: Vec<Series>,
    /// Why something is missing.
    pub message: String,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Series {
    pub labels: Labels,
    pub samples: Vec<Sample>,
    /// Of an instant query.
    #[serde(deserialize_with = "float")]
    pub value: f64,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Sample {
    #[serde(deserialize_with = "number")]
    pub timestamp_ms: u64,
    #[serde(deserialize_with = "float")]
    pub value: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TagNames {
    pub scopes: Vec<TagScope>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TagScope {
    pub name: String,
    pub tags: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TagValues {
    pub tag_values: Vec<TagValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TagValue {
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

/// Traces that mosso deleted, or would.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deleted {
    pub deleted: u64,
    /// False when there may be more.
    pub complete: bool,
    pub traces: Vec<FoundTrace>,
}

/// What became of all deleted traces.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeletionReport {
    pub traces: Vec<DeletedTrace>,
    pub unreadable_blocks: Vec<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct DeletedTrace {
    #[serde(rename = "traceID")]
    pub trace_id: String,
    pub deleted_unix_nanos: u64,
    pub is_gone_from_blocks: bool,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap_or_default())
}

/// JSON has no form for some numbers, which are texts then.
fn float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_leniently() {
        let text = r#"{"traces":[{"traceID":"1f","rootServiceName":"shop","startTimeUnixNano":"5","durationMs":7,"new":1,
            "spanSets":[{"spans":[{"spanID":"a","durationNanos":9,"attributes":[{"key":"n","value":{"intValue":"3"}}]}],
            "matched":2}],"serviceStats":{"shop":{"spanCount":3,"errorCount":1}}}],"metrics":{}}"#;
        let trace = serde_json::from_str::<SearchAnswer>(text).unwrap().traces.remove(0);
        assert_eq!((trace.start_time_unix_nano, trace.matched(), trace.errors()), (5, 2, 1));
        let span = trace.spans().next().unwrap();
        assert_eq!((span.duration_nanos, span.attributes.get("n")), (9, Some("3")));
    }

    #[test]
    fn labels_are_told_in_short() {
        let labels = |text| serde_json::from_str::<Labels>(text).unwrap().brief();
        assert_eq!(labels(r#"[{"key":"__name__","value":{"stringValue":"rate"}}]"#), "rate");
        let both = r#"[{"key":"a","value":{"stringValue":"x y"}},{"key":"b","value":{"boolValue":true}}]"#;
        assert_eq!(labels(both), r#"{a="x y", b="true"}"#);
        assert_eq!(labels("[]"), "{}");
        let list = r#"[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{"intValue":"2"}]}}}]"#;
        assert_eq!(labels(list), r#"{a="1, 2"}"#);
    }
}
