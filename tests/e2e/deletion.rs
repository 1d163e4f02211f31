//! Deletion of traces: gone from every answer at once, from what is remembered and from what is live, and from files with the
//! next compaction.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context, Result};
use conformance::Target;
use serde_json::{Value, json};

use crate::server::Server;

/// In every name and value of the traces that are deleted, and nowhere else; and a key that only they have.
const SECRET: &str = "apricot";
const KEY: &str = "seed";
const RANGE: &str = "start=1699999990&end=1700000100";
const CONFIG: &str = "deletion: {enabled: true}\ncompactor: {compaction: {compaction_cycle: 100ms}}";

async fn send(target: &Target, trace: u32, word: &str) -> Result<()> {
    let attribute = json!({"key": if word == SECRET { KEY } else { "stone" }, "value": {"stringValue": word}});
    let span = json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{trace:016x}"), "name": word,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000", "attributes": [attribute],
    });
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": word}}]});
    let body = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).to_string();
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    let sent = target.http(&target.otlp, "POST", "/v1/traces", &headers, Some(body.as_bytes())).await?;
    assert_eq!(sent.status, 200);
    Ok(())
}

async fn ask(target: &Target, method: &str, path: &str, body: Option<Value>) -> Result<(u16, String)> {
    let body = body.map(|body| body.to_string());
    let answer = target.http(&target.api, method, path, &[], body.as_ref().map(|body| body.as_bytes())).await?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

/// What every kind of question finds.
async fn all(target: &Target) -> Result<HashMap<String, String>> {
    let mut answers = HashMap::new();
    for path in [
        "/api/search?q=%7B%7D&limit=50&",
        "/api/search?q=%7B%7D%7Ccount()%3E0&limit=50&",
        "/api/metrics/query?q=%7B%7D%7Ccount_over_time()%20by(name)&",
        "/api/metrics/query_range?q=%7B%7D%7Ccount_over_time()%20by(name)&step=100&",
        "/api/v2/search/tags?",
        "/api/v2/search/tag/name/values?",
        "/api/v2/search/tag/resource.service.name/values?",
        "/api/v2/search/tag/span.seed/values?",
        "/api/v2/search/tag/name/values?q=%7Bstatus%3Dunset%7D&",
        "/api/v2/traces/1?",
        "/api/v2/traces/2?",
    ] {
        answers.insert(path.to_owned(), ask(target, "GET", &format!("{path}{RANGE}"), None).await?.1);
    }
    Ok(answers)
}

/// Nothing is left of what was deleted, and all else is there.
async fn assert_gone(target: &Target, state: &str) -> Result<()> {
    for (path, answer) in all(target).await? {
        assert!(!answer.contains(SECRET) && !answer.contains(KEY), "{state}: {path}: {answer}");
        let is_of_others = !path.contains(KEY) && !path.contains("traces/1?");
        assert!(!is_of_others || answer.contains("plum") || answer.contains("stone"), "{state}: {path}: {answer}");
    }
    Ok(())
}

async fn report(target: &Target) -> Result<Value> {
    Ok(serde_json::from_str(&ask(target, "GET", "/api/deletions", None).await?.1)?)
}

/// Waits until files have nothing of what was deleted.
async fn wait_for_files(target: &Target) -> Result<Value> {
    loop {
        let report = report(target).await?;
        let traces = report["traces"].as_array().context("traces")?;
        if traces.iter().all(|trace| trace["isGoneFromBlocks"] == true) && report["blocks_to_rewrite"] == json!([]) {
            return Ok(report);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_traces_are_gone_at_once_wherever_they_are_and_stay_gone() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), CONFIG).await?;
    let target = server.target();
    // at rest, and remembered
    send(&target, 1, SECRET).await?;
    send(&target, 2, "plum").await?;
    assert_eq!(ask(&target, "POST", "/flush", None).await?.0, 204);
    for _ in 0..2 {
        assert!(
            all(&target)
                .await?
                .iter()
                .all(|(path, found)| found.contains(SECRET) || found.contains(KEY) || path.contains("traces/2?"))
        );
    }
    let (status, answer) = ask(&target, "POST", "/api/deletions", Some(json!({"traceIDs": ["1"]}))).await?;
    let deleted = json!({"deleted": 1, "complete": true, "traces": [{"traceID": format!("{:032x}", 1)}]});
    assert_eq!((status, serde_json::from_str::<Value>(&answer)?), (200, deleted));
    assert_gone(&target, "at rest").await?;
    let report = wait_for_files(&target).await?;
    assert_eq!(report["traces"][0]["traceID"], format!("{:032x}", 1));
    assert_gone(&target, "written anew").await?;
    assert!(!files_have(dir.path(), SECRET)?, "files of blocks that a manifest names");

    // live, found by a query
    for trace in 3..6 {
        send(&target, trace, SECRET).await?;
    }
    let query = json!({"query": "{ name = `apricot` }", "start": 1_699_999_990, "end": 1_700_000_100});
    let (status, answer) = ask(&target, "POST", "/api/deletions", Some(query)).await?;
    let deleted: Value = serde_json::from_str(&answer)?;
    assert_eq!((status, &deleted["deleted"], &deleted["complete"]), (200, &json!(3), &json!(true)), "{answer}");
    assert_gone(&target, "live").await?;
    // late spans of a deleted trace are deleted with it
    send(&target, 1, SECRET).await?;
    assert_gone(&target, "late").await?;
    wait_for_files(&target).await?;
    assert_gone(&target, "written anew").await?;
    server.stop()?;

    let server = Server::start(dir.path(), CONFIG).await?;
    assert_gone(&server.target(), "after a restart").await?;
    Ok(())
}

/// Whether the files of a block that is not waiting to be deleted have a text that is not compressed away: the small tables.
fn files_have(dir: &std::path::Path, text: &str) -> Result<bool> {
    let manifests = dir.join("data/blocks/single-tenant/manifest");
    let mut names: Vec<_> = std::fs::read_dir(manifests)?.collect::<std::io::Result<Vec<_>>>()?;
    names.sort_by_key(std::fs::DirEntry::path);
    let newest: Value = serde_json::from_slice(&std::fs::read(names.last().context("a manifest")?.path())?)?;
    for block in newest["manifest"]["blocks"].as_array().context("blocks")? {
        let block = dir.join("data/blocks/single-tenant/blocks").join(block["id"].as_str().context("an id")?);
        for file in std::fs::read_dir(block)? {
            let bytes = std::fs::read(file?.path())?;
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// `mosso delete` as a program runs it: its rows without the heading, and what it says beside them.
fn delete(target: &Target, arguments: &[&str]) -> Result<(Option<i32>, Vec<Vec<String>>, String)> {
    let mosso = env!("CARGO_BIN_EXE_mosso");
    let ended = Command::new(mosso).arg("delete").args(arguments).env("MOSSO_URL", &target.api).output()?;
    let rows = String::from_utf8(ended.stdout)?;
    let rows = rows.lines().skip(1).map(|row| row.split('\t').map(str::to_owned).collect()).collect();
    Ok((ended.status.code(), rows, String::from_utf8(ended.stderr)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_deletes_and_proves_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), CONFIG).await?;
    let target = server.target();
    for (trace, word) in [(1, SECRET), (2, "plum"), (3, SECRET)] {
        send(&target, trace, word).await?;
    }
    assert_eq!(ask(&target, "POST", "/flush", None).await?.0, 204);
    let range = ["--from=1699999990", "--to=1700000100"];
    let query = [&["--query={ name = `apricot` }"], &range[..]].concat();

    let (code, rows, said) = delete(&target, &[&query[..], &["--dry-run"]].concat())?;
    assert!(code == Some(0) && said.contains("2 traces would be deleted"), "{said}");
    let expected = [3, 1].map(|trace| {
        vec![format!("{trace:032x}"), "2023-11-14T22:13:20.000Z".to_owned(), SECRET.to_owned(), SECRET.to_owned()]
    });
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(rows), sorted(expected.to_vec()));
    assert!(all(&target).await?.values().any(|answer| answer.contains(SECRET)), "a dry run deletes nothing");
    assert!(server.log_lines(&["mosso::audit", "traces deleted"]).is_empty());

    let (code, rows, said) = delete(&target, &[&query[..], &["--wait=60s"]].concat())?;
    assert!(code == Some(0) && said.contains("no block has them any more"), "{said}");
    assert!(rows.len() == 2 && rows.iter().all(|row| row[2] == "gone"), "{rows:?}");
    assert_gone(&target, "deleted by query").await?;
    server.wait_for_log(&["mosso::audit", "traces deleted", "deleted=2", &format!("{:032x}", 3)]).await?;

    let (code, rows, _) = delete(&target, &["2", "--wait=60s"])?;
    assert_eq!((code, rows.len()), (Some(0), 1));
    assert_eq!(ask(&target, "GET", "/api/traces/2", None).await?.0, 404);
    let (code, rows, _) = delete(&target, &[])?;
    assert_eq!((code, rows.len()), (Some(0), 3), "what became of all that were deleted");
    server.stop()?;

    let server = Server::start(dir.path(), "").await?;
    let (code, _, said) = delete(&server.target(), &["2"])?;
    assert!(code == Some(1) && said.contains("deletion: {enabled: true}"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_deleted_unless_it_is_switched_on_and_said_what() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let ids = json!({"traceIDs": ["1"]});
    assert_eq!(ask(&server.target(), "POST", "/api/deletions", Some(ids)).await?.0, 404);
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), CONFIG).await?;
    for (wrong, problem) in [
        (json!({}), "name traceIDs, or a query"),
        (json!({"traceIDs": ["x"]}), "hex characters"),
        (json!({"query": "{ }"}), "a query goes with start and end"),
        (json!({"query": "{ foo }", "start": 1, "end": 2}), "unknown identifier"),
        (json!({"ids": []}), "unknown field"),
    ] {
        let (status, text) = ask(&server.target(), "POST", "/api/deletions", Some(wrong)).await?;
        assert!(status == 400 && text.contains(problem), "{status} {text}");
    }
    Ok(())
}
