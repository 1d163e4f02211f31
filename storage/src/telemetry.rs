//! This crate's counters, under Tempo's names.

mod bucket_log;
mod cache;
mod compaction;
mod disk;
mod garbage;
mod polls;

use std::time::{Duration, Instant};

use model::TenantId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::cache::CacheFamilies;
use crate::paths::BlockFile;

pub use disk::register_disk;

pub(crate) use bucket_log::BucketLogCounters;
pub(crate) use cache::CacheCounters;
pub(crate) use compaction::{Compacted, CompactionCounters};
pub(crate) use garbage::GarbageCounters;
pub(crate) use polls::PollCounters;

const REQUEST_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Clones count into the same series.
#[derive(Debug, Clone)]
pub struct Telemetry {
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    blocks: Family<TenantLabels, Gauge>,
    trace_maps: Family<TenantLabels, Gauge>,
    block_bytes: Family<BlockBytesLabels, Gauge>,
    commit_conflicts: Counter,
    read_bytes: Counter,
    index_failures: Family<FailureLabels, Counter>,
    trace_map_failures: Family<FailureLabels, Counter>,
    damaged: Family<FileLabels, Counter>,
    caches: CacheFamilies,
    pub(crate) bucket_log: BucketLogCounters,
    pub(crate) compaction: CompactionCounters,
    pub(crate) garbage: GarbageCounters,
    pub(crate) polls: PollCounters,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    status_code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    tenant: String,
}

