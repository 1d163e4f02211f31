//! `mosso blocks` and `mosso wal` on data that a mosso wrote: beside it and without it, as text and as JSON.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use conformance::post;
use serde_json::Value;

use crate::server::{Server, config_in};
use crate::stored::{self, Damage};
use crate::traffic::send;

/// Two flushed blocks become one.
const FAST_COMPACTION: &str = "compactor: {compaction: {compaction_cycle: 50ms}}";
const NO_COMPACTION: &str = "compactor: {compaction: {max_compaction_objects: 1}}";

fn tool(dir: &Path, arguments: &[&str]) -> Result<Output> {
    let config = dir.join("mosso.yaml");
    Ok(Command::new(env!("CARGO_BIN_EXE_mosso")).args(arguments).arg("--config.file").arg(config).output()?)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The text of a command that succeeds.
fn shown(dir: &Path, arguments: &[&str]) -> Result<String> {
    let output = tool(dir, arguments)?;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    Ok(text(&output))
}

/// The document of a command, and its exit code.
fn document(dir: &Path, arguments: &[&str]) -> Result<(Value, Option<i32>)> {
    let output = tool(dir, &[arguments, &["--json"]].concat())?;
    let document = serde_json::from_slice(&output.stdout).with_context(|| text(&output))?;
    Ok((document, output.status.code()))
}

async fn flush(server: &Server) -> Result<()> {
    post(&server.target(), &format!("{}/flush", server.api)).await
}

/// A folder with blocks of one trace each, `live` more in the log, and the process that wrote it.
async fn written(dir: &Path, blocks: u128, live: u128) -> Result<Server> {
    let server = Server::start(dir, NO_COMPACTION).await?;
    for id in 1..=blocks {
        assert!(send(&server.target(), id).await?);
        flush(&server).await?;
    }
    for id in blocks + 1..=blocks + live {
        assert!(send(&server.target(), id).await?);
    }
    Ok(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_work_beside_a_running_process_and_change_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = written(dir.path(), 2, 3).await?;
    let before = stored::snapshot(&dir.path().join("data"))?;

    let (listed, _) = document(dir.path(), &["blocks", "list"])?;
    let blocks = listed["tenants"][0]["manifest"]["blocks"].as_array().context("blocks")?;
    assert_eq!((blocks.len(), blocks[0]["spans"].as_u64()), (2, Some(10)), "{listed}");
    let id = blocks[0]["id"].as_str().context("an id")?;
    let list = shown(dir.path(), &["blocks", "list", "--tenant", "single-tenant"])?;
    assert!(list.contains(id) && list.contains("2 blocks of 1 tenant"), "{list}");

    let (inspected, _) = document(dir.path(), &["blocks", "inspect", id])?;
    assert_eq!(inspected["meta"]["files"].as_array().map(Vec::len), Some(6), "{inspected}");
    assert_eq!(inspected["row_groups"][0]["rows"].as_u64(), Some(10), "{inspected}");
    assert_eq!(inspected["index"]["traces"].as_u64(), Some(1), "{inspected}");
    let inspect = shown(dir.path(), &["blocks", "inspect", id])?;
    assert!(
        ["spans.parquet", "duration_nanos", "INDEXED FIELD"].iter().all(|part| inspect.contains(part)),
        "{inspect}"
    );

    let (verified, code) = document(dir.path(), &["blocks", "verify", "--all"])?;
    assert_eq!(
        (verified["blocks"].as_u64(), &verified["damages"], code),
        (Some(2), &Value::from(Vec::<Value>::new()), Some(0))
    );
    assert!(shown(dir.path(), &["blocks", "verify", id])?.contains("1 block read"));

    let (plan, _) = document(dir.path(), &["blocks", "query-plan", "{ name = `nowhere` }"])?;
    let outcomes = plan["sources"].as_array().context("sources")?.iter().map(|source| source["outcome"].clone());
    assert_eq!(outcomes.collect::<Vec<_>>(), ["nothing_by_index", "nothing_by_index"], "{plan}");
    let plan = shown(
        dir.path(),
        &["blocks", "query-plan", "{ name = `step 1` }", "--start", "1", "--end", "2030-01-01T00:00:00Z"],
    )?;
    assert!(plan.contains("2 of 2 blocks opened, 2 traces of 20 spans left to read"), "{plan}");

    let (log, code) = document(dir.path(), &["wal", "inspect"])?;
    let requests = |segment: &Value| segment["tenants"]["single-tenant"]["requests"].as_u64();
    let segments = log["segments"].as_array().context("segments")?;
    assert_eq!((segments.iter().filter_map(requests).sum::<u64>(), code), (3, Some(0)), "{log}");
    let wal = shown(dir.path(), &["wal", "inspect"])?;
    assert!(wal.contains("single-tenant") && wal.contains("30 spans"), "{wal}");

    assert!(stored::snapshot(&dir.path().join("data"))? == before, "nothing is changed");
    server.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damaged_file_is_named_with_what_to_do() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), FAST_COMPACTION).await?;
    for id in 1..=8 {
        assert!(send(&server.target(), id).await?);
        flush(&server).await?;
    }
    server.wait_for_metrics(|text| text.contains("tempodb_blocklist_length{tenant=\"single-tenant\"} 1")).await?;
    server.stop()?;
    let block = stored::blocks(dir.path(), "single-tenant")?.pop().context("a block")?;
    assert!(shown(dir.path(), &["blocks", "verify", "--all"])?.contains("1 block read"));
    for file in ["spans.parquet", "traces.parquet", "resources.parquet", "scopes.parquet", "index.bundle", "meta.json"]
    {
        let path = block.join(file);
        let whole = std::fs::read(&path)?;
        for damage in Damage::ALL {
            damage.inflict(&path)?;
            let (verified, code) = document(dir.path(), &["blocks", "verify", &stored::name(&block)])?;
            let found = verified["damages"].as_array().context("damages")?;
            let key = format!("single-tenant/blocks/{}/{file}", stored::name(&block));
            assert_eq!((found.len(), found[0]["key"].as_str(), code), (1, Some(key.as_str()), Some(1)), "{verified}");
            let all = tool(dir.path(), &["blocks", "verify", "--all"])?;
            assert!(
                !all.status.success() && text(&all).contains(&key) && text(&all).contains("mend "),
                "{}",
                text(&all)
            );
            std::fs::write(&path, &whole)?;
        }
    }
    let manifest = stored::manifest(dir.path(), "single-tenant")?;
    Damage::Flip.inflict(&manifest)?;
    for arguments in [["blocks", "verify", "--all"].as_slice(), &["blocks", "list"]] {
        let named = tool(dir.path(), arguments)?;
        assert!(!named.status.success() && text(&named).contains(&stored::name(&manifest)), "{}", text(&named));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_trace_map_is_named_and_the_trace_is_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = written(dir.path(), 4, 0).await?;
    server.wait_for_metrics(|text| text.contains("mosso_trace_maps{tenant=\"single-tenant\"} 1")).await?;
    server.stop()?;
    assert!(shown(dir.path(), &["blocks", "list"])?.contains("1 trace map"));
    assert!(shown(dir.path(), &["blocks", "verify", "--all"])?.contains("4 blocks and 1 trace map read"));
    let map = stored::trace_maps(dir.path(), "single-tenant")?.pop().context("a trace map")?;
    let id = map.file_stem().context("a name")?.to_string_lossy().into_owned();
    let block = stored::blocks(dir.path(), "single-tenant")?.pop().context("a block")?;
    let (inspected, _) = document(dir.path(), &["blocks", "inspect", &stored::name(&block)])?;
    assert_eq!(inspected["trace_map"], Value::from(id.as_str()), "{inspected}");

    Damage::Flip.inflict(&map)?;
    let (verified, code) = document(dir.path(), &["blocks", "verify", "--all"])?;
    let found = verified["damages"].as_array().context("damages")?;
    assert_eq!((found.len(), &found[0]["trace_map_id"], code), (1, &Value::from(id), Some(1)), "{verified}");
    let server = Server::start(dir.path(), NO_COMPACTION).await?;
    let trace = server.target().get("/api/v2/traces/3").await?;
    let trace: Value = serde_json::from_slice(&trace.body)?;
    assert!(trace["trace"]["resourceSpans"].is_array() && trace["status"] != "PARTIAL", "{trace}");
    server.wait_for_metrics(|text| text.contains("mosso_storage_damaged_total{file=\"trace_map\"} 1")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_described_and_left_as_it_is() -> Result<()> {
    let dir = tempfile::tempdir()?;
    written(dir.path(), 0, 3).await?.kill()?;
    let segment = stored::segments(dir.path())?.pop().context("a segment")?;
    let mut content = std::fs::read(&segment)?;
    content[200] ^= 0x10; // in the first entry
    content.truncate(content.len() - 1); // in the last one
    std::fs::write(&segment, &content)?;
    let (log, code) = document(dir.path(), &["wal", "inspect"])?;
    let inspected = log["segments"].as_array().and_then(|segments| segments.last()).context("a segment")?;
    assert_eq!(inspected["tenants"]["single-tenant"]["requests"].as_u64(), Some(1), "{log}");
    assert_eq!((inspected["damages"][0]["offset"].as_u64(), code), (Some(88), Some(1)), "{log}");
    assert!(inspected["torn_at"].as_u64().is_some_and(|offset| offset > 200), "{log}");
    let shown = text(&tool(dir.path(), &["wal", "inspect"])?);
    assert!(shown.contains("at byte 88: ") && shown.contains("torn: segment"), "{shown}");
    assert!(std::fs::read(&segment)? == content, "the torn tail stays");
    Ok(())
}

#[test]
fn what_is_not_there_is_said_in_one_line() -> Result<()> {
    let dir = tempfile::tempdir()?;
    config_in(dir.path(), "")?;
    let refused = |arguments: &[&str], what: &str| -> Result<()> {
        let output = tool(dir.path(), arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.lines().count() == 1 && said.contains(what), "{arguments:?}: {said}");
        Ok(())
    };
    refused(&["blocks", "list"], "data/blocks")?;
    refused(&["wal", "inspect"], "data/wal")?;
    std::fs::create_dir_all(dir.path().join("data/blocks"))?;
    refused(&["blocks", "inspect", "0190163d-8694-739b-aea5-966c26f8ad91"], "0190163d-8694-739b-aea5-966c26f8ad91")?;
    refused(&["blocks", "list", "--tenant", "x"], "tenant x has no blocks")?;
    refused(&["blocks", "query-plan", "{ }"], "--tenant")?;
    Ok(())
}
