use axum::body::Body;
use axum::http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::Config;
use crate::testing::{Answer, TestEdge, ask, edge};

const SECOND: u64 = 1_000_000_000;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// A span from second 1 to second 2, which is when calls of it end.
fn span(service: &str, id: u64, parent: u64, kind: i32) -> ResourceSpans {
    let value = Some(AnyValue { value: Some(Value::StringValue(service.to_owned())) });
    let name = KeyValue { key: "service.name".to_owned(), value, ..Default::default() };
    let span = Span {
        trace_id: [1; 16].to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent.to_be_bytes().to_vec(),
        kind,
        start_time_unix_nano: SECOND,
        end_time_unix_nano: 2 * SECOND,
        ..Default::default()
    };
    ResourceSpans {
        resource: Some(Resource { attributes: vec![name], ..Default::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..Default::default() }],
        ..Default::default()
    }
}

async fn get(test_edge: &TestEdge, path: &str) -> Answer {
    ask(crate::routes::router(test_edge.edge.clone()), Request::get(path).body(Body::empty()).unwrap()).await
}

async fn with_calls() -> TestEdge {
    let test_edge = edge(Config::default()).await;
    let resource_spans = vec![
        span("shop", 2, 1, CLIENT),
        span("cart", 3, 2, SERVER),
        span("cart", 4, 3, CLIENT),
        span("db", 5, 4, SERVER),
    ];
    let body = Body::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
    let request = Request::post("/v1/traces").header("content-type", "application/x-protobuf").body(body).unwrap();
    let answer = ask(crate::otlp::http::router(test_edge.edge.clone()), request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    test_edge
}

#[tokio::test]
async fn nodes_and_edges_have_rates_and_durations() {
    let answer = get(&with_calls().await, "/api/service-graph?start=0&end=10&limit=10").await;
    assert_eq!((answer.status, answer.content_type()), (200, "application/json"));
    let graph: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(graph["metrics"]["inspectedSpans"], "4");
    let seconds = &graph["edges"][0]["clientSeconds"];
    for quantile in ["average", "p50", "p95", "p99"] {
        assert!((seconds[quantile].as_f64().unwrap() - 1.0).abs() < 0.011, "{seconds}");
    }
    let calls = r#""requests":1.0,"requestsPerSecond":0.1,"failed":0.0,"failedPerSecond":0.0"#;
    assert!(
        answer
            .text()
            .contains(&format!(r#"{{"client":"cart","server":"db","connectionType":"",{calls},"serverSeconds":{{"#))
    );
    assert!(answer.text().contains(&format!(r#"{{"name":"cart","type":"service",{calls},"serverSeconds":{{"#)));
    assert_eq!((graph["edges"].as_array().unwrap().len(), graph["nodes"].as_array().unwrap().len()), (2, 3));
    assert_eq!((&graph["status"], graph.get("message")), (&"COMPLETE".into(), None));
}

#[tokio::test]
async fn a_filter_leaves_the_calls_of_which_one_end_matches() {
    let query = "q=%7B%20resource.service.name%20%3D%20%22db%22%20%7D";
    let answer = get(&with_calls().await, &format!("/api/service-graph?start=0&end=10&{query}")).await;
    let graph: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let names: Vec<_> = graph["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cart", "db"]);
}

#[tokio::test]
async fn what_goes_beyond_the_limit_is_said() {
    let answer = get(&with_calls().await, "/api/service-graph?start=0&end=10&limit=1").await;
    let graph: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((graph["edges"].as_array().unwrap().len(), graph["nodes"].as_array().unwrap().len()), (1, 2));
    assert_eq!(graph["status"], "PARTIAL");
    assert_eq!(graph["message"], "1 edges of the fewest requests are left out: ask for a larger limit or less");
}

#[tokio::test]
async fn an_empty_store_has_an_empty_graph() {
    let answer = get(&edge(Config::default()).await, "/api/service-graph?start=100&end=160").await;
    assert_eq!(
        (answer.status, answer.text()),
        (
            200,
            r#"{"startTimeUnixNano":"100000000000","endTimeUnixNano":"160000000000","nodes":[],"edges":[],"metrics":{},"status":"COMPLETE"}"#
        )
    );
}

#[tokio::test]
async fn wrong_parameters_are_refused_and_named() {
    let test_edge = edge(Config::default()).await;
    for (parameters, text) in [
        ("start=20&end=10", "http parameter start must be before end. received start=20 end=10"),
        ("start=20&end=20", "http parameter start must be before end. received start=20 end=20"),
        ("start=1&end=604802", "range specified by start and end exceeds 168h0m0s. received start=1 end=604802"),
        ("start=20", "error parsing date range: only one of start and end provided: must provide both or neither"),
        (
            "start=x&end=1",
            "error parsing date range: could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        ("limit=0", "invalid limit: 0 edges were asked for, 1 to 10000 can be"),
        ("limit=10001", "invalid limit: 10001 edges were asked for, 1 to 10000 can be"),
        ("limit=x", "invalid limit: strconv.ParseUint: parsing \"x\": invalid syntax"),
        (
            "q=%7B%7D|rate()",
            "invalid q: a service graph is made of spans, and q is a metrics query; leave out its last stage",
        ),
    ] {
        let answer = get(&test_edge, &format!("/api/service-graph?{parameters}")).await;
        assert_eq!((answer.status, answer.text()), (400, text), "{parameters}");
    }
    let answer = get(&test_edge, "/api/service-graph?q=%7Bnope%7D").await;
    assert!(
        answer.status == 400 && answer.text().starts_with("invalid TraceQL query: parse error"),
        "{}",
        answer.text()
    );
}
