use std::io::Write;

use bytes::Bytes;
use tonic::Code;

use super::*;
use crate::otlp::ACCEPTED;
use crate::testing::{Answer, ask, edge, frame, grpc_request};
use crate::{Config, OtlpGrpcConfig};

async fn call(config: Config, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let test_edge = edge(config).await;
    ask(router(test_edge.edge.clone()), grpc_request(path, headers, body)).await
}

fn one_span() -> Bytes {
    let text = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"000000000000000000000000feed0001","spanId":"00000000feed0001"}]}]}]}"#;
    crate::otlp::json::to_protobuf(text).unwrap()
}

/// A framed stream, as Go's exporters write it.
fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut writer = snap::write::FrameEncoder::new(Vec::new());
    writer.write_all(plain).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn spans_are_accepted_plain_and_packed() {
    let packed = |encoding: &str| match encoding {
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&one_span()).unwrap();
            writer.finish().unwrap()
        }
        "zstd" => zstd::encode_all(one_span().as_ref(), 1).unwrap(),
        "snappy" => snappy(&one_span()),
        _ => panic!("{encoding}"),
    };
    // all that a collector's exporter can be set to
    for (headers, body) in [
        (vec![], frame(false, &one_span())),
        (vec![], frame(false, &[])),
        (vec![("grpc-encoding", "gzip")], frame(true, &packed("gzip"))),
        (vec![("grpc-encoding", "zstd")], frame(true, &packed("zstd"))),
        (vec![("grpc-encoding", "snappy")], frame(true, &packed("snappy"))),
        (vec![("grpc-encoding", "snappy")], frame(true, &snap::raw::Encoder::new().compress_vec(&one_span()).unwrap())),
        (vec![("grpc-encoding", "snappy")], frame(false, &one_span())),
    ] {
        let answer = call(Config::default(), EXPORT, &headers, body).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, "0"), "{}", answer.header("grpc-message"));
        assert_eq!(answer.body, frame(false, ACCEPTED));
    }
}

#[tokio::test]
async fn refusals_carry_the_status_that_exporters_act_on() {
    let limit = OtlpGrpcConfig { max_recv_msg_size_mib: 1, ..OtlpGrpcConfig::default() };
    let small = Config { otlp_grpc: Some(limit), ..Config::default() };
    let multitenant = Config { multitenancy_enabled: true, ..Config::default() };
    let bomb = zstd::encode_all(vec![0_u8; 2 << 20].as_slice(), 1).unwrap();
    for (config, headers, body, code) in [
        (Config::default(), vec![], frame(false, b"{not protobuf"), Code::InvalidArgument),
        (small.clone(), vec![], frame(false, &vec![0; 2 << 20]), Code::ResourceExhausted),
        (small.clone(), vec![("grpc-encoding", "zstd")], frame(true, &bomb), Code::ResourceExhausted),
        (small, vec![("grpc-encoding", "snappy")], frame(true, &snappy(&vec![0; 2 << 20])), Code::ResourceExhausted),
        (Config::default(), vec![("grpc-encoding", "snappy")], frame(true, b"not packed"), Code::InvalidArgument),
        (Config::default(), vec![("grpc-encoding", "br")], frame(true, b"?"), Code::Unimplemented),
        (multitenant.clone(), vec![], frame(false, &one_span()), Code::InvalidArgument),
        (multitenant.clone(), vec![("x-scope-orgid", "")], frame(false, &one_span()), Code::InvalidArgument),
        (multitenant, vec![("x-scope-orgid", "a|b")], frame(false, &one_span()), Code::InvalidArgument),
    ] {
        let answer = call(config, EXPORT, &headers, body).await;
        assert_eq!(answer.header("grpc-status"), (code as i32).to_string(), "{}", answer.header("grpc-message"));
    }
}

#[tokio::test]
async fn what_is_no_grpc_is_told_what_this_port_speaks() {
    let test_edge = edge(Config::default()).await;
    let request = Request::builder().method("POST").uri("/v1/traces").body(Body::empty()).unwrap();
    let answer = ask(router(test_edge.edge.clone()), request).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("this port speaks gRPC"), "{}", answer.text());
}
