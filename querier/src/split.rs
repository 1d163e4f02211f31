//! Which traces near the range of a query lie in several sources.
//!
//! Blocks know it at rest: of the blocks that have parts of a trace, all but one list it ([`Source::continued`]). What is
//! live changes all the time, so its traces, which are few, are looked for in the blocks near it.

mod at_rest;

use std::sync::Arc;

use futures::FutureExt;
use hashbrown::HashSet;
use model::{TimeRange, TraceId};
use spans::Traces;
use storage::source::Source;
use storage::{TraceHash, TraceIds};

use crate::budget::Budget;
use crate::concurrent::try_all;
use crate::error::Error;
use crate::reading::Reading;
use crate::scan::OpenSource;

pub(crate) use at_rest::{SplitAtRest, SplitCache, split_cache};

/// Looking a trace up in a block costs about as much as going past so many of its traces.
const LOOK_UP_COST: usize = 16;

/// What sources say of their traces.
#[derive(Default)]
pub(crate) struct Listed {
    /// Traces that sources list, whose other parts lie in others.
    pub continued: HashSet<TraceId>,
    /// Numbers of the sources that do not list any: what is live, and blocks of before there were lists.
    pub unlisted: Vec<usize>,
}

/// What these sources, by number, say of their traces; a damaged one says nothing.
pub(crate) async fn listed(
    sources: &[(usize, Arc<dyn Source>)],
    concurrency: usize,
    budget: &Budget,
) -> Result<Listed, Error> {
    let ask = |(number, source): &(usize, Arc<dyn Source>)| {
        let (number, source) = (*number, source.clone());
        async move {
            let continued = async { Ok(source.continued().await?) };
            Ok((number, budget.if_readable(source.block_id(), continued).await?))
        }
        .boxed()
    };
    let mut listed = Listed::default();
    for (number, continued) in try_all(concurrency, sources.iter().map(ask).collect()).await? {
        match continued {
            Some(Some(ids)) => listed.continued.extend(ids.iter().copied()),
            Some(None) => listed.unlisted.push(number),
            None => {}
        }
    }
    Ok(listed)
}

impl Reading<'_> {
    /// Traces near the range of which several sources have parts.
    pub async fn all_split_traces(&self) -> Result<HashSet<TraceId>, Error> {
        let sources = self.near(&self.range);
        if sources.len() < 2 {
            return Ok(HashSet::new());
        }
        let Listed { continued: mut split, unlisted } =
            listed(&sources, self.inner.config.max_concurrent_reads, &self.budget).await?;
        if !unlisted.is_empty() {
            split.extend(self.split_with(&unlisted, &sources).await?);
        }
        Ok(split)
    }

    /// Traces of some sources, by number, that others near the range have, too.
    async fn split_with(
        &self,
        unlisted: &[usize],
        sources: &[(usize, Arc<dyn Source>)],
    ) -> Result<HashSet<TraceId>, Error> {
        let (of_unlisted, mut others): (Vec<_>, Vec<_>) =
            sources.iter().partition(|(number, _)| unlisted.contains(number));
        // what lies further from them than other parts are looked for has none: mostly all but the newest blocks
        let reach_nanos = self.inner.config.trace_reach_nanos();
        let around = |(_, source): &(usize, Arc<dyn Source>)| source.time_range().widened(reach_nanos);
        let near: Vec<TimeRange> = of_unlisted.iter().map(|source| around(source)).collect();
        others.retain(|(_, source)| near.iter().any(|range| range.overlaps(&source.time_range())));
        let (of_unlisted, others) = (self.traces_of(&of_unlisted).await?, self.traces_of(&others).await?);
        let shared = move || shared(&of_unlisted, &others);
        let shared = self.inner.cpu.run(shared).await?;
        let mut split = HashSet::new();
        for (number, rows) in shared {
            self.add_ids(number, &rows, &mut split).await?;
        }
        Ok(split)
    }

    /// The traces of sources by hash, without those of damaged ones.
    async fn traces_of(&self, sources: &[&(usize, Arc<dyn Source>)]) -> Result<Vec<(usize, Arc<TraceIds>)>, Error> {
        let read = |(number, source): &(usize, Arc<dyn Source>)| {
            let (number, source) = (*number, source.clone());
            async move {
                let read = async { Ok((number, source.traces_by_hash().await?)) };
                self.budget.if_readable(source.block_id(), read).await
            }
            .boxed()
        };
        let reads = sources.iter().map(|source| read(source)).collect();
        Ok(try_all(self.inner.config.max_concurrent_reads, reads).await?.into_iter().flatten().collect())
    }

    /// Adds the ids of some traces of a source, counted through its row groups, ascending.
    async fn add_ids(&self, number: usize, rows: &[u32], ids: &mut HashSet<TraceId>) -> Result<(), Error> {
        let source = self.sources[number].clone();
        let block_id = source.block_id();
        let add = async {
            let source = OpenSource::open(source).await?;
            for group in 0..source.dimensions.row_groups.len() {
                let traces = source.row_group(group).traces.clone();
                let of_group = || rows.iter().map(|&row| row as usize).filter(|row| traces.contains(row));
                if of_group().next().is_some() {
                    let opened = source.group(group).await?;
                    let view: Traces<'_> = opened.traces()?;
                    ids.extend(of_group().map(|row| view.id(row - traces.start)));
                }
            }
            Ok(())
        };
        self.budget.if_readable(block_id, add).await?;
        Ok(())
    }
}

