//! Which spans were counted lately: a client that heard no answer sends them again.
//!
//! Identities are kept as hashes of 64 bits, for some time and up to a number. Two of ten million spans that have the same
//! hash by chance are one in 370,000 cases.

use hashbrown::HashSet;

/// Hashes that one generation may hold: as many as fit a table of 2^20 places, which takes 9 MiB. Two are kept.
const MOST_OF_GENERATION: usize = (1 << 20) / 8 * 7;

/// The spans of the last one to two periods, of all tenants.
pub(crate) struct RecentSpans {
    current: HashSet<u64>,
    previous: HashSet<u64>,
    period_millis: i64,
    since_millis: i64,
    most: usize,
}

impl RecentSpans {
    pub(crate) fn new(period_millis: i64, now_millis: i64) -> Self {
        Self {
            current: HashSet::new(),
            previous: HashSet::new(),
            period_millis,
            since_millis: now_millis,
            most: MOST_OF_GENERATION,
        }
    }

    /// Remembers a span; false when it is known. `tenant` is a hash of whose it is.
    pub(crate) fn is_new(
        &mut self,
        tenant: u64,
        trace_id: &[u8; 16],
        span_id: u64,
        kind: i32,
        start_nanos: u64,
    ) -> bool {
        let hash = hash(tenant, trace_id, span_id, kind, start_nanos);
        if self.previous.contains(&hash) || self.current.contains(&hash) {
            return false;
        }
        if self.current.len() >= self.most {
            self.turn();
        }
        self.current.insert(hash)
    }

    /// Forgets what is older than two periods.
    pub(crate) fn tick(&mut self, now_millis: i64) {
        if now_millis - self.since_millis >= self.period_millis {
            self.since_millis = now_millis;
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.previous = std::mem::take(&mut self.current);
    }
}

/// Ids are random already; start and kind tell apart what has the same ids.
fn hash(tenant: u64, trace_id: &[u8; 16], span_id: u64, kind: i32, start_nanos: u64) -> u64 {
    let trace_id = u128::from_be_bytes(*trace_id);
    let mix = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        (product >> 64) as u64 ^ product as u64
    };
    [trace_id as u64, (trace_id >> 64) as u64, span_id, start_nanos, kind as u64]
        .into_iter()
        .fold(tenant ^ 0x517c_c1b7_2722_0a95, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_new_once_until_two_periods_have_passed() {
        let mut recent = RecentSpans::new(100, 0);
        let is_new = |recent: &mut RecentSpans| recent.is_new(7, &[1; 16], 2, 3, 4);
        assert_eq!((is_new(&mut recent), is_new(&mut recent)), (true, false));
        recent.tick(100);
        assert!(!is_new(&mut recent));
        recent.tick(150);
        assert!(!is_new(&mut recent));
        recent.tick(200);
        assert!(is_new(&mut recent));
    }

    #[test]
    fn tenant_kind_and_start_tell_spans_with_the_same_ids_apart() {
        let mut recent = RecentSpans::new(100, 0);
        assert!(recent.is_new(8, &[1; 16], 2, 2, 10));
        for (kind, start) in [(2, 10), (3, 10), (2, 11)] {
            assert!(recent.is_new(7, &[1; 16], 2, kind, start));
        }
    }

    #[test]
    fn no_more_than_two_generations_are_kept() {
        let mut recent = RecentSpans { most: 10, ..RecentSpans::new(i64::MAX, 0) };
        for span in 0..100 {
            assert!(recent.is_new(7, &[1; 16], span, 2, 0));
            assert!(recent.current.len() + recent.previous.len() <= 20);
        }
        assert!(!recent.is_new(7, &[1; 16], 99, 2, 0));
    }
}
