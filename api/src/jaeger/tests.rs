use model::{TenantId, TraceId};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{JaegerConfig, OtlpGrpcConfig, OtlpHttpConfig, UdpConfig};
use crate::testing::{Answer, TestEdge, ask, edge, frame, grpc_request, local_config};
use crate::{Config, ReceiverAddresses, Servers};

const BATCH: &[u8] = include_bytes!("../../../receivers/fixtures/batch.thrift");
const COMPACT: &[u8] = include_bytes!("../../../receivers/fixtures/emit_batch.compact");
const BINARY: &[u8] = include_bytes!("../../../receivers/fixtures/emit_batch.binary");
const POST_SPANS_MESSAGE: &[u8] = include_bytes!("../../../receivers/fixtures/post_spans.pb");
const TRACE_ID: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

fn config() -> Config {
    let free_port = local_config().http_listen;
    let packets = UdpConfig::at(free_port.clone());
    let jaeger = JaegerConfig {
        grpc: Some(OtlpGrpcConfig { endpoint: free_port.clone(), ..OtlpGrpcConfig::default() }),
        thrift_http: Some(OtlpHttpConfig {
            endpoint: free_port,
            max_request_body_size: 4096,
            ..OtlpHttpConfig::default()
        }),
        thrift_compact: Some(packets.clone()),
        thrift_binary: Some(packets),
    };
    Config { jaeger, ..local_config() }
}

/// How many spans of the trace can be found.
async fn stored(edge: &TestEdge) -> usize {
    let id = TraceId(TRACE_ID.to_be_bytes());
    let answer = edge.edge.querier.trace_by_id(TenantId::single(), id, None).await.unwrap();
    answer.resource_spans.iter().flat_map(|one| &one.scope_spans).map(|scope| scope.spans.len()).sum()
}

async fn post(edge: &TestEdge, headers: &[(&str, &str)], body: &'static [u8]) -> Answer {
    let mut request = axum::http::Request::builder().method("POST").uri("/api/traces");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(http::router(edge.edge.clone()), request.body(axum::body::Body::from(body)).unwrap()).await
}

fn metrics(edge: &TestEdge) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &edge.edge.registry).unwrap();
    text
}

#[tokio::test]
async fn a_batch_over_http_is_stored_before_it_is_acknowledged() {
    let edge = edge(config()).await;
    let answer = post(&edge, &[("content-type", "application/x-thrift")], BATCH).await;
    assert_eq!((answer.status, answer.text()), (202, ""));
    assert_eq!(stored(&edge).await, 1);
    let counted = r#"tempo_receiver_accepted_spans{receiver="jaeger/jaeger_receiver",transport="collector_http"} 1"#;
    assert!(metrics(&edge).contains(counted), "{}", metrics(&edge));
}

