//! Which spans of a batch become candidates: of each series those of the traces with the smallest draws.
//!
//! A draw is made once for each trace. Most draws are too large for every series, and then no span of the trace is looked at.

use super::super::group_codes::GroupCodes;
use super::super::timeline::Timeline;
use crate::cancellation::is_waited_for;
use crate::engine::selection::SelectedSpans;

/// Stands for a code that is no series.
pub(crate) const NO_SERIES: u32 = u32::MAX;

/// After so many runs, or as many as there are series, it is looked up which draws are too large for every series.
const RUNS_OF_A_LOOK: usize = 64;

/// Most cells, series times stretches of time, of which the smallest draws are found. There is one stretch at least.
const MOST_CELLS: usize = 1 << 12;

/// For each series up to `most` rows of each stretch of time, of the traces with the smallest draws; of a trace the first
/// row. A stretch is an interval, or several where they are many.
pub(crate) fn lowest_rows(
    timeline: &Timeline<'_>,
    selected: &SelectedSpans,
    codes: &GroupCodes,
    series_of_code: &[u32],
    series_count: usize,
    most: usize,
) -> Vec<Vec<Lowest>> {
    let interval_count = timeline.intervals.len().max(1);
    let stretches = (MOST_CELLS / series_count.max(1)).clamp(1, interval_count);
    let intervals_of_stretch = interval_count.div_ceil(stretches);
    let stretches = interval_count.div_ceil(intervals_of_stretch);
    let mut of_cells = vec![Lowest::default(); series_count * stretches];
    // by cell: the largest draw that would be taken, and the last that was offered
    let mut bounds = vec![(u64::MAX, None); of_cells.len()];
    // by stretch: the largest draw that any series would take
    let mut bounds_of_all = vec![u64::MAX; stretches];
    let mut next_look = RUNS_OF_A_LOOK;
    for (number, (trace, run)) in timeline.runs_of_traces().enumerate() {
        let drawn = timeline.traces().id(trace).draw();
        let stretch = run.interval / intervals_of_stretch;
        if drawn > bounds_of_all[stretch] {
            continue;
        }
        selected.for_each(run.rows, |row| {
            let series = series_of_code[codes.code(row) as usize] as usize;
            let cell = series.saturating_mul(stretches).saturating_add(stretch);
            let Some((bound, last)) = bounds.get_mut(cell) else { return };
            if drawn <= *bound && *last != Some(drawn) {
                of_cells[cell].offer(drawn, row as u32, most);
                (*bound, *last) = (of_cells[cell].bound(most), Some(drawn));
            }
        });
        if number >= next_look {
            if !is_waited_for() {
                break;
            }
            let of_stretch = bounds.iter().skip(stretch).step_by(stretches);
            bounds_of_all[stretch] = of_stretch.map(|(bound, _)| *bound).max().unwrap_or(0);
            next_look = number + RUNS_OF_A_LOOK.max(series_count);
        }
    }
    of_cells.chunks_mut(stretches).map(|cells| cells.iter_mut().map(std::mem::take).collect()).collect()
}

/// The smallest draws of a series seen so far, each with the row where it was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lowest {
    /// Ascending by draw; a draw once.
    drawn: Vec<(u64, u32)>,
}

impl Lowest {
    #[inline]
    pub fn offer(&mut self, drawn: u64, row: u32, most: usize) {
        if self.drawn.len() >= most && self.drawn.last().is_none_or(|(last, _)| drawn >= *last) {
            return;
        }
        if let Err(place) = self.drawn.binary_search_by_key(&drawn, |(other, _)| *other) {
            self.drawn.truncate(most - 1);
            self.drawn.insert(place, (drawn, row));
        }
    }

    /// The largest draw that would be taken.
    fn bound(&self, most: usize) -> u64 {
        let last = self.drawn.last().filter(|_| self.drawn.len() >= most);
        last.map_or(u64::MAX, |(last, _)| last.saturating_sub(1))
    }

    /// The draws, ascending, and the rows.
    pub fn rows(self) -> impl Iterator<Item = (u64, u32)> {
        self.drawn.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_draws_are_kept_once() {
        let mut lowest = Lowest::default();
        for (at, drawn) in [5, 9, 5, 7, 1, 8].into_iter().enumerate() {
            lowest.offer(drawn, at as u32, 3);
        }
        assert_eq!(lowest.rows().map(|(_, row)| row).collect::<Vec<_>>(), [4, 0, 3]);
    }
}