impl TenantLabels {
    fn of(tenant: &TenantId) -> Self {
        Self { tenant: tenant.as_str().to_owned() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BlockBytesLabels {
    tenant: String,
    /// `live`, or `compacted` for those that no manifest names.
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    reason: &'static str,
}

/// A kind of stored file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    file: &'static str,
}

impl Telemetry {
    pub fn register(registry: &mut Registry) -> Self {
        let telemetry = Self {
            requests: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            blocks: Family::default(),
            trace_maps: Family::default(),
            block_bytes: Family::default(),
            commit_conflicts: Counter::default(),
            read_bytes: Counter::default(),
            index_failures: Family::default(),
            trace_map_failures: Family::default(),
            damaged: Family::default(),
            caches: CacheFamilies::register(registry),
            bucket_log: BucketLogCounters::register(registry),
            compaction: CompactionCounters::register(registry),
            garbage: GarbageCounters::register(registry),
            polls: PollCounters::register(registry),
        };
        registry.register(
            "tempodb_backend_request_duration_seconds",
            "Time spent on requests to the object store",
            telemetry.requests.clone(),
        );
        registry.register("tempodb_blocklist_length", "Live blocks", telemetry.blocks.clone());
        registry.register("mosso_trace_maps", "Trace maps that manifests name", telemetry.trace_maps.clone());
        registry.register("tempodb_backend_bytes_total", "Bytes of blocks", telemetry.block_bytes.clone());
        registry.register(
            "mosso_manifest_commit_conflicts",
            "Commits that lost the race for a manifest and tried again",
            telemetry.commit_conflicts.clone(),
        );
        registry.register(
            "mosso_index_failures",
            "Indexes of blocks that could not be used, so that their columns were read instead",
            telemetry.index_failures.clone(),
        );
        registry.register(
            "mosso_trace_map_failures",
            "Trace maps that could not be used, so that their blocks were asked instead",
            telemetry.trace_map_failures.clone(),
        );
        registry.register(
            "mosso_backend_read_bytes",
            "Bytes of objects that were read from the store",
            telemetry.read_bytes.clone(),
        );
        registry.register(
            "mosso_storage_damaged",
            "Damaged or missing files that were met, each once in a while; the log names them",
            telemetry.damaged.clone(),
        );
        telemetry
    }

    /// Counts for nobody.
    pub fn unregistered() -> Self {
        Self::register(&mut Registry::default())
    }

    /// Times a request from now on.
    pub(crate) fn request(&self, operation: &'static str) -> RequestTimer {
        RequestTimer { telemetry: self.clone(), operation, status_code: STATUS_CANCELLED, started: Instant::now() }
    }

    pub(crate) fn set_live_blocks(&self, tenant: &TenantId, blocks: usize, bytes: u64) {
        self.blocks.get_or_create(&TenantLabels::of(tenant)).set(blocks as i64);
        self.set_block_bytes(tenant, "live", bytes);
    }

    pub(crate) fn set_trace_maps(&self, tenant: &TenantId, trace_maps: usize) {
        self.trace_maps.get_or_create(&TenantLabels::of(tenant)).set(trace_maps as i64);
    }

    /// Blocks that no manifest names.
    pub(crate) fn set_unnamed_blocks(&self, tenant: &TenantId, blocks: usize, bytes: u64) {
        self.garbage.set_unnamed(tenant, blocks);
        self.set_block_bytes(tenant, "compacted", bytes);
    }

    fn set_block_bytes(&self, tenant: &TenantId, status: &'static str, bytes: u64) {
        let tenant = tenant.as_str().to_owned();
        self.block_bytes.get_or_create(&BlockBytesLabels { tenant, status }).set(bytes as i64);
    }

    /// `reason` is `damaged` or `unread`.
    pub(crate) fn index_failed(&self, reason: &'static str) {
        self.index_failures.get_or_create(&FailureLabels { reason }).inc();
    }

    /// `reason` is `damaged` or `unread`.
    pub(crate) fn trace_map_failed(&self, reason: &'static str) {
        self.trace_map_failures.get_or_create(&FailureLabels { reason }).inc();
    }

    pub(crate) fn damaged_trace_map(&self) {
        self.trace_map_failed("damaged");
        self.damaged("trace_map");
    }

    /// The counters of the cache of this name.
    pub(crate) fn cache(&self, name: &'static str) -> CacheCounters {
        self.caches.of(name)
    }

    pub(crate) fn read_bytes(&self, bytes: u64) {
        self.read_bytes.inc_by(bytes);
    }

    pub(crate) fn damaged_block_file(&self, file: BlockFile) {
        self.damaged(file.kind());
    }

    pub(crate) fn damaged_manifest(&self) {
        self.damaged("manifest");
    }

    /// A place in the write-ahead log that cannot be read.
    pub fn damaged_log(&self) {
        self.damaged("log");
    }

    fn damaged(&self, file: &'static str) {
        self.damaged.get_or_create(&FileLabels { file }).inc();
    }

    pub(crate) fn commit_conflict(&self) {
        self.commit_conflicts.inc();
    }

    fn observe(&self, operation: &'static str, status_code: u16, duration: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, status_code }).observe(duration.as_secs_f64());
    }
}

const STATUS_OK: u16 = 200;
const STATUS_CANCELLED: u16 = 499;

/// Counts its request when it is dropped: as cancelled, if nobody set an outcome.
#[derive(Debug)]
pub(crate) struct RequestTimer {
    telemetry: Telemetry,
    operation: &'static str,
    status_code: u16,
    started: Instant,
}

impl RequestTimer {
    pub(crate) fn set_outcome<T>(&mut self, result: &object_store::Result<T>) {
        self.status_code = result.as_ref().err().map_or(STATUS_OK, status_code);
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        self.telemetry.observe(self.operation, self.status_code, self.started.elapsed());
    }
}

/// What S3 would have answered.
fn status_code(error: &object_store::Error) -> u16 {
    use object_store::Error;
    match error {
        Error::NotModified { .. } => 304,
        Error::Unauthenticated { .. } => 401,
        Error::PermissionDenied { .. } => 403,
        Error::NotFound { .. } => 404,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => 412,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => 501,
        _ => 500,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use prometheus_client::registry::Registry;

    /// What `/metrics` would say.
    pub(crate) fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    /// The sum of all series whose line begins so.
    pub(crate) fn sum(registry: &Registry, start: &str) -> u64 {
        let text = text(registry);
        let values = text.lines().filter(|line| line.starts_with(start)).map(|line| line.rsplit(' ').next().unwrap());
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    }
}
