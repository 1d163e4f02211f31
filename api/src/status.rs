//! Probes and pages that ask nothing of the data: readiness, counters, versions, the flush switch.

pub(crate) mod overrides;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ingester::Readiness;
use prometheus_client::encoding::text;
use tracing::warn;

use crate::error::http_status;
use crate::negotiation::accepts;
use crate::plain_text::{TEXT, plain_error, text_page};
use crate::telemetry::prometheus_text;
use crate::{Edge, TEMPO_VERSION};

const STOPPING: &str = "Application is stopping";

const OPEN_METRICS: &str = "application/openmetrics-text";

pub(crate) async fn echo() -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], "echo\n").into_response()
}

/// Grafana before 12 switches features by `version`.
pub(crate) async fn buildinfo() -> Response {
    let body = format!(
        "{{\"version\":\"{TEMPO_VERSION}\",\"revision\":\"mosso-{}\",\"branch\":\"\",\"buildUser\":\"\",\
         \"buildDate\":\"\",\"goVersion\":\"\"}}\n",
        env!("CARGO_PKG_VERSION")
    );
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(crate) async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    match edge.not_ready() {
        None => ([(header::CONTENT_TYPE, TEXT)], "ready\n").into_response(),
        Some(reason) => plain_error(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

impl Edge {
    /// Why the process should get no traffic, if so.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let Some(ingester) = &self.ingester else {
            return self.stopping.is_cancelled().then(|| STOPPING.to_owned());
        };
        match ingester.readiness() {
            Readiness::Ready => None,
            Readiness::Replaying { detail } => Some(format!("Ingester not ready: replaying the log: {detail}")),
            Readiness::Stopping => Some(STOPPING.to_owned()),
            Readiness::Failed { reason } => Some(format!("Ingester failed: {reason}")),
        }
    }
}

/// Prometheus text, or OpenMetrics for a scraper that asks for it.
pub(crate) async fn metrics(State(edge): State<Arc<Edge>>, headers: HeaderMap) -> Response {
    let mut body = String::new();
    if let Err(error) = text::encode(&mut body, &edge.registry) {
        warn!(%error, "encode metrics failed");
        return plain_error(StatusCode::INTERNAL_SERVER_ERROR, "encode metrics failed");
    }
    if accepts(&headers, OPEN_METRICS) {
        let content_type = format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8");
        return ([(header::CONTENT_TYPE, content_type)], body).into_response();
    }
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], prometheus_text(&body)).into_response()
}

/// Cuts and publishes all live spans; answers when they are in blocks.
pub(crate) async fn flush(State(edge): State<Arc<Edge>>) -> Response {
    let Some(ingester) = &edge.ingester else {
        return plain_error(StatusCode::NOT_FOUND, "this process takes no spans, and has none to flush");
    };
    match ingester.flush().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            warn!(%error, "flush on request failed");
            plain_error(http_status(error.kind()), &error.to_string())
        }
    }
}

/// The paths of the port that these pages are on.
#[derive(Clone)]
pub(crate) struct RoutePaths(pub(crate) Arc<[String]>);

pub(crate) async fn status(State(edge): State<Arc<Edge>>, Extension(paths): Extension<RoutePaths>) -> Response {
    text_page([version_text(), services_text(&edge), endpoints_text(&paths), config_text(&edge)].join("\n"))
}

pub(crate) async fn version() -> Response {
    text_page(version_text())
}

pub(crate) async fn services(State(edge): State<Arc<Edge>>) -> Response {
    text_page(services_text(&edge))
}

pub(crate) async fn endpoints(Extension(paths): Extension<RoutePaths>) -> Response {
    text_page(endpoints_text(&paths))
}

pub(crate) async fn config(State(edge): State<Arc<Edge>>) -> Response {
    text_page(config_text(&edge))
}

fn version_text() -> String {
    format!(
        "GET /status/version\nmosso, version {} (API of tempo {TEMPO_VERSION})\n  platform: {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

fn services_text(edge: &Edge) -> String {
    let state = edge.not_ready().unwrap_or_else(|| "Running".to_owned());
    let ingester = edge.ingester.as_ref().map(|_| format!("ingester: {state}\n")).unwrap_or_default();
    format!("GET /status/services\n{ingester}querier: Running\nserver: Running\n")
}

fn endpoints_text(paths: &RoutePaths) -> String {
    let mut text = String::from("GET /status/endpoints\n");
    for path in paths.0.iter() {
        text.push_str(path);
        text.push('\n');
    }
    text
}

fn config_text(edge: &Edge) -> String {
    format!("GET /status/config\n---\n{}", edge.config_text)
}
