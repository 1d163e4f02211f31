//! The index of a block: what building it costs, how large it is by size of a page, and what a question costs.

use benches::{block, encoded, requests, table, tokio_runtime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use storage::Source;
use storage::index::{self, IndexBuilder, Limits};
use traceql::{Conditions, SpansetExpr, Stage};

fn build(criterion: &mut Criterion) {
    let (requests, spans) = requests(0..60);
    let table = table(&requests);
    let mut group = criterion.benchmark_group("index");
    group.sample_size(20);
    group.throughput(Throughput::Elements(spans as u64));
    group.bench_function("build", |bencher| bencher.iter(|| index::encode(&table).map(|index| index.len())));
    group.throughput(Throughput::Bytes(requests.iter().map(|request| request.len() as u64).sum()));
    group.bench_function("build, bytes of OTLP", |bencher| {
        bencher.iter(|| index::encode(&table).map(|index| index.len()))
    });
    group.finish();
    for page_spans in [1, 100, 500, 1_000, 4_000] {
        let mut builder = IndexBuilder::new(Limits { page_spans, ..Limits::default() });
        builder.add(&table).expect("a table of the builder can be indexed");
        let bytes = builder.finish().expect("memory takes everything").len();
        println!("index of pages of {page_spans} spans: {:.2} bytes a span", bytes as f64 / spans as f64);
    }
    println!("block with its index: {:.2} bytes a span", encoded(&table).meta.total_bytes() as f64 / spans as f64);
}

fn conditions(query: &str) -> Conditions {
    match traceql::parse(query).expect("a query").pipeline.stages.remove(0) {
        Stage::Spans(SpansetExpr::Filter(filter)) => Conditions::of(&filter),
        other => panic!("{other} is no filter"),
    }
}

fn look_up(criterion: &mut Criterion) {
    let (requests, _) = requests(0..60);
    let (table, runtime) = (table(&requests), tokio_runtime());
    let block = block(&table);
    let mut group = criterion.benchmark_group("index/look-up");
    for (name, query) in [
        ("absent", r#"{ span.request.id = "no such request" }"#),
        ("rare", r#"{ span.app.user.id = "user-77" }"#),
        ("frequent", r#"{ resource.service.name = "cart" }"#),
        ("regex", r#"{ span.http.route =~ "/api/v1/resource-1.*" }"#),
        ("range", "{ duration > 40ms }"),
    ] {
        let filters = [conditions(query)];
        let ask = || runtime.block_on(block.may_match(&filters)).expect("a whole index").remove(0);
        let traces = ask().map_or(table.trace_count(), |ranges| ranges.iter().map(ExactSizeIterator::len).sum());
        println!("{name}: {traces} of {} traces may match", table.trace_count());
        group.bench_function(name, |bencher| bencher.iter(ask));
    }
    group.finish();
}

criterion_group!(benches, build, look_up);
criterion_main!(benches);
