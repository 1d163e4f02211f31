//! Queries over a million spans in four blocks, in spans per second, by family of operators.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use benches::{START_NANOS, block, process_cpu, requests, search, table, tokio_runtime};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use model::TimeRange;
use prometheus_client::registry::Registry;
use querier::{Config, Intervals, Querier};
use storage::view::TenantView;
use storage::{CpuPool, Source, Telemetry};

const BLOCKS: u64 = 4;
/// Makes some 250,000 spans.
const REQUESTS_OF_BLOCK: u64 = 300;
/// How long the spans of all blocks take, in seconds.
const SECONDS: u64 = BLOCKS * REQUESTS_OF_BLOCK / 20;

const FILTERS: [(&str, &str); 7] = [
    ("all", "{}"),
    ("resource attribute", r#"{ resource.service.name = "payment" && status = error }"#),
    ("frequent text", r#"{ span.http.route = "/api/v1/resource-7" }"#),
    ("rare text", r#"{ span.app.user.id = "user-77" }"#),
    ("absent value", r#"{ span.request.id = "no such request" }"#),
    ("regex and duration", r#"{ name =~ ".*resource-1." && duration > 40ms }"#),
    ("number", "{ span.http.response.status_code >= 500 }"),
];

const STRUCTURAL: [(&str, &str); 5] = [
    ("child", r#"{ resource.service.name = "frontend" } > { status = error }"#),
    ("descendant", r#"{ resource.service.name = "gateway" } >> { status = error && duration > 40ms }"#),
    ("ancestor", r#"{ status = error } << { resource.service.name = "gateway" }"#),
    ("not sibling", r#"{ status = error } !~ { resource.service.name = "payment" && status = error }"#),
    ("both", r#"{ resource.service.name = "payment" } && { status = error && duration > 40ms }"#),
];

const PIPELINES: [(&str, &str); 4] = [
    ("count", "{ status = error } | count() > 20"),
    ("by and count", "{ status = error } | by(resource.service.name) | count() > 10"),
    ("average", "{ kind = server } | avg(duration) > 10s"),
    ("select", r#"{ span.app.user.id = "user-77" } | select(span.http.route, resource.k8s.pod.name)"#),
];

const METRICS: [(&str, &str); 10] = [
    ("rate", "{ } | rate()"),
    ("rate by service", "{ } | rate() by (resource.service.name)"),
    ("count of errors by name", "{ status = error } | count_over_time() by (name)"),
    ("count by user", "{ } | count_over_time() by (span.app.user.id)"),
    ("maximum", "{ kind = server } | max_over_time(duration) by (resource.service.name)"),
    ("average", "{ } | avg_over_time(duration)"),
    ("quantile", "{ kind = server } | quantile_over_time(duration, 0.5, 0.99) by (resource.service.name)"),
    ("histogram", "{ } | histogram_over_time(duration)"),
    ("structural", r#"{ resource.service.name = "gateway" } >> { status = error } | rate()"#),
    ("compare", "{ kind = server } | compare({ status = error })"),
];

/// Queries that find the same: the first span by span, the second only on whole traces.
const WHOLE: [(&str, &str, &str); 3] = [
    (
        "search for what is frequent",
        "{ status = error } || { status = error }",
        "{ status = error } && { status = error }",
    ),
    (
        "search for what is rare",
        r#"{ span.app.user.id = "user-77" } || { span.app.user.id = "user-77" }"#,
        r#"{ span.app.user.id = "user-77" } && { span.app.user.id = "user-77" }"#,
    ),
    ("metrics", "{ } || { } | rate()", "{ } && { } | rate()"),
];
/// How often each of them is asked, in how many turns.
const ASKED_IN_A_TURN: u32 = 10;
const TURNS: u32 = 20;

fn queries(criterion: &mut Criterion) {
    let mut spans = 0;
    let mut blocks: Vec<Arc<dyn Source>> = Vec::new();
    for number in 0..BLOCKS {
        let (requests, count) = requests(number * REQUESTS_OF_BLOCK..(number + 1) * REQUESTS_OF_BLOCK);
        spans += count;
        blocks.push(Arc::new(block(&table(&requests))));
    }
    let view = Arc::new(TenantView::of(blocks));
    // what is asked again is measured again
    let config = Config { metrics_cache_max_bytes: 0, ..Config::default() };
    let querier = Querier::new(config, view, CpuPool::new(2), &Telemetry::unregistered(), &mut Registry::default());
    for (family, queries) in [("filter", &FILTERS[..]), ("structural", &STRUCTURAL), ("pipeline", &PIPELINES)] {
        bench(criterion, family, queries, spans, async |query| search(&querier, query).await);
    }
    bench(criterion, "metrics", &METRICS, spans, async |query| metrics(&querier, query).await);
    print_cost_of_whole_traces(&querier);
}

/// Prints what it costs to look for traces that lie in several blocks where there are none. CPU time, because a few per
/// cent cannot be seen in the time on the clock.
fn print_cost_of_whole_traces(querier: &Querier) {
    let runtime = tokio_runtime();
    let ask = async |query: &str| match query.ends_with("rate()") {
        true => metrics(querier, query).await,
        false => search(querier, query).await,
    };
    for (name, by_span, by_trace) in WHOLE {
        let (mut found, mut cpu) = ([0; 2], [Duration::ZERO; 2]);
        for _ in 0..TURNS {
            for (side, query) in [by_span, by_trace].into_iter().enumerate() {
                let before = process_cpu();
                (0..ASKED_IN_A_TURN).for_each(|_| found[side] = runtime.block_on(ask(query)));
                cpu[side] += process_cpu() - before;
            }
        }
        assert_eq!(found[0], found[1], "{by_span} finds what {by_trace} finds");
        let [by_span, by_trace] = cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / f64::from(ASKED_IN_A_TURN * TURNS));
        println!(
            "whole traces, {name}: {by_trace:.1} ms of CPU, {by_span:.1} span by span: {:+.1} %",
            (by_trace / by_span - 1.0) * 100.0
        );
    }
}

/// Measures each query; `ask` returns how much it found.
fn bench(
    criterion: &mut Criterion,
    family: &str,
    queries: &[(&str, &str)],
    spans: usize,
    ask: impl AsyncFn(&str) -> usize,
) {
    let runtime = tokio_runtime();
    let mut group = criterion.benchmark_group(family);
    group.throughput(Throughput::Elements(spans as u64)).sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, query) in queries {
        group.bench_function(*name, |bencher| bencher.iter(|| runtime.block_on(ask(query))));
    }
    group.finish();
}

async fn metrics(querier: &Querier, query: &str) -> usize {
    let second = NonZeroU64::new(1_000_000_000).expect("not zero");
    let range = TimeRange::new(START_NANOS, START_NANOS + SECONDS * second.get());
    benches::metrics(querier, query, Intervals::of_range(range, second)).await
}

criterion_group!(query, queries);
criterion_main!(query);
