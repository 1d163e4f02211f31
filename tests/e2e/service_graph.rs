//! The service map that is computed from traces, beside the series that are made of the same spans: live, stored, and
//! split over both.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::generated::{EDGES, ON, REQUESTS, halves, post, scraped, send_calls};
use crate::server::{Server, metric};
use crate::traffic::{json, window};

/// Requests by connection, and the sum of the durations that clients saw.
async fn edges(server: &Server, query: &str) -> Result<BTreeMap<String, (f64, f64)>> {
    let graph = json(&server.target(), &format!("/api/service-graph?{}{query}", window())).await?;
    anyhow::ensure!(graph["status"] == "COMPLETE", "{graph}");
    let edge = |edge: &serde_json::Value| {
        let requests = edge["requests"].as_f64().context("requests")?;
        let seconds = edge["clientSeconds"]["average"].as_f64().unwrap_or_default() * requests;
        Ok((format!("{} {}", edge["client"], edge["server"]), (requests, seconds)))
    };
    graph["edges"].as_array().context("edges")?.iter().map(edge).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_of_traces_counts_what_the_series_count() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), ON).await?;
    send_calls(&server.target(), 1..21).await?;
    // the halves of these lie in a block and in live rows, and so do copies
    for trace in 21..31 {
        post(&server.target(), &halves(trace)[0]).await?;
    }
    server.target().get("/flush").await?;
    for trace in 21..31 {
        for half in halves(trace) {
            post(&server.target(), &half).await?;
        }
    }
    server.wait_for_metrics(|text| metric(text, EDGES) == 30.0).await?;
    assert_eq!(scraped(&server).await?.get(REQUESTS), Some(&30.0));
    for query in ["", "&q=%7B%20resource.service.name%20%3D%20%22stock%22%20%7D"] {
        let edges = edges(&server, query).await?;
        let (requests, seconds) = edges[r#""shop" "stock""#];
        assert_eq!((edges.len(), requests), (1, 30.0), "{edges:?}");
        assert!((seconds - 0.9).abs() < 1e-9, "{seconds}");
    }
    assert_eq!(edges(&server, "&q=%7B%20status%20%3D%20error%20%7D").await?, BTreeMap::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_see_their_own_graph() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "multitenancy_enabled: true").await?;
    let of = |tenant: &str| {
        let mut target = server.target();
        target.headers.push(("X-Scope-OrgID".to_owned(), tenant.to_owned()));
        target
    };
    for half in halves(1) {
        post(&of("one"), &half).await?;
    }
    for (tenant, edges) in [("one", 1), ("another", 0)] {
        let graph = json(&of(tenant), &format!("/api/service-graph?{}", window())).await?;
        assert_eq!(graph["edges"].as_array().map(Vec::len), Some(edges), "{tenant}");
    }
    Ok(())
}
