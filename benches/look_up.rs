//! A trace by id over thousands of blocks, with trace maps: one that is there and one that is not, in a process that has
//! just begun and in one that was asked before.

use std::sync::Arc;

use benches::{encoded, requests, table, tokio_runtime};
use criterion::{BatchSize, Criterion, SamplingMode, criterion_group, criterion_main};
use model::{BlockId, TenantId, TraceId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use querier::{Config, Querier};
use storage::block::{BlockCache, BlockMeta, BlockSource, EncodedBlock};
use storage::manifest::{Change, Manifest, Store};
use storage::trace_mapper::TraceMapper;
use storage::view::TenantView;
use storage::{CpuPool, Source, Telemetry};

const BLOCKS: usize = 2_000;
const CACHE_BYTES: u64 = 96 << 20;

/// Blocks of one tenant, in memory.
struct Stored {
    objects: Arc<dyn ObjectStore>,
    manifest: Arc<Manifest>,
    /// A trace that one of them has.
    present: TraceId,
}

/// Copies of one block, and one that differs.
async fn stored() -> Stored {
    let (objects, tenant): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), TenantId::single());
    let manifests = Arc::new(Store::open(objects.clone(), Telemetry::unregistered()).await.expect("no manifests"));
    let (copied, different) = (encoded(&table(&requests(0..1).0)), table(&requests(1..2).0));
    let present = different.traces().expect("a table of the builder").id(3);
    let mut blocks = vec![encoded(&different)];
    blocks.extend((1..BLOCKS).map(|_| EncodedBlock {
        meta: BlockMeta { id: BlockId::generate(), ..copied.meta.clone() },
        ..copied.clone()
    }));
    for block in &blocks {
        block.put(&tenant, objects.as_ref()).await.expect("memory takes everything");
    }
    let change = Change { add: blocks.iter().map(EncodedBlock::entry).collect(), ..Change::default() };
    manifests.commit(&tenant, |_| Some(change.clone())).await.expect("nobody else commits");
    let (cache, telemetry) = (BlockCache::new(0, Telemetry::unregistered()), Telemetry::unregistered());
    TraceMapper::new(manifests.clone(), objects.clone(), CpuPool::new(2), cache, telemetry).round().await;
    let manifest = manifests.load(&tenant).await.expect("it was committed");
    Stored { objects, manifest, present }
}

/// A process that has just begun.
fn querier(stored: &Stored) -> Querier {
    let (objects, manifest, cpu) = (stored.objects.clone(), stored.manifest.clone(), CpuPool::new(2));
    let (cache, of_sources) = (BlockCache::new(CACHE_BYTES, Telemetry::unregistered()), cpu.clone());
    let blocks = BlockSource::all(&TenantId::single(), &manifest, &objects, &of_sources, &cache);
    let sources = blocks.into_iter().map(|block| Arc::new(block) as Arc<dyn Source>).collect();
    Querier::new(
        Config::default(),
        Arc::new(TenantView::of(sources)),
        cpu,
        &Telemetry::unregistered(),
        &mut Registry::default(),
    )
}

fn look_up(criterion: &mut Criterion) {
    let runtime = tokio_runtime();
    let stored = runtime.block_on(stored());
    let ask = |querier: &Querier, id| {
        let answer = runtime.block_on(querier.trace_by_id(TenantId::single(), id, None)).expect("whole blocks");
        answer.resource_spans.len()
    };
    let mut group = criterion.benchmark_group("look-up");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, id) in [("present", stored.present), ("absent", TraceId([0xee; 16]))] {
        group.bench_function(format!("{name}, cold"), |bencher| {
            bencher.iter_batched(|| querier(&stored), |querier| ask(&querier, id), BatchSize::PerIteration);
        });
        let warm = querier(&stored);
        group.bench_function(name, |bencher| bencher.iter(|| ask(&warm, id)));
    }
    group.finish();
}

criterion_group!(benches, look_up);
criterion_main!(benches);
