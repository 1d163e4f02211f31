//! Which parts a process runs.

use storage::nodes::Role;

/// What is asked for in `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Every part.
    All,
    /// Takes spans, and tells others of those that are not yet in blocks.
    Writer,
    /// Answers questions, and keeps nothing.
    Querier,
    /// Merges blocks, and deletes what has expired.
    Compactor,
}

/// The names of Tempo's processes, and what they are here.
const OF_TEMPO: &[(&str, Target)] = &[
    ("", Target::All),
    ("scalable-single-binary", Target::All),
    ("distributor", Target::Writer),
    ("ingester", Target::Writer),
    ("live-store", Target::Writer),
    ("block-builder", Target::Writer),
    ("query-frontend", Target::Querier),
    ("backend-scheduler", Target::Compactor),
    ("backend-worker", Target::Compactor),
];

impl Target {
    const ALL: [Self; 4] = [Self::All, Self::Writer, Self::Querier, Self::Compactor];

    /// The one of this name, or of that of a process of Tempo's.
    pub fn of(name: &str) -> Option<Self> {
        let own = Self::ALL.into_iter().find(|target| target.name() == name);
        own.or_else(|| OF_TEMPO.iter().find(|(known, _)| *known == name).map(|(_, target)| *target))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Writer => "writer",
            Self::Querier => "querier",
            Self::Compactor => "compactor",
        }
    }

    /// Whether it has a log, and live spans.
    pub fn takes_spans(self) -> bool {
        matches!(self, Self::All | Self::Writer)
    }

    /// What it does for the other processes of a cluster. What takes spans and nothing else looks at no blocks for others.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::All => &[Role::Queries, Role::Upkeep],
            Self::Writer => &[],
            Self::Querier => &[Role::Queries],
            Self::Compactor => &[Role::Upkeep],
        }
    }

    /// Whether it merges and deletes blocks.
    pub fn keeps_blocks_in_order(self) -> bool {
        matches!(self, Self::All | Self::Compactor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_tempo_have_a_part_here() {
        for (name, target) in [
            ("all", Target::All),
            ("scalable-single-binary", Target::All),
            ("live-store", Target::Writer),
            ("query-frontend", Target::Querier),
            ("querier", Target::Querier),
            ("backend-worker", Target::Compactor),
        ] {
            assert_eq!(Target::of(name), Some(target), "{name}");
        }
        assert_eq!((Target::of("queriers"), Target::of("metrics-generator")), (None, None));
    }

    #[test]
    fn every_part_runs_somewhere() {
        for target in [Target::Writer, Target::Compactor] {
            assert!(target.takes_spans() != target.keeps_blocks_in_order());
        }
        assert!(!Target::Querier.takes_spans() && !Target::Querier.keeps_blocks_in_order());
        assert!(Target::All.takes_spans() && Target::All.keeps_blocks_in_order());
    }
}
