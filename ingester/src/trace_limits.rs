//! How many live traces a tenant may have, and how large each may become.
//!
//! A trace is live until no span of it has come for a while, as in Tempo: late spans of it make it live again. Its size is
//! remembered for longer, so that one that grows slowly is found, too.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::limits::Limits;
use model::{TenantId, TraceId};
use spans::TraceShare;

/// After so long without a span a trace is live no more (Tempo's `max_trace_idle`).
const LIVE_FOR: Duration = Duration::from_secs(5);
/// How long the size of a trace is remembered after its last span: about as long as a block takes to be cut.
const SIZE_FOR: Duration = Duration::from_secs(30 * 60);
/// What is too old is looked for so often.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// Sizes that are remembered for a tenant, some 6 MB; when there are more, all begin again.
const MAX_SIZES: usize = 100_000;
/// Tenants whose traces are remembered; when there are more, those without live traces are forgotten.
const MAX_TENANTS: usize = 10_000;

/// Why spans of a trace are not stored. The names are Tempo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Excess {
    LiveTraces,
    TraceSize,
}

/// The traces of all tenants that have such a limit.
#[derive(Default)]
pub(crate) struct TraceLimits {
    tenants: Mutex<HashMap<TenantId, Traces>>,
}

struct Traces {
    /// When the last span came.
    live: HashMap<TraceId, Instant>,
    sizes: HashMap<TraceId, Size>,
    swept_at: Instant,
}

struct Size {
    bytes: u64,
    at: Instant,
}

impl Excess {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::LiveTraces => "live_traces_exceeded",
            Self::TraceSize => "trace_too_large",
        }
    }

    /// Which limit it is, for the client to read.
    pub(crate) fn text(self, limits: &Limits) -> String {
        match self {
            Self::LiveTraces => format!(
                "LIVE_TRACES_EXCEEDED: max live traces reached (ingestion.max_traces_per_user: {})",
                limits.max_live_traces
            ),
            Self::TraceSize => {
                format!(
                    "TRACE_TOO_LARGE: max size of trace exceeded (global.max_bytes_per_trace: {})",
                    limits.max_bytes_per_trace
                )
            }
        }
    }
}

