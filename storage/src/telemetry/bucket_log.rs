//! Counters of the log on the bucket: what its requests cost, and what they carry.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::clock::Moment;

#[derive(Debug, Clone, Default)]
pub(crate) struct BucketLogCounters {
    requests: Family<Operation, Counter>,
    raw_bytes: Counter,
    stored_bytes: Counter,
    read_bytes: Counter,
    put: Put,
}

/// The put that is under way: a log has one at a time.
#[derive(Debug, Clone, Default)]
struct Put(Arc<Mutex<Option<Moment>>>);

impl Put {
    fn set(&self, began: Option<Moment>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    fn age_seconds(&self) -> f64 {
        let began = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        began.map_or(0.0, |began| began.age().as_secs_f64())
    }
}

impl Collector for Put {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauge = ConstGauge::new(self.age_seconds());
        let help = "How long the put of the log on the bucket that is under way has been tried; 0 when none is";
        gauge.encode(encoder.encode_descriptor("mosso_bucket_log_put_age_seconds", help, None, gauge.metric_type())?)
    }
}

/// A put is under way until this is dropped.
pub(crate) struct PutUnderWay(Put);

impl Drop for PutUnderWay {
    fn drop(&mut self) {
        self.0.set(None);
    }
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
        registry.register_collector(Box::new(counters.put.clone()));
        counters
    }

    /// Of an object that is to be tried until it is certain.
    pub fn put_began(&self, began: Moment) -> PutUnderWay {
        self.put.set(Some(began));
        PutUnderWay(self.put.clone())
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
