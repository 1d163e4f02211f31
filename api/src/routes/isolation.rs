//! Nothing of one tenant is seen by another: every route and method is asked by a tenant beside whom another has data, and
//! answers to the byte what it answers where that tenant has never been. A new route fails here until it is walked.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;

use super::{router, table};
use crate::tempo::streaming::testing::question;
use crate::testing::{Answer, TestEdge, ask, edge, frame, grpc_request};
use crate::{Config, QueryConfig};

/// In every name, key and value of the tenant that must not be seen, and nowhere else.
const SECRET: &str = "apricot";
const RANGE: &str = "start=1699999990&end=1700000100";

/// What is asked of a route. `{}` stands for the time range.
const WALK: &[(&str, &[&str])] = &[
    ("/api/traces/{id}", &["/api/traces/1", "/api/traces/aa", "/api/traces/bb"]),
    (
        "/api/v2/traces/{id}",
        &[
            "/api/v2/traces/1",
            "/api/v2/traces/aa",
            "/api/v2/traces/1?q=%7Bname%3D%22apricot%22%7D",
            "/api/v2/traces/bb",
        ],
    ),
    ("/api/v2/traces/diff", &["POST /api/v2/traces/diff"]),
    (
        "/api/search",
        &[
            "/api/search?q=%7B%7D&{}",
            "/api/search?q=%7Bspan.apricot%3D%22apricot%22%7D&{}",
            "/api/search?q=%7B%7D%7Ccount()%3E0&limit=1&{}",
            "/api/search?q=%7Bname%3D%22plum%22%7D%20%7C%20select(span.apricot)&{}",
            "/api/search?tags=apricot%3Dapricot&{}",
            "/api/search?q=%7B%20apricot&{}",
        ],
    ),
    ("/api/search/tags", &["/api/search/tags?{}", "/api/search/tags"]),
    ("/api/v2/search/tags", &["/api/v2/search/tags?{}", "/api/v2/search/tags?q=%7Bname%3D%22plum%22%7D&{}"]),
    ("/api/search/tag/{*tag}", &["/api/search/tag/service.name/values?{}", "/api/search/tag/apricot/values?{}"]),
    (
        "/api/v2/search/tag/{*tag}",
        &[
            "/api/v2/search/tag/resource.service.name/values?{}",
            "/api/v2/search/tag/span.apricot/values?{}",
            "/api/v2/search/tag/name/values?q=%7Bspan.fruit%3D%22plum%22%7D&{}",
            "/api/v2/search/tag/rootName/values?{}",
        ],
    ),
    (
        "/api/metrics/query_range",
        &[
            "/api/metrics/query_range?q=%7B%7D%7Crate()%20by(name)&step=10&{}",
            "/api/metrics/query_range?q=%7B%7D%7Ccount_over_time()&step=10&exemplars=5&{}",
        ],
    ),
    (
        "/api/metrics/query",
        &[
            "/api/metrics/query?q=%7B%7D%7Ccount_over_time()%20by(span.apricot)&{}",
            "/api/metrics/query?q=%7B%7D%7Ccompare(%7Bname%3D%22plum%22%7D)&{}",
        ],
    ),
    ("/api/service-graph", &["/api/service-graph?{}"]),
    ("/api/mcp", &["POST /api/mcp"]),
    ("/metrics/generated", &["/metrics/generated"]),
    ("/api/overrides", &["/api/overrides"]),
    ("/api/deletions", &["/api/deletions"]),
    ("/api/echo", &["/api/echo"]),
    ("/api/status/buildinfo", &["/api/status/buildinfo"]),
    ("/", &["/"]),
    ("/ui", &["/ui"]),
    ("/ui/", &["/ui/"]),
    ("/ui/{file}", &["/ui/search", "/ui/app.js"]),
    ("/ui/config", &["/ui/config"]),
    ("/ready", &["/ready"]),
    ("/status", &["/status"]),
    ("/status/version", &["/status/version"]),
    ("/status/services", &["/status/services"]),
    ("/status/endpoints", &["/status/endpoints"]),
    ("/status/config", &["/status/config"]),
    ("/status/runtime_config", &["/status/runtime_config"]),
];

/// Pages of the operator: they name tenants and count what is theirs, and say nothing of what is in it.
const OF_OPERATOR: &[(&str, &str)] = &[
    ("/metrics", "/metrics"),
    ("/ui/metrics", "/ui/metrics"),
    ("/flush", "/flush"),
    ("/status/overrides", "/status/overrides"),
    ("/status/overrides/{tenant}", "/status/overrides/other"),
];

const SEARCH_BY_TOOL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"traceql-search",
    "arguments":{"query":"{}","start":"2023-11-14T22:13:10Z","end":"2023-11-14T22:15:00Z"}}}"#;

