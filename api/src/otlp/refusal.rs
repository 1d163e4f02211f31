//! Why an OTLP request was not taken, and how each transport says so: a gRPC status, or a `google.rpc.Status` in the
//! request's own content type. Exporters retry a limit only when the answer says when (`RetryInfo`).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message;
use tonic::Code;

use crate::error::{grpc_code, otlp_http_status};
use crate::otlp::form::Form;
use crate::plain_text::plain_error;
use crate::tenant::{self, TenantError};

pub(super) const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// A request that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: Code,
    message: String,
    retry: Retry,
}

/// What a client that was refused is told about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// What is usual for the code.
    Usual,
    After(Duration),
    /// It may, and is not told when.
    Untold,
    /// It should not: the request will be refused again.
    Never,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: Retry::Usual }
    }

    /// The request is wrong and will be wrong again.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// A limit that the request itself is over.
    pub(crate) fn permanent(code: Code, message: impl Into<String>) -> Self {
        Self { retry: Retry::Never, ..Self::new(code, message) }
    }

    /// Says when to try again, where a limit was hit and nothing said so yet.
    pub(crate) fn or_retry_after(mut self, delay: Option<Duration>) -> Self {
        if self.code == Code::ResourceExhausted
            && self.retry == Retry::Usual
            && let Some(delay) = delay
        {
            self.retry = Retry::After(delay);
        }
        self
    }

    /// Whether the same request may be taken later.
    pub(crate) fn may_pass(&self) -> bool {
        self.retry != Retry::Never && !matches!(self.code, Code::InvalidArgument | Code::NotFound)
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if let Retry::After(delay) = self.retry { Some(delay) } else { None }
    }

    pub(crate) fn to_grpc(&self) -> tonic::Status {
        tonic::Status::with_details(self.code, self.message.clone(), Bytes::from(self.to_protobuf()))
    }

    pub(crate) fn to_http(&self, form: Form) -> Response {
        let body = match form {
            Form::Protobuf => self.to_protobuf(),
            Form::Json => self.to_json().into_bytes(),
        };
        let headers = [(header::CONTENT_TYPE, form.media_type())];
        let mut response = (self.http_status(), headers, body).into_response();
        self.say_when(&mut response);
        response
    }

    /// For clients that know no form of errors.
    pub(crate) fn to_text(&self) -> Response {
        let mut response = plain_error(self.http_status(), &self.message);
        self.say_when(&mut response);
        response
    }

    fn say_when(&self, response: &mut Response) {
        if let Some(delay) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
        }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Exporters try again what is refused with 429, whatever else they are told.
    fn http_status(&self) -> StatusCode {
        if self.code == Code::ResourceExhausted && self.retry == Retry::Never {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        otlp_http_status(self.code)
    }

    fn to_protobuf(&self) -> Vec<u8> {
        let retry_info = self.retry_after().map(|delay| Any {
            type_url: RETRY_INFO.to_owned(),
            value: RetryInfo { retry_delay: Some(ProtoDuration::from(delay)) }.encode_to_vec(),
        });
        let status = RpcStatus {
            code: self.code as i32,
            message: self.message.clone(),
            details: retry_info.into_iter().collect(),
        };
        status.encode_to_vec()
    }

    fn to_json(&self) -> String {
        let message = serde_json::Value::from(self.message.as_str());
        let details = self.retry_after().map_or_else(String::new, |delay| {
            format!(r#","details":[{{"@type":"{RETRY_INFO}","retryDelay":"{}s"}}]"#, delay.as_secs_f64())
        });
        format!(r#"{{"code":{},"message":{message}{details}}}"#, self.code as i32)
    }
}

/// `Retry-After` knows whole seconds only; a fraction is rounded up, so that nobody comes too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}

impl From<ingester::Error> for Refusal {
    fn from(error: ingester::Error) -> Self {
        let retry = match (&error, error.retry_after()) {
            (_, Some(delay)) => Retry::After(delay),
            // a tenant that is not to know when to come back is not told the usual time either
            (ingester::Error::RateLimited { .. }, None) => Retry::Untold,
            (ingester::Error::LargerThanBurst { .. }, None) => Retry::Never,
            (_, None) => Retry::Usual,
        };
        Self { retry, ..Self::new(grpc_code(error.kind()), error.to_string()) }
    }
}

impl From<receivers::Error> for Refusal {
    fn from(error: receivers::Error) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<TenantError> for Refusal {
    /// A passing fault would be retried for ever: what names no tenant now names none later.
    fn from(error: TenantError) -> Self {
        Self::invalid(match error {
            TenantError::Missing => format!("{error}: set the header {}", tenant::HEADER),
            TenantError::Multiple => format!("{error}: spans belong to one tenant, send them for each by itself"),
            TenantError::Unsupported | TenantError::Invalid(_) => error.to_string(),
        })
    }
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl From<Duration> for ProtoDuration {
    fn from(duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { seconds, nanos: duration.subsec_nanos().cast_signed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_when_to_try_again_in_every_form() {
        let refusal = Refusal::new(Code::ResourceExhausted, "too much").or_retry_after(Some(Duration::from_secs(5)));
        let json = refusal.to_json();
        assert_eq!(
            json,
            r#"{"code":8,"message":"too much","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"5s"}]}"#
        );
        let response = refusal.to_http(Form::Protobuf);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        assert!(refusal.may_pass());
        let grpc = refusal.to_grpc();
        assert_eq!(grpc.code(), Code::ResourceExhausted);
        let status = RpcStatus::decode(grpc.details()).unwrap();
        assert_eq!(status.details[0].type_url, RETRY_INFO);
        let retry_info = RetryInfo::decode(status.details[0].value.as_slice()).unwrap();
        assert_eq!(retry_info.retry_delay, Some(ProtoDuration { seconds: 5, nanos: 0 }));
    }

    #[test]
    fn what_will_never_fit_is_refused_so_that_no_exporter_tries_again() {
        let refusal = Refusal::from(ingester::Error::LargerThanBurst { message: "too large".to_owned() });
        let refusal = refusal.or_retry_after(Some(Duration::from_secs(5)));
        assert_eq!(refusal.http_status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(refusal.to_json(), r#"{"code":8,"message":"too large"}"#);
        assert!(!refusal.may_pass());
        let untold = ingester::Error::RateLimited { message: "too much".to_owned(), retry_after: None };
        let untold = Refusal::from(untold).or_retry_after(Some(Duration::from_secs(5)));
        assert_eq!((untold.http_status(), untold.retry_after()), (StatusCode::TOO_MANY_REQUESTS, None));
    }

    #[test]
    fn a_wrong_request_says_nothing_about_retrying() {
        let refusal = Refusal::invalid("bad \"id\"").or_retry_after(Some(Duration::from_secs(5)));
        assert_eq!(refusal.to_json(), r#"{"code":3,"message":"bad \"id\""}"#);
        assert_eq!(refusal.http_status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn neither_a_missing_tenant_nor_two_tenants_may_be_retried() {
        assert_eq!(Refusal::from(TenantError::Missing).http_status(), StatusCode::BAD_REQUEST);
        assert_eq!(Refusal::from(TenantError::Multiple).http_status(), StatusCode::BAD_REQUEST);
    }
}