impl TraceLimits {
    /// Counts the traces of a request, and says which of them are one too many or become too large.
    pub(crate) fn take(
        &self,
        tenant: &TenantId,
        limits: &Limits,
        shares: &[TraceShare],
        now: Instant,
    ) -> HashMap<TraceId, Excess> {
        let mut tenants = self.tenants();
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
            tenants.retain(|_, traces| traces.sweep(now).is_live());
            // looked through once for as many requests: no sender of ever new names makes all others wait
            if tenants.len() > MAX_TENANTS / 2 {
                tenants.clear();
            }
        }
        let traces = tenants.entry(tenant.clone()).or_insert_with(|| Traces::new(now));
        if now.saturating_duration_since(traces.swept_at) >= SWEEP_PERIOD {
            traces.sweep(now);
        }
        let excess = |share: &TraceShare| Some((share.id, traces.take(limits, share, now).err()?));
        shares.iter().filter_map(excess).collect()
    }

    /// Takes back what was counted of traces of a request that was not stored after all.
    pub(crate) fn give_back(&self, tenant: &TenantId, shares: &[TraceShare]) {
        let mut tenants = self.tenants();
        let Some(traces) = tenants.get_mut(tenant) else { return };
        for share in shares {
            if let Some(size) = traces.sizes.get_mut(&share.id) {
                size.bytes = size.bytes.saturating_sub(share.bytes as u64);
            }
        }
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Traces>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traces {
    fn new(now: Instant) -> Self {
        Self { live: HashMap::new(), sizes: HashMap::new(), swept_at: now }
    }

    fn take(&mut self, limits: &Limits, share: &TraceShare, now: Instant) -> Result<(), Excess> {
        let bytes = share.bytes as u64;
        if limits.max_bytes_per_trace > 0 {
            if self.sizes.len() >= MAX_SIZES && !self.sizes.contains_key(&share.id) {
                self.sizes.clear();
            }
            let size = self.sizes.entry(share.id).or_insert(Size { bytes: 0, at: now });
            size.at = now;
            if size.bytes + bytes > limits.max_bytes_per_trace {
                return Err(Excess::TraceSize);
            }
        }
        if limits.max_live_traces > 0 {
            if self.live.len() as u64 >= limits.max_live_traces && !self.live.contains_key(&share.id) {
                return Err(Excess::LiveTraces);
            }
            self.live.insert(share.id, now);
        }
        if let Some(size) = self.sizes.get_mut(&share.id) {
            size.bytes += bytes;
        }
        Ok(())
    }

    /// Forgets what is too old.
    fn sweep(&mut self, now: Instant) -> &Self {
        self.swept_at = now;
        self.live.retain(|_, at| now.saturating_duration_since(*at) < LIVE_FOR);
        self.sizes.retain(|_, size| now.saturating_duration_since(size.at) < SIZE_FOR);
        self
    }

    fn is_live(&self) -> bool {
        !self.live.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(trace: u8, bytes: usize) -> TraceShare {
        TraceShare { id: TraceId([trace; 16]), spans: 1, bytes }
    }

    struct Fixture {
        limits: TraceLimits,
        of_tenant: Limits,
        start: Instant,
    }

    impl Fixture {
        fn new(of_tenant: Limits) -> Self {
            Self { limits: TraceLimits::default(), of_tenant, start: Instant::now() }
        }

        /// What becomes of one span after so many seconds.
        fn take(&self, tenant: &str, trace: u8, bytes: usize, seconds: u64) -> Option<Excess> {
            let (tenant, now) = (TenantId::parse(tenant).unwrap(), self.start + Duration::from_secs(seconds));
            self.limits.take(&tenant, &self.of_tenant, &[share(trace, bytes)], now).into_values().next()
        }
    }

    #[test]
    fn a_tenant_has_so_many_live_traces_and_more_when_some_have_ended() {
        let fixture = Fixture::new(Limits { max_live_traces: 2, ..Limits::default() });
        assert_eq!([fixture.take("a", 1, 1, 0), fixture.take("a", 2, 1, 3)], [None, None]);
        assert_eq!(fixture.take("a", 3, 1, 3), Some(Excess::LiveTraces));
        assert_eq!(fixture.take("a", 1, 1, 4), None, "those that are live go on");
        assert_eq!(fixture.take("b", 3, 1, 4), None, "tenants do not share traces");
        assert_eq!([fixture.take("a", 3, 1, 8), fixture.take("a", 4, 1, 8)], [None, Some(Excess::LiveTraces)]);
    }

    #[test]
    fn a_trace_grows_up_to_its_size_however_slowly() {
        let fixture = Fixture::new(Limits { max_bytes_per_trace: 100, ..Limits::default() });
        assert_eq!([fixture.take("a", 1, 60, 0), fixture.take("a", 1, 41, 600)], [None, Some(Excess::TraceSize)]);
        assert_eq!([fixture.take("a", 1, 40, 600), fixture.take("a", 2, 101, 600)], [None, Some(Excess::TraceSize)]);
        let tenant = TenantId::parse("a").unwrap();
        fixture.limits.give_back(&tenant, &[share(1, 40)]);
        assert_eq!(fixture.take("a", 1, 40, 601), None, "what was not stored does not count");
        assert_eq!(fixture.take("a", 1, 100, 601 + 1_800), None, "it has been forgotten");
    }

    #[test]
    fn tenants_and_sizes_that_are_remembered_are_bounded() {
        let fixture = Fixture::new(Limits { max_bytes_per_trace: 100, ..Limits::default() });
        for number in 0..2 * MAX_TENANTS {
            fixture.take(&format!("t{number}"), 1, 1, 0);
        }
        assert!(fixture.limits.tenants().len() <= MAX_TENANTS);
        let (tenant, now) = (TenantId::parse("a").unwrap(), fixture.start);
        let id = |number: u64| TraceId((u128::from(number) + 1).to_be_bytes());
        let shares: Vec<TraceShare> =
            (0..=MAX_SIZES as u64).map(|number| TraceShare { id: id(number), spans: 1, bytes: 1 }).collect();
        fixture.limits.take(&tenant, &fixture.of_tenant, &shares, now);
        assert_eq!(fixture.limits.tenants()[&tenant].sizes.len(), 1);
    }
}
