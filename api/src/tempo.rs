//! The way out: every route of the HTTP port, and the frame around every query.
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
mod streaming;

pub(crate) mod paths;

pub(crate) use self::reply::accepts_gzip;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get};
use model::Tenants;

pub(crate) use self::outstanding::Outstanding;
use self::params::Params;
pub use self::params::time::parse_time;
use self::reply::{Format, QueryError, Reply};
use crate::request_span::{self, traced};
use crate::status::{self, method_label};
use crate::tenant::TenantError;
use crate::{Config, Edge, QueryConfig, deletions, generated, grpc, overrides, tenant, ui};

/// A path, its label in `tempo_request_duration_seconds`, and who answers.
struct Route {
    path: String,
    label: &'static str,
    handler: MethodRouter<Arc<Edge>>,
}

/// The table of the HTTP port. Queries take any method and read the URL only, as in Tempo.
fn routes(config: &Config) -> Vec<Route> {
    let prefix = &config.http_api_prefix;
    let api = |path: &str, label, handler| Route { path: format!("{prefix}{path}"), label, handler };
    let root = |path: &str, label, handler| Route { path: path.to_owned(), label, handler };
    let mcp = config.query.mcp_enabled.then(|| api(mcp::PATH, mcp::LABEL, mcp::route()));
    let mut routes = vec![
        api("/api/traces/{id}", "api_traces_traceid", query(trace::v1)),
        api("/api/v2/traces/{id}", "api_v2_traces_traceid", query(trace::v2)),
        api("/api/v2/traces/diff", "api_v2_traces_diff", diff::route()),
        api("/api/search", "api_search", query(search::search)),
        api("/api/search/tags", "api_search_tags", query(tags::names_v1)),
        api("/api/v2/search/tags", "api_v2_search_tags", query(tags::names_v2)),
        api("/api/search/tag/{*tag}", "api_search_tag_tagname_values", query(tags::values_v1)),
        api("/api/v2/search/tag/{*tag}", "api_v2_search_tag_tagname_values", query(tags::values_v2)),
        api("/api/metrics/query_range", "api_metrics_query_range", query(metrics::range)),
        api("/api/metrics/query", "api_metrics_query", query(metrics::instant)),
        api("/api/overrides", "api_overrides", overrides::route()),
        api("/api/deletions", "api_deletions", deletions::route()),
        api("/api/service-graph", "api_service_graph", query(service_graph::service_graph)),
        api("/api/echo", "api_echo", any(status::echo)),
        api("/api/status/buildinfo", "api_status_buildinfo", get(status::buildinfo)),
        root("/", "root", get(ui::from_root)),
        api("/ui", "ui", get(ui::without_slash)),
        api("/ui/", "ui", get(ui::with_slash)),
        api("/ui/metrics", "ui_metrics", get(status::metrics)),
        api("/ui/config", "ui_config", get(status::config)),
        api("/ui/{file}", "ui", get(ui::file)),
        root("/ready", "ready", any(status::ready)),
        root("/metrics", "metrics", any(status::metrics)),
        root("/metrics/generated", "metrics_generated", get(generated::show)),
        root("/flush", "flush", get(status::flush).post(status::flush)),
        root("/status", "status", get(status::status)),
        root("/status/version", "status_version", get(status::version)),
        root("/status/services", "status_services", get(status::services)),
        root("/status/endpoints", "status_endpoints", get(status::endpoints)),
        root("/status/config", "status_config", get(status::config)),
        root("/status/runtime_config", "status_runtime_config", get(status::overrides::runtime_config)),
        root("/status/overrides", "status_overrides", get(status::overrides::list)),
        root("/status/overrides/{tenant}", "status_overrides_tenant", get(status::overrides::of_tenant)),
    ];
    routes.extend(mcp);
    routes
}

/// The paths of [`routes`], for `/status/endpoints`.
pub(crate) fn route_paths(config: &Config) -> impl Iterator<Item = String> {
    routes(config).into_iter().map(|route| route.path)
}

/// Every route of the HTTP port; a request that speaks gRPC goes to the gRPC services.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    let mut router = Router::new();
    for Route { path, label, handler } in routes(&edge.config) {
        router = router.route(&path, handler.layer(from_fn_with_state((edge.clone(), label), observe)));
    }
    router
        .fallback(status::not_found)
        .method_not_allowed_fallback(status::method_not_allowed)
        .layer(from_fn(paths::redirect_to_clean))
        .layer(from_fn_with_state(edge.clone(), divert_grpc))
        .with_state(edge)
}

async fn observe(State((edge, label)): State<(Arc<Edge>, &'static str)>, request: Request, next: Next) -> Response {
    let inflight = edge.telemetry.begin(method_label(request.method()), label);
    let response = traced(request_span::of(label, request.headers()), next.run(request)).await;
    inflight.finish(response.status().as_str());
    response
}

async fn divert_grpc(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    if grpc::is_grpc(&request) { streaming::serve(edge, request).await } else { next.run(request).await }
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
            let params = Params::of(&head.uri);
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
mod isolation;
#[cfg(test)]
mod tests;
