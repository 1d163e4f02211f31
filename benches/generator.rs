//! What metrics made from spans cost beside taking the spans in, in spans per second of one core.

use benches::{START_NANOS, requests};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use generator::{Config, Generator, Processor, TenantConfig};
use model::TenantId;
use prometheus_client::registry::Registry;
use spans::{SpanTable, TableBuilder};

/// Spans of one table, as live rows close it.
const TABLE_SPANS: usize = 16_384;

/// Tables of requests that come one after the other.
fn tables() -> (Vec<SpanTable>, usize) {
    let (requests, _) = requests(0..80);
    let (mut tables, mut builder, mut spans) = (Vec::new(), TableBuilder::default(), 0);
    for request in &requests {
        spans += builder.append(request).expect("the generator makes valid requests");
        if builder.span_count() >= TABLE_SPANS {
            tables.push(std::mem::take(&mut builder).snapshot().expect("the table is small"));
        }
    }
    (tables, spans)
}

fn generator(processors: &[Processor]) -> Generator {
    let default = TenantConfig { processors: processors.to_vec(), ..TenantConfig::default() };
    let config = Config { default, ..Config::default() };
    Generator::new(config, "here".to_owned(), START_NANOS, &mut Registry::default()).expect("defaults can be used")
}

fn take(criterion: &mut Criterion) {
    let (tables, _) = tables();
    let spans: usize = tables.iter().map(SpanTable::span_count).sum();
    let mut group = criterion.benchmark_group("generator");
    group.throughput(Throughput::Elements(spans as u64));
    for (name, processors) in [
        ("span metrics", vec![Processor::SpanMetrics]),
        ("span metrics without sizes", vec![Processor::SpanMetricsCount, Processor::SpanMetricsLatency]),
        ("service graph", vec![Processor::ServiceGraphs]),
        ("both", vec![Processor::SpanMetrics, Processor::ServiceGraphs]),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || generator(&processors),
                |generator| {
                    for table in &tables {
                        generator.take(&TenantId::single(), table, START_NANOS).expect("a table of the builder");
                    }
                    generator
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, take);
criterion_main!(benches);
