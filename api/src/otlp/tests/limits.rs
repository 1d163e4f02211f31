//! What goes beyond the limits of a tenant is left out with a word, cut with a count, or refused.

use axum::body::Body;
use axum::http::Request;
use model::limits::{LimitTable, Limits};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;

use super::super::*;
use crate::Config;
use crate::testing::{Answer, TestEdge, ask, edge, frame, grpc_request};

async fn limited(limits: Limits) -> TestEdge {
    let test_edge = edge(Config::default()).await;
    test_edge.edge.limits.replace(LimitTable { others: limits, ..LimitTable::default() });
    test_edge
}

fn span(trace: u8, name: &str) -> String {
    let attribute = r#"{"key":"text","value":{"stringValue":"0123456789"}}"#;
    format!(
        r#"{{"traceId":"{trace:032x}","spanId":"{:016x}","name":"{name}","startTimeUnixNano":"1700000000000000000",
        "endTimeUnixNano":"1700000001000000000","attributes":[{attribute}]}}"#,
        u64::from(trace) + name.len() as u64
    )
}

fn request(spans: &[String]) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","))
}

async fn post(test_edge: &TestEdge, body: String) -> Answer {
    let request = Request::builder().method("POST").uri("/v1/traces").header("content-type", "application/json");
    ask(http::router(test_edge.edge.clone()), request.body(Body::from(body)).unwrap()).await
}

async fn get(test_edge: &TestEdge, path: &str) -> String {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    ask(crate::routes::router(test_edge.edge.clone()), request).await.text().to_owned()
}

async fn has_metric(test_edge: &TestEdge, name: &str, labels: &[&str], value: u64) -> bool {
    let text = get(test_edge, "/metrics").await;
    let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
    text.lines().filter(is_it).any(|line| line.ends_with(&format!(" {value}")))
}

#[tokio::test]
async fn spans_of_traces_beyond_a_limit_are_left_out_and_the_client_is_told_how_many() {
    let test_edge = limited(Limits { max_live_traces: 1, max_bytes_per_trace: 500, ..Limits::default() }).await;
    let answer = post(&test_edge, request(&[span(1, "a"), span(2, "b"), span(2, "bb")])).await;
    assert_eq!(answer.status, 200, "exporters would try again");
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "2");
    let message = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("2 spans: LIVE_TRACES_EXCEEDED") && message.contains("max_traces_per_user: 1"),
        "{message}"
    );
    assert!(has_metric(&test_edge, "tempo_discarded_spans_total", &["live_traces_exceeded", "single-tenant"], 2).await);
    assert!(get(&test_edge, "/api/v2/traces/1").await.contains("\"name\":\"a\""));
    assert!(!get(&test_edge, "/api/v2/traces/2").await.contains("\"name\""));

    let large = crate::otlp::json::to_protobuf(request(&[span(1, &"x".repeat(600))]).as_bytes()).unwrap();
    let answer = ask(grpc::router(test_edge.edge.clone()), grpc_request(grpc::EXPORT, &[], frame(false, &large))).await;
    assert_eq!(answer.header("grpc-status"), "0");
    let answer = ExportTraceServiceResponse::decode(&answer.body[5..]).unwrap().partial_success.unwrap();
    assert_eq!(answer.rejected_spans, 1);
    assert!(answer.error_message.contains("TRACE_TOO_LARGE"), "{}", answer.error_message);
    assert!(answer.error_message.contains("max_bytes_per_trace: 500"), "{}", answer.error_message);
    assert!(has_metric(&test_edge, "tempo_discarded_spans_total", &["trace_too_large"], 1).await);
    assert!(has_metric(&test_edge, "tempo_receiver_accepted_spans", &["grpc"], 0).await);
}

#[tokio::test]
async fn long_attributes_are_cut_and_counted_by_where_they_stand() {
    let test_edge = limited(Limits { max_attribute_bytes: 5, ..Limits::default() }).await;
    assert_eq!(post(&test_edge, request(&[span(1, "a")])).await.status, 200);
    let trace = get(&test_edge, "/api/v2/traces/1").await;
    assert!(trace.contains(r#""stringValue":"01234""#), "{trace}");
    let labels = ["scope=\"span\"", "tenant=\"single-tenant\""];
    assert!(has_metric(&test_edge, "tempo_distributor_attributes_truncated_total", &labels, 1).await);
}

#[tokio::test]
async fn a_request_larger_than_a_burst_is_refused_for_good_and_costs_nothing() {
    let (small, large) = (request(&[span(1, "a")]), request(&[span(1, &"x".repeat(2_000))]));
    let test_edge = limited(Limits { rate_limit_bytes: 500, ..Limits::default() }).await;
    let refused = post(&test_edge, large).await;
    assert_eq!((refused.status, refused.header("retry-after")), (413, ""), "{}", refused.text());
    assert!(refused.text().contains("RATE_LIMITED: batch size") && !refused.text().contains("RetryInfo"));
    assert!(has_metric(&test_edge, "tempo_discarded_spans_total", &["rate_limited"], 1).await);
    assert_eq!(post(&test_edge, small).await.status, 200);
}

#[tokio::test]
async fn a_tenant_has_limits_of_its_own_for_questions() {
    let limits = Limits { max_condition_groups: 1, max_bytes_per_tag_answer: 4, ..Limits::default() };
    let test_edge = limited(limits).await;
    assert_eq!(post(&test_edge, request(&[span(1, "a"), span(2, "a long name")])).await.status, 200);
    let range = "start=1699999999&end=1700000002";
    let refused =
        get(&test_edge, &format!("/api/v2/search/tags?q=%7Bname%3D%22a%22%7C%7Cname%3D%22b%22%7D&{range}")).await;
    assert!(refused.contains("maximum condition groups reached (limit: 1)"), "{refused}");
    let values = get(&test_edge, &format!("/api/v2/search/tag/name/values?{range}")).await;
    assert!(values.contains("\"a\"") && !values.contains("a long name"), "{values}");
    test_edge.edge.limits.replace(LimitTable::default());
    let values = get(&test_edge, &format!("/api/v2/search/tag/name/values?{range}")).await;
    assert!(values.contains("a long name"), "{values}");
}
