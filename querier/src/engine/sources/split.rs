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

use crate::engine::concurrent::try_all;
use crate::engine::scan::OpenSource;
use crate::engine::sources::{NumberedSource, QuerySources};
use crate::engine::split_cache::{self, SharedKey};
use crate::error::Error;

/// What a trace takes while it is compared by hash: its hash in three lists, and its row.
const HASHED_TRACE_BYTES: usize = 16;

/// Hashes of traces of sources that list nothing, which others have, too.
#[derive(Default)]
struct FoundHashes {
    all: HashSet<TraceHash>,
    by_source: Vec<(BlockId, Vec<TraceHash>)>,
}

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
    /// Traces that sources list, whose other parts lie in others: of each source, ascending.
    continued: Vec<Arc<[TraceId]>>,
    /// Numbers of the sources that do not list any: what is live, and blocks of before there were lists.
    unlisted: Vec<usize>,
}

impl Listed {
    pub fn has(&self, id: &TraceId) -> bool {
        self.continued.iter().any(|ids| ids.binary_search(id).is_ok())
    }

    fn all(&self) -> impl Iterator<Item = TraceId> {
        self.continued.iter().flat_map(|ids| ids.iter().copied())
    }

    /// The sources that list nothing, and the others.
    pub fn apart(&self, sources: Vec<NumberedSource>) -> (Vec<NumberedSource>, Vec<NumberedSource>) {
        sources.into_iter().partition(|(number, _)| self.unlisted.contains(number))
    }
}

