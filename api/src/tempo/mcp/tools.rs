//! The table of tools.

use std::sync::Arc;

use axum::http::HeaderMap;
use model::Tenants;
use serde_json::{Map, Value, json};

use super::answer::failed;
use super::asking::Asking;
use super::{error_examples, slowest_paths, tempos, what_changed};
use crate::Edge;
use crate::tempo::reply::QueryError;

const START: &str = "Start of the time that is asked of (RFC 3339). Without it, one hour before the end.";
const END: &str = "End of the time that is asked of (RFC 3339). Without it, now.";
const FILTER: &str =
    "Only spans that this TraceQL filter is true of, as in { resource.service.name = \"shop\" }. Without it, all.";

/// A tool as clients see it.
struct Tool {
    name: &'static str,
    description: &'static str,
    arguments: Vec<Argument>,
}

struct Argument {
    name: &'static str,
    description: &'static str,
    is_required: bool,
    values: &'static [&'static str],
    default: Option<&'static str>,
}

fn argument(name: &'static str, description: &'static str) -> Argument {
    Argument { name, description, is_required: false, values: &[], default: None }
}

fn required(name: &'static str, description: &'static str) -> Argument {
    Argument { is_required: true, ..argument(name, description) }
}

fn tool(name: &'static str, description: &'static str, arguments: Vec<Argument>) -> Tool {
    Tool { name, description, arguments }
}

fn table() -> Vec<Tool> {
    let times = || [argument("start", START), argument("end", END)];
    let with_times = |first: Argument| std::iter::once(first).chain(times()).collect::<Vec<_>>();
    let one_of = |values, description| Argument { values, ..required("name", description) };
    vec![
        tool(
            "traceql-search",
            "Find traces whose spans match a TraceQL query; the newest come first. To count or to rank, use metrics instead.",
            with_times(required("query", "TraceQL, as in { status = error && duration > 1s }")),
        ),
        tool(
            "traceql-metrics-instant",
            "One number a series for the whole time, from a TraceQL metrics query. Answers most questions about how many, how \
             often and how slow.",
            with_times(required("query", "TraceQL, as in { status = error } | rate() by (resource.service.name)")),
        ),
        tool(
            "traceql-metrics-range",
            "Numbers over time from a TraceQL metrics query: use it to see when something began.",
            with_times(required("query", "TraceQL, as in { } | quantile_over_time(duration, .95) by (name)")),
        ),
        tool("get-trace", "All spans of one trace.", vec![required("trace_id", "The trace's id, in hex")]),
        tool(
            "trace-diff",
            "Compare two whole traces: a summary, with the differences span by span where they are at most 64 KiB.",
            vec![
                required("base_trace_id", "The trace to compare with, in hex"),
                required("compare_trace_id", "The trace that is compared, in hex"),
                argument("base_start", "Where to look for the first trace (RFC 3339); goes with base_end"),
                argument("base_end", "Where to look for the first trace (RFC 3339); goes with base_start"),
                argument("compare_start", "Where to look for the second trace (RFC 3339); goes with compare_end"),
                argument("compare_end", "Where to look for the second trace (RFC 3339); goes with compare_start"),
                Argument {
                    values: &["trace-summary-v0-composed", "trace-summary-v0-native", "trace-patch-v0"],
                    default: Some("trace-summary-v0-composed"),
                    ..argument("format", "How the difference is told; trace-patch-v0 is span by span")
                },
            ],
        ),
        tool(
            "get-attribute-names",
            "Names of attributes that spans have, by scope: what a query can ask for.",
            vec![argument("scope", "Only of this scope: span, resource, event, link or instrumentation")],
        ),
        tool(
            "get-attribute-values",
            "Values of one attribute. All services: name = resource.service.name.",
            vec![
                required("name", "The attribute with its scope, as in span.http.route or resource.service.name"),
                argument("filter-query", FILTER),
            ],
        ),
        tool(
            "docs-traceql",
            "How TraceQL is written, with examples. Read it when a query is refused.",
            vec![one_of(&["basic", "aggregates", "structural", "metrics"], "Which part")],
        ),
        tool(
            "docs-config",
            "How this server is configured.",
            vec![one_of(&["config-overview", "config-reference"], "An overview, or every key with its default")],
        ),
        tool(
            "slowest-paths",
            "The slowest operations that requests come in by, each with a slow example and what that waited for: which services \
             and operations its time was spent in.",
            with_times(argument("query", FILTER)),
        ),
        tool(
            "what-changed",
            "What is different between two times, by service and operation: new or gone, slower or faster, failing or mended, \
             more or less asked for.",
            vec![
                argument("query", FILTER),
                argument("start", "Start of the time in question (RFC 3339). Without it, 15 minutes before its end."),
                argument("end", "End of the time in question (RFC 3339). Without it, now."),
                argument(
                    "base_start",
                    "Start of the time to compare with (RFC 3339). Without it, as long as the other.",
                ),
                argument("base_end", "End of the time to compare with (RFC 3339). Without it, the start of the other."),
            ],
        ),
        tool(
            "error-examples",
            "The kinds of errors there are, by service, operation and message, with how many of each and one example.",
            with_times(argument("query", FILTER)),
        ),
    ]
}

