//! OTLP over HTTP: `POST /v1/traces`, protobuf or JSON, and the answers that Tempo's receiver gives to everything else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use ingester::Accepted;

use crate::clean_paths::redirect_to_clean;
use crate::otlp::body::{self, ReadError, Received};
use crate::otlp::encoding::{self, Encoding};
use crate::otlp::form::Form;
use crate::otlp::refusal::Refusal;
use crate::otlp::{admit, json, json_response, off_thread, push, response, turn};
use crate::plain_text::{TEXT, not_found};
use crate::request_span::{self, traced};
use crate::telemetry::{Receiver, method_label};
use crate::{Edge, OtlpHttpConfig};

const ROUTE: &str = "v1_traces";

/// The routes of the OTLP port.
pub(crate) fn router(edge: Arc<Edge>) -> Router {
    let router = Router::new().route("/v1/traces", any(traces)).fallback(not_found);
    router.layer(from_fn(redirect_to_clean)).with_state(edge)
}

async fn traces(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    observed(&edge, ROUTE, request, respond).await
}

/// Answers a request that brings spans; it is counted and traced under the name of its route.
pub(crate) async fn observed(
    edge: &Edge,
    route: &'static str,
    request: Request,
    respond: impl AsyncFnOnce(&Edge, Request) -> Response,
) -> Response {
    let inflight = edge.telemetry.begin(method_label(request.method()), route);
    let response = traced(request_span::of(route, request.headers()), respond(edge, request)).await;
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
    let max_bytes =
        edge.config.otlp_http.as_ref().map_or(0, |OtlpHttpConfig { max_request_body_size, .. }| *max_request_body_size);
    let to_otlp: Option<ToOtlp> = match form {
        Form::Protobuf => None,
        Form::Json => {
            Some(Box::new(|plain| json::to_protobuf(&plain).map_err(|error| Refusal::invalid(error.to_string()))))
        }
    };
    match take(edge, Receiver::otlp("http"), max_bytes, request, to_otlp).await {
        Ok(taken) => accepted(form, &taken),
        Err(refusal) => refusal.or_retry_after(edge.config.retry_after()).to_http(form),
    }
}

/// The answer to a request that was taken.
fn accepted(form: Form, accepted: &Accepted) -> Response {
    let body = match form {
        Form::Protobuf => response(accepted),
        Form::Json => json_response(accepted).into(),
    };
    ([(header::CONTENT_TYPE, form.media_type())], body).into_response()
}

pub(crate) fn method_not_allowed() -> Response {
    let headers = [(header::CONTENT_TYPE, TEXT), (header::ALLOW, "POST")];
    (StatusCode::METHOD_NOT_ALLOWED, headers, "405 method not allowed, supported: [POST]").into_response()
}

fn unsupported_media_type() -> Response {
    let text = "415 unsupported media type, supported: [application/json, application/x-protobuf]";
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(header::CONTENT_TYPE, TEXT)], text).into_response()
}

/// What a plain body becomes.
pub(crate) type ToOtlp = Box<dyn FnOnce(Bytes) -> Result<Bytes, Refusal> + Send>;

/// Reads, unpacks, translates and stores the body of a request that brings spans; without `to_otlp` it is OTLP protobuf.
pub(crate) async fn take(
    edge: &Edge,
    receiver: Receiver,
    max_bytes: usize,
    request: Request,
    to_otlp: Option<ToOtlp>,
) -> Result<Accepted, Refusal> {
    let tenant = admit(edge, request.headers())?;
    let encoding = Encoding::of(request.headers()).map_err(|error| Refusal::invalid(error.to_string()))?;
    let body = body::read(edge, request.into_body(), max_bytes).await.map_err(|error| match error {
        ReadError::TooLarge => Refusal::invalid(encoding::Error::TooLarge.to_string()),
        ReadError::Refused(refusal) => refusal,
    })?;
    let Received { bytes, room: _room } = body;
    let _turn = turn(edge).await?;
    let message = unpack(to_otlp, encoding, bytes, max_bytes).await?;
    push(edge, receiver, &tenant, message).await
}

/// Body bytes → OTLP protobuf.
async fn unpack(to_otlp: Option<ToOtlp>, encoding: Encoding, body: Bytes, max_bytes: usize) -> Result<Bytes, Refusal> {
    if to_otlp.is_none() && encoding == Encoding::Identity {
        return Ok(body);
    }
    let packed_bytes = body.len();
    let unpack = move || {
        let plain = encoding.decode(body, max_bytes).map_err(|error| Refusal::invalid(error.to_string()))?;
        match to_otlp {
            Some(to_otlp) => to_otlp(plain),
            None => Ok(plain),
        }
    };
    off_thread(packed_bytes, unpack).await
}

#[cfg(test)]
mod tests;
