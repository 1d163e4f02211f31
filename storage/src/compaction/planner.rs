//! Which blocks are to be merged. Pure.
//!
//! Blocks are grouped by the window in which their newest span ended, and by the one in which they were written: for most
//! it is the same. In a group, blocks of similar size are merged. While a group still gets new blocks, of spans of this hour
//! or of last week that are sent now, it takes eight to make a job, of which none is more than twice as large as the smaller ones on average: a span is rewritten when its
//! block becomes about eight times as large. Afterwards two are enough, and an input may be twice as large as the smaller
//! ones together: a span is rewritten only when its block grows by half or more.

use std::collections::BTreeMap;

use model::{BlockId, TimeRange};

use crate::manifest::BlockEntry;

/// An input may be so many times as large as the smaller inputs of the job: together, or on average while more are to come.
const GROWTH: u64 = 2;
/// Rows of a block are numbered with 32 bits.
const MAX_SPANS: u64 = u32::MAX as u64;
/// Blocks that make a job in a window that still gets new ones.
const LEAST_IN_OPEN_WINDOW: usize = 8;
const LEAST_IN_CLOSED_WINDOW: usize = 2;

/// What a job may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub window_nanos: u64,
    /// A window of the past gets no more blocks when none came for so long.
    pub quiet_nanos: u64,
    pub max_inputs: usize,
    /// Of all inputs together.
    pub max_traces: u64,
    pub max_spans: u64,
    pub max_bytes: u64,
}

/// Blocks that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// By number, counted from the epoch.
    Window(u64),
    /// What claims to end long after it was written, by a clock gone wrong. It is kept until then, and so is what shares
    /// its block.
    Ahead,
    /// What lies in no window.
    Apart,
}

impl Group {
    /// By what it is dealt out among several that merge blocks.
    pub fn share_key(&self) -> u64 {
        match self {
            Self::Window(window) => *window,
            Self::Ahead => u64::MAX,
            Self::Apart => u64::MAX - 1,
        }
    }
}

/// Blocks to be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub group: Group,
    pub inputs: Vec<BlockEntry>,
}

impl Job {
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(BlockEntry::bytes).fold(0, u64::saturating_add)
    }

    /// Of the input that came last. A new block takes its place among all blocks and live rows: queries put the parts of a
    /// trace together in the order in which they came.
    pub fn newest_id(&self) -> BlockId {
        self.inputs.iter().map(|input| input.id).max().unwrap_or_else(BlockId::generate)
    }

    /// When the last of the spans was first written.
    pub fn written_nanos(&self) -> u64 {
        self.inputs.iter().map(|input| input.written_nanos).max().unwrap_or_default()
    }
}

impl Limits {
    /// The window in which a range ends.
    pub fn window(&self, range: &TimeRange) -> u64 {
        self.window_at(range.end_nanos)
    }

    fn window_at(&self, nanos: u64) -> u64 {
        nanos / self.window_nanos.max(1)
    }

    /// Whether a range lies in a window and the one before it: what goes on at the turn of a window belongs to both.
    pub fn is_in(&self, window: u64, range: &TimeRange) -> bool {
        let before = window.saturating_sub(1);
        range.start_nanos / self.window_nanos.max(1) >= before && (before..=window).contains(&self.window(range))
    }

    /// Where a trace or block with this range belongs that was written then.
    pub fn group(&self, range: &TimeRange, written_nanos: u64) -> Group {
        let window = self.window(range);
        if range.end_nanos > written_nanos.saturating_add(self.window_nanos) {
            Group::Ahead
        } else if self.is_in(window, range) {
            Group::Window(window)
        } else {
            Group::Apart
        }
    }

    /// A new block may hold anything: it goes to the window of its newest spans, and what does not belong is taken out.
    pub(super) fn group_of_block(&self, block: &BlockEntry) -> Group {
        match self.group(&block.time_range(), block.written_nanos) {
            Group::Apart if block.level == 0 => Group::Window(self.window(&block.time_range())),
            group => group,
        }
    }
}

