//! Aggregation of metrics alone: row groups as a block has them, whose columns are in memory already.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use benches::{START_NANOS, block, requests, table, tokio_runtime};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use model::TimeRange;
use querier::Intervals;
use querier::aggregation::Aggregation;
use spans::SpanTable;
use storage::Source;
use storage::block::BlockSource;

/// Makes some 250,000 spans, a minute's.
const REQUESTS: u64 = 300;
const SECONDS: u64 = REQUESTS / 20;
const MAX_EXEMPLARS: usize = 100;
/// How often each query is timed for the figure that is printed; the fastest counts.
const TURNS: usize = 7;

const QUERIES: [(&str, &str); 11] = [
    ("rate", "{ } | rate()"),
    ("rate by service", "{ } | rate() by (resource.service.name)"),
    ("rate by name", "{ } | rate() by (name)"),
    ("rate by span attribute", "{ } | rate() by (span.http.route)"),
    ("rate by number", "{ } | rate() by (span.http.response.status_code)"),
    ("rate by service, name and status", "{ } | rate() by (resource.service.name, name, status)"),
    ("rate by user", "{ } | rate() by (span.app.user.id)"),
    ("average by service", "{ } | avg_over_time(duration) by (resource.service.name)"),
    ("quantiles by service", "{ } | quantile_over_time(duration, 0.5, 0.99) by (resource.service.name)"),
    ("histogram", "{ } | histogram_over_time(duration)"),
    ("compare", "{ } | compare({ status = error })"),
];

fn aggregation(criterion: &mut Criterion) {
    let (requests, spans) = requests(0..REQUESTS);
    let block = block(&table(&requests));
    let mut group = criterion.benchmark_group("aggregation");
    group.throughput(Throughput::Elements(spans as u64)).sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, query) in QUERIES {
        let query = traceql::parse(query).expect("a query of the language");
        let second = NonZeroU64::new(1_000_000_000).expect("not zero");
        let range = TimeRange::new(START_NANOS, START_NANOS + SECONDS * second.get());
        let aggregation =
            Aggregation::of(&query, Intervals::of_range(range, second), MAX_EXEMPLARS).expect("a metrics query");
        let batches = read(&block, &aggregation);
        let run = || aggregation.run(&batches).expect("tables of the right shape");
        print_cost(name, spans, run);
        group.bench_function(name, |bencher| bencher.iter(run));
    }
    group.finish();
}

/// All row groups of a block, with the columns that the query needs.
fn read(block: &BlockSource, aggregation: &Aggregation) -> Vec<SpanTable> {
    tokio_runtime().block_on(async {
        let dimensions = block.dimensions().await.expect("a whole block");
        let mut batches = Vec::new();
        for (number, group) in dimensions.row_groups.iter().enumerate() {
            let rows = 0..group.spans.len();
            let fetched = block.fetch(number, std::slice::from_ref(&rows), &aggregation.projection()).await;
            let decoded = fetched.and_then(|fetched| fetched.decode());
            batches.push(SpanTable {
                spans: decoded.expect("a whole block"),
                traces: block.traces(number).await.expect("a whole block"),
                resources: dimensions.resources.clone(),
                scopes: dimensions.scopes.clone(),
            });
        }
        batches
    })
}

fn print_cost(name: &str, spans: usize, run: impl Fn() -> usize) {
    let time = |_| {
        let start = Instant::now();
        let series = run();
        (start.elapsed(), series)
    };
    let (fastest, series) = (0..TURNS).map(time).min().unwrap_or((Duration::ZERO, 0));
    println!("{name}: {:.2} ns a span, {series} series", fastest.as_nanos() as f64 / spans as f64);
}

criterion_group!(benches_of_aggregation, aggregation);
criterion_main!(benches_of_aggregation);
