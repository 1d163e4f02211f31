//! What tools ask with: arguments, times, filters, and the questions of the HTTP API.

use std::sync::Arc;

use model::{Tenants, TimeRange};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde_json::{Map, Value};

use crate::Edge;
use crate::tempo::params::Params;
use crate::tempo::proto::InstantSeries;
use crate::tempo::reply::{Format, QueryError, Reply};
use crate::tempo::{Asker, Call, metrics, now_nanos, plain};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const HOUR: u64 = 3600 * SECOND;

/// One call of a tool.
pub(super) struct Asking {
    pub edge: Arc<Edge>,
    pub tenants: Tenants,
    arguments: Map<String, Value>,
    pub now_nanos: u64,
}

impl Asking {
    pub(super) fn new(edge: &Arc<Edge>, tenants: Tenants, arguments: Map<String, Value>) -> Self {
        Self { edge: edge.clone(), tenants, arguments, now_nanos: now_nanos() }
    }

    /// An argument; one that is empty is not there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.arguments.contains_key(name)
    }

    /// A time as RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // numbers are times elsewhere, and mean other things to those who write them here
        let parsed = if text.contains('T') { super::super::parse_time(text).ok() } else { None };
        parsed
            .map(Some)
            .ok_or_else(|| format!("invalid {name} time: {text:?} is not RFC 3339, as in 2026-01-31T12:00:00Z"))
    }

    /// From `start` to `end`: the last hour unless they say else.
    pub(super) fn range(&self) -> Result<TimeRange, String> {
        let end = self.time("end")?.unwrap_or(self.now_nanos);
        let start = self.time("start")?.unwrap_or(end.saturating_sub(HOUR));
        ordered(start, end)
    }

    /// The condition of the filter in `query`, to be joined with others: `(status = error)`.
    pub(super) fn condition(&self) -> Result<Option<String>, String> {
        let Some(query) = self.text("query") else { return Ok(None) };
        let filter = traceql::parse_trace_filter(query).map_err(|error| {
            format!("{error}. Write one filter, as in {{ resource.service.name = \"shop\" }}; docs-traceql says more")
        })?;
        Ok(Some(format!("({filter})")))
    }

    /// A question of the HTTP API.
    pub(super) fn call(&self, path: &str, params: &[(&str, String)]) -> Result<Call, String> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let uri: axum::http::Uri = format!("{path}?{query}").parse().map_err(|_| "it is too long".to_owned())?;
        let params = Params::of(&uri);
        let (edge, tenants) = (self.edge.clone(), self.tenants.clone());
        Ok(Call { edge, tenants, uri, params, format: Format::Llm, now_nanos: self.now_nanos })
    }

    /// A metrics query, with one number a series.
    pub(super) async fn instant(&self, query: &str, range: TimeRange) -> Result<Vec<InstantSeries>, String> {
        let asked = metrics::Asked { query: query.to_owned(), range, step_nanos: None, exemplars: 0, max_series: 0 };
        let asker = Asker { edge: &self.edge, tenants: &self.tenants, now_nanos: self.now_nanos };
        let request = asked.check_instant(&self.edge.query_config(&self.tenants)).map_err(|error| error.text)?;
        Ok(metrics::answer_instant(asker, request).await.map_err(|error| error.text)?.series)
    }
}

pub(super) fn ordered(start: u64, end: u64) -> Result<TimeRange, String> {
    if start < end { Ok(TimeRange::new(start, end)) } else { Err("start must be before end".to_owned()) }
}

/// In Tempo's words.
pub(super) fn body(reply: Result<Reply, QueryError>) -> Result<String, String> {
    let failed = |status: u16, text: &str| format!("tool failed with http status code {status} and reason {text}");
    let reply = reply.map_err(|error| failed(error.status.as_u16(), &error.text))?;
    let (status, body) = reply.into_parts();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.as_u16() == 200 { Ok(text) } else { Err(failed(status.as_u16(), &text)) }
}

/// `{ a && b }`
pub(super) fn filter(conditions: &[&str]) -> String {
    let conditions: Vec<&str> = conditions.iter().copied().filter(|condition| !condition.is_empty()).collect();
    format!("{{ {} }}", conditions.join(" && "))
}

/// A text as TraceQL has it.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The text of a label; empty when there is none, or its value is nothing.
pub(super) fn label(labels: &[KeyValue], key: &str) -> String {
    let value = labels.iter().find(|label| label.key == key).and_then(plain::content);
    match value {
        Some(Any::StringValue(text)) if text == "nil" => String::new(),
        Some(Any::StringValue(text)) => text.clone(),
        Some(other) => plain::value(Some(other), plain::hex).to_string(),
        None => String::new(),
    }
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(nanos: f64) -> f64 {
    (nanos / 1e3).round() / 1e3
}

pub(super) const SERVICE: &str = "resource.service.name";
pub(super) const NAME: &str = "name";

/// The condition that is true of an operation's spans.
pub(super) fn of_operation(service: &str, name: &str) -> String {
    let service = if service.is_empty() { "nil".to_owned() } else { quoted(service) };
    format!("{SERVICE} = {service} && {NAME} = {}", quoted(name))
}