/// All jobs that are due, which have no block in common; those that remove most blocks for their bytes come first.
pub fn plan(blocks: &[BlockEntry], now_nanos: u64, limits: &Limits) -> Vec<Job> {
    let mut groups: BTreeMap<(Group, u64), Vec<&BlockEntry>> = BTreeMap::new();
    for block in blocks {
        let written_window = limits.window_at(block.written_nanos);
        groups.entry((limits.group_of_block(block), written_window)).or_default().push(block);
    }
    let mut jobs: Vec<Job> = Vec::new();
    for ((group, _), mut blocks) in groups {
        blocks.sort_by_key(|block| (block.bytes(), block.id));
        let is_open = match group {
            Group::Window(window) => {
                let newest = blocks.iter().map(|block| block.written_nanos).max().unwrap_or_default();
                window.saturating_add(2).saturating_mul(limits.window_nanos) > now_nanos
                    || newest.saturating_add(limits.quiet_nanos) > now_nanos
            }
            Group::Ahead | Group::Apart => false,
        };
        let least = if is_open { LEAST_IN_OPEN_WINDOW } else { LEAST_IN_CLOSED_WINDOW };
        let mut rest = blocks.as_slice();
        while !rest.is_empty() {
            let run = run(rest, is_open, limits);
            let is_job = run >= least || !is_open && run == 1 && must_be_divided(rest[0], limits);
            if is_job {
                jobs.push(Job { group, inputs: rest[..run].iter().map(|block| (*block).clone()).collect() });
            }
            rest = &rest[if is_job { run } else { 1 }..];
        }
    }
    jobs.sort_by_key(|job| (job.bytes() / job.inputs.len().max(1) as u64, job.group));
    jobs
}

/// A new block with spans of other windows, of which no other block of its window takes care.
fn must_be_divided(block: &BlockEntry, limits: &Limits) -> bool {
    let group = limits.group(&block.time_range(), block.written_nanos);
    block.level == 0 && matches!(group, Group::Ahead | Group::Apart)
}

