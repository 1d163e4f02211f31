//! Which traces of a job's inputs go to which new block, and in which row groups. Pure.
//!
//! Decided from the `traces` tables before a span is read: every trace goes to one new block with all its parts.
//!
//! A row group of an input whose traces are nowhere else goes over as it is, for its columns need not be written anew. It
//! keeps its traces together, so it must not lie across many others in time: a question about some minutes would read them
//! all. What is left is put together anew, newest traces first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
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

/// Row groups that go over as they are: most others of these that one may overlap in time …
const MOST_OVERLAPPING: usize = 8;
/// … and the least part of the rows of a new row group that one must have, or small ones would stay small for ever.
const LEAST_OF_ROW_GROUP: u64 = 2;

/// An input, as far as what goes where depends on it.
pub(super) struct Input<'a> {
    pub traces: Traces<'a>,
    pub by_id: ById,
    /// For each row group the rows of `traces` that have their spans in it, ascending.
    pub row_groups: Vec<Range<usize>>,
}

/// One new block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub group: Group,
    /// Row groups, newest first.
    pub row_groups: Vec<NewRowGroup>,
}

/// What a new row group is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NewRowGroup {
    /// A row group of an input, by number.
    Whole {
        input: usize,
        group: usize,
    },
    Joined(RowGroup),
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
    /// The rows of an input's `traces` that go here with others, ascending.
    pub fn traces_of(&self, input: usize) -> Vec<u32> {
        let joined = self.row_groups.iter().filter_map(|row_group| match row_group {
            NewRowGroup::Joined(rows) => Some(&rows[input]),
            NewRowGroup::Whole { .. } => None,
        });
        let mut rows: Vec<u32> = joined.flatten().copied().collect();
        rows.sort_unstable();
        rows
    }
}

