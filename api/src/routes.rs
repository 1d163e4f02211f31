//! Every route of the HTTP port: the queries, and the pages beside them.

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod isolation;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get};
use axum::{Extension, Router};

use crate::clean_paths::redirect_to_clean;
use crate::plain_text::{method_not_allowed, not_found};
use crate::request_span::{self, traced};
use crate::status::{self, RoutePaths};
use crate::telemetry::method_label;
use crate::tempo::streaming;
use crate::{Config, Edge, deletions, generated, grpc, overrides, tempo, ui};

/// A path, its label in `tempo_request_duration_seconds`, and who answers.
struct Route {
    path: String,
    label: &'static str,
    handler: MethodRouter<Arc<Edge>>,
}

/// The table of the port.
fn table(config: &Config) -> Vec<Route> {
    let prefix = &config.http_api_prefix;
    let api = |path: &str, label, handler| Route { path: format!("{prefix}{path}"), label, handler };
    let root = |path: &str, label, handler| Route { path: path.to_owned(), label, handler };
    let queries = tempo::routes(&config.query).into_iter().map(|(path, label, handler)| api(path, label, handler));
    let pages = [
        api("/api/overrides", "api_overrides", overrides::route()),
        api("/api/deletions", "api_deletions", deletions::route()),
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
    queries.chain(pages).collect()
}

/// All of it; a request that speaks gRPC goes to the gRPC services.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    let table = table(&edge.config);
    let paths = RoutePaths(table.iter().map(|route| route.path.clone()).collect());
    let mut router = Router::new();
    for Route { path, label, handler } in table {
        router = router.route(&path, handler.layer(from_fn_with_state((edge.clone(), label), observe)));
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(paths))
        .layer(from_fn(redirect_to_clean))
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
