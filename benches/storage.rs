//! Blocks: encoding, and reading one trace, in spans per second and traces per second.

use benches::{block, encoded, requests, table, tokio_runtime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use spans::Traces;
use storage::{Projection, Source};

fn write(criterion: &mut Criterion) {
    let (requests, spans) = requests(0..60);
    let table = table(&requests);
    let mut group = criterion.benchmark_group("block");
    group.sample_size(10);
    group.throughput(Throughput::Elements(spans as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| encoded(&table).meta.total_bytes()));
    group.finish();
    println!("bytes a span: {:.1}", encoded(&table).meta.total_bytes() as f64 / spans as f64);
}

fn trace_by_id(criterion: &mut Criterion) {
    let (requests, _) = requests(0..60);
    let (block, runtime) = (block(&table(&requests)), tokio_runtime());
    let traces = runtime.block_on(block.traces(0)).expect("a whole block");
    let traces = Traces::of(&traces).expect("a whole block");
    let id = traces.id(traces.len() / 2);
    criterion.bench_function("block/trace by id", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let at = block.find_trace(&id).await.expect("a whole block").expect("the trace is there");
                let rows = traces.span_rows(at.trace);
                let fetched = block.fetch(at.group, std::slice::from_ref(&rows), &Projection::all()).await;
                fetched.and_then(|fetched| fetched.decode()).expect("a whole block").num_rows()
            })
        });
    });
}

criterion_group!(storage, write, trace_by_id);
criterion_main!(storage);
