//! Which map to make next. Pure.

use std::collections::HashSet;

use model::BlockId;

use crate::manifest::{BlockEntry, Manifest, TraceMapEntry};
use crate::trace_map::format;

/// When a map is made, and how large it gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// So many blocks without a map make it worth a commit.
    pub least_new_blocks: usize,
    pub max_blocks: usize,
    /// Traces of all blocks together.
    pub max_traces: u64,
}

/// Memory for each trace of a map while it is made.
const TRACE_BYTES: u64 = 16;

impl Limits {
    /// With maps that are made within so much memory.
    pub fn within(self, memory_bytes: u64) -> Self {
        Self { max_traces: self.max_traces.min((memory_bytes / TRACE_BYTES).max(1)), ..self }
    }
}

impl Default for Limits {
    /// A map of the most traces is an object of 16 MiB, and takes four times that to make.
    fn default() -> Self {
        Self { least_new_blocks: 4, max_blocks: format::MAX_BLOCKS, max_traces: 4 << 20 }
    }
}

/// Makes one map.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Job {
    /// Blocks that no map has.
    pub blocks: Vec<BlockEntry>,
    /// Maps that the new one replaces, with those of their blocks that are still there.
    pub maps: Vec<(TraceMapEntry, Vec<BlockEntry>)>,
}

/// What to do next, if anything. Blocks for which `is_left_out` are not mapped.
///
/// New blocks are mapped together with all maps that are not larger than what has come together so far: a trace is
/// written again only when its map grows by half, and the maps are about as many as the traces have binary digits, or as
/// the limits make them.
pub(super) fn plan(manifest: &Manifest, limits: &Limits, is_left_out: impl Fn(&BlockId) -> bool) -> Option<Job> {
    let mapped: HashSet<&BlockId> = manifest.trace_maps.iter().flat_map(|map| &map.blocks).collect();
    let is_new = |block: &&BlockEntry| !mapped.contains(&block.id) && !is_left_out(&block.id);
    let new: Vec<&BlockEntry> = manifest.blocks.iter().filter(is_new).collect();
    if new.len() < limits.least_new_blocks {
        return None;
    }
    let (mut job, mut size) = (Job::default(), Size::default());
    for block in new {
        if let Some(larger) = size.with(&[block], limits) {
            size = larger;
            job.blocks.push(block.clone());
        }
    }
    let live = |map: &TraceMapEntry| -> Vec<&BlockEntry> {
        map.blocks.iter().filter_map(|block_id| manifest.block(block_id)).collect()
    };
    let mut maps: Vec<_> = manifest.trace_maps.iter().map(|map| (map, live(map))).collect();
    maps.sort_by_key(|(_, blocks)| Size::of(blocks).traces);
    for (map, blocks) in maps {
        match size.with(&blocks, limits).filter(|_| Size::of(&blocks).traces <= size.traces) {
            Some(larger) => size = larger,
            None => break,
        }
        job.maps.push((map.clone(), blocks.into_iter().cloned().collect()));
    }
    (!job.blocks.is_empty()).then_some(job)
}

/// What a map holds.
#[derive(Debug, Default)]
struct Size {
    blocks: usize,
    traces: u64,
}

impl Size {
    fn of(blocks: &[&BlockEntry]) -> Self {
        Self { blocks: blocks.len(), traces: blocks.iter().map(|block| block.traces).fold(0, u64::saturating_add) }
    }

    /// With these blocks added, if that is within the limits.
    fn with(&self, blocks: &[&BlockEntry], limits: &Limits) -> Option<Self> {
        let added = Self::of(blocks);
        let sum = Self { blocks: self.blocks + added.blocks, traces: self.traces.saturating_add(added.traces) };
        (sum.blocks <= limits.max_blocks && sum.traces <= limits.max_traces).then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TraceMapId;
    use crate::manifest::BlockFiles;

    fn blocks(count: usize, traces: u64) -> Vec<BlockEntry> {
        let block = |_| BlockEntry {
            id: BlockId::generate(),
            start_nanos: 0,
            end_nanos: 0,
            traces,
            spans: traces,
            level: 0,
            written_nanos: 0,
            continued_traces: None,
            redacted_through: 0,
            files: BlockFiles::default(),
            unknown: Default::default(),
        };
        (0..count).map(block).collect()
    }

    fn map(blocks: &[BlockEntry]) -> TraceMapEntry {
        let blocks = blocks.iter().map(|block| block.id).collect();
        TraceMapEntry { id: TraceMapId::generate(), bytes: 0, blocks, unknown: Default::default() }
    }

    /// The manifest after a job.
    fn done(manifest: &mut Manifest, job: &Job) -> u64 {
        let members: Vec<BlockEntry> =
            job.blocks.iter().chain(job.maps.iter().flat_map(|(_, blocks)| blocks)).cloned().collect();
        manifest.trace_maps.retain(|known| job.maps.iter().all(|(replaced, _)| replaced.id != known.id));
        manifest.trace_maps.push(map(&members));
        members.iter().map(|block| block.traces).sum()
    }

    #[test]
    fn a_few_blocks_wait_for_others() {
        let mut manifest = Manifest { blocks: blocks(3, 10), ..Manifest::default() };
        assert_eq!(plan(&manifest, &Limits::default(), |_| false), None);
        manifest.blocks.extend(blocks(1, 10));
        let left_out = manifest.blocks[1].id;
        assert_eq!(plan(&manifest, &Limits::default(), |id| *id == left_out), None);
        assert_eq!(plan(&manifest, &Limits::default(), |_| false).unwrap().blocks, manifest.blocks);
    }

    #[test]
    fn maps_stay_few_and_each_trace_is_written_a_few_times() {
        let (mut manifest, mut written) = (Manifest::default(), 0);
        for _ in 0..2_000 {
            manifest.blocks.extend(blocks(1, 1_000));
            while let Some(job) = plan(&manifest, &Limits::default(), |_| false) {
                written += done(&mut manifest, &job);
            }
        }
        assert!(manifest.trace_maps.len() <= 12, "{} maps", manifest.trace_maps.len());
        assert!(written <= 10 * 2_000_000, "{written} entries for 2,000,000 traces");
    }

    #[test]
    fn limits_are_kept_and_everything_is_mapped_in_the_end() {
        let limits = Limits { max_blocks: 10, ..Limits::default() }.within(16_000);
        let mut manifest = Manifest { blocks: blocks(500, 1), ..Manifest::default() };
        manifest.blocks.extend(blocks(12, 400));
        while let Some(job) = plan(&manifest, &limits, |_| false) {
            assert!(done(&mut manifest, &job) <= 1_000);
        }
        let mapped: usize = manifest.trace_maps.iter().map(|map| map.blocks.len()).sum();
        assert!(mapped > 512 - limits.least_new_blocks, "{mapped} of 512");
        assert!(manifest.trace_maps.iter().all(|map| map.blocks.len() <= 10));
    }

    #[test]
    fn blocks_that_are_gone_go_from_the_maps() {
        let mut manifest = Manifest { blocks: blocks(8, 10), ..Manifest::default() };
        manifest.trace_maps.push(map(&manifest.blocks[..4]));
        let gone = manifest.blocks.remove(0);
        let job = plan(&manifest, &Limits::default(), |_| false).unwrap();
        let [(_, kept)] = job.maps.as_slice() else { panic!("{job:?}") };
        assert!(kept.len() == 3 && kept.iter().all(|block| block.id != gone.id));
    }
}
