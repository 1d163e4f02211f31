//! Golden answers against themselves, and against answers with one thing wrong.

use serde_json::{Value, json};

use super::*;
use crate::case::{load_cases, load_golden};

fn case(id: &str) -> Case {
    load_cases().unwrap().into_iter().find(|c| c.id == id).unwrap()
}

fn diff(id: &str, want: &Value, got: &Value) -> Vec<String> {
    judge(&case(id), want, got).unwrap()
}

/// What a right server answers: the golden answer, of which limited searches and `compare()` give a part.
fn right_answer(case: &Case, golden: &Value) -> Value {
    let mut answer = golden.clone();
    match case.compare {
        Comparator::SearchSome => cut_search(case, &mut answer["body"]),
        Comparator::Comparison => cut_comparison(case, &mut answer["body"]),
        _ => {}
    }
    answer
}

fn keep_first(value: &mut Value, count: usize) {
    let keys: Vec<_> = value.as_object().unwrap().keys().skip(count).cloned().collect();
    keys.iter().for_each(|key| drop(value.as_object_mut().unwrap().remove(key)));
}

fn cut_search(case: &Case, body: &mut Value) {
    keep_first(&mut body["traces"], case.limit);
    for trace in body["traces"].as_object_mut().unwrap().values_mut() {
        for set in trace.get_mut("spanSets").and_then(Value::as_array_mut).into_iter().flatten() {
            let spans = case.spss.min(set["matched"].as_u64().unwrap() as usize);
            keep_first(&mut set["spans"], spans);
        }
    }
}

fn cut_comparison(case: &Case, body: &mut Value) {
    for values in body["groups"].as_object_mut().unwrap().values_mut() {
        let mut sorted: Vec<_> = values.as_object().unwrap().clone().into_iter().collect();
        let total =
            |v: &Value| v.as_object().map_or(v.as_f64().unwrap_or(0.0), |m| m.values().filter_map(Value::as_f64).sum());
        sorted.sort_by(|a, b| total(&b.1).total_cmp(&total(&a.1)));
        *values = Value::Object(sorted.into_iter().take(case.top.unwrap()).collect());
    }
}

/// The cases that have a golden answer which is judged whole, with that answer.
fn judged() -> Vec<(Case, Value)> {
    let golden = load_golden().unwrap();
    let with_answer = |case: Case| Some((golden.get(&case.id)?.clone(), case));
    let cut_short = |text: &Value| text.as_str().is_some_and(|t| t.ends_with("..."));
    let pairs = load_cases().unwrap().into_iter().filter_map(with_answer).filter(|(want, _)| !cut_short(&want["text"]));
    pairs.map(|(want, case)| (case, want)).collect()
}

#[test]
fn every_golden_answer_is_right() {
    let judged = judged();
    assert!(judged.len() > 850, "{}", judged.len());
    for (case, want) in judged {
        let got = right_answer(&case, &want);
        assert_eq!(judge(&case, &want, &got).unwrap(), Vec::<String>::new(), "{}", case.id);
    }
}

/// The places of a value, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    let inner = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| places(value, &inner(key), out)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| places(item, &inner(&i.to_string()), out)),
        _ => {}
    }
    out.push(at.to_owned());
}

/// Whether the place holds what the case calls optional, or lies in it.
fn is_optional(case: &Case, root: &Value, place: &str) -> bool {
    let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
    let name = |value: &Value| value.get("value").unwrap_or(value).as_str().map(str::to_owned);
    let names = [place, parent].map(|p| root.pointer(p).and_then(name));
    names.iter().flatten().any(|name| case.optional.contains(name))
}

fn spoil(value: &mut Value) {
    match value {
        Value::Null => *value = json!("something"),
        Value::Bool(b) => *b = !*b,
        Value::Number(n) => *value = json!(n.as_f64().unwrap() * 2.0 + 1.0),
        Value::String(s) => s.push('x'),
        Value::Array(items) => items.push(json!("one more")),
        Value::Object(fields) => drop(fields.insert("one more".into(), json!(1))),
    }
}

