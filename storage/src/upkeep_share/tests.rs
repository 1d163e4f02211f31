//! Every piece of upkeep is done by one process, and several do no more than one does.

use std::time::{Duration, Instant};

use model::limits::{LimitTable, Limits, TenantLimits};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prometheus_client::registry::Registry;
use prost::Message;
use spans::TableBuilder;
use spans::testing::shop_request;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::Telemetry;
use crate::block::{BlockCache, encode};
use crate::compaction::{self, Compactor};
use crate::config::{Backend, TraceConfig};
use crate::cpu::CpuPool;
use crate::garbage::Collector;
use crate::manifest::{BlockEntry, Change, Store};
use crate::objects;
use crate::paths::DataDir;
use crate::retention::Retention;
use crate::telemetry::tests::sum;
use crate::trace_mapper::TraceMapper;

#[test]
fn every_piece_is_of_one_and_goes_to_another_when_that_one_is_gone() {
    let ids: Vec<NodeId> = (1..=3).map(|number| NodeId(Uuid::from_u128(number))).collect();
    let tenant = TenantId::single();
    let shares: Vec<UpkeepShare> = ids.iter().map(|_| UpkeepShare::all()).collect();
    let windows = |share: &UpkeepShare| (0..300).filter(|window| share.has(&tenant, *window)).collect::<Vec<_>>();
    assert_eq!(windows(&shares[0]).len(), 300, "alone");
    let among = |ids: &[NodeId], own: usize| {
        shares[own].set(ids[own], ids.iter().filter(|id| **id != ids[own]).copied().collect());
        windows(&shares[own])
    };
    let of_each: Vec<Vec<u64>> = (0..3).map(|own| among(&ids, own)).collect();
    let mut all = of_each.concat();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
    assert!(of_each.iter().all(|windows| windows.len() > 60), "{of_each:?}");
    let kept = among(&ids[..2], 0);
    assert!(of_each[0].iter().all(|window| kept.contains(window)) && kept.len() > of_each[0].len());
}

const HOUR_NANOS: u64 = 3_600_000_000_000;
const TENANTS: [&str; 4] = ["a", "b", "c", "d"];
const WINDOWS: u64 = 4;
const BLOCKS_OF_A_WINDOW: u64 = 3;

/// Requests to the store by operation, and blocks that were merged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    listings: u64,
    gets: u64,
    puts: u64,
    merged_blocks: u64,
    conflicts: u64,
}

impl Done {
    fn counted(registry: &Registry) -> Self {
        let requests = |operation| {
            let name = format!("tempodb_backend_request_duration_seconds_count{{operation=\"{operation}\"");
            sum(registry, &name)
        };
        Self {
            listings: requests("LIST"),
            gets: requests("GET"),
            puts: requests("PUT"),
            merged_blocks: sum(registry, "tempodb_compaction_blocks_total"),
            conflicts: sum(registry, "mosso_manifest_commit_conflicts_total"),
        }
    }

    fn add_since(&mut self, before: &Self, now: &Self) {
        self.listings += now.listings - before.listings;
        self.gets += now.gets - before.gets;
        self.puts += now.puts - before.puts;
        self.merged_blocks += now.merged_blocks - before.merged_blocks;
        self.conflicts += now.conflicts - before.conflicts;
    }
}

/// A process that does upkeep.
struct Process {
    manifests: Arc<Store>,
    compactor: Compactor,
    retention: Retention,
    collector: Collector,
    trace_mapper: TraceMapper,
}

