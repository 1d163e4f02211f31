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
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use spans::testing::shop_request;
use storage::block::BlockCache;
use storage::bucket_log::{BucketLog, LogEntry, Settings};
use storage::incarnation::{Lineage, Writer};
use storage::members::{Members, Record, Standing};
use storage::{CpuPool, Telemetry, manifest, paths};
use tokio::task::JoinSet;

const SECONDS: &str = "MOSSO_ACK_SECONDS";
const PUT: Duration = Duration::from_millis(100);
/// Between two requests of a busy writer, in the mean.
const OFTEN: Duration = Duration::from_millis(5);
/// What a machine may take that does other things as well.
const SLACK: Duration = Duration::from_millis(150);

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

/// How long requests wait that come at random times, `gap` apart in the mean, whatever became of those before: no step that they
/// could fall into with the puts.
async fn acknowledgements(linger: Duration, gap: Duration, for_time: Duration) -> Result<Vec<Duration>> {
    let slow = ThrottleConfig { wait_put_per_call: PUT, ..ThrottleConfig::default() };
    let objects: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(InMemory::new(), slow));
    let ingester = open(&objects, linger).await?;
    let (mut random, mut requests) = (SmallRng::seed_from_u64(1), JoinSet::new());
    let (until, mut next) = (Instant::now() + for_time, Instant::now());
    while next < until {
        tokio::time::sleep_until(next.into()).await;
        let (ingester, number) = (ingester.clone(), requests.len() as u64);
        requests.spawn(async move {
            let request = shop_request(number, 1, now_nanos()).encode_to_vec();
            let sent = Instant::now();
            ingester.push(&TenantId::single(), request.into()).await?;
            anyhow::Ok(sent.elapsed())
        });
        // the gaps of a Poisson process
        next += gap.mul_f64(-(1.0 - random.random::<f64>()).ln());
    }
    let mut took = requests.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    ingester.close().await;
    took.sort();
    Ok(took)
}

fn now_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

fn quantile(sorted: &[Duration], of: f64) -> Duration {
    sorted.get((sorted.len() as f64 * of) as usize).or(sorted.last()).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_half_the_linger_and_a_put_and_alone_for_the_put() -> Result<()> {
    let for_time = Duration::from_secs(variable(SECONDS).unwrap_or(2));
    for linger in [100, 250, 1_000].map(Duration::from_millis) {
        let seldom = 4 * (linger + PUT);
        let (busy, alone) =
            tokio::try_join!(acknowledgements(linger, OFTEN, for_time), acknowledgements(linger, seldom, for_time))?;
        for (gap, took) in [(OFTEN, &busy), (seldom, &alone)] {
            let [half, most] = [0.5, 0.99].map(|of| quantile(took, of).as_millis());
            let count = took.len();
            println!(
                "linger {linger:?}, puts {PUT:?}, a request each {gap:?}: p50 {half} ms, p99 {most} ms of {count} acknowledgements"
            );
            assert!(!took.is_empty() && took[0] >= PUT, "none is acknowledged before its put");
        }
        assert!(quantile(&busy, 0.5) < linger / 2 + PUT + SLACK, "{:?}", quantile(&busy, 0.5));
        assert!(quantile(&alone, 0.0) < PUT + SLACK, "{:?}", quantile(&alone, 0.0));
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
