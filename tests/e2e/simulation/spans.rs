//! Requests as bytes.

use model::TimeRange;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::plan::{Request, SentSpan, Trace};

/// The attribute that holds a span's number.
pub const NUMBER: &str = "number";

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
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
        .encode_to_vec()
}

/// Where all spans lie.
pub fn range(now_nanos: u64) -> TimeRange {
    TimeRange::new(now_nanos - (u64::from(OLD_HOURS) + 2) * HOUR_NANOS, now_nanos + NEW_NANOS + 2 * HOUR_NANOS)
}

fn span(SentSpan { number, trace }: SentSpan, now_nanos: u64) -> Span {
    let start = match trace.is_old() {
        true => now_nanos - u64::from(2 + trace.number % OLD_HOURS) * HOUR_NANOS,
        false => now_nanos + NEW_NANOS,
    };
    let value = AnyValue { value: Some(Value::IntValue(number.cast_signed())) };
    Span {
        trace_id: trace_id(trace).to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        name: format!("span {number}"),
        start_time_unix_nano: start + number,
        end_time_unix_nano: start + number + 1000,
        attributes: vec![KeyValue { key: NUMBER.to_owned(), value: Some(value), ..Default::default() }],
        ..Default::default()
    }
}
