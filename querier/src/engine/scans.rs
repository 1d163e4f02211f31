//! Queries that look at many spans take turns: a few at a time, the others wait in line before they have anything.
//!
//! ```text
//! every query ──▶ looks at `short_query_spans` ──▶ answered
//!                             └──▶ a place is free: goes on ──▶ answered
//!                             └──▶ none is: gives up all it has, waits for a place, begins again
//! ```
//!
//! A query holds what it saw when it began: live rows among them, whose memory cannot be used again before it ends. Many
//! scans side by side would all end late and hold all rows that came meanwhile. One after another each ends as soon as it
//! can, the first ones much earlier. What a query loses when it begins again is at most what a short query looks at; what
//! blocks gave to a metrics query is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use futures::FutureExt;
use model::TenantId;

use crate::engine::turns::{QueryTurns, Turn, Turns};
use crate::lock::locked;

/// The places of scans, shared out among tenants like the turns of row groups among queries.
#[derive(Debug)]
pub(crate) struct Scans {
    places: Turns,
    tenants: Mutex<HashMap<TenantId, Weak<QueryTurns>>>,
}

/// The place of one query, from when it needs one until it is dropped.
#[derive(Debug)]
pub(crate) struct ScanPlace {
    of_tenant: Arc<QueryTurns>,
    taken: Mutex<Option<Turn>>,
}

impl Scans {
    /// At least one at a time.
    pub fn new(count: usize) -> Self {
        Self { places: Turns::new(count), tenants: Mutex::default() }
    }

    /// For a query of this tenant, which has no place yet.
    pub fn join(&self, tenant: &TenantId) -> ScanPlace {
        let mut tenants = locked(&self.tenants);
        let of_tenant = tenants.get(tenant).and_then(Weak::upgrade).unwrap_or_else(|| {
            tenants.retain(|_, tenant| tenant.strong_count() > 0);
            let of_tenant = Arc::new(self.places.join(usize::MAX));
            tenants.insert(tenant.clone(), Arc::downgrade(&of_tenant));
            of_tenant
        });
        ScanPlace { of_tenant, taken: Mutex::default() }
    }
}

impl ScanPlace {
    /// Whether the query has a place now; it takes one that is free.
    pub fn take_free(&self) -> bool {
        let mut taken = locked(&self.taken);
        if taken.is_none() {
            *taken = self.of_tenant.turn().now_or_never();
        }
        taken.is_some()
    }

    /// Waits for a place.
    pub async fn wait(&self) {
        let place = self.of_tenant.turn().await;
        *locked(&self.taken) = Some(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn the_place_of_a_query_that_ends_goes_to_the_tenant_that_has_fewer() {
        let scans = Scans::new(2);
        let [first, second, third] = [(); 3].map(|()| scans.join(&tenant("busy")));
        let other = scans.join(&tenant("other"));
        assert!(first.take_free() && second.take_free() && !third.take_free());
        let (mut third_waits, mut other_waits) = (third.wait().boxed(), other.wait().boxed());
        assert!((&mut third_waits).now_or_never().is_none() && (&mut other_waits).now_or_never().is_none());
        drop(first);
        assert!((&mut third_waits).now_or_never().is_none());
        assert!((&mut other_waits).now_or_never().is_some());
        drop(other_waits);
        assert!(other.take_free() && !third.take_free());
        drop(other);
        assert!(third_waits.now_or_never().is_some());
    }

    #[test]
    fn tenants_without_queries_are_forgotten() {
        let scans = Scans::new(1);
        for number in 0..1_000 {
            assert!(scans.join(&tenant(&format!("t{number}"))).take_free());
        }
        assert!(locked(&scans.tenants).len() <= 2);
    }
}
