//! Jaeger: thrift over HTTP and UDP, protobuf over gRPC.
//!
//! The two forms are read into one model, which is translated once. It has attributes and events of OTLP already, because
//! tags and logs are nothing else.

mod wire;

mod proto;

mod status;
mod translate;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use crate::error::Error;
use crate::thrift::Input;

pub use crate::thrift::Encoding;

/// What one process sends at a time.
#[derive(Debug, Default, PartialEq)]
struct Batch {
    process: Process,
    /// Each with a process of its own, where it names one.
    spans: Vec<(Option<Process>, Span)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Process {
    service_name: String,
    tags: Vec<KeyValue>,
}

#[derive(Debug, Default, PartialEq)]
struct Span {
    trace_id: u128,
    /// 0 for none, as everywhere in Jaeger.
    span_id: u64,
    parent_span_id: u64,
    operation_name: String,
    references: Vec<Reference>,
    is_sampled: bool,
    start_nanos: u64,
    end_nanos: u64,
    tags: Vec<KeyValue>,
    logs: Vec<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Reference {
    kind: ReferenceKind,
    trace_id: u128,
    span_id: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReferenceKind {
    ChildOf,
    FollowsFrom,
}

/// The body of `POST /api/traces`: a `Batch` in thrift's binary encoding.
///
/// # Errors
/// One that names what cannot be read.
pub fn batch(body: &[u8]) -> Result<ExportTraceServiceRequest, Error> {
    let mut input = Input::new(body, Encoding::Binary);
    wire::batch(&mut input).map(translate::batch)
}

/// A packet for an agent: the call `emitBatch` with a `Batch`.
///
/// # Errors
/// One that names what cannot be read.
pub fn packet(packet: &[u8], encoding: Encoding) -> Result<ExportTraceServiceRequest, Error> {
    let mut input = Input::new(packet, encoding);
    wire::emit_batch(&mut input).map(translate::batch)
}

/// A `PostSpansRequest` of `jaeger.api_v2.CollectorService`.
///
/// # Errors
/// One that names what cannot be read.
pub fn post_spans(message: Bytes) -> Result<ExportTraceServiceRequest, Error> {
    proto::post_spans(message).map(translate::batch)
}

/// One `jaeger.api_v2.Span`, with its process, as it is written to Kafka.
///
/// # Errors
/// One that names what cannot be read.
pub fn span(message: Bytes) -> Result<ExportTraceServiceRequest, Error> {
    let span = proto::span(message)?;
    Ok(translate::batch(Batch { process: Process::default(), spans: vec![span] }))
}

#[cfg(test)]
mod tests;
