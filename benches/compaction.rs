//! Compaction: blocks of one window merged into one, in bytes of the inputs per second and CPU per million spans.

use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{encoded, process_cpu, requests, table, tokio_runtime};
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use model::TenantId;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use storage::compaction::{Compactor, Config};
use storage::manifest::{BlockEntry, Change, Store};
use storage::{CpuPool, Telemetry};
use tokio::sync::watch;

const BLOCKS: u64 = 4;
/// Makes some 125,000 spans.
const REQUESTS_OF_BLOCK: u64 = 150;

fn compaction(criterion: &mut Criterion) {
    let blocks: Vec<_> = (0..BLOCKS)
        .map(|number| encoded(&table(&requests(number * REQUESTS_OF_BLOCK..(number + 1) * REQUESTS_OF_BLOCK).0)))
        .collect();
    let entries: Vec<BlockEntry> = blocks.iter().map(|block| block.entry()).collect();
    let (bytes, spans): (u64, u64) =
        (entries.iter().map(BlockEntry::bytes).sum(), entries.iter().map(|entry| entry.spans).sum());
    let (runtime, tenant) = (tokio_runtime(), TenantId::single());
    let store = || {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        runtime.block_on(async {
            for block in &blocks {
                block.put(&tenant, objects.as_ref()).await.expect("memory takes everything");
            }
            let manifests =
                Arc::new(Store::open(objects.clone(), Telemetry::unregistered()).await.expect("no manifests"));
            let change = Change { add: entries.clone(), ..Change::default() };
            manifests.commit(&tenant, |_| Some(change.clone())).await.expect("nobody else commits");
            (objects, manifests)
        })
    };
    let compact = |(objects, manifests): (Arc<dyn ObjectStore>, Arc<Store>)| {
        runtime.block_on(async {
            let config = Config {
                cycle: Duration::from_secs(1),
                window: Duration::from_secs(3600),
                quiet: Duration::ZERO,
                max_traces: u64::MAX,
                max_block_bytes: u64::MAX,
            };
            let mut compactor = Compactor::new(manifests, objects, CpuPool::new(2), &config, Telemetry::unregistered());
            let (_stop, running) = watch::channel(false);
            assert!(compactor.round(&running).await, "four blocks of a window that is long over are a job");
        });
    };
    let mut group = criterion.benchmark_group("compaction");
    group.throughput(Throughput::Bytes(bytes)).sampling_mode(SamplingMode::Flat).sample_size(10);
    group.bench_function("merge 4 blocks", |bencher| bencher.iter_batched(store, compact, BatchSize::PerIteration));
    group.finish();
    let (input, started, cpu_before) = (store(), Instant::now(), process_cpu());
    compact(input);
    let (wall, cpu) = (started.elapsed().as_secs_f64(), (process_cpu() - cpu_before).as_secs_f64());
    let millions = spans as f64 / 1e6;
    println!("{:.1} MB/s, {:.2} CPU-seconds per million spans", bytes as f64 / 1e6 / wall, cpu / millions);
}

criterion_group!(benches, compaction);
criterion_main!(benches);
