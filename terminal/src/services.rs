//! `mosso services`: who is there, and how they do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::args::{Range, Server, Times};
use crate::client::{Client, MetricsAnswer};
use crate::error::Error;
use crate::results::on;
use crate::screen::{Form, Output, Screen, Style, print};
use crate::spark::sparkline;
use crate::table::{Cell, Column, Table};

const NAME: &str = "resource.service.name";
const CURVE_CELLS: usize = 24;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// What is known of a service. Figures are of all its spans.
#[derive(Debug, Default, PartialEq)]
struct Service {
    spans_per_second: f64,
    curve: Vec<f64>,
    /// Of its spans, 0 to 1.
    errors: f64,
    p50_seconds: f64,
    p95_seconds: f64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (client, screen) = (Client::new(&arguments.server)?, Screen::of(arguments.output));
    let services = known(&client, arguments.range.times()?).await?;
    match screen.form {
        Form::Json => print(&format!("{}\n", document(&services)))?,
        Form::People if services.is_empty() => {
            print("no spans in this range; `mosso demo` sends some, --since 24h looks further back\n")?;
        }
        Form::People | Form::Tsv => table(&services).print(&screen)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn known(client: &Client, times: Times) -> Result<BTreeMap<String, Service>, Error> {
    let all = format!("{{ }} | rate() by ({NAME})");
    let failed = format!("{{ status = error }} | rate() by ({NAME})");
    let durations = format!("{{ }} | quantile_over_time(duration, .5, .95) by ({NAME})");
    let (curves, rates, errors, durations) = tokio::try_join!(
        client.metrics(&all, times, None),
        client.instant(&all, times),
        client.instant(&failed, times),
        client.instant(&durations, times),
    )?;
    Ok(joined(&curves.1, &rates.1, &errors.1, &durations.1))
}

fn joined(
    curves: &MetricsAnswer,
    rates: &MetricsAnswer,
    errors: &MetricsAnswer,
    durations: &MetricsAnswer,
) -> BTreeMap<String, Service> {
    let mut services = BTreeMap::<String, Service>::new();
    for series in &rates.series {
        let service = Service { spans_per_second: series.value, ..Service::default() };
        services.insert(series.labels.get(NAME).unwrap_or_default().to_owned(), service);
    }
    let moments: BTreeSet<u64> =
        curves.series.iter().flat_map(|series| &series.samples).map(|s| s.timestamp_ms).collect();
    let mut each = |answer: &MetricsAnswer, set: &dyn Fn(&mut Service, &crate::client::Series)| {
        for series in &answer.series {
            if let Some(service) = series.labels.get(NAME).and_then(|name| services.get_mut(name)) {
                set(service, series);
            }
        }
    };
    each(curves, &|service, series| service.curve = on(&moments, series));
    each(errors, &|service, series| service.errors = series.value / service.spans_per_second);
    each(durations, &|service, series| match series.labels.get("p").and_then(|p| p.parse::<f64>().ok()) {
        Some(p) if p < 0.9 => service.p50_seconds = series.value,
        _ => service.p95_seconds = series.value,
    });
    services
}

fn nanos(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}

fn table(services: &BTreeMap<String, Service>) -> Table {
    let mut table = Table::new([
        Column::text("SERVICE"),
        Column::number("SPANS/S"),
        Column::picture("OVER TIME"),
        Column::number("ERRORS %"),
        Column::number("P50"),
        Column::number("P95"),
    ]);
    for (name, service) in services {
        let style = if service.errors > 0.0 { Style::Error } else { Style::Dim };
        table.row([
            Cell::text(name).styled(Style::Service),
            Cell::number(service.spans_per_second),
            Cell::text(sparkline(&service.curve, CURVE_CELLS)),
            Cell::number(service.errors * 100.0).styled(style),
            Cell::duration(nanos(service.p50_seconds)),
            Cell::duration(nanos(service.p95_seconds)),
        ]);
    }
    table
}

fn document(services: &BTreeMap<String, Service>) -> serde_json::Value {
    let service = |(name, service): (&String, &Service)| {
        json!({
            "service": name,
            "spansPerSecond": service.spans_per_second,
            "errorRatio": service.errors,
            "p50Nanos": nanos(service.p50_seconds),
            "p95Nanos": nanos(service.p95_seconds),
        })
    };
    services.iter().map(service).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(series: &[(&str, &str, f64)]) -> MetricsAnswer {
        let label = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let series: Vec<_> = series
            .iter()
            .map(|(name, p, value)| json!({"labels": [label(NAME, name), label("p", p)], "value": value}))
            .collect();
        serde_json::from_value(json!({ "series": series })).unwrap()
    }

    #[test]
    fn figures_of_a_service_come_together_by_its_name() {
        let rates = answer(&[("shop", "", 4.0), ("mail", "", 1.0)]);
        let durations = answer(&[("shop", "0.5", 0.25), ("shop", "0.95", 1.5)]);
        let services = joined(&MetricsAnswer::default(), &rates, &answer(&[("shop", "", 1.0)]), &durations);
        let shop = &services["shop"];
        assert_eq!((shop.errors, shop.p50_seconds, shop.p95_seconds), (0.25, 0.25, 1.5));
        let shown = table(&services).show(&Screen::for_tests(Form::Tsv, 80), true);
        let expected = "service\tspans/s\terrors_%\tp50\tp95\nmail\t1\t0\t0\t0\nshop\t4\t25\t250000000\t1500000000\n";
        assert_eq!(shown, expected);
    }
}
