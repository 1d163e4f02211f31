//! A disk without room for another request: senders are told to come again, questions are answered, and all is well as
//! soon as there is room.

use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::otlp::refusal::RETRY_INFO;
use crate::otlp::{grpc, http, json};
use crate::testing::{Answer, TestEdge, ask, edge, frame, grpc_request};
use crate::{Config, routes};

fn one_span(trace: u32) -> String {
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{trace:032x}","spanId":"{trace:016x}"}}]}}]}}]}}"#
    )
}

async fn send_http(test: &TestEdge, trace: u32) -> Answer {
    let request = Request::builder().method("POST").uri("/v1/traces").header("content-type", "application/json");
    ask(http::router(test.edge.clone()), request.body(Body::from(one_span(trace))).unwrap()).await
}

async fn send_grpc(test: &TestEdge, trace: u32) -> Answer {
    let message = json::to_protobuf(one_span(trace).as_bytes()).unwrap();
    ask(grpc::router(test.edge.clone()), grpc_request(grpc::EXPORT, &[], frame(false, &message))).await
}

async fn is_found(test: &TestEdge, trace: u32) -> bool {
    let by_id = Request::builder().uri(format!("/api/traces/{trace:032x}")).body(Body::empty()).unwrap();
    let by_id = ask(routes::router(test.edge.clone()), by_id).await.status;
    assert!([200, 404].contains(&by_id), "{by_id}");
    by_id == 200
}

#[tokio::test]
async fn spans_are_refused_for_now_and_questions_are_answered() {
    let test = edge(Config::default()).await;
    assert_eq!(send_http(&test, 1).await.status, 200);
    for (free_bytes, traces) in [(0, [2, 3]), (30, [4, 5])] {
        test.disk.set_free_bytes(Some(free_bytes));
        let answer = send_http(&test, traces[0]).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
        assert!(answer.text().starts_with(r#"{"code":14,"message":"the write-ahead log"#), "{}", answer.text());
        assert!(answer.text().ends_with(&format!(r#"[{{"@type":"{RETRY_INFO}","retryDelay":"1s"}}]}}"#)));

        let answer = send_grpc(&test, traces[1]).await;
        assert_eq!(answer.header("grpc-status"), "14");
        let details = STANDARD_NO_PAD.decode(answer.header("grpc-status-details-bin")).unwrap();
        assert!(details.windows(RETRY_INFO.len()).any(|window| window == RETRY_INFO.as_bytes()));

        assert!(is_found(&test, 1).await && !is_found(&test, traces[0]).await && !is_found(&test, traces[1]).await);

        test.disk.set_free_bytes(None);
        assert_eq!(send_http(&test, traces[0]).await.status, 200);
        assert_eq!(send_grpc(&test, traces[1]).await.header("grpc-status"), "0");
        assert!(is_found(&test, traces[0]).await && is_found(&test, traces[1]).await);
    }
}
