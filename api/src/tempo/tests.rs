use axum::body::Body;
use axum::http::Request;

use crate::routes::router;
use crate::testing::{Answer, TestEdge, ask, edge};
use crate::{Config, QueryConfig};

async fn send(config: Config, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let test_edge = edge(config).await;
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(router(test_edge.edge.clone()), request.body(Body::empty()).unwrap()).await
}

async fn get(path: &str) -> Answer {
    send(Config::default(), "GET", path, &[]).await
}

#[tokio::test]
async fn an_empty_store_answers_with_empty_lists() {
    for (path, body) in [
        ("/api/search?q=%7B%7D", r#"{"traces":[],"#),
        ("/api/search", r#"{"traces":[],"#),
        ("/api/search/tags?scope=span&limit=x", r#"{"tagNames":[],"#),
        ("/api/v2/search/tags?scope=span", r#"{"scopes":[],"#),
        ("/api/search/tag/fruit/values", r#"{"tagValues":[],"#),
        ("/api/v2/search/tag/span.fruit/values", r#"{"tagValues":[],"#),
        ("/api/v2/search/tag/span.key%2Fslash/values", r#"{"tagValues":[],"#),
        ("/api/v2/search/tag/span.key/slash/values", r#"{"tagValues":[],"#),
        ("/api/v2/traces/1", r#"{"trace":{},"metrics":{}}"#),
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.content_type()), (200, "application/json"), "{path}: {}", answer.text());
        assert!(answer.text().starts_with(body), "{path}: {}", answer.text());
        assert_eq!(answer.header("vary"), "Accept-Encoding", "{path}");
    }
}

#[tokio::test]
async fn an_unknown_trace_is_empty_in_every_version_and_form() {
    let answer = get("/api/traces/1").await;
    assert_eq!((answer.status, answer.content_type(), answer.text()), (404, "", ""));
    let llm = send(Config::default(), "GET", "/api/v2/traces/1", &[("accept", "application/vnd.grafana.llm")]).await;
    assert_eq!((llm.status, llm.content_type(), llm.text()), (200, "application/vnd.grafana.llm+json", "{}"));
    let protobuf = [("accept", "application/protobuf")];
    let answer = send(Config::default(), "GET", "/api/v2/traces/1", &protobuf).await;
    assert_eq!((answer.status, answer.content_type()), (200, "application/protobuf"));
    assert_eq!(answer.body.as_ref(), [0x0a, 0x00, 0x12, 0x00]);
}

#[tokio::test]
async fn wrong_requests_are_refused_in_plain_text() {
    for (path, text) in [
        ("/api/traces/xyz", "trace IDs can only contain hex characters: invalid character 'x' at position 1"),
        ("/api/v2/traces/1?mode=sideways", "invalid value for mode sideways"),
        ("/api/v2/traces/1?start=20&end=10", "http parameter start must be before end. received start=20 end=10"),
        ("/api/search?limit=0", "invalid limit: must be a positive number"),
        (
            "/api/search?q=%7B+foo+%3D+1+%7D",
            "invalid TraceQL query: parse error at line 1, col 3: unknown identifier: foo; write .foo, span.foo or resource.foo for an attribute, \"foo\" for a text",
        ),
        ("/api/search/tags?scope=bogus", "invalid scope: bogus"),
        (
            "/api/v2/search/tag/zzz/values",
            "please provide a valid tagName: failed to parse identifier zzz: parse error at line 1, col 2: unknown identifier: zzz",
        ),
        ("/api/metrics/query_range?q=%7B%7D", "not a metrics query"),
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.text()), (400, text), "{path}");
        assert_eq!(answer.content_type(), "text/plain; charset=utf-8", "{path}");
    }
}

#[tokio::test]
async fn paths_that_do_not_exist_are_404() {
    for path in [
        "/nothing",
        "/api",
        "/api/nothing",
        "/api/search/",
        "/api/traces/",
        "/api/traces/a1%2Fb2",
        "/api/search/tag/fruit",
        "/api/mcp",
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.text()), (404, "404 page not found\n"), "{path}");
        assert_eq!(answer.content_type(), "text/plain; charset=utf-8", "{path}");
    }
}

#[tokio::test]
async fn queries_take_any_method_and_status_pages_only_get() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert_eq!(send(Config::default(), method, "/api/search", &[]).await.status, 200, "{method}");
        assert_eq!(send(Config::default(), method, "/ready", &[]).await.status, 200, "{method}");
    }
    assert_eq!(send(Config::default(), "POST", "/api/status/buildinfo", &[]).await.status, 405);
}

#[tokio::test]
async fn probes_answer() {
    for (path, content_type, text) in [
        ("/ready", "text/plain; charset=utf-8", "ready\n"),
        ("/api/echo", "text/plain", "echo\n"),
        ("/api/status/buildinfo", "application/json", r#"{"version":"3.0.3","revision":""#),
        ("/status/version", "text/plain; charset=utf-8", "GET /status/version\nmosso, version "),
        ("/status/services", "text/plain; charset=utf-8", "GET /status/services\n"),
        ("/status/config", "text/plain; charset=utf-8", "GET /status/config\n---\nsome: config\n"),
        ("/status/endpoints", "text/plain; charset=utf-8", "GET /status/endpoints\n/api/traces/{id}\n"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "# HELP tempo_"),
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.content_type()), (200, content_type), "{path}");
        assert!(answer.text().starts_with(text), "{path}: {}", answer.text());
    }
    let answer = send(Config::default(), "POST", "/flush", &[]).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    let open_metrics = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let answer = send(Config::default(), "GET", "/metrics", &open_metrics).await;
    assert!(answer.content_type().starts_with("application/openmetrics-text") && answer.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn tenants_are_asked_for_only_with_multitenancy() {
    let config = || Config { multitenancy_enabled: true, ..Config::default() };
    let answer = send(config(), "GET", "/api/search", &[]).await;
    assert_eq!((answer.status, answer.text()), (401, "no org id\n"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(send(config(), "GET", "/api/search", &[("x-scope-orgid", "a|b")]).await.status, 200);
    assert_eq!(send(config(), "GET", "/api/search", &[("x-scope-orgid", "a")]).await.status, 200);
    assert_eq!(send(config(), "GET", "/api/echo", &[("x-scope-orgid", "a/b")]).await.status, 200);
}

#[tokio::test]
async fn the_prefix_moves_the_api_and_nothing_else() {
    let config = || Config { http_api_prefix: "/tempo/".parse().unwrap(), ..Config::default() };
    for (path, status) in
        [("/tempo/api/search", 200), ("/tempo/api/search/tag/a/values", 200), ("/tempo/api/echo", 200), ("/ready", 200)]
    {
        assert_eq!(send(config(), "GET", path, &[]).await.status, status, "{path}");
    }
    assert_eq!(send(config(), "GET", "/api/search", &[]).await.status, 404);
}

#[tokio::test]
async fn a_base_url_that_ends_in_a_slash_leads_to_the_clean_path() {
    for (method, status) in [("GET", 301), ("HEAD", 301), ("POST", 308)] {
        let answer = send(Config::default(), method, "//api/search?q=%7B%7D&limit=5", &[]).await;
        assert_eq!((answer.status, answer.header("location")), (status, "/api/search?q=%7B%7D&limit=5"), "{method}");
    }
    assert_eq!(send(Config::default(), "GET", "//ready", &[]).await.header("location"), "/ready");
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_told_what_is() {
    let answer = send(Config::default(), "POST", "/api/status/buildinfo", &[]).await;
    assert_eq!((answer.status, answer.text()), (405, "405 method POST not allowed here, use GET\n"));
    assert!(answer.header("allow").contains("GET"));
}

#[tokio::test]
async fn a_full_house_turns_queries_away() {
    let config = Config { query: QueryConfig { max_concurrent: 0, ..QueryConfig::default() }, ..Config::default() };
    let answer = send(config, "GET", "/api/search", &[]).await;
    assert_eq!((answer.status, answer.text()), (429, "too many outstanding requests"));
}

#[tokio::test]
async fn what_is_pushed_is_read_back() {
    let test_edge = edge(Config::default()).await;
    let span = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000abc123456789def","spanId":"00000000000000aa",
        "name":"a<b","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000"}]}]}]}"#;
    let push = Request::builder().method("POST").uri("/v1/traces").header("content-type", "application/json");
    let answer = ask(crate::otlp::http::router(test_edge.edge.clone()), push.body(Body::from(span)).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let read = async |path: &str| {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let answer = ask(router(test_edge.edge.clone()), request).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text().to_owned()
    };
    let resource_spans = concat!(
        r#"[{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"traceId":"AAAAAAAAAAAKvBI0Vnid7w==","#,
        r#""spanId":"AAAAAAAAAKo=","name":"a\u003cb","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1700000000000000000","#,
        r#""endTimeUnixNano":"1700000001000000000","status":{}}]}]}]"#
    );
    assert_eq!(read("/api/traces/abc123456789def").await, format!(r#"{{"batches":{resource_spans}}}"#));
    let trace = format!(r#"{{"trace":{{"resourceSpans":{resource_spans}}},"metrics":{{"inspectedBytes":""#);
    let answer = read("/api/v2/traces/ABC123456789def").await;
    assert!(answer.starts_with(&trace), "{answer}");
    let found = read("/api/search?q=%7B%7D&start=1699999999&end=1700000001").await;
    assert!(found.starts_with(r#"{"traces":[{"traceID":"abc123456789def","#), "{found}");
    assert!(found.contains(r#""spanSet":{"spans":[{"spanID":"00000000000000aa","#), "{found}");
}

/// Sends spans over OTLP; each is a trace id and what stands in its message beside ids, name and times.
async fn push(test_edge: &TestEdge, spans: &[(&str, u64, &str)]) {
    let span = |(trace, start_nanos, rest): &(&str, u64, &str)| {
        format!(
            r#"{{"traceId":"{trace:0>32}","spanId":"00000000000000a1","name":"buy","startTimeUnixNano":"{start_nanos}","endTimeUnixNano":"{start_nanos}"{rest}}}"#
        )
    };
    let spans = spans.iter().map(span).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let request = Request::builder().method("POST").uri("/v1/traces").header("content-type", "application/json");
    let pushed = ask(crate::otlp::http::router(test_edge.edge.clone()), request.body(body.into()).unwrap()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
}

async fn get_from(test_edge: &TestEdge, path: &str) -> Answer {
    ask(router(test_edge.edge.clone()), Request::builder().uri(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_client_pages_through_all_results() {
    let test_edge = edge(Config::default()).await;
    let second = 1_000_000_000;
    push(&test_edge, &[("a1", 1_700_000_001 * second, ""), ("b2", 1_700_000_002 * second, "")]).await;
    push(&test_edge, &[("c3", 1_700_000_003 * second, "")]).await;
    let (mut path, mut seen) = ("/api/search?q=%7B%7D&start=1700000000&end=1700000010&limit=2".to_owned(), Vec::new());
    for expected in [vec!["c3", "b2"], vec!["a1"]] {
        let answer = get_from(&test_edge, &path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
        let ids = body["traces"].as_array().unwrap().iter().map(|trace| trace["traceID"].as_str().unwrap());
        assert_eq!(ids.collect::<Vec<_>>(), expected);
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["metrics", "traces"], "clients read the body strictly");
        seen.push(answer.header("x-mosso-next-cursor").to_owned());
        path = format!("{path}&cursor={}", seen[0]);
    }
    assert_eq!((seen[0].len(), seen[1].as_str()), (48, ""), "the last page has none");
}

#[tokio::test]
async fn a_trace_that_is_too_large_is_partial_or_refused() {
    let test_edge = edge(Config::default()).await;
    let large = format!(r#","attributes":[{{"key":"k","value":{{"stringValue":"{}"}}}}]"#, "x".repeat(5_100_000));
    push(&test_edge, &[("a1", 1_700_000_001, ""), ("a1", 1_700_000_002, &large)]).await;
    let refused = get_from(&test_edge, "/api/traces/a1").await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().ends_with("trace exceeds max size (max bytes: 5000000)"), "{}", refused.text());
    let partial = get_from(&test_edge, "/api/v2/traces/a1").await;
    assert_eq!(partial.status, 200);
    let message = "Trace exceeds maximum size of 5000000 bytes, a partial trace is returned";
    assert!(partial.text().ends_with(&format!(r#""status":"PARTIAL","message":"{message}"}}"#)), "{}", partial.text());
    assert!(partial.text().contains(r#""name":"buy""#));
}
