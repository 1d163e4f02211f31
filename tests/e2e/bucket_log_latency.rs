//! What a log on the bucket costs whoever waits for it, on a store whose puts take 100 ms, and how small its objects are.
//!
//! ```sh
//! MOSSO_ACK_SECONDS=10 cargo test --test e2e bucket_log_latency -- --nocapture
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use fuzz::variable;
use ingester::Ingester;
use model::{TenantId, TimeRange};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use prometheus_client::registry::Registry;
use prost::Message;
use spans::testing::shop_request;
use storage::block::BlockCache;
use storage::bucket_log::{BucketLog, LogEntry, Settings};
use storage::incarnation::{Lineage, Writer};
use storage::members::{Members, Record, Standing};
use storage::{CpuPool, Telemetry, manifest, paths};

const SECONDS: &str = "MOSSO_ACK_SECONDS";
const PUT: Duration = Duration::from_millis(100);
const SENDERS: u64 = 16;

async fn log(objects: &Arc<dyn ObjectStore>, writer: Writer, linger: Duration) -> Result<BucketLog> {
    let standing = Arc::new(Standing::joining(objects.clone(), writer.incarnation));
    let record = Record::new(writer, "here:1".to_owned(), String::new(), "").with_log_on_bucket();
    Members::new(objects.clone()).join(&record).await?;
    Ok(BucketLog::new(objects.clone(), standing, Settings { linger }, &Telemetry::unregistered()))
}

async fn open(objects: &Arc<dyn ObjectStore>, linger: Duration) -> Result<Ingester> {
    let writer = Writer::of_one_start();
    let log = log(objects, writer, linger).await?;
    let storage = ingester::Storage {
        objects: objects.clone(),
        manifests: Arc::new(manifest::Store::open(objects.clone(), Telemetry::unregistered()).await?),
        cpu: CpuPool::new(1),
        telemetry: Telemetry::unregistered(),
        lineage: Arc::new(Lineage::only(writer)),
        puts_may_be_late: true,
        cache: BlockCache::new(8 << 20, Telemetry::unregistered()),
        trace_reach: Duration::from_secs(3_600),
    };
    let config = ingester::Config::default();
    let ingester = Ingester::open(config, log, storage, Arc::default(), &mut Registry::default()).await?;
    ingester.ready().await;
    Ok(ingester)
}

/// Acknowledgements of senders that each wait for one before they send the next, a random time later.
async fn acknowledgements(linger: Duration, for_time: Duration) -> Result<Vec<Duration>> {
    let slow = ThrottleConfig { wait_put_per_call: PUT, ..ThrottleConfig::default() };
    let objects: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(InMemory::new(), slow));
    let ingester = open(&objects, linger).await?;
    let until = Instant::now() + for_time;
    let senders = (0..SENDERS).map(|sender| {
        let ingester = ingester.clone();
        tokio::spawn(async move {
            let (mut took, mut number) = (Vec::new(), 0);
            while Instant::now() < until {
                number += 1;
                let request = shop_request(sender * 100_000 + number, 1, now_nanos()).encode_to_vec();
                let sent = Instant::now();
                ingester.push(&TenantId::single(), request.into()).await?;
                took.push(sent.elapsed());
                // so that senders do not all come at once, right after a put
                tokio::time::sleep(Duration::from_millis(7 * (sender * number % 23))).await;
            }
            anyhow::Ok(took)
        })
    });
    let mut all = Vec::new();
    for sender in futures::future::join_all(senders).await {
        all.extend(sender??);
    }
    ingester.close().await;
    all.sort();
    Ok(all)
}

fn now_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

fn quantile(sorted: &[Duration], of: f64) -> Duration {
    sorted.get((sorted.len() as f64 * of) as usize).or(sorted.last()).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_linger_and_at_most_two_puts() -> Result<()> {
    let for_time = Duration::from_secs(variable(SECONDS).unwrap_or(2));
    for linger in [100, 250, 1_000].map(Duration::from_millis) {
        let took = acknowledgements(linger, for_time).await?;
        let (half, most) = (quantile(&took, 0.5), quantile(&took, 0.99));
        println!("linger {linger:?}, puts {PUT:?}: p50 {half:.0?}, p99 {most:.0?} of {} acknowledgements", took.len());
        assert!(!took.is_empty() && took[0] >= PUT, "none is acknowledged before its put");
        assert!(half < linger + 3 * PUT, "{half:?}");
    }
    Ok(())
}

#[tokio::test]
async fn batches_of_many_tenants_are_compressed() -> Result<()> {
    for (tenants, requests) in [(1, 20), (20, 20), (20, 200)] {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let writer = Writer::of_one_start();
        let mut log = log(&objects, writer, Duration::ZERO).await?;
        let entry = |number: u64| -> Result<LogEntry> {
            let tenant = TenantId::parse(&format!("tenant-{}", number % tenants)).ok().context("a name")?;
            let payload = shop_request(number, 5, now_nanos()).encode_to_vec().into();
            Ok(LogEntry { tenant, payload, time_range: TimeRange::ALL })
        };
        let entries = (0..requests).map(entry).collect::<Result<Vec<_>>>()?;
        let raw: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        let spans: usize =
            entries.iter().map(|entry| spans::check(&entry.payload).map_or(0, |summary| summary.spans)).sum();
        let started = Instant::now();
        log.append(&entries).await?;
        let took = started.elapsed();
        let stored: Vec<_> = objects.list(Some(&paths::log(&writer.incarnation))).try_collect().await?;
        let stored = stored.iter().map(|object| object.size as usize).sum::<usize>();
        let (factor, of_span) = (raw as f64 / stored as f64, stored / spans);
        println!(
            "{tenants} tenants, {requests} requests, {spans} spans: {raw} bytes become {stored} ({factor:.1} times smaller, {of_span} bytes a span), in {took:.1?}"
        );
        assert!(factor > 3.0, "{factor}");
    }
    Ok(())
}
