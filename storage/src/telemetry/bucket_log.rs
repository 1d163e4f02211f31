//! Counters of the log on the bucket: what its requests cost, and what they carry.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Default)]
pub(crate) struct BucketLogCounters {
    requests: Family<Operation, Counter>,
    raw_bytes: Counter,
    stored_bytes: Counter,
    read_bytes: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

impl BucketLogCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        registry.register(
            "mosso_bucket_log_requests",
            "Requests to the store for logs on the bucket; of deletions, the objects",
            counters.requests.clone(),
        );
        registry.register(
            "mosso_bucket_log_raw_bytes",
            "Bytes of requests that were written to the log on the bucket, before compression",
            counters.raw_bytes.clone(),
        );
        registry.register(
            "mosso_bucket_log_stored_bytes",
            "Bytes of objects that were written to the log on the bucket",
            counters.stored_bytes.clone(),
        );
        registry.register(
            "mosso_bucket_log_read_bytes",
            "Bytes of objects that were read from logs on the bucket",
            counters.read_bytes.clone(),
        );
        counters
    }

    pub fn requested(&self, operation: &'static str) {
        self.requests.get_or_create(&Operation { operation }).inc();
    }

    pub fn deleted(&self, objects: u64) {
        self.requests.get_or_create(&Operation { operation: "delete" }).inc_by(objects);
    }

    pub fn batch(&self, raw_bytes: usize, stored_bytes: usize) {
        self.raw_bytes.inc_by(raw_bytes as u64);
        self.stored_bytes.inc_by(stored_bytes as u64);
    }

    pub fn read(&self, bytes: usize) {
        self.read_bytes.inc_by(bytes as u64);
    }
}
