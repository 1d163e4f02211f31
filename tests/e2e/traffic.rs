//! Traces that tests send, and the time in which they lie.

use anyhow::{Context, Result};
use conformance::{Response, Target};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::Value;

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

/// The spans of [`trace`], dealt in turn to so many requests: a child and its parent are never in one.
pub fn dealt_trace(id: u128, requests: usize) -> Vec<Vec<u8>> {
    let whole = ExportTraceServiceRequest::decode(trace(id).as_slice()).expect("it was encoded a moment ago");
    let spans = &whole.resource_spans[0].scope_spans[0].spans;
    let part = |number| {
        let mut part = whole.clone();
        part.resource_spans[0].scope_spans[0].spans = spans.iter().skip(number).step_by(requests).cloned().collect();
        part.encode_to_vec()
    };
    (0..requests).map(part).collect()
}

/// Sends [`trace`].
pub async fn post(target: &Target, id: u128) -> Result<Response> {
    post_request(target, &trace(id)).await
}

/// Sends a request in protobuf.
pub async fn post_request(target: &Target, request: &[u8]) -> Result<Response> {
    let headers = [("Content-Type".to_owned(), "application/x-protobuf".to_owned())];
    target.http(&target.otlp, "POST", "/v1/traces", &headers, Some(request)).await
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

/// What a path of the query API answers, which must be JSON.
pub async fn json(target: &Target, path: &str) -> Result<Value> {
    let answer = target.get(path).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{path}: {text}");
    serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
}
