//! How many bytes a tenant may bring: a bucket each, which fills with the rate and holds one burst.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::TenantId;
use model::limits::Limits;

/// Buckets that are kept. Those of more tenants make room for each other: full ones go first, then all, each with a burst.
const MAX_BUCKETS: usize = 10_000;

/// The buckets of all tenants with a limit.
#[derive(Default)]
pub(crate) struct Rates {
    buckets: Mutex<HashMap<TenantId, Bucket>>,
}

/// Why a request is refused for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It alone is larger than a burst.
    Request { rate: u64, burst: u64 },
    /// There will be room after a while.
    Rate { rate: u64, burst: u64, room_after: Duration },
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Bytes a second, and the most that it holds.
    rate: u64,
    burst: u64,
    bytes: f64,
    at: Instant,
}

impl Rates {
    /// Takes the bytes of a request, or says why not.
    pub(crate) fn take(&self, tenant: &TenantId, limits: &Limits, bytes: usize, now: Instant) -> Result<(), Excess> {
        let rate = limits.rate_limit_bytes;
        if rate == 0 {
            return Ok(());
        }
        let burst = if limits.burst_size_bytes == 0 { rate } else { limits.burst_size_bytes };
        if bytes as u64 > burst {
            return Err(Excess::Request { rate, burst });
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(tenant) {
            // a full bucket is like none
            buckets.retain(|_, bucket| bucket.filled(now).bytes < bucket.burst as f64);
            // looked through once for as many requests: no sender of ever new names makes all others wait
            if buckets.len() > MAX_BUCKETS / 2 {
                buckets.clear();
            }
        }
        let full = Bucket { rate, burst, bytes: burst as f64, at: now };
        let bucket = buckets.entry(tenant.clone()).or_insert(full);
        *bucket = Bucket { rate, burst, ..bucket.filled(now) };
        bucket.bytes = bucket.bytes.min(burst as f64);
        let missing = bytes as f64 - bucket.bytes;
        if missing > 0.0 {
            return Err(Excess::Rate { rate, burst, room_after: Duration::from_secs_f64(missing / rate as f64) });
        }
        bucket.bytes -= bytes as f64;
        Ok(())
    }

    /// Puts back what a request took that was not stored after all.
    pub(crate) fn give_back(&self, tenant: &TenantId, bytes: usize) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(tenant) {
            bucket.bytes = (bucket.bytes + bytes as f64).min(bucket.burst as f64);
        }
    }
}

impl Bucket {
    fn filled(self, now: Instant) -> Self {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.rate as f64;
        Self { bytes: (self.bytes + gained).min(self.burst as f64), at: now, ..self }
    }
}

impl Excess {
    /// In Tempo's words, which people search for.
    pub(crate) fn message(&self, tenant: &TenantId, bytes: usize) -> String {
        match self {
            Self::Request { rate, burst } => format!(
                "RATE_LIMITED: batch size ({bytes} bytes) exceeds ingestion limit (local: {rate} bytes/s, global: 0 \
                 bytes/s, burst: {burst} bytes) while adding {bytes} bytes for user {tenant}. consider reducing batch \
                 size or increasing rate limit."
            ),
            Self::Rate { rate, burst, .. } => format!(
                "RATE_LIMITED: ingestion rate limit (local: {rate} bytes/s, global: 0 bytes/s, burst: {burst} bytes) \
                 exceeded while adding {bytes} bytes for user {tenant}. consider increasing the limit or reducing \
                 ingestion rate."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn a_tenant_may_bring_a_burst_and_then_what_its_rate_allows() {
        let (rates, start) = (Rates::default(), Instant::now());
        let limits = Limits { rate_limit_bytes: 100, burst_size_bytes: 300, ..Limits::default() };
        let take = |name: &str, bytes, seconds| {
            rates.take(&tenant(name), &limits, bytes, start + Duration::from_secs(seconds))
        };
        assert_eq!(take("a", 300, 0), Ok(()));
        let room_after = Duration::from_millis(500);
        assert_eq!(take("a", 50, 0), Err(Excess::Rate { rate: 100, burst: 300, room_after }));
        assert_eq!(take("b", 300, 0), Ok(()), "tenants do not share a bucket");
        assert_eq!((take("a", 100, 1), take("a", 1, 1).is_err()), (Ok(()), true));
        rates.give_back(&tenant("a"), 100);
        assert_eq!((take("a", 100, 1), take("a", 1, 1).is_err()), (Ok(()), true), "what was not stored costs nothing");
        assert_eq!(take("a", 301, 9), Err(Excess::Request { rate: 100, burst: 300 }));
        assert_eq!((take("a", 300, 99), take("a", 1, 99).is_err()), (Ok(()), true), "no more than a burst gathers");
        assert_eq!(rates.take(&tenant("a"), &Limits::default(), usize::MAX, start), Ok(()), "0 is no limit");
    }

    #[test]
    fn full_buckets_are_forgotten_when_there_are_many() {
        let (rates, start) = (Rates::default(), Instant::now());
        let limits = Limits { rate_limit_bytes: 100, ..Limits::default() };
        for index in 0..MAX_BUCKETS {
            rates.take(&tenant(&format!("t{index}")), &limits, 1, start).unwrap();
        }
        rates.take(&tenant("late"), &limits, 1, start + Duration::from_secs(1)).unwrap();
        assert_eq!(rates.buckets.lock().unwrap().len(), 1);
        for index in 0..3 * MAX_BUCKETS {
            rates.take(&tenant(&format!("n{index}")), &limits, 1, start + Duration::from_secs(1)).unwrap();
            assert!(rates.buckets.lock().unwrap().len() <= MAX_BUCKETS);
        }
    }

    #[test]
    fn each_bucket_fills_at_the_rate_of_its_own_tenant() {
        let (rates, start) = (Rates::default(), Instant::now());
        let slow = Limits { rate_limit_bytes: 1, burst_size_bytes: 1_000, ..Limits::default() };
        let fast = Limits { rate_limit_bytes: 1_000, burst_size_bytes: 10, ..Limits::default() };
        rates.take(&tenant("slow"), &slow, 1_000, start).unwrap();
        for index in 1..MAX_BUCKETS {
            rates.take(&tenant(&format!("t{index}")), &fast, 1, start).unwrap();
        }
        let later = start + Duration::from_secs(1);
        rates.take(&tenant("late"), &fast, 1, later).unwrap();
        assert!(rates.take(&tenant("slow"), &slow, 2, later).is_err(), "it was emptied a second ago");
    }
}
