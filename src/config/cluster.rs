//! `cluster`: several processes over one store that answer as one.

use std::time::Duration;

use api::ListenAddress;
use querier::jobs::SpreadPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::{Backend, GoDuration};

use super::Config;
use super::check::Unusable;
use crate::target::Target;

/// `cluster`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Whether this process is one of several that write to one store: it asks the others for spans that are not yet in
    /// blocks, and they ask it. On for all of them or for none.
    pub enabled: bool,
    /// Where other processes ask for live spans, and have blocks looked at: host and port. Needed where spans are taken; without
    /// it a querier or compactor does no work for the others. Nobody is authenticated: not to be reached from outside of the
    /// cluster.
    pub listen_address: Option<ListenAddress>,
    /// Host and port at which others reach that listener. Empty: where it listens, which must not be all interfaces then.
    pub advertise_address: String,
    /// Name of the zone in which the process stands; told to the others.
    pub zone: String,
    /// How long another process may take to answer. Later, an answer is partial and says who was missing.
    pub peer_timeout: GoDuration,
    /// Bytes of blocks from which on a query is looked at by other processes, too, that answer questions. Of 32 MiB a query
    /// reads some columns in tens of milliseconds; a call to another process costs a few.
    pub spread_queries_from_bytes: u64,
    /// Where spans are kept until they are in blocks: `local`, on a disk of the process, or `bucket`, beside the blocks. On
    /// the bucket a writer needs no disk, and when it dies others have its spans; each request waits for a put. Its metrics
    /// of spans (`metrics_generator`) need `local`.
    pub log: Log,
    /// With `log: bucket`: how long after one put the next begins at the soonest; what comes meanwhile shares it. Longer is
    /// cheaper: each writer that takes spans puts an object so often at the most.
    pub log_linger: GoDuration,
    /// With `log: bucket`: what a request waits for. `bucket`: the put of its spans. `disk`: a sync to the disk of the process,
    /// some milliseconds; spans are shipped to the bucket afterwards, and are taken while the bucket is away, as long as the
    /// disk has room. A process that dies has them until it starts again on its disk, and answers are partial until then.
    pub log_ack: LogAck,
}

/// `cluster.log`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    #[default]
    Local,
    Bucket,
}

/// `cluster.log_ack`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogAck {
    #[default]
    Bucket,
    Disk,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            enabled: false,
            listen_address: None,
            advertise_address: String::new(),
            zone: String::new(),
            peer_timeout: GoDuration::from_secs(3),
            spread_queries_from_bytes: SpreadPolicy::default().least_bytes,
            log: Log::Local,
            log_linger: GoDuration::from_millis(250),
            log_ack: LogAck::Bucket,
        }
    }
}

impl Config {
    /// Which parts this process runs.
    pub fn target(&self) -> Target {
        Target::of(&self.target).unwrap_or(Target::All)
    }

    /// Whether this process takes spans, and has its log on the bucket: then it is a writer of one start.
    pub fn keeps_log_on_bucket(&self) -> bool {
        self.cluster.log == Log::Bucket && self.target().takes_spans()
    }

    /// Whether it acknowledges what is on its disk, and ships it to that log afterwards.
    pub fn ships_log(&self) -> bool {
        self.keeps_log_on_bucket() && self.cluster.log_ack == LogAck::Disk
    }

    /// Whether this process has a folder of its own, with its log.
    pub fn has_folder(&self) -> bool {
        self.target().takes_spans() && (!self.keeps_log_on_bucket() || self.ships_log())
    }

    /// Whether metrics are made of spans, or tenants may have it so.
    fn generates_metrics(&self) -> bool {
        self.overrides.user_configurable_overrides.enabled
            || self.generator().is_ok_and(|generated| generated.config.is_on())
    }

    pub(super) fn check_cluster(&self) -> Result<(), Unusable> {
        let unusable = |key, reason: &str| Err(Unusable { key, reason: reason.to_owned() });
        let Some(target) = Target::of(&self.target) else {
            return match self.target.as_str() {
                "metrics-generator" => unusable("target", NO_GENERATOR),
                name => unusable("target", &format!("{name:?} is not known; write all, writer, querier or compactor")),
            };
        };
        if self.cluster.log_ack == LogAck::Disk && self.cluster.log == Log::Local {
            return unusable("cluster.log_ack", "is about log: bucket; a local log acknowledges what is on the disk");
        }
        if !self.cluster.enabled {
            if self.cluster.log == Log::Bucket {
                return unusable(
                    "cluster.log",
                    "on the bucket needs cluster.enabled: others adopt what a writer leaves",
                );
            }
            return match target {
                Target::All => Ok(()),
                _ => unusable("target", "one process of several needs cluster.enabled: true; one alone is all"),
            };
        }
        let Cluster { listen_address, advertise_address, peer_timeout, .. } = &self.cluster;
        if peer_timeout.get().is_zero() {
            return unusable("cluster.peer_timeout", "must be longer than 0s");
        }
        if self.cluster.log_linger.get() > LONGEST_LINGER {
            return unusable("cluster.log_linger", "must be at most 5s: exporters give up after 10s");
        }
        if self.keeps_log_on_bucket() && self.generates_metrics() {
            return unusable(
                "cluster.log",
                "on the bucket does not go with metrics from spans: what is counted follows a log on the disk; write local, \
                 or leave out metrics_generator's processors and user_configurable_overrides",
            );
        }
        let trace = &self.storage.trace;
        let is_shared = trace.backend.is_remote() || trace.backend == Backend::Local && trace.local.path.is_some();
        if !is_shared {
            return unusable("cluster.enabled", "needs a store that all processes share: see storage.trace.backend");
        }
        match listen_address {
            None if target.takes_spans() => {
                unusable("cluster.listen_address", "is missing: others ask there for live spans")
            }
            Some(address) if advertise_address.is_empty() && address.is_unspecified() => unusable(
                "cluster.advertise_address",
                "is missing: others cannot reach all interfaces, write the host and port of this one",
            ),
            _ => Ok(()),
        }
    }
}

/// The longest that `log_linger` may be.
const LONGEST_LINGER: Duration = Duration::from_secs(5);

const NO_GENERATOR: &str = "\"metrics-generator\" is no process of its own here: metrics are made where spans are taken, by target writer or all";
