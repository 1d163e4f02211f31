//! The row groups of some sources, looked at newest first, whichever source has them: so as little as possible is read that
//! newer matches make needless, however many sources there are.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use hashbrown::HashSet;
use model::{TimeRange, TraceId};
use spans::Traces;
use storage::source::{Source, TraceAt, TracePart};

use super::Search;
use super::collect::Hits;
use crate::engine::concurrent::try_all;
use crate::engine::parts::NumberedPart;
use crate::engine::prune::Pruned;
use crate::engine::scan::{OpenGroup, OpenSource};
use crate::error::Error;
use crate::lock::locked;

/// Spans after which it is seen whether more are needed: of one row group at first, which often makes the others needless.
/// Portions grow, so that few are needed when few spans match.
const FIRST_SPANS: usize = 1;
const SECOND_SPANS: usize = 1 << 17;
const GROWTH: usize = 4;

/// Row groups that may have matches, the newest first.
pub(super) struct RowGroups<'a> {
    search: &'a Search<'a>,
    scans: Vec<Scan<'a>>,
    /// Numbers of their sources in `scans`, and their own; those from `next` on are not yet looked at.
    groups: Vec<(usize, usize)>,
    next: usize,
    /// How many spans are looked at next.
    spans: usize,
}

/// One source of a search, while it is looked at.
pub(super) struct Scan<'a> {
    /// Number of the source.
    pub number: usize,
    pub source: OpenSource,
    pub pruned: Pruned,
    /// Row groups that may have matches.
    groups: Vec<usize>,
    /// How many of them were not yet looked at.
    groups_left: AtomicUsize,
    pub split: &'a HashSet<TraceId>,
    pub hits: &'a Mutex<Hits>,
}

impl Scan<'_> {
    fn end_nanos(&self, group: usize) -> u64 {
        self.source.row_group(group).time_range.end_nanos
    }

    pub fn part(&self, traces: &Traces<'_>, group: &OpenGroup, trace: usize) -> NumberedPart {
        NumberedPart::of(self.number, &TracePart::of(traces, TraceAt { group: group.number, trace }))
    }
}

/// What the index of a source says of a search.
enum Asked {
    /// It has nothing for the answer.
    Nothing,
    Damaged,
    Left(Pruned),
}

impl<'a> Search<'a> {
    /// Asks the indexes of some sources together, and opens those that may have matches.
    pub(super) async fn row_groups(
        &'a self,
        sources: &[(usize, &Arc<dyn Source>)],
        split: &'a HashSet<TraceId>,
        hits: &'a Mutex<Hits>,
    ) -> Result<RowGroups<'a>, Error> {
        let ask = |(_, source): &(usize, &Arc<dyn Source>)| self.ask((*source).clone(), hits).boxed();
        let asked = try_all(sources.len(), sources.iter().map(ask).collect()).await?;
        let open = |(&(number, source), asked)| self.open(number, source, asked, split, hits).boxed();
        let concurrency = self.sources.engine.config.max_concurrent_reads;
        let scans = try_all(concurrency, sources.iter().zip(asked).map(open).collect()).await?;
        let scans: Vec<Scan<'_>> = scans.into_iter().flatten().collect();
        let of_scan =
            |(number, scan): (usize, &Scan<'_>)| scan.groups.iter().map(move |&group| (number, group)).collect();
        let mut groups: Vec<(usize, usize)> = scans.iter().enumerate().flat_map::<Vec<_>, _>(of_scan).collect();
        groups.sort_by_key(|&(scan, group)| Reverse(scans[scan].end_nanos(group)));
        Ok(RowGroups { search: self, scans, groups, next: 0, spans: FIRST_SPANS })
    }

    async fn ask(&self, source: Arc<dyn Source>, hits: &Mutex<Hits>) -> Result<Asked, Error> {
        if !self.may_add(source.as_ref(), hits) {
            return Ok(Asked::Nothing);
        }
        let conditions = self.query.matcher.conditions();
        let ask = Pruned::ask(source.as_ref(), &conditions);
        Ok(match self.sources.budget.if_readable(source.block_id(), ask).await? {
            None => Asked::Damaged,
            Some(pruned) if pruned.leaves_nothing(&self.query.matcher) => Asked::Nothing,
            Some(pruned) => Asked::Left(pruned),
        })
    }

