//! gRPC: `TraceService/Export`. Messages stay bytes; the ingester's decoder sees the whole request.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::Edge;
use crate::grpc::{Limits, is_grpc, observed, serve_common, unary};
use crate::otlp::{ACCEPTED, admit, push};

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The services of the OTLP port.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    Router::new().fallback(serve).with_state(edge)
}

async fn serve(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    if !is_grpc(&request) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match request.uri().path() {
        EXPORT => observed(&edge.clone(), EXPORT, export(edge, request)).await,
        _ => serve_common(edge, request).await,
    }
}

async fn export(edge: Arc<Edge>, request: Request) -> Response {
    let (tenant, _turn) = match admit(&edge, request.headers()).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.or_retry_after(edge.config.retry_after()).to_grpc().into_http(),
    };
    let bytes = edge.config.otlp_grpc.as_ref().map_or(0, |config| config.max_recv_msg_size_mib << 20);
    let limits = Limits { bytes, time: edge.config.body_read_timeout() };
    let store = |message| async {
        let stored = push(&edge, "grpc", &tenant, message).await;
        stored.map(|()| Bytes::from_static(ACCEPTED)).map_err(|refusal| refusal.to_grpc())
    };
    unary(request, limits, store).await
}

#[cfg(test)]
mod tests;
