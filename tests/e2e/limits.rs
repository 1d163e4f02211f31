//! Limits of tenants: each has its own, what goes beyond is refused with a word, and they change without a restart.

use anyhow::Result;
use conformance::{Response, Target};
use serde_json::{Value, json};

use crate::server::{Server, metric};

fn headers(tenant: &str) -> Vec<(String, String)> {
    [("X-Scope-OrgID", tenant), ("Content-Type", "application/json"), ("Accept", "application/json")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

async fn send(target: &Target, tenant: &str) -> Result<Response> {
    let span = json!({
        "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0000000000000001", "name": "one",
        "startTimeUnixNano": "1", "endTimeUnixNano": "2",
    });
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string();
    target.http(&target.otlp, "POST", "/v1/traces", &headers(tenant), Some(body.as_bytes())).await
}

async fn get(target: &Target, tenant: &str, path: &str) -> Result<(u16, String)> {
    let answer = target.http(&target.api, "GET", path, &headers(tenant), None).await?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_limits_of_their_own_which_change_without_a_restart() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("overrides.yaml");
    let limits = "{ingestion: {rate_limit_bytes: 1, burst_size_bytes: 1000}, read: {max_search_duration: 1h, max_metrics_duration: 1h}}";
    std::fs::write(&file, format!("overrides: {{small: {limits}}}"))?;
    let yaml = format!(
        "multitenancy_enabled: true\noverrides: {{per_tenant_override_config: {}, per_tenant_override_period: 1s}}",
        file.display()
    );
    let server = Server::start(dir.path(), &yaml).await?;
    let target = server.target();

    let refused = loop {
        let answer = send(&target, "small").await?;
        if answer.status != 200 {
            break answer; // the burst is spent
        }
    };
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 429, "{text}");
    assert!(text.contains("RATE_LIMITED") && text.contains("RetryInfo"), "{text}");
    assert!(text.contains("for user small"), "{text}");
    assert_eq!(send(&target, "large").await?.status, 200, "others are not limited");
    server.wait_for_metrics(|text| metric(text, "tempo_discarded_spans_total") == 1.0).await?;

    for path in [
        "/api/search?q=%7B%7D&start=10000&end=20000",
        "/api/metrics/query_range?q=%7B%7D%7Crate()&start=10000&end=20000",
    ] {
        let (status, text) = get(&target, "small", path).await?;
        assert!(status == 400 && text.contains("1h0m0s"), "{path}: {status} {text}");
        assert_eq!(get(&target, "large", path).await?.0, 200, "{path}");
    }

    let (_, page) = get(&target, "", "/status/overrides").await?;
    assert!(page.contains("small") && page.contains("\"now\""), "{page}");
    let page: Value = serde_json::from_str(&get(&target, "", "/status/overrides/small").await?.1)?;
    assert!(page["runtime_overrides"].as_str().is_some_and(|yaml| yaml.contains("rate_limit_bytes: 1")), "{page}");
    let page: Value = serde_json::from_str(&get(&target, "", "/status/overrides/large").await?.1)?;
    assert_eq!(page["using_default_or_wildcard_runtime_overrides"], "default overrides");
    assert!(get(&target, "", "/status/runtime_config").await?.1.contains("\"small\":"));

    // a file that cannot be used changes nothing; one that can does
    std::fs::write(&file, "overrides: {small: {ingestion: {rate_limit: 1}}}")?;
    server.wait_for_metrics(|text| metric(text, "tempo_runtime_config_last_reload_successful") == 0.0).await?;
    assert_eq!(send(&target, "small").await?.status, 429);
    std::fs::write(&file, "overrides: {small: {ingestion_rate_limit_bytes: 1000000}}")?;
    server.wait_for_metrics(|text| metric(text, "tempo_runtime_config_last_reload_successful") == 1.0).await?;
    // it holds when it is still there a second later
    while !get(&target, "", "/status/overrides/small").await?.1.contains("rate_limit_bytes: 1000000") {
        tokio::task::yield_now().await;
    }
    while send(&target, "small").await?.status != 200 {
        tokio::task::yield_now().await; // the bucket fills at the new rate
    }
    Ok(())
}
