//! Which upkeep of the store is this process's: merging, retention, collecting and trace maps of a tenant's window belong to
//! the first, in rendezvous order, of the living nodes that do such work.
//!
//! It saves work and keeps nothing safe. Two processes that both take a piece for theirs, because they do not know of each
//! other or take each other for dead, do it twice; what counts is the commit, as ever. A process that knows of no other does
//! everything.

use std::sync::{Arc, PoisonError, RwLock};

use model::TenantId;

use crate::ids::NodeId;
use crate::rendezvous;

/// The share of one process. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct UpkeepShare(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    own: Option<NodeId>,
    others: Vec<NodeId>,
}

impl UpkeepShare {
    /// Of the only process that does such work.
    pub fn all() -> Self {
        Self::default()
    }

    /// From now on this process does its share among these others.
    pub fn set(&self, own: NodeId, others: Vec<NodeId>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known { own: Some(own), others };
    }

    /// Whether what is to be done for a tenant in a window (0 for what concerns all of it) is this process's.
    pub fn has(&self, tenant: &TenantId, window: u64) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = known.own.filter(|_| !known.others.is_empty()) else { return true };
        let key = [&window.to_be_bytes()[..], tenant.as_str().as_bytes()].concat();
        let nodes = known.others.iter().chain([&own]);
        rendezvous::first(&key, nodes, |node| node.0) == Some(&own)
    }
}

#[cfg(test)]
mod tests;
