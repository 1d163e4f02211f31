//! Which traces lie in several sources. Blocks never change, so of them it is remembered: queries ask about the same ones
//! again and again.

use std::sync::Arc;

use futures::FutureExt;
use hashbrown::HashSet;
use model::{BlockId, TraceId};
use spans::Traces;
use storage::cache::{ByteCache, Capacity};
use storage::source::{Dimensions, Source};

use crate::concurrent::try_all;
use crate::error::Error;
use crate::reading::Reading;

/// Split traces by the blocks that have them.
pub(crate) type SplitCache = ByteCache<Arc<[BlockId]>, Arc<[TraceId]>>;

const CACHE_BYTES: u64 = 8 << 20;
/// Few shards leave room for many split traces.
const EXPECTED_ENTRIES: usize = 64;

/// Looking an id up in a block costs about as much as going past so many ids.
const LOOK_UP_COST: usize = 32;

pub(crate) fn split_cache(telemetry: &storage::Telemetry) -> SplitCache {
    let bytes_of = |blocks: &Arc<[BlockId]>, ids: &Arc<[TraceId]>| size_of_val(&**blocks) + size_of_val(&**ids);
    let capacity = Capacity { name: "split_traces", bytes: CACHE_BYTES, entries: EXPECTED_ENTRIES, bytes_of };
    ByteCache::new(&capacity, telemetry)
}

impl Reading<'_> {
    /// Traces near the range of which several sources have parts.
    pub async fn all_split_traces(&self) -> Result<HashSet<TraceId>, Error> {
        let sources = self.near(&self.range).into_iter().map(|(_, source)| source);
        let (live, blocks): (Vec<_>, Vec<_>) = sources.partition(|source| source.is_live());
        if live.is_empty() {
            return Ok(self.split_in_blocks(&blocks).await?.iter().copied().collect());
        }
        let (of_live, of_blocks) = (self.dimensions_of(&live).await?, self.dimensions_of(&blocks).await?);
        if count(&of_live) * of_blocks.len() * LOOK_UP_COST < count(&of_blocks) {
            let known = self.split_in_blocks(&blocks).await?;
            let find = move || Ok(known.iter().copied().chain(split_with_live(&of_live, &of_blocks)?).collect());
            return self.inner.cpu.run(find).await?;
        }
        let all = of_live.into_iter().chain(of_blocks).collect::<Vec<_>>();
        Ok(self.inner.cpu.run(move || repeated(&all)).await??.into_iter().collect())
    }

    async fn split_in_blocks(&self, blocks: &[Arc<dyn Source>]) -> Result<Arc<[TraceId]>, Error> {
        let key: Arc<[BlockId]> = blocks.iter().map(|block| block.block_id()).collect();
        if let Some(known) = self.inner.split_traces.get(&key) {
            return Ok(known);
        }
        let dimensions = self.dimensions_of(blocks).await?;
        let all_readable = dimensions.len() == blocks.len();
        let split: Arc<[TraceId]> = self.inner.cpu.run(move || repeated(&dimensions)).await??.into();
        if all_readable {
            self.inner.split_traces.insert(key, split.clone());
        }
        Ok(split)
    }

    /// The small tables of these sources, without those of damaged ones.
    async fn dimensions_of(&self, sources: &[Arc<dyn Source>]) -> Result<Vec<Arc<Dimensions>>, Error> {
        let read = |source: Arc<dyn Source>| {
            async move {
                let read = async { Ok(source.dimensions().await?) };
                self.budget.if_readable(source.block_id(), read).await
            }
            .boxed()
        };
        let reads = sources.iter().cloned().map(read).collect();
        Ok(try_all(self.inner.config.max_concurrent_reads, reads).await?.into_iter().flatten().collect())
    }
}

fn count(dimensions: &[Arc<Dimensions>]) -> usize {
    dimensions.iter().map(|of_source| of_source.traces.num_rows()).sum()
}

/// The ids that several of the tables have.
fn repeated(dimensions: &[Arc<Dimensions>]) -> Result<Vec<TraceId>, Error> {
    let mut ids = ids(dimensions)?;
    ids.sort(); // the stable sort merges what is in order already, as the ids of each table are
    let repeated = ids.windows(2).filter(|pair| pair[0] == pair[1]);
    Ok(repeated.map(|pair| TraceId(pair[0].to_be_bytes())).collect())
}

/// The ids of live traces that other live sources have, too, or blocks.
fn split_with_live(live: &[Arc<Dimensions>], blocks: &[Arc<Dimensions>]) -> Result<Vec<TraceId>, Error> {
    let mut found = repeated(live)?;
    for id in ids(live)?.into_iter().map(|id| TraceId(id.to_be_bytes())) {
        for block in blocks {
            if block.find_trace(&id)?.is_some() {
                found.push(id);
                break;
            }
        }
    }
    Ok(found)
}

/// The ids in all tables, ascending within each. As numbers they compare faster.
fn ids(dimensions: &[Arc<Dimensions>]) -> Result<Vec<u128>, Error> {
    let mut ids = Vec::with_capacity(count(dimensions));
    for of_source in dimensions {
        let traces = Traces::of(&of_source.traces)?;
        ids.extend(of_source.by_id.rows().iter().map(|&row| u128::from_be_bytes(traces.id(row as usize).0)));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{service, source, span};

    /// The small tables of a source with these traces.
    async fn with_traces(numbers: &[u8]) -> Arc<Dimensions> {
        let spans = numbers.iter().map(|&number| span(number, 1, 0, "span", 0, 1)).collect();
        source(vec![service("s", spans)]).dimensions().await.unwrap()
    }

    #[tokio::test]
    async fn looking_ids_up_finds_what_going_through_all_finds() {
        let live = [with_traces(&[9, 1, 2]).await, with_traces(&[2, 5]).await];
        let blocks = [with_traces(&[3, 1, 4]).await, with_traces(&[5, 4, 6]).await, with_traces(&[1]).await];
        let all: Vec<_> = live.iter().chain(&blocks).cloned().collect();
        let by_look_up = repeated(&blocks).unwrap().into_iter().chain(split_with_live(&live, &blocks).unwrap());
        let expected: HashSet<_> = repeated(&all).unwrap().into_iter().collect();
        assert_eq!(expected.len(), 4);
        assert_eq!(by_look_up.collect::<HashSet<_>>(), expected);
    }
}
