//! The status of a span of version 1 out of its tags, which several libraries have written each in its way.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::attributes::{
    ERROR, HTTP_STATUS_CODE, HTTP_STATUS_MESSAGE, OTEL_STATUS_CODE, OTEL_STATUS_DESCRIPTION, integer, text,
};

/// What tags say, the first that says something counts: `census.status_code`, `otel.status_code`, `error`,
/// `http.status_code`.
#[derive(Debug, Default)]
pub(super) struct StatusTags {
    census: Option<StatusCode>,
    census_message: String,
    otel: Option<StatusCode>,
    otel_message: String,
    /// What `error` says.
    error: Option<String>,
    http: Option<StatusCode>,
    http_message: String,
}

impl StatusTags {
    /// Notes a tag; says whether it is nothing but the status.
    pub(super) fn takes(&mut self, tag: &KeyValue) -> bool {
        let Some(value) = tag.value.as_ref().and_then(|value| value.value.as_ref()) else { return false };
        match tag.key.as_str() {
            "census.status_code" => self.census = integer(value).map(of_census).or(self.census),
            "census.status_description" | "opencensus.status_description" => {
                self.census_message = text(value).to_owned()
            }
            OTEL_STATUS_CODE => self.otel = code(value).or(self.otel),
            OTEL_STATUS_DESCRIPTION => self.otel_message = text(value).to_owned(),
            ERROR => self.error = Some(error_message(value)),
            HTTP_STATUS_CODE => {
                self.http = integer(value).map(of_http).or(self.http);
                return false;
            }
            HTTP_STATUS_MESSAGE => {
                self.http_message = text(value).to_owned();
                return false;
            }
            _ => return false,
        }
        true
    }

    pub(super) fn status(self) -> Option<Status> {
        let Self { census_message, otel_message, http_message, .. } = self;
        let is_error = self.error.is_some().then_some(StatusCode::Error);
        let error = self.error.unwrap_or_default();
        let (code, messages) = match (self.census, self.otel, is_error) {
            (Some(census), ..) => (census, vec![census_message, error]),
            (None, Some(otel), _) => (otel, vec![otel_message, error]),
            (None, None, Some(code)) => (code, vec![census_message, otel_message, error]),
            (None, None, None) => (self.http?, vec![http_message]),
        };
        let message = messages.into_iter().find(|message| !message.is_empty()).unwrap_or_default();
        Some(Status { code: code.into(), message })
    }
}

/// Often the text of an exception.
fn error_message(value: &Value) -> String {
    Some(text(value)).filter(|text| *text != "true").unwrap_or_default().to_owned()
}

/// Codes of gRPC, of which 0 is good.
fn of_census(code: i64) -> StatusCode {
    if code == 0 { StatusCode::Ok } else { StatusCode::Error }
}

fn of_http(status: i64) -> StatusCode {
    if (100..400).contains(&status) { StatusCode::Unset } else { StatusCode::Error }
}

/// The number of OTLP, or its name.
fn code(value: &Value) -> Option<StatusCode> {
    match integer(value) {
        Some(number) => StatusCode::try_from(i32::try_from(number).ok()?).ok(),
        None => match text(value).to_ascii_uppercase().as_str() {
            "OK" => Some(StatusCode::Ok),
            "ERROR" => Some(StatusCode::Error),
            _ => None,
        },
    }
}
