//! Large queries are looked at by several processes; the answers are those of one, also while one of them is killed.

use std::time::{Duration, Instant};

use anyhow::Result;
use conformance::Target;
use serde_json::Value;

use crate::cluster::{Folders, encoded, flush};
use crate::server::{Server, metric};
use crate::traffic::{json, send, window};

const BLOCKS: u128 = 16;
/// How long a process may take to be in the lists of the others.
const PATIENCE: Duration = Duration::from_secs(30);
/// Any query is dealt out.
const SPREAD: &str = "spread_queries_from_bytes: 1";

const QUESTIONS: [&str; 6] = [
    "/api/search?limit=1000&spss=3&q={ name = \"step 3\" } | select(duration)",
    "/api/search?limit=7&q={ } | count() = 10",
    "/api/search?limit=1000&q={ name = \"step 0\" } >> { name = \"step 9\" }",
    "/api/search?tags=name%3D%22step+1%22&limit=100",
    "/api/metrics/query?q={ } | count_over_time() by (name)",
    "/api/metrics/query?q={ name =~ \"step [1-5]\" } | avg_over_time(duration)",
];

/// What is answered, without what it cost.
async fn answers(target: &Target, window: &str) -> Result<Vec<Value>> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        let path = match question.split_once("q=") {
            Some((path, query)) => format!("{path}q={}", encoded(query)),
            None => question.to_owned(),
        };
        let mut answer = json(target, &format!("{path}{window}")).await?;
        let metrics = &answer["metrics"];
        assert_eq!(metrics["completedJobs"], metrics["totalJobs"], "{question}: {answer}");
        answer["metrics"] = Value::Null;
        answers.push(answer);
    }
    Ok(answers)
}

async fn counted(server: &Server, name: &str) -> Result<f64> {
    Ok(metric(&String::from_utf8(server.target().get("/metrics").await?.body)?, name))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_by_several_processes_as_by_one_while_they_come_and_go() -> Result<()> {
    let folders = Folders::new()?;
    let writer = folders.start("writer", "target: writer").await?;
    for block in 0..BLOCKS {
        for trace in 0..3 {
            assert!(send(&writer.target(), block * 10 + trace + 1).await?);
        }
        flush(&writer).await?;
    }
    let window = window();
    let querier = async |name: &str| folders.start_in(name, SPREAD, "target: querier").await;
    let (asked, second, third) = tokio::try_join!(querier("asked"), querier("second"), querier("third"))?;
    let expected = answers(&writer.target(), &window).await?;
    let others = [&second, &third];
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert_eq!(answers(&asked.target(), &window).await?, expected);
        let mut done = 0;
        for other in others {
            done += usize::from(counted(other, "mosso_query_jobs_done_for_others_total").await? > 0.0);
        }
        if done == others.len() {
            break;
        }
        assert!(Instant::now() < deadline, "the others were given no jobs");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(counted(&asked, "mosso_query_jobs_total").await? > 0.0);
    assert_eq!(counted(&writer, "mosso_query_jobs_done_for_others_total").await?, 0.0, "a writer does no jobs");

    // one is killed while it is asked
    let asking = tokio::spawn({
        let (target, window) = (asked.target(), window.clone());
        async move {
            let mut all = Vec::new();
            for _ in 0..6 {
                all.push(answers(&target, &window).await?);
            }
            anyhow::Ok(all)
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    second.kill()?;
    for answers in asking.await?? {
        assert_eq!(answers, expected, "while a process was killed");
    }
    third.stop()?;
    assert_eq!(answers(&asked.target(), &window).await?, expected, "the others are gone");
    Ok(())
}