impl QuerySources<'_> {
    /// What these sources say of their traces; a damaged one says nothing.
    pub async fn listed(&self, sources: &[NumberedSource]) -> Result<Listed, Error> {
        let ask = |(number, source): &NumberedSource| {
            let (number, source) = (*number, source.clone());
            async move {
                let continued = async { Ok(source.continued().await?) };
                Ok((number, self.budget.if_readable(source.block_id(), continued).await?))
            }
            .boxed()
        };
        let mut listed = Listed::default();
        let asked = sources.iter().map(ask).collect();
        for (number, continued) in try_all(self.engine.config.max_concurrent_reads, asked).await? {
            match continued {
                Some(Some(ids)) => listed.continued.push(ids),
                Some(None) => listed.unlisted.push(number),
                None => {}
            }
        }
        Ok(listed)
    }

    /// Traces near the range of which several sources have parts.
    pub async fn all_split_traces(&self) -> Result<SplitTraces, Error> {
        let sources = self.near(&self.range);
        if sources.len() < 2 {
            return Ok(SplitTraces::default());
        }
        let listed = self.listed(&sources).await?;
        let (unlisted, listing) = listed.apart(sources);
        let mut split = SplitTraces { ids: listed.all().collect(), ..SplitTraces::default() };
        if !split.ids.is_empty() {
            // whoever asks for all puts all together
            self.split_at_rest().await?;
        }
        if !unlisted.is_empty() {
            let traces = self.traces_of(&unlisted).await?;
            let mut found = FoundHashes::default();
            let _held = self.budget.hold(trace_count(&traces) * HASHED_TRACE_BYTES)?;
            found.all.extend(repeated(&ascending(traces.iter().flat_map(|(_, ids)| ids.hashes()))));
            let listing = within_reach_of(&unlisted, listing, self.reach_nanos());
            self.find_in(&listing, &traces, |_, _| true, &mut found).await?;
            self.add_found(&traces, found, &mut split).await?;
        }
        Ok(split)
    }

    /// Traces near the range that may go on after it: all of which a part begins after it and another lies in another source,
    /// and some more. Where everything ended with the range, as in a question about now, nothing is read.
    pub async fn split_after_range(&self) -> Result<HashSet<TraceId>, Error> {
        let sources = self.near(&self.range);
        let goes_on = |(_, source): &NumberedSource| source.time_range().end_nanos > self.range.end_nanos;
        if sources.len() < 2 || !sources.iter().any(goes_on) {
            return Ok(HashSet::new());
        }
        let (unlisted, listing) = self.listed(&sources).await?.apart(sources);
        let later = self.begin_after_range(unlisted.iter().filter(|source| goes_on(source))).await?;
        let listing = within_reach_of(&unlisted, listing, self.reach_nanos());
        // which traces of a block begin after the range is not known before it is read
        let listing_later: Vec<NumberedSource> = listing.iter().filter(|source| goes_on(source)).cloned().collect();
        let mut split = SplitTraces::default();
        if !listing_later.is_empty() {
            // of two parts that lie within reach of each other one block lists the trace
            let near_later = within_reach_of(&listing_later, listing.clone(), self.reach_nanos());
            let (_, at_rest) = self.find_split_at_rest(near_later).await?;
            let _held = self.budget.hold(split_cache::memory_bytes(&at_rest))?;
            let goes_on = at_rest.iter().filter(|(_, trace)| trace.time_range().end_nanos > self.range.end_nanos);
            split.ids.extend(goes_on.map(|(id, _)| *id));
        }
        if unlisted.is_empty() || later.is_empty() && listing_later.is_empty() {
            return Ok(split.ids);
        }
        let traces = self.traces_of(&unlisted).await?;
        let mut found = FoundHashes::default();
        found.all.extend(repeated(&ascending(traces.iter().flat_map(|(_, ids)| ids.shared_with(&later)))));
        let is_later = |block: BlockId, hash: &TraceHash| {
            later.has(*hash) || listing_later.iter().any(|(_, source)| source.block_id() == block)
        };
        self.find_in(if later.is_empty() { &listing_later } else { &listing }, &traces, is_later, &mut found).await?;
        self.add_found(&traces, found, &mut split).await?;
        Ok(split.ids)
    }

    /// Traces near the range that may begin before it: all of which a part ended before it and another lies in another source,
    /// and some more. What is live is compared only where it is near the start of the range.
    pub async fn split_before_range(&self) -> Result<HashSet<TraceId>, Error> {
        let start_nanos = self.range.start_nanos;
        let sources = self.near(&self.range);
        let (unlisted, _) = self.listed(&sources).await?.apart(sources);
        let last_nanos = start_nanos.saturating_add(self.reach_nanos());
        if unlisted.iter().any(|(_, source)| source.time_range().start_nanos <= last_nanos) {
            return Ok(self.all_split_traces().await?.ids);
        }
        let at_rest = self.split_at_rest().await?;
        let begin_earlier = at_rest.iter().filter(|(_, trace)| trace.time_range().start_nanos < start_nanos);
        Ok(begin_earlier.map(|(id, _)| *id).collect())
    }

    fn reach_nanos(&self) -> u64 {
        self.engine.config.trace_reach_nanos()
    }

    /// Traces of some sources that begin after the range.
    async fn begin_after_range(&self, sources: impl Iterator<Item = &NumberedSource>) -> Result<TraceIds, Error> {
        let end_nanos = self.range.end_nanos;
        let mut hashes = Vec::new();
        for (_, source) in sources {
            let read = async {
                let opened = OpenSource::open(source.clone()).await?;
                for number in 0..opened.dimensions.row_groups.len() {
                    let group = opened.group(number).await?;
                    let traces = group.traces()?;
                    let later = (0..traces.len()).filter(|&row| traces.start_nanos(row) > end_nanos);
                    hashes.extend(later.map(|row| TraceHash::of(&traces.id(row))));
                }
                Ok(())
            };
            self.budget.if_readable(source.block_id(), read).await?;
        }
        Ok(TraceIds::of_hashes(hashes))
    }

    /// Adds the hashes of those of some traces that these blocks have and that are wanted.
    async fn find_in(
        &self,
        blocks: &[NumberedSource],
        traces: &[(usize, Arc<TraceIds>)],
        is_wanted: impl Fn(BlockId, &TraceHash) -> bool,
        found: &mut FoundHashes,
    ) -> Result<(), Error> {
        let reads = blocks.iter().map(|(_, block)| self.shared_with(traces, block).boxed()).collect();
        for (block_id, mut shared) in try_all(self.engine.config.max_concurrent_reads, reads).await? {
            shared.retain(|hash| is_wanted(block_id, hash));
            found.all.extend(&shared);
            found.by_source.push((block_id, shared));
        }
        Ok(())
    }

    /// Adds the traces of some sources whose hashes were found in others.
    async fn add_found(
        &self,
        sources: &[(usize, Arc<TraceIds>)],
        found: FoundHashes,
        split: &mut SplitTraces,
    ) -> Result<(), Error> {
        let FoundHashes { all, by_source } = found;
        by_source.into_iter().for_each(|(block_id, shared)| split.add_shared(block_id, shared));
        let all = ascending(all);
        for (number, ids) in sources {
            let rows: Vec<u32> = all.iter().flat_map(|hash| ids.find(*hash)).collect();
            if !rows.is_empty() {
                self.add_ids(*number, &rows, &mut split.ids).await?;
                split.add_shared(self.all[*number].block_id(), ids.shared(all.iter().copied()));
            }
        }
        Ok(())
    }

    /// The traces of sources by hash, without those of damaged ones.
    async fn traces_of(&self, sources: &[NumberedSource]) -> Result<Vec<(usize, Arc<TraceIds>)>, Error> {
        let read = |(number, source): &NumberedSource| {
            let (number, source) = (*number, source.clone());
            async move {
                let read = async { Ok((number, source.traces_by_hash().await?)) };
                self.budget.if_readable(source.block_id(), read).await
            }
            .boxed()
        };
        let reads = sources.iter().map(read).collect();
        Ok(try_all(self.engine.config.max_concurrent_reads, reads).await?.into_iter().flatten().collect())
    }

    /// The hashes of those of some traces that a block has, as remembered; none of a damaged one. What is read of the block takes
    /// the turn of a row group: of all queries together only so many hold the traces of a block.
    async fn shared_with(
        &self,
        traces: &[(usize, Arc<TraceIds>)],
        block: &Arc<dyn Source>,
    ) -> Result<(BlockId, Vec<TraceHash>), Error> {
        let (block_id, remembered) = (block.block_id(), &self.engine.shared);
        let mut shared: Vec<TraceHash> = Vec::new();
        let mut unknown: Vec<Arc<TraceIds>> = Vec::new();
        for (_, ids) in traces {
            match remembered.get(&SharedKey::of(ids, block_id)) {
                Some(known) => shared.extend_from_slice(&known),
                None => unknown.push(ids.clone()),
            }
        }
        if unknown.is_empty() {
            return Ok((block_id, shared));
        }
        let _turn = self.turn().await?;
        let read = async { Ok(block.traces_by_hash().await?) };
        let Some(of_block) = self.budget.if_readable(block_id, read).await? else { return Ok((block_id, Vec::new())) };
        let compare = move || {
            let compare = |ids: Arc<TraceIds>| (SharedKey::of(&ids, block_id), of_block.shared_with(&ids));
            unknown.into_iter().map(compare).collect::<Vec<_>>()
        };
        for (key, found) in self.run(compare).await? {
            shared.extend(&found);
            remembered.insert(key, found.into());
        }
        Ok((block_id, shared))
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

/// Of sources that list traces those that may have parts of what others have: what lies further from them than other parts are
/// looked for has none. Mostly these are the newest blocks.
fn within_reach_of(
    others: &[NumberedSource],
    mut listing: Vec<NumberedSource>,
    reach_nanos: u64,
) -> Vec<NumberedSource> {
    let near: Vec<TimeRange> = others.iter().map(|(_, source)| source.time_range().widened(reach_nanos)).collect();
    listing.retain(|(_, source)| near.iter().any(|range| range.overlaps(&source.time_range())));
    listing
}

fn trace_count(sources: &[(usize, Arc<TraceIds>)]) -> usize {
    sources.iter().map(|(_, ids)| ids.len()).sum()
}

/// The hashes of the traces of several sources: runs that ascend, one after the other, which this kind of sorting merges.
fn ascending(hashes: impl IntoIterator<Item = TraceHash>) -> Vec<TraceHash> {
    let mut all: Vec<TraceHash> = hashes.into_iter().collect();
    all.sort();
    all
}

/// Those of some hashes, ascending, that are there more than once.
fn repeated(hashes: &[TraceHash]) -> impl Iterator<Item = TraceHash> {
    hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0])
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
            let hashes = ascending(live.iter().map(of_set).flat_map(|ids| ids.hashes().collect::<Vec<_>>()));
            let found = blocks.iter().flat_map(|block| of_set(block).shared(hashes.iter().copied()));
            let found: std::collections::HashSet<u32> = repeated(&hashes).chain(found).map(|hash| hash.0).collect();
            let holders = |hash: &u32| live.iter().chain(&blocks).filter(|set| set.contains(hash)).count();
            let of_live = live.iter().flatten().copied();
            prop_assert_eq!(found, of_live.filter(|hash| holders(hash) > 1).collect());
        }
    }
}