#[test]
fn one_wrong_value_anywhere_is_found() {
    let mut spoiled = 0;
    for (case, want) in judged() {
        let right = right_answer(&case, &want);
        let mut all = Vec::new();
        let parts = ["body", "stored", "headers", "messages"].into_iter().filter_map(|p| Some((p, right.get(p)?)));
        parts.for_each(|(part, value)| places(value, &format!("/{part}"), &mut all));
        // compare() leaves metrics free, and totals too where spans lack the attribute; it has a test of its own
        all.retain(|_| case.compare != Comparator::Comparison);
        // a limited search is judged by its traces
        all.retain(|place| case.compare != Comparator::SearchSome || place != "/body");
        all.retain(|place| !is_optional(&case, &right, place));
        for place in all.iter().step_by(all.len() / 12 + 1) {
            let mut got = right.clone();
            spoil(got.pointer_mut(place).unwrap());
            assert!(!judge(&case, &want, &got).unwrap().is_empty(), "{}: {place} may be anything", case.id);
            spoiled += 1;
        }
    }
    assert!(spoiled > 5000, "{spoiled}");
}

#[test]
fn one_missing_value_anywhere_is_found() {
    for (case, want) in judged() {
        let right = right_answer(&case, &want);
        let Some(body) = right.get("body").filter(|_| case.compare != Comparator::Comparison) else { continue };
        let mut all = Vec::new();
        places(body, "", &mut all);
        for place in all.iter().filter(|p| !p.is_empty()).step_by(all.len() / 12 + 1) {
            let mut got = right.clone();
            let (parent, key) = place.rsplit_once('/').unwrap();
            match got["body"].pointer_mut(parent).unwrap() {
                Value::Object(fields) => drop(fields.remove(&key.replace("~1", "/").replace("~0", "~"))),
                Value::Array(items) => drop(items.remove(key.parse().unwrap())),
                _ => unreachable!(),
            }
            let is_nil = body.pointer(place).is_some_and(super::search::is_nil);
            if is_nil || is_optional(&case, body, place) {
                continue;
            }
            assert!(!judge(&case, &want, &got).unwrap().is_empty(), "{}: {place} may be missing", case.id);
        }
    }
}

#[test]
fn status_and_media_type_count() {
    for (case, want) in judged() {
        let right = right_answer(&case, &want);
        for (part, wrong) in [("status", json!(299)), ("type", json!("text/html"))] {
            let mut got = right.clone();
            got[part] = wrong;
            let free = part == "type" && case.any_type;
            assert_eq!(judge(&case, &want, &got).unwrap().is_empty(), free, "{}: {part}", case.id);
        }
        let mut got = right.clone();
        got["unreadable"] = json!("why");
        assert!(!judge(&case, &want, &got).unwrap().is_empty(), "{}", case.id);
    }
}

#[test]
fn samples_are_equal_within_tolerance() {
    let answer = |value: f64| json!({"status": 200, "type": "a", "body": {"series": {"{}": {"samples": {"{base_ms+0}": value}}}}});
    assert!(diff("m-rate", &answer(2.5), &answer(2.5 * (1.0 + 5e-10))).is_empty());
    assert_eq!(diff("m-rate", &answer(2.5), &answer(2.5 * (1.0 + 5e-9))).len(), 1);
    assert!(diff("m-rate", &answer(0.0), &answer(1e-13)).is_empty());
}

#[test]
fn a_limited_search_may_give_any_part_that_is_true() {
    let span = |n: u64| json!({"durationNanos": n.to_string()});
    let trace = |matched: u64, spans: &[u64]| {
        let spans: Object = spans.iter().map(|n| (format!("s{n}"), span(*n))).collect();
        json!({"durationMs": 1, "spanSet": "one of spanSets", "spanSets": [{"matched": matched, "spans": spans}]})
    };
    let answer = |traces: Value| json!({"status": 200, "type": "a", "body": {"traces": traces, "metrics": {}}});
    let mut case = case("sp-limit-5");
    (case.limit, case.spss) = (2, 1);
    let want = answer(json!({"a": trace(2, &[1, 2]), "b": trace(2, &[1, 2]), "c": trace(1, &[1])}));
    let judge = |traces: Value| judge(&case, &want, &answer(traces)).unwrap();
    assert!(judge(json!({"a": trace(2, &[2]), "c": trace(1, &[1])})).is_empty());
    let wrong = [
        (json!({"a": trace(2, &[2])}), "want 2 of 3"),
        (json!({"a": trace(2, &[2]), "d": trace(1, &[1])}), "does not match"),
        (json!({"a": trace(2, &[1, 2]), "c": trace(1, &[1])}), "want 1, got 2"),
        (json!({"a": trace(2, &[3]), "c": trace(1, &[1])}), "does not match"),
        (json!({"a": trace(1, &[2]), "c": trace(1, &[1])}), "no such span set"),
    ];
    for (traces, complaint) in wrong {
        let found = judge(traces);
        assert!(found.len() == 1 && found[0].contains(complaint), "{complaint}: {found:?}");
    }
}