/// The traces (rows, by source) of `some` whose hash several of them have, or one of `others`.
fn shared(some: &[(usize, Arc<TraceIds>)], others: &[(usize, Arc<TraceIds>)]) -> Vec<(usize, Vec<u32>)> {
    let mut all: Vec<TraceHash> = some.iter().flat_map(|(_, ids)| ids.hashes()).collect();
    all.sort_unstable();
    let mut shared: HashSet<TraceHash> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    all.dedup();
    for (_, ids) in others {
        add_shared(&all, ids, &mut shared);
    }
    let rows_of = |ids: &TraceIds| shared.iter().flat_map(|hash| ids.find(*hash)).collect::<Vec<u32>>();
    some.iter().map(|(number, ids)| (*number, rows_of(ids))).filter(|(_, rows)| !rows.is_empty()).collect()
}

/// Adds those of some hashes, ascending, that a source has.
fn add_shared(hashes: &[TraceHash], ids: &TraceIds, shared: &mut HashSet<TraceHash>) {
    if hashes.len() * LOOK_UP_COST < ids.len() {
        shared.extend(hashes.iter().filter(|hash| ids.find(**hash).next().is_some()));
        return;
    }
    let mut of_source = ids.hashes().peekable();
    for hash in hashes {
        while of_source.next_if(|other| other < hash).is_some() {}
        if of_source.peek() == Some(hash) {
            shared.insert(*hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(hashes: &[u32]) -> Arc<TraceIds> {
        Arc::new(TraceIds::new(hashes.iter().enumerate().map(|(row, hash)| (TraceHash(*hash), row as u32)).collect()))
    }

    proptest! {
        #[test]
        fn traces_that_others_have_are_found_by_look_up_and_by_merging(
            live in proptest::collection::vec(proptest::collection::hash_set(0..500_u32, 0..9), 0..4),
            blocks in proptest::collection::vec(proptest::collection::hash_set(0..500_u32, 0..200), 0..3),
        ) {
            let sources = |sets: &[std::collections::HashSet<u32>], first: usize| {
                let of_set = |set: &std::collections::HashSet<u32>| ids(&set.iter().copied().collect::<Vec<_>>());
                sets.iter().enumerate().map(|(at, set)| (first + at, of_set(set))).collect::<Vec<_>>()
            };
            let holders = |hash: u32| live.iter().chain(&blocks).filter(|set| set.contains(&hash)).count();
            let expected: usize = live.iter().map(|set| set.iter().filter(|hash| holders(**hash) > 1).count()).sum();
            let found = shared(&sources(&live, 0), &sources(&blocks, live.len()));
            prop_assert_eq!(found.iter().map(|(_, rows)| rows.len()).sum::<usize>(), expected);
        }
    }
}
