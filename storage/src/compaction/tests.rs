//! Everything comes back exactly once, whatever is damaged and whoever else is at work.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::TryStreamExt;
use model::{BlockId, TenantId, TimeRange};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;
use spans::testing::{canonical, odd_request, shop_request};
use spans::{SpanTable, TableBuilder};
use tokio::sync::watch;

use super::planner::{Group, Job};
use super::worker::Outcome;
use super::{Compactor, Config};
use crate::block::{BlockCache, BlockSource, encode};
use crate::cpu::CpuPool;
use crate::manifest::{BlockEntry, Change, Store};
use crate::paths::{self, BlockFile};
use crate::publish_deadline::PublishDeadline;
use crate::rollup::tests::{assert_is_rolled_up, few_kinds};
use crate::source::{RowGroup, Source};
use crate::telemetry::Telemetry;
use crate::testing::whole_table;

const HOUR_NANOS: u64 = 3_600_000_000_000;
/// When all blocks were written.
const WRITTEN: u64 = 1_764_000_000_000_000_000;
/// Decodes and writes a few spans at a time.
const TINY_BUDGET: usize = 16 << 10;

/// Blocks in a store in memory.
struct Bucket {
    objects: Arc<dyn ObjectStore>,
    tenant: TenantId,
    /// Says `true` to stop.
    _stop: watch::Sender<bool>,
    running: watch::Receiver<bool>,
}

impl Bucket {
    fn new() -> Self {
        let (stop, running) = watch::channel(false);
        Self { objects: Arc::new(InMemory::new()), tenant: TenantId::single(), _stop: stop, running }
    }

    /// Opens the manifests as a process of its own does.
    async fn manifests(&self) -> Arc<Store> {
        Arc::new(Store::open(self.objects.clone(), Telemetry::unregistered()).await.unwrap())
    }

    async fn compactor(&self) -> Compactor {
        let config = Config {
            cycle: Duration::from_secs(5),
            window: Duration::from_secs(3600),
            quiet: Duration::ZERO,
            max_traces: 1 << 20,
            max_block_bytes: 1 << 30,
        };
        let (manifests, cpu) = (self.manifests().await, CpuPool::new(2));
        Compactor::new(manifests, self.objects.clone(), cpu, &config, Telemetry::unregistered())
            .with_budget_bytes(TINY_BUDGET)
    }

