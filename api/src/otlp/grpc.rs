//! gRPC: `TraceService/Export` and `Health/Check`. Messages stay bytes; the ingester's decoder sees the whole request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tonic::{Code, Status};
use tower::service_fn;

use crate::Edge;
use crate::otlp::{ACCEPTED, admit, push};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse { status: SERVING }` and `NOT_SERVING`.
const SERVING: &[u8] = &[0x08, 0x01];
const NOT_SERVING: &[u8] = &[0x08, 0x02];

/// Health checks carry a service name at most.
const MAX_HEALTH_BYTES: usize = 4096;

/// The services of the OTLP port.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    Router::new().fallback(serve).with_state(edge)
}

async fn serve(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    if !is_grpc(&request) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match request.uri().path() {
        EXPORT => observed(&edge.clone(), EXPORT, export(edge, request)).await,
        _ => serve_common(edge, request).await,
    }
}

/// What every port that speaks gRPC offers.
pub(crate) async fn serve_common(edge: Arc<Edge>, request: Request) -> Response {
    match request.uri().path() {
        HEALTH_CHECK => observed(&edge.clone(), HEALTH_CHECK, check_health(edge, request)).await,
        path => Status::unimplemented(format!("unknown method {path}")).into_http(),
    }
}

pub(crate) fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    content_type.starts_with(b"application/grpc")
}

async fn observed(edge: &Edge, route: &'static str, call: impl Future<Output = Response>) -> Response {
    let inflight = edge.telemetry.begin("gRPC", route);
    let response = call.await;
    // A failed call has its status among the headers; a call that worked has it behind the body.
    let failed = response.headers().get(Status::GRPC_STATUS).is_some_and(|code| code != "0");
    inflight.finish(if failed { "error" } else { "success" });
    response
}

async fn export(edge: Arc<Edge>, request: Request) -> Response {
    let (tenant, _turn) = match admit(&edge, request.headers()).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.or_retry_after(edge.config.retry_after()).to_grpc().into_http(),
    };
    let max_bytes = edge.config.otlp_grpc.as_ref().map_or(0, |config| config.max_recv_msg_size_mib << 20);
    let store = |message: tonic::Request<Bytes>| async {
        let stored = push(&edge, "grpc", &tenant, message.into_inner()).await;
        stored.map(|()| tonic::Response::new(Bytes::from_static(ACCEPTED))).map_err(|refusal| refusal.to_grpc())
    };
    let patience = Duration::from_secs(edge.config.body_read_timeout_seconds);
    let Ok(response) = tokio::time::timeout(patience, unary(max_bytes).unary(service_fn(store), request)).await else {
        return Status::deadline_exceeded("the request took too long to arrive and to be stored").into_http();
    };
    let mut response = response.map(Body::new);
    forbid_retry_of_large_messages(&mut response);
    response
}

/// A message over the limit is answered with `OutOfRange`, which exporters retry for ever. `ResourceExhausted` without
/// `RetryInfo` makes them drop it, and is what Go servers answer.
fn forbid_retry_of_large_messages(response: &mut Response) {
    if let Some(code) = response.headers_mut().get_mut(Status::GRPC_STATUS)
        && *code == (Code::OutOfRange as i32).to_string()
    {
        *code = HeaderValue::from(Code::ResourceExhausted as i32);
    }
}

async fn check_health(edge: Arc<Edge>, request: Request) -> Response {
    let status = if edge.not_ready().is_none() { SERVING } else { NOT_SERVING };
    let check = |_message: tonic::Request<Bytes>| async { Ok(tonic::Response::new(Bytes::from_static(status))) };
    unary(MAX_HEALTH_BYTES).unary(service_fn(check), request).await.map(Body::new)
}

/// Reads one message, writes one. gzip and zstd are understood; the limit holds before and after decompression.
fn unary(max_bytes: usize) -> Grpc<BytesCodec> {
    Grpc::new(BytesCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(max_bytes)
}

/// Messages as they lie on the wire.
#[derive(Debug, Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests;
