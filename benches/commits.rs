//! What a commit of a manifest costs, by how many blocks the tenant has, and how many a tenant takes a second of a store that
//! answers as S3 does. Nothing is waited for: the latencies are those of a clock that jumps when nobody works.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use benches::{encoded, process_cpu, requests, table};
use model::{BlockId, TenantId};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use storage::Telemetry;
use storage::manifest::{BlockEntry, Change, Store};

const BLOCKS: [usize; 3] = [200, 2_000, 20_000];
const WRITERS: [usize; 4] = [1, 3, 10, 100];
/// How long writers commit, one block after the other.
const SIMULATED: Duration = Duration::from_secs(60);

/// Medians of S3's: see docs/decisions/0034-manifests-in-parts.md.
const PUT: Duration = Duration::from_millis(100);
const LIST: Duration = Duration::from_millis(60);
const GET: Duration = Duration::from_millis(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    println!("blocks   bytes a commit   as one object   CPU ms a commit");
    for blocks in BLOCKS {
        runtime.block_on(size_and_time(blocks));
    }
    println!("\nwriters that commit at once   commits a second");
    for writers in WRITERS {
        let commits = runtime.block_on(commits(writers));
        println!("{writers:>27}   {:>16.1}", commits as f64 / SIMULATED.as_secs_f64());
    }
}

async fn size_and_time(blocks: usize) {
    const COMMITS: usize = 50;
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = open(&objects).await;
    for _ in 0..blocks / 100 {
        commit(&store, 100).await;
    }
    let before = process_cpu();
    let mut bytes = 0;
    for _ in 0..COMMITS {
        let sequence = commit(&store, 1).await;
        bytes += objects.head(&storage::paths::manifest(&tenant(), sequence)).await.expect("a manifest").size;
    }
    let cpu_ms = (process_cpu() - before).as_secs_f64() * 1000.0 / COMMITS as f64;
    let whole: usize =
        store.snapshot(&tenant()).expect("a manifest").blocks.iter().map(|block| block.encode().len()).sum();
    println!("{blocks:>6}   {:>14}   {whole:>13}   {cpu_ms:>15.2}", bytes / COMMITS as u64);
}

async fn commits(writers: usize) -> usize {
    let latencies = ThrottleConfig {
        wait_put_per_call: PUT,
        wait_list_per_call: LIST,
        wait_get_per_call: GET,
        ..ThrottleConfig::default()
    };
    let objects: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(InMemory::new(), latencies));
    let end = tokio::time::Instant::now() + SIMULATED;
    let writers: Vec<_> = (0..writers).map(|_| tokio::spawn(commit_until(objects.clone(), end))).collect();
    let mut all = 0;
    for writer in writers {
        all += writer.await.expect("a writer ends");
    }
    all
}

async fn commit_until(objects: Arc<dyn ObjectStore>, end: tokio::time::Instant) -> usize {
    let store = open(&objects).await;
    let mut commits = 0;
    while tokio::time::Instant::now() < end {
        let change = Change { add: vec![block()], ..Change::default() };
        // who has lost too often tries again, as a flush does
        commits += usize::from(store.commit(&tenant(), |_| Some(change.clone())).await.is_ok());
    }
    commits
}

async fn open(objects: &Arc<dyn ObjectStore>) -> Store {
    Store::open(objects.clone(), Telemetry::unregistered()).await.expect("a store")
}

/// Adds blocks, and returns the number of the manifest.
async fn commit(store: &Store, blocks: usize) -> u64 {
    let change = Change { add: (0..blocks).map(|_| block()).collect(), ..Change::default() };
    store.commit(&tenant(), |_| Some(change.clone())).await.expect("a commit").sequence
}

fn tenant() -> TenantId {
    TenantId::single()
}

/// The entry of a block, each time of another one.
fn block() -> BlockEntry {
    static ENTRY: LazyLock<BlockEntry> = LazyLock::new(|| encoded(&table(&requests(0..10).0)).entry());
    BlockEntry { id: BlockId::generate(), ..ENTRY.clone() }.written_now()
}