#[test]
fn compare_wants_the_most_frequent_values() {
    let mut case = case("m-compare-top");
    case.top = Some(2);
    let answer = |values: Value, nil: Value| json!({"status": 200, "type": "a", "body": {"groups": {"baseline span.a": values}, "nil": nil, "metrics": {}}});
    let want = answer(json!({"x": {"0": 5}, "y": {"0": 3}, "z": {"0": 3}}), json!([]));
    let judge = |values: Value| judge(&case, &want, &answer(values, json!([]))).unwrap().len();
    assert_eq!(judge(json!({"x": {"0": 5}, "y": {"0": 3}})), 0);
    assert_eq!(judge(json!({"x": {"0": 5}, "z": {"0": 3}})), 0);
    assert_eq!(judge(json!({"y": {"0": 3}, "z": {"0": 3}})), 1);
    assert_eq!(judge(json!({"x": {"0": 5}})), 1);
    assert_eq!(judge(json!({"x": {"0": 5}, "y": {"0": 4}})), 2);
    assert!(judge(json!({"x": {"0": 5}, "w": {"0": 3}})) > 0);
    let with_nil = answer(json!({"x": {"0": 5}, "y": {"0": 3}}), json!(["baseline span.a"]));
    let got = answer(json!({"x": {"0": 5}}), json!([]));
    assert!(super::judge(&case, &with_nil, &got).unwrap().is_empty());
}

#[test]
fn what_was_sent_is_as_good_as_what_the_reference_gives() {
    let data = Dataset::load(1_800_000_000).unwrap();
    let (case, golden) = (case("t-long-values"), load_golden().unwrap());
    let want = &golden["t-long-values"];
    let judge_sent = |change: &dyn Fn(&mut Value)| {
        let doc = relative_times(&data.sent("long_values").unwrap(), data.base);
        let mut trace = Value::Object(canonical_trace(doc.as_object().unwrap(), "resourceSpans").unwrap());
        for span in trace["spans"].as_object_mut().unwrap().values_mut() {
            span["status"] = json!({}); // the reference gives it though it was not sent, so it must be there
        }
        change(trace["spans"].as_object_mut().unwrap().values_mut().next().unwrap());
        let mut got = want.clone();
        got["body"]["trace"] = trace;
        let got = with_sent_values(&case, want, got.as_object().unwrap().clone(), &data).unwrap();
        judge(&case, want, &Value::Object(got)).unwrap()
    };
    assert_eq!(judge_sent(&|_| {}), Vec::<String>::new());
    assert!(!judge_sent(&|span| span["name"] = json!("another")).is_empty());
    assert!(!judge_sent(&|span| span["attributes"]["extra"] = json!({"intValue": "1"})).is_empty());
    assert!(!judge_sent(&|span| drop(span.as_object_mut().unwrap().remove("attributes"))).is_empty());
}

#[test]
fn other_right_answers_are_accepted() {
    let (data, golden) = (Dataset::load(1_800_000_000).unwrap(), load_golden().unwrap());
    let case = case("f-nil-unscoped");
    let id = data.trace_id("missing_attrs").unwrap().trim_start_matches('0').to_owned();
    let spans = |labels: &[&str]| -> Object {
        labels.iter().map(|l| (data.span_id("missing_attrs", l).unwrap().to_owned(), json!({}))).collect()
    };
    let is_accepted = |matched: u64, labels: &[&str]| {
        let traces = json!({&id: {"spanSets": [{"matched": matched, "spans": spans(labels)}]}});
        accepted(&case, &json!({"status": 200, "body": {"traces": traces}}), &golden, &data).unwrap()
    };
    assert!(is_accepted(2, &["has-not", "has-other"]));
    assert!(!is_accepted(3, &["has-not", "has-other"]));
    assert!(!is_accepted(2, &["has-not"]));
    assert!(!accepted(&case, &json!({"status": 200, "body": {"traces": {}}}), &golden, &data).unwrap());
    let large = super::tests::case("n-too-large");
    assert!(accepted(&large, &json!({"status": 413}), &golden, &data).unwrap());
    assert!(!accepted(&large, &json!({"status": 500}), &golden, &data).unwrap());
}

#[test]
fn patterns_match_across_lines_and_before_a_last_break() {
    assert!(search_text("a.*b$", "a\nb\n").unwrap());
    assert!(!search_text("^b$", "a\nb").unwrap());
    assert!(!search_text("b$", "b\n\n").unwrap());
    assert!(search_text(r"a\$", "a$ b").unwrap());
}
