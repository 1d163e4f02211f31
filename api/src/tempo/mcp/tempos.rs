//! Tempo's tools: each asks what a path of the HTTP API answers, in its form for language models.

use axum::body::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::answer::Found;
use super::asking::{Asking, SECOND, body};
use super::documents::Document;
use crate::tempo::{diff as traces_diff, metrics, search as traces_search, tags, trace as trace_by_id};

type Answer = Result<Found, String>;

pub(super) async fn search(asking: &Asking) -> Answer {
    let query = asking.text("query").unwrap_or_default();
    parsed(query, false)?;
    let range = asking.range()?;
    let (start, end) = (range.start_nanos / SECOND, range.end_nanos.div_ceil(SECOND));
    let params = [("q", query.to_owned()), ("start", start.to_string()), ("end", end.to_string())];
    let text = body(traces_search::search(asking.call("/api/search", &params)?).await)?;
    let next = after_search(&text, query);
    Ok(Found::json("search-results", "1", text).next(next))
}

fn after_search(text: &str, query: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let traces = answer["traces"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(first) = traces.first() else {
        return vec![
            "Nothing matches: an earlier `start`, or get-attribute-values for the spelling of a value".to_owned(),
        ];
    };
    let longest = traces.iter().max_by_key(|trace| trace["durationMs"].as_u64()).unwrap_or(first);
    let id = |trace: &Value| trace["traceID"].as_str().unwrap_or_default().to_owned();
    let mut next = vec![format!("get-trace of {}, the longest of these {}", id(longest), traces.len())];
    if id(longest) != id(first) {
        next.push(format!("trace-diff of {} (base) and {} (compare)", id(first), id(longest)));
    }
    next.push(format!("How many there are: traceql-metrics-instant of {query} | count_over_time()"));
    next
}

pub(super) async fn metrics_instant(asking: &Asking) -> Answer {
    let call = metrics_call(asking, "instant", "/api/metrics/query")?;
    let text = body(metrics::instant(call).await)?;
    let next = after_metrics(&text, "traceql-metrics-range of the same query shows when it was so");
    Ok(Found::json("metrics-instant", "1", text).next(next))
}

pub(super) async fn metrics_range(asking: &Asking) -> Answer {
    let call = metrics_call(asking, "range", "/api/metrics/query_range")?;
    let text = body(metrics::range(call).await)?;
    let next = after_metrics(&text, "what-changed with the times before and after a step shows what else changed then");
    Ok(Found::json("metrics-range", "1", text).next(next))
}

fn metrics_call(asking: &Asking, tool: &str, path: &str) -> Result<crate::tempo::Call, String> {
    let query = asking.text("query").unwrap_or_default();
    if !parsed(query, true)? {
        return Err(format!("TraceQL search query received on {tool} query tool. Use the traceql-search tool instead"));
    }
    let range = asking.range()?;
    let (start, end) = (range.start_nanos.to_string(), range.end_nanos.to_string());
    asking.call(path, &[("q", query.to_owned()), ("start", start), ("end", end)])
}

fn after_metrics(text: &str, next: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    match answer["series"].as_array().map(Vec::len) {
        Some(1..) => vec![next.to_owned()],
        _ => {
            vec!["No span matches: an earlier `start`, or get-attribute-values for the spelling of a value".to_owned()]
        }
    }
}

/// Whether a query asks for numbers.
fn parsed(query: &str, wants_metrics: bool) -> Result<bool, String> {
    let expr = traceql::parse_metrics(query)
        .map_err(|error| format!("query parse error. Consult TraceQL docs tools: {error}"))?;
    let is_metrics = expr.require_metrics().is_ok();
    if is_metrics && !wants_metrics {
        return Err("TraceQL metrics query received on traceql-search tool. Use the traceql-metrics-instant or \
                    traceql-metrics-range tool instead"
            .to_owned());
    }
    Ok(is_metrics)
}

pub(super) async fn trace(asking: &Asking) -> Answer {
    let id = asking.text("trace_id").unwrap_or_default();
    let text = body(trace_by_id::v2(asking.call(&format!("/api/v2/traces/{}", encoded(id)), &[])?).await)?;
    let is_empty = serde_json::from_str::<Value>(&text).is_ok_and(|answer| answer.get("trace").is_none());
    let next = if is_empty {
        vec!["There is no such trace; traceql-search finds ids".to_owned()]
    } else {
        vec![
            "slowest-paths with a filter of its service shows whether others waited for the same".to_owned(),
            format!("trace-diff of {id} and another trace of the same operation shows what is special about it"),
        ]
    };
    Ok(Found::json("trace", "2", text).next(next))
}

pub(super) async fn diff(asking: &Asking) -> Answer {
    let mut request = json!({ "format": format(asking)? });
    for side in ["base", "compare"] {
        let id = asking.text(&format!("{side}_trace_id")).unwrap_or_default();
        let (start_name, end_name) = (format!("{side}_start"), format!("{side}_end"));
        if asking.has(&start_name) != asking.has(&end_name) {
            return Err(format!("arguments {start_name:?} and {end_name:?} must be provided together"));
        }
        let seconds = |nanos: Option<u64>| nanos.map(|nanos| nanos / SECOND);
        let (start, end) = (seconds(asking.time(&start_name)?), seconds(asking.time(&end_name)?));
        request[side] = json!({ "traceId": id, "start": start, "end": end });
    }
    let compared = traces_diff::diff(&asking.edge, &asking.tenants, Body::from(request.to_string())).await;
    let text = body(compared)?;
    let next = vec!["get-trace of either shows its spans whole".to_owned()];
    Ok(Found::json("trace-diff", "2", text).next(next))
}

fn format(asking: &Asking) -> Result<&str, String> {
    match (asking.has("format"), asking.text("format")) {
        (false, _) => Ok("trace-summary-v0-composed"),
        (true, Some(format)) => Ok(format),
        (true, None) => Err(r#"argument "format" must not be empty"#.to_owned()),
    }
}

pub(super) async fn names(asking: &Asking) -> Answer {
    let scope = asking.text("scope").unwrap_or_default().to_owned();
    let text = body(tags::names_v2(asking.call("/api/v2/search/tags", &[("scope", scope)])?).await)?;
    let next = vec!["get-attribute-values with a scope before the name, as in span.http.route".to_owned()];
    Ok(Found::json("attribute-names", "2", text).next(next))
}

pub(super) async fn values(asking: &Asking) -> Answer {
    let name = asking.text("name").unwrap_or_default();
    let filter = asking.text("filter-query").unwrap_or_default();
    if !filter.is_empty() && traceql::parse(filter).is_err() {
        return Err(
            "filter-query invalid. It must have a single spanset filter with &&/|| conditions like { <cond> && \
                    <cond> } or { <cond> || <cond> }"
                .to_owned(),
        );
    }
    let path = format!("/api/v2/search/tag/{}/values", encoded(name));
    let text = body(tags::values_v2(asking.call(&path, &[("q", filter.to_owned())])?).await)?;
    let next = vec![format!("traceql-metrics-instant of {{ }} | rate() by ({name}) counts the spans of each")];
    Ok(Found::json("attribute-values", "2", text).next(next))
}

fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()
}

pub(super) fn docs(asking: &Asking, documents: &[Document]) -> Answer {
    let name = asking.text("name").unwrap_or_default();
    let document = documents.iter().find(|document| document.name == name).ok_or_else(|| {
        let names: Vec<&str> = documents.iter().map(|document| document.name).collect();
        format!("there is no document {name:?}; there are {}", names.join(", "))
    })?;
    let text = document.text.to_owned();
    Ok(Found { text, kind: "documentation", encoding: "markdown", version: "1", next: Vec::new() })
}
