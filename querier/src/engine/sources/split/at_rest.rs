//! Split traces that blocks list: when they are, and where their parts lie. Blocks never change, so that is found once for as
//! long as the blocks near a range are the same.

use std::sync::Arc;

use futures::FutureExt;
use hashbrown::HashSet;
use model::{BlockId, TraceId};

use crate::engine::parts::{self, NumberedPart};
use crate::engine::sources::{HeldAtRest, NumberedSource, QuerySources};
use crate::engine::split_cache::{self, SplitAtRest, SplitTrace};
use crate::error::Error;

/// Why what was found is not kept for other queries.
enum NotKept {
    /// What blocks do not list in this query they may list in another.
    NotAll(Arc<SplitAtRest>),
    Failed(Error),
}

impl From<Error> for NotKept {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl QuerySources<'_> {
    /// Those near the range that blocks list. What could not be read is left out.
    pub async fn split_at_rest(&self) -> Result<&Arc<SplitAtRest>, Error> {
        let find = || async {
            let (blocks, found) = self.find_split_at_rest(self.near(&self.range)).await?;
            // also where it is kept for others: it may not be for as long as it is needed here
            let _held = self.budget.hold(split_cache::memory_bytes(&found))?;
            Ok::<_, Error>(HeldAtRest { blocks, found, _held })
        };
        Ok(&self.split_at_rest.get_or_try_init(find).await?.found)
    }

    /// Those that some sources list, and the blocks among these, which were looked through, ascending.
    pub(super) async fn find_split_at_rest(
        &self,
        mut blocks: Vec<NumberedSource>,
    ) -> Result<(Arc<[BlockId]>, Arc<SplitAtRest>), Error> {
        blocks.retain(|(_, source)| !source.is_live());
        let mut ids: Vec<BlockId> = blocks.iter().map(|(_, source)| source.block_id()).collect();
        ids.sort_unstable();
        let key: Arc<[BlockId]> = ids.into();
        // after a flush, all queries that are under way want to know
        let look_through = || self.look_through(&key, &blocks).boxed();
        match self.engine.split.get_or_load(&key, look_through).await {
            Ok(split) | Err(NotKept::NotAll(split)) => Ok((key, split)),
            Err(NotKept::Failed(error)) => Err(error),
        }
    }

    async fn look_through(
        &self,
        block_ids: &[BlockId],
        blocks: &[NumberedSource],
    ) -> Result<Arc<SplitAtRest>, NotKept> {
        let listed = self.listed(blocks).await?;
        let ids: HashSet<TraceId> = listed.all().collect();
        let known = self.engine.split.entries().max_by_key(|(known, _)| shared(known, block_ids));
        let split = Arc::new(match known {
            Some((known, split)) => self.find_since(&known, &split, blocks, ids).await?,
            None => self.find_listed(blocks, ids).await?,
        });
        match self.budget.left_out() == 0 && listed.unlisted.is_empty() {
            true => Ok(split),
            false => Err(NotKept::NotAll(split)),
        }
    }

    /// Those that these blocks list, where it is known of others of which most are the same: looked through are blocks that were
    /// not there for traces that were, and all for traces that were not. A flush or a merge changes few of either.
    async fn find_since(
        &self,
        known_blocks: &[BlockId],
        known: &SplitAtRest,
        blocks: &[NumberedSource],
        listed: HashSet<TraceId>,
    ) -> Result<SplitAtRest, Error> {
        let is_known = |(_, source): &&NumberedSource| known_blocks.binary_search(&source.block_id()).is_ok();
        let (same, added): (Vec<_>, Vec<_>) = blocks.iter().partition(is_known);
        let same: HashSet<BlockId> = same.into_iter().map(|(_, source)| source.block_id()).collect();
        let added: Vec<NumberedSource> = added.into_iter().cloned().collect();
        let (before, new): (HashSet<TraceId>, _) = listed.into_iter().partition(|id| known.contains_key(id));
        let mut split = self.find_listed(&added, before.clone()).await?;
        for id in before {
            let known = known[&id].parts.iter().filter(|(block_id, _)| same.contains(block_id)).copied();
            split.entry(id).or_default().parts.extend(known);
        }
        split.extend(self.find_listed(blocks, new).await?);
        Ok(split)
    }

    async fn find_listed(&self, blocks: &[NumberedSource], listed: HashSet<TraceId>) -> Result<SplitAtRest, Error> {
        let mut listed: Vec<TraceId> = listed.into_iter().collect();
        listed.sort_unstable();
        let found = parts::find(blocks, &listed, self.engine.config.max_concurrent_reads, &self.budget).await?;
        let of_trace = |(id, parts): (TraceId, Vec<NumberedPart>)| {
            let in_block = |part: &NumberedPart| (self.all[part.source].block_id(), part.of_trace(id));
            (id, SplitTrace { parts: parts.iter().map(in_block).collect() })
        };
        Ok(found.into_iter().map(of_trace).collect())
    }
}

/// How many blocks two lists share, both ascending, less those that only the first one has.
fn shared(known: &[BlockId], blocks: &[BlockId]) -> isize {
    let shared = known.iter().filter(|block| blocks.binary_search(block).is_ok()).count();
    2 * shared as isize - known.len() as isize
}

#[cfg(test)]
mod tests;
