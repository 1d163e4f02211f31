//! The task that has live spans counted, lets time pass for the generator, and has its series sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use generator::Generator;
use generator::remote_write::RemoteWrite;
use ingester::LiveSpans;
use storage::CpuPool;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

/// How often halves of calls that have waited for long are looked for.
const TICK: Duration = Duration::from_secs(2);

/// What counts spans and has the series sent.
#[derive(Clone)]
pub(crate) struct Counting {
    pub generator: Arc<Generator>,
    pub remote_write: Arc<RemoteWrite>,
    pub cpu: CpuPool,
}

impl Counting {
    /// Runs until the last spans were counted; what they made waits on disk to be sent then.
    pub(crate) async fn run(self, mut live_spans: mpsc::Receiver<LiveSpans>) {
        let (mut ticks, mut collections) = (every(TICK), every(self.generator.config().collection_interval));
        loop {
            tokio::select! {
                spans = live_spans.recv() => match spans {
                    Some(spans) => self.on_cpu(move |counting| counting.take(&spans)).await,
                    None => return self.on_cpu(Self::collect).await,
                },
                _ = ticks.tick() => self.on_cpu(|counting| counting.generator.tick(now_nanos())).await,
                _ = collections.tick() => self.on_cpu(Self::collect).await,
            }
        }
    }

    async fn on_cpu(&self, work: impl FnOnce(&Self) + Send + 'static) {
        let counting = self.clone();
        if let Err(error) = self.cpu.run(move || work(&counting)).await {
            tracing::error!(%error, "metrics could not be made of spans");
        }
    }

    fn take(&self, spans: &LiveSpans) {
        let table = match spans.table() {
            Ok(table) => table,
            Err(error) => {
                tracing::error!(tenant = %spans.tenant, %error, "live spans could not be sorted, they are in no metric");
                return;
            }
        };
        if let Err(error) = self.generator.take(&spans.tenant, &table, now_nanos()) {
            tracing::error!(tenant = %spans.tenant, %error, "spans could not be counted, they are in no metric");
        }
    }

    fn collect(&self) {
        let requests = self.generator.collect(&self.remote_write.forms(), now_nanos());
        self.remote_write.push(&requests);
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

pub(crate) fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The name of this machine, which tells the series of several processes apart.
pub(crate) fn instance() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "mosso".to_owned())
}
