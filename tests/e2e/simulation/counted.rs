//! Metrics that are made from the spans of a run: every span and every call is a series of its own, which must have counted
//! it once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use generator::remote_write::RemoteWriteConfig;
use generator::{Format, Generator, Limits, Processor, ServiceGraphs, TenantConfig};
use model::TenantId;
use mosso::config::Generated;

use super::model::Bounds;
use super::spans::{NUMBER, name};

/// Spans lie in other times than a run.
const SLACK: Duration = Duration::from_secs(400 * 24 * 3600);
/// How often what was counted is stored, in simulated time.
const PERIOD: Duration = Duration::from_secs(2);

/// What is generated in a run.
pub fn generated() -> Generated {
    let service_graphs =
        ServiceGraphs { dimensions: vec![NUMBER.to_owned()], enable_client_server_prefix: true, ..Default::default() };
    let default = TenantConfig {
        processors: vec![Processor::SpanMetricsCount, Processor::ServiceGraphsRequest],
        service_graphs,
        slack: SLACK,
        limits: Limits::default(),
        ..TenantConfig::default()
    };
    Generated {
        config: generator::Config { default, collection_interval: PERIOD, ..Default::default() },
        remote_write: RemoteWriteConfig {
            targets: Vec::new(),
            max_queue_bytes: 0,
            has_tenant_header: false,
            tenant_headers: Default::default(),
            default_headers: BTreeMap::new(),
        },
    }
}

/// Fails unless all spans and calls were counted as often as they may be.
pub fn check(
    generator: &Generator,
    tenant: &TenantId,
    spans: &BTreeMap<u64, Bounds>,
    calls: &BTreeMap<(u64, u64), Bounds>,
) -> Result<()> {
    let text = generator.exposition(tenant, Format::Text);
    for (number, bounds) in spans {
        judge(&text, "traces_spanmetrics_calls_total{", &[("span_name", &name(*number))], *bounds)
            .with_context(|| format!("span {number}"))?;
    }
    for ((client, server), bounds) in calls {
        let labels = [("client_number", client.to_string()), ("server_number", server.to_string())];
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
        judge(&text, "traces_service_graph_request_total{", &labels, *bounds)
            .with_context(|| format!("the call of span {client} that span {server} answers"))?;
    }
    Ok(())
}

fn judge(text: &str, family: &str, labels: &[(&str, &str)], Bounds { least, most }: Bounds) -> Result<()> {
    let has = |line: &str, (name, value): &(&str, &str)| line.contains(&format!("{name}=\"{value}\""));
    let series = text.lines().filter(|line| line.starts_with(family) && labels.iter().all(|label| has(line, label)));
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    let counted = values.sum::<f64>() as usize;
    ensure!((least..=most).contains(&counted), "it was counted {counted} times, not {least} to {most} times");
    Ok(())
}
