//! Spans for the tests of this crate, written in few words.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spans::{SpanTable, TableBuilder};

use crate::names::{CLIENT, CONSUMER, PRODUCER, SERVER, STATUS_ERROR};

/// When all spans start.
pub(crate) const START_NANOS: u64 = 1_700_000_000_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// A span of a service.
#[derive(Clone)]
pub(crate) struct Sent {
    resource: Vec<(&'static str, &'static str)>,
    pub span: Span,
}

/// A span of `service` in trace 1 that takes `millis`.
pub(crate) fn span(service: &'static str, id: u64, parent: u64, kind: i32, millis: u64) -> Sent {
    let parent_span_id = if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() };
    let span = Span {
        trace_id: 1_u128.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id,
        name: "op".to_owned(),
        kind,
        start_time_unix_nano: START_NANOS,
        end_time_unix_nano: START_NANOS + millis * MILLISECOND,
        ..Default::default()
    };
    Sent { resource: vec![("service.name", service)], span }
}

pub(crate) fn server(service: &'static str, id: u64, parent: u64, millis: u64) -> Sent {
    span(service, id, parent, SERVER, millis)
}

pub(crate) fn client(service: &'static str, id: u64, parent: u64, millis: u64) -> Sent {
    span(service, id, parent, CLIENT, millis)
}

pub(crate) fn producer(service: &'static str, id: u64, parent: u64, millis: u64) -> Sent {
    span(service, id, parent, PRODUCER, millis)
}

pub(crate) fn consumer(service: &'static str, id: u64, parent: u64, millis: u64) -> Sent {
    span(service, id, parent, CONSUMER, millis)
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

impl Sent {
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.span.attributes.push(pair(key, Value::StringValue(value.to_owned())));
        self
    }

    pub(crate) fn with_value(mut self, key: &str, value: Value) -> Self {
        self.span.attributes.push(pair(key, value));
        self
    }

    pub(crate) fn of_resource(mut self, key: &'static str, value: &'static str) -> Self {
        self.resource.push((key, value));
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.span.name);
        self
    }

    pub(crate) fn failed(mut self) -> Self {
        self.span.status = Some(Status { code: STATUS_ERROR, message: String::new() });
        self
    }

    /// Moves a span in time, its length stays.
    pub(crate) fn later(mut self, millis: i64) -> Self {
        let move_by = |nanos: u64| nanos.wrapping_add_signed(millis * MILLISECOND as i64);
        self.span.start_time_unix_nano = move_by(self.span.start_time_unix_nano);
        self.span.end_time_unix_nano = move_by(self.span.end_time_unix_nano);
        self
    }

    fn message(&self) -> ResourceSpans {
        let text = |(key, value): &(&str, &str)| pair(key, Value::StringValue((*value).to_owned()));
        ResourceSpans {
            resource: Some(Resource { attributes: self.resource.iter().map(text).collect(), ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![self.span.clone()], ..Default::default() }],
            ..Default::default()
        }
    }
}

/// The table of these spans, as it comes from live rows.
pub(crate) fn table(spans: &[Sent]) -> SpanTable {
    let resource_spans = spans.iter().map(Sent::message).collect();
    let mut builder = TableBuilder::default();
    builder.append(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap();
    builder.snapshot().unwrap()
}
