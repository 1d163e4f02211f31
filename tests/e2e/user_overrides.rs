//! Settings that tenants make for themselves: `/api/overrides`, as Tempo has it.

use anyhow::Result;
use conformance::Target;
use serde_json::{Value, json};

use crate::server::Server;

struct Answer {
    status: u16,
    etag: String,
    body: String,
}

async fn ask(target: &Target, method: &str, tenant: &str, version: &str, path: &str, body: &Value) -> Result<Answer> {
    let mut headers: Vec<(String, String)> = vec![("X-Scope-OrgID".to_owned(), tenant.to_owned())];
    if !version.is_empty() {
        headers.push(("If-Match".to_owned(), version.to_owned()));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = target.http(&target.api, method, path, &headers, Some(body.as_bytes())).await?;
    let etag = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag"));
    let etag = etag.map(|(_, value)| value.clone()).unwrap_or_default();
    Ok(Answer { status: answer.status, etag, body: String::from_utf8_lossy(&answer.body).into_owned() })
}

const PATH: &str = "/api/overrides";

#[tokio::test(flavor = "multi_thread")]
async fn tenants_set_change_and_delete_what_is_generated_for_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let yaml = "multitenancy_enabled: true\noverrides: {user_configurable_overrides: {enabled: true}}";
    let server = Server::start(dir.path(), yaml).await?;
    let target = server.target();
    let nothing = Value::Null;
    let settings = json!({"metrics_generator": {"processors": ["span-metrics"], "trace_id_label_name": "id"}});

    assert_eq!(ask(&target, "GET", "a", "", PATH, &nothing).await?.status, 404);
    let refused = ask(&target, "POST", "a", "", PATH, &settings).await?;
    assert_eq!((refused.status, refused.body.as_str()), (428, "must specify If-Match header\n"));
    for (wrong, problem) in [
        (json!({"ingestion": {}}), "unknown field"),
        (json!({"metrics_generator": {"processors": ["span"]}}), "is no processor"),
        (json!({"metrics_generator": {"processors": 5}}), "metrics_generator.processors: expected a list"),
        (
            json!({"metrics_generator": {"span_name_sanitization": "some"}}),
            "metrics_generator.span_name_sanitization: unknown value `some`",
        ),
        (
            json!({"metrics_generator": {"collection_interval": "30s"}}),
            "metrics_generator.collection_interval: all tenants",
        ),
        (json!({"metrics_generator": {"native_histogram_bucket_factor": 0.5}}), "must be a number above 1"),
    ] {
        let refused = ask(&target, "POST", "a", "0", PATH, &wrong).await?;
        assert!(refused.status == 400 && refused.body.contains(problem), "{}", refused.body);
    }
    let set = ask(&target, "POST", "a", "0", PATH, &settings).await?;
    assert_eq!((set.status, set.body.as_str(), set.etag.is_empty()), (200, "", false));
    assert_eq!(ask(&target, "POST", "a", "0", PATH, &settings).await?.status, 412);
    let shown = ask(&target, "GET", "a", "", PATH, &nothing).await?;
    assert_eq!((serde_json::from_str::<Value>(&shown.body)?, shown.etag), (settings, set.etag.clone()));
    assert_eq!(ask(&target, "GET", "b", "", PATH, &nothing).await?.status, 404, "it is nobody else's");

    let patch = json!({"metrics_generator": {"disable_collection": true, "trace_id_label_name": null}});
    let patched = ask(&target, "PATCH", "a", "", PATH, &patch).await?;
    let expected = json!({"metrics_generator": {"processors": ["span-metrics"], "disable_collection": true}});
    assert_eq!((patched.status, serde_json::from_str::<Value>(&patched.body)?), (200, expected));
    let merged = ask(&target, "GET", "a", "", "/api/overrides?scope=merged", &nothing).await?;
    assert!(merged.body.contains("max_active_series") && merged.body.contains("span-metrics"), "{}", merged.body);
    let page = ask(&target, "GET", "", "", "/status/overrides/a", &nothing).await?.body;
    assert!(page.contains("span-metrics"), "{page}");

    let without_effect = json!({"metrics_generator": {"processors": ["local-blocks"]}});
    assert_eq!(ask(&target, "POST", "b", "0", PATH, &without_effect).await?.status, 200);
    server.wait_for_log(&["WARN", "tenant=b", "local-blocks is read over"]).await?;

    assert_eq!(ask(&target, "DELETE", "a", &set.etag, PATH, &nothing).await?.status, 412, "it has changed since");
    assert_eq!(ask(&target, "DELETE", "a", &patched.etag, PATH, &nothing).await?.status, 200);
    assert_eq!(ask(&target, "GET", "a", "", PATH, &nothing).await?.status, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_tenants_outlive_the_process_and_make_series() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let yaml = "multitenancy_enabled: true\noverrides: {user_configurable_overrides: {enabled: true}}\n\
                metrics_generator: {registry: {collection_interval: 1s}, metrics_ingestion_time_range_slack: 1000000h}";
    let server = Server::start(dir.path(), yaml).await?;
    let settings =
        json!({"metrics_generator": {"processors": ["span-metrics"], "generate_native_histograms": "native"}});
    assert_eq!(ask(&server.target(), "PUT", "a", "0", PATH, &settings).await?.status, 200);
    server.stop()?;

    let server = Server::start(dir.path(), yaml).await?;
    let target = server.target();
    while ask(&target, "GET", "", "", "/status/overrides", &Value::Null).await?.body.contains("a: ") {
        tokio::task::yield_now().await;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let span = json!({
        "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0000000000000001", "name": "buy",
        "startTimeUnixNano": (now - 1_000_000).to_string(), "endTimeUnixNano": now.to_string(),
    });
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string();
    for tenant in ["a", "b"] {
        let headers = [("X-Scope-OrgID", tenant), ("Content-Type", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sent = target.http(&target.otlp, "POST", "/v1/traces", &headers, Some(body.as_bytes())).await?;
        assert_eq!(sent.status, 200);
    }
    while !ask(&target, "GET", "a", "", "/metrics/generated", &Value::Null).await?.body.contains("span_name=\"buy\"") {
        tokio::task::yield_now().await;
    }
    let generated = ask(&target, "GET", "a", "", "/metrics/generated", &Value::Null).await?.body;
    let mut buckets = generated.lines().filter(|line| line.starts_with("traces_spanmetrics_latency_bucket"));
    assert!(
        buckets.all(|line| line.contains("le=\"+Inf\"")),
        "native histograms alone, as the tenant asked: {generated}"
    );
    assert!(!ask(&target, "GET", "b", "", "/metrics/generated", &Value::Null).await?.body.contains("buy"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_graph_names_peers_as_the_tenant_says() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let yaml = "multitenancy_enabled: true\noverrides: {user_configurable_overrides: {enabled: true}}";
    let server = Server::start(dir.path(), yaml).await?;
    let target = server.target();
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = json!({
        "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0000000000000001", "name": "buy", "kind": 3,
        "startTimeUnixNano": "1000000000", "endTimeUnixNano": "2000000000", "attributes": [text("partner", "bank")],
    });
    let resource = json!({"attributes": [text("service.name", "shop")]});
    let body = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).to_string();
    let headers = [("X-Scope-OrgID", "a"), ("Content-Type", "application/json")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(target.http(&target.otlp, "POST", "/v1/traces", &headers, Some(body.as_bytes())).await?.status, 200);

    let graph = "/api/service-graph?start=1&end=10";
    let edges = async || {
        let answer = ask(&target, "GET", "a", "", graph, &Value::Null).await?;
        Ok::<_, anyhow::Error>(serde_json::from_str::<Value>(&answer.body)?["edges"].take())
    };
    assert_eq!(edges().await?, json!([]), "nobody says that `partner` names the other end");
    let settings = json!({"metrics_generator": {"processor": {"service_graphs": {"peer_attributes": ["partner"]}}}});
    assert_eq!(ask(&target, "POST", "a", "0", PATH, &settings).await?.status, 200);
    let found = edges().await?;
    assert_eq!((&found[0]["client"], &found[0]["server"]), (&json!("shop"), &json!("bank")), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_there_is_no_such_path() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let answer = ask(&server.target(), "GET", "a", "", PATH, &Value::Null).await?;
    assert_eq!((answer.status, answer.body.as_str()), (404, "404 page not found\n"));
    Ok(())
}
