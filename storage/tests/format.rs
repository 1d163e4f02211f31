//! Files that each version of the format wrote are still read: `fixtures/v1` and so on are data folders with a manifest, a
//! block as flushed, a compacted block, a trace map of both and a log segment, beside the OTLP that they were made from.
//!
//! The fixture of a version is written once and never again. A change that cannot read it any more needs a new version
//! and a way to read the old one; then write the new version's fixture under its own name:
//! `cargo test -p storage --test format -- --ignored`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{BlockId, TenantId};
use object_store::{ObjectStore, ObjectStoreExt};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use spans::testing::{canonical, odd_request, shop_request};
use spans::{SpanTable, TableBuilder};
use storage::block::{self, BlockCache, BlockSource, Verifier};
use storage::compaction::{self, Compactor};
use storage::config::TraceConfig;
use storage::ids::{SegmentSequence, WriterId};
use storage::incarnation::Lineage;
use storage::manifest::{BlockEntry, Change, Manifest, Store, Watermark};
use storage::paths::{self, BlockFile, DataDir};
use storage::source::Source;
use storage::testing::whole_table;

use storage::trace_mapper::{self, TraceMapper};
use storage::wal::{Log, ReplayEvent};
use storage::{CpuPool, Telemetry, objects};
use traceql::{Conditions, FieldExpr};

/// What each part of the fixture was made from, as `otlp/<name>.pb`.
const FLUSHED: &str = "flushed";
const COMPACTED: [&str; 2] = ["compacted-1", "compacted-2"];
const LOGGED: [&str; 2] = ["logged-1", "logged-2"];
const WRITER: WriterId = WriterId(uuid::Uuid::from_u128(1));

/// The versions, the one that is written today last.
const VERSIONS: [&str; 2] = ["v1", "v2"];

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn otlp(version: &str, name: &str) -> Bytes {
    let file = fixture(version).join("otlp").join(name).with_extension("pb");
    std::fs::read(file).expect("the fixture has its OTLP").into()
}

/// The spans of requests, comparable.
fn spans_of(version: &str, requests: &[&str]) -> Vec<String> {
    let decode = |name: &&str| ExportTraceServiceRequest::decode(otlp(version, name)).expect("it is OTLP");
    let decoded = requests.iter().map(decode);
    let resource_spans: Vec<ResourceSpans> = decoded.flat_map(|request| request.resource_spans).collect();
    canonical(&resource_spans)
}

struct Opened {
    objects: Arc<dyn ObjectStore>,
    manifest: Arc<Manifest>,
    cpu: CpuPool,
}

async fn open(version: &str) -> Opened {
    let (dir, telemetry) = (DataDir::new(fixture(version)), Telemetry::unregistered());
    let objects = objects::open_to_read(&TraceConfig::default(), &dir, &telemetry).expect("the fixture has blocks");
    let manifests = Store::open(objects.clone(), telemetry).await.expect("it can be listed");
    let manifest = manifests.load(&TenantId::single()).await.expect("its manifest can be read");
    assert_eq!(manifest.watermark(&WRITER), SegmentSequence(1));
    Opened { objects, manifest, cpu: CpuPool::new(1) }
}

impl Opened {
    fn block(&self, level: u8) -> (BlockEntry, BlockSource) {
        let entry = self.manifest.blocks.iter().find(|entry| entry.level == level);
        let entry = entry.expect("it has a block of each level").clone();
        let (cache, cpu) = (BlockCache::new(1 << 20, Telemetry::unregistered()), self.cpu.clone());
        (entry.clone(), BlockSource::new(TenantId::single(), entry, self.objects.clone(), cpu, cache))
    }
}

/// Everything in a block.
async fn read(source: &BlockSource) -> SpanTable {
    whole_table(source).await.expect("the block can be read")
}

#[tokio::test]
async fn blocks_of_each_version_hold_what_was_sent() {
    for version in VERSIONS {
        let opened = open(version).await;
        assert_eq!(opened.manifest.blocks.len(), 2);
        for (level, requests) in [(0, [FLUSHED].as_slice()), (1, &COMPACTED)] {
            let (entry, source) = opened.block(level);
            let verifier = Verifier {
                tenant: &TenantId::single(),
                entry: &entry,
                objects: &opened.objects,
                cpu: &opened.cpu,
                read: &|_| {},
            };
            assert_eq!(verifier.damages().await.unwrap(), [], "{version}, level {level}");
            assert_eq!(
                canonical(&spans::encode(&read(&source).await).unwrap()),
                spans_of(version, requests),
                "{version}, level {level}"
            );
        }
    }
}

#[tokio::test]
async fn an_index_of_each_version_answers() {
    for version in VERSIONS {
        let (_, source) = open(version).await.block(1);
        let asked = [r#"name = "GET /api/v1/nowhere""#, r#"resource.service.name = "checkout""#].map(|filter| {
            let query = traceql::parse(&format!("{{ {filter} }}")).unwrap();
            let expr: &FieldExpr = query.span_filter().unwrap().filter;
            Conditions::of(expr)
        });
        let possible = source.may_match(&asked).await.unwrap();
        assert_eq!(possible[0], Some(Vec::new()));
        assert!(possible[1].as_ref().is_some_and(|traces| !traces.is_empty()));
        let services = source.values(&traceql::parse_field("resource.service.name").unwrap()).await.unwrap().unwrap();
        assert_eq!(services.len(), 8);
        assert_eq!(source.keys().await.unwrap(), spans::attribute_keys(&read(&source).await).unwrap());
    }
}