const METHODS: &[&str] = &[
    "Search",
    "SearchTags",
    "SearchTagsV2",
    "SearchTagValues",
    "SearchTagValuesV2",
    "MetricsQueryRange",
    "MetricsQueryInstant",
];

/// A span of a trace of its own and one of a trace that has the same id for both tenants.
pub(super) fn spans(word: &str, trace: &str) -> String {
    let span = |trace: &str, id: u8, second: u32| {
        format!(
            r#"{{"traceId":"{trace:0>32}","spanId":"{id:016x}","name":"{word}","startTimeUnixNano":"17000000{second:02}000000000",
            "endTimeUnixNano":"17000000{second:02}500000000","attributes":[{{"key":"{word}","value":{{"stringValue":"{word}"}}}},
            {{"key":"fruit","value":{{"stringValue":"{word}"}}}}],"events":[{{"name":"{word}"}}]}}"#
        )
    };
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{word}"}}}}]}},
        "scopeSpans":[{{"scope":{{"name":"{word}"}},"spans":[{},{}]}}]}}]}}"#,
        span("1", trace.as_bytes()[0], 10),
        span(trace, 9, 20)
    )
}

pub(super) async fn push(test_edge: &TestEdge, tenant: &str, body: String) -> Answer {
    let request = Request::builder().method("POST").uri("/v1/traces").header("content-type", "application/json");
    let request = request.header("x-scope-orgid", tenant).body(Body::from(body)).unwrap();
    ask(crate::otlp::http::router(test_edge.edge.clone()), request).await
}

async fn edge_with(tenants: &[&str]) -> TestEdge {
    let test_edge = edge(config()).await;
    for tenant in tenants {
        let body = if *tenant == "other" { spans(SECRET, "aa") } else { spans("plum", "bb") };
        assert_eq!(push(&test_edge, tenant, body).await.status, 200);
    }
    test_edge
}

fn config() -> Config {
    let query = QueryConfig { mcp_enabled: true, ..QueryConfig::default() };
    Config { multitenancy_enabled: true, query, ..Config::default() }
}

async fn get(test_edge: &TestEdge, tenant: &str, path: &str) -> Answer {
    let path = path.replace("{}", RANGE);
    let (method, path) = path.split_once(' ').unwrap_or(("GET", &path));
    let body = match method {
        "POST" if path == "/api/mcp" => SEARCH_BY_TOOL,
        "POST" => r#"{"base":{"traceId":"1"},"compare":{"traceId":"1"}}"#,
        _ => "",
    };
    let request = Request::builder().method(method).uri(path).header("x-scope-orgid", tenant).body(Body::from(body));
    ask(router(test_edge.edge.clone()), request.unwrap()).await
}

async fn call(test_edge: &TestEdge, tenant: &str, method: &str) -> Answer {
    let message = question(method, (1_699_999_990, 1_700_000_100));
    let path = format!("/tempopb.StreamingQuerier/{method}");
    let request = grpc_request(&path, &[("x-scope-orgid", tenant)], frame(false, &message));
    ask(router(test_edge.edge.clone()), request).await
}

fn has(answer: &Answer, word: &str) -> bool {
    answer.body.windows(word.len()).any(|window| window == word.as_bytes())
        || answer.headers.values().any(|value| String::from_utf8_lossy(value.as_bytes()).contains(word))
}

/// Routes that are about one tenant alone.
const OF_ONE: &[&str] = &["/metrics/generated", "/api/overrides", "/api/deletions"];

/// All that can be asked, in the name of a tenant.
async fn walk(test_edge: &TestEdge, tenant: &str) -> BTreeMap<String, Answer> {
    let mut answers = BTreeMap::new();
    for path in WALK.iter().flat_map(|(_, paths)| *paths) {
        answers.insert((*path).to_owned(), Box::pin(get(test_edge, tenant, path)).await);
    }
    for method in METHODS {
        answers.insert((*method).to_owned(), Box::pin(call(test_edge, tenant, method)).await);
    }
    answers
}

/// A query that repeats itself in an error says nothing of anybody's data.
fn is_echo(path: &str, answer: &Answer) -> bool {
    path.contains(SECRET) && (answer.status == 400 || path.contains("by(span.apricot)"))
}

#[test]
fn every_route_and_method_is_walked() {
    let mut routes: Vec<String> = table(&config()).into_iter().map(|route| route.path).collect();
    let mut walked: Vec<String> = WALK
        .iter()
        .map(|(route, _)| *route)
        .chain(OF_OPERATOR.iter().map(|(route, _)| *route))
        .map(str::to_owned)
        .collect();
    routes.sort_unstable();
    walked.sort_unstable();
    assert_eq!(walked, routes, "walk the new route: see to it that it shows nothing of other tenants");
    let methods = include_str!("../tempo/streaming.rs").matches("\"/tempopb.StreamingQuerier/").count();
    assert_eq!(METHODS.len(), methods, "walk the new method");
}

