//! A disk that fills up under a running process, or was full before it started. A limit on the size of files stands for it: it needs no privileges, and
//! the system's answers are the real ones, a short write and then errors.

use anyhow::{Context, Result, ensure};

use crate::durability::assert_all_there;
use crate::server::Server;
use crate::traffic::{post, trace};

/// Room for the log: some requests.
const LOG_BYTES: &str = "65536";
/// More requests than fit.
const MOST_REQUESTS: u128 = 1_000;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_spans_for_now_and_loses_none() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start_within_file_limit(dir.path(), LOG_BYTES).await?;
    let target = server.target();

    let mut acknowledged = Vec::new();
    let refused = loop {
        let next = acknowledged.len() as u128 + 1;
        ensure!(next < MOST_REQUESTS, "the log takes more than its limit");
        let answer = post(&target, next).await?;
        if answer.status != 200 {
            break answer;
        }
        acknowledged.push(next);
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_all_there(&target, &acknowledged).await?;

    let answer = target.otlp_grpc()?.unary(EXPORT, trace(MOST_REQUESTS)).await?;
    let (code, message) = answer.err().context("it is refused over gRPC, too")?;
    assert_eq!(code, 14, "{message}");

    server.limit_files("unlimited")?;
    let next = acknowledged.len() as u128 + 1;
    assert_eq!(post(&target, next).await?.status, 200);
    acknowledged.push(next);
    assert_all_there(&target, &acknowledged).await?;

    server.kill()?;
    let server = Server::start(dir.path(), "").await?;
    assert_all_there(&server.target(), &acknowledged).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_answers_and_takes_spans_once_there_is_room() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let mut acknowledged = vec![1, 2];
    assert_eq!(post(&server.target(), 1).await?.status, 200);
    assert_eq!(flush(&server).await?, 204);
    assert_eq!(post(&server.target(), 2).await?.status, 200);
    server.kill()?;

    let server = Server::start_within_file_limit(dir.path(), "0").await?;
    let target = server.target();
    assert_all_there(&target, &acknowledged).await?;
    let refused = post(&target, 3).await?;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));

    server.limit_files("unlimited")?;
    assert_eq!(post(&target, 4).await?.status, 200);
    acknowledged.push(4);
    assert_all_there(&target, &acknowledged).await?;
    assert_eq!(flush(&server).await?, 204);
    assert_all_there(&target, &acknowledged).await
}

async fn flush(server: &Server) -> Result<u16> {
    Ok(server.target().http(&server.api, "POST", "/flush", &[], None).await?.status)
}
