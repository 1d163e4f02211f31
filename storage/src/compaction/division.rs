//! Which traces of a job's inputs go to which new block, and in which row groups. Pure.
//!
//! Decided from the `traces` tables before a span is read: every trace goes to one new block with all its parts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use model::{TimeRange, TraceId};
use spans::Traces;

use super::planner::{Group, Limits};
use crate::error::Error;

/// Windows beside the job's own that get a block of their own: each is another pass over the inputs.
const MAX_OTHER_WINDOWS: usize = 3;
/// … when at least one span in so many lies in it.
const SPANS_PER_SPAN_OF_WINDOW: u64 = 16;

/// One new block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub group: Group,
    /// For each input the rows of `traces` that go here, ascending.
    pub traces: Vec<Vec<u32>>,
    /// For each row group how many of those each input gives to it.
    pub row_groups: Vec<Vec<u32>>,
    rows_of_last: u64,
}

/// Divides the traces of a job that were written up to then: first what belongs to its group, then other windows, last
/// what is ahead or apart. Shares without traces are left out. A row group ends with the first trace that reaches
/// `row_group_rows`.
pub(super) fn divide(
    inputs: &[Traces<'_>],
    group: Group,
    written_nanos: u64,
    limits: &Limits,
    row_group_rows: u64,
) -> Result<Vec<Share>, Error> {
    let home = |trace: &Whole<'_>| match group {
        Group::Window(window) if limits.is_in(window, &trace.range) => group,
        _ => limits.group(&trace.range, written_nanos),
    };
    let (mut spans, mut by_window): (u64, HashMap<u64, u64>) = (0, HashMap::new());
    for_each_trace(inputs, |trace| {
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
    let mut shares: Vec<Share> = groups.into_iter().map(|group| Share::new(group, inputs.len())).collect();
    for_each_trace(inputs, |trace| {
        let share = place.get(&home(trace)).copied().unwrap_or(apart);
        shares[share].add(trace, row_group_rows);
    })?;
    shares.retain(|share| !share.row_groups.is_empty());
    Ok(shares)
}

/// A trace with all its parts.
struct Whole<'a> {
    /// Input and row of each part.
    parts: &'a [(usize, u32)],
    range: TimeRange,
    spans: u64,
}

impl Share {
    fn new(group: Group, inputs: usize) -> Self {
        Self { group, traces: vec![Vec::new(); inputs], row_groups: Vec::new(), rows_of_last: 0 }
    }

    fn add(&mut self, trace: &Whole<'_>, row_group_rows: u64) {
        if self.row_groups.is_empty() || self.rows_of_last >= row_group_rows {
            self.row_groups.push(vec![0; self.traces.len()]);
            self.rows_of_last = 0;
        }
        self.rows_of_last += trace.spans;
        let Some(row_group) = self.row_groups.last_mut() else { return };
        for &(input, row) in trace.parts {
            self.traces[input].push(row);
            row_group[input] += 1;
        }
    }
}

/// Goes through the traces of all inputs by id; each must be sorted.
fn for_each_trace(inputs: &[Traces<'_>], mut visit: impl FnMut(&Whole<'_>)) -> Result<(), Error> {
    let mut next: BinaryHeap<Reverse<(TraceId, usize, u32)>> = BinaryHeap::new();
    let push = |next: &mut BinaryHeap<_>, input: usize, row: u32| {
        if (row as usize) < inputs[input].len() {
            next.push(Reverse((inputs[input].id(row as usize), input, row)));
        }
    };
    (0..inputs.len()).for_each(|input| push(&mut next, input, 0));
    let mut parts = Vec::new();
    let mut last = None;
    while let Some(Reverse((id, input, row))) = next.pop() {
        if last.is_some_and(|last| last >= id) {
            return Err(spans::Error::damaged("traces are not sorted by their ids").into());
        }
        last = Some(id);
        parts.clear();
        parts.push((input, row));
        push(&mut next, input, row + 1);
        while next.peek().is_some_and(|Reverse((other, ..))| *other == id) {
            let Some(Reverse((_, input, row))) = next.pop() else { break };
            parts.push((input, row));
            push(&mut next, input, row + 1);
        }
        let of_part = |&(input, row): &(usize, u32)| inputs[input].time_range(row as usize);
        let range = parts.iter().map(of_part).reduce(|all, one| all.union(&one)).unwrap_or(TimeRange::ALL);
        let spans = parts.iter().map(|&(input, row)| inputs[input].span_rows(row as usize).len() as u64).sum();
        visit(&Whole { parts: &parts, range, spans });
    }
    Ok(())
}