impl Tool {
    fn schema(&self) -> Value {
        let properties: Map<_, _> =
            self.arguments.iter().map(|argument| (argument.name.to_owned(), argument.schema())).collect();
        let required: Vec<_> = self.arguments.iter().filter(|argument| argument.is_required).map(|a| a.name).collect();
        json!({ "type": "object", "properties": properties, "required": required })
    }
}

impl Argument {
    fn schema(&self) -> Value {
        let mut schema = json!({ "type": "string", "description": self.description });
        if !self.values.is_empty() {
            schema["enum"] = json!(self.values);
        }
        if let Some(default) = self.default {
            schema["default"] = json!(default);
        }
        schema
    }
}

pub(super) fn listed() -> Vec<Value> {
    let tool = |tool: &Tool| {
        json!({
            "name": tool.name,
            "description": tool.description,
            "inputSchema": tool.schema(),
            "annotations": {
                "readOnlyHint": true, "destructiveHint": false, "idempotentHint": false, "openWorldHint": false,
            },
        })
    };
    table().iter().map(tool).collect()
}

/// What a tool answers; `None` for one that does not exist.
pub(super) async fn call(
    edge: &Arc<Edge>,
    headers: &HeaderMap,
    name: &str,
    arguments: Map<String, Value>,
) -> Option<Value> {
    let tool = table().into_iter().find(|tool| tool.name == name)?;
    edge.telemetry.tool_called(tool.name);
    if let Err(text) = check(&tool, &arguments) {
        return Some(failed(&text));
    }
    // boxed: all tools together make a large future
    let work = async |tenants: Tenants| {
        Ok::<_, QueryError>(Box::pin(run(tool.name, Asking::new(edge, tenants, arguments))).await)
    };
    Some(match super::super::answer(edge, headers, work).await {
        Ok(result) => result,
        Err(error) => failed(error.text.trim_end()),
    })
}

fn check(tool: &Tool, arguments: &Map<String, Value>) -> Result<(), String> {
    for argument in &tool.arguments {
        match arguments.get(argument.name) {
            None if argument.is_required => return Err(format!("required argument {:?} not found", argument.name)),
            Some(value) if !value.is_string() => return Err(format!("argument {:?} is not a string", argument.name)),
            _ => {}
        }
    }
    Ok(())
}

async fn run(tool: &str, asking: Asking) -> Value {
    let found = match tool {
        "traceql-search" => tempos::search(&asking).await,
        "traceql-metrics-instant" => tempos::metrics_instant(&asking).await,
        "traceql-metrics-range" => tempos::metrics_range(&asking).await,
        "get-trace" => tempos::trace(&asking).await,
        "trace-diff" => tempos::diff(&asking).await,
        "get-attribute-names" => tempos::names(&asking).await,
        "get-attribute-values" => tempos::values(&asking).await,
        "docs-traceql" => tempos::docs(&asking, &super::documents::TRACEQL),
        "docs-config" => tempos::docs(&asking, &super::documents::CONFIG),
        "slowest-paths" => slowest_paths::find(&asking).await,
        "what-changed" => what_changed::find(&asking).await,
        "error-examples" => error_examples::find(&asking).await,
        _ => Err("it has no answer".to_owned()),
    };
    found.map_or_else(|text| failed(&text), super::answer::Found::into_result)
}
