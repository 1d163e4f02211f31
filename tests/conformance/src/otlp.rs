//! OTLP export requests that the suite makes itself, and OTLP/JSON, which is protobuf JSON with ids in hex and enums as numbers.

use std::fmt::Write;

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::Value;

use crate::dataset::NANOS;
use crate::proto::{self, Enums, messages};

/// Seconds after the base at which probes start: outside the window of every other case.
const PROBE_AFTER: u64 = 300;

/// A request of one span, all of whose names and values the dataset already has.
pub fn probe_request(base: u64, number: u64, trace_id: &str, span_id: &str) -> Result<ExportTraceServiceRequest> {
    let start = (base + PROBE_AFTER + number) * NANOS;
    let span = Span {
        trace_id: unhex(trace_id)?,
        span_id: unhex(span_id)?,
        name: "ingest-probe".into(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 5_000_000,
        attributes: vec![attribute("probe.key", "probe")],
        ..Span::default()
    };
    let resource = Resource { attributes: vec![attribute("service.name", "ingest-probe")], ..Resource::default() };
    Ok(ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    })
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

/// The OTLP/JSON body of a request.
pub fn to_json(message: &ExportTraceServiceRequest) -> Result<Vec<u8>> {
    let mut doc = Value::Object(proto::decode(&messages::TRACE, &message.encode_to_vec(), Enums::Numbers)?);
    ids_in_hex(&mut doc)?;
    Ok(serde_json::to_vec(&doc)?)
}

fn ids_in_hex(node: &mut Value) -> Result<()> {
    match node {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("traceId" | "spanId" | "parentSpanId", Value::String(id)) => {
                        *id = hex(&BASE64_STANDARD.decode(&*id)?)
                    }
                    (_, value) => ids_in_hex(value)?,
                }
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(ids_in_hex)?,
        _ => {}
    }
    Ok(())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

pub fn unhex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<_> =
        text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>().context("an id holds hex digits")?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect())
}
