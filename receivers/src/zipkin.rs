//! Zipkin: versions 1 and 2 of its spans, each in JSON and in a binary form.

mod v1;
mod v2;

mod endpoint;
mod numbers;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::Value;

use crate::error::Error;
use crate::grouping::Grouping;

/// Set for a span that came without a time.
const TIME_ABSENT: &str = "otel.zipkin.absentField.startTime";

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    V1Json,
    V1Thrift,
    V2Json,
    V2Protobuf,
}

/// How texts are read, and when they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Whether tags that look like numbers and booleans are such.
    pub parses_tags: bool,
    /// The time of spans that have none.
    pub now_nanos: u64,
}

/// A list of spans.
///
/// # Errors
/// One that names what cannot be read.
pub fn spans(form: Form, body: Bytes, reading: Reading) -> Result<ExportTraceServiceRequest, Error> {
    let mut grouping = Grouping::default();
    match form {
        Form::V1Json => v1::translate::spans(v1::json::spans(&json(&body)?, reading)?, reading, &mut grouping),
        Form::V1Thrift => v1::translate::spans(v1::wire::spans(&body)?, reading, &mut grouping),
        Form::V2Json => v2::translate::spans(v2::json::spans(&json(&body)?)?, reading, &mut grouping),
        Form::V2Protobuf => v2::translate::spans(v2::proto::spans(body)?, reading, &mut grouping),
    }
    Ok(grouping.finish())
}

fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|error| Error::new(format!("invalid JSON: {error}")))
}

#[cfg(test)]
mod tests;
