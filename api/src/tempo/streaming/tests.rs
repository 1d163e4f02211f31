use bytes::Buf;

use super::*;
use crate::tempo::proto::{
    QueryInstantResponse, QueryRangeResponse, SearchResponse, SearchTagValuesV2Response, SearchTagsV2Response,
};
use crate::testing::{Answer, TestEdge, ask, edge, frame, grpc_request};
use crate::{Config, routes};

/// An edge with one live span of 1.7 billion seconds after 1970.
async fn edge_with_a_span(config: Config) -> TestEdge {
    let test_edge = edge(config).await;
    let span = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeSpans":[{"spans":[{"traceId":"00000000000000000abc123456789def","spanId":"00000000000000aa","name":"buy",
        "attributes":[{"key":"fruit","value":{"stringValue":"pear"}}],
        "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000"}]}]}]}"#;
    let push = Request::builder()
        .method("POST")
        .uri("/v1/traces")
        .header("content-type", "application/json")
        .header("x-scope-orgid", "a");
    let pushed = ask(crate::otlp::http::router(test_edge.edge.clone()), push.body(span.into()).unwrap()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    test_edge
}

async fn call(test_edge: &TestEdge, path: &str, headers: &[(&str, &str)], message: impl Message) -> Answer {
    let request = grpc_request(path, headers, frame(false, &message.encode_to_vec()));
    ask(routes::router(test_edge.edge.clone()), request).await
}

/// The only message of an answer that worked.
fn only<M: Message + Default>(answer: &Answer) -> M {
    assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), ("0", ""));
    let mut body = answer.body.clone();
    assert_eq!(body.get_u8(), 0, "not compressed");
    assert_eq!(body.get_u32() as usize, body.remaining(), "one message");
    M::decode(body).unwrap()
}

fn searched(query: &str) -> SearchRequest {
    SearchRequest { query: query.to_owned(), start: 1_699_999_999, end: 1_700_000_001, ..SearchRequest::default() }
}

#[tokio::test]
async fn a_quick_search_is_one_whole_message() {
    let test_edge = edge_with_a_span(Config::default()).await;
    let found: SearchResponse = only(&call(&test_edge, SEARCH, &[], searched("{ name = `buy` }")).await);
    assert_eq!(found.traces.iter().map(|trace| trace.trace_id.as_str()).collect::<Vec<_>>(), ["abc123456789def"]);
    assert_eq!((found.metrics.completed_jobs, found.metrics.total_jobs), (1, 1));
    let nothing: SearchResponse = only(&call(&test_edge, SEARCH, &[], searched("{ name = `sell` }")).await);
    assert_eq!(nothing.traces, []);
    let by_tag = SearchRequest { tags: [("fruit".to_owned(), "pear".to_owned())].into(), ..searched("") };
    let found: SearchResponse = only(&call(&test_edge, SEARCH, &[], by_tag).await);
    assert_eq!((found.traces.len(), found.metrics.inspected_traces), (1, 1));
}

#[tokio::test]
async fn tags_and_values_are_listed() {
    let test_edge = edge_with_a_span(Config::default()).await;
    let range = SearchTagsRequest { start: 1_699_999_999, end: 1_700_000_001, ..SearchTagsRequest::default() };
    let asked = SearchTagsRequest { scope: "span".to_owned(), ..range };
    let names: SearchTagsV2Response = only(&call(&test_edge, SEARCH_TAGS_V2, &[], asked).await);
    assert_eq!((names.scopes[0].name.as_str(), names.scopes[0].tags.as_slice()), ("span", &["fruit".to_owned()][..]));
    let asked = SearchTagValuesRequest {
        tag_name: "span.fruit".to_owned(),
        start: 1_699_999_999,
        end: 1_700_000_001,
        ..SearchTagValuesRequest::default()
    };
    let values: SearchTagValuesV2Response = only(&call(&test_edge, SEARCH_TAG_VALUES_V2, &[], asked).await);
    assert_eq!((values.tag_values[0].kind.as_str(), values.tag_values[0].value.as_str()), ("string", "pear"));
}

#[tokio::test]
async fn errors_are_a_status_in_the_words_of_the_http_api() {
    let multitenant = Config { multitenancy_enabled: true, ..Config::default() };
    let full = QueryConfig { max_concurrent: 0, ..QueryConfig::default() };
    let full = Config { query: full, ..Config::default() };
    for (config, message, code, text) in [
        (
            Config::default(),
            searched("{ foo }"),
            "3",
            "invalid TraceQL query: parse error at line 1, col 3: unknown identifier: foo",
        ),
        (
            Config::default(),
            SearchRequest { end: 5, ..searched("{ }") },
            "3",
            "http parameter start must be before end. received start=1699999999 end=5",
        ),
        (
            Config::default(),
            SearchRequest { limit: 300_000, ..searched("{ }") },
            "3",
            "limit 300000 exceeds max limit 262144",
        ),
        (
            Config::default(),
            SearchRequest { tags: [("fruit".to_owned(), "pear".to_owned())].into(), ..searched("{ }") },
            "3",
            "invalid request: can't specify tags and q in the same query",
        ),
        (multitenant, searched("{ }"), "2", "no org id"),
        (full, searched("{ }"), "8", "too many outstanding requests"),
    ] {
        let answer = call(&edge(config).await, SEARCH, &[], message).await;
        let told = percent_encoding::percent_decode_str(answer.header("grpc-message")).decode_utf8_lossy();
        assert!(answer.header("grpc-status") == code && told.starts_with(text), "{text}: {told}");
        assert!(answer.body.is_empty(), "an error is no message");
    }
}