#[tokio::test]
async fn whatever_is_asked_nothing_of_another_tenant_is_seen() {
    let (beside, alone) = (edge_with(&["other", "mine"]).await, edge_with(&["mine"]).await);
    for state in ["live", "at rest", "from caches"] {
        let of_other = walk(&beside, "other").await;
        for path in
            ["/api/search?q=%7B%7D&{}", "/api/v2/traces/1", "/api/v2/search/tags?{}", "SearchTagValuesV2", "Search"]
        {
            assert!(has(&of_other[path], SECRET), "{state}: {path} shows its own tenant what it has");
        }
        let (beside_other, expected) = (walk(&beside, "mine").await, walk(&alone, "mine").await);
        for (path, answer) in beside_other {
            let expected = &expected[&path];
            let shown = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status, expected.status, "{state}: {path}: {shown}");
            assert_eq!(shown, String::from_utf8_lossy(&expected.body), "{state}: {path}");
            assert_eq!(answer.headers, expected.headers, "{state}: {path}");
            assert!(is_echo(&path, &answer) || !has(&answer, SECRET), "{state}: {path}: {shown}");
        }
        let nobody = get(&beside, "nobody", "/api/search?q=%7B%7D&{}").await;
        assert!(nobody.text().starts_with(r#"{"traces":[],"#), "{}", nobody.text());
        for (_, path) in OF_OPERATOR {
            let answer = get(&beside, "mine", path).await;
            assert!(answer.status < 300 && !has(&answer, SECRET), "{state}: {path}: {}", answer.status);
            get(&alone, "mine", path).await; // flushes it, too
        }
    }
    let metrics = get(&beside, "mine", "/metrics").await;
    let of_tenant = |line: &&str| line.contains("\"other\"") && line.starts_with("tempo_query_frontend_queries_total");
    assert!(metrics.text().lines().any(|line| of_tenant(&line)), "each tenant is counted by itself");
}

#[tokio::test]
async fn a_query_over_several_tenants_sees_those_and_a_push_is_refused() {
    let test_edge = edge_with(&["other", "mine"]).await;
    for at_rest in [false, true] {
        walk(&test_edge, "mine").await; // what is remembered costs nothing the next time
        let (both, mine) = (walk(&test_edge, "other|mine").await, walk(&test_edge, "mine").await);
        for path in
            ["/api/search?q=%7B%7D&{}", "/api/v2/traces/1", "/api/search/tags?{}", "SearchTagValuesV2", "Search"]
        {
            assert!(has(&both[path], SECRET) && has(&both[path], "plum"), "at rest {at_rest}: {path}");
        }
        let trace: serde_json::Value = serde_json::from_str(both["/api/v2/traces/1"].text()).unwrap();
        assert_eq!(trace["trace"]["resourceSpans"].as_array().map(Vec::len), Some(2), "{trace}");
        let found: serde_json::Value = serde_json::from_str(both["/api/search?q=%7B%7D&{}"].text()).unwrap();
        let ids = found["traces"].as_array().unwrap().iter().map(|trace| trace["traceID"].as_str().unwrap().to_owned());
        assert_eq!(ids.collect::<Vec<_>>(), ["aa", "bb", "1"], "newest first, each trace once");
        // whoever names a tenant twice, or one without data, asks what it would ask without
        for (path, answer) in
            walk(&test_edge, "mine|nobody").await.into_iter().chain(walk(&test_edge, "mine|mine").await)
        {
            if !OF_ONE.contains(&path.as_str()) {
                assert_eq!(answer.body, mine[&path].body, "at rest {at_rest}: {path}");
            }
        }
        get(&test_edge, "mine", "/flush").await;
    }
    let of_one = get(&test_edge, "other|mine", "/metrics/generated").await;
    assert_eq!((of_one.status, of_one.text()), (400, "multiple org IDs present\n"));
    let refused = push(&test_edge, "other|mine", spans("fig", "cc")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("multiple org IDs present"), "{}", refused.text());
    let wrong = get(&test_edge, "mine|a/b", "/api/search").await;
    assert_eq!((wrong.status, wrong.text()), (400, "tenant ID 'a/b' contains unsupported character '/'"));
    let metrics = get(&test_edge, "mine", "/metrics").await;
    assert!(!metrics.text().contains("other|mine"), "sets of tenants are no labels");
}

#[tokio::test]
async fn queries_over_several_tenants_can_be_switched_off() {
    let query = crate::QueryConfig { multi_tenant_queries_enabled: false, ..crate::QueryConfig::default() };
    let test_edge = edge(Config { multitenancy_enabled: true, query, ..Config::default() }).await;
    let refused = get(&test_edge, "a|b", "/api/search?q=%7B%7D").await;
    assert_eq!((refused.status, refused.text()), (400, "multi-tenant query unsupported"));
    assert_eq!(get(&test_edge, "a|a", "/api/search?q=%7B%7D").await.status, 200);
}
