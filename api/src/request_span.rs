//! The span of a request in mosso's own traces.
//!
//! It continues the trace of the caller, if the request names one (W3C Trace Context, `traceparent`), with the caller's
//! decision whether that is recorded. So the requests that bring mosso's own spans, which say no, make no spans themselves,
//! also where mosso sends them to itself.

use axum::http::HeaderMap;
use axum::response::Response;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Asked every few seconds by what watches the process, and of no interest.
const UNTRACED: [&str; 2] = ["ready", "metrics"];

/// Answers a request within its span.
pub(crate) async fn traced(span: Span, answer: impl Future<Output = Response>) -> Response {
    let response = answer.instrument(span.clone()).await;
    span.record("http.response.status_code", i64::from(response.status().as_u16()));
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// Of a request to this route, whose name it has.
pub(crate) fn of(route: &'static str, headers: &HeaderMap) -> Span {
    if UNTRACED.contains(&route) {
        return Span::none();
    }
    let span = info_span!(
        "request",
        otel.kind = "server",
        otel.name = route,
        otel.status_code = Empty,
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        // refused only where nothing is recorded
        _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
    span
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
