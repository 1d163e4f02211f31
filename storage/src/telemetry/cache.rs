//! Counters of caches.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone)]
pub(super) struct CacheFamilies {
    requests: Family<RequestLabels, Counter>,
    evictions: Family<CacheLabels, Counter>,
    bytes: Family<CacheLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    cache: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    cache: &'static str,
}

/// The series of one cache.
#[derive(Debug, Clone)]
pub(crate) struct CacheCounters {
    hits: Counter,
    misses: Counter,
    evictions: Counter,
    bytes: Gauge,
}

impl CacheFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self { requests: Family::default(), evictions: Family::default(), bytes: Family::default() };
        registry.register(
            "mosso_cache_requests",
            "Questions to caches of blocks, by whether the cache had the answer",
            families.requests.clone(),
        );
        registry.register(
            "mosso_cache_evictions",
            "Entries that made room for others in caches of blocks",
            families.evictions.clone(),
        );
        registry.register("mosso_cache_bytes", "Bytes in caches of blocks", families.bytes.clone());
        families
    }

    pub(super) fn of(&self, cache: &'static str) -> CacheCounters {
        CacheCounters {
            hits: self.requests.get_or_create_owned(&RequestLabels { cache, outcome: "hit" }),
            misses: self.requests.get_or_create_owned(&RequestLabels { cache, outcome: "miss" }),
            evictions: self.evictions.get_or_create_owned(&CacheLabels { cache }),
            bytes: self.bytes.get_or_create_owned(&CacheLabels { cache }),
        }
    }
}

impl CacheCounters {
    pub(crate) fn asked(&self, is_hit: bool) {
        if is_hit {
            self.hits.inc()
        } else {
            self.misses.inc()
        };
    }

    pub(crate) fn evicted(&self) {
        self.evictions.inc();
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.set(bytes as i64);
    }
}
