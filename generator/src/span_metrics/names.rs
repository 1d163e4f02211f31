//! Names of spans with ids in them: what they are folded into, and what series folding saves or would save.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashSet;

use crate::config::{NameFolding, TenantConfig};
use crate::drain::Drain;
use crate::labels::LabelSet;
use crate::memory::Memory;
use crate::state::{DrainNodeState, Numbered, Numbering};

/// Sets of labels that are told apart for the estimate; with more, it says so many.
const MOST_LABEL_SETS: usize = 100_000;

pub(crate) struct Names {
    folding: NameFolding,
    drain: Drain,
    demand: Demand,
}

/// How many sets of labels there are when names are folded, of one to two periods.
struct Demand {
    hasher: RandomState,
    current: HashSet<u64>,
    previous: usize,
    period_millis: i64,
    since_millis: i64,
}

impl Names {
    pub(crate) fn new(config: &TenantConfig, memory: &Memory) -> Self {
        let period_millis = i64::try_from(config.limits.stale_duration.as_millis()).unwrap_or(i64::MAX);
        let demand = Demand {
            hasher: RandomState::new(),
            current: HashSet::new(),
            previous: 0,
            period_millis,
            since_millis: i64::MIN,
        };
        Self { folding: config.name_folding, drain: Drain::new(memory.series.clone()), demand }
    }

    /// Whether series have templates for names.
    pub(super) fn are_folded(&self) -> bool {
        self.folding == NameFolding::On
    }

    /// Whether names are looked at for ids in them.
    pub(super) fn are_looked_at(&self) -> bool {
        self.folding != NameFolding::Off
    }

    /// The template of a name, unless it is the name itself or nobody asks for it.
    pub(super) fn template(&mut self, name: &str) -> Option<String> {
        if self.folding == NameFolding::Off { None } else { self.drain.template(name) }
    }

    /// Notes a set of labels; where `template` is to take the place of the name, it may be among them or not.
    pub(super) fn would_need(&mut self, template: Option<&str>, labels: &LabelSet, now_millis: i64) {
        if self.folding == NameFolding::Off {
            return;
        }
        let Demand { hasher, current, previous, period_millis, since_millis } = &mut self.demand;
        if now_millis.saturating_sub(*since_millis) >= *period_millis {
            (*previous, *since_millis) = (current.len(), now_millis);
            current.clear();
        }
        if current.len() < MOST_LABEL_SETS {
            let value = |(name, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| match (&**name, template) {
                ("span_name", Some(template)) => template.to_owned(),
                _ => value.to_string(),
            };
            current.insert(hasher.hash_one(labels.iter().map(value).collect::<Vec<_>>()));
        }
    }

    /// How many sets of labels there are with folded names.
    pub(crate) fn demand(&self) -> usize {
        self.demand.current.len().max(self.demand.previous)
    }

    pub(crate) fn save(&self, numbering: &mut Numbering) -> Vec<DrainNodeState> {
        self.drain.save(numbering)
    }

    pub(crate) fn restore(&mut self, saved: Vec<DrainNodeState>, numbered: &Numbered) {
        if self.folding != NameFolding::Off {
            self.drain.restore(saved, numbered);
        }
    }
}
