//! Blocks of a query are dealt out to other processes, so that a large query has the processors of all.
//!
//! ```text
//! sources of a query ─▶ deal ─┬▶ here: what is live, what others cannot read, this node's share
//!                             └▶ a job for each other node ─▶ Workers ─▶ what it found, merged by the question
//!                                       late, failed ─▶ the next node ─▶ here
//! ```
//!
//! A block belongs to the first node in rendezvous order that is not loaded above the others, so that the same node mostly
//! has it in its caches. Without other processes nothing of this is done or paid.
//!
//! `deal`: who gets what; `part`: a job until it is done.

mod deal;
mod part;

use std::sync::{Arc, OnceLock};

pub(crate) use self::deal::Dealt;
use self::part::UnderWay;
pub(crate) use self::part::{JobSources, Part};
use crate::jobs::{SpreadPolicy, Workers};

/// What others do of the queries of this process.
#[derive(Default)]
pub(crate) struct Spread {
    others: OnceLock<Others>,
}

struct Others {
    workers: Arc<dyn Workers>,
    policy: SpreadPolicy,
    under_way: UnderWay,
}

impl Spread {
    /// From now on others take part. Only the first call counts.
    pub fn over(&self, workers: Arc<dyn Workers>, policy: SpreadPolicy) {
        _ = self.others.set(Others { workers, policy, under_way: UnderWay::default() });
    }

    /// Whether nobody else takes part.
    pub fn is_alone(&self) -> bool {
        self.others.get().is_none()
    }

    /// The newest sources of a search that are looked at before others are asked.
    pub fn newest_here(&self) -> usize {
        self.others.get().map_or(0, |others| others.policy.newest_here)
    }
}

#[cfg(test)]
pub(crate) mod tests;
