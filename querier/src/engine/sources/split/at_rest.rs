//! Split traces that blocks list: when they are, and which blocks have parts of them. Blocks never change, so that is found
//! once for as long as the blocks near a range are the same.

use std::sync::Arc;

use futures::FutureExt;
use hashbrown::HashMap;
use model::{BlockId, TimeRange, TraceId};

use crate::engine::concurrent::try_all;
use crate::engine::parts;
use crate::engine::parts::PartAt;
use crate::engine::scan::OpenSource;
use crate::engine::sources::QuerySources;
use crate::engine::split_cache::{SplitAtRest, SplitTrace};
use crate::error::Error;

impl QuerySources<'_> {
    /// Those near the range that blocks list. What could not be read is left out.
    pub async fn split_at_rest(&self) -> Result<Arc<SplitAtRest>, Error> {
        let mut blocks = self.near(&self.range);
        blocks.retain(|(_, source)| !source.is_live());
        let mut ids: Vec<BlockId> = blocks.iter().map(|(_, source)| source.block_id()).collect();
        ids.sort_unstable();
        let (key, cache): (Arc<[BlockId]>, _) = (ids.into(), &self.engine.split);
        if let Some(known) = cache.get(&key) {
            return Ok(known);
        }
        let concurrency = self.engine.config.max_concurrent_reads;
        let listed = self.listed(&blocks).await?;
        let mut continued: Vec<TraceId> = listed.all().collect();
        continued.sort_unstable();
        continued.dedup();
        let found = parts::find(&blocks, &continued, concurrency, &self.budget).await?;
        let split = Arc::new(self.when(found).await?);
        // what blocks do not list in this query they may list in another
        if self.budget.left_out() == 0 && listed.unlisted.is_empty() {
            cache.insert(key, split.clone());
        }
        Ok(split)
    }

    /// When traces are of which these parts were found.
    async fn when(&self, found: HashMap<TraceId, Vec<PartAt>>) -> Result<SplitAtRest, Error> {
        let mut by_group: HashMap<(usize, usize), Vec<(TraceId, usize)>> = HashMap::new();
        for (id, parts) in &found {
            parts.iter().for_each(|part| by_group.entry(part.group()).or_default().push((*id, part.at.trace)));
        }
        let read = |((source, group), traces)| self.when_in(source, group, traces).boxed();
        let reads = by_group.into_iter().map(read).collect();
        let mut split = SplitAtRest::new();
        for (id, block_id, time_range) in try_all(self.engine.config.max_concurrent_reads, reads).await?.concat() {
            let trace = split.entry(id).or_insert(SplitTrace { time_range, blocks: Vec::new() });
            trace.time_range = trace.time_range.union(&time_range);
            trace.blocks.push(block_id);
        }
        Ok(split)
    }

    /// The times of traces in one row group; none when it cannot be read.
    async fn when_in(
        &self,
        source: usize,
        group: usize,
        traces: Vec<(TraceId, usize)>,
    ) -> Result<Vec<(TraceId, BlockId, TimeRange)>, Error> {
        let source = self.all[source].clone();
        let block_id = source.block_id();
        let read = async {
            let group = OpenSource::open(source).await?.group(group).await?;
            let view = group.traces()?;
            Ok(traces.into_iter().map(|(id, trace)| (id, block_id, view.time_range(trace))).collect())
        };
        Ok(self.budget.if_readable(block_id, read).await?.unwrap_or_default())
    }
}
