//! Requests as bytes.

use model::TimeRange;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::plan::{Request, SentSpan, Trace};

/// The attribute that holds a span's number.
pub const NUMBER: &str = "number";

const NOBODY: u64 = u64::MAX;
const HOUR_NANOS: u64 = 3600 * 1_000_000_000;
/// Far enough in the future to be kept when retention takes what is old.
const NEW_NANOS: u64 = 30 * 24 * HOUR_NANOS;
/// Old traces lie in so many windows of compaction.
const OLD_HOURS: u32 = 3;

pub fn trace_id(trace: Trace) -> [u8; 16] {
    ((trace.tenant as u128 + 1) << 64 | u128::from(trace.number)).to_be_bytes()
}

/// A request; `now_nanos` is when the run began.
pub fn encode(request: &Request, now_nanos: u64) -> Vec<u8> {
    let spans = request.spans.iter().map(|sent| span(*sent, now_nanos)).collect();
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let service = attribute("service.name", Value::StringValue("shop".to_owned()));
    let resource = Some(Resource { attributes: vec![service], ..Default::default() });
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans, ..Default::default() }] }
        .encode_to_vec()
}

/// What spans are named.
pub fn name(number: u64) -> String {
    format!("span {number}")
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// Where all spans lie.
pub fn range(now_nanos: u64) -> TimeRange {
    TimeRange::new(now_nanos - (u64::from(OLD_HOURS) + 2) * HOUR_NANOS, now_nanos + NEW_NANOS + 2 * HOUR_NANOS)
}

fn span(SentSpan { number, trace, caller }: SentSpan, now_nanos: u64) -> Span {
    let start = match trace.is_old() {
        true => now_nanos - u64::from(2 + trace.number % OLD_HOURS) * HOUR_NANOS,
        false => now_nanos + NEW_NANOS,
    };
    Span {
        trace_id: trace_id(trace).to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        // a client has a parent that nobody sends, or it would be a root
        parent_span_id: caller.unwrap_or(NOBODY).to_be_bytes().to_vec(),
        kind: if caller.is_some() { SpanKind::Server } else { SpanKind::Client } as i32,
        name: name(number),
        start_time_unix_nano: start + number,
        end_time_unix_nano: start + number + 1000,
        attributes: vec![attribute(NUMBER, Value::IntValue(number.cast_signed()))],
        ..Default::default()
    }
}
