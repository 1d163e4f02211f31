//! The protocol beside the tools.

use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use super::{documents, tools};
use crate::Edge;

/// Newest first: what is offered to who asks for none of them.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

pub(super) const PARSE_ERROR: i64 = -32700;
pub(super) const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const RESOURCE_NOT_FOUND: i64 = -32002;

const INSTRUCTIONS: &str = "Distributed traces, asked with TraceQL. Begin with slowest-paths, error-examples or what-changed for \
     an overview; find names with get-attribute-names and get-attribute-values before writing a query of your own; count with \
     traceql-metrics-instant rather than by listing traces; read docs-traceql when a query is refused. Answers are cut to a size \
     that can be read, and say so.";

/// A message from the client; without `id` it wants no answer.
pub(super) struct Message {
    pub id: Option<Value>,
    pub method: String,
    pub params: Map<String, Value>,
}

/// Why a message is not answered with a result.
pub(super) struct Problem {
    pub code: i64,
    pub message: String,
}

impl Message {
    pub(super) fn of(value: Value) -> Option<Self> {
        let Value::Object(mut object) = value else { return None };
        let is_version = object.get("jsonrpc").is_some_and(|version| version == "2.0");
        let is_answer = object.contains_key("result") || object.contains_key("error");
        let method = object.get("method").and_then(Value::as_str).map(str::to_owned);
        let (id, method) = match method {
            Some(method) => (object.remove("id").filter(|id| id.is_string() || id.is_number()), method),
            None if is_answer => (None, String::new()),
            None => return None,
        };
        let params = match object.remove("params") {
            Some(Value::Object(params)) => params,
            _ => Map::new(),
        };
        is_version.then_some(Self { id, method, params })
    }
}

pub(super) async fn answer(
    edge: &Arc<Edge>,
    headers: &HeaderMap,
    method: &str,
    params: Map<String, Value>,
) -> Result<Value, Problem> {
    match method {
        "initialize" => Ok(initialized(&params)),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": tools::listed() })),
        "tools/call" => {
            let name = text(&params, "name");
            let arguments = params.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default();
            tools::call(edge, headers, name, arguments).await.ok_or_else(|| problem(INVALID_PARAMS, "tool", name))
        }
        "resources/list" => Ok(json!({ "resources": documents::listed() })),
        "resources/templates/list" => Ok(json!({ "resourceTemplates": [] })),
        "resources/read" => {
            let uri = text(&params, "uri");
            documents::read(uri).ok_or_else(|| problem(RESOURCE_NOT_FOUND, "resource", uri))
        }
        _ => Err(problem(METHOD_NOT_FOUND, "method", method)),
    }
}

fn initialized(params: &Map<String, Value>) -> Value {
    let asked = text(params, "protocolVersion");
    let version = VERSIONS.into_iter().find(|version| *version == asked).unwrap_or(VERSIONS[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {}, "resources": {} },
        "serverInfo": { "name": "tempo", "title": "mosso", "version": env!("CARGO_PKG_VERSION") },
        "instructions": INSTRUCTIONS,
    })
}

fn text<'a>(params: &'a Map<String, Value>, name: &str) -> &'a str {
    params.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn problem(code: i64, what: &str, name: &str) -> Problem {
    Problem { code, message: format!("there is no {what} {name:?}") }
}
