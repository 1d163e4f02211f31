//! The task that has live spans counted, lets time pass for the generator, has its series sent, and stores how far it is.

mod others;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use generator::remote_write::{RemoteWrite, Sender};
use generator::{Checkpoint, Checkpoints, Generator};
use ingester::{Barrier, Fed, Feed, LiveSpans};
use prometheus_client::registry::Registry;
use storage::CpuPool;
use storage::wal::{Files, Log, Position};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use crate::config::Generated;

use others::Asked;
pub use others::Others;

/// How often halves of calls that have waited for long are looked for.
const TICK: Duration = Duration::from_secs(2);

/// The generator of a process, and what keeps it going.
pub struct Generating {
    pub generator: Arc<Generator>,
    /// What the ingester is to be opened with; `None` while nothing is generated.
    pub feed: Option<Feed>,
    /// What is to run for as long as the process does.
    pub counting: Option<(Counting, mpsc::Receiver<Fed>)>,
    pub senders: Vec<Sender>,
}

/// What counts spans and has the series sent.
#[derive(Clone)]
pub struct Counting {
    generator: Arc<Generator>,
    remote_write: Arc<RemoteWrite>,
    checkpoints: Arc<Checkpoints>,
    cpu: CpuPool,
    /// None in a process that is alone on its store.
    others: Option<Arc<Others>>,
}

/// Goes on from what lies in `folder`; without anything there, from the end of the log. Nothing is touched while nothing is
/// generated, and no tenant may have it so by settings of its own; nor where no spans are taken and so there is no log.
///
/// # Errors
/// When the settings cannot be used, or the folder cannot be read or written.
pub fn open(
    Generated { config, remote_write }: Generated,
    tenants_may_switch_on: bool,
    folder: &Path,
    files: Arc<dyn Files>,
    log: Option<&Log>,
    cpu: CpuPool,
    registry: &mut Registry,
) -> Result<Generating> {
    let generator = Arc::new(Generator::new(config, instance(), now_nanos(), registry)?);
    let Some(log) = log.filter(|_| generator.config().is_on() || tenants_may_switch_on) else {
        return Ok(Generating { generator, feed: None, counting: None, senders: Vec::new() });
    };
    let opened = RemoteWrite::open(&remote_write, folder, registry);
    let (remote_write, senders) = opened.context("open the queues of series that are sent")?;
    let (checkpoints, found) =
        Checkpoints::open(files, &folder.join(".state")).context("open what the metrics generator knew")?;
    let (remote_write, checkpoints) = (Arc::new(remote_write), Arc::new(checkpoints));
    let counting = Counting { generator: generator.clone(), remote_write, checkpoints, cpu, others: None };
    let counted = match found {
        Some(checkpoint) => counting.resume(checkpoint)?,
        None => counting.begin(log.position())?,
    };
    generator.set_caught_up(false);
    let (feed, fed) = Feed::new(generator.config().collection_interval, counted);
    Ok(Generating { generator, feed: Some(feed), counting: Some((counting, fed)), senders })
}

impl Counting {
    /// What comes from now on is counted, and will be although the process should die at once.
    fn begin(&self, position: Position) -> Result<Position> {
        let (collection, numbers) = (self.generator.collection(now_nanos()), self.remote_write.next_numbers());
        let saved = self.checkpoints.save(&self.generator, position, collection, numbers);
        saved.context("store from where on spans are counted")?;
        Ok(position)
    }

    /// Goes on from a checkpoint: makes the requests that the process before described in it and did not store.
    fn resume(&self, checkpoint: Checkpoint) -> Result<Position> {
        let Checkpoint { position, collection, .. } = checkpoint;
        let queues = checkpoint.queues.clone();
        self.generator.resume(checkpoint, now_nanos())?;
        let requests = self.generator.collect(&self.remote_write.forms(), collection);
        self.remote_write.push_missing(&requests, &queues);
        Ok(position)
    }

