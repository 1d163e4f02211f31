//! Spans go when their time is over, for each tenant at its own.

use anyhow::{Context, Result};
use conformance::{Target, post};
use serde_json::{Value, json};

use crate::server::{Server, metric};

fn headers(tenant: &str) -> Vec<(String, String)> {
    [("X-Scope-OrgID", tenant), ("Content-Type", "application/json")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

async fn send(target: &Target, tenant: &str) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let span = json!({
        "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0000000000000001", "name": "one",
        "startTimeUnixNano": now.to_string(), "endTimeUnixNano": now.to_string(),
    });
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string();
    let stored = target.http(&target.otlp, "POST", "/v1/traces", &headers(tenant), Some(body.as_bytes())).await?;
    assert_eq!(stored.status, 200);
    Ok(())
}

/// How many traces a search finds.
async fn found(target: &Target, tenant: &str) -> Result<usize> {
    let answer = target.http(&target.api, "GET", "/api/search?q=%7B%7D", &headers(tenant), None).await?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    Ok(answer["traces"].as_array().context("traces")?.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_go_after_the_retention_of_their_tenant() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "multitenancy_enabled: true").await?;
    for tenant in ["brief", "other"] {
        send(&server.target(), tenant).await?;
    }
    post(&server.target(), &format!("{}/flush", server.api)).await?;
    server.stop()?;

    let file = dir.path().join("overrides.yaml");
    std::fs::write(&file, "overrides: {brief: {compaction: {block_retention: 1ms}}}")?;
    let overrides =
        format!("multitenancy_enabled: true\noverrides: {{per_tenant_override_config: {}}}", file.display());
    let server = Server::start(dir.path(), &overrides).await?;
    // the first look at what has expired is at once
    server.wait_for_metrics(|text| metric(text, "tempodb_retention_marked_for_deletion_total") == 1.0).await?;
    assert_eq!(found(&server.target(), "brief").await?, 0);
    assert_eq!(found(&server.target(), "other").await?, 1);
    Ok(())
}