#[tokio::test]
async fn values_are_of_a_tag_that_is_named() {
    let test_edge = edge(Config::default()).await;
    for path in [SEARCH_TAG_VALUES, SEARCH_TAG_VALUES_V2] {
        let answer = call(&test_edge, path, &[], SearchTagValuesRequest::default()).await;
        let told = percent_encoding::percent_decode_str(answer.header("grpc-message")).decode_utf8_lossy();
        assert_eq!((answer.header("grpc-status"), &*told), ("3", "please provide a non-empty tagName"), "{path}");
    }
}

#[tokio::test]
async fn tenants_see_what_is_theirs() {
    let test_edge = edge_with_a_span(Config { multitenancy_enabled: true, ..Config::default() }).await;
    for (tenant, traces) in [("a", 1), ("b", 0)] {
        let answer = call(&test_edge, SEARCH, &[("x-scope-orgid", tenant)], searched("{ }")).await;
        assert_eq!(only::<SearchResponse>(&answer).traces.len(), traces, "{tenant}");
    }
}

#[tokio::test]
async fn calls_are_counted_by_method_and_outcome() {
    let test_edge = edge(Config::default()).await;
    call(&test_edge, SEARCH, &[], searched("{ }")).await;
    call(&test_edge, SEARCH, &[], searched("{ foo }")).await;
    let request = Request::builder().uri("/metrics").body(axum::body::Body::empty()).unwrap();
    let scraped = ask(routes::router(test_edge.edge.clone()), request).await;
    for outcome in ["success", "error"] {
        let line = format!(
            r#"tempo_request_duration_seconds_count{{method="gRPC",route="{SEARCH}",status_code="{outcome}",ws="false"}} 1"#
        );
        assert!(scraped.text().contains(&line), "{line} is not in\n{}", scraped.text());
    }
}

#[tokio::test]
async fn what_is_certain_is_told_once_and_a_slow_reader_holds_up_nobody() {
    let trace = |number: u8| querier::answer::FoundTrace {
        trace_id: model::TraceId([number; 16]),
        root_service: None,
        root_name: None,
        start_nanos: u64::from(number),
        duration_nanos: 0,
        services: Default::default(),
        span_sets: Vec::new(),
    };
    let (sender, certain) = watch::channel(SearchAnswer::default());
    let (messages, mut told) = mpsc::channel(1);
    let telling = tokio::spawn(async move { tell(certain, AnswerForm::default(), &messages).await });
    let mut ids = Vec::new();
    // more news than messages fit into the channel: they come together in a later one
    for number in (1..=9).rev() {
        sender.send_modify(|known| known.traces.push(trace(number)));
        if number % 3 == 1 {
            let message = SearchResponse::decode(told.recv().await.unwrap()).unwrap();
            ids.extend(message.traces.into_iter().map(|trace| trace.start_time_unix_nano));
        }
    }
    drop(sender);
    while let Some(message) = told.recv().await {
        let message = SearchResponse::decode(message).unwrap();
        ids.extend(message.traces.into_iter().map(|trace| trace.start_time_unix_nano));
    }
    assert_eq!(ids, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    telling.await.unwrap();
}

#[tokio::test]
async fn metrics_are_measured() {
    let test_edge = edge_with_a_span(Config::default()).await;
    const SECOND: u64 = 1_000_000_000;
    let asked = QueryRangeRequest {
        query: "{ } | count_over_time() by (span.fruit)".to_owned(),
        start: 1_699_999_990 * SECOND,
        end: 1_700_000_010 * SECOND,
        step: 10 * SECOND,
        ..QueryRangeRequest::default()
    };
    let range: QueryRangeResponse = only(&call(&test_edge, METRICS_QUERY_RANGE, &[], asked.clone()).await);
    let samples = range.series[0].samples.iter().map(|sample| (sample.timestamp_ms / 1000, sample.value));
    assert_eq!(samples.collect::<Vec<_>>(), [(1_699_999_990, 0.0), (1_700_000_000, 1.0), (1_700_000_010, 0.0)]);
    assert_eq!(range.metrics.total_jobs, 1);

    let instant = |query: &str| QueryInstantRequest { query: query.to_owned(), start: asked.start, end: asked.end };
    let answer = call(&test_edge, METRICS_QUERY_INSTANT, &[], instant("{ } | rate()")).await;
    assert_eq!(only::<QueryInstantResponse>(&answer).series[0].value, 0.05);
    let refused = call(&test_edge, METRICS_QUERY_INSTANT, &[], instant("{ }")).await;
    assert_eq!((refused.header("grpc-status"), refused.header("grpc-message")), ("2", "not%20a%20metrics%20query"));
}
