//! `/api/deletions`: traces are deleted by id, or by query and range; and what became of those that were. Off unless
//! `deletion.enabled` says so: who may ask is decided in front of this port.
//!
//! | | body | answer |
//! |---|---|---|
//! | `POST` | `{"traceIDs": ["…"]}`, or `{"query": "{ … }", "start": seconds, "end": seconds}` | how many traces are hidden from now on |
//! | `GET` | | which deleted traces are still in files |

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use model::{TenantId, TimeRange, TraceId};
use querier::request::{SearchFilter, SearchRequest};
use serde::{Deserialize, Serialize};

use crate::Edge;
use crate::error::http_status;
use crate::plain_text::{not_found, plain_error};
use crate::tenant::{self, TenantError};

/// Larger bodies are refused: ten thousand ids are a third of it.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Traces that a query finds at a time, and how often it is asked.
const TRACES_AT_ONCE: usize = 1_000;
const MAX_ROUNDS: usize = 10;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Why traces were not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// Too many at once.
    #[error("{0}")]
    TooMany(String),
    #[error("{0}")]
    Failed(String),
}

/// What deletes traces.
#[async_trait]
pub trait Deletions: Send + Sync {
    /// From now on nothing is found of these traces.
    async fn delete(&self, tenant: &TenantId, ids: &[TraceId]) -> Result<(), DeletionError>;

    /// What became of the deleted traces, as JSON.
    async fn report(&self, tenant: &TenantId) -> Result<String, DeletionError>;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, rename = "traceIDs")]
    trace_ids: Vec<String>,
    query: Option<String>,
    /// Unix seconds.
    start: Option<u64>,
    end: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Deleted {
    deleted: usize,
    /// False when the query finds more: ask again.
    complete: bool,
}

type Refusal = (StatusCode, String);

/// The route; without deletions there is nothing behind it.
pub(crate) fn route() -> MethodRouter<Arc<Edge>> {
    get(respond).post(respond)
}

async fn respond(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let Some(deletions) = edge.deletions.clone() else { return not_found().await };
    let (head, body) = request.into_parts();
    let tenant = match tenant::of(&head.headers, edge.config.multitenancy_enabled) {
        Ok(tenant) => tenant,
        Err(TenantError::Missing) => return plain_error(StatusCode::UNAUTHORIZED, "no org id"),
        Err(error) => return plain_error(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let answered = match head.method {
        Method::POST => delete(&edge, deletions.as_ref(), &tenant, body).await,
        _ => deletions.report(&tenant).await.map_err(refused),
    };
    match answered {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err((status, text)) => plain_error(status, &text),
    }
}

async fn delete(edge: &Edge, deletions: &dyn Deletions, tenant: &TenantId, body: Body) -> Result<String, Refusal> {
    if let Some(reason) = edge.not_ready() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, reason));
    }
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(bad_request)?;
    let asked: Asked = serde_json::from_slice(&body).map_err(bad_request)?;
    let deleted = match (&asked.query, asked.trace_ids.as_slice()) {
        (None, []) => return Err(bad_request("name traceIDs, or a query with start and end")),
        (None, ids) => by_id(deletions, tenant, ids).await?,
        (Some(query), []) => by_query(edge, deletions, tenant, query, asked.range()?).await?,
        (Some(_), _) => return Err(bad_request("name traceIDs or a query, not both")),
    };
    tracing::info!(
        target: "mosso::audit",
        %tenant,
        deleted = deleted.deleted,
        trace_ids = asked.trace_ids.join(","),
        query = asked.query.as_deref(),
        start = asked.start,
        end = asked.end,
        "traces deleted"
    );
    serde_json::to_string(&deleted).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn by_id(deletions: &dyn Deletions, tenant: &TenantId, ids: &[String]) -> Result<Deleted, Refusal> {
    let ids: Vec<TraceId> = ids.iter().map(|id| TraceId::parse(id)).collect::<Result<_, _>>().map_err(bad_request)?;
    deletions.delete(tenant, &ids).await.map_err(refused)?;
    Ok(Deleted { deleted: ids.len(), complete: true })
}

/// What is deleted is found no more, so the query is asked until it finds nothing.
async fn by_query(
    edge: &Edge,
    deletions: &dyn Deletions,
    tenant: &TenantId,
    query: &str,
    range: TimeRange,
) -> Result<Deleted, Refusal> {
    let mut deleted = 0;
    for _ in 0..MAX_ROUNDS {
        let filter = SearchFilter::TraceQl(query.to_owned());
        let request = SearchRequest { range, limit: TRACES_AT_ONCE, spans_per_span_set: 1, after: None, filter };
        let found = edge.querier.search(tenant, request, None).await;
        let found = found.map_err(|error| (http_status(error.kind()), error.to_string()))?;
        let ids: Vec<TraceId> = found.traces.iter().map(|trace| trace.trace_id).collect();
        if ids.is_empty() {
            return Ok(Deleted { deleted, complete: true });
        }
        deletions.delete(tenant, &ids).await.map_err(refused)?;
        deleted += ids.len();
    }
    Ok(Deleted { deleted, complete: false })
}

impl Asked {
    fn range(&self) -> Result<TimeRange, Refusal> {
        let (Some(start), Some(end)) = (self.start, self.end) else {
            return Err(bad_request("a query goes with start and end, in unix seconds"));
        };
        if start >= end {
            return Err(bad_request("start must be before end"));
        }
        Ok(TimeRange::new(start.saturating_mul(NANOS_PER_SECOND), end.saturating_mul(NANOS_PER_SECOND)))
    }
}

fn bad_request(problem: impl ToString) -> Refusal {
    (StatusCode::BAD_REQUEST, problem.to_string())
}

fn refused(error: DeletionError) -> Refusal {
    let status = match &error {
        DeletionError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        DeletionError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}
