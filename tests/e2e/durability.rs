//! An acknowledged span is never lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use conformance::Target;

use crate::server::Server;
use crate::traffic::{send, window};

/// Small blocks, so that kills meet every stage: log, cut, block, manifest.
const SMALL_BLOCKS: &str = "ingester: {max_block_bytes: 200000, max_block_duration: 1s}";

/// Senders on several connections, and the ids that were acknowledged to them.
struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<Vec<u128>>>,
}

impl Load {
    fn start(target: Target, round: u128) -> Self {
        let (stop, target) = (Arc::new(AtomicBool::new(false)), Arc::new(target));
        let senders = (1..=4u128).map(|sender| {
            let (stop, target) = (stop.clone(), target.clone());
            tokio::spawn(async move {
                let (mut next, mut acknowledged) = ((round << 64) | (sender << 32), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    next += 1;
                    if send(&target, next).await.unwrap_or(false) {
                        acknowledged.push(next);
                    }
                }
                acknowledged
            })
        });
        Self { senders: senders.collect(), stop }
    }

    async fn finish(self) -> Result<Vec<u128>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for sender in self.senders {
            acknowledged.extend(sender.await?);
        }
        assert!(!acknowledged.is_empty());
        Ok(acknowledged)
    }
}

/// Every trace is there, once, with all its spans: by id and by search.
pub async fn assert_all_there(target: &Target, ids: &[u128]) -> Result<()> {
    let found = target.get(&format!("/api/search?q=%7B%7D&limit=262144&spss=1{}", window())).await?;
    let found: serde_json::Value = serde_json::from_slice(&found.body)?;
    let mut matched = std::collections::HashMap::new();
    for trace in found["traces"].as_array().context("traces")? {
        matched
            .insert(trace["traceID"].as_str().unwrap_or_default().to_owned(), trace["spanSets"][0]["matched"].as_u64());
    }
    for id in ids {
        assert_eq!(matched.get(&format!("{id:x}")), Some(&Some(10)), "trace {id:x} by search");
    }
    for id in ids.iter().step_by(ids.len().div_ceil(200).max(1)) {
        let trace = target.get(&format!("/api/v2/traces/{id:x}")).await?;
        let trace: serde_json::Value = serde_json::from_slice(&trace.body)?;
        let spans = trace["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().map_or(0, Vec::len);
        assert_eq!(spans, 10, "trace {id:x} by id");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut all = Vec::new();
    for round in 1..=5u128 {
        let server = Server::start(dir.path(), SMALL_BLOCKS).await?;
        assert_all_there(&server.target(), &all).await?;
        let load = Load::start(server.target(), round);
        // long enough for several cuts; where the kill falls differs from run to run
        tokio::time::sleep(Duration::from_millis(700 + 400 * round as u64)).await;
        server.kill()?;
        all.extend(load.finish().await?);
    }
    let server = Server::start(dir.path(), SMALL_BLOCKS).await?;
    assert_all_there(&server.target(), &all).await?;
    println!("{} acknowledged traces, none lost", all.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_takes_seconds_and_loses_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), SMALL_BLOCKS).await?;
    let load = Load::start(server.target(), 1);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let took = server.stop()?;
    let acknowledged = load.finish().await?;
    assert!(took < Duration::from_secs(5), "the stop took {took:?}");
    let server = Server::start(dir.path(), SMALL_BLOCKS).await?;
    assert_all_there(&server.target(), &acknowledged).await
}
