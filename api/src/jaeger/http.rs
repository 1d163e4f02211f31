//! Jaeger's thrift over HTTP: `POST /api/traces` with a `Batch` in the binary encoding, whose content type says so.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::encoded;
use crate::otlp::form::media_type;
use crate::otlp::http::{method_not_allowed, observed, take};
use crate::plain_text::{not_found, plain_error};
use crate::telemetry::Receiver;
use crate::{Edge, OtlpHttpConfig};

const ROUTE: &str = "jaeger_api_traces";

const MEDIA_TYPES: [&str; 2] = ["application/x-thrift", "application/vnd.apache.thrift.binary"];

pub(crate) fn router(edge: Arc<Edge>) -> Router {
    Router::new().route("/api/traces", any(traces)).fallback(not_found).with_state(edge)
}

async fn traces(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    observed(&edge, ROUTE, request, respond).await
}

async fn respond(edge: &Edge, request: Request) -> Response {
    if request.method() != Method::POST {
        return method_not_allowed();
    }
    if let Some(unsupported) = unsupported_media_type(request.headers()) {
        return unsupported;
    }
    let config = edge.config.jaeger.thrift_http.as_ref();
    let max_bytes = config.map_or(0, |OtlpHttpConfig { max_request_body_size, .. }| *max_request_body_size);
    let to_otlp = Box::new(|body: bytes::Bytes| encoded(receivers::jaeger::batch(&body)));
    match take(edge, Receiver::jaeger("collector_http"), max_bytes, request, Some(to_otlp)).await {
        Ok(_accepted) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => refusal.or_retry_after(edge.config.retry_after()).to_text(),
    }
}

/// 400, as Jaeger's collector answers.
fn unsupported_media_type(headers: &HeaderMap) -> Option<Response> {
    let sent = media_type(headers);
    if MEDIA_TYPES.iter().any(|known| sent.eq_ignore_ascii_case(known)) {
        return None;
    }
    let text = if headers.contains_key(header::CONTENT_TYPE) {
        format!("Unsupported content type: {sent}; send {}", MEDIA_TYPES[0])
    } else {
        format!("no content type; send {}", MEDIA_TYPES[0])
    };
    Some(plain_error(StatusCode::BAD_REQUEST, &text))
}
