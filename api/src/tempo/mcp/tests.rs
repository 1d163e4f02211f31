use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::Config;
use crate::routes::router;
use crate::testing::{Answer, ask, edge};

fn config() -> Config {
    let mut config = Config::default();
    config.query.mcp_enabled = true;
    config
}

async fn post(config: Config, headers: &[(&str, &str)], message: &Value) -> Answer {
    let mut request = Request::builder().method("POST").uri("/api/mcp").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Body::from(message.to_string());
    ask(router(edge(config).await.edge.clone()), request.body(body).unwrap()).await
}

/// The whole answer to one request.
async fn answer(method: &str, params: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let answer = post(config(), &[], &message).await;
    assert_eq!((answer.status, answer.content_type()), (200, "application/json"), "{}", answer.text());
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&value["jsonrpc"], &value["id"]), (&json!("2.0"), &json!(7)));
    value
}

async fn tool(name: &str, arguments: Value) -> Value {
    answer("tools/call", json!({"name": name, "arguments": arguments})).await["result"].clone()
}

#[tokio::test]
async fn a_client_is_greeted_in_its_version() {
    let result = answer("initialize", json!({"protocolVersion": "2025-03-26"})).await["result"].clone();
    assert_eq!(result["protocolVersion"], "2025-03-26");
    assert_eq!((&result["serverInfo"]["name"], &result["capabilities"]["tools"]), (&json!("tempo"), &json!({})));
    let newest = answer("initialize", json!({"protocolVersion": "1999-01-01"})).await;
    assert_eq!(newest["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(answer("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn tempos_tools_have_their_names_and_arguments() {
    let listed = answer("tools/list", json!({})).await["result"]["tools"].clone();
    let tool = |name: &str| listed.as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap().clone();
    for (name, required, optional) in [
        ("docs-config", vec!["name"], vec![]),
        ("docs-traceql", vec!["name"], vec![]),
        ("get-attribute-names", vec![], vec!["scope"]),
        ("get-attribute-values", vec!["name"], vec!["filter-query"]),
        ("get-trace", vec!["trace_id"], vec![]),
        (
            "trace-diff",
            vec!["base_trace_id", "compare_trace_id"],
            vec!["base_start", "base_end", "compare_start", "compare_end", "format"],
        ),
        ("traceql-metrics-instant", vec!["query"], vec!["start", "end"]),
        ("traceql-metrics-range", vec!["query"], vec!["start", "end"]),
        ("traceql-search", vec!["query"], vec!["start", "end"]),
    ] {
        let schema = tool(name)["inputSchema"].clone();
        assert_eq!(schema["required"], json!(required), "{name}");
        let mut known: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let mut expected: Vec<String> = required.into_iter().chain(optional).map(str::to_owned).collect();
        known.sort();
        expected.sort();
        assert_eq!(known, expected, "{name}");
        assert_eq!(tool(name)["annotations"]["readOnlyHint"], true, "{name}");
    }
    assert_eq!(listed.as_array().unwrap().len(), 12);
}

#[tokio::test]
async fn resources_are_listed_and_read() {
    let listed = answer("resources/list", json!({})).await["result"]["resources"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 7);
    for resource in listed.as_array().unwrap() {
        let read = answer("resources/read", json!({"uri": resource["uri"]})).await["result"]["contents"][0].clone();
        assert_eq!((&read["uri"], &read["mimeType"]), (&resource["uri"], &json!("text/markdown")));
        assert!(read["text"].as_str().unwrap().starts_with("# "), "{read}");
    }
    assert_eq!(answer("resources/read", json!({"uri": "docs://no"})).await["error"]["code"], -32002);
}

#[tokio::test]
async fn answers_say_what_they_are_and_what_to_ask_next() {
    let empty = tool("traceql-search", json!({"query": "{ status = error }"})).await;
    assert_eq!(empty["_meta"], json!({"type": "search-results", "encoding": "json", "version": "1"}));
    let text = |result: &Value, at: usize| result["content"][at]["text"].as_str().unwrap_or_default().to_owned();
    assert!(text(&empty, 0).starts_with(r#"{"traces":[],"#) && text(&empty, 1).contains("Nothing matches"), "{empty}");
    for (name, arguments, kind) in [
        ("traceql-metrics-instant", json!({"query": "{ } | rate()"}), "metrics-instant"),
        ("traceql-metrics-range", json!({"query": "{ } | rate()"}), "metrics-range"),
        ("get-trace", json!({"trace_id": "1f"}), "trace"),
        ("get-attribute-names", json!({}), "attribute-names"),
        ("get-attribute-values", json!({"name": "resource.service.name"}), "attribute-values"),
        ("docs-traceql", json!({"name": "basic"}), "documentation"),
        ("docs-config", json!({"name": "config-reference"}), "documentation"),
        ("slowest-paths", json!({}), "slowest-paths"),
        ("what-changed", json!({"query": "{ resource.service.name = `shop` }"}), "what-changed"),
        ("error-examples", json!({"start": "2026-01-31T12:00:00Z", "end": "2026-01-31T13:00:00Z"}), "error-examples"),
    ] {
        let result = tool(name, arguments).await;
        assert_eq!((&result["_meta"]["type"], result.get("isError")), (&json!(kind), None), "{name}: {result}");
        assert!(!text(&result, 0).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_wrong_question_is_answered_with_the_mend() {
    for (name, arguments, problem) in [
        ("traceql-search", json!({}), "required argument \"query\" not found"),
        ("traceql-search", json!({"query": 5}), "argument \"query\" is not a string"),
        ("traceql-search", json!({"query": "{ foo"}), "query parse error. Consult TraceQL docs tools: "),
        ("traceql-search", json!({"query": "{ } | rate()"}), "TraceQL metrics query received on traceql-search tool."),
        ("traceql-metrics-instant", json!({"query": "{ }"}), "TraceQL search query received on instant query tool."),
        ("traceql-search", json!({"query": "{ }", "start": "yesterday"}), "invalid start time: "),
        (
            "get-trace",
            json!({"trace_id": "xyz"}),
            "tool failed with http status code 400 and reason trace IDs can only",
        ),
        ("trace-diff", json!({"base_trace_id": "1", "compare_trace_id": "2"}), "tool failed with http status code 404"),
        (
            "trace-diff",
            json!({"base_trace_id": "1", "compare_trace_id": "2", "base_start": "2026-01-31T12:00:00Z"}),
            "arguments \"base_start\" and \"base_end\" must be provided together",
        ),
        ("slowest-paths", json!({"query": "{ } | rate()"}), "only a single TraceQL filter is supported"),
        ("what-changed", json!({"base_start": "2036-01-31T12:00:00Z"}), "base_start must be before base_end"),
        ("docs-traceql", json!({"name": "all"}), "there is no document \"all\"; there are basic, aggregates"),
    ] {
        let result = tool(name, arguments).await;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert!(result["isError"] == true && text.starts_with(problem), "{name}: {result}");
    }
}

#[tokio::test]
async fn messages_that_are_not_of_the_protocol_are_refused_by_its_codes() {
    assert_eq!(answer("tools/call", json!({"name": "drop-all"})).await["error"]["code"], -32602);
    assert_eq!(answer("prompts/list", json!({})).await["error"]["code"], -32601);
    let code = async |message: Value| {
        let answer = post(config(), &[], &message).await;
        serde_json::from_slice::<Value>(&answer.body).unwrap()["error"]["code"].clone()
    };
    assert_eq!(code(json!([])).await, -32600);
    assert_eq!(code(json!({"id": 1, "method": "ping"})).await, -32600);
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let accepted = post(config(), &[], &notification).await;
    assert_eq!((accepted.status, accepted.text()), (202, ""));
}

#[tokio::test]
async fn it_is_off_unless_switched_on_and_asks_for_a_tenant_where_there_are_some() {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(post(Config::default(), &[], &ping).await.status, 404);
    let tenants = || Config { multitenancy_enabled: true, ..config() };
    let refused = post(tenants(), &[], &ping).await;
    assert_eq!((refused.status, refused.text()), (401, "no org id\n"));
    assert_eq!(post(tenants(), &[("x-scope-orgid", "a")], &ping).await.status, 200);
    let other = [("host", "127.0.0.1:3200"), ("origin", "http://evil.example")];
    assert_eq!(post(config(), &other, &ping).await.status, 403);
    let own = [("host", "127.0.0.1:3200"), ("origin", "http://127.0.0.1:3200")];
    assert_eq!(post(config(), &own, &ping).await.status, 200);
}
