//! Jaeger's protobuf messages, `api_v2`. Texts are bytes here, so that damaged ones can be mended.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use prost::Message;

use super::{Batch, Process, Reference, Span, translate, wire};
use crate::attributes::attribute;
use crate::error::Error;
use crate::id::{span_id_of_bytes, trace_id_of_bytes};
use crate::time::nanos_of_parts;

/// `jaeger.api_v2.PostSpansRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct PostSpansRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) batch: Option<BatchMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchMessage {
    /// Each is decoded by itself: an error then has its number, and empty ones take no memory.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) spans: Vec<Bytes>,
    #[prost(message, optional, tag = "2")]
    pub(super) process: Option<ProcessMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProcessMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) service_name: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub(super) tags: Vec<TagMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(int32, tag = "2")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) text: Bytes,
    #[prost(bool, tag = "4")]
    pub(super) bool: bool,
    #[prost(int64, tag = "5")]
    pub(super) long: i64,
    #[prost(double, tag = "6")]
    pub(super) double: f64,
    #[prost(bytes = "bytes", tag = "7")]
    pub(super) binary: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SpanMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) span_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) operation_name: Bytes,
    #[prost(message, repeated, tag = "4")]
    pub(super) references: Vec<ReferenceMessage>,
    #[prost(uint32, tag = "5")]
    pub(super) flags: u32,
    #[prost(message, optional, tag = "6")]
    pub(super) start_time: Option<Parts>,
    #[prost(message, optional, tag = "7")]
    pub(super) duration: Option<Parts>,
    #[prost(message, repeated, tag = "8")]
    pub(super) tags: Vec<TagMessage>,
    #[prost(message, repeated, tag = "9")]
    pub(super) logs: Vec<LogMessage>,
    #[prost(message, optional, tag = "10")]
    pub(super) process: Option<ProcessMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReferenceMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) span_id: Bytes,
    #[prost(int32, tag = "3")]
    pub(super) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LogMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) timestamp: Option<Parts>,
    #[prost(message, repeated, tag = "2")]
    pub(super) fields: Vec<TagMessage>,
}

/// `google.protobuf.Timestamp` and `google.protobuf.Duration`
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Parts {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

pub(super) fn post_spans(message: Bytes) -> Result<Batch, Error> {
    let request = PostSpansRequest::decode(message).map_err(no_message)?;
    let batch = request.batch.unwrap_or_default();
    let numbered = batch.spans.into_iter().enumerate();
    let spans = numbered.map(|(index, bytes)| span(bytes).map_err(|error| error.at(index).within("batch.spans")));
    Ok(Batch { process: batch.process.map(process).unwrap_or_default(), spans: spans.collect::<Result<_, _>>()? })
}

fn no_message(error: prost::DecodeError) -> Error {
    Error::new(error.to_string())
}

fn process(message: ProcessMessage) -> Process {
    Process { service_name: text(&message.service_name), tags: message.tags.into_iter().map(tag).collect() }
}

pub(super) fn span(bytes: Bytes) -> Result<(Option<Process>, Span), Error> {
    let message = SpanMessage::decode(bytes).map_err(no_message)?;
    let nanos = |parts: Option<Parts>| parts.map_or(0, |parts| nanos_of_parts(parts.seconds, parts.nanos));
    let (start, duration) = (nanos(message.start_time), nanos(message.duration));
    let references = message.references.iter().enumerate();
    let references =
        references.map(|(index, sent)| reference(sent).map_err(|error| error.at(index).within("references")));
    let span = Span {
        trace_id: trace_id_of_bytes(&message.trace_id)?,
        span_id: span_id_of_bytes(&message.span_id)?,
        parent_span_id: 0, // among the references
        operation_name: text(&message.operation_name),
        references: references.collect::<Result<_, _>>()?,
        is_sampled: message.flags & 1 == 1,
        start_nanos: start.max(0).unsigned_abs(),
        end_nanos: start.saturating_add(duration).max(0).unsigned_abs(),
        tags: message.tags.into_iter().map(tag).collect(),
        logs: message.logs.into_iter().map(log).collect(),
    };
    Ok((message.process.map(process), span))
}

fn reference(message: &ReferenceMessage) -> Result<Reference, Error> {
    Ok(Reference {
        kind: wire::reference_kind(message.kind),
        trace_id: trace_id_of_bytes(&message.trace_id)?,
        span_id: span_id_of_bytes(&message.span_id)?,
    })
}

fn log(message: LogMessage) -> Event {
    let nanos = message.timestamp.map_or(0, |parts| nanos_of_parts(parts.seconds, parts.nanos));
    translate::event(nanos.max(0).unsigned_abs(), message.fields.into_iter().map(tag).collect())
}

fn tag(message: TagMessage) -> KeyValue {
    let value = match message.kind {
        0 => Value::StringValue(text(&message.text)),
        1 => Value::BoolValue(message.bool),
        2 => Value::IntValue(message.long),
        3 => Value::DoubleValue(message.double),
        4 => Value::BytesValue(message.binary.to_vec()),
        kind => translate::unknown_tag_type(kind),
    };
    attribute(text(&message.key), value)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
