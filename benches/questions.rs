//! What questions cost that read all of a store or stop early, each beside what is wanted of it: first answers of metrics,
//! over 20 million spans on two cores, and how searches grow when there is ten times as much.
//!
//! The store is in memory and smaller; times of what reads everything are given as they are for 20 million spans.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{START_NANOS, block, process_cpu, requests, search, table, tokio_runtime};
use model::TimeRange;
use prometheus_client::registry::Registry;
use querier::{Config, Intervals, Querier};
use storage::view::TenantView;
use storage::{CpuPool, Source, Telemetry};

/// Of the large store; the small one has the newest tenth.
const BLOCKS: u64 = 10;
/// Makes some 125,000 spans, twenty requests a second.
const REQUESTS_OF_BLOCK: u64 = 150;
const SECONDS: u64 = BLOCKS * REQUESTS_OF_BLOCK / 20;
const INTERVALS: u64 = 60;
const ROUNDS: usize = 5;
const WANTED_OF_SPANS: f64 = 20e6;

/// Questions that look at all spans, and in how many seconds they are to be answered the first time.
const METRICS: [(&str, &str, f64); 8] = [
    ("rate", "{ } | rate()", 0.4),
    ("rate by service", "{ } | rate() by (resource.service.name)", 1.0),
    ("errors by service", "{ status = error } | rate() by (resource.service.name)", 1.0),
    ("rate by name", "{ } | rate() by (name)", 1.0),
    ("rate by route", "{ kind = server } | rate() by (span.http.route) | topk(5)", 1.0),
    ("quantiles", "{ kind = server } | quantile_over_time(duration, .5, .9, .99) by (resource.service.name)", 1.0),
    ("histogram", "{ resource.service.name = `frontend` } | histogram_over_time(duration)", 1.0),
    ("compare", "{ kind = server } | compare({ status = error })", 3.0),
];

/// Questions that stop early, which may take twice as long where there is ten times as much.
const SEARCHES: [(&str, &str); 5] = [
    ("all", "{ }"),
    ("by service", "{ resource.service.name = `payment` }"),
    ("structural", "{ resource.service.name = `gateway` } >> { status = error && duration > 40ms }"),
    ("both", "{ resource.service.name = `payment` } && { status = error && duration > 40ms }"),
    ("count", "{ status = error } | count() > 20"),
];
const WANTED_GROWTH: f64 = 2.0;

fn main() {
    let runtime = tokio_runtime();
    let (mut spans, mut blocks) = (0, Vec::new());
    for number in 0..BLOCKS {
        let (requests, count) = requests(number * REQUESTS_OF_BLOCK..(number + 1) * REQUESTS_OF_BLOCK);
        spans += count;
        blocks.push(Arc::new(block(&table(&requests))) as Arc<dyn Source>);
    }
    let large = querier(blocks.clone());
    println!("first answers over {spans} spans in {BLOCKS} blocks, as they are for 20 million:");
    println!("{:20}{:>12}{:>12}{:>12}{:>14}", "question", "seconds", "wanted", "CPU seconds", "CPU ns a span");
    for (name, query, wanted) in METRICS {
        let (time, cpu) = middle(|| runtime.block_on(metrics(&large, query)));
        let of_wanted = WANTED_OF_SPANS / spans as f64;
        let (seconds, cpu_seconds) = (time.as_secs_f64() * of_wanted, cpu.as_secs_f64() * of_wanted);
        let nanos = cpu.as_secs_f64() * 1e9 / spans as f64;
        println!("{name:20}{seconds:12.3}{wanted:12.1}{cpu_seconds:12.3}{nanos:14.1}");
    }
    let small = querier(blocks.split_off(BLOCKS as usize - BLOCKS as usize / 10));
    println!("\nwhat stops early, in the newest tenth of it and in all of it:");
    println!("{:20}{:>12}{:>12}{:>12}{:>14}", "question", "small, ms", "large, ms", "times", "wanted");
    for (name, query) in SEARCHES {
        let [small, large] = [&small, &large].map(|querier| middle(|| runtime.block_on(search(querier, query))).0);
        let [small, large] = [small, large].map(|time| time.as_secs_f64() * 1e3);
        println!("{name:20}{small:12.2}{large:12.2}{:12.1}{WANTED_GROWTH:14.1}", large / small);
    }
}

/// What is asked again is measured again.
fn querier(blocks: Vec<Arc<dyn Source>>) -> Querier {
    let (config, view) = (Config { metrics_cache_max_bytes: 0, ..Config::default() }, Arc::new(TenantView::of(blocks)));
    Querier::new(config, view, CpuPool::new(2), &Telemetry::unregistered(), &mut Registry::default())
}

/// Time and CPU time of the middle of some rounds, by each for itself; blocks were opened by one before.
fn middle(ask: impl Fn() -> usize) -> (Duration, Duration) {
    assert!(ask() > 0, "a question that finds something");
    let (mut times, cpu) = (Vec::new(), process_cpu());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        ask();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    (times[ROUNDS / 2], (process_cpu() - cpu) / ROUNDS as u32)
}

async fn metrics(querier: &Querier, query: &str) -> usize {
    let step = NonZeroU64::new(SECONDS * 1_000_000_000 / INTERVALS).expect("not zero");
    let range = TimeRange::new(START_NANOS, START_NANOS + SECONDS * 1_000_000_000);
    benches::metrics(querier, query, Intervals::of_range(range, step)).await
}