#[tokio::test]
async fn a_trace_map_of_each_version_has_the_traces_of_its_blocks() {
    for version in VERSIONS {
        let Opened { objects, manifest, cpu } = open(version).await;
        let [map] = manifest.trace_maps.as_slice() else { panic!("{:?}", manifest.trace_maps) };
        assert_eq!(map.blocks.len(), 2);
        assert_eq!(trace_mapper::fault(&TenantId::single(), map, &manifest, &objects, &cpu).await.unwrap(), None);
    }
}

#[test]
fn a_log_of_each_version_is_replayed() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        for segment in std::fs::read_dir(fixture(version).join("wal")).unwrap() {
            let segment = segment.unwrap();
            std::fs::copy(segment.path(), dir.path().join(segment.file_name())).unwrap();
        }
        let (_, recovery) = Log::open(dir.path()).unwrap();
        let events: Vec<ReplayEvent> = recovery.replay().map(Result::unwrap).collect();
        let segment = SegmentSequence(2);
        let entry = |name| ReplayEvent::Entry { segment, tenant: TenantId::single(), payload: otlp(version, name) };
        assert_eq!(events, [entry(LOGGED[0]), entry(LOGGED[1]), ReplayEvent::SegmentEnd { segment }], "{version}");
    }
}

/// Writes the fixture of today's format.
#[tokio::test]
#[ignore = "writes into the source tree"]
async fn write_the_fixture() {
    const START_NANOS: u64 = 1_700_000_000_000_000_000;
    let newest = VERSIONS[VERSIONS.len() - 1];
    let dir = DataDir::new(fixture(newest));
    _ = std::fs::remove_dir_all(fixture(newest)); // the one before
    std::fs::create_dir_all(fixture(newest).join("otlp")).unwrap();
    let write = |name: &str, request: &ExportTraceServiceRequest| {
        std::fs::write(fixture(newest).join("otlp").join(name).with_extension("pb"), request.encode_to_vec()).unwrap();
    };
    let odd = (0..8).flat_map(|seed| odd_request(seed).resource_spans);
    write(FLUSHED, &ExportTraceServiceRequest { resource_spans: odd.collect() });
    // every trace has spans in both
    let mut resource_spans = shop_request(1, 6, START_NANOS).resource_spans;
    write(COMPACTED[1], &ExportTraceServiceRequest { resource_spans: resource_spans.split_off(4) });
    write(COMPACTED[0], &ExportTraceServiceRequest { resource_spans });
    for (seed, name) in LOGGED.into_iter().enumerate() {
        write(name, &odd_request(100 + seed as u64));
    }

    let (tenant, telemetry, cpu) = (TenantId::single(), Telemetry::unregistered(), CpuPool::new(1));
    let objects = objects::open(&TraceConfig::default(), &dir, &telemetry).unwrap();
    let manifests = Arc::new(Store::open(objects.clone(), telemetry.clone()).await.unwrap());
    let writer = Arc::new(Lineage::new(WRITER, Vec::new()));
    let publish = async |name: &str, watermark: Option<SegmentSequence>| {
        let mut builder = TableBuilder::default();
        builder.append(&otlp(newest, name)).unwrap();
        let block =
            block::encode(BlockId::generate(), &tenant, &builder.snapshot().unwrap(), Some(Arc::default())).unwrap();
        block.put(&tenant, objects.as_ref()).await.unwrap();
        let watermark = watermark.map(|segment| Watermark { by: writer.clone(), segment, from: None });
        let change = Change { add: vec![block.entry()], watermark, ..Change::default() };
        manifests.commit(&tenant, |_| Some(change.clone())).await.unwrap();
    };
    for name in COMPACTED {
        publish(name, None).await;
    }
    let inputs = manifests.load(&tenant).await.unwrap();
    let config = compaction::Config {
        cycle: Duration::from_secs(1),
        window: Duration::from_secs(3600),
        quiet: Duration::ZERO,
        max_traces: u64::MAX,
        max_block_bytes: u64::MAX,
    };
    let (_stop, running) = tokio::sync::watch::channel(false);
    let mut compactor = Compactor::new(manifests.clone(), objects.clone(), cpu.clone(), &config, telemetry.clone());
    assert!(compactor.round(&running).await);
    publish(FLUSHED, Some(SegmentSequence(1))).await;
    let cache = BlockCache::new(0, telemetry.clone());
    let mapper = TraceMapper::new(manifests.clone(), objects.clone(), cpu, cache, telemetry);
    mapper.with_least_new_blocks(1).round().await;

    // what the newest manifest does not need
    for input in &inputs.blocks {
        for file in BlockFile::ALL {
            objects.delete(&paths::block_file(&tenant, &input.id, file)).await.unwrap();
        }
    }
    for sequence in 1..manifests.load(&tenant).await.unwrap().sequence {
        objects.delete(&paths::manifest(&tenant, sequence)).await.unwrap();
    }

    let (mut log, _) = Log::open(dir.wal_dir()).unwrap();
    log.start_after(SegmentSequence(1)).unwrap();
    log.append_batch(&LOGGED.map(|name| (tenant.clone(), otlp(newest, name)))).unwrap();
    std::fs::remove_file(paths::segment(dir.wal_dir(), SegmentSequence(1))).unwrap();
}
