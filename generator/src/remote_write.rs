//! Remote write: series of every tenant, every collection interval, to any number of targets.
//!
//! ```text
//! collect ─▶ requests (message.rs) ─▶ queue on disk, one for each target (queue.rs) ─▶ sender (sender.rs) ─▶ target
//! ```
//!
//! A target that is down costs nothing until its queue is full; then the oldest requests go, and are counted. What a target
//! refuses for good is counted and not sent again. A restart goes on where the process before ended. What is made of stored
//! spans is sent without a queue (direct.rs): it can be made again.

mod config;
mod direct;
mod endpoint;
mod message;
mod queue;
mod sender;

use std::path::Path;
use std::sync::Arc;

use model::TenantId;
use prometheus_client::registry::Registry;

use crate::error::Error;
use crate::telemetry::RemoteWriteTelemetry;

pub use config::{Authorization, BasicAuth, Protocol, ReadOver, RemoteWriteConfig, TargetConfig, TlsConfig};
pub use direct::{DirectSender, NotSent};
pub(crate) use message::{RequestWriter, SeriesOptions};
use queue::Queue;
pub use sender::Sender;

/// What requests of some targets are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    pub protocol: Protocol,
    pub has_exemplars: bool,
    pub has_native_histograms: bool,
}

/// A request for one tenant, compressed.
pub struct Request {
    pub tenant: TenantId,
    pub form: Form,
    /// Samples in it.
    pub samples: u64,
    pub body: Vec<u8>,
}

/// The queues of all targets.
pub struct RemoteWrite {
    targets: Vec<Target>,
}

struct Target {
    name: String,
    form: Form,
    queue: Arc<Queue>,
}

impl RemoteWrite {
    /// Opens the queues in a folder, and makes the senders that empty them.
    ///
    /// # Errors
    /// [`Error::Config`] when a target's settings cannot be used, [`Error::Io`] when a queue cannot be opened.
    pub fn open(
        config: &RemoteWriteConfig,
        folder: &Path,
        registry: &mut Registry,
    ) -> Result<(Self, Vec<Sender>), Error> {
        let telemetry = RemoteWriteTelemetry::register(registry);
        let (mut targets, mut senders) = (Vec::new(), Vec::new());
        for (index, target) in config.targets.iter().enumerate() {
            let name = target.name(index);
            let telemetry = telemetry.of(&name);
            let queue = Queue::open(&folder.join(&name), config.max_queue_bytes, telemetry.clone())?;
            let queue = Arc::new(queue);
            senders.push(Sender::new(target, name.clone(), config, queue.clone(), telemetry)?);
            targets.push(Target { name, form: target.form(), queue });
        }
        Ok((Self { targets }, senders))
    }

    /// The forms that any target takes.
    pub fn forms(&self) -> Vec<Form> {
        let mut forms: Vec<Form> = self.targets.iter().map(|target| target.form).collect();
        forms.sort_unstable();
        forms.dedup();
        forms
    }

    /// By target, the number of the request that is pushed next.
    pub fn next_numbers(&self) -> Vec<(String, u64)> {
        self.targets.iter().map(|target| (target.name.clone(), target.queue.next_number())).collect()
    }

    /// Has requests wait on disk for every target that takes their form. Blocks for some syncs.
    pub fn push(&self, requests: &[Request]) {
        for target in &self.targets {
            target.push(requests, 0);
        }
    }

    /// As [`push`](Self::push), of a collection that an earlier process may have pushed in part: `first` says which number
    /// its first request has for each target. A target that is not named was not there then.
    pub fn push_missing(&self, requests: &[Request], first: &[(String, u64)]) {
        for target in &self.targets {
            if let Some((_, first)) = first.iter().find(|(name, _)| *name == target.name) {
                target.push(requests, target.queue.next_number().saturating_sub(*first));
            }
        }
    }
}

impl Target {
    fn push(&self, requests: &[Request], pushed_before: u64) {
        let of_target = requests.iter().filter(|request| request.form == self.form);
        let skipped = usize::try_from(pushed_before).unwrap_or(usize::MAX);
        self.queue.push(&of_target.skip(skipped).collect::<Vec<_>>());
    }
}
