//! Look-ups over thousands of blocks: what they find, what they read, and what damage does to them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use model::{BlockId, TenantId, TraceId};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use prometheus_client::registry::Registry;
use prost::Message;
use spans::TableBuilder;
use spans::testing::odd_request;

use super::*;
use crate::block::{BlockCache, BlockMeta, BlockSource, EncodedBlock, encode};
use crate::compaction::{self, Compactor};
use crate::config::{Backend, TraceConfig};
use crate::cpu::CpuPool;
use crate::ids::TraceMapId;
use crate::manifest::{Change, Manifest, Store, TraceMapEntry};
use crate::objects;
use crate::paths::{self, BlockFile, DataDir};
use crate::source::Source;
use crate::telemetry::Telemetry;
use crate::telemetry::tests::sum;
use crate::trace_map::format::MAX_BLOCKS;
use crate::trace_map::{TraceMap, TraceMapCache};

/// Blocks that differ; the others are copies of them.
const DIFFERENT: u64 = 8;
const ABSENT: TraceId = TraceId([0xee; 16]);
const CACHE_BYTES: u64 = 16 << 20;

/// A tenant of a counted store in memory.
struct Fixture {
    objects: Arc<dyn ObjectStore>,
    manifests: Arc<Store>,
    tenant: TenantId,
    telemetry: Telemetry,
    registry: Registry,
}

/// What was asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    requests: u64,
    bytes: u64,
}

fn block(seed: u64) -> EncodedBlock {
    let mut builder = TableBuilder::default();
    builder.append(&odd_request(seed).encode_to_vec()).unwrap();
    builder.append(&odd_request(seed + 10_000).encode_to_vec()).unwrap();
    encode(BlockId::generate(), &TenantId::single(), &builder.snapshot().unwrap(), None).unwrap()
}

impl Fixture {
    async fn new() -> Self {
        let mut registry = Registry::default();
        let telemetry = Telemetry::register(&mut registry);
        let config = TraceConfig { backend: Backend::Memory, ..TraceConfig::default() };
        let objects = objects::open(&config, &DataDir::new("unused"), &telemetry).unwrap();
        let manifests = Arc::new(Store::open(objects.clone(), telemetry.clone()).await.unwrap());
        Self { objects, manifests, tenant: TenantId::single(), telemetry, registry }
    }

    /// Publishes copies of a few blocks under ids of their own.
    async fn publish(&self, count: usize) -> Vec<BlockId> {
        let different: Vec<EncodedBlock> = (0..DIFFERENT).map(block).collect();
        let mut add = Vec::with_capacity(count);
        for original in different.iter().cycle().take(count) {
            let meta = BlockMeta { id: BlockId::generate(), ..original.meta.clone() };
            let copy = EncodedBlock { meta, ..original.clone() };
            copy.put(&self.tenant, self.objects.as_ref()).await.unwrap();
            add.push(copy.entry());
        }
        let ids = add.iter().map(|entry| entry.id).collect();
        self.commit(Change { add, ..Change::default() }).await;
        ids
    }

    async fn commit(&self, change: Change) -> Arc<Manifest> {
        self.manifests.commit(&self.tenant, |_| Some(change.clone())).await.unwrap()
    }

    fn mapper(&self) -> TraceMapper {
        let cache = BlockCache::new(CACHE_BYTES, self.telemetry.clone());
        TraceMapper::new(self.manifests.clone(), self.objects.clone(), CpuPool::new(2), cache, self.telemetry.clone())
    }

    fn manifest(&self) -> Arc<Manifest> {
        self.manifests.snapshot(&self.tenant).unwrap()
    }

    /// All blocks, as a process sees them that has just begun; each call gives those of the next query.
    fn process(&self) -> impl Fn() -> Vec<BlockSource> {
        let cache = BlockCache::new(CACHE_BYTES, Telemetry::unregistered());
        move || BlockSource::all(&self.tenant, &self.manifest(), &self.objects, &CpuPool::new(2), &cache)
    }

    /// The blocks that have a trace, as they say themselves.
    async fn asked_one_by_one(&self, id: &TraceId) -> BTreeSet<BlockId> {
        let manifest = Manifest { trace_maps: Vec::new(), ..Manifest::clone(&self.manifest()) };
        let cache = BlockCache::new(CACHE_BYTES, Telemetry::unregistered());
        find(&BlockSource::all(&self.tenant, &manifest, &self.objects, &CpuPool::new(2), &cache), id).await
    }

