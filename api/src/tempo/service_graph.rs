//! `GET /api/service-graph`, mosso's own: which services call which, how often, how well and how fast, from the traces that
//! are stored. What makes a call is decided by the generator, so that the same spans give the numbers of its series.

use std::collections::HashSet;
use std::sync::Arc;

use generator::{Connection, ConnectionStats, Durations, Node, NodeKind, ServiceMap, ServiceMapper};
use model::TimeRange;
use querier::answer::SummaryAnswer;
use querier::request::SummaryRequest;
use querier::{Matches, Projection, SpanTable, Summarize, SummarizeError};
use serde::Serialize;

use super::json::Json;
use super::params::{check_length, range};
use super::reply::{QueryError, Reply};
use super::{Call, search};

/// Edges in an answer when the client does not say, and at most.
const DEFAULT_EDGES: usize = 1_000;
const MOST_EDGES: usize = 10_000;

pub(super) async fn service_graph(call: Call) -> Result<Reply, QueryError> {
    let config = call.config();
    let range = range::of_service_graph(&call.params, &config, call.now_nanos)?;
    let query = call.params.get("q").unwrap_or("{ }").to_owned();
    check_length(&query, config.max_query_bytes)?;
    check_query(&query)?;
    let limit = limit(call.params.uint32("limit")?)?;
    let generator = call.edge.generator.as_ref();
    let settings = generator.map(|generator| generator.config_of(call.tenants.first()).service_graphs);
    let mapper = ServiceMapper::new(&settings.unwrap_or_default(), range.start_nanos..range.end_nanos)
        .map_err(|error| QueryError::bad_request(error.to_string()))?;
    let request = SummaryRequest { query, range };
    let answer = call.edge.querier.summarize(call.tenants.clone(), request, Arc::new(Mapping(mapper))).await;
    let answer = answer.map_err(search::refused)?;
    let nodes = answer.summary.nodes();
    let graph = Graph::of(&answer, &nodes, &range, limit);
    Ok(Reply::json(serde_json::to_string(&graph).expect("numbers and texts have a JSON form")))
}

/// A filter, not a metrics query.
fn check_query(query: &str) -> Result<(), QueryError> {
    let query = traceql::parse(query);
    let query = query.map_err(|error| QueryError::bad_request(format!("invalid TraceQL query: {error}")))?;
    if query.require_metrics().is_ok() {
        let text = "invalid q: a service graph is made of spans, and q is a metrics query; leave out its last stage";
        return Err(QueryError::bad_request(text));
    }
    Ok(())
}

fn limit(asked: Option<u32>) -> Result<usize, QueryError> {
    let limit = asked.map_or(DEFAULT_EDGES, |asked| usize::try_from(asked).unwrap_or(usize::MAX));
    if (1..=MOST_EDGES).contains(&limit) {
        return Ok(limit);
    }
    Err(QueryError::bad_request(format!("invalid limit: {limit} edges were asked for, 1 to {MOST_EDGES} can be")))
}

/// Has the querier add up calls.
struct Mapping(ServiceMapper);

impl Summarize for Mapping {
    type Summary = ServiceMap;

    fn columns(&self) -> Projection {
        self.0.columns().clone()
    }

    fn summarize(&self, table: &SpanTable, matches: &Matches) -> Result<ServiceMap, SummarizeError> {
        Ok(self.0.map(table, |row| matches.value(row))?)
    }

    fn merge(&self, summary: &mut ServiceMap, other: ServiceMap) {
        summary.merge(other);
    }

    fn memory_bytes(&self, summary: &ServiceMap) -> usize {
        summary.memory_bytes()
    }
}

/// The answer. Times are texts of unix nanoseconds, as elsewhere in the API; durations are seconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Graph<'a> {
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    /// By name.
    nodes: Vec<NodeEntry<'a>>,
    /// Those of the most requests first.
    edges: Vec<EdgeEntry<'a>>,
    metrics: Box<serde_json::value::RawValue>,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeEntry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    calls: Calls,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_seconds: Option<Quantiles>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EdgeEntry<'a> {
    client: &'a str,
    server: &'a str,
    connection_type: &'static str,
    #[serde(flatten)]
    calls: Calls,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_seconds: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_seconds: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messaging_seconds: Option<Quantiles>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    requests: f64,
    requests_per_second: f64,
    failed: f64,
    failed_per_second: f64,
}

#[derive(Serialize)]
struct Quantiles {
    average: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

impl<'a> Graph<'a> {
    /// `nodes` are those of the answer.
    fn of(answer: &'a SummaryAnswer<ServiceMap>, nodes: &'a [Node], range: &TimeRange, limit: usize) -> Self {
        let seconds = range.end_nanos.saturating_sub(range.start_nanos) as f64 / 1e9;
        let mut connections = answer.summary.connections();
        let left_out = connections.len().saturating_sub(limit);
        connections.truncate(limit);
        let ends = |(connection, _): &(&'a Connection, _)| [&*connection.client, &*connection.server];
        let shown: HashSet<&str> = connections.iter().flat_map(ends).collect();
        let nodes = nodes.iter().filter(|node| shown.contains(&*node.name));
        let too_many =
            || format!("{left_out} edges of the fewest requests are left out: ask for a larger limit or less");
        let messages: Vec<String> = answer.partial.clone().into_iter().chain((left_out > 0).then(too_many)).collect();
        let metrics = Json::of(&search::metrics(&answer.metrics));
        Self {
            start_time_unix_nano: range.start_nanos.to_string(),
            end_time_unix_nano: range.end_nanos.to_string(),
            nodes: nodes.map(|node| NodeEntry::of(node, seconds)).collect(),
            edges: connections.iter().map(|(connection, stats)| EdgeEntry::of(connection, stats, seconds)).collect(),
            metrics: serde_json::value::RawValue::from_string(metrics).expect("what is written as JSON is JSON"),
            status: if messages.is_empty() { "COMPLETE" } else { "PARTIAL" },
            message: messages.join("; "),
        }
    }
}

impl<'a> NodeEntry<'a> {
    fn of(node: &'a Node, seconds: f64) -> Self {
        Self {
            name: &node.name,
            kind: match node.kind {
                NodeKind::Service => "service",
                NodeKind::Database => "database",
                NodeKind::Virtual => "virtual",
            },
            calls: Calls::of(node.requests, node.failed, seconds),
            server_seconds: Quantiles::of(&node.server),
        }
    }
}

impl<'a> EdgeEntry<'a> {
    fn of(connection: &'a Connection, stats: &ConnectionStats, seconds: f64) -> Self {
        Self {
            client: &connection.client,
            server: &connection.server,
            connection_type: connection.connection_type,
            calls: Calls::of(stats.requests, stats.failed, seconds),
            server_seconds: Quantiles::of(&stats.server),
            client_seconds: Quantiles::of(&stats.client),
            messaging_seconds: Quantiles::of(&stats.messaging),
        }
    }
}

impl Calls {
    fn of(requests: f64, failed: f64, seconds: f64) -> Self {
        Self { requests, requests_per_second: requests / seconds, failed, failed_per_second: failed / seconds }
    }
}

impl Quantiles {
    /// `None` without durations.
    fn of(durations: &Durations) -> Option<Self> {
        let quantile = |quantile| durations.quantile(quantile);
        let average = durations.sum_seconds() / durations.count();
        Some(Self { average, p50: quantile(0.5)?, p95: quantile(0.95)?, p99: quantile(0.99)? })
    }
}

#[cfg(test)]
mod tests;
