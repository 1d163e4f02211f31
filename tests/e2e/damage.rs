//! Damage in stored files: the process starts, what is damaged is named in the log and counted, the rest answers, and
//! answers that lack something say so.

use anyhow::{Context, Result};
use conformance::post;
use serde_json::Value;

use crate::server::{Server, metric};
use crate::stored::{self, Damage};
use crate::traffic::{json, send, window};

/// Blocks stay as they are flushed.
const NO_COMPACTION: &str = "compactor: {compaction: {max_compaction_objects: 1}}";
const FILES: [&str; 6] =
    ["spans.parquet", "traces.parquet", "resources.parquet", "scopes.parquet", "index.bundle", "directory.bundle"];
/// Without this file a block can be read all the same.
const HELPFUL: [&str; 1] = ["index.bundle"];

/// Each block holds the trace whose id is the block's number, from 1 on.
async fn one_block_for_each(server: &Server, count: usize) -> Result<()> {
    for id in 1..=count {
        assert!(send(&server.target(), id as u128).await?);
        post(&server.target(), &format!("{}/flush", server.api)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blocks_are_named_and_the_others_answer() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), NO_COMPACTION).await?;
    let cases: Vec<(&str, Damage)> =
        FILES.into_iter().flat_map(|file| Damage::ALL.map(|damage| (file, damage))).collect();
    one_block_for_each(&server, cases.len() + 1).await?;
    server.stop()?;
    let blocks = stored::blocks(dir.path(), "single-tenant")?;
    for (block, (file, damage)) in blocks.iter().zip(&cases) {
        damage.inflict(&block.join(file))?;
    }

    let server = Server::start(dir.path(), NO_COMPACTION).await?;
    let target = server.target();
    let total = blocks.len() as u64;
    let readable = total - cases.iter().filter(|(file, _)| !HELPFUL.contains(file)).count() as u64;
    let of_all = Some((readable, total));
    for _ in 0..2 {
        // the whole trace must be read, so that no block is left out by its index alone
        let found =
            json(&target, &format!("/api/search?q=%7B%20name%20%3D%20%60step%200%60%20%7D&limit=100{}", window()))
                .await?;
        assert_eq!(found["traces"].as_array().map(|traces| traces.len() as u64), Some(readable), "{found}");
        assert_eq!(jobs(&found), of_all, "{found}");

        let query = "%7B%20%7D%20%7C%20count_over_time()";
        let counted = json(&target, &format!("/api/metrics/query?q={query}{}", window())).await?;
        assert_eq!(counted["series"][0]["value"].as_f64(), Some(10.0 * readable as f64), "{counted}");
        assert_eq!((&counted["status"], jobs(&counted)), (&Value::from("PARTIAL"), of_all), "{counted}");
        let message = format!("{} blocks could not be read, a partial response is returned", total - readable);
        assert_eq!(counted["message"], Value::from(message), "{counted}");

        let values = "/api/v2/search/tag/name/values?q=%7B%20rootName%20%3D%20%60step%200%60%20%7D";
        let values = json(&target, &format!("{values}{}", window())).await?;
        assert_eq!(values["tagValues"].as_array().map(Vec::len), Some(10), "{values}");
        assert_eq!(jobs(&values), of_all, "{values}");

        for (id, (file, _)) in (1..=total).zip(cases.iter().chain([&("none", Damage::Flip)])) {
            let trace = json(&target, &format!("/api/v2/traces/{id:x}")).await?;
            let spans = trace["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().map_or(0, Vec::len);
            let expected = if HELPFUL.contains(file) || *file == "none" { 10 } else { 0 };
            assert_eq!(spans, expected, "{file}: {trace}");
            // whether damaged blocks are asked for a trace of another depends on how far trace maps have come
            assert!(expected > 0 || trace["status"] == "PARTIAL", "{file}: {trace}");
        }
    }
    for (block, (file, damage)) in blocks.iter().zip(&cases) {
        let (id, key) = (stored::name(block), format!("{}/{file}", stored::name(block)));
        let named = server.log_lines(&[&id, &key, "damaged"]);
        assert_eq!(named.len(), 1, "{damage:?} of {file} in block {id} is named once: {named:?}");
    }
    let body = target.get("/metrics").await?.body;
    let metrics = String::from_utf8_lossy(&body);
    for file in FILES {
        let kind = file.split('.').next().unwrap_or_default();
        let counted = format!("mosso_storage_damaged_total{{file=\"{kind}\"}} {}", Damage::ALL.len());
        assert!(metrics.contains(&counted), "{counted}\n{metrics}");
    }
    Ok(())
}

/// Sources that were read, of how many.
fn jobs(answer: &Value) -> Option<(u64, u64)> {
    Some((answer["metrics"]["completedJobs"].as_u64()?, answer["metrics"]["totalJobs"].as_u64()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_or_log_entry_stops_nothing_else() -> Result<()> {
    const TENANTS: &str = "multitenancy_enabled: true";
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), TENANTS).await?;
    let of = |server: &Server, tenant: &str| {
        let mut target = server.target();
        target.headers.push(("X-Scope-OrgID".to_owned(), tenant.to_owned()));
        target
    };
    let (good, bad) = (of(&server, "good"), of(&server, "bad"));
    assert!(send(&good, 1).await? && send(&bad, 1).await?);
    post(&server.target(), &format!("{}/flush", server.api)).await?;
    for id in 2..=4 {
        assert!(send(&good, id).await?);
    }
    server.kill()?;
    Damage::Flip.inflict(&stored::manifest(dir.path(), "bad")?)?;
    let segment = stored::segments(dir.path())?.pop().context("there is a segment")?;
    let mut content = std::fs::read(&segment)?;
    content[200] ^= 0x10; // in the first entry; header and payload are longer than that
    std::fs::write(&segment, content)?;

    let server = Server::start(dir.path(), TENANTS).await?;
    let (good, bad) = (of(&server, "good"), of(&server, "bad"));
    for (id, spans) in [(1, 10), (2, 0), (3, 10), (4, 10)] {
        let trace = json(&good, &format!("/api/v2/traces/{id:x}")).await?;
        let found = trace["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().map_or(0, Vec::len);
        assert_eq!(found, spans, "trace {id}: {trace}");
    }
    let refused = bad.get("/api/v2/traces/1").await?;
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(refused.status == 500 && text.contains("bad/manifest/"), "{} {text}", refused.status);
    assert!(!send(&bad, 5).await?, "what cannot be published is not taken");
    assert!(send(&good, 5).await?);
    post(&server.target(), &format!("{}/flush", server.api)).await?;
    assert_eq!(server.log_lines(&["manifest cannot be read", "bad/manifest/"]).len(), 1);
    assert_eq!(server.log_lines(&["the write-ahead log is damaged at this offset", "offset=88"]).len(), 1);
    let body = server.target().get("/metrics").await?.body;
    let metrics = String::from_utf8_lossy(&body);
    for series in [r#"mosso_storage_damaged_total{file="manifest"} 1"#, r#"mosso_storage_damaged_total{file="log"} 1"#]
    {
        assert!(metrics.contains(series), "{series}\n{metrics}");
    }
    assert_eq!(metric(&metrics, "tempo_ingester_replay_errors_total"), 1.0);
    Ok(())
}