    async fn cost<T>(&self, work: impl Future<Output = T>) -> (T, Cost) {
        let count = || Cost {
            requests: sum(&self.registry, r#"tempodb_backend_request_duration_seconds_count{operation="GET""#),
            bytes: sum(&self.registry, "mosso_backend_read_bytes_total"),
        };
        let before = count();
        let result = work.await;
        let after = count();
        (result, Cost { requests: after.requests - before.requests, bytes: after.bytes - before.bytes })
    }

    fn failures(&self) -> u64 {
        sum(&self.registry, "mosso_trace_map_failures_total")
    }
}

/// The blocks that have a trace, asked as a query asks them.
async fn find(blocks: &[BlockSource], id: &TraceId) -> BTreeSet<BlockId> {
    let mut asked = Vec::with_capacity(blocks.len());
    for block in blocks {
        asked.push(async move { block.find_trace(id).await.unwrap().map(|_| block.block_id()) });
    }
    futures::stream::iter(asked).buffer_unordered(16).filter_map(std::future::ready).collect().await
}

/// A trace of the block.
async fn a_trace_of(fixture: &Fixture, block_id: BlockId) -> TraceId {
    let manifest = fixture.manifest();
    let entry = manifest.block(&block_id).unwrap();
    let (objects, cache) = (fixture.objects.clone(), BlockCache::new(CACHE_BYTES, Telemetry::unregistered()));
    let block = BlockSource::new(fixture.tenant.clone(), entry.clone(), objects, CpuPool::new(1), cache);
    block.trace_ids().await.unwrap()[0]
}

#[tokio::test]
async fn over_thousands_of_blocks_a_look_up_opens_those_that_have_the_trace() {
    const BLOCKS: usize = 3_000;
    let fixture = Fixture::new().await;
    fixture.publish(BLOCKS).await;
    let single = block(77);
    single.put(&fixture.tenant, fixture.objects.as_ref()).await.unwrap();
    fixture.commit(Change { add: vec![single.entry()], ..Change::default() }).await;
    fixture.mapper().round().await;
    let maps = fixture.manifest().trace_maps.len() as u64;
    assert_eq!(maps, 3, "a thousand blocks each");

    let blocks = fixture.process();
    let (found, cold) = fixture.cost(find(&blocks(), &ABSENT)).await;
    assert!(found.is_empty());
    assert!(cold.requests == maps && cold.bytes < 200_000, "{cold:?}");
    let (_, warm) = fixture.cost(find(&blocks(), &TraceId([0xdd; 16]))).await;
    assert_eq!(warm, Cost { requests: 0, bytes: 0 });

    let id = a_trace_of(&fixture, single.meta.id).await;
    let blocks = fixture.process();
    let (found, cold) = fixture.cost(find(&blocks(), &id)).await;
    assert_eq!(found, BTreeSet::from([single.meta.id]));
    assert_eq!(cold.requests, maps + 6, "one block opened, the trace found, its row group opened, {cold:?}");
}

#[tokio::test]
async fn a_look_up_finds_what_all_blocks_say_themselves() {
    let fixture = Fixture::new().await;
    let mut mapper = fixture.mapper();
    for _ in 0..3 {
        let ids = fixture.publish(10).await;
        mapper.round().await;
        let new = fixture.publish(1).await; // in no map
        let gone = Change { remove: vec![ids[0]], ..Change::default() };
        fixture.commit(gone).await;
        for block_id in [ids[1], ids[7], new[0]] {
            let id = a_trace_of(&fixture, block_id).await;
            let expected = fixture.asked_one_by_one(&id).await;
            assert!(expected.contains(&block_id));
            assert_eq!(find(&fixture.process()(), &id).await, expected);
        }
    }
    assert!(!fixture.manifest().trace_maps.is_empty());
}

#[tokio::test]
async fn of_a_large_map_a_header_and_a_bucket_are_read() {
    let fixture = Fixture::new().await;
    let ids = (0..300_000u128).map(|number| TraceId(number.to_be_bytes()));
    let pairs = ids.enumerate().map(|(number, id)| Pair::new(TraceHash::of(&id), number % MAX_BLOCKS)).collect();
    let object = format::encode(pairs, MAX_BLOCKS);
    let entry = TraceMapEntry {
        id: TraceMapId::generate(),
        bytes: object.len() as u64,
        blocks: (0..MAX_BLOCKS).map(|_| BlockId::generate()).collect(),
        unknown: Default::default(),
    };
    fixture.objects.put(&paths::trace_map(&fixture.tenant, &entry.id), object.into()).await.unwrap();
    let cache = TraceMapCache::new(CACHE_BYTES, Telemetry::unregistered());
    let map = TraceMap::new(&fixture.tenant, &entry, fixture.objects.clone(), cache);
    let id = TraceId(77u128.to_be_bytes());
    let blocks_of = async |id: &TraceId| {
        let mut found = Vec::new();
        for block in 0..MAX_BLOCKS {
            found.extend(map.may_hold(block, id).await.then_some(block));
        }
        found
    };
    let (found, cold) = fixture.cost(blocks_of(&id)).await;
    assert_eq!(found, [77]);
    assert!(cold.requests == 2 && cold.bytes < 12_000, "{cold:?}");
    assert_eq!(fixture.cost(blocks_of(&id)).await.1.requests, 0);
    let (found, other) = fixture.cost(blocks_of(&ABSENT)).await;
    assert!(found.is_empty() && other.requests == 1 && other.bytes < 3_000, "{other:?}");
}

#[tokio::test]
async fn a_damaged_or_lost_map_costs_speed_and_is_counted_once() {
    let fixture = Fixture::new().await;
    let ids = fixture.publish(12).await;
    fixture.mapper().round().await;
    let key = paths::trace_map(&fixture.tenant, &fixture.manifest().trace_maps[0].id);
    let whole = fixture.objects.get(&key).await.unwrap().bytes().await.unwrap();
    let id = a_trace_of(&fixture, ids[5]).await;
    let expected = fixture.asked_one_by_one(&id).await;
    let changed = |at: usize| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x10;
        Some(bytes)
    };
    let damages = [
        changed(0),
        changed(9),
        changed(500),
        changed(whole.len() - 1),
        Some(whole[..100].to_vec()),
        Some(whole[..whole.len() - 4].to_vec()),
        None,
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        match damage {
            Some(bytes) => drop(fixture.objects.put(&key, PutPayload::from(bytes)).await.unwrap()),
            None => fixture.objects.delete(&key).await.unwrap(),
        }
        let cache = BlockCache::new(CACHE_BYTES, fixture.telemetry.clone());
        let before = fixture.failures();
        for _ in 0..3 {
            let (manifest, cpu) = (fixture.manifest(), CpuPool::new(2));
            let blocks = BlockSource::all(&fixture.tenant, &manifest, &fixture.objects, &cpu, &cache);
            assert_eq!(find(&blocks, &id).await, expected);
            assert!(find(&blocks, &ABSENT).await.is_empty());
        }
        assert_eq!(fixture.failures(), before + 1, "damage {number}");
    }
}