    /// Asks the other writers of the cluster for the halves that this one lacks.
    pub fn ask(&mut self, others: Others) {
        self.others = Some(Arc::new(others));
    }

    /// Runs until the last spans were counted; what they made waits on disk to be sent then.
    pub async fn run(self, mut fed: mpsc::Receiver<Fed>) {
        let mut ticks = every(TICK);
        let mut asking: Option<BoxFuture<'static, Asked>> = None;
        loop {
            tokio::select! {
                fed = fed.recv() => match fed {
                    Some(Fed::Spans(spans)) => {
                        self.on_cpu(move |counting| counting.take(&spans)).await;
                    }
                    Some(Fed::CaughtUp) => self.generator.set_caught_up(true),
                    Some(Fed::Barrier(barrier)) => {
                        let is_stored = self.on_cpu(move |counting| counting.pass(&barrier)).await;
                        if asking.is_none() && is_stored == Some(true) && self.generator.is_caught_up() {
                            asking = self.next_questions().await;
                        }
                    }
                    None => return,
                },
                asked = async {
                    match &mut asking {
                        Some(asking) => asking.await,
                        None => std::future::pending().await,
                    }
                } => {
                    asking = None;
                    self.on_cpu(move |counting| counting.hear(&asked)).await;
                }
                // what waits for spans that are still in the log has not waited in vain
                _ = ticks.tick(), if self.generator.is_caught_up() => {
                    self.on_cpu(|counting| counting.generator.tick(now_nanos())).await;
                }
            }
        }
    }

    /// What the others are asked next. All that was counted is stored.
    async fn next_questions(&self) -> Option<BoxFuture<'static, Asked>> {
        let others = self.others.clone()?;
        let questions = self.on_cpu(|counting| counting.generator.questions()).await?;
        Some(others.ask(questions).boxed())
    }

    /// `None` when the work could not be done.
    async fn on_cpu<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        let counting = self.clone();
        let done = self.cpu.run(move || work(&counting)).await;
        done.inspect_err(|error| tracing::error!(%error, "metrics could not be made of spans")).ok()
    }

    /// Counts what the others have found.
    fn hear(&self, asked: &Asked) {
        let Asked { questions, answers, by_all } = asked;
        self.generator.take_answers(questions, answers, *by_all, now_nanos());
    }

    fn take(&self, spans: &LiveSpans) {
        let table = match spans.table() {
            Ok(table) => table,
            Err(error) => {
                tracing::error!(tenant = %spans.tenant, %error, "live spans could not be sorted, metrics leave them out");
                return;
            }
        };
        let (generator, now_nanos) = (&self.generator, now_nanos());
        let taken = match spans.is_replayed {
            true => generator.take_replayed(&spans.tenant, &table, now_nanos),
            false => generator.take(&spans.tenant, &table, now_nanos),
        };
        if let Err(error) = taken {
            tracing::error!(tenant = %spans.tenant, %error, "spans could not be counted, metrics leave them out");
        }
    }

    /// Everything before the barrier has been counted: that is stored, then sent, and then the log may forget it. What
    /// cannot be stored is not sent: after a crash it would be sent again, as if it had been counted anew. Returns whether it
    /// was stored.
    fn pass(&self, barrier: &Barrier) -> bool {
        let (collection, numbers) = (self.generator.collection(now_nanos()), self.remote_write.next_numbers());
        if let Err(error) = self.checkpoints.save(&self.generator, barrier.position, collection, numbers) {
            tracing::error!(%error, "the checkpoint of the metrics generator could not be stored, series are not sent and the log is kept until it can be");
            return false;
        }
        let requests = self.generator.collect(&self.remote_write.forms(), collection);
        self.remote_write.push(&requests);
        barrier.counted();
        true
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The name of this machine, which tells the series of several processes apart.
fn instance() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "mosso".to_owned())
}
