//! Jaeger over gRPC: `CollectorService/PostSpans`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::encoded;
use crate::Edge;
use crate::grpc::{is_grpc, observed, serve_common};
use crate::otlp::grpc::{Call, take};
use crate::plain_text::plain_error;
use crate::telemetry::Receiver;

pub(super) const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";

pub(crate) fn router(edge: Arc<Edge>) -> Router {
    Router::new().fallback(serve).with_state(edge)
}

async fn serve(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    if !is_grpc(&request) {
        let text = "this port speaks gRPC: send content-type application/grpc, or thrift over HTTP to its own port";
        return plain_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    }
    match request.uri().path() {
        POST_SPANS => observed(edge, POST_SPANS, request, post_spans).await,
        _ => serve_common(edge, request).await,
    }
}

async fn post_spans(edge: Arc<Edge>, request: Request) -> Response {
    let call = Call {
        receiver: Receiver::jaeger("grpc"),
        max_bytes: edge.config.jaeger.grpc.as_ref().map_or(0, |config| config.max_recv_msg_size_mib << 20),
        to_otlp: Some(|message| encoded(receivers::jaeger::post_spans(message))),
        accepted: |_stored| bytes::Bytes::new(),
    };
    take(&edge, call, request).await
}
