//! The way in: whatever the transport, a request becomes one `Bytes` of OTLP protobuf, which the ingester decodes itself.
//!
//! ```text
//! grpc.rs  4317: body.rs → message → bytes ─────────────┐
//! http.rs  4318: body.rs → encoding.rs ┬ protobuf ┤→ push → Ok, or a Refusal (refusal.rs) in the words of the transport
//!                                      └ json.rs ─┘
//! ```
//!
//! Other receivers come this way too, with a translation of their own: `jaeger.rs`, `zipkin.rs`, `kafka.rs`.

pub(crate) mod grpc;
pub(crate) mod http;

pub(crate) mod body;
pub(crate) mod encoding;
pub(crate) mod form;
pub(crate) mod json;

pub(crate) mod refusal;

use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use ingester::Accepted;
use model::TenantId;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use tokio::sync::SemaphorePermit;
use tonic::Code;
use tracing::{Instrument, debug, info_span};

use crate::otlp::refusal::Refusal;
use crate::telemetry::Receiver;
use crate::{Edge, tenant};

/// An `ExportTraceServiceResponse` whose `partial_success` is present and empty, as Tempo sends it.
const ACCEPTED: &[u8] = &[0x0a, 0x00];

/// The `ExportTraceServiceResponse` to a request that was accepted, if only in part.
fn response(accepted: &Accepted) -> Bytes {
    if accepted.rejection.is_empty() {
        return Bytes::from_static(ACCEPTED);
    }
    let partial_success = ExportTracePartialSuccess {
        rejected_spans: i64::try_from(accepted.rejected_spans).unwrap_or(i64::MAX),
        error_message: accepted.rejection.clone(),
    };
    ExportTraceServiceResponse { partial_success: Some(partial_success) }.encode_to_vec().into()
}

/// The same as JSON.
fn json_response(accepted: &Accepted) -> String {
    if accepted.rejection.is_empty() {
        return r#"{"partialSuccess":{}}"#.to_owned();
    }
    let message = serde_json::Value::from(accepted.rejection.as_str());
    // numbers of 64 bits are texts in this form
    format!(r#"{{"partialSuccess":{{"rejectedSpans":"{}","errorMessage":{message}}}}}"#, accepted.rejected_spans)
}

/// How long a request waits for its turn before it is refused.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests up to this size are unpacked and translated where they arrive; larger ones would hold up others on the same
/// thread.
const INLINE_BYTES: usize = 64 << 10;

/// What must hold before a body is worth reading: a ready process and a tenant.
pub(crate) fn admit(edge: &Edge, headers: &HeaderMap) -> Result<TenantId, Refusal> {
    match edge.not_ready() {
        Some(reason) => Err(Refusal::new(Code::Unavailable, reason)),
        None => Ok(tenant::of(headers, edge.config.multitenancy_enabled)?),
    }
}

/// The turn of a request whose body is here.
pub(crate) async fn turn(edge: &Edge) -> Result<SemaphorePermit<'_>, Refusal> {
    match tokio::time::timeout(TURN_TIMEOUT, edge.pushes.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_closed)) => Err(Refusal::new(Code::Unavailable, "Application is stopping")),
        Err(_elapsed) => Err(Refusal::new(Code::ResourceExhausted, "too many requests in work")),
    }
}

/// Does work that takes as long as `bytes` are many.
pub(crate) async fn off_thread(
    bytes: usize,
    work: impl FnOnce() -> Result<Bytes, Refusal> + Send + 'static,
) -> Result<Bytes, Refusal> {
    if bytes <= INLINE_BYTES {
        return work();
    }
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|_stopped| Err(Refusal::new(Code::Unavailable, "Application is stopping")))
}

/// Stores one request. When this returns `Ok`, its spans are durable, but for those that it says were left out.
pub(crate) async fn push(
    edge: &Edge,
    receiver: Receiver,
    tenant: &TenantId,
    request: Bytes,
) -> Result<Accepted, Refusal> {
    let transport = receiver.transport;
    let span = info_span!("push", %tenant, transport, bytes = request.len());
    let Some(ingester) = &edge.ingester else {
        return Err(Refusal::new(Code::Unavailable, "this process takes no spans"));
    };
    let pushed = ingester.push(tenant, request.clone()).instrument(span).await;
    edge.telemetry.received(tenant, request.len(), pushed.as_ref().is_ok_and(|accepted| accepted.spans > 0));
    match pushed {
        Ok(accepted) => {
            edge.telemetry.accepted(receiver, accepted.spans);
            Ok(accepted)
        }
        Err(error) => {
            debug!(%tenant, transport, %error, "spans refused");
            edge.telemetry.refused(receiver, count_spans(request));
            Err(Refusal::from(error).or_retry_after(edge.config.retry_after()))
        }
    }
}

/// How many spans a request holds; 0 if it is not OTLP. Span bytes are skipped, not decoded.
fn count_spans(request: Bytes) -> usize {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Request {
        #[prost(message, repeated, tag = "1")]
        resource_spans: Vec<ResourceSpans>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct ResourceSpans {
        #[prost(message, repeated, tag = "2")]
        scope_spans: Vec<ScopeSpans>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct ScopeSpans {
        #[prost(bytes = "bytes", repeated, tag = "2")]
        spans: Vec<Bytes>,
    }
    let Ok(request) = Request::decode(request) else { return 0 };
    request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
}

#[cfg(test)]
mod tests;