#[tokio::test]
async fn what_cannot_be_read_over_http_is_told_why() {
    let edge = edge(config()).await;
    let thrift = ("content-type", "application/vnd.apache.thrift.binary; charset=utf-8");
    for (headers, body, status, text) in [
        (&[("content-type", "application/json")][..], BATCH, 400, "Unsupported content type: application/json"),
        (&[], BATCH, 400, "no content type"),
        (&[thrift], &BATCH[..40], 400, "ends early"),
        (&[thrift, ("content-encoding", "br")], BATCH, 400, "unsupported Content-Encoding: br"),
        (&[thrift], &[0; 5000], 400, "too large"),
    ] {
        let answer = post(&edge, headers, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(text), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_batch_over_grpc_is_stored_before_it_is_acknowledged() {
    let edge = edge(config()).await;
    let call = |message: &[u8]| {
        ask(grpc::router(edge.edge.clone()), grpc_request(grpc::POST_SPANS, &[], frame(false, message)))
    };
    let answer = call(POST_SPANS_MESSAGE).await;
    assert_eq!((answer.header("grpc-status"), &answer.body), ("0", &frame(false, &[])));
    assert_eq!(stored(&edge).await, 1);
    let damaged = call(&POST_SPANS_MESSAGE[..50]).await;
    assert_eq!(damaged.header("grpc-status"), "3", "{}", damaged.header("grpc-message"));
}

/// A server of its own with both ports for packets.
async fn serve(config: Config) -> (ReceiverAddresses, TestEdge, CancellationToken) {
    let servers = Servers::bind(&config).await.unwrap();
    let (addresses, edge, shutdown) = (servers.addresses().unwrap(), edge(config).await, CancellationToken::new());
    tokio::spawn(servers.serve(edge.edge.clone(), shutdown.clone()));
    (addresses.receivers, edge, shutdown)
}

async fn await_metric(edge: &TestEdge, line: &str) {
    let counted = async {
        while !metrics(edge).lines().any(|found| found == line) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), counted).await;
    assert!(waited.is_ok(), "{line} is not in\n{}", metrics(edge));
}

#[tokio::test]
async fn packets_in_both_encodings_are_stored() {
    let (addresses, edge, shutdown) = serve(config()).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(COMPACT, addresses.jaeger_thrift_compact.unwrap()).await.unwrap();
    client.send_to(BINARY, addresses.jaeger_thrift_binary.unwrap()).await.unwrap();
    for transport in ["udp_thrift_compact", "udp_thrift_binary"] {
        let receiver = format!(r#"receiver="jaeger/jaeger_receiver",transport="{transport}""#);
        await_metric(&edge, &format!("tempo_receiver_accepted_spans{{{receiver}}} 1")).await;
    }
    assert_eq!(stored(&edge).await, 1, "the same span came twice");
    shutdown.cancel();
}

#[tokio::test]
async fn packets_that_cannot_be_taken_are_counted_by_reason() {
    let mut tight = config();
    tight.jaeger.thrift_compact.as_mut().unwrap().max_packet_size = 1_000;
    tight.jaeger.thrift_binary.as_mut().unwrap().max_packet_size = BINARY.len();
    let (addresses, edge, shutdown) = serve(tight).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let compact = addresses.jaeger_thrift_compact.unwrap();
    client.send_to(b"\x82\x81 what is this", compact).await.unwrap();
    client.send_to(&[0; 1_001], compact).await.unwrap();
    let dropped = |transport: &str, reason: &str| {
        let receiver = format!(r#"receiver="jaeger/jaeger_receiver",transport="{transport}""#);
        format!(r#"mosso_receiver_dropped_packets_total{{{receiver},reason="{reason}"}} 1"#)
    };
    await_metric(&edge, &dropped("udp_thrift_compact", "malformed")).await;
    await_metric(&edge, &dropped("udp_thrift_compact", "too_large")).await;
    edge.edge.ingester.as_ref().unwrap().refuse();
    client.send_to(BINARY, addresses.jaeger_thrift_binary.unwrap()).await.unwrap();
    await_metric(&edge, &dropped("udp_thrift_binary", "not_ready")).await;
    shutdown.cancel();
}

#[tokio::test]
async fn packets_belong_to_no_tenant_where_there_are_several() {
    let (addresses, edge, shutdown) = serve(Config { multitenancy_enabled: true, ..config() }).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(COMPACT, addresses.jaeger_thrift_compact.unwrap()).await.unwrap();
    let receiver = r#"receiver="jaeger/jaeger_receiver",transport="udp_thrift_compact""#;
    await_metric(&edge, &format!(r#"mosso_receiver_dropped_packets_total{{{receiver},reason="no_tenant"}} 1"#)).await;
    shutdown.cancel();
}

#[tokio::test]
async fn packets_beyond_the_memory_for_bodies_are_dropped() {
    let (addresses, edge, shutdown) = serve(Config { max_bytes_of_bodies: 0, ..config() }).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(COMPACT, addresses.jaeger_thrift_compact.unwrap()).await.unwrap();
    let receiver = r#"receiver="jaeger/jaeger_receiver",transport="udp_thrift_compact""#;
    await_metric(&edge, &format!(r#"mosso_receiver_dropped_packets_total{{{receiver},reason="queue_full"}} 1"#)).await;
    shutdown.cancel();
}
