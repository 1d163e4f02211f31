//! OTLP over HTTP: `POST /v1/traces`, protobuf or JSON, and the answers that Tempo's receiver gives to everything else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use ingester::Accepted;
use tonic::Code;

use crate::otlp::body::{self, ReadError, Received};
use crate::otlp::encoding::{self, Encoding};
use crate::otlp::refusal::Refusal;
use crate::otlp::{admit, json, json_response, push, response, turn};
use crate::request_span::{self, traced};
use crate::status::{TEXT, method_label, not_found};
use crate::tempo::paths;
use crate::{Edge, OtlpHttpConfig};

const ROUTE: &str = "v1_traces";

/// Bodies up to this size are unpacked where they arrive; larger ones would hold up other requests on the same thread.
const INLINE_BYTES: usize = 64 << 10;

/// The routes of the OTLP port.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    let router = Router::new().route("/v1/traces", any(traces)).fallback(not_found);
    router.layer(from_fn(paths::redirect_to_clean)).with_state(edge)
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

    fn accepted(self, accepted: &Accepted) -> Response {
        let body = match self {
            Self::Protobuf => response(accepted),
            Self::Json => json_response(accepted).into(),
        };
        ([(header::CONTENT_TYPE, self.media_type())], body).into_response()
    }
}

async fn traces(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let inflight = edge.telemetry.begin(method_label(request.method()), ROUTE);
    let response = traced(request_span::of(ROUTE, request.headers()), respond(&edge, request)).await;
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
        Ok(accepted) => form.accepted(&accepted),
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

async fn receive(edge: &Edge, form: Form, request: Request) -> Result<Accepted, Refusal> {
    let tenant = admit(edge, request.headers())?;
    let encoding = Encoding::of(request.headers()).map_err(|error| Refusal::invalid(error.to_string()))?;
    let max_bytes =
        edge.config.otlp_http.as_ref().map_or(0, |OtlpHttpConfig { max_request_body_size, .. }| *max_request_body_size);
    let body = body::read(edge, request.into_body(), max_bytes).await.map_err(|error| match error {
        ReadError::TooLarge => Refusal::invalid(encoding::Error::TooLarge.to_string()),
        ReadError::Refused(refusal) => refusal,
    })?;
    let Received { bytes, room: _room } = body;
    let _turn = turn(edge).await?;
    let message = unpack(form, encoding, bytes, max_bytes).await?;
    push(edge, "http", &tenant, message).await
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
