//! A span that is sent again counts once, everywhere and at once: as a collector sends a batch again that timed out.

use anyhow::Result;
use conformance::post;
use serde_json::Value;

use crate::server::Server;
use crate::traffic::{json, post_request, trace, window};

/// Blocks stay as they are flushed, so that copies stay where they are.
const NO_COMPACTION: &str = "compactor: {compaction: {max_compaction_objects: 1}}";

/// Spans of the trace by id, matched spans, spans of its services, and spans that metrics count.
async fn counts(server: &Server) -> Result<[u64; 4]> {
    let target = server.target();
    let by_id = json(&target, "/api/v2/traces/7").await?;
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let scopes = list(&by_id["trace"], "resourceSpans").into_iter().flat_map(|resource| list(&resource, "scopeSpans"));
    let spans_by_id = scopes.map(|scope| list(&scope, "spans").len() as u64).sum();
    let found = json(&target, &format!("/api/search?q=%7B%7D&spss=100{}", window())).await?;
    assert_eq!(list(&found, "traces").len(), 1, "{found}");
    let found = &found["traces"][0];
    let of_service = &found["serviceStats"][""]["spanCount"];
    let query = "%7B%20%7D%20%7C%20count_over_time()";
    let counted = json(&target, &format!("/api/metrics/query?q={query}{}", window())).await?;
    let number = |value: &Value| value.as_f64().unwrap_or_default() as u64;
    let counted = number(&counted["series"][0]["value"]);
    Ok([spans_by_id, number(&found["spanSet"]["matched"]), number(of_service), counted])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_sent_again_counts_once_wherever_its_copies_lie() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), NO_COMPACTION).await?;
    let request = trace(7);
    for stage in ["live", "in a block and live", "in two blocks and live"] {
        for times in 1..=3 {
            assert_eq!(post_request(&server.target(), &request).await?.status, 200);
            assert_eq!(counts(&server).await?, [10; 4], "{stage}, sent {times} times");
        }
        post(&server.target(), &format!("{}/flush", server.api)).await?;
        assert_eq!(counts(&server).await?, [10; 4], "{stage}, flushed");
    }
    Ok(())
}
