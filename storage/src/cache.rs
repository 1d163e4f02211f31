//! A cache within a budget of bytes, counted. What an entry is, and how it comes to be, is for whoever has the cache.

use std::hash::Hash;
use std::sync::Arc;

use futures::future::BoxFuture;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use crate::telemetry::{CacheCounters, Telemetry};

/// What an entry takes besides its own bytes: links, the allocation.
const ENTRY_BYTES: usize = 100;

type Entries<K, V> = Cache<K, V, ByBytes<K, V>, DefaultHashBuilder, CountEvictions>;

/// Values by key, within a budget. Those that are asked for least make room for others. Clones share the entries.
pub struct ByteCache<K, V> {
    entries: Arc<Entries<K, V>>,
    counters: CacheCounters,
}

/// How much a cache may hold, and of what kind its entries are.
pub struct Capacity<K, V> {
    /// Names the cache in metrics.
    pub name: &'static str,
    pub bytes: u64,
    /// About how many entries fill it. The budget is divided into a shard for every 32 of them, and an entry that is
    /// larger than its shard is not kept.
    pub entries: usize,
    /// What an entry takes, without its share of the cache itself.
    pub bytes_of: fn(&K, &V) -> usize,
}

struct ByBytes<K, V>(fn(&K, &V) -> usize);

impl<K, V> Clone for ByBytes<K, V> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<K, V> Weighter<K, V> for ByBytes<K, V> {
    fn weight(&self, key: &K, value: &V) -> u64 {
        (ENTRY_BYTES + (self.0)(key, value)) as u64
    }
}

#[derive(Clone)]
struct CountEvictions(CacheCounters);

impl<K, V> Lifecycle<K, V> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, _: V) {
        self.0.evicted();
    }
}

impl<K, V> Clone for ByteCache<K, V> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), counters: self.counters.clone() }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> ByteCache<K, V> {
    pub fn new(capacity: &Capacity<K, V>, telemetry: &Telemetry) -> Self {
        let counters = telemetry.cache(capacity.name);
        let (weigh, count) = (ByBytes(capacity.bytes_of), CountEvictions(counters.clone()));
        let entries = Cache::with(capacity.entries, capacity.bytes, weigh, DefaultHashBuilder::default(), count);
        Self { entries: Arc::new(entries), counters }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let value = self.entries.get(key);
        self.counters.asked(value.is_some());
        value
    }

    /// The entry, if there is one; not counted as a question.
    pub fn peek(&self, key: &K) -> Option<V> {
        self.entries.peek(key)
    }

    /// The entry, or what `load` gives, which is kept. Of many that ask at once one loads; when it fails, the next one does.
    ///
    /// What `load` needs while it runs is made when it runs: a future that had room for it would be moved with every question,
    /// most of which find their entry.
    pub async fn get_or_load<'a, E>(
        &self,
        key: &K,
        load: impl FnOnce() -> BoxFuture<'a, Result<V, E>>,
    ) -> Result<V, E> {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let value = self.entries.get_or_insert_async(key, load()).await;
        self.counters.set_bytes(self.bytes());
        value
    }

    /// All entries, in no order; not counted as questions.
    pub fn entries(&self) -> impl Iterator<Item = (K, V)> + '_ {
        self.entries.iter()
    }

    pub fn insert(&self, key: K, value: V) {
        self.entries.insert(key, value);
        self.counters.set_bytes(self.bytes());
    }

    /// Drops the entries for which `is_kept` says no.
    pub fn retain(&self, is_kept: impl Fn(&K) -> bool) {
        self.entries.retain(|key, _| is_kept(key));
        self.counters.set_bytes(self.bytes());
    }

    /// What all entries take together; never more than the budget.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use prometheus_client::registry::Registry;

    use super::*;

    const BUDGET: u64 = 100_000;

    fn cache(registry: &mut Registry) -> ByteCache<u32, Arc<[u8]>> {
        let capacity =
            Capacity { name: "test", bytes: BUDGET, entries: 32, bytes_of: |_, value: &Arc<[u8]>| value.len() };
        ByteCache::new(&capacity, &Telemetry::register(registry))
    }

    #[test]
    fn any_number_of_entries_stays_within_the_budget() {
        let cache = cache(&mut Registry::default());
        for key in 0..10_000 {
            cache.insert(key, vec![0; 900].into());
            assert!(cache.bytes() <= BUDGET);
        }
        assert!(cache.bytes() > BUDGET / 2, "{} bytes", cache.bytes());
        cache.insert(0, vec![0; BUDGET as usize].into());
        assert!(cache.bytes() <= BUDGET);
        cache.retain(|_| false);
        assert_eq!(cache.bytes(), 0);
    }

    #[tokio::test]
    async fn questions_evictions_and_bytes_are_counted() {
        let mut registry = Registry::default();
        let cache = cache(&mut registry);
        for _ in 0..3 {
            let load = || async { Ok::<_, ()>(Arc::from([7; 900])) }.boxed();
            assert_eq!(cache.get_or_load(&1, load).await.unwrap()[..], [7; 900]);
        }
        assert_eq!(cache.get_or_load(&2, || async { Err(5) }.boxed()).await.unwrap_err(), 5);
        assert!(cache.get(&2).is_none());
        let text = crate::telemetry::tests::text(&registry);
        for line in [
            r#"mosso_cache_requests_total{cache="test",outcome="hit"} 2"#,
            r#"mosso_cache_requests_total{cache="test",outcome="miss"} 3"#,
            r#"mosso_cache_evictions_total{cache="test"} 0"#,
            r#"mosso_cache_bytes{cache="test"} 1000"#,
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
        (10..300).for_each(|key| cache.insert(key, vec![0; 900].into()));
        let text = crate::telemetry::tests::text(&registry);
        assert!(!text.contains(r#"mosso_cache_evictions_total{cache="test"} 0"#), "{text}");
    }
}
