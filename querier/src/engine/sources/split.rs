//! Which traces near the range of a query lie in several sources.
//!
//! Blocks know it at rest: of the blocks that have parts of a trace, all but one list it ([`Source::continued`]). What is
//! live changes all the time, so its traces, which are few, are looked for in the blocks near it. So are those of the
//! smaller ones of several tenants (`tenants.rs`).

mod at_rest;

use std::sync::Arc;

use futures::FutureExt;
use hashbrown::{HashMap, HashSet};
use model::{BlockId, TimeRange, TraceId};
use spans::Traces;
use storage::source::Source;
use storage::{TraceHash, TraceIds};

use crate::engine::budget::Budget;
use crate::engine::concurrent::try_all;
use crate::engine::scan::OpenSource;
use crate::engine::sources::QuerySources;
use crate::error::Error;

/// Looking a trace up in a block costs about as much as going past so many of its traces.
const LOOK_UP_COST: usize = 16;

/// What a trace takes while it is compared by hash: its hash in three lists, and its row.
const HASHED_TRACE_BYTES: usize = 16;

/// Traces of which several sources have parts.
#[derive(Default)]
pub(crate) struct SplitTraces {
    pub ids: HashSet<TraceId>,
    /// What was compared with others, and hashes of the traces that it shares with them, ascending. Live tables that become one
    /// block have one id.
    shared: HashMap<BlockId, Vec<TraceHash>>,
}

impl SplitTraces {
    /// Notes what a source shares with others, beside what others of its id do.
    fn add_shared(&mut self, block_id: BlockId, shared: Vec<TraceHash>) {
        let all = self.shared.entry(block_id).or_default();
        all.extend(shared);
        all.sort_unstable();
        all.dedup();
    }

    /// Whether a source was found to share the trace with others, as far as a hash tells.
    pub fn is_shared_by(&self, block_id: BlockId, id: &TraceId) -> bool {
        self.shared.get(&block_id).is_some_and(|hashes| hashes.binary_search(&TraceHash::of(id)).is_ok())
    }
}

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

impl QuerySources<'_> {
    /// Traces near the range of which several sources have parts.
    pub async fn all_split_traces(&self) -> Result<SplitTraces, Error> {
        let sources = self.near(&self.range);
        if sources.len() < 2 {
            return Ok(SplitTraces::default());
        }
        let Listed { continued, unlisted } =
            listed(&sources, self.engine.config.max_concurrent_reads, &self.budget).await?;
        let mut split = SplitTraces { ids: continued, ..SplitTraces::default() };
        if !unlisted.is_empty() {
            self.add_split_with(&unlisted, &sources, &mut split).await?;
        }
        Ok(split)
    }

    /// Adds the traces of some sources, by number, that others near the range have, too.
    async fn add_split_with(
        &self,
        unlisted: &[usize],
        sources: &[(usize, Arc<dyn Source>)],
        split: &mut SplitTraces,
    ) -> Result<(), Error> {
        let (of_unlisted, mut others): (Vec<_>, Vec<_>) =
            sources.iter().partition(|(number, _)| unlisted.contains(number));
        // what lies further from them than other parts are looked for has none: mostly all but the newest blocks
        let reach_nanos = self.engine.config.trace_reach_nanos();
        let around = |(_, source): &(usize, Arc<dyn Source>)| source.time_range().widened(reach_nanos);
        let near: Vec<TimeRange> = of_unlisted.iter().map(|source| around(source)).collect();
        others.retain(|(_, source)| near.iter().any(|range| range.overlaps(&source.time_range())));
        let of_unlisted = self.traces_of(&of_unlisted).await?;
        let trace_count: usize = of_unlisted.iter().map(|(_, ids)| ids.len()).sum();
        let _held = self.budget.hold(trace_count * HASHED_TRACE_BYTES)?;
        let hashes: Arc<[TraceHash]> = ascending(&of_unlisted).into();
        let mut all: HashSet<TraceHash> = repeated(&hashes).collect();
        let reads = others.iter().map(|source| self.shared_with(&hashes, source).boxed()).collect();
        for (block_id, shared) in try_all(self.engine.config.max_concurrent_reads, reads).await? {
            all.extend(&shared);
            split.add_shared(block_id, shared);
        }
        let mut all: Vec<TraceHash> = all.into_iter().collect();
        all.sort_unstable();
        for (number, ids) in &of_unlisted {
            let rows: Vec<u32> = all.iter().flat_map(|hash| ids.find(*hash)).collect();
            if !rows.is_empty() {
                self.add_ids(*number, &rows, &mut split.ids).await?;
                split.add_shared(self.all[*number].block_id(), shared(&all, ids));
            }
        }
        Ok(())
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
        Ok(try_all(self.engine.config.max_concurrent_reads, reads).await?.into_iter().flatten().collect())
    }

    /// Those of some hashes, ascending, that a source has; none of a damaged one. What is read of the source is let go
    /// again, and takes the turn of a row group: of all queries together only so many hold the traces of a block.
    async fn shared_with(
        &self,
        hashes: &Arc<[TraceHash]>,
        (_, source): &(usize, Arc<dyn Source>),
    ) -> Result<(BlockId, Vec<TraceHash>), Error> {
        let _turn = self.turn().await?;
        let block_id = source.block_id();
        let read = async { Ok(source.traces_by_hash().await?) };
        let Some(ids) = self.budget.if_readable(block_id, read).await? else { return Ok((block_id, Vec::new())) };
        let hashes = hashes.clone();
        Ok((block_id, self.run(move || shared(&hashes, &ids)).await?))
    }

    /// Adds the ids of some traces of a source, counted through its row groups, ascending.
    async fn add_ids(&self, number: usize, rows: &[u32], ids: &mut HashSet<TraceId>) -> Result<(), Error> {
        let source = self.all[number].clone();
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

/// The hashes of all traces of some sources.
fn ascending(sources: &[(usize, Arc<TraceIds>)]) -> Vec<TraceHash> {
    let mut all: Vec<TraceHash> = sources.iter().flat_map(|(_, ids)| ids.hashes()).collect();
    all.sort_unstable();
    all
}

/// Those of some hashes, ascending, that are there more than once.
fn repeated(hashes: &[TraceHash]) -> impl Iterator<Item = TraceHash> {
    hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// Those of some hashes, ascending, that a source has.
fn shared(hashes: &[TraceHash], ids: &TraceIds) -> Vec<TraceHash> {
    if hashes.len() * LOOK_UP_COST < ids.len() {
        return hashes.iter().copied().filter(|hash| ids.find(*hash).next().is_some()).collect();
    }
    let mut of_source = ids.hashes().peekable();
    let mut has = |hash: &TraceHash| {
        while of_source.next_if(|other| other < hash).is_some() {}
        of_source.peek() == Some(hash)
    };
    hashes.iter().copied().filter(|hash| has(hash)).collect()
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
            let of_set = |set: &std::collections::HashSet<u32>| ids(&set.iter().copied().collect::<Vec<_>>());
            let hashes = ascending(&live.iter().map(of_set).enumerate().collect::<Vec<_>>());
            let found = blocks.iter().flat_map(|block| shared(&hashes, &of_set(block)));
            let found: std::collections::HashSet<u32> = repeated(&hashes).chain(found).map(|hash| hash.0).collect();
            let holders = |hash: &u32| live.iter().chain(&blocks).filter(|set| set.contains(hash)).count();
            let of_live = live.iter().flatten().copied();
            prop_assert_eq!(found, of_live.filter(|hash| holders(hash) > 1).collect());
        }
    }
}
