//! OTLP over HTTP: `POST /v1/traces`, protobuf or JSON, and the answers that Tempo's receiver gives to everything else.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tonic::Code;

use crate::otlp::encoding::{self, Encoding};
use crate::otlp::refusal::Refusal;
use crate::otlp::{ACCEPTED, admit, json, push};
use crate::status::{TEXT, method_label, not_found};
use crate::{Edge, OtlpHttpConfig};

const ROUTE: &str = "v1_traces";

/// Bodies up to this size are unpacked where they arrive; larger ones would hold up other requests on the same thread.
const INLINE_BYTES: usize = 64 << 10;

/// So much memory is taken at once for a body because its headers state its length; more when it has come.
const TRUSTED_BYTES: usize = 1 << 20;

/// A body that is too large is read on to this many times the limit, because many clients read the answer only when
/// they have sent everything.
const DRAIN_FACTOR: usize = 4;

/// The routes of the OTLP port.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    Router::new().route("/v1/traces", any(traces)).fallback(not_found).with_state(edge)
}

/// The two forms of a request; the answer has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Protobuf,
    Json,
}

impl Form {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json].into_iter().find(|form| media_type.eq_ignore_ascii_case(form.media_type()))
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn accepted(self) -> Response {
        let body = match self {
            Self::Protobuf => ACCEPTED,
            Self::Json => br#"{"partialSuccess":{}}"#,
        };
        ([(header::CONTENT_TYPE, self.media_type())], body).into_response()
    }
}

async fn traces(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let inflight = edge.telemetry.begin(method_label(request.method()), ROUTE);
    let response = respond(&edge, request).await;
    inflight.finish(response.status().as_str());
    response
}

async fn respond(edge: &Edge, request: Request) -> Response {
    if request.method() != Method::POST {
        return method_not_allowed();
    }
    let Some(form) = Form::of(request.headers()) else {
        return unsupported_media_type();
    };
    match receive(edge, form, request).await {
        Ok(()) => form.accepted(),
        Err(refusal) => refusal.or_retry_after(edge.config.retry_after()).to_http(form),
    }
}

fn method_not_allowed() -> Response {
    let headers = [(header::CONTENT_TYPE, TEXT), (header::ALLOW, "POST")];
    (StatusCode::METHOD_NOT_ALLOWED, headers, "405 method not allowed, supported: [POST]").into_response()
}

fn unsupported_media_type() -> Response {
    let text = "415 unsupported media type, supported: [application/json, application/x-protobuf]";
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(header::CONTENT_TYPE, TEXT)], text).into_response()
}

async fn receive(edge: &Edge, form: Form, request: Request) -> Result<(), Refusal> {
    let (tenant, _turn) = admit(edge, request.headers()).await?;
    let encoding = Encoding::of(request.headers()).map_err(|error| Refusal::invalid(error.to_string()))?;
    let max_bytes =
        edge.config.otlp_http.as_ref().map_or(0, |OtlpHttpConfig { max_request_body_size, .. }| *max_request_body_size);
    let patience = edge.config.body_read_timeout();
    let body = tokio::time::timeout(patience, read_body(request.into_body(), max_bytes))
        .await
        .map_err(|_elapsed| Refusal::new(Code::DeadlineExceeded, "the request body took too long to arrive"))??;
    let message = unpack(form, encoding, body, max_bytes).await?;
    push(edge, "http", &tenant, message).await
}

/// The whole body, unless it is larger than `max_bytes`.
async fn read_body(mut body: Body, max_bytes: usize) -> Result<Bytes, Refusal> {
    let stated_bytes = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut buffer = BytesMut::with_capacity(stated_bytes.min(max_bytes).min(TRUSTED_BYTES));
    let mut seen_bytes = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::invalid(format!("read the request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        seen_bytes = seen_bytes.saturating_add(data.len());
        if seen_bytes <= max_bytes {
            buffer.extend_from_slice(&data);
        } else if seen_bytes > max_bytes.saturating_mul(DRAIN_FACTOR) {
            break;
        } else {
            buffer = BytesMut::new();
        }
    }
    if seen_bytes > max_bytes {
        return Err(Refusal::invalid(encoding::Error::TooLarge.to_string()));
    }
    Ok(buffer.freeze())
}

/// Body bytes → OTLP protobuf.
async fn unpack(form: Form, encoding: Encoding, body: Bytes, max_bytes: usize) -> Result<Bytes, Refusal> {
    let is_plain = form == Form::Protobuf && encoding == Encoding::Identity;
    if is_plain || body.len() <= INLINE_BYTES {
        return unpack_here(form, encoding, body, max_bytes);
    }
    tokio::task::spawn_blocking(move || unpack_here(form, encoding, body, max_bytes))
        .await
        .unwrap_or_else(|_stopped| Err(Refusal::new(Code::Unavailable, "Application is stopping")))
}

fn unpack_here(form: Form, encoding: Encoding, body: Bytes, max_bytes: usize) -> Result<Bytes, Refusal> {
    let plain = encoding.decode(body, max_bytes).map_err(|error| Refusal::invalid(error.to_string()))?;
    match form {
        Form::Protobuf => Ok(plain),
        Form::Json => json::to_protobuf(&plain).map_err(|error| Refusal::invalid(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
