//! What of a request is stored: all of it, unless its tenant has limits for traces or for attributes.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bytes::Bytes;
use model::limits::Limits;
use model::{TenantId, TraceId};
use spans::{TraceShare, Truncated};

use crate::error::Error;
use crate::trace_limits::{Excess, TraceLimits};

/// A request as it is to be stored.
pub(crate) struct Screened {
    pub request: Bytes,
    pub spans: usize,
    /// What was counted of its traces.
    pub taken: Vec<TraceShare>,
    /// Spans that are not stored, by the reason.
    pub rejected: BTreeMap<Excess, usize>,
    pub truncated: Truncated,
}

/// Cuts attributes and takes out traces that go beyond the limits. Where there are none, it costs nothing.
pub(crate) fn screen(
    traces: &TraceLimits,
    tenant: &TenantId,
    limits: &Limits,
    (request, spans): (Bytes, usize),
    now: Instant,
) -> Result<Screened, Error> {
    let (taken, rejected) = (Vec::new(), BTreeMap::new());
    let mut screened = Screened { request, spans, taken, rejected, truncated: Truncated::default() };
    if limits.max_attribute_bytes > 0 {
        screened.truncate(usize::try_from(limits.max_attribute_bytes).unwrap_or(usize::MAX))?;
    }
    if limits.max_live_traces > 0 || limits.max_bytes_per_trace > 0 {
        let shares = spans::trace_shares(&screened.request).map_err(Error::Request)?;
        let excess = traces.take(tenant, limits, &shares, now);
        screened.reject(shares, &excess)?;
    }
    Ok(screened)
}

impl Screened {
    fn truncate(&mut self, max_bytes: usize) -> Result<(), Error> {
        if let Some((request, truncated)) =
            spans::truncate_attributes(&self.request, max_bytes).map_err(Error::Request)?
        {
            (self.request, self.truncated) = (request.into(), truncated);
        }
        Ok(())
    }

    fn reject(&mut self, shares: Vec<TraceShare>, excess: &HashMap<TraceId, Excess>) -> Result<(), Error> {
        if !excess.is_empty() {
            let is_rejected = |id: &TraceId| excess.contains_key(id);
            self.request = spans::without_traces(&self.request, is_rejected).map_err(Error::Request)?.into();
        }
        for share in shares {
            match excess.get(&share.id) {
                Some(excess) => {
                    *self.rejected.entry(*excess).or_default() += share.spans;
                    self.spans -= share.spans;
                }
                None => self.taken.push(share),
            }
        }
        Ok(())
    }
}