#[tokio::test]
async fn a_damaged_map_is_made_anew_and_damaged_blocks_are_left_out() {
    let fixture = Fixture::new().await;
    fixture.publish(4).await;
    let mut mapper = fixture.mapper();
    mapper.round().await;
    let damaged_map = fixture.manifest().trace_maps[0].id;
    fixture.objects.put(&paths::trace_map(&fixture.tenant, &damaged_map), "no map".into()).await.unwrap();
    let ids = fixture.publish(12).await;
    let directory = paths::block_file(&fixture.tenant, &ids[3], BlockFile::Directory);
    let mut content = fixture.objects.get(&directory).await.unwrap().bytes().await.unwrap().to_vec();
    *content.last_mut().unwrap() ^= 1;
    fixture.objects.put(&directory, content.into()).await.unwrap();
    mapper.round().await;
    let manifest = fixture.manifest();
    let [map] = manifest.trace_maps.as_slice() else { panic!("{:?}", manifest.trace_maps) };
    assert!(map.id != damaged_map && map.blocks.len() == 15 && !map.blocks.contains(&ids[3]));
    for file in ["trace_map", "directory"] {
        let series = format!("mosso_storage_damaged_total{{file=\"{file}\"}}");
        assert_eq!(sum(&fixture.registry, &series), 1, "{file}");
    }
    let id = a_trace_of(&fixture, map.blocks[15 - 1]).await;
    assert!(
        find(&fixture.process()().into_iter().filter(|block| block.block_id() != ids[3]).collect::<Vec<_>>(), &id)
            .await
            .contains(&map.blocks[14])
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_map_is_said() {
    let fixture = Fixture::new().await;
    fixture.publish(4).await;
    fixture.mapper().round().await;
    let (manifest, cpu) = (fixture.manifest(), CpuPool::new(1));
    let map = &manifest.trace_maps[0];
    let key = paths::trace_map(&fixture.tenant, &map.id);
    let fault = async |map: &TraceMapEntry| {
        super::fault(&fixture.tenant, map, &manifest, &fixture.objects, &cpu).await.unwrap()
    };
    assert_eq!(fault(map).await, None);

    let pairs = whole::read_whole(&fixture.tenant, map, fixture.objects.as_ref(), &cpu).await.unwrap();
    let mut pairs = pairs.unwrap();
    let lacking = pairs.pop().unwrap();
    let object = format::encode(pairs, map.blocks.len());
    let without_one = TraceMapEntry { bytes: object.len() as u64, ..map.clone() };
    fixture.objects.put(&key, object.clone().into()).await.unwrap();
    assert!(matches!(fault(map).await, Some(Fault::Damaged(_))), "it has another size");
    let Some(Fault::Lacks { trace_id, block_id }) = fault(&without_one).await else { panic!("it lacks a trace") };
    assert_eq!((TraceHash::of(&trace_id), block_id), (lacking.hash(), map.blocks[lacking.block()]));

    let mut changed = object.to_vec();
    changed[500] ^= 1;
    fixture.objects.put(&key, changed.into()).await.unwrap();
    assert!(matches!(fault(&without_one).await, Some(Fault::Damaged(_))));
    fixture.objects.delete(&key).await.unwrap();
    assert_eq!(fault(map).await, Some(Fault::Damaged("it is not there".to_owned())));
}

#[tokio::test]
async fn a_map_goes_with_its_blocks() {
    let fixture = Fixture::new().await;
    let remove = fixture.publish(5).await;
    fixture.mapper().round().await;
    assert_eq!(fixture.manifest().trace_maps.len(), 1);
    fixture.commit(Change { remove, ..Change::default() }).await;
    assert!(fixture.manifest().trace_maps.is_empty());
}

#[tokio::test]
async fn maps_follow_compaction() {
    let fixture = Fixture::new().await;
    let inputs = fixture.publish(DIFFERENT as usize).await;
    let mut mapper = fixture.mapper();
    mapper.round().await;
    let config = compaction::Config {
        cycle: Duration::from_secs(1),
        window: Duration::from_secs(3600),
        quiet: Duration::ZERO,
        max_traces: u64::MAX,
        max_block_bytes: u64::MAX,
    };
    let (manifests, objects) = (fixture.manifests.clone(), fixture.objects.clone());
    let mut compactor = Compactor::new(manifests, objects, CpuPool::new(2), &config, fixture.telemetry.clone());
    let (_stop, running) = tokio::sync::watch::channel(false);
    while compactor.round(&running).await {}
    let merged = fixture.manifest();
    assert!(merged.blocks.iter().any(|block| block.level > 0) && merged.blocks.len() < inputs.len());

    // some blocks are in the map of before, some in none; then all in a new one
    for more in [0, 4] {
        fixture.publish(more).await;
        mapper.round().await;
        for block in &fixture.manifest().blocks {
            let id = a_trace_of(&fixture, block.id).await;
            assert_eq!(find(&fixture.process()(), &id).await, fixture.asked_one_by_one(&id).await);
        }
    }
    let manifest = fixture.manifest();
    assert!(manifest.blocks.iter().all(|block| manifest.trace_map_of(&block.id).is_some()));
}

#[tokio::test]
async fn of_many_mappers_each_block_is_mapped_by_one() {
    let fixture = Fixture::new().await;
    for _ in 0..4 {
        let ids = fixture.publish(6).await;
        let mut mappers: Vec<TraceMapper> = (0..4).map(|_| fixture.mapper()).collect();
        futures::future::join_all(mappers.iter_mut().map(TraceMapper::round)).await;
        let manifest = fixture.manifest();
        let mut mapped: Vec<BlockId> = manifest.trace_maps.iter().flat_map(|map| map.blocks.clone()).collect();
        mapped.sort_unstable();
        assert_eq!(mapped, manifest.blocks.iter().map(|block| block.id).collect::<Vec<_>>());
        assert!(ids.iter().all(|id| mapped.contains(id)));
    }
}
