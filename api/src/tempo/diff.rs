//! `POST /api/v2/traces/diff`: what differs between two traces.
//!
//! ```text
//! request.rs   body → which traces, and in what form
//! tree.rs      a trace as a tree whose spans have places
//! matching.rs  which span of the one is which of the other
//! patch.rs     what changed, span by span        trace-patch-v0
//! summary.rs   what changed, by trace and service        trace-summary-v0-native
//! value.rs     values of attributes: when they are equal
//! warnings.rs  what makes a comparison doubtful
//! ```

mod matching;
mod patch;
mod request;
mod summary;
mod tree;
mod value;
mod warnings;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use model::Tenants;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use serde::Serialize;
use serde_json::value::RawValue;

use self::patch::Patch;
use self::request::{DiffRequest, Form, Side};
use self::summary::Summary;
use self::tree::Tree;
use super::answer;
use super::reply::{QueryError, Reply};
use crate::Edge;

/// Larger bodies are refused: two ids and four numbers are much smaller.
const MAX_BODY_BYTES: usize = 64 << 10;

/// A patch that is larger is left out of the composed form.
const MAX_COMPOSED_PATCH_BYTES: usize = 64 << 10;

pub(super) fn route() -> MethodRouter<Arc<Edge>> {
    any(async |State(edge): State<Arc<Edge>>, request: Request| -> Response {
        let (head, body) = request.into_parts();
        let work = async |tenants: Tenants| {
            if head.method != Method::POST {
                return Err(QueryError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
            }
            diff(&edge, &tenants, body).await
        };
        let reply = answer(&edge, &head.headers, work).await;
        reply.unwrap_or_else(QueryError::into_reply).into_response(&head.headers).await
    })
}

pub(super) async fn diff(edge: &Edge, tenants: &Tenants, body: Body) -> Result<Reply, QueryError> {
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| {
        QueryError::bad_request(format!("invalid trace diff request body (at most {MAX_BODY_BYTES} bytes): {error}"))
    })?;
    let request = DiffRequest::parse(&body)?;
    let (base, compare) = futures::try_join!(
        fetch(edge, tenants, "base", &request.base),
        fetch(edge, tenants, "compare", &request.compare)
    )?;
    check_size(&base, &compare, edge.querier.max_bytes_per_trace())?;
    let document = move || document(&base, &compare, request.form);
    tokio::task::spawn_blocking(document).await.expect("comparing traces in memory does not panic").map(Reply::json)
}

async fn fetch(edge: &Edge, tenants: &Tenants, name: &str, side: &Side) -> Result<Vec<ResourceSpans>, QueryError> {
    let answer = edge.querier.trace_by_id(tenants, side.trace_id, side.range).await?;
    if answer.resource_spans.is_empty() {
        return Err(QueryError::new(StatusCode::NOT_FOUND, "Not Found"));
    }
    if answer.partial.is_some() || answer.lack.is_some() {
        let text = format!("fetch {name} trace: trace {}: partial traces cannot be diffed", side.trace_id);
        return Err(QueryError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    Ok(answer.resource_spans)
}

/// Both together may be as large as one trace may: they are held at the same time, with what is made of them.
fn check_size(base: &[ResourceSpans], compare: &[ResourceSpans], max_bytes: usize) -> Result<(), QueryError> {
    let bytes: usize = base.iter().chain(compare).map(Message::encoded_len).sum();
    if bytes <= max_bytes {
        return Ok(());
    }
    let text = format!(
        "trace diff input too large: combined trace size {bytes} bytes exceeds limit {max_bytes} bytes \
         (querier.max_bytes_per_trace)"
    );
    Err(QueryError::new(StatusCode::TOO_MANY_REQUESTS, text))
}

/// Both forms in one; a patch that is too large is left out whole, because a part of it would say that the rest is equal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Composed<'a> {
    version: &'static str,
    summary: Summary<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_omitted: Option<PatchOmitted>,
}

#[derive(Serialize)]
struct PatchOmitted {
    bytes: usize,
    reason: &'static str,
}

fn document(base: &[ResourceSpans], compare: &[ResourceSpans], form: Form) -> Result<String, QueryError> {
    let (base, compare) = (Tree::of(base, "base")?, Tree::of(compare, "compare")?);
    let patch = Patch::of(&base, &compare);
    match form {
        Form::Patch => json(&patch),
        Form::Summary => json(&Summary::of(&patch, &base, &compare)),
        Form::Composed => {
            let (summary, text) = (Summary::of(&patch, &base, &compare), json(&patch)?);
            let omitted = PatchOmitted { bytes: text.len(), reason: "over_budget" };
            let (patch, patch_omitted) = match text.len() <= MAX_COMPOSED_PATCH_BYTES {
                true => (Some(RawValue::from_string(text).map_err(internal)?), None),
                false => (None, Some(omitted)),
            };
            json(&Composed { version: Form::Composed.name(), summary, patch, patch_omitted })
        }
    }
}

fn json(document: &impl Serialize) -> Result<String, QueryError> {
    serde_json::to_string(document).map_err(internal)
}

fn internal(error: serde_json::Error) -> QueryError {
    QueryError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("write trace diff: {error}"))
}

#[cfg(test)]
mod tests;
