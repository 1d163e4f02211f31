//! The status of a span out of its tags.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::attributes::{
    ERROR, HTTP_STATUS_CODE, HTTP_STATUS_MESSAGE, OTEL_STATUS_CODE, OTEL_STATUS_DESCRIPTION, find, integer, take_text,
    text,
};

const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";

/// The boolean `error` says most, then `otel.status_code`, then the status of HTTP. The first two are taken out.
pub(super) fn take(attributes: &mut Vec<KeyValue>, kind: SpanKind) -> Option<Status> {
    let is_error = find(attributes, ERROR) == Some(&Value::BoolValue(true));
    if is_error {
        attributes.retain(|attribute| attribute.key != ERROR);
        let message = take_text(attributes, OTEL_STATUS_DESCRIPTION).or_else(|| http_message(attributes));
        take_text(attributes, OTEL_STATUS_CODE);
        return Some(status(StatusCode::Error, message));
    }
    if let Some(code) = take_text(attributes, OTEL_STATUS_CODE) {
        return Some(status(code_of_name(&code), take_text(attributes, OTEL_STATUS_DESCRIPTION)));
    }
    let http = find(attributes, HTTP_STATUS_CODE).or_else(|| find(attributes, HTTP_RESPONSE_STATUS_CODE))?;
    is_failure(integer(http)?, kind).then(|| status(StatusCode::Error, http_message(attributes)))
}

fn status(code: StatusCode, message: Option<String>) -> Status {
    Status { code: code.into(), message: message.unwrap_or_default() }
}

fn http_message(attributes: &[KeyValue]) -> Option<String> {
    find(attributes, HTTP_STATUS_MESSAGE).map(|message| text(message).to_owned())
}

fn code_of_name(name: &str) -> StatusCode {
    match name.to_ascii_uppercase().as_str() {
        "OK" => StatusCode::Ok,
        "ERROR" => StatusCode::Error,
        _ => StatusCode::Unset,
    }
}

/// What was asked for in vain is the client's failure, not the server's.
fn is_failure(http_status: i64, kind: SpanKind) -> bool {
    match http_status {
        100..400 => false,
        400..500 => kind != SpanKind::Server,
        _ => true,
    }
}
