//! `slowest-paths`: which operations are slow, and what a slow example of each waited for.

use std::collections::{BTreeMap, HashMap};

use model::critical_path::{Interval, critical_path};
use model::{TimeRange, TraceId};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use querier::answer::FoundTrace;
use querier::request::{SearchFilter, SearchRequest};
use serde_json::{Value, json};

use super::answer::Found;
use super::asking::{Asking, NAME, SERVICE, filter, label, millis, of_operation};
use crate::tempo::plain;

/// Operations that are told of.
const OPERATIONS: usize = 5;
/// Steps of a path that are told of, the longest.
const STEPS: usize = 8;

/// What requests come in by: roots, and with a filter also what services are asked for.
const ROOTS: &str = "nestedSetParent < 0";
const ENTRIES: &str = "(nestedSetParent < 0 || kind = server || kind = consumer)";

pub(super) async fn find(asking: &Asking) -> Result<Found, String> {
    let (range, condition) = (asking.range()?, asking.condition()?);
    let entries = if condition.is_some() { ENTRIES } else { ROOTS };
    let condition = condition.unwrap_or_default();
    let query =
        format!("{} | quantile_over_time(duration, .95) by ({SERVICE}, {NAME})", filter(&[entries, &condition]));
    let mut series = asking.instant(&query, range).await?;
    series.sort_by(|one, other| other.value.total_cmp(&one.value));
    let mut paths = Vec::new();
    for series in series.iter().take(OPERATIONS) {
        let (service, name) = (label(&series.labels, SERVICE), label(&series.labels, NAME));
        let of_operation = of_operation(&service, &name);
        let example = slow_example(asking, &[entries, &condition, &of_operation], series.value * 1e9, range).await?;
        let waited_for = match &example {
            Some((trace, span_id)) => steps(asking, trace.trace_id, span_id).await?,
            None => Vec::new(),
        };
        let example =
            example.map(|(trace, span_id)| json!({ "traceId": trace.trace_id.short_hex(), "spanId": span_id }));
        paths.push(json!({
            "service": service, "operation": name, "p95Ms": millis(series.value * 1e9),
            "example": example, "exampleWaitedFor": waited_for,
        }));
    }
    let next = after(&paths);
    let document = json!({ "paths": paths, "operations": series.len() });
    Ok(Found::json("slowest-paths", "1", document.to_string()).next(next))
}

/// A span about as slow as the quantile. Quantiles are of powers of two, so that no span may be as slow as they say, but some are
/// half as slow.
async fn slow_example(
    asking: &Asking,
    conditions: &[&str],
    p95_nanos: f64,
    range: TimeRange,
) -> Result<Option<(FoundTrace, String)>, String> {
    for share in [0.9, 0.49] {
        let slow = format!("duration >= {}ns", (p95_nanos * share) as u64);
        let example = one(asking, &filter(&[conditions, &[slow.as_str()]].concat()), range).await?;
        if example.is_some() {
            return Ok(example);
        }
    }
    Ok(None)
}

fn after(paths: &[Value]) -> Vec<String> {
    let Some(first) = paths.first() else {
        return vec!["No span matches: an earlier `start`, or another filter".to_owned()];
    };
    let id = first["example"]["traceId"].as_str().unwrap_or_default();
    vec![
        format!("get-trace of {id}, the example of the slowest"),
        "traceql-metrics-range of { } | quantile_over_time(duration, .95) by (name) shows since when".to_owned(),
        "what-changed shows whether it was so before".to_owned(),
    ]
}

/// One trace that matches, with the id of a span that does.
pub(super) async fn one(
    asking: &Asking,
    query: &str,
    range: TimeRange,
) -> Result<Option<(FoundTrace, String)>, String> {
    let request = SearchRequest {
        filter: SearchFilter::TraceQl(query.to_owned()),
        range,
        limit: 1,
        spans_per_span_set: 1,
        after: None,
    };
    let answer = asking.edge.querier.search(&asking.tenants, request, None).await.map_err(|error| error.to_string())?;
    let found = answer.traces.into_iter().next();
    Ok(found.and_then(|trace| {
        let span_id = trace.span_sets.first()?.spans.first()?.span_id.to_string();
        Some((trace, span_id))
    }))
}

async fn steps(asking: &Asking, trace_id: TraceId, span_id: &str) -> Result<Vec<Value>, String> {
    let answer = asking.edge.querier.trace_by_id(&asking.tenants, trace_id, None).await;
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(waited_for(&answer.resource_spans, span_id))
}

/// Where the time of a span went, by service and operation, the most first.
fn waited_for(resource_spans: &[ResourceSpans], span_id: &str) -> Vec<Value> {
    let (names, intervals) = below(resource_spans, span_id);
    let mut owed = BTreeMap::<&(String, String), u64>::new();
    let path = critical_path(&intervals);
    for segment in &path {
        *owed.entry(&names[segment.span]).or_default() += segment.length_nanos();
    }
    let whole: u64 = owed.values().sum();
    let mut owed: Vec<_> = owed.into_iter().collect();
    owed.sort_by_key(|(_, nanos)| std::cmp::Reverse(*nanos));
    let step = |((service, name), nanos): (&(String, String), u64)| {
        let percent = nanos * 100 / whole.max(1);
        json!({ "service": service, "operation": name, "ms": millis(nanos as f64), "percent": percent })
    };
    owed.into_iter().take(STEPS).map(step).collect()
}

/// The spans at and below one, which is the only root.
fn below(resource_spans: &[ResourceSpans], root: &str) -> (Vec<(String, String)>, Vec<Interval>) {
    let (mut names, mut spans) = (Vec::new(), Vec::new());
    for resource in resource_spans {
        let attributes = resource.resource.as_ref().map(|resource| resource.attributes.as_slice()).unwrap_or_default();
        let service = label(attributes, "service.name");
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            names.push((service.clone(), span.name.clone()));
            spans.push(span);
        }
    }
    let place_of: HashMap<&[u8], usize> =
        spans.iter().enumerate().map(|(place, span)| (span.span_id.as_slice(), place)).collect();
    let is_root = |place: usize| plain::hex(&spans[place].span_id) == root;
    // what has no parent beside the root leads nowhere
    let nowhere = spans.len();
    let interval = |(place, span): (usize, &&opentelemetry_proto::tonic::trace::v1::Span)| Interval {
        parent: (!is_root(place)).then(|| place_of.get(span.parent_span_id.as_slice()).copied().unwrap_or(nowhere)),
        start_nanos: span.start_time_unix_nano,
        end_nanos: span.end_time_unix_nano.max(span.start_time_unix_nano),
    };
    let intervals = spans.iter().enumerate().map(interval).collect();
    (names, intervals)
}
