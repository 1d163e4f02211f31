//! Similar spans of a trace as one, where the operator allows it.

use anyhow::{Context, Result};
use conformance::{Dataset, Target, base_for_now, ingest};
use serde_json::Value;

use crate::server::Server;

const ALLOWED: &str = "query_frontend: {trace_by_id: {span_pruning_enabled: true}}";
const BY_DEFAULT: &str =
    "query_frontend: {trace_by_id: {span_pruning_enabled: true, span_pruning_enabled_by_default: true}}";
const WANTED_BY_TENANTS: &str = "overrides: {defaults: {read: {span_pruning_enabled: true}}}";
const UNWANTED_BY_TENANTS: &str = "overrides: {defaults: {read: {span_pruning_enabled: false}}}";

async fn ask(target: &Target, id: &str, params: &str) -> Result<(u16, String)> {
    let path = format!("/api/v2/traces/{id}?{params}");
    let answer = target.http(&target.api, "GET", &path, &[], None).await?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

fn spans(answer: &Value) -> Vec<&Value> {
    let resources = answer["trace"]["resourceSpans"].as_array().into_iter().flatten();
    let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().into_iter().flatten());
    scopes.flat_map(|scope| scope["spans"].as_array().into_iter().flatten()).collect()
}

/// For how many spans one stands.
fn count(span: &Value) -> Option<u64> {
    let attributes = span["attributes"].as_array()?;
    let count = attributes.iter().find(|pair| pair["key"] == "aggregation.span_count")?;
    count["value"]["intValue"].as_str()?.parse().ok()
}

/// A hub with two hundred leaves of ten names, of which one has ten that failed.
#[tokio::test(flavor = "multi_thread")]
async fn similar_spans_are_one_where_that_is_allowed() -> Result<()> {
    for (config, asked) in [
        ("", &[("span_pruning=true&span_pruning_min_spans=x", 201)][..]),
        (WANTED_BY_TENANTS, &[("", 201)]),
        (&format!("{ALLOWED}\n{WANTED_BY_TENANTS}"), &[("", 1 + 11), ("span_pruning=0", 201)]),
        (&format!("{BY_DEFAULT}\n{UNWANTED_BY_TENANTS}"), &[("", 201), ("span_pruning=true", 1 + 11)]),
        (
            ALLOWED,
            &[
                ("", 201),
                ("span_pruning=false", 201),
                ("span_pruning=true&span_pruning_min_spans=21", 201),
                ("span_pruning=true&span_pruning_min_spans=11", 201 - 9 * 19),
                ("span_pruning=true&span_pruning_group_by=leaf.gr*", 1 + 20),
                ("span_pruning=true", 1 + 11),
            ],
        ),
        (BY_DEFAULT, &[("", 1 + 11), ("span_pruning=0", 201)]),
    ] {
        let dir = tempfile::tempdir()?;
        let server = Server::start(dir.path(), config).await?;
        let (target, dataset) = (server.target(), Dataset::load(base_for_now())?);
        ingest(&target, &dataset).await?;
        for (params, expected) in asked {
            let (status, text) = ask(&target, dataset.trace_id("wide_fan")?, params).await?;
            assert_eq!(status, 200, "{config} {params}: {text}");
            assert_eq!(
                ask(&target, dataset.trace_id("wide_fan")?, params).await?.1,
                text,
                "{config} {params}: the same again"
            );
            let answer: Value = serde_json::from_str(&text)?;
            let found = spans(&answer);
            assert_eq!(found.len(), *expected, "{config} {params}");
            let hub = found.iter().find(|span| span["name"] == "hub").context("no hub")?;
            let leaves: Vec<&&Value> = found.iter().filter(|span| span["name"] != "hub").collect();
            assert!(leaves.iter().all(|leaf| leaf["parentSpanId"] == hub["spanId"]), "{config} {params}");
            assert_eq!(leaves.iter().map(|leaf| count(leaf).unwrap_or(1)).sum::<u64>(), 200, "{config} {params}");
            assert_eq!(answer["status"] == "PARTIAL", *expected < 201, "{config} {params}: {}", answer["message"]);
        }
    }
    Ok(())
}
