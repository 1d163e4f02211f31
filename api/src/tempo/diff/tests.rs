//! Differences of small traces. Those of large ones are compared with Tempo's in the end-to-end tests.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span, Status};
use serde_json::{Value, json};

use super::*;

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}

fn span(id: u8, parent: u8, name: &str, start_ms: u64, duration_ms: u64) -> Span {
    let start_time_unix_nano = (1_000 + start_ms) * 1_000_000;
    Span {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: name.to_owned(),
        start_time_unix_nano,
        end_time_unix_nano: start_time_unix_nano + duration_ms * 1_000_000,
        ..Default::default()
    }
}

fn trace(spans: Vec<Span>) -> Vec<ResourceSpans> {
    let resource = Some(Resource { attributes: vec![text("service.name", "shop")], ..Default::default() });
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    vec![ResourceSpans { resource, scope_spans, ..Default::default() }]
}

fn compared(base: Vec<Span>, compare: Vec<Span>, form: Form) -> Value {
    let text = document(&trace(base), &trace(compare), form).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn equal_traces_have_no_difference() {
    let spans = || vec![span(1, 0, "a", 0, 50), span(2, 1, "b", 1, 20)];
    let patch = compared(spans(), spans(), Form::Patch);
    for list in ["modified", "added", "removed", "warnings"] {
        assert_eq!(patch[list], json!([]), "{list}");
    }
    assert_eq!(patch["stats"]["matchedSpans"], 2);
}

#[test]
fn changes_are_told_with_their_places() {
    let failed = Span { status: Some(Status { code: 2, ..Default::default() }), ..span(3, 1, "c", 30, 9) };
    let base = vec![span(1, 0, "a", 0, 50), span(2, 1, "b", 1, 20), span(3, 1, "c", 30, 9), span(4, 2, "gone", 2, 1)];
    let slower = Span { attributes: vec![text("lane", "left")], ..span(2, 1, "b", 1, 28) };
    let patch = compared(base, vec![span(1, 0, "a", 0, 51), slower, failed, span(5, 3, "new", 31, 1)], Form::Patch);
    let reference =
        |path: Value, name: &str| json!({"path": path, "service": "shop", "name": name, "kind": "unspecified"});
    let change = |op: &str, target: Value, before: Value, after: Value| json!({"op": op, "target": target, "before": before, "after": after});
    let field = |name: &str| json!({"type": "field", "name": name});
    let lane = json!({"type": "attribute", "scope": "span", "key": "lane"});
    assert_eq!(
        patch["modified"],
        json!([
            {"span": reference(json!([0, 0]), "b"), "changes": [
                change("modify", field("duration_nanos"), json!(20_000_000), json!(28_000_000)),
                change("add", lane, Value::Null, json!("left")),
            ]},
            {"span": reference(json!([0, 1]), "c"), "changes": [
                change("modify", field("status"), json!("unset"), json!("error")),
            ]},
        ])
    );
    assert_eq!(patch["added"][0]["target"], json!({"type": "span", "parentPath": [0, 1], "index": 0}));
    assert_eq!(patch["removed"][0]["target"], json!({"type": "span", "path": [0, 0, 0]}));
    assert_eq!(patch["removed"][0]["span"]["duration_nanos"], 1_000_000);
}

#[test]
fn among_spans_that_do_the_same_the_parent_decides() {
    let tree = |first: &str, second: &str| {
        let call = |id, parent| span(id, parent, "call", 5, 10);
        vec![span(1, 0, "a", 0, 50), span(2, 1, first, 1, 20), span(3, 1, second, 2, 20), call(4, 2), call(5, 3)]
    };
    let patch = compared(tree("x", "y"), tree("y", "x"), Form::Patch);
    assert_eq!((&patch["stats"]["matchedSpans"], &patch["modified"]), (&json!(5), &json!([])));
}

#[test]
fn circles_copies_and_lost_parents_stand_on_top() {
    let odd = vec![span(1, 2, "a", 0, 1), span(2, 1, "b", 1, 1), span(3, 9, "c", 2, 1), span(3, 9, "copy", 3, 1)];
    let patch = compared(odd, vec![span(1, 0, "other", 0, 1)], Form::Patch);
    let removed = patch["removed"].as_array().unwrap();
    let places: Vec<String> =
        removed.iter().map(|it| format!("{} {}", it["span"]["name"], it["span"]["path"])).collect();
    assert_eq!(places, [r#""c" [0]"#, r#""a" [1]"#, r#""b" [1,0]"#]);
    assert_eq!(patch["warnings"][0]["code"], "duplicate_span_id");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let chain = |length: usize| {
        let id = |number: usize| (number as u64).to_be_bytes().to_vec();
        let span =
            |number: usize| Span { span_id: id(number + 1), parent_span_id: id(number), ..span(1, 0, "a", 0, 1) };
        trace((0..length).map(span).collect())
    };
    assert!(document(&chain(1_000), &chain(1_001), Form::Patch).is_ok());
    let problem = document(&chain(2_000), &chain(3), Form::Patch).unwrap_err();
    assert_eq!(problem.text, "the base trace has more than 1000 levels of spans, which cannot be diffed");
    assert!(check_size(&chain(3), &chain(3), 10).unwrap_err().text.contains("exceeds limit 10 bytes"));
}

#[test]
fn a_patch_that_is_too_large_is_left_out_of_the_composed_form() {
    let small = compared(vec![span(1, 0, "a", 0, 50)], vec![span(1, 0, "a", 0, 90)], Form::Composed);
    assert_eq!(small["patch"]["version"], "trace-patch-v0");
    let large = Span { attributes: vec![text("x", &"y".repeat(MAX_COMPOSED_PATCH_BYTES))], ..span(1, 0, "a", 0, 50) };
    let composed = compared(vec![span(1, 0, "a", 0, 50)], vec![large], Form::Composed);
    assert_eq!(composed["patch"], Value::Null);
    assert_eq!(composed["patchOmitted"]["reason"], "over_budget");
    assert!(composed["patchOmitted"]["bytes"].as_u64().unwrap() > MAX_COMPOSED_PATCH_BYTES as u64);
    assert_eq!(composed["summary"]["changedServices"], json!(["shop"]));
}
