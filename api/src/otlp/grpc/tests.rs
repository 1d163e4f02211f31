use tonic::Code;

use super::*;
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

#[tokio::test]
async fn spans_are_accepted_plain_and_packed() {
    let zstd = zstd::encode_all(one_span().as_ref(), 1).unwrap();
    for (headers, body) in [
        (vec![], frame(false, &one_span())),
        (vec![], frame(false, &[])),
        (vec![("grpc-encoding", "zstd")], frame(true, &zstd)),
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
        (small, vec![("grpc-encoding", "zstd")], frame(true, &bomb), Code::ResourceExhausted),
        (multitenant.clone(), vec![], frame(false, &one_span()), Code::Unavailable),
        (multitenant, vec![("x-scope-orgid", "a|b")], frame(false, &one_span()), Code::InvalidArgument),
    ] {
        let answer = call(config, EXPORT, &headers, body).await;
        assert_eq!(answer.header("grpc-status"), (code as i32).to_string(), "{}", answer.header("grpc-message"));
    }
}