    /// Whether a source may have matches that are kept: every trace of it starts within its range.
    pub(super) fn may_add(&self, source: &dyn Source, hits: &Mutex<Hits>) -> bool {
        let TimeRange { start_nanos, end_nanos } = source.time_range();
        let is_past = self.after.is_some_and(|(Reverse(after), _)| start_nanos > after);
        !is_past && locked(hits).could_keep(end_nanos)
    }

    /// Opens a source that may have matches. A damaged one is left out.
    async fn open<'s>(
        &self,
        number: usize,
        source: &Arc<dyn Source>,
        asked: Asked,
        split: &'s HashSet<TraceId>,
        hits: &'s Mutex<Hits>,
    ) -> Result<Option<Scan<'s>>, Error> {
        let budget = &self.sources.budget;
        let opened = match asked {
            Asked::Left(pruned) if self.may_add(source.as_ref(), hits) => {
                let open = OpenSource::open(source.clone());
                let opened = budget.if_readable(source.block_id(), open).await?;
                opened.map(|source| Some(self.scan(number, source, pruned, split, hits)))
            }
            Asked::Left(_) | Asked::Nothing => Some(None),
            Asked::Damaged => None,
        };
        let is_readable = opened.is_some();
        let scan = opened.flatten().filter(|scan| !scan.groups.is_empty());
        if scan.is_none() {
            if is_readable {
                budget.count_source();
            }
            locked(hits).done_with(number);
        }
        Ok(scan)
    }

    fn scan<'s>(
        &self,
        number: usize,
        source: OpenSource,
        pruned: Pruned,
        split: &'s HashSet<TraceId>,
        hits: &'s Mutex<Hits>,
    ) -> Scan<'s> {
        let groups = pruned.newest_groups(&source, &self.query.matcher, &self.sources.range);
        let groups_left = AtomicUsize::new(groups.len());
        Scan { number, source, pruned, groups, groups_left, split, hits }
    }
}

impl RowGroups<'_> {
    /// Adds the matches of the next row groups; false when there are none.
    pub async fn find_next(&mut self) -> Result<bool, Error> {
        let (count, is_first) = (self.portion(), self.next == 0);
        let portion = &self.groups[self.next..self.next + count];
        let work = portion.iter().map(|&(scan, group)| self.find(&self.scans[scan], group, is_first).boxed());
        try_all(self.search.sources.engine.config.max_concurrent_reads, work.collect()).await?;
        self.next += count;
        self.spans = (self.spans * GROWTH).max(SECOND_SPANS);
        Ok(count > 0)
    }

    /// When the newest ends that was not looked at.
    pub fn end_nanos(&self) -> Option<u64> {
        self.groups.get(self.next).map(|&(scan, group)| self.scans[scan].end_nanos(group))
    }

    fn portion(&self) -> usize {
        let mut spans = 0;
        let is_room = |&&(scan, group): &&(usize, usize)| {
            let is_room = spans < self.spans;
            spans += self.scans[scan].source.row_group(group).spans.len();
            is_room
        };
        self.groups[self.next..].iter().take_while(is_room).count()
    }

    /// Adds the matches of one row group. `is_first`: the newest, which alone may make the others needless.
    async fn find(&self, scan: &Scan<'_>, group: usize, is_first: bool) -> Result<(), Error> {
        let budget = &self.search.sources.budget;
        let could_keep = locked(scan.hits).could_keep(scan.end_nanos(group));
        if could_keep {
            let scanned = self.search.scan_group(scan, group, is_first);
            budget.if_readable(scan.source.source.block_id(), scanned).await?;
        }
        if scan.groups_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            budget.count_source();
            locked(scan.hits).done_with(scan.number);
        }
        Ok(())
    }
}