/// What so many processes do until nothing is left to be done. That they see each other's commits, by polling, is not counted.
async fn done_by(processes: usize) -> Done {
    let mut registry = Registry::default();
    let telemetry = Telemetry::register(&mut registry);
    let config = TraceConfig { backend: Backend::Memory, ..TraceConfig::default() };
    let objects = objects::open(&config, &DataDir::new("unused"), &telemetry).unwrap();
    let first = Store::open(objects.clone(), telemetry.clone()).await.unwrap();
    // so late that nothing expires
    let written_nanos = crate::clock::unix_nanos();
    for tenant in TENANTS {
        let tenant = TenantId::parse(tenant).unwrap();
        let mut add = Vec::new();
        for number in 0..WINDOWS * BLOCKS_OF_A_WINDOW {
            let start_nanos = (number / BLOCKS_OF_A_WINDOW + 400_000) * HOUR_NANOS;
            let ExportTraceServiceRequest { resource_spans } = shop_request(number, 2, start_nanos);
            let mut builder = TableBuilder::default();
            builder.append(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap();
            let table = builder.snapshot().unwrap();
            let block = encode(model::BlockId::generate(), &tenant, &table, Some(Arc::default())).unwrap();
            block.put(&tenant, objects.as_ref()).await.unwrap();
            add.push(BlockEntry { written_nanos, ..block.entry() });
        }
        let change = Change { add, ..Change::default() };
        first.commit(&tenant, |_| Some(change.clone())).await.unwrap();
    }
    let ids: Vec<NodeId> = (1..=processes).map(|number| NodeId(Uuid::from_u128(number as u128))).collect();
    let limits = Limits { block_retention: Duration::from_secs(24 * 3_600), ..Limits::default() };
    let limits = Arc::new(TenantLimits::new(LimitTable { others: limits, ..LimitTable::default() }));
    let mut all = Vec::new();
    for id in &ids {
        let share = UpkeepShare::all();
        share.set(*id, ids.iter().filter(|other| *other != id).copied().collect());
        let manifests = Arc::new(Store::open(objects.clone(), telemetry.clone()).await.unwrap());
        let (cpu, cache) = (CpuPool::new(1), BlockCache::new(1 << 20, telemetry.clone()));
        let merging = compaction::Config {
            cycle: Duration::from_secs(5),
            window: Duration::from_secs(3_600),
            quiet: Duration::ZERO,
            max_traces: 1_000,
            max_block_bytes: 1 << 30,
        };
        let (of_store, grace) = ((manifests.clone(), objects.clone()), Duration::from_secs(3_600));
        all.push(Process {
            compactor: Compactor::new(of_store.0.clone(), of_store.1.clone(), cpu.clone(), &merging, telemetry.clone())
                .sharing(share.clone()),
            retention: Retention::new(manifests.clone(), limits.clone(), telemetry.clone()).sharing(share.clone()),
            collector: Collector::new(of_store.0.clone(), of_store.1.clone(), grace, telemetry.clone())
                .sharing(share.clone()),
            trace_mapper: TraceMapper::new(of_store.0.clone(), of_store.1, cpu, cache, telemetry.clone())
                .with_least_new_blocks(1)
                .sharing(share),
            manifests,
        });
    }
    let (_stop, running) = watch::channel(false);
    let mut done = Done::default();
    for _ in 0..3 {
        for process in &mut all {
            process.manifests.refresh_all().await.unwrap();
            let before = Done::counted(&registry);
            while process.compactor.round(&running).await {}
            process.retention.round(crate::clock::unix_nanos()).await;
            process.trace_mapper.round().await;
            process.collector.round(Instant::now).await;
            done.add_since(&before, &Done::counted(&registry));
        }
    }
    done
}

#[tokio::test]
async fn three_processes_merge_what_one_does_and_ask_little_more() {
    let (one, three) = (done_by(1).await, done_by(3).await);
    assert_eq!(one.merged_blocks, TENANTS.len() as u64 * WINDOWS * BLOCKS_OF_A_WINDOW);
    assert!(one.listings > 0 && one.gets > 0 && one.puts > 0, "{one:?}");
    assert_eq!(three.merged_blocks, one.merged_blocks);
    // a little more: each takes over what the others committed of a tenant that it has windows of
    let is_little_more = |three: u64, one: u64| three <= one + one / 4;
    assert!(
        is_little_more(three.listings, one.listings)
            && is_little_more(three.gets, one.gets)
            && is_little_more(three.puts, one.puts),
        "{three:?}, not {one:?}"
    );
    assert_eq!((one.conflicts, three.conflicts), (0, 0));
}
