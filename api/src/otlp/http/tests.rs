use axum::body::Body;
use axum::http::Request;

use super::*;
use crate::Config;
use crate::otlp::ACCEPTED;
use crate::testing::{Answer, ask, edge};

const SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"000000000000000000000000feed0001","spanId":"00000000feed0001","name":"x"}]}]}]}"#;

async fn send_with(config: Config, request: axum::http::request::Builder, body: impl Into<Body>) -> Answer {
    let test_edge = edge(config).await;
    ask(router(test_edge.edge.clone()), request.body(body.into()).unwrap()).await
}

async fn post(headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = Request::builder().method("POST").uri("/v1/traces");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send_with(Config::default(), request, body).await
}

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test]
async fn both_forms_are_accepted_and_answered_in_kind() {
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let answer = post(&[("content-type", content_type)], SPAN).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"partialSuccess":{}}"#), "{content_type}");
        assert_eq!(answer.content_type(), "application/json");
    }
    let message = json::to_protobuf(SPAN.as_bytes()).unwrap();
    let answer = post(&[PROTOBUF], message.clone()).await;
    assert_eq!((answer.status, answer.body.as_ref()), (200, ACCEPTED));
    assert_eq!(answer.content_type(), "application/x-protobuf");
    let packed = zstd::encode_all(message.as_ref(), 1).unwrap();
    assert_eq!(post(&[PROTOBUF, ("content-encoding", "zstd")], packed).await.status, 200);
}

#[tokio::test]
async fn wrong_bodies_are_refused_in_kind() {
    for (headers, body) in [
        (vec![JSON], r#"{"resourceSpans":"many"}"#),
        (vec![JSON], "{"),
        (vec![JSON, ("content-encoding", "br")], "{}"),
        (vec![JSON, ("content-encoding", "gzip")], "{}"),
    ] {
        let answer = post(&headers, body).await;
        assert_eq!((answer.status, answer.content_type()), (400, "application/json"), "{body}");
        assert!(answer.text().starts_with(r#"{"code":3,"message":""#), "{}", answer.text());
    }
    let answer = post(&[PROTOBUF], r#"{"resourceSpans":[]}"#).await;
    assert_eq!((answer.status, answer.content_type()), (400, "application/x-protobuf"));
    assert_eq!(answer.body[..2], [0x08, 0x03]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_packed_or_not() {
    let limit = OtlpHttpConfig { max_request_body_size: 1000, ..OtlpHttpConfig::default() };
    let config = || Config { otlp_http: Some(limit.clone()), ..Config::default() };
    let request = || Request::builder().method("POST").uri("/v1/traces").header(JSON.0, JSON.1);
    let large = " ".repeat(1001);
    let packed = zstd::encode_all(large.as_bytes(), 1).unwrap();
    let too_large = r#"{"code":3,"message":"http: request body too large"}"#;
    let answer = send_with(config(), request(), large).await;
    assert_eq!((answer.status, answer.text()), (400, too_large));
    let answer = send_with(config(), request().header("content-encoding", "zstd"), packed).await;
    assert_eq!((answer.status, answer.text()), (400, too_large));
    assert_eq!(send_with(config(), request(), format!("{{}}{}", " ".repeat(998))).await.status, 200);
}

#[tokio::test]
async fn everything_else_is_answered_as_tempo_does() {
    let send = |method: &'static str, path: &'static str, content_type: &'static str| async move {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let answer = send_with(Config::default(), request, Body::empty()).await;
        assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
        (answer.status, answer.text().to_owned())
    };
    let unsupported = "415 unsupported media type, supported: [application/json, application/x-protobuf]";
    for content_type in ["text/plain", "application/protobuf", "application/octet-stream", ""] {
        assert_eq!(send("POST", "/v1/traces", content_type).await, (415, unsupported.to_owned()), "{content_type}");
    }
    let not_allowed = "405 method not allowed, supported: [POST]";
    assert_eq!(send("GET", "/v1/traces", "application/json").await, (405, not_allowed.to_owned()));
    for path in ["/", "/v1/trace", "/v1/traces/", "/v1/metrics"] {
        assert_eq!(send("POST", path, "application/json").await, (404, "404 page not found\n".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn without_a_tenant_exporters_are_told_not_to_retry() {
    for empty in [&[][..], &[("x-scope-orgid", "")]] {
        let config = Config { multitenancy_enabled: true, ..Config::default() };
        let mut request = Request::builder().method("POST").uri("/v1/traces").header(JSON.0, JSON.1);
        for (name, value) in empty {
            request = request.header(*name, *value);
        }
        let answer = send_with(config, request, SPAN).await;
        let text = r#"{"code":3,"message":"no org id: set the header x-scope-orgid"}"#;
        assert_eq!((answer.status, answer.text()), (400, text));
    }
}
