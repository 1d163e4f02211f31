//! Two canonical answers: do they agree, and if not, where?
//!
//! `judge` applies the freedom that a comparator leaves and no more; `accepted` knows the other right answers of a case.

mod as_sent;
mod comparison;
mod differences;
mod search;

use anyhow::Result;
use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};

use crate::canonical::{canonical_trace, relative_times};
use crate::case::{Alternative, Case, Comparator, Golden};
use crate::dataset::Dataset;
use crate::json::{self, Object, short};

pub use differences::differences;

/// Samples are equal within this part of their size.
const TOLERANCE: f64 = 1e-9;

/// Differences between the golden answer and the answer given; empty when they agree.
pub fn judge(case: &Case, want: &Value, got: &Value) -> Result<Vec<String>> {
    let mut out = judge_answer(case, want, got)?;
    for part in ["stored", "headers", "messages"] {
        if let Some(want) = want.get(part) {
            out.extend(differences(want, got.get(part).unwrap_or(&Value::Null), &format!(".{part}"), None));
        }
    }
    Ok(out)
}

fn judge_answer(case: &Case, want: &Value, got: &Value) -> Result<Vec<String>> {
    let text = got["text"].as_str().unwrap_or_default();
    if want["status"] != got["status"] {
        let text = if text.is_empty() { String::new() } else { format!(" {}", short(&got["text"])) };
        return Ok(vec![format!("status: want {}, got {}{text}", want["status"], got["status"])]);
    }
    let mut out = Vec::new();
    if want["type"] != got["type"] && !case.any_type {
        out.push(format!("content type: want {}, got {}", want["type"], got["type"]));
    }
    if let (Some(why), None) = (got["unreadable"].as_str(), want.get("unreadable")) {
        out.push(why.to_owned());
        return Ok(out);
    }
    if matches!(case.compare, Comparator::Status | Comparator::Header) {
        return Ok(out);
    }
    if let Some(wanted) = want["text"].as_str() {
        out.extend(judge_text(case, wanted, text)?);
    } else {
        out.extend(judge_body(case, want.get("body"), got.get("body")));
    }
    Ok(out)
}

fn judge_text(case: &Case, want: &str, got: &str) -> Result<Option<String>> {
    let (has, given) = (|text: &str| !text.trim().is_empty(), short(&json!(got)));
    Ok(if let Some(pattern) = &case.pattern {
        (!search_text(pattern, got)?).then(|| format!("text: want a match of /{pattern}/, got {given}"))
    } else if case.compare == Comparator::Text {
        (want != got).then(|| format!("text: want {}, got {given}", short(&json!(want))))
    } else {
        let kind = if has(want) { "some" } else { "none" };
        (has(want) != has(got)).then(|| format!("text: want {kind}, got {given}"))
    })
}

/// Whether the pattern matches somewhere. A `$` at its end also matches before a last line break.
fn search_text(pattern: &str, text: &str) -> Result<bool, regex::Error> {
    let pattern = match pattern.strip_suffix('$') {
        Some(start) if !start.ends_with('\\') => format!("(?:{start})\\n?$"),
        _ => pattern.to_owned(),
    };
    let regex: Regex = RegexBuilder::new(&pattern).dot_matches_new_line(true).build()?;
    Ok(regex.is_match(text))
}

fn judge_body(case: &Case, want: Option<&Value>, got: Option<&Value>) -> Vec<String> {
    let (Some(want), Some(got)) = (want, got) else {
        return differences(want.unwrap_or(&Value::Null), got.unwrap_or(&Value::Null), ".body", None);
    };
    match case.compare {
        Comparator::SearchSome => search::some_of(case, want, got),
        Comparator::Comparison => comparison::top_of(case, want, got),
        Comparator::Search => compare(case, &search::without_nil(want, got), got),
        _ => compare(case, want, got),
    }
}

fn compare(case: &Case, want: &Value, got: &Value) -> Vec<String> {
    let of_samples = matches!(case.compare, Comparator::Metrics | Comparator::Instant).then_some(TOLERANCE);
    let tolerance = case.tolerance.or(of_samples);
    if case.optional.is_empty() {
        return differences(want, got, "", tolerance);
    }
    differences(&without(&case.optional, want), &without(&case.optional, got), "", tolerance)
}

/// Tags and values that may be listed or not are left out on both sides.
fn without(names: &[String], node: &Value) -> Value {
    match node {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), without(names, v))).collect(),
        Value::Array(items) => {
            let name = |item: &Value| match item {
                Value::Object(fields) => fields.get("value").and_then(Value::as_str).unwrap_or_default().to_owned(),
                other => other.as_str().unwrap_or_default().to_owned(),
            };
            items.iter().filter(|item| !names.contains(&name(item))).cloned().collect()
        }
        other => other.clone(),
    }
}

/// Whether the answer is another one that the case allows, where the reference is wrong or two answers are equally right.
pub fn accepted(case: &Case, got: &Value, golden: &Golden, dataset: &Dataset) -> Result<bool> {
    for other in &case.accept_also {
        if is_accepted(case, other, got, golden, dataset)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_accepted(case: &Case, other: &Alternative, got: &Value, golden: &Golden, dataset: &Dataset) -> Result<bool> {
    if let Some(want) = other.same_as.as_ref().and_then(|id| golden.get(id))
        && judge_answer(case, want, got)?.is_empty()
    {
        return Ok(true);
    }
    if let Some(status) = other.status
        && got["status"] == status
        && search_text(other.pattern.as_deref().unwrap_or_default(), got["text"].as_str().unwrap_or_default())?
    {
        return Ok(true);
    }
    if got["status"] != 200 {
        return Ok(false);
    }
    let found = got["body"]["traces"].as_object();
    if let (Some(spans), Some(found)) = (&other.spans, found)
        && search::only_these(spans, found, dataset)?.is_empty()
    {
        return Ok(true);
    }
    if let (Some(traces), Some(found)) = (&other.traces, found)
        && search::only_traces(traces, found, dataset)?.is_empty()
    {
        return Ok(true);
    }
    Ok(other.body.as_ref().is_some_and(|body| differences(body, &got["body"], "", Some(TOLERANCE)).is_empty()))
}

/// For a trace by id: the answer with every value put right that is just what was sent; see `as_sent`.
pub fn with_sent_values(case: &Case, want: &Value, got: Object, dataset: &Dataset) -> Result<Object> {
    let path = case.path.as_deref().unwrap_or_default();
    let name = path.split_once("{tid:").and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
    let (Some(name), Some(want), Some(body)) = (name, want.get("body"), got.get("body")) else { return Ok(got) };
    if !matches!(case.compare, Comparator::Trace | Comparator::TraceV2) {
        return Ok(got);
    }
    let doc = relative_times(&dataset.sent(name)?, dataset.base);
    let sent = Value::Object(canonical_trace(json::object(&doc, "trace")?, "resourceSpans")?);
    let sent = if case.compare == Comparator::Trace { sent } else { json!({"trace": sent}) };
    let body = as_sent::as_sent(want, body, Some(&sent));
    let mut got = got;
    got.insert("body".into(), body);
    Ok(got)
}

#[cfg(test)]
mod tests;
