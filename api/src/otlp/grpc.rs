//! gRPC: `TraceService/Export`. Messages stay bytes; the ingester's decoder sees the whole request. Other calls that bring
//! spans are taken here, too.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use ingester::Accepted;
use model::TenantId;
use tokio::sync::SemaphorePermit;
use tonic::Code;

use crate::Edge;
use crate::grpc::{FRAME_HEAD_BYTES, Limits, is_grpc, observed, serve_common, too_large, unary};
use crate::otlp::body::{self, ReadError, Received};
use crate::otlp::refusal::Refusal;
use crate::otlp::{admit, off_thread, push, response, turn};
use crate::plain_text::plain_error;
use crate::telemetry::Receiver;

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The services of the OTLP port.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    Router::new().fallback(serve).with_state(edge)
}

async fn serve(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    if !is_grpc(&request) {
        let text = "this port speaks gRPC: send content-type application/grpc, or OTLP over HTTP to its own port";
        return plain_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    }
    match request.uri().path() {
        EXPORT => observed(edge, EXPORT, request, export).await,
        _ => serve_common(edge, request).await,
    }
}

async fn export(edge: Arc<Edge>, request: Request) -> Response {
    let bytes = edge.config.otlp_grpc.as_ref().map_or(0, |config| config.max_recv_msg_size_mib << 20);
    let call = Call { receiver: Receiver::otlp("grpc"), max_bytes: bytes, to_otlp: None, accepted: response };
    take(&edge, call, request).await
}

/// A call that brings spans.
pub(crate) struct Call {
    pub(crate) receiver: Receiver,
    pub(crate) max_bytes: usize,
    /// What the message becomes; `None` if it is OTLP.
    pub(crate) to_otlp: Option<fn(Bytes) -> Result<Bytes, Refusal>>,
    /// The answer when its spans are stored.
    pub(crate) accepted: fn(&Accepted) -> Bytes,
}

pub(crate) async fn take(edge: &Edge, call: Call, request: Request) -> Response {
    let limits = Limits { bytes: call.max_bytes, time: edge.config.body_read_timeout() };
    match receive(edge, limits, request).await {
        Ok(received) => store(edge, call, limits, received).await,
        Err(refusal) => refusal.or_retry_after(edge.config.retry_after()).to_grpc().into_http(),
    }
}

/// A request whose body is here, and what it holds until it is answered.
struct Export<'e> {
    tenant: TenantId,
    request: Request,
    _room: Option<SemaphorePermit<'e>>,
    _turn: SemaphorePermit<'e>,
}

async fn receive(edge: &Edge, limits: Limits, request: Request) -> Result<Export<'_>, Refusal> {
    let tenant = admit(edge, request.headers())?;
    let (head, body) = request.into_parts();
    let max_bytes = limits.bytes.saturating_add(FRAME_HEAD_BYTES);
    let Received { bytes, room } = body::read(edge, body, max_bytes).await.map_err(|error| match error {
        // exporters drop it, because nothing says when to try again
        ReadError::TooLarge => Refusal::permanent(Code::ResourceExhausted, too_large(limits.bytes)),
        ReadError::Refused(refusal) => refusal,
    })?;
    let turn = turn(edge).await?;
    Ok(Export { tenant, request: Request::from_parts(head, Body::from(bytes)), _room: room, _turn: turn })
}

async fn store(
    edge: &Edge,
    call: Call,
    limits: Limits,
    Export { tenant, request, _room, _turn }: Export<'_>,
) -> Response {
    let Call { receiver, to_otlp, accepted, .. } = call;
    let (tenant, to_otlp) = (&tenant, &to_otlp);
    let store = |message: Bytes| async move {
        let message = match *to_otlp {
            Some(to_otlp) => off_thread(message.len(), move || to_otlp(message)).await,
            None => Ok(message),
        };
        let stored = async { push(edge, receiver, tenant, message?).await }.await;
        stored.map(|stored| accepted(&stored)).map_err(|refusal| refusal.to_grpc())
    };
    unary(request, limits, store).await
}

#[cfg(test)]
mod tests;
