//! `/api/deletions`: traces are deleted by id, or by query and range; and what became of those that were. Off unless
//! `deletion.enabled` says so: who may ask is decided in front of this port.
//!
//! | | body | answer |
//! |---|---|---|
//! | `POST` | `{"traceIDs": ["…"]}`, or `{"query": "{ … }", "start": seconds, "end": seconds}` | which traces are hidden from now on |
//! | `POST` | the same with `"dryRun": true` | which would be |
//! | `GET` | | which deleted traces are still in files |

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use model::{TenantId, TimeRange, TraceId};
use querier::answer::{FoundTrace, SearchAnswer};
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
    /// Nothing is deleted: the answer names what would be.
    #[serde(default, rename = "dryRun")]
    dry_run: bool,
}

#[derive(Debug, Default, Serialize)]
struct Deleted {
    /// None after a dry run.
    deleted: usize,
    /// False when the query finds more, or could not read all there is: ask again.
    complete: bool,
    /// Those that are hidden from now on, or would be.
    traces: Vec<DeletedTrace>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletedTrace {
    #[serde(rename = "traceID")]
    trace_id: String,
    /// What a query found of it; an id is not looked up.
    #[serde(flatten)]
    found: Option<FoundRoot>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundRoot {
    root_service_name: String,
    root_trace_name: String,
    start_time_unix_nano: String,
}

impl DeletedTrace {
    fn by_id(id: &TraceId) -> Self {
        Self { trace_id: id.to_string(), found: None }
    }

    fn by_query(trace: FoundTrace) -> Self {
        let found = FoundRoot {
            root_service_name: trace.root_service.unwrap_or_default(),
            root_trace_name: trace.root_name.unwrap_or_default(),
            start_time_unix_nano: trace.start_nanos.to_string(),
        };
        Self { trace_id: trace.trace_id.to_string(), found: Some(found) }
    }
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
    let deletion = Deletion { edge, deletions, tenant, asked: &asked };
    let deleted = match (&asked.query, asked.trace_ids.as_slice()) {
        (None, []) => return Err(bad_request("name traceIDs, or a query with start and end")),
        (None, ids) => deletion.by_id(ids).await?,
        (Some(query), []) => deletion.by_query(query, asked.range()?).await?,
        (Some(_), _) => return Err(bad_request("name traceIDs or a query, not both")),
    };
    serde_json::to_string(&deleted).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// One call.
struct Deletion<'a> {
    edge: &'a Edge,
    deletions: &'a dyn Deletions,
    tenant: &'a TenantId,
    asked: &'a Asked,
}

impl Deletion<'_> {
    async fn by_id(&self, ids: &[String]) -> Result<Deleted, Refusal> {
        let ids: Vec<TraceId> =
            ids.iter().map(|id| TraceId::parse(id)).collect::<Result<_, _>>().map_err(bad_request)?;
        let deleted = self.delete(&ids).await?;
        Ok(Deleted { deleted, complete: true, traces: ids.iter().map(DeletedTrace::by_id).collect() })
    }

    /// What is deleted is found no more, so the query is asked until it finds nothing. A dry run asks page by page.
    async fn by_query(&self, query: &str, range: TimeRange) -> Result<Deleted, Refusal> {
        let (mut deleted, mut after) = (Deleted::default(), None);
        for _ in 0..MAX_ROUNDS {
            let filter = SearchFilter::TraceQl(query.to_owned());
            let request = SearchRequest { range, limit: TRACES_AT_ONCE, spans_per_span_set: 1, after, filter };
            let found = self.edge.querier.search(self.tenant, request, None).await;
            let found = found.map_err(|error| (http_status(error.kind()), error.to_string()))?;
            if found.traces.is_empty() {
                return Ok(Deleted { complete: is_whole(&found), ..deleted });
            }
            let ids: Vec<TraceId> = found.traces.iter().map(|trace| trace.trace_id).collect();
            deleted.deleted += self.delete(&ids).await?;
            after = found.traces.last().map(FoundTrace::cursor).filter(|_| self.asked.dry_run);
            deleted.traces.extend(found.traces.into_iter().map(DeletedTrace::by_query));
        }
        Ok(deleted)
    }

    /// Deletes unless it is a dry run, and says so in the log; returns how many are deleted.
    async fn delete(&self, ids: &[TraceId]) -> Result<usize, Refusal> {
        if self.asked.dry_run {
            return Ok(0);
        }
        self.deletions.delete(self.tenant, ids).await.map_err(refused)?;
        let names: Vec<String> = ids.iter().map(TraceId::to_string).collect();
        tracing::info!(
            target: "mosso::audit",
            tenant = %self.tenant,
            deleted = ids.len(),
            trace_ids = names.join(","),
            query = self.asked.query.as_deref(),
            start = self.asked.start,
            end = self.asked.end,
            "traces deleted"
        );
        Ok(ids.len())
    }
}

/// Whether a search has looked at everything.
fn is_whole(found: &SearchAnswer) -> bool {
    found.lack.is_none() && found.metrics.completed_jobs == found.metrics.total_jobs
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
