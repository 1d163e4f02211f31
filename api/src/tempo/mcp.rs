//! `/api/mcp`: the Model Context Protocol over streamable HTTP, with Tempo's tools and some of our own.
//!
//! ```text
//! route()        POST → one message of JSON-RPC → an answer, or nothing for a notification
//! protocol.rs    initialize, ping, lists, resources
//! tools.rs       the table of tools, and who answers each
//!   tempos.rs        Tempo's: the questions of the HTTP API under another name
//!   slowest_paths.rs, what_changed.rs, error_examples.rs      our own
//! answer.rs      what a tool says: a document that fits (bounded.rs), and what to ask next
//! documents.rs   what there is to read about TraceQL and the configuration
//! ```
//!
//! A server without sessions: every message is answered by itself, from any process, and nothing is ever sent unasked. The
//! tenant is that of the request, as with every other path.

mod answer;
mod bounded;
mod documents;
mod protocol;
mod tools;

mod asking;
mod error_examples;
mod slowest_paths;
mod tempos;
mod what_changed;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde_json::{Value, json};

use self::protocol::Message;
use super::reply::QueryError;
use crate::{Edge, tenant};

/// Larger messages are refused: a tool takes a query and some times.
const MAX_BODY_BYTES: usize = 1 << 20;

pub(super) const LABEL: &str = "api_mcp";
pub(super) const PATH: &str = "/api/mcp";

pub(super) fn route() -> MethodRouter<Arc<Edge>> {
    any(async |State(edge): State<Arc<Edge>>, request: Request| -> Response {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            // nothing is sent unasked, and there is no session to end
            return (
                StatusCode::METHOD_NOT_ALLOWED,
                [(header::ALLOW, "POST")],
                "405 method not allowed here, use POST\n",
            )
                .into_response();
        }
        if !is_same_origin(&head.headers) {
            return (StatusCode::FORBIDDEN, "requests of other sites' pages are not answered").into_response();
        }
        if let Err(error) = tenant::several(&head.headers, edge.config.multitenancy_enabled) {
            return QueryError::from(error).into_reply().into_response(&head.headers).await;
        }
        answer(&edge, &head.headers, body).await
    })
}

/// Browsers say whose page a request comes from. Another site's must not read traces by a name that leads here.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let Some(origin) = headers.get(header::ORIGIN).map(text) else { return true };
    let host = headers.get(header::HOST).and_then(text);
    origin.as_deref().and_then(|origin| origin.split_once("://")).is_some_and(|(_, of)| host.as_deref() == Some(of))
}

async fn answer(edge: &Arc<Edge>, headers: &HeaderMap, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        let text = format!("a message of more than {MAX_BODY_BYTES} bytes");
        return failure(Value::Null, protocol::INVALID_REQUEST, &text);
    };
    let Ok(value) = serde_json::from_slice::<Value>(&body) else {
        return failure(Value::Null, protocol::PARSE_ERROR, "it is not JSON");
    };
    let Some(Message { id, method, params }) = Message::of(value) else {
        return failure(Value::Null, protocol::INVALID_REQUEST, "it is not one message of JSON-RPC 2.0");
    };
    // a notification, or an answer to a question that was never asked
    let Some(id) = id else { return StatusCode::ACCEPTED.into_response() };
    match protocol::answer(edge, headers, &method, params).await {
        Ok(result) => document(&json!({ "jsonrpc": "2.0", "id": id, "result": result })),
        Err(problem) => failure(id, problem.code, &problem.message),
    }
}

fn failure(id: Value, code: i64, message: &str) -> Response {
    document(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }))
}

fn document(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

#[cfg(test)]
mod tests;