/// Divides the traces of a job that were written up to then: first what belongs to its group, then other windows, last
/// what is ahead or apart. Shares without traces are left out. In a share the newest traces come first; a row group ends
/// with the first trace that reaches `row_group_rows`. Deleted traces go nowhere.
pub(super) fn divide(
    inputs: &[Input<'_>],
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
    let mut fates = Fates::of(inputs);
    for_each_trace(inputs, |trace| {
        if deleted.contains(&trace.id) {
            fates.scatter(trace);
            return;
        }
        let share = place.get(&home(trace)).copied().unwrap_or(apart);
        members[share].add(trace);
        fates.add(trace, share);
    })?;
    let filled = groups.into_iter().zip(members).enumerate().filter(|(_, (_, members))| !members.traces.is_empty());
    let shares = filled.map(|(share, (group, members))| {
        let whole = fates.whole(inputs, share, row_group_rows);
        Share { group, row_groups: members.row_groups(inputs, whole, row_group_rows) }
    });
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

    fn row_groups(mut self, inputs: &[Input<'_>], whole: Vec<WholeGroup>, row_group_rows: u64) -> Vec<NewRowGroup> {
        let is_whole: HashSet<(usize, usize)> = whole.iter().map(|whole| (whole.input, whole.group)).collect();
        let goes_over = |&(input, row): &(usize, u32)| {
            !is_whole.is_empty()
                && group_of(&inputs[input], row).is_some_and(|group| is_whole.contains(&(input, group)))
        };
        self.traces.retain(|(.., parts)| !self.parts[parts.clone()].iter().any(goes_over));
        self.traces.sort_by_key(|(start, ..)| *start);
        let (mut row_groups, mut rows_of_last) = (Vec::<(Reverse<u64>, RowGroup)>::new(), row_group_rows);
        for (start, spans, parts) in self.traces {
            if rows_of_last >= row_group_rows {
                row_groups.push((start, vec![Vec::new(); inputs.len()]));
                rows_of_last = 0;
            }
            rows_of_last += spans;
            let Some((_, row_group)) = row_groups.last_mut() else { continue };
            self.parts[parts].iter().for_each(|&(input, row)| row_group[input].push(row));
        }
        row_groups.iter_mut().flat_map(|(_, rows)| rows).for_each(|rows| rows.sort_unstable());
        let joined = row_groups.into_iter().map(|(start, rows)| (start, NewRowGroup::Joined(rows)));
        let whole = whole.into_iter().map(|WholeGroup { input, group, last_start, .. }| {
            (Reverse(last_start), NewRowGroup::Whole { input, group })
        });
        let mut all: Vec<(Reverse<u64>, NewRowGroup)> = whole.chain(joined).collect();
        all.sort_by_key(|(start, _)| *start);
        all.into_iter().map(|(_, row_group)| row_group).collect()
    }
}

/// The row group of an input that has a row of its `traces`.
fn group_of(input: &Input<'_>, row: u32) -> Option<usize> {
    let group = input.row_groups.partition_point(|rows| rows.end <= row as usize);
    input.row_groups.get(group).filter(|rows| rows.start <= row as usize).map(|_| group)
}

/// Where the traces of the inputs' row groups go.
struct Fates<'a, 'b>(&'a [Input<'b>], Vec<Vec<Fate>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// None was seen yet.
    Unknown,
    /// All to one share, and none has a part elsewhere.
    Together(usize),
    Scattered,
}

/// A row group that goes over as it is.
struct WholeGroup {
    input: usize,
    group: usize,
    /// Of its traces.
    first_start: u64,
    last_start: u64,
}

impl WholeGroup {
    fn overlaps(&self, other: &Self) -> bool {
        self.first_start <= other.last_start && other.first_start <= self.last_start
    }
}

impl<'a, 'b> Fates<'a, 'b> {
    fn of(inputs: &'a [Input<'b>]) -> Self {
        Self(inputs, inputs.iter().map(|input| vec![Fate::Unknown; input.row_groups.len()]).collect())
    }

    fn add(&mut self, trace: &Whole<'_>, share: usize) {
        if let [(input, row)] = trace.parts
            && let Some(group) = group_of(&self.0[*input], *row)
        {
            let fate = &mut self.1[*input][group];
            match *fate {
                Fate::Unknown => *fate = Fate::Together(share),
                Fate::Together(known) if known == share => {}
                _ => *fate = Fate::Scattered,
            }
        } else {
            self.scatter(trace);
        }
    }

    fn scatter(&mut self, trace: &Whole<'_>) {
        for &(input, row) in trace.parts {
            if let Some(group) = group_of(&self.0[input], row) {
                self.1[input][group] = Fate::Scattered;
            }
        }
    }

    /// The row groups that go to a share as they are: those that cover the least time first.
    fn whole(&self, inputs: &[Input<'_>], share: usize, row_group_rows: u64) -> Vec<WholeGroup> {
        let mut candidates = Vec::new();
        for (number, (input, fates)) in inputs.iter().zip(&self.1).enumerate() {
            for (group, rows) in
                input.row_groups.iter().enumerate().filter(|(group, _)| fates[*group] == Fate::Together(share))
            {
                let spans: usize = rows.clone().map(|row| input.traces.span_rows(row).len()).sum();
                let starts = || rows.clone().map(|row| input.traces.start_nanos(row));
                if let (Some(first_start), Some(last_start)) = (starts().min(), starts().max())
                    && spans as u64 * LEAST_OF_ROW_GROUP >= row_group_rows
                {
                    candidates.push(WholeGroup { input: number, group, first_start, last_start });
                }
            }
        }
        candidates
            .sort_by_key(|candidate| (candidate.last_start - candidate.first_start, candidate.input, candidate.group));
        let mut chosen: Vec<WholeGroup> = Vec::new();
        for candidate in candidates {
            if chosen.iter().filter(|other| other.overlaps(&candidate)).count() <= MOST_OVERLAPPING {
                chosen.push(candidate);
            }
        }
        chosen
    }
}

/// Goes through the traces of all inputs by id.
fn for_each_trace(inputs: &[Input<'_>], mut visit: impl FnMut(&Whole<'_>)) -> Result<(), Error> {
    // the next trace of each input: its id, and its place in the order of ids
    let mut next: BinaryHeap<Reverse<(TraceId, usize, usize)>> = BinaryHeap::new();
    let row_at = |input: usize, place: usize| inputs[input].by_id.rows().get(place).copied();
    let push = |next: &mut BinaryHeap<_>, input: usize, place: usize| {
        if let Some(row) = row_at(input, place) {
            next.push(Reverse((inputs[input].traces.id(row as usize), input, place)));
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
        let of_part = |&(input, row): &(usize, u32)| inputs[input].traces.time_range(row as usize);
        let range = parts.iter().map(of_part).reduce(|all, one| all.union(&one)).unwrap_or(TimeRange::ALL);
        let spans = parts.iter().map(|&(input, row)| inputs[input].traces.span_rows(row as usize).len() as u64).sum();
        visit(&Whole { id, parts: &parts, range, spans });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
