//! Which traces of a job's inputs go to which new block, and in which row groups. Pure.
//!
//! Decided from the `traces` tables before a span is read: every trace goes to one new block with all its parts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use model::{TimeRange, TraceId};
use spans::{ById, Traces};

use super::planner::{Group, Limits};
use crate::deletion::DeletedTraces;
use crate::error::Error;

/// Windows beside the job's own that get a block of their own: each is another pass over the inputs.
const MAX_OTHER_WINDOWS: usize = 3;
/// … when at least one span in so many lies in it.
const SPANS_PER_SPAN_OF_WINDOW: u64 = 16;

/// One new block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub group: Group,
    pub row_groups: Vec<RowGroup>,
}

/// What goes where, and what goes nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Division {
    pub shares: Vec<Share>,
    /// Of traces that were deleted.
    pub deleted_spans: u64,
}

/// For each input the rows of `traces` whose spans go to one row group, ascending.
pub(super) type RowGroup = Vec<Vec<u32>>;

impl Share {
    /// All rows of an input's `traces` that go here, ascending.
    pub fn traces_of(&self, input: usize) -> Vec<u32> {
        let mut rows: Vec<u32> = self.row_groups.iter().flat_map(|group| &group[input]).copied().collect();
        rows.sort_unstable();
        rows
    }
}

/// Divides the traces of a job that were written up to then: first what belongs to its group, then other windows, last
/// what is ahead or apart. Shares without traces are left out. In a share the newest traces come first; a row group ends
/// with the first trace that reaches `row_group_rows`. Deleted traces go nowhere.
pub(super) fn divide(
    inputs: &[(Traces<'_>, ById)],
    group: Group,
    written_nanos: u64,
    limits: &Limits,
    row_group_rows: u64,
    deleted: &DeletedTraces,
) -> Result<Division, Error> {
    let home = |trace: &Whole<'_>| match group {
        Group::Window(window) if limits.is_in(window, &trace.range) => group,
        _ => limits.group(&trace.range, written_nanos),
    };
    let (mut spans, mut deleted_spans, mut by_window): (u64, u64, HashMap<u64, u64>) = (0, 0, HashMap::new());
    for_each_trace(inputs, |trace| {
        if deleted.contains(&trace.id) {
            deleted_spans += trace.spans;
            return;
        }
        spans += trace.spans;
        if let Group::Window(window) = home(trace) {
            *by_window.entry(window).or_default() += trace.spans;
        }
    })?;
    let mut windows: Vec<(u64, u64)> = by_window.into_iter().map(|(window, spans)| (spans, window)).collect();
    windows.retain(|&(of_window, window)| {
        Group::Window(window) != group && of_window >= spans.div_ceil(SPANS_PER_SPAN_OF_WINDOW)
    });
    windows.sort_unstable_by(|a, b| b.cmp(a));
    windows.truncate(MAX_OTHER_WINDOWS);
    let mut groups = vec![group];
    groups.extend(windows.into_iter().map(|(_, window)| Group::Window(window)));
    groups.extend([Group::Ahead, Group::Apart].into_iter().filter(|other| *other != group));
    let place: HashMap<Group, usize> = groups.iter().enumerate().map(|(place, group)| (*group, place)).collect();
    let apart = place[&Group::Apart];
    let mut members: Vec<Members> = groups.iter().map(|_| Members::default()).collect();
    for_each_trace(inputs, |trace| {
        if deleted.contains(&trace.id) {
            return;
        }
        let share = place.get(&home(trace)).copied().unwrap_or(apart);
        members[share].add(trace);
    })?;
    let filled = groups.into_iter().zip(members).filter(|(_, members)| !members.traces.is_empty());
    let shares =
        filled.map(|(group, members)| Share { group, row_groups: members.row_groups(inputs.len(), row_group_rows) });
    Ok(Division { shares: shares.collect(), deleted_spans })
}

/// A trace with all its parts.
struct Whole<'a> {
    id: TraceId,
    /// Input and row of each part.
    parts: &'a [(usize, u32)],
    range: TimeRange,
    spans: u64,
}

/// The traces of a share.
#[derive(Default)]
struct Members {
    /// Start, spans, and where its parts stand in `parts`; by id.
    traces: Vec<(Reverse<u64>, u64, Range<usize>)>,
    /// Input and row of each part.
    parts: Vec<(usize, u32)>,
}

impl Members {
    fn add(&mut self, trace: &Whole<'_>) {
        let first = self.parts.len();
        self.parts.extend(trace.parts);
        self.traces.push((Reverse(trace.range.start_nanos), trace.spans, first..self.parts.len()));
    }

    fn row_groups(mut self, inputs: usize, row_group_rows: u64) -> Vec<RowGroup> {
        self.traces.sort_by_key(|(start, ..)| *start);
        let (mut row_groups, mut rows_of_last) = (Vec::<RowGroup>::new(), row_group_rows);
        for (_, spans, parts) in self.traces {
            if rows_of_last >= row_group_rows {
                row_groups.push(vec![Vec::new(); inputs]);
                rows_of_last = 0;
            }
            rows_of_last += spans;
            let Some(row_group) = row_groups.last_mut() else { continue };
            self.parts[parts].iter().for_each(|&(input, row)| row_group[input].push(row));
        }
        row_groups.iter_mut().flatten().for_each(|rows| rows.sort_unstable());
        row_groups
    }
}

/// Goes through the traces of all inputs by id.
fn for_each_trace(inputs: &[(Traces<'_>, ById)], mut visit: impl FnMut(&Whole<'_>)) -> Result<(), Error> {
    // the next trace of each input: its id, and its place in the order of ids
    let mut next: BinaryHeap<Reverse<(TraceId, usize, usize)>> = BinaryHeap::new();
    let row_at = |input: usize, place: usize| inputs[input].1.rows().get(place).copied();
    let push = |next: &mut BinaryHeap<_>, input: usize, place: usize| {
        if let Some(row) = row_at(input, place) {
            next.push(Reverse((inputs[input].0.id(row as usize), input, place)));
        }
    };
    (0..inputs.len()).for_each(|input| push(&mut next, input, 0));
    let mut parts = Vec::new();
    let mut last = None;
    while let Some(Reverse((id, input, place))) = next.pop() {
        if last == Some(id) {
            return Err(spans::Error::damaged(format!("trace {id} is in a block twice")).into());
        }
        last = Some(id);
        parts.clear();
        parts.extend(row_at(input, place).map(|row| (input, row)));
        push(&mut next, input, place + 1);
        while next.peek().is_some_and(|Reverse((other, other_input, _))| *other == id && *other_input != input) {
            let Some(Reverse((_, input, place))) = next.pop() else { break };
            parts.extend(row_at(input, place).map(|row| (input, row)));
            push(&mut next, input, place + 1);
        }
        let of_part = |&(input, row): &(usize, u32)| inputs[input].0.time_range(row as usize);
        let range = parts.iter().map(of_part).reduce(|all, one| all.union(&one)).unwrap_or(TimeRange::ALL);
        let spans = parts.iter().map(|&(input, row)| inputs[input].0.span_rows(row as usize).len() as u64).sum();
        visit(&Whole { id, parts: &parts, range, spans });
    }
    Ok(())
}
