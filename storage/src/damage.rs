//! Damaged files of blocks: what counts as damage, and which parts of blocks are left alone because of it.
//!
//! Who meets a damaged part first names it in the log and counts it. Whoever asks for the part in the next [`RETRY`] is
//! told the same without a read; then it is tried again, because the file may have been put back, or the disk was at
//! fault and not the file. A damaged row group leaves the others of its block readable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{BlockId, TenantId};
use object_store::path::Path;

use crate::error::Error;
use crate::paths::{BlockFile, ObjectKey};
use crate::telemetry::Telemetry;

/// How long a damaged part is left alone: long beside a query, short beside the time that a repair takes.
const RETRY: Duration = Duration::from_secs(300);
/// How long tasks that work on their own leave a damaged block alone. It is longer, for nobody has asked; what could not be
/// read may have been the store's fault all the same.
pub(crate) const UPKEEP_RETRY: Duration = Duration::from_secs(3600);
/// Most damaged parts that are remembered. Of more than these the oldest are forgotten, and met again.
const MAX_REMEMBERED: usize = 1024;

/// What is wrong with a file of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub file: BlockFile,
    pub key: String,
    pub reason: String,
}

impl Damage {
    /// What an error says of a file; `None` when it is not about a file of a block, or not the file's fault.
    pub fn of(error: &Error) -> Option<Self> {
        let (key, reason) = match error {
            Error::BlockDamaged { key, reason } => (key, reason.clone()),
            Error::Objects { key, source: object_store::Error::NotFound { .. }, .. } => {
                (key, "it is not there".to_owned())
            }
            _ => return None,
        };
        match ObjectKey::parse(&Path::parse(key).ok()?)? {
            ObjectKey::BlockFile { file, .. } => Some(Self { file, key: key.clone(), reason }),
            ObjectKey::TraceMap { .. } | ObjectKey::Manifest { .. } | ObjectKey::ManifestPart { .. } => None,
        }
    }
}

impl From<Damage> for Error {
    fn from(Damage { key, reason, .. }: Damage) -> Self {
        Self::BlockDamaged { key, reason }
    }
}

/// What of a block is read as one, and fails as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DamagedPart {
    /// Directory and dimensions: without them nothing of the block can be read.
    Tables,
    /// `meta.json`: without it the tables of a block of version 1 are read unchecked.
    Meta,
    RowGroup(usize),
    /// Without it spans are counted one by one.
    Rollup,
}

/// Damaged parts that were met lately. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Quarantine {
    parts: Arc<Mutex<HashMap<(BlockId, DamagedPart), Met>>>,
    telemetry: Telemetry,
}

#[derive(Debug)]
struct Met {
    damage: Damage,
    at: Instant,
}

impl Met {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < RETRY
    }
}

impl Quarantine {
    pub fn new(telemetry: Telemetry) -> Self {
        Self { parts: Arc::default(), telemetry }
    }

    /// # Errors
    /// The damage that was met in the part lately.
    pub fn check(&self, block_id: BlockId, part: DamagedPart, now: Instant) -> Result<(), Error> {
        match self.lock().get(&(block_id, part)).filter(|met| met.is_recent(now)) {
            Some(met) => Err(met.damage.clone().into()),
            None => Ok(()),
        }
    }

    /// Remembers the part when the error is damage, and names it unless that was done lately.
    pub fn note(&self, tenant: &TenantId, block_id: BlockId, part: DamagedPart, error: &Error, now: Instant) {
        let Some(damage) = Damage::of(error) else { return };
        let mut parts = self.lock();
        parts.retain(|_, met| met.is_recent(now));
        if parts.contains_key(&(block_id, part)) {
            return;
        }
        let Damage { file, key, reason } = &damage;
        match part {
            DamagedPart::Rollup => {
                tracing::warn!(%tenant, %block_id, %key, %reason, "rollup is damaged, spans are counted one by one");
            }
            _ => {
                tracing::error!(%tenant, %block_id, file = file.kind(), %key, %reason, "damaged file, what is in it is left out of answers");
            }
        }
        self.telemetry.damaged_block_file(*file);
        if parts.len() >= MAX_REMEMBERED
            && let Some(oldest) = parts.iter().min_by_key(|(_, met)| met.at).map(|(part, _)| *part)
        {
            parts.remove(&oldest);
        }
        parts.insert((block_id, part), Met { damage, at: now });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(BlockId, DamagedPart), Met>> {
        // nothing that is done under the lock can leave the map half changed
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    fn damaged(block_id: BlockId) -> Error {
        let key = paths::block_file(&TenantId::single(), &block_id, BlockFile::Traces);
        Error::block_damaged(key.as_ref(), "checksum does not match")
    }

    #[test]
    fn a_damaged_part_is_left_alone_for_a_while_and_the_others_are_not() {
        let (quarantine, tenant, id) =
            (Quarantine::new(Telemetry::unregistered()), TenantId::single(), BlockId::generate());
        let start = Instant::now();
        quarantine.note(&tenant, id, DamagedPart::RowGroup(1), &damaged(id), start);
        let error = quarantine.check(id, DamagedPart::RowGroup(1), start + RETRY / 2).unwrap_err();
        assert_eq!(error.to_string(), damaged(id).to_string());
        assert!(quarantine.check(id, DamagedPart::RowGroup(0), start).is_ok());
        assert!(quarantine.check(BlockId::generate(), DamagedPart::RowGroup(1), start).is_ok());
        assert!(quarantine.check(id, DamagedPart::RowGroup(1), start + RETRY).is_ok());
        quarantine.note(&tenant, id, DamagedPart::Tables, &Error::Stopping, start);
        assert!(quarantine.check(id, DamagedPart::Tables, start).is_ok(), "not the file's fault");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_named_once() {
        let mut registry = prometheus_client::registry::Registry::default();
        let quarantine = Quarantine::new(Telemetry::register(&mut registry));
        let (tenant, start) = (TenantId::single(), Instant::now());
        let ids: Vec<BlockId> = (0..=MAX_REMEMBERED).map(|_| BlockId::generate()).collect();
        for (number, id) in ids.iter().enumerate() {
            for _ in 0..2 {
                let now = start + Duration::from_millis(number as u64);
                quarantine.note(&tenant, *id, DamagedPart::Tables, &damaged(*id), now);
            }
        }
        assert!(quarantine.check(ids[0], DamagedPart::Tables, start).is_ok(), "the oldest is forgotten");
        assert!(quarantine.check(ids[1], DamagedPart::Tables, start).is_err());
        let text = crate::telemetry::tests::text(&registry);
        let counted = format!("mosso_storage_damaged_total{{file=\"traces\"}} {}", ids.len());
        assert!(text.contains(&counted), "{text}");
    }
}
