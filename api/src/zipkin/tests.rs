use std::io::Write;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::{TenantId, TraceId};

use super::*;
use crate::config::ZipkinConfig;
use crate::testing::{Answer, TestEdge, ask, local_config};
use crate::{Config, testing};

const V1_THRIFT: &[u8] = include_bytes!("../../../receivers/fixtures/zipkin_v1.thrift");
const V2_PROTOBUF: &[u8] = include_bytes!("../../../receivers/fixtures/zipkin_v2.pb");
const JSON: &[u8] = br#"[{"traceId":"0af7651916cd43dd8448eb211c80319c","id":"1","timestamp":1700000000000000}]"#;
const TRACE_ID: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

async fn zipkin_edge() -> TestEdge {
    let endpoint = local_config().http_listen;
    let zipkin = Some(ZipkinConfig { endpoint, max_request_body_size: 4096, parse_string_tags: false, tls: None });
    testing::edge(Config { zipkin, ..local_config() }).await
}

async fn post(edge: &TestEdge, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(router(edge.edge.clone()), request.body(Body::from(body.to_vec())).unwrap()).await
}

async fn names(edge: &TestEdge) -> Vec<String> {
    let id = TraceId(TRACE_ID.to_be_bytes());
    let answer = edge.edge.querier.trace_by_id(TenantId::single(), id, None).await.unwrap();
    let scopes = answer.resource_spans.iter().flat_map(|one| &one.scope_spans);
    scopes.flat_map(|scope| scope.spans.iter().map(|span| span.name.clone())).collect()
}

#[tokio::test]
async fn spans_in_every_form_are_stored_before_they_are_acknowledged() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(JSON).unwrap();
    let packed = packed.finish().unwrap();
    for (path, headers, body, transport) in [
        ("/api/v2/spans", &[("content-type", "application/json")][..], JSON, "http_v2_json"),
        ("/", &[], JSON, "http_v2_json"),
        ("/api/v2/spans", &[("content-encoding", "gzip")], &*packed, "http_v2_json"),
        ("/api/v2/spans", &[("content-type", "application/x-protobuf")], V2_PROTOBUF, "http_v2_proto"),
        ("/api/v1/spans", &[("content-type", "application/json")], JSON, "http_v1_json"),
        ("/zipkin/api/v1/spans", &[("content-type", "application/x-thrift")], V1_THRIFT, "http_v1_thrift"),
    ] {
        let edge = zipkin_edge().await;
        let answer = post(&edge, path, headers, body).await;
        assert_eq!((answer.status, answer.text()), (202, ""), "{transport}");
        assert_eq!(names(&edge).await.len(), 1, "{transport}");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &edge.edge.registry).unwrap();
        let labels = format!(r#"receiver="zipkin/zipkin_receiver",transport="{transport}""#);
        assert!(text.contains(&format!("tempo_receiver_accepted_spans{{{labels}}} 1")), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_why_and_what_can_be_mended_is() {
    let edge = zipkin_edge().await;
    let answer = post(&edge, "/api/v2/spans", &[], br#"[{"traceId":"x","id":"1"}]"#).await;
    assert_eq!(
        (answer.status, answer.text()),
        (400, "spans[0].traceId: \"x\" is no id: an id has 1 to 32 hex digits\n")
    );
    let zeros = post(&edge, "/api/v2/spans", &[], br#"[{"traceId":"1","id":"0"}]"#).await;
    assert_eq!(zeros.status, 400, "{}", zeros.text());
    assert!(zeros.text().contains("span ids must be"), "{}", zeros.text());
    assert_eq!(post(&edge, "/api/v2/spans", &[], &[b' '; 5000]).await.status, 400);
    let damaged =
        [&br#"[{"traceId":"0af7651916cd43dd8448eb211c80319c","id":"1","timestamp":1,"name":"a"#[..], b"\xff\"}]"]
            .concat();
    assert_eq!(post(&edge, "/api/v2/spans", &[], &damaged).await.status, 202);
    assert_eq!(names(&edge).await, ["a\u{fffd}"]);
}

#[tokio::test]
async fn a_process_that_takes_nothing_says_when_to_come_back_and_a_get_is_none() {
    let edge = zipkin_edge().await;
    edge.edge.ingester.as_ref().unwrap().refuse();
    let answer = post(&edge, "/api/v2/spans", &[], JSON).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let get = Request::builder().uri("/api/v2/spans").body(Body::empty()).unwrap();
    assert_eq!(ask(router(edge.edge.clone()), get).await.status, 405);
}
