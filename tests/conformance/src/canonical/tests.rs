//! Raw bodies and their canonical form: what is free disappears, everything else stays.

use serde_json::{Value, json};

use super::*;
use crate::case::load_cases;

const BASE: u64 = 1_800_000_000;

fn answer(id: &str, body: &Value) -> Value {
    let case = load_cases().unwrap().into_iter().find(|c| c.id == id).unwrap();
    let body = serde_json::to_vec(body).unwrap();
    let reply = Reply { status: 200, content_type: "application/json; charset=utf-8", body: &body };
    Value::Object(canonical(&case, 200, &reply, BASE))
}

fn body(id: &str, body: &Value) -> Value {
    let mut answer = answer(id, body);
    assert_eq!(answer["unreadable"], Value::Null);
    answer["body"].take()
}

fn is_unreadable(id: &str, body: &Value) -> bool {
    answer(id, body)["unreadable"].is_string()
}

fn trace(id: &str, start: &str) -> Value {
    json!({"traceID": id, "startTimeUnixNano": start})
}

#[test]
fn order_of_traces_counts_and_order_of_spans_does_not() {
    let (old, new) = (trace("a", "1800000001000000000"), trace("b", "1800000002000000000"));
    let sorted = body("f-name-eq", &json!({"traces": [&new, &old]}));
    assert_eq!(sorted["traces"]["a"], json!({"startTimeUnixNano": "{base_ns+1000000000}"}));
    assert_eq!((&sorted["order"], &sorted["metrics"]), (&Value::Null, &Value::Null));
    assert!(body("f-name-eq", &json!({"traces": [&old, &new]}))["order"].is_string());
    assert!(body("f-name-eq", &json!({"traces": []}))["empty list"].is_string());
    assert!(is_unreadable("f-name-eq", &json!({"traces": [&old, &old]})));

    let spans = |ids: [&str; 2]| {
        let spans = ids.map(|id| json!({"spanID": id, "attributes": [{"key": "k", "value": {"stringValue": id}}]}));
        let set = json!({"matched": 2, "spans": spans});
        json!({"traces": [{"traceID": "a", "spanSet": &set, "spanSets": [&set]}]})
    };
    let found = body("f-name-eq", &spans(["1", "2"]));
    assert_eq!(found, body("f-name-eq", &spans(["2", "1"])));
    assert_eq!(found["traces"]["a"]["spanSet"], "one of spanSets");
    assert_eq!(found["traces"]["a"]["spanSets"][0]["spans"]["1"], json!({"attributes": {"k": {"stringValue": "1"}}}));
}

#[test]
fn volatile_numbers_keep_their_type() {
    let metrics = |metrics: Value| body("f-name-eq", &json!({"metrics": metrics}))["metrics"].clone();
    assert_eq!(metrics(json!({"inspectedBytes": "12", "totalJobs": 3})), json!({}));
    for wrong in [
        json!({"inspectedBytes": 12}),
        json!({"totalJobs": "3"}),
        json!({"totalJobs": 3.0}),
        json!({"x": 1}),
        json!([]),
    ] {
        assert!(metrics(wrong.clone())["bad"] != Value::Null, "{wrong}");
    }
}

#[test]
fn a_trace_does_not_depend_on_its_grouping() {
    let span = |id: &str| json!({"spanId": id, "events": [{"name": "b"}, {"name": "a"}]});
    let resource =
        json!({"attributes": [{"key": "k", "value": {"intValue": "1"}}, {"key": "k", "value": {"intValue": "0"}}]});
    let part = |spans: Value| json!({"resource": &resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]});
    let together =
        body("t-tree", &json!({"trace": {"resourceSpans": [part(json!([span("1"), span("2"), span("1")]))]}}));
    let apart =
        body("t-tree", &json!({"trace": {"resourceSpans": [part(json!([span("2")])), part(json!([span("1")]))]}}));
    assert_eq!(together, apart);
    let want = json!({"spanId": "1", "events": [{"name": "a"}, {"name": "b"}], "scope": {"name": "s"},
        "resource": {"attributes": {"k": {"repeated": [{"intValue": "0"}, {"intValue": "1"}]}}}});
    assert_eq!(together["trace"]["spans"]["1"], want);
    assert!(is_unreadable("t-tree", &json!({"metrics": {}})));
    assert!(is_unreadable("t-tree", &json!({"trace": {"resourceSpans": null}})));
}

#[test]
fn series_are_keyed_by_labels_and_samples_by_time() {
    let labels = json!([{"key": "b", "value": {"stringValue": "x"}}, {"key": "a", "value": {"doubleValue": 1.0}}]);
    let series = |samples: Value| json!({"series": [{"labels": &labels, "samples": samples}]});
    let two = json!([{"timestampMs": "1800000000000"}, {"timestampMs": "1800000060000", "value": 2}]);
    let got = body("m-rate", &series(two.clone()));
    let key = r#"{a={"doubleValue": 1.0}, b={"stringValue": "x"}}"#;
    assert_eq!(got["series"][key], json!({"samples": {"{base_ms+0}": 0, "{base_ms+60000}": 2}}));
    assert!(body("m-rate", &series(json!([&two[1], &two[0]])))["series"][key]["order"].is_string());
    assert!(is_unreadable("m-rate", &series(json!([&two[0], &two[0]]))));
    assert!(is_unreadable("m-rate", &series(json!([{"timestampMs": 1, "value": 2}]))));
    assert!(is_unreadable("m-rate", &series(json!([{"timestampMs": "1", "values": 2}]))));
    assert_eq!(body("m-rate", &json!({}))["series"], "absent");
}

#[test]
fn names_and_values_are_sets_in_order() {
    assert!(body("tv1-slash-raw", &json!({"tagValues": ["b", "a"]}))["order"].is_string());
    assert_eq!(
        body("tv1-slash-raw", &json!({"tagValues": ["a", "b"]})),
        json!({"tagValues": ["a", "b"], "metrics": null})
    );
    assert!(is_unreadable("tv1-slash-raw", &json!({"tagValues": ["a", "a"]})));
    assert!(is_unreadable("tv1-slash-raw", &json!({"tagValues": [1]})));
    assert_eq!(body("tv1-slash-raw", &json!({}))["tagValues"], "absent");
    let (a, b) = (json!({"type": "int", "value": "1"}), json!({"type": "int", "value": "2"}));
    assert_eq!(body("tv2-tiny", &json!({"tagValues": [&b, &a]})), body("tv2-tiny", &json!({"tagValues": [&a, &b]})));
    let scopes = body("tg2-all", &json!({"scopes": [{"name": "span", "tags": ["b", "a"]}, {"name": "event"}]}));
    assert_eq!(
        scopes["scopes"],
        json!({"event": {"tags": []}, "span": {"tags": ["a", "b"], "order": "tags are not sorted"}})
    );
}

#[test]
fn an_answer_of_another_status_is_text() {
    let case = load_cases().unwrap().into_iter().find(|c| c.id == "f-name-eq").unwrap();
    let reply = Reply { status: 400, content_type: "text/plain; charset=utf-8", body: b"no 1800000005" };
    let want = json!({"status": 400, "type": "text/plain", "text": "no {base+5}"});
    assert_eq!(Value::Object(canonical(&case, 200, &reply, BASE)), want);
}
