//! The way out: the queries, and the frame around every one of them.
//!
//! ```text
//! answer()   ready? → tenant → turn → handler, within the timeout → compress
//!               params.rs  URL → request          trace.rs search.rs tags.rs metrics.rs  one per question
//!               proto.rs   answer → message       json.rs llm.rs  message → JSON
//! mcp.rs         the same questions as tools of a language model, and more
//! service_graph.rs  who calls whom, of mosso's own
//! diff.rs        two traces compared: the one question with a body
//! streaming.rs   the same questions over gRPC: message → request, answer → messages (packets.rs)
//! ```

mod params;

mod diff;
mod mcp;
mod metrics;
mod search;
mod service_graph;
mod tags;
mod trace;

mod proto;

mod json;

mod llm;
mod plain;

mod reply;

mod outstanding;
mod packets;
pub(crate) mod streaming;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{MethodRouter, any};
use model::Tenants;

pub(crate) use self::outstanding::Outstanding;
pub(crate) use self::params::LONG_QUERY;
use self::params::Params;
pub use self::params::time::parse_time;
use self::reply::{Format, QueryError, Reply};
use crate::tenant::TenantError;
use crate::{Edge, QueryConfig, tenant};

/// The queries, with their paths below the prefix and their labels in `tempo_request_duration_seconds`. They take any method
/// and read the URL only, as in Tempo.
pub(crate) fn routes(config: &QueryConfig) -> Vec<(&'static str, &'static str, MethodRouter<Arc<Edge>>)> {
    let mut routes = vec![
        ("/api/traces/{id}", "api_traces_traceid", query(trace::v1)),
        ("/api/v2/traces/{id}", "api_v2_traces_traceid", query(trace::v2)),
        ("/api/v2/traces/diff", "api_v2_traces_diff", diff::route()),
        ("/api/search", "api_search", query(search::search)),
        ("/api/search/tags", "api_search_tags", query(tags::names_v1)),
        ("/api/v2/search/tags", "api_v2_search_tags", query(tags::names_v2)),
        ("/api/search/tag/{*tag}", "api_search_tag_tagname_values", query(tags::values_v1)),
        ("/api/v2/search/tag/{*tag}", "api_v2_search_tag_tagname_values", query(tags::values_v2)),
        ("/api/metrics/query_range", "api_metrics_query_range", query(metrics::range)),
        ("/api/metrics/query", "api_metrics_query", query(metrics::instant)),
        ("/api/service-graph", "api_service_graph", query(service_graph::service_graph)),
    ];
    routes.extend(config.mcp_enabled.then(|| (mcp::PATH, mcp::LABEL, mcp::route())));
    routes
}

/// One query over HTTP, ready to be answered.
struct Call {
    edge: Arc<Edge>,
    tenants: Tenants,
    uri: Uri,
    params: Params,
    format: Format,
    now_nanos: u64,
}

impl Call {
    fn asker(&self) -> Asker<'_> {
        Asker { edge: &self.edge, tenants: &self.tenants, now_nanos: self.now_nanos }
    }

    /// What the tenants may ask.
    fn config(&self) -> QueryConfig {
        self.edge.query_config(&self.tenants)
    }
}

/// Who asks, and when: what every question needs, whatever the protocol.
#[derive(Clone, Copy)]
struct Asker<'a> {
    edge: &'a Edge,
    tenants: &'a Tenants,
    now_nanos: u64,
}

/// A route that answers a query.
fn query<H, F>(handler: H) -> MethodRouter<Arc<Edge>>
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, QueryError>> + Send,
{
    any(async move |State(edge): State<Arc<Edge>>, request: Request| {
        // The body is not read, and must not be held while the query runs.
        let (head, _body) = request.into_parts();
        let call = |tenants| {
            let params = Params::of_request(&head.uri, &head.headers);
            let (uri, format) = (head.uri.clone(), Format::of(&head.headers));
            handler(Call { edge: edge.clone(), tenants, uri, params, format, now_nanos: now_nanos() })
        };
        let reply = answer(&edge, &head.headers, call).await;
        reply.unwrap_or_else(QueryError::into_reply).into_response(&head.headers).await
    })
}

/// Does `work` within the timeout, when the process is ready, the tenants are known and it is the query's turn.
async fn answer<R, F>(edge: &Edge, headers: &HeaderMap, work: impl FnOnce(Tenants) -> F) -> Result<R, QueryError>
where
    F: Future<Output = Result<R, QueryError>>,
{
    let tenants = tenant::several(headers, edge.config.multitenancy_enabled)?;
    if tenants.only().is_none() && !edge.config.query.multi_tenant_queries_enabled {
        return Err(TenantError::Unsupported.into());
    }
    if let Some(reason) = edge.not_ready() {
        return Err(QueryError::new(StatusCode::SERVICE_UNAVAILABLE, reason));
    }
    let places: Option<Vec<_>> = tenants.iter().map(|tenant| edge.place(tenant)).collect();
    let Some(_places) = places else {
        return Err(QueryError::new(StatusCode::TOO_MANY_REQUESTS, "job queue full"));
    };
    let _turn = edge
        .queries
        .try_acquire()
        .map_err(|_full| QueryError::new(StatusCode::TOO_MANY_REQUESTS, "too many outstanding requests"))?;
    within(edge.config.query.timeout(), work(tenants)).await
}

async fn within<R, F>(timeout: Option<Duration>, work: F) -> Result<R, QueryError>
where
    F: Future<Output = Result<R, QueryError>>,
{
    let Some(timeout) = timeout else { return work.await };
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_elapsed| {
        let text = "unable to process request in the configured timeout";
        Err(QueryError::new(StatusCode::SERVICE_UNAVAILABLE, text))
    })
}

fn now_nanos() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

impl From<TenantError> for QueryError {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Missing => QueryError::by_middleware(StatusCode::UNAUTHORIZED, "no org id"),
            other => QueryError::bad_request(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
