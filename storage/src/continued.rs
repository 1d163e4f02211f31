//! Which traces of a block that is about to be published older blocks have, too.
//!
//! Whoever writes a block knows it at little cost, and whoever queries needs it: of the blocks that have parts of a trace,
//! all but one list it, so the traces that lie in several blocks are those that are listed. A flush lists what it finds in
//! the blocks of the manifest; compaction keeps of the lists of its inputs what all that have the trace agree on, for then
//! the one that does not list it is another block.

use futures::{FutureExt, StreamExt, stream};
use hashbrown::HashSet;
use model::{TimeRange, TraceId};
use spans::Traces;

use crate::block::BlockSource;
use crate::damage::Damage;
use crate::error::Error;
use crate::source::Source;

/// Blocks that are looked at together.
const BLOCKS_AT_ONCE: usize = 4;

/// The traces of some tables that some of the blocks may have, too. Parts of a trace are looked for as far from each other in time as
/// `reach_nanos`. May name a trace too many: it is known by a hash.
///
/// # Errors
/// When the store cannot be read. Damaged blocks have no traces.
pub async fn continued(
    tables: &[Traces<'_>],
    blocks: &[BlockSource],
    reach_nanos: u64,
) -> Result<HashSet<TraceId>, Error> {
    let mut all = HashSet::new();
    let near = |block: &BlockSource| near(tables, &block.time_range().widened(reach_nanos));
    let looks = blocks.iter().map(|block| (block, near(block))).filter(|(_, ids)| !ids.is_empty());
    let looks: Vec<_> = looks.map(|(block, ids)| in_readable(block, ids).boxed()).collect();
    let mut found = stream::iter(looks).buffer_unordered(BLOCKS_AT_ONCE);
    while let Some(of_block) = found.next().await {
        all.extend(of_block?);
    }
    Ok(all)
}

fn near(tables: &[Traces<'_>], range: &TimeRange) -> Vec<TraceId> {
    let rows = tables.iter().flat_map(|traces| (0..traces.len()).map(move |row| (traces, row)));
    rows.filter(|(traces, row)| traces.time_range(*row).overlaps(range)).map(|(traces, row)| traces.id(row)).collect()
}

async fn in_readable(block: &BlockSource, ids: Vec<TraceId>) -> Result<Vec<TraceId>, Error> {
    match block.may_have(&ids).await {
        Err(error) if Damage::of(&error).is_some() => Ok(Vec::new()),
        found => found,
    }
}
