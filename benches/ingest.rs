//! The way in: what each step costs, in spans per second (requests of about 800 spans).

use std::hint::black_box;

use benches::{requests, table};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::TenantId;
use spans::TableBuilder;
use storage::wal::Log;

fn decode(criterion: &mut Criterion) {
    let (requests, spans) = requests(0..20);
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(spans as u64));
    group.bench_function("check", |bencher| {
        bencher.iter(|| {
            requests.iter().map(|request| spans::check(request).map_or(0, |summary| summary.spans)).sum::<usize>()
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let mut builder = TableBuilder::default();
            for request in &requests {
                black_box(builder.append(request).expect("valid requests"));
            }
            builder.span_count()
        });
    });
    group.bench_function("decode and sort (apply)", |bencher| bencher.iter(|| table(&requests).span_count()));
    group.bench_function("merge two tables", |bencher| {
        let halves = [table(&requests[..10]), table(&requests[10..])];
        bencher.iter(|| {
            spans::merge_tables(&halves, spans::Copies::Keep).expect("tables of the builder").table.span_count()
        });
    });
    group.finish();
}

fn log_append(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let (mut log, _) = Log::open(dir.path()).expect("an empty log");
    let (requests, _) = requests(0..8);
    let batch: Vec<(TenantId, Bytes)> =
        requests.into_iter().map(|request| (TenantId::single(), request.into())).collect();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Bytes(batch.iter().map(|(_, request)| request.len() as u64).sum()));
    group.bench_function("append 8 requests with one sync", |bencher| {
        bencher.iter(|| log.append_batch(&batch).expect("room on the disk"));
        let closed = log.rotate().expect("room on the disk");
        log.remove_through(closed).expect("files of ours");
    });
    group.finish();
}

criterion_group!(ingest, decode, log_append);
criterion_main!(ingest);