    /// Publishes a block of these spans.
    async fn publish(&self, resource_spans: Vec<ResourceSpans>) -> Option<BlockEntry> {
        let mut builder = TableBuilder::default();
        builder.append(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap();
        if builder.is_empty() {
            return None;
        }
        let block =
            encode(BlockId::generate(), &self.tenant, &builder.snapshot().unwrap(), Some(Arc::default())).unwrap();
        block.put(&self.tenant, self.objects.as_ref()).await.unwrap();
        let entry = BlockEntry { written_nanos: WRITTEN, ..block.entry() };
        let change = Change { add: vec![entry.clone()], ..Change::default() };
        self.manifests().await.commit(&self.tenant, |_| Some(change.clone())).await.unwrap();
        Some(entry)
    }

    async fn blocks(&self) -> Vec<BlockEntry> {
        self.manifests().await.load(&self.tenant).await.unwrap().blocks.clone()
    }

    fn source(&self, entry: &BlockEntry) -> BlockSource {
        let (cpu, cache) = (CpuPool::new(1), BlockCache::new(1 << 20, Telemetry::unregistered()));
        BlockSource::new(self.tenant.clone(), entry.clone(), self.objects.clone(), cpu, cache)
    }

    /// Everything in a block, as a reader sees it.
    async fn read(&self, entry: &BlockEntry) -> SpanTable {
        let block = self.source(entry);
        let table = whole_table(&block).await.unwrap();
        let dimensions = block.dimensions().await.unwrap();
        assert_eq!(dimensions.keys, spans::attribute_keys(&table).unwrap());
        assert_eq!((entry.spans, entry.traces), (table.span_count() as u64, table.trace_count() as u64));
        assert_eq!(table.time_range().unwrap().unwrap(), entry.time_range());
        table
    }

    /// The row groups of a block, in their order.
    async fn row_groups(&self, entry: &BlockEntry) -> Vec<RowGroup> {
        self.source(entry).dimensions().await.unwrap().row_groups.clone()
    }

    /// What a query for every trace answers: of spans that several blocks have one each.
    async fn answer(&self) -> Vec<String> {
        let mut blocks = self.blocks().await;
        blocks.sort_by_key(|entry| entry.id);
        let (mut earlier, mut answer) = (HashSet::new(), BTreeSet::new());
        for entry in blocks {
            let spans = singly(&spans::encode(&self.read(&entry).await).unwrap());
            let identity =
                |span: &Span| (span.trace_id.clone(), span.span_id.clone(), span.kind, span.start_time_unix_nano);
            let of_block: HashSet<_> = spans.iter().map(|(span, _)| identity(span)).collect();
            let new = spans.into_iter().filter(|(span, _)| !earlier.contains(&identity(span)));
            answer.extend(new.flat_map(|(_, alone)| canonical(&[alone])));
            earlier.extend(of_block);
        }
        answer.into_iter().collect()
    }

    /// Every span of every block, as often as it is there.
    async fn stored(&self) -> Vec<String> {
        let mut stored = Vec::new();
        for entry in self.blocks().await {
            stored.extend(canonical(&spans::encode(&self.read(&entry).await).unwrap()));
        }
        stored.sort();
        stored
    }

    /// Ids of the blocks that have files.
    async fn blocks_with_files(&self) -> BTreeSet<String> {
        let prefix = paths::blocks(&self.tenant);
        let objects: Vec<_> = self.objects.list(Some(&prefix)).try_collect().await.unwrap();
        objects
            .iter()
            .filter_map(|object| object.location.parts().nth(2).map(|part| part.as_ref().to_owned()))
            .collect()
    }
}

/// Each span, and the span with its resource and scope.
fn singly(resource_spans: &[ResourceSpans]) -> Vec<(Span, ResourceSpans)> {
    let mut spans = Vec::new();
    for part in resource_spans {
        for scope in &part.scope_spans {
            spans.extend(scope.spans.iter().map(|span| {
                let scope_spans = vec![ScopeSpans { spans: vec![span.clone()], ..scope.clone() }];
                (span.clone(), ResourceSpans { scope_spans, ..part.clone() })
            }));
        }
    }
    spans
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn everything_comes_back_exactly_once(
        seeds in prop::collection::vec(any::<u64>(), 1..12),
        places in prop::collection::vec((0usize..4, 0usize..4, 0u8..8), 64),
        in_window in any::<bool>(),
    ) {
        // every span goes to one block, some also to another, or twice to the same
        let mut blocks = vec![Vec::new(); 4];
        let spans = seeds.iter().flat_map(|&seed| singly(&odd_request(seed).resource_spans));
        for ((_, alone), &(block, other, copy)) in spans.zip(places.iter().cycle()) {
            blocks[block].push(alone.clone());
            if copy < 2 {
                blocks[other].push(alone);
            }
        }
        runtime().block_on(async {
            let bucket = Bucket::new();
            let mut inputs = Vec::new();
            for resource_spans in blocks {
                inputs.extend(bucket.publish(resource_spans).await);
            }
            if inputs.is_empty() {
                return; // the requests held no span
            }
            let expected = bucket.answer().await;
            let group = if in_window { Group::Window(1_700_000_000_000_000_000 / HOUR_NANOS) } else { Group::Apart };
            let outcome =
                bucket.compactor().await.run_job(&bucket.tenant, &Job { group, inputs }, PublishDeadline::from_now(), &bucket.running).await;
            assert_eq!(outcome, Outcome::Committed);
            let stored = bucket.stored().await;
            assert_eq!(stored, expected);
            let mut traces = HashSet::new();
            for entry in bucket.blocks().await {
                assert_eq!((entry.level, entry.written_nanos), (1, WRITTEN));
                let table = bucket.read(&entry).await;
                let view = table.traces().unwrap();
                for row in 0..view.len() {
                    assert!(traces.insert(view.id(row)), "a trace lies in one block");
                }
            }
        });
    }
}

/// The blocks of ordinary traffic have their newest traces first, and so has every row group of what they become.
#[tokio::test]
async fn merged_blocks_have_their_newest_traces_first() {
    let bucket = Bucket::new();
    let mut inputs = Vec::new();
    for seed in 0..4 {
        inputs.push(publish_shop(&bucket, seed, WRITTEN - HOUR_NANOS / 4).await);
    }
    let job = Job { group: Group::Window(WRITTEN / HOUR_NANOS), inputs };
    let outcome =
        bucket.compactor().await.run_job(&bucket.tenant, &job, PublishDeadline::from_now(), &bucket.running).await;
    assert_eq!(outcome, Outcome::Committed);
    let blocks = bucket.blocks().await;
    assert!(!blocks.is_empty());
    for entry in job.inputs.iter().chain(&blocks) {
        let table = bucket.read(entry).await;
        let traces = table.traces().unwrap();
        let mut newest = Vec::new();
        for group in bucket.row_groups(entry).await {
            let starts: Vec<u64> = group.traces.clone().map(|row| traces.start_nanos(row)).collect();
            assert!(starts.is_sorted_by(|newer, older| newer >= older));
            newest.push(starts[0]);
        }
        assert!(newest.is_sorted_by(|newer, older| newer >= older), "{newest:?}");
    }
}

/// What shares a trace with another block is put together in small row groups, as the budget of these tests demands.
#[tokio::test]
async fn row_groups_whose_traces_are_nowhere_else_go_over_as_they_are() {
    let bucket = Bucket::new();
    let mut inputs = Vec::new();
    for seed in 0..3 {
        inputs.push(publish_shop(&bucket, seed, LONG_AGO + seed * 60_000_000_000).await);
    }
    let expected = bucket.answer().await;
    let mut compactor = bucket.compactor().await;
    assert!(compactor.round(&bucket.running).await);
    let merged = bucket.blocks().await;
    assert_eq!((merged.len(), merged[0].level), (1, 1));
    let rows = |groups: Vec<RowGroup>| groups.iter().map(|group| group.spans.len() as u64).collect::<Vec<_>>();
    let newest_first: Vec<u64> = inputs.iter().rev().map(|input| input.spans).collect();
    assert_eq!(rows(bucket.row_groups(&merged[0]).await), newest_first);
    assert_eq!(bucket.stored().await, expected);

    // some of the traces again, as copies
    publish_shop(&bucket, 1, LONG_AGO + 60_000_000_000).await;
    let mut compactor = bucket.compactor().await;
    let job = Job { group: Group::Window(LONG_AGO / HOUR_NANOS), inputs: bucket.blocks().await };
    let outcome = compactor.run_job(&bucket.tenant, &job, PublishDeadline::from_now(), &bucket.running).await;
    assert_eq!(outcome, Outcome::Committed);
    let groups = rows(bucket.row_groups(&bucket.blocks().await[0]).await);
    assert_eq!(groups.iter().sum::<u64>(), merged[0].spans);
    assert_eq!((groups[0], groups[groups.len() - 1]), (newest_first[0], newest_first[2]));
    assert!(groups.len() > 3, "{groups:?}");
    assert_eq!(bucket.stored().await, expected);
}

#[tokio::test]
async fn merged_blocks_are_rolled_up() {
    // row groups that go over whole, and one that is put together, of copies too
    for (seeds, budget_bytes, row_groups) in [(&[0, 1][..], TINY_BUDGET, 2), (&[0, 1, 2, 2], 64 << 20, 1)] {
        let bucket = Bucket::new();
        let mut inputs = Vec::new();
        for seed in seeds {
            let spans = few_kinds(shop_request(*seed, 400, LONG_AGO + seed * 60_000_000_000)).resource_spans;
            inputs.push(bucket.publish(spans).await.unwrap());
        }
        let mut compactor = bucket.compactor().await.with_budget_bytes(budget_bytes);
        let job = Job { group: Group::Window(LONG_AGO / HOUR_NANOS), inputs };
        let outcome = compactor.run_job(&bucket.tenant, &job, PublishDeadline::from_now(), &bucket.running).await;
        assert_eq!(outcome, Outcome::Committed);
        let merged = &bucket.blocks().await[0];
        assert_eq!(bucket.row_groups(merged).await.len(), row_groups);
        assert_is_rolled_up(&bucket.source(merged)).await;
    }
}

/// Publishes a block of ordinary traffic that begins at `start_nanos`.
async fn publish_shop(bucket: &Bucket, seed: u64, start_nanos: u64) -> BlockEntry {
    bucket.publish(shop_request(seed, 20, start_nanos).resource_spans).await.unwrap()
}

/// In the middle of a window that is long over.
const LONG_AGO: u64 = 1_600_000_000_000_000_000 / HOUR_NANOS * HOUR_NANOS + HOUR_NANOS / 2;

#[tokio::test]
async fn the_blocks_of_a_window_become_one_and_old_spans_do_not_stretch_it() {
    let bucket = Bucket::new();
    for seed in 0..4 {
        publish_shop(&bucket, seed, LONG_AGO + seed * 1_000_000_000).await;
    }
    // one block has a few spans from years before
    let mut strays = shop_request(9, 20, LONG_AGO).resource_spans;
    strays.extend(shop_request(10, 1, 1_000_000_000).resource_spans);
    bucket.publish(strays).await.unwrap();
    let expected = bucket.answer().await;
    let mut compactor = bucket.compactor().await;
    while compactor.round(&bucket.running).await {}
    let blocks = bucket.blocks().await;
    let ranges: Vec<TimeRange> = blocks.iter().map(BlockEntry::time_range).collect();
    let in_window = |range: &&TimeRange| range.start_nanos >= LONG_AGO - HOUR_NANOS && range.end_nanos >= LONG_AGO;
    assert_eq!(ranges.iter().filter(|range| range.end_nanos < HOUR_NANOS).count(), 1, "{ranges:?}");
    assert_eq!(ranges.iter().filter(in_window).count(), 1, "{ranges:?}");
    assert_eq!(ranges.len(), 2);
    assert_eq!(bucket.stored().await, expected);
}

#[tokio::test]
async fn spans_of_a_clock_that_is_ahead_keep_no_others() {
    const AHEAD: u64 = WRITTEN + 1_000 * HOUR_NANOS;
    let bucket = Bucket::new();
    let mut spans = shop_request(1, 20, LONG_AGO).resource_spans;
    spans.extend(shop_request(2, 1, 1_000_000_000).resource_spans);
    spans.extend(shop_request(3, 1, AHEAD).resource_spans);
    bucket.publish(spans).await.unwrap();
    let expected = bucket.answer().await;
    let mut compactor = bucket.compactor().await;
    while compactor.round(&bucket.running).await {}
    let kept_from: BTreeSet<u64> = bucket.blocks().await.iter().map(BlockEntry::kept_from_nanos).collect();
    assert_eq!(kept_from.range(..=WRITTEN).count(), 1, "{kept_from:?}");
    assert_eq!(kept_from.range(AHEAD..).count(), 1, "{kept_from:?}");
    assert_eq!((kept_from.len(), bucket.blocks().await.len()), (2, 3));
    assert_eq!(bucket.stored().await, expected);
}

#[tokio::test]
async fn a_damaged_block_is_left_alone_and_the_others_are_compacted() {
    // index and directory are made anew, not read
    let is_read = |file: &BlockFile| !matches!(file, BlockFile::Index | BlockFile::Directory);
    for file in BlockFile::ALL.into_iter().filter(is_read) {
        let bucket = Bucket::new();
        let mut entries = Vec::new();
        for seed in 0..4 {
            entries.push(publish_shop(&bucket, seed, LONG_AGO).await);
        }
        let damaged = entries.remove(1);
        let key = paths::block_file(&bucket.tenant, &damaged.id, file);
        let mut bytes = bucket.objects.get(&key).await.unwrap().bytes().await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        bucket.objects.put(&key, bytes.into()).await.unwrap();
        let mut compactor = bucket.compactor().await;
        assert!(!compactor.round(&bucket.running).await, "{}", file.name());
        assert_eq!(bucket.blocks().await.len(), 4);
        assert!(compactor.round(&bucket.running).await);
        let blocks = bucket.blocks().await;
        assert!(blocks.contains(&damaged) && blocks.len() == 2, "{}: {blocks:?}", file.name());
        let whole = blocks.iter().find(|block| block.id != damaged.id).unwrap();
        assert_eq!(whole.spans, entries.iter().map(|entry| entry.spans).sum::<u64>());
        let named: BTreeSet<String> = blocks
            .iter()
            .map(|block| block.id.to_string())
            .chain(entries.iter().map(|entry| entry.id.to_string()))
            .collect();
        assert_eq!(bucket.blocks_with_files().await, named, "what was begun with the damaged block is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_workers_with_the_same_inputs_one_commits() {
    let bucket = Bucket::new();
    let mut inputs = Vec::new();
    for seed in 0..3 {
        inputs.push(publish_shop(&bucket, seed, LONG_AGO).await);
    }
    let expected = bucket.answer().await;
    let others: Vec<BlockEntry> = inputs[1..].to_vec();
    let group = Group::Window(LONG_AGO / HOUR_NANOS);
    let jobs = [inputs.clone(), inputs.clone(), others].map(|inputs| Job { group, inputs });
    let mut compactors = [bucket.compactor().await, bucket.compactor().await, bucket.compactor().await];
    let work = compactors.iter_mut().zip(&jobs);
    let outcomes =
        futures::future::join_all(work.map(|(compactor, job)| {
            compactor.run_job(&bucket.tenant, job, PublishDeadline::from_now(), &bucket.running)
        }))
        .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Committed).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Lost).count(), 2, "{outcomes:?}");
    assert_eq!(bucket.stored().await, expected);
    let named = bucket.blocks().await.into_iter().chain(inputs).map(|block| block.id.to_string()).collect();
    assert_eq!(bucket.blocks_with_files().await, named, "the losers took back what they had stored");
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_given_up() {
    let bucket = Bucket::new();
    let inputs = vec![publish_shop(&bucket, 0, LONG_AGO).await, publish_shop(&bucket, 1, LONG_AGO).await];
    let job = Job { group: Group::Window(LONG_AGO / HOUR_NANOS), inputs: inputs.clone() };
    let deadline = PublishDeadline::of(Instant::now(), SystemTime::UNIX_EPOCH);
    let outcome = bucket.compactor().await.run_job(&bucket.tenant, &job, deadline, &bucket.running).await;
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(bucket.blocks().await, inputs);
    assert_eq!(bucket.blocks_with_files().await.len(), 2, "what was begun is taken back");
}

#[tokio::test]
async fn a_worker_stops_when_it_is_told_to() {
    let bucket = Bucket::new();
    let (stop, running) = watch::channel(false);
    let task = tokio::spawn(bucket.compactor().await.run(running));
    stop.send(true).unwrap();
    task.await.unwrap();
}
