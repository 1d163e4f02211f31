use super::*;
use crate::config::Processor;
use crate::registry::SeriesValue;
use crate::remote_write::Protocol;
use crate::testing::{START_NANOS, Sent, client, producer, server, table};

const SECOND: u64 = 1_000_000_000;

fn history() -> History {
    let processors = ["span-metrics", "service-graphs", "host-info"];
    let processors = processors.iter().map(|name| Processor::parse(name).unwrap()).collect();
    History::new(TenantId::single(), &TenantConfig { processors, ..TenantConfig::default() }).unwrap()
}

fn second(number: u64) -> Range<u64> {
    START_NANOS + number * SECOND..START_NANOS + (number + 1) * SECOND
}

/// What a counter has counted, all its series together.
fn counted(history: &History, name: &str) -> f64 {
    let family = history.registry.families().iter().find(|family| family.name == name).unwrap();
    let value = |value: &SeriesValue| match value {
        SeriesValue::Number(number) => *number,
        _ => 0.0,
    };
    family.series().map(|series| value(&series.value)).sum()
}

/// A trace whose call is over in the third second, and a message that nobody takes.
fn trace() -> Vec<Sent> {
    vec![
        server("shop", 1, 0, 2_500).of_resource("host.id", "h-1"),
        client("shop", 2, 1, 500),
        server("cart", 3, 2, 2_200),
        producer("cart", 4, 3, 100).with("peer.service", "queue"),
    ]
}

#[test]
fn a_span_and_a_call_count_in_the_step_in_which_they_end() {
    let (mut history, table) = (history(), table(&trace()));
    let mut steps = Vec::new();
    for step in (0..4).map(second) {
        history.take(&table, &step).unwrap();
        let names = ["traces_spanmetrics_calls_total", "traces_service_graph_request_total", "traces_host_info"];
        steps.push(names.map(|name| counted(&history, name)));
    }
    assert_eq!(steps, [[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [4.0, 3.0, 1.0], [4.0, 3.0, 1.0]]);
}

#[test]
fn the_same_steps_make_the_same_requests() {
    let forms = [Form { protocol: Protocol::V1, has_exemplars: true, has_native_histograms: true }];
    let requests = || {
        let (mut history, table) = (history(), table(&trace()));
        let collect = |step: Range<u64>| {
            history.take(&table, &step).unwrap();
            history.collect(&forms, "backfill", &step)
        };
        (0..3).map(second).flat_map(collect).map(|request| (request.samples, request.body)).collect::<Vec<_>>()
    };
    assert!(requests().len() == 3 && requests() == requests());
}

#[test]
fn series_that_stay_the_same_are_forgotten() {
    let (mut history, table) = (history(), table(&trace()));
    history.take(&table, &second(0)).unwrap();
    let samples = |history: &mut History, number| {
        let forms = [Form { protocol: Protocol::V1, has_exemplars: false, has_native_histograms: true }];
        history.collect(&forms, "backfill", &second(number)).iter().map(|request| request.samples).sum::<u64>()
    };
    assert!(samples(&mut history, 0) > samples(&mut history, 1), "the first time each began at zero");
    let stale = TenantConfig::default().limits.stale_duration.as_secs();
    assert!(samples(&mut history, stale + 1) > 0);
    assert_eq!(samples(&mut history, stale + 2), 0);
}