/// How many of the blocks, by size from the first, may be merged.
fn run(blocks: &[&BlockEntry], is_open: bool, limits: &Limits) -> usize {
    let (mut bytes, mut traces, mut spans, mut count) = (0u64, 0u64, 0u64, 0u64);
    let fits = |block: &&&BlockEntry| {
        let compared = if is_open { block.bytes().saturating_mul(count) } else { block.bytes() };
        let grows = bytes == 0 || compared <= bytes.saturating_mul(GROWTH);
        bytes = bytes.saturating_add(block.bytes());
        traces = traces.saturating_add(block.traces);
        spans = spans.saturating_add(block.spans);
        count += 1;
        grows && bytes <= limits.max_bytes && traces <= limits.max_traces && spans <= limits.max_spans.min(MAX_SPANS)
    };
    blocks.iter().take(limits.max_inputs).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::BlockFiles;

    const HOUR: u64 = 3600;
    const LIMITS: Limits = Limits {
        window_nanos: HOUR,
        quiet_nanos: 60,
        max_inputs: 10,
        max_traces: 1_000,
        max_spans: 1_000,
        max_bytes: 1_000,
    };
    /// Window 10 is closed, window 20 is open.
    const NOW: u64 = 20 * HOUR + 100;

    fn block(start: u64, end: u64, bytes: u64, level: u8) -> BlockEntry {
        let files = BlockFiles { spans_bytes: bytes, ..BlockFiles::default() };
        let id = BlockId::generate();
        BlockEntry {
            id,
            start_nanos: start,
            end_nanos: end,
            traces: bytes,
            spans: bytes,
            level,
            continued_traces: Some(0),
            redacted_through: 0,
            written_nanos: end,
            files,
            unknown: Default::default(),
        }
    }

    fn of_window(window: u64, bytes: &[u64]) -> Vec<BlockEntry> {
        bytes.iter().map(|&bytes| block(window * HOUR, window * HOUR + 10, bytes, 0)).collect()
    }

    /// For each job its group and the sizes of its inputs.
    fn jobs(blocks: &[BlockEntry]) -> Vec<(Group, Vec<u64>)> {
        let jobs = plan(blocks, NOW, &LIMITS).into_iter();
        jobs.map(|job| (job.group, job.inputs.iter().map(BlockEntry::bytes).collect())).collect()
    }

    #[test]
    fn a_closed_window_is_merged_to_its_end_and_an_open_one_waits() {
        let window = |number, sizes: &[u64]| (Group::Window(number), sizes.to_vec());
        assert_eq!(jobs(&of_window(10, &[5, 4])), [window(10, &[4, 5])]);
        assert_eq!(jobs(&of_window(20, &[5, 4, 5, 6, 7, 5, 4])), []);
        assert_eq!(jobs(&of_window(20, &[5, 4, 5, 6, 7, 5, 4, 8])), [window(20, &[4, 4, 5, 5, 5, 6, 7, 8])]);
        assert_eq!(jobs(&of_window(19, &[5, 4])), [], "spans of the hour before are still coming");
    }

    #[test]
    fn a_window_of_the_past_whose_spans_are_sent_now_waits_as_well() {
        let sent = |sizes: &[u64], written_nanos| {
            let blocks = of_window(10, sizes).into_iter();
            blocks.map(|block| BlockEntry { written_nanos, ..block }).collect::<Vec<_>>()
        };
        let window = |sizes: &[u64]| (Group::Window(10), sizes.to_vec());
        assert_eq!(jobs(&sent(&[5, 4], NOW)), []);
        assert_eq!(jobs(&sent(&[5, 4, 5, 6, 7, 5, 4, 8], NOW)), [window(&[4, 4, 5, 5, 5, 6, 7, 8])]);
        assert_eq!(jobs(&sent(&[5, 4], NOW - LIMITS.quiet_nanos)), [window(&[4, 5])]);
    }

    #[test]
    fn a_large_block_is_not_rewritten_for_a_small_one() {
        let window = |sizes: &[u64]| (Group::Window(10), sizes.to_vec());
        assert_eq!(jobs(&of_window(10, &[1, 100])), []);
        assert_eq!(jobs(&of_window(10, &[1, 2, 100, 150])), [window(&[1, 2]), window(&[100, 150])]);
        assert_eq!(jobs(&of_window(10, &[1, 1, 100])), [window(&[1, 1])]);
    }

    #[test]
    fn in_an_open_window_only_blocks_of_about_one_size_are_merged() {
        let sizes = |of_large: u64| [5, 5, 5, 5, 5, 5, 5, of_large];
        assert_eq!(jobs(&of_window(20, &sizes(10))), [(Group::Window(20), sizes(10).to_vec())]);
        assert_eq!(jobs(&of_window(20, &sizes(11))), [], "it grew out of such blocks");
        let with_small_one = [1, 5, 5, 5, 5, 5, 5, 5, 5];
        assert_eq!(jobs(&of_window(20, &with_small_one)), [(Group::Window(20), vec![5; 8])]);
    }

    #[test]
    fn in_an_open_window_a_span_is_rewritten_once_for_eightfold_growth() {
        let (mut blocks, mut rewritten, mut limits) = (Vec::new(), 0, LIMITS);
        (limits.max_bytes, limits.max_traces, limits.max_spans) = (u64::MAX, u64::MAX, u64::MAX);
        for _ in 0..512 {
            blocks.extend(of_window(20, &[10]));
            while let Some(job) = plan(&blocks, NOW, &limits).first() {
                rewritten += job.bytes();
                blocks.retain(|block| job.inputs.iter().all(|input| input.id != block.id));
                blocks.extend(of_window(20, &[job.bytes()]));
            }
        }
        assert_eq!((blocks.len(), rewritten), (1, 3 * 5_120));
    }

    #[test]
    fn limits_are_kept() {
        assert_eq!(jobs(&of_window(10, &[400, 400, 400])), [(Group::Window(10), vec![400, 400])]);
        assert_eq!(jobs(&of_window(10, &[600, 600])), []);
        let many_spans = |block: BlockEntry| BlockEntry { spans: 600, ..block };
        assert_eq!(jobs(&of_window(10, &[5, 6]).into_iter().map(many_spans).collect::<Vec<_>>()), []);
        let sizes: Vec<usize> = jobs(&of_window(10, &[1; 20])).iter().map(|(_, inputs)| inputs.len()).collect();
        assert_eq!(sizes, [10, 10]);
    }

    #[test]
    fn blocks_apart_are_merged_with_each_other() {
        let wide = |bytes| block(HOUR, 10 * HOUR, bytes, 1);
        assert_eq!(jobs(&[wide(5), wide(6), block(10 * HOUR, 10 * HOUR, 5, 1)]), [(Group::Apart, vec![5, 6])]);
        assert_eq!(jobs(&[wide(5)]), []);
        // a new one is divided, with the other blocks of its window or alone
        let new = block(HOUR, 10 * HOUR + 5, 5, 0);
        assert_eq!(jobs(std::slice::from_ref(&new)), [(Group::Window(10), vec![5])]);
        assert_eq!(jobs(&[new, block(10 * HOUR, 10 * HOUR, 6, 1)]), [(Group::Window(10), vec![5, 6])]);
    }

    #[test]
    fn what_was_written_in_different_windows_is_not_merged() {
        let written = |window: u64, block: BlockEntry| BlockEntry { written_nanos: window * HOUR, ..block };
        let old = |bytes| block(10 * HOUR, 10 * HOUR + 5, bytes, 0);
        let blocks = [written(10, old(5)), written(15, old(6)), written(10, old(7)), written(15, old(8))];
        assert_eq!(jobs(&blocks), [(Group::Window(10), vec![5, 7]), (Group::Window(10), vec![6, 8])]);
        assert_eq!(jobs(&blocks[..2]), []);
        let wide = |bytes| block(HOUR, 10 * HOUR, bytes, 1);
        assert_eq!(jobs(&[written(10, wide(5)), written(15, wide(6))]), []);
    }

    #[test]
    fn what_claims_to_end_long_after_it_was_written_is_taken_out_and_kept_apart() {
        let written = |block: BlockEntry| BlockEntry { written_nanos: 10 * HOUR, ..block };
        let new = written(block(10 * HOUR, 900 * HOUR, 5, 0));
        assert_eq!(jobs(std::slice::from_ref(&new)), [(Group::Ahead, vec![5])]);
        let (ahead, old) = (written(block(10 * HOUR, 900 * HOUR, 6, 1)), written(block(HOUR, 9 * HOUR, 7, 1)));
        assert_eq!(jobs(&[ahead.clone(), old.clone()]), []);
        assert_eq!(jobs(&[new, ahead, old]), [(Group::Ahead, vec![5, 6])]);
    }

    #[test]
    fn the_turn_of_a_window_belongs_to_both() {
        let range = TimeRange::new;
        let group = |range: TimeRange| LIMITS.group(&range, range.end_nanos);
        assert_eq!(group(range(9 * HOUR, 10 * HOUR + 5)), Group::Window(10));
        assert_eq!(group(range(9 * HOUR - 1, 10 * HOUR + 5)), Group::Apart);
        assert!(LIMITS.is_in(10, &range(9 * HOUR, 9 * HOUR + 1)));
        assert!(!LIMITS.is_in(10, &range(9 * HOUR, 11 * HOUR)));
        assert_eq!(group(range(u64::MAX, u64::MAX)), Group::Window(u64::MAX / HOUR));
    }
}
