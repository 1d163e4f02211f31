//! Accumulators of one batch: a number for each interval and code, in arrays without gaps.

use crate::engine::selection::SelectedSpans;
use crate::series::{Fold, join};

use super::group_codes::GroupCodes;
use super::timeline::Timeline;

/// Numbers by [interval][code].
pub(super) struct Accumulators {
    fold: Fold,
    code_count: usize,
    /// Of everything but a count: sums, least or greatest values.
    numbers: Vec<f64>,
    /// Of a count and of an average: how many values there are.
    counts: Vec<u32>,
    /// The same where spans stand for several.
    weights: Vec<f64>,
    /// By code: whether any span has it.
    occurs: Vec<bool>,
}

impl Accumulators {
    /// Adds up the selected spans; `values` by row, none for a count. Values are added in the order of the rows, so that
    /// sums are the same to the last digit.
    pub fn of(
        fold: Fold,
        timeline: &Timeline<'_>,
        selected: &SelectedSpans,
        codes: &GroupCodes,
        values: &[f64],
    ) -> Self {
        let cell_count = timeline.intervals.len() * codes.count();
        let counts = matches!(fold, Fold::Count | Fold::Average);
        let mut accumulators = Self {
            fold,
            code_count: codes.count(),
            numbers: if fold == Fold::Count { Vec::new() } else { vec![fold.nothing(); cell_count] },
            counts: if counts { vec![0; cell_count] } else { Vec::new() },
            weights: Vec::new(),
            occurs: vec![false; codes.count()],
        };
        match codes.codes() {
            Some(codes) => accumulators.add_all(timeline, selected, values, |row| codes[row] as usize),
            None if fold == Fold::Count => accumulators.count_runs(timeline, selected),
            None => accumulators.add_all(timeline, selected, values, |_| 0),
        }
        accumulators
    }

    /// Counts spans where a row stands for several.
    pub fn of_counts(timeline: &Timeline<'_>, selected: &SelectedSpans, codes: &GroupCodes, spans: &[u32]) -> Self {
        let mut counts = vec![0; timeline.intervals.len() * codes.count()];
        let mut occurs = vec![false; codes.count()];
        for run in timeline.runs() {
            selected.for_each(run.rows.clone(), |row| {
                let code = codes.code(row) as usize;
                counts[run.interval * codes.count() + code] += spans[row];
                occurs[code] = true;
            });
        }
        let (numbers, weights) = Default::default();
        Self { fold: Fold::Count, code_count: codes.count(), numbers, counts, weights, occurs }
    }

    /// Adds up spans each of which stands for several; weights, and `values` as in [`of`](Self::of), by row. The least and
    /// the greatest value are what they are.
    pub fn of_weighted(
        fold: Fold,
        timeline: &Timeline<'_>,
        selected: &SelectedSpans,
        codes: &GroupCodes,
        values: &[f64],
        weights: &[f64],
    ) -> Self {
        let (code_count, cell_count) = (codes.count(), timeline.intervals.len() * codes.count());
        let mut numbers = vec![fold.nothing(); cell_count];
        let mut weights_of_cells = if fold == Fold::Average { vec![0.0; cell_count] } else { Vec::new() };
        let mut occurs = vec![false; code_count];
        for run in timeline.runs() {
            selected.for_each(run.rows.clone(), |row| {
                let code = codes.code(row) as usize;
                let (cell, weight) = (run.interval * code_count + code, weights[row]);
                let number = match fold {
                    Fold::Count => weight,
                    Fold::Sum | Fold::Average => values[row] * weight,
                    Fold::Min | Fold::Max => values[row],
                };
                join(fold, &mut numbers[cell], number);
                if let Some(of_cell) = weights_of_cells.get_mut(cell) {
                    *of_cell += weight;
                }
                occurs[code] = true;
            });
        }
        Self { fold, code_count, numbers, counts: Vec::new(), weights: weights_of_cells, occurs }
    }

    /// Counts spans of one code, a run at a time.
    fn count_runs(&mut self, timeline: &Timeline<'_>, selected: &SelectedSpans) {
        for run in timeline.runs() {
            self.counts[run.interval] += selected.count(run.rows.clone()) as u32;
        }
        self.occurs[0] = self.counts.iter().any(|&count| count > 0);
    }

    fn add_all(
        &mut self,
        timeline: &Timeline<'_>,
        selected: &SelectedSpans,
        values: &[f64],
        code: impl Fn(usize) -> usize,
    ) {
        let (fold, code_count, occurs) = (self.fold, self.code_count, &mut self.occurs[..]);
        // spans beside each other often have one code: counted in one place, each would wait for the one before
        let mut odd_counts = if fold == Fold::Count { vec![0; self.counts.len()] } else { Vec::new() };
        for run in timeline.runs() {
            let (start, rows) = (run.interval * code_count, run.rows.clone());
            let counts = self.counts.get_mut(start..start + code_count).unwrap_or_default();
            let numbers = self.numbers.get_mut(start..start + code_count).unwrap_or_default();
            match fold {
                Fold::Count => {
                    let counts = [counts, &mut odd_counts[start..start + code_count]];
                    selected.for_each(rows, |row| counts[row % 2][code(row)] += 1);
                }
                Fold::Average => selected.for_each(rows, |row| {
                    let code = code(row);
                    numbers[code] += values[row];
                    counts[code] += 1;
                }),
                Fold::Sum | Fold::Min | Fold::Max => selected.for_each(rows, |row| {
                    let code = code(row);
                    join(fold, &mut numbers[code], values[row]);
                    occurs[code] = true;
                }),
            }
        }
        self.counts.iter_mut().zip(odd_counts).for_each(|(count, odd)| *count += odd);
        for (at, _) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.occurs[at % code_count] = true;
        }
    }

    /// The codes that spans have, ascending.
    pub fn occurring(&self) -> impl Iterator<Item = u32> {
        self.occurs.iter().enumerate().filter(|(_, occurs)| **occurs).map(|(code, _)| code as u32)
    }

    /// The number of each interval and, of an average, the count.
    pub fn cells(&self, code: u32) -> impl Iterator<Item = (f64, f64)> {
        let intervals = self.counts.len().max(self.numbers.len()) / self.code_count;
        (0..intervals).map(move |interval| {
            let at = interval * self.code_count + code as usize;
            let count = self.counts.get(at).map(|&count| f64::from(count));
            let count = count.or_else(|| self.weights.get(at).copied()).unwrap_or_default();
            (self.numbers.get(at).copied().unwrap_or(count), count)
        })
    }
}
