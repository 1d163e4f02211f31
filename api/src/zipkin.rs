//! Zipkin over HTTP. What comes is translated by `receivers::zipkin` and stored as OTLP is.
//!
//! As in Tempo, any path takes spans: those of version 1 if it has `api/v1/spans` in it, of version 2 otherwise. The content
//! type tells the binary forms; everything else is JSON.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message;
use receivers::zipkin::{Form, Reading};

use crate::Edge;
use crate::otlp::form::media_type;
use crate::otlp::http::{method_not_allowed, observed, take};
use crate::otlp::json::text::mended;
use crate::otlp::refusal::Refusal;
use crate::telemetry::Receiver;

const V1_ROUTE: &str = "zipkin_api_v1_spans";
const V2_ROUTE: &str = "zipkin_api_v2_spans";

pub(crate) fn router(edge: Arc<Edge>) -> Router {
    Router::new().fallback(spans).with_state(edge)
}

async fn spans(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let form = form(request.uri().path(), request.headers());
    let route = if matches!(form, Form::V1Json | Form::V1Thrift) { V1_ROUTE } else { V2_ROUTE };
    observed(&edge, route, request, async |edge, request| respond(edge, form, request).await).await
}

fn form(path: &str, headers: &HeaderMap) -> Form {
    let is_v1 = path.contains("api/v1/spans");
    let is_of_type = |media: &str| media_type(headers).eq_ignore_ascii_case(media);
    match is_v1 {
        true if is_of_type("application/x-thrift") => Form::V1Thrift,
        true => Form::V1Json,
        false if is_of_type("application/x-protobuf") => Form::V2Protobuf,
        false => Form::V2Json,
    }
}

fn receiver(form: Form) -> Receiver {
    Receiver::zipkin(match form {
        Form::V1Json => "http_v1_json",
        Form::V1Thrift => "http_v1_thrift",
        Form::V2Json => "http_v2_json",
        Form::V2Protobuf => "http_v2_proto",
    })
}

async fn respond(edge: &Edge, form: Form, request: Request) -> Response {
    if request.method() != Method::POST {
        return method_not_allowed();
    }
    let (max_bytes, parses_tags) = match &edge.config.zipkin {
        Some(config) => (config.max_request_body_size, config.parse_string_tags),
        None => (0, false),
    };
    let to_otlp = Box::new(move |body| to_otlp(form, body, Reading { parses_tags, now_nanos: now_nanos() }));
    match take(edge, receiver(form), max_bytes, request, Some(to_otlp)).await {
        Ok(_accepted) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => refusal.or_retry_after(edge.config.retry_after()).to_text(),
    }
}

fn to_otlp(form: Form, body: Bytes, reading: Reading) -> Result<Bytes, Refusal> {
    let mut read = receivers::zipkin::spans(form, body.clone(), reading);
    if read.is_err() && matches!(form, Form::V1Json | Form::V2Json) {
        read = receivers::zipkin::spans(form, mended(&body).into(), reading);
    }
    Ok(read?.encode_to_vec().into())
}

fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
