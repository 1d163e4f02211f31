//! A run: send the dataset, wait until all of it can be found, ask every case, and judge the answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::ask::{Purpose, ask};
use crate::case::{Case, Golden, Reference, load_cases, load_golden};
use crate::dataset::{Dataset, Request};
use crate::http::split_root;
use crate::json::shorter;
use crate::judge::{accepted, judge, with_sent_values};
use crate::report::{Report, Verdict};
use crate::target::Target;

/// The cases of some areas, in the order in which they must run; of all areas when none is named.
pub fn cases_of(areas: &[&str]) -> Result<Vec<Case>> {
    let mut cases = load_cases()?;
    for area in areas {
        ensure!(cases.iter().any(|c| c.area == *area), "no area {area}");
    }
    cases.retain(|c| areas.is_empty() || areas.contains(&c.area.as_str()));
    Ok(cases)
}

/// Sends the dataset. The store must not have it yet, because ids never change.
pub async fn ingest(target: &Target, dataset: &Dataset) -> Result<()> {
    ingest_requests(target, dataset.requests()).await
}

/// Sends some requests of a dataset in order; every one of them must be accepted.
pub async fn ingest_requests(target: &Target, requests: &[Request]) -> Result<()> {
    for (i, request) in requests.iter().enumerate() {
        let (body, media_type) = request.body()?;
        let headers = [("Content-Type".to_owned(), media_type.to_owned())];
        let response = target.http(&target.otlp, "POST", "/v1/traces", &headers, Some(&body)).await?;
        let text = String::from_utf8_lossy(&response.body);
        ensure!(response.status == 200, "request {i} of the dataset was refused: {} {text}", response.status);
    }
    Ok(())
}

/// Waits until a search over the whole window gives every trace, twice the same. `Ok(false)` if that did not happen in time.
pub async fn wait_visible(target: &Target, dataset: &Dataset, patience: Duration) -> Result<bool> {
    let (base, end, limit) = (dataset.base, dataset.base + dataset.window, 2 * dataset.traces());
    let path = format!("/api/search?q=%7B%7D&start={base}&end={end}&limit={limit}&spss=1");
    let deadline = Instant::now() + patience;
    let mut before = None;
    loop {
        let response = target.get(&path).await?;
        let now = if response.status == 200 { Some(found(&response.body)?) } else { None };
        if now.as_ref().is_some_and(|found| found.len() >= dataset.traces()) && now == before {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Trace ids with the number of spans that matched, sorted.
fn found(body: &[u8]) -> Result<Vec<(String, String)>> {
    let doc: Value = serde_json::from_slice(body).context("read a search answer")?;
    let traces = doc["traces"].as_array().map_or(&[][..], Vec::as_slice);
    let pair = |trace: &Value| (trace["traceID"].to_string(), trace["spanSets"][0]["matched"].to_string());
    let mut found: Vec<_> = traces.iter().map(pair).collect();
    found.sort();
    Ok(found)
}

/// An empty POST, such as the one that makes a server flush.
pub async fn post(target: &Target, url: &str) -> Result<()> {
    let (authority, path) = split_root(url)?;
    let path = if path.is_empty() { "/" } else { path };
    target.http(&format!("http://{authority}"), "POST", path, &[], None).await?;
    Ok(())
}

/// Asks the cases one after another. Cases of OTLP over gRPC are left out when the target has no gRPC address.
///
/// An answer that cannot be had is a difference of that case; an error is returned only if the suite itself cannot be read.
pub async fn run(target: &Target, dataset: &Dataset, cases: &[Case]) -> Result<Report> {
    let golden = load_golden()?;
    let mut verdicts = Vec::new();
    for case in cases.iter().filter(|case| target.grpc.is_some() || !case.needs_otlp_grpc()) {
        let start = Instant::now();
        let differences = check(target, dataset, case, &golden).await.unwrap_or_else(|e| vec![format!("{e:#}")]);
        verdicts.push(Verdict::new(case, differences, start.elapsed(), &dataset.names));
    }
    Ok(Report { verdicts })
}

async fn check(target: &Target, dataset: &Dataset, case: &Case, golden: &Golden) -> Result<Vec<String>> {
    let skip = case.reference == Some(Reference::Skip);
    let want = golden.get(&case.id).filter(|_| !skip);
    if want.is_none() && !skip {
        return Ok(vec!["no golden answer is recorded for this case".into()]);
    }
    let got = ask(target, dataset, case, Purpose::Check).await?;
    let (differences, got) = match want {
        Some(want) => {
            let corrected = with_sent_values(case, want, got.clone(), dataset)?;
            (judge(case, want, &Value::Object(corrected))?, Value::Object(got))
        }
        None => {
            let got = Value::Object(got);
            (vec![format!("not a right answer: {}", shorter(&got, 600))], got)
        }
    };
    let right = differences.is_empty() || accepted(case, &got, golden, dataset)?;
    Ok(if right { Vec::new() } else { differences })
}
