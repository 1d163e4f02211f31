//! Traces that tests send, and the time in which they lie.

use anyhow::Result;
use conformance::{Response, Target};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// One trace of ten spans.
pub fn trace(id: u128) -> Vec<u8> {
    let start =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let spans = (0..10u64).map(|index| Span {
        trace_id: id.to_be_bytes().to_vec(),
        span_id: (index + 1).to_be_bytes().to_vec(),
        parent_span_id: if index == 0 { Vec::new() } else { index.to_be_bytes().to_vec() },
        name: format!("step {index}"),
        start_time_unix_nano: start + index,
        end_time_unix_nano: start + 1000,
        ..Default::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..Default::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
        .encode_to_vec()
}

/// Sends [`trace`].
pub async fn post(target: &Target, id: u128) -> Result<Response> {
    let headers = [("Content-Type".to_owned(), "application/x-protobuf".to_owned())];
    target.http(&target.otlp, "POST", "/v1/traces", &headers, Some(&trace(id))).await
}

/// Sends [`trace`]; true when it is acknowledged.
pub async fn send(target: &Target, id: u128) -> Result<bool> {
    Ok(post(target, id).await?.status == 200)
}

/// `start` and `end` around all traces of a test.
pub fn window() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    format!("&start={}&end={}", now - 3600, now + 3600)
}
