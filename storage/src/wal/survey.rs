//! What a log holds, for an operator: read beside the process that may be writing it, and left as it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::TenantId;
use serde::Serialize;

use super::files::LocalFiles;
use super::replay::{Recovery, ReplayEvent};
use crate::error::Error;
use crate::ids::SegmentSequence;

/// What a segment holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SegmentSurvey {
    pub sequence: SegmentSequence,
    pub bytes: u64,
    pub tenants: BTreeMap<String, Requests>,
    /// What may have been acknowledged and cannot be read.
    pub damages: Vec<LogDamage>,
    /// Where an append begins that was cut short, or that is just being made.
    pub torn_at: Option<u64>,
}

/// Requests of one tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    pub requests: u64,
    pub spans: u64,
    /// Of the requests as they were sent, decompressed.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogDamage {
    /// Where in the segment; `None` for an undamaged entry that is no request.
    pub offset: Option<u64>,
    pub reason: String,
}

/// A log to be looked through.
#[derive(Debug)]
pub struct Survey {
    recovery: Recovery,
}

impl Survey {
    /// Lists the segments in `dir`.
    ///
    /// # Errors
    /// When the folder cannot be read, or a segment was written by a newer program.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self { recovery: Recovery::open(Arc::new(LocalFiles::default()), dir)? })
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        self.recovery.sizes().values().sum()
    }

    /// What the segments hold, oldest first. `read` hears how many bytes of requests were read since it was last told.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn segments(self, read: impl Fn(u64)) -> Result<Vec<SegmentSurvey>, Error> {
        let of_size = |(sequence, bytes)| (sequence, SegmentSurvey { sequence, bytes, ..SegmentSurvey::default() });
        let mut segments: BTreeMap<_, SegmentSurvey> = self.recovery.sizes().into_iter().map(of_size).collect();
        for event in self.recovery.look() {
            match event? {
                ReplayEvent::Entry { segment, tenant, payload } => {
                    read(payload.len() as u64);
                    segments.entry(segment).or_default().add(&tenant, &payload);
                }
                ReplayEvent::Corrupt { segment, offset, reason } => {
                    let damage = LogDamage { offset: Some(offset), reason: reason.to_owned() };
                    segments.entry(segment).or_default().damages.push(damage);
                }
                ReplayEvent::TornTail { segment, offset } => {
                    segments.entry(segment).or_default().torn_at = Some(offset)
                }
                ReplayEvent::SegmentEnd { .. } => {}
            }
        }
        Ok(segments.into_values().collect())
    }
}

impl SegmentSurvey {
    fn add(&mut self, tenant: &TenantId, payload: &[u8]) {
        match spans::check(payload) {
            Ok(summary) => {
                let requests = self.tenants.entry(tenant.as_str().to_owned()).or_default();
                requests.requests += 1;
                requests.spans += summary.spans as u64;
                requests.bytes += payload.len() as u64;
            }
            Err(error) => self.damages.push(LogDamage { offset: None, reason: error.to_string() }),
        }
    }
}
