//! A real Tempo's answers to a fixed dataset: live, after a flush, after a restart, after compaction,
//! and with every trace in pieces.

use anyhow::{Context, Result};
use conformance::{Dataset, Target, base_for_now, cases_of, ingest, ingest_requests, post, run};

use crate::server::{Server, metric};

/// Areas that only ask, and leave the data as it is.
const READ_ONLY: [&str; 14] = [
    "trace_by_id",
    "search_legacy",
    "search_params",
    "traceql_filters",
    "traceql_structural",
    "traceql_pipeline",
    "metrics_range",
    "metrics_instant",
    "tags_v1",
    "tags_v2",
    "tag_values_v1",
    "tag_values_v2",
    "streaming",
    "tempo_31",
];
/// Areas about the server itself; `ingest` adds spans, so they run once and last.
const SERVER: [&str; 3] = ["errors", "misc", "ingest"];

async fn assert_conforms(target: &Target, dataset: &Dataset, areas: &[&str], when: &str) -> Result<()> {
    let report = run(target, dataset, &cases_of(areas)?).await?;
    println!("{when}: {report}");
    assert_eq!(report.failures(), Vec::<&str>::new(), "{when}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_tempo_live_flushed_and_restarted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let (target, dataset) = (server.target(), Dataset::load(base_for_now())?);
    ingest(&target, &dataset).await?;
    // no waiting: what is acknowledged is found
    assert_conforms(&target, &dataset, &READ_ONLY, "live").await?;
    post(&target, &format!("{}/flush", server.api)).await?;
    assert_conforms(&target, &dataset, &READ_ONLY, "flushed").await?;
    assert_conforms(&target, &dataset, &SERVER, "flushed").await?;
    server.stop()?;
    let server = Server::start(dir.path(), "").await?;
    assert_conforms(&server.target(), &dataset, &READ_ONLY, "restarted").await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_tempo_when_live_data_is_replayed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let dataset = Dataset::load(base_for_now())?;
    ingest(&server.target(), &dataset).await?;
    server.kill()?;
    let server = Server::start(dir.path(), "").await?;
    assert_conforms(&server.target(), &dataset, &READ_ONLY, "replayed").await
}

/// The dataset in several blocks, which are then merged and divided by windows of a minute.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_tempo_after_compaction() -> Result<()> {
    const BLOCKS: usize = 6;
    let compaction =
        |cycle: &str| format!("compactor: {{compaction: {{compaction_cycle: {cycle}, compaction_window: 1m}}}}");
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &compaction("24h")).await?;
    let (target, dataset) = (server.target(), Dataset::load(base_for_now())?);
    for requests in dataset.requests().chunks(dataset.requests().len().div_ceil(BLOCKS)) {
        ingest_requests(&target, requests).await?;
        post(&target, &format!("{}/flush", server.api)).await?;
    }
    assert_conforms(&target, &dataset, &READ_ONLY, "in several blocks").await?;
    server.stop()?;

    let server = Server::start(dir.path(), &compaction("100ms")).await?;
    // a look at the blocks that is younger than the last job finds none; where the turn of a minute lay between two
    // blocks, one may stay alone
    let compacted = |text: &str| {
        metric(text, "tempodb_compaction_blocks_total") >= (BLOCKS / 2) as f64
            && metric(text, "tempodb_compaction_outstanding_blocks") == 0.0
    };
    server.wait_for_metrics(compacted).await?;
    assert_conforms(&server.target(), &dataset, &READ_ONLY, "compacted").await
}

/// Replays how spans were dealt.
const SEED_VARIABLE: &str = "MOSSO_DEAL_SEED";

fn seed() -> Result<u64> {
    match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().with_context(|| format!("{SEED_VARIABLE}={seed} is not a number")),
        Err(_) => Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64),
    }
}

/// The spans of each trace lie in two to four blocks and in live data, then in one block more instead.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_tempo_when_traces_are_in_pieces() -> Result<()> {
    let seed = seed()?;
    let blocks = 2 + (seed % 3) as usize;
    let dealt_as = format!("dealt to {blocks} blocks and live data, replayed by {SEED_VARIABLE}={seed}");
    println!("{dealt_as}");
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let (target, dataset) = (server.target(), Dataset::load(base_for_now())?);
    let flush = format!("{}/flush", server.api);
    for (hand, requests) in dataset.dealt(blocks + 1, seed).iter().enumerate() {
        if hand > 0 {
            post(&target, &flush).await?;
        }
        ingest_requests(&target, requests).await?;
    }
    assert_conforms(&target, &dataset, &READ_ONLY, &dealt_as).await?;
    post(&target, &flush).await?;
    assert_conforms(&target, &dataset, &READ_ONLY, &format!("{dealt_as}, then flushed")).await
}
